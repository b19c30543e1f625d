/* Any bytes as a pool's state, or, behind an R, as a ring's body under its right name: refused with
 * a reason, or the same after printing it. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/pool_state.h"
#include "common/ring_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool good, const char *what)
{
	if (good) return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void check_same_transition(const struct state_transition *a,
				  const struct state_transition *b)
{
	must(strcmp(a->next, b->next) == 0, "another ring to come");
	must(a->dirty == b->dirty && a->back == b->back && a->paused == b->paused, "other flags");
	must(memcmp(a->rules.phases, b->rules.phases, sizeof(a->rules.phases)) == 0,
	     "other phases");
	must(a->rules.lost_count == b->rules.lost_count, "others are lost");
}

static void check_same(const struct pool_state *a, const struct pool_state *b)
{
	must(pool_state_compare(a, b) == POOL_STATE_EQUAL, "another place in the order");
	must(strcmp(a->ring, b->ring) == 0, "another ring");
	must(a->spec_version == b->spec_version && a->lease_ms == b->lease_ms, "other numbers");
	must((a->transition != NULL) == (b->transition != NULL), "transition or not");
	if (a->transition != NULL) check_same_transition(a->transition, b->transition);
	must(a->ejected_count == b->ejected_count, "other ejections");
	for (uint32_t i = 0; i < a->ejected_count; i++)
		must(strcmp(a->ejected[i].server, b->ejected[i].server) == 0, "another server");
}

static void fuzz_state(struct slice text)
{
	struct pool_state s, again, copy;
	struct err_at at;
	struct scratch out = { 0 };
	enum err e = pool_state_parse(text, &s, &at);
	if (e != ERR_NONE) {
		must(at.where[0] == '$' && at.why[0] != '\0', "no reason");
		must(s.lineage == NULL && s.ejected == NULL, "left something behind");
		return;
	}
	must(pool_state_copy(&copy, &s), "no copy");
	check_same(&s, &copy);
	/* escapes may make it longer than it came */
	e = pool_state_print(&s, &out);
	must(e == ERR_NONE || e == ERR_INVALID, "not printed");
	if (e == ERR_NONE) {
		must(out.n <= POOL_STATE_BYTES_MAX, "too long");
		must(pool_state_parse(scratch_slice(&out), &again, &at) == ERR_NONE, at.why);
		check_same(&s, &again);
		pool_state_fini(&again);
	}
	while (copy.ejected_count > 0) pool_state_restore(&copy, copy.ejected[0].server);
	pool_state_fini(&copy);
	pool_state_fini(&s);
	scratch_fini(&out);
}

static void fuzz_body(struct slice text)
{
	struct topology *t, *again;
	struct err_at at;
	struct scratch out = { 0 };
	unsigned char digest[EVP_MAX_MD_SIZE];
	char hex[RING_HEX_CHARS + 1];
	must(EVP_Digest(text.p, text.n, digest, NULL, EVP_sha256(), NULL) == 1, "no hash");
	for (size_t i = 0; i < RING_HEX_CHARS / 2; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	enum err e = ring_body_parse(text, hex, "p", &t, &at);
	must((e == ERR_NONE) == (t != NULL), "result and outcome differ");
	must(e == ERR_NONE || (at.where[0] == '$' && at.why[0] != '\0'), "no reason");
	if (t == NULL) return;
	must(ring_body_print(t->pools, &out, hex) == ERR_NONE, "no body");
	must(ring_body_parse(scratch_slice(&out), hex, "p", &again, &at) == ERR_NONE, at.why);
	json_t *before = topology_to_json(t), *after = topology_to_json(again);
	must(json_equal(before, after), "another pool after a body");
	json_decref(before);
	json_decref(after);
	topology_free(&t);
	topology_free(&again);
	scratch_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice text = { (const char *)data, n };
	if (n == 0 || data[0] != 'R') fuzz_state(text);
	else fuzz_body((struct slice){ text.p + 1, n - 1 });
	return 0;
}
