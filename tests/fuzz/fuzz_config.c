/* Any bytes as a configuration file: never a crash, always a reason; and what was accepted means
 * the same after a dump. */
#include <stdio.h>
#include <stdlib.h>

#include "common/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_issues(const struct config_issues *issues, enum err e)
{
	uint32_t errors = 0;
	for (uint32_t i = 0; i < issues->count; i++) {
		if (!issues->items[i].warning) errors++;
		json_t *text = json_string(issues->items[i].at.why);
		if (text == NULL || json_string_length(text) == 0)
			abort(); /* not UTF-8, or silent */
		json_decref(text);
	}
	if ((e == ERR_NONE) != (errors == 0) || (e == ERR_NONE) != (issues->error_count == 0))
		abort();
}

static void check_dump(const struct config *c)
{
	struct config *again;
	struct config_issues issues;
	json_t *dump = config_to_json(c);
	char *text = json_dumps(dump, 0);
	enum err e = config_parse(text, strlen(text), "dump", &again, &issues);
	if (e != ERR_NONE) {
		fprintf(stderr, "%s: %s in %s\n", issues.items[0].at.where, issues.items[0].at.why,
			text);
		abort();
	}
	json_t *dump_again = config_to_json(again);
	if (!json_equal(dump, dump_again)) abort();
	for (uint32_t i = 0; i < c->topology->pool_count; i++) {
		const struct pool_spec *p = &c->topology->pools[i], *q = &again->topology->pools[i];
		for (uint32_t k = 0; k < p->server_count; k++)
			if (strcmp(p->servers[k].ring_name, q->servers[k].ring_name) != 0) abort();
	}
	json_decref(dump);
	json_decref(dump_again);
	free(text);
	config_free(&again);
	config_issues_fini(&issues);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct config *c;
	struct config_issues issues;
	enum err e = config_parse((const char *)data, n, "fuzz", &c, &issues);
	if ((e == ERR_NONE) != (c != NULL)) abort();
	check_issues(&issues, e);
	if (c != NULL) check_dump(c);
	config_free(&c);
	config_issues_fini(&issues);
	return 0;
}
