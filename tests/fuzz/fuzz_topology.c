/* Any JSON as a topology message: refused with a path, or the same after a dump and a copy. */
#include <stdio.h>
#include <stdlib.h>

#include "common/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_accepted(const struct topology *t)
{
	struct topology *again, *copy = topology_copy(t);
	struct err_at at;
	json_t *dump = topology_to_json(t), *of_copy = topology_to_json(copy);
	if (topology_from_json(dump, &again, &at) != ERR_NONE) {
		fprintf(stderr, "%s: %s\n", at.where, at.why);
		abort();
	}
	json_t *dump_again = topology_to_json(again);
	if (!json_equal(dump, of_copy) || !json_equal(dump, dump_again)) abort();
	json_decref(dump);
	json_decref(of_copy);
	json_decref(dump_again);
	topology_free(&again);
	topology_free(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct topology *t;
	struct err_at at;
	json_t *doc = json_loadb((const char *)data, n, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	if (doc == NULL) return 0;
	enum err e = topology_from_json(doc, &t, &at);
	if ((e == ERR_NONE) != (t != NULL)) abort();
	if (e != ERR_NONE && (at.where[0] != '$' || at.why[0] == '\0')) abort();
	if (t != NULL) check_accepted(t);
	topology_free(&t);
	json_decref(doc);
	return 0;
}
