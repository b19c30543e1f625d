/* Any bytes as a pool's spec: never a crash, always a reason with a place; and what was accepted
 * means the same after a dump, as a ring's body and in a topology. */
#include <stdio.h>
#include <stdlib.h>

#include "common/ring_body.h"
#include "common/spec.h"
#include "common/tree_topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool good, const char *what)
{
	if (good) return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void check_issues(const struct config_issues *issues, enum err e)
{
	uint32_t errors = 0;
	for (uint32_t i = 0; i < issues->count; i++) {
		const struct config_issue *issue = &issues->items[i];
		if (!issue->warning) errors++;
		must(strncmp(issue->at.where, "fuzz", 4) == 0, "no place");
		json_t *text = json_string(issue->at.why);
		must(json_string_length(text) > 0, "no reason, or no UTF-8");
		json_decref(text);
	}
	must((e == ERR_NONE) == (errors == 0), "errors and outcome differ");
	must(errors == issues->error_count, "errors are counted wrong");
}

/* The spec's spelling of itself is the same spec. */
static void check_dump(const struct spec *s)
{
	struct spec *again;
	struct config_issues issues;
	json_t *dump = spec_to_json(s);
	char *text = json_dumps(dump, 0);
	if (strlen(text) <= SPEC_TEXT_MAX) {
		enum err e = spec_parse(text, strlen(text), "p", "fuzz", &again, &issues);
		must(e == ERR_NONE, e == ERR_NONE ? "" : issues.items[0].at.why);
		json_t *dump_again = spec_to_json(again);
		must(json_equal(dump, dump_again), "another spec after a dump");
		json_decref(dump_again);
		spec_free(&again);
		config_issues_fini(&issues);
	}
	json_decref(dump);
	free(text);
}

static void check_topology(const struct spec *s, const struct topology *ring)
{
	struct topology *t;
	struct pool_state state = { .lineage = strdup("l") };
	struct tree_pool pool = { "p", &state, ring->pools, NULL };
	for (uint32_t i = 0; i < s->pin_count; i++)
		if (s->pins[i].pin == PIN_OUT)
			must(pool_state_eject(&state, s->pins[i].server, 1, "pinned"), "memory");
	enum err e = tree_topology(&pool, 1, NULL, 1, NULL, &t, NULL);
	/* its failover pool is not there */
	must((e == ERR_NONE) == (s->pool->failover != FAILOVER_POOL), "not composed");
	for (uint32_t i = 0; t != NULL && i < t->pools->server_count; i++)
		must(t->pools->servers[i].ejected ==
			 (spec_pin(s, t->pools->servers[i].ring_name) == PIN_OUT),
		     "ejected and pinned differ");
	topology_free(&t);
	pool_state_fini(&state);
}

static void check_body(const struct spec *s)
{
	char hex[RING_HEX_CHARS + 1];
	struct scratch body = { 0 };
	struct topology *ring;
	struct err_at at;
	must(ring_body_print(s->pool, &body, hex) == ERR_NONE, "no body");
	enum err e = ring_body_parse(scratch_slice(&body), hex, "p", &ring, &at);
	must(e == ERR_NONE, at.why);
	json_t *before = pool_spec_to_json(s->pool), *after = pool_spec_to_json(ring->pools);
	must(json_equal(before, after), "another pool after a body");
	json_decref(before);
	json_decref(after);
	must(spec_check_shrink(s, ring->pools, &at) == ERR_NONE, "shrinks to itself");
	check_topology(s, ring);
	topology_free(&ring);
	scratch_fini(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct spec *s;
	struct config_issues issues;
	enum err e = spec_parse((const char *)data, n, "p", "fuzz", &s, &issues);
	must((e == ERR_NONE) == (s != NULL), "result and outcome differ");
	check_issues(&issues, e);
	config_issues_fini(&issues);
	if (s == NULL) return 0;
	check_dump(s);
	check_body(s);
	spec_free(&s);
	must(s == NULL, "still there");
	return 0;
}
