/* pools/P/rings/HEX and what an agent makes of ring bodies and states. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ring_body.h"
#include "common/spec.h"
#include "common/topology_ring.h"
#include "common/tree_topology.h"

static struct spec *spec;
static struct topology *topology;
static struct scratch body;
static char hex[RING_HEX_CHARS + 1];
static struct err_at at;

static void teardown(void)
{
	spec_free(&spec);
	topology_free(&topology);
	scratch_fini(&body);
}

static const struct pool_spec *pool(const char *text)
{
	struct config_issues issues;
	spec_free(&spec);
	enum err e = spec_parse(text, strlen(text), "p", "f", &spec, &issues);
	ck_assert_msg(e == ERR_NONE, "%s", issues.items[0].at.why);
	config_issues_fini(&issues);
	return spec->pool;
}

static void print(const char *text)
{
	ck_assert_int_eq(ring_body_print(pool(text), &body, hex), ERR_NONE);
}

static enum err parse_as(const char *name)
{
	topology_free(&topology);
	return ring_body_parse(scratch_slice(&body), hex, name, &topology, &at);
}

static void good(void)
{
	ck_assert_msg(parse_as("p") == ERR_NONE, "%s: %s", at.where, at.why);
}

#define SERVERS "servers: [h:1:2 a, {host: i, port: 2}, '/s:3']\n"

START_TEST(bytes_of_a_body)
{
	print("servers: [h:1 a]\ntransition: instant\n");
	const char *want =
	    "{\"checksum\":\"dfc2946cc61f63ff\",\"points\":160,\"pool\":{\"allow_flush\":false,"
	    "\"auto_eject_hosts\":false,\"cas_tags\":false,\"connect_timeout_ms\":0,"
	    "\"distribution\":\"ketama\","
	    "\"failover\":\"ring\",\"hash\":\"fnv1a_64\",\"inflight_max\":100000,\"keepalive\":"
	    "true,\"meta_commands\":false,"
	    "\"on_error\":\"error\",\"preconnect\":false,\"protocol\":\"memcached\",\"redis_db\":0,"
	    "\"server_connections\":1,\"server_failure_limit\":3,\"server_retry_timeout_ms\":2000,"
	    "\"servers\":[{\"host\":\"h\",\"name\":\"a\",\"port\":1,\"weight\":1}],"
	    "\"timeout_ms\":1000,\"value_max\":67108864}}";
	ck_assert_msg(body.n == strlen(want) && memcmp(body.p, want, body.n) == 0, "%.*s",
		      (int)body.n, body.p);
	ck_assert_str_eq(hex, "338c07c5c81691ad08e756d3d20e863e406d45c8dcec8daec8c12d787563241b");
}
END_TEST

START_TEST(there_and_back)
{
	print("protocol: redis\nhash_tag: '{}'\nfailover: pool:elsewhere\nauth: {password: x}\n"
	      "distribution: ketama_rj\n" SERVERS);
	ck_assert(ring_hex_is_valid(hex));
	good();
	ck_assert_uint_eq(topology->pool_count, 1);
	const struct pool_spec *p = &topology->pools[0];
	ck_assert_str_eq(p->name, "p");
	ck_assert_uint_eq(p->server_count, 3);
	ck_assert_str_eq(p->servers[1].ring_name, "i:2");
	ck_assert_ptr_null(p->servers[1].name);
	ck_assert_str_eq(p->failover_pool, "elsewhere");
	ck_assert_str_eq(p->auth_password, "x");
	json_t *before = pool_spec_to_json(spec->pool), *after = pool_spec_to_json(p);
	ck_assert(json_equal(before, after));
	json_decref(before);
	json_decref(after);

	char again[RING_HEX_CHARS + 1];
	struct scratch copy = { 0 };
	ck_assert_int_eq(ring_body_print(p, &copy, again), ERR_NONE);
	ck_assert_str_eq(again, hex);
	ck_assert(slice_eq(scratch_slice(&copy), scratch_slice(&body)));
	scratch_fini(&copy);
}
END_TEST

START_TEST(equal_pools_have_equal_bodies)
{
	char first[RING_HEX_CHARS + 1];
	print("timeout_ms: 1000\nhash: fnv1a_64\n" SERVERS);
	strcpy(first, hex);
	print("{\"servers\": [\"h:1:2 a\", \"i:2\", {\"host\": \"/s\", \"weight\": 3}]}");
	ck_assert_str_eq(first, hex);
	print("pins: {a: out}\nlease_ms: 1\n" SERVERS);
	ck_assert_str_eq(first, hex);
	print("timeout_ms: 999\n" SERVERS);
	ck_assert_str_ne(first, hex);
	print("servers: [{host: i, port: 2}, h:1:2 a, '/s:3']\n");
	ck_assert_str_ne(first, hex);
}
END_TEST

/* A verdict changes the state, never the body. */
START_TEST(ejections_are_left_out)
{
	char first[RING_HEX_CHARS + 1];
	print(SERVERS);
	strcpy(first, hex);
	ck_assert_ptr_null(memmem(body.p, body.n, "ejected", 7));
	spec->topology->pools[0].servers[1].ejected = true;
	ck_assert_int_eq(ring_body_print(spec->pool, &body, hex), ERR_NONE);
	ck_assert_str_eq(first, hex);
	good();
	ck_assert(!topology->pools[0].servers[1].ejected);
}
END_TEST

START_TEST(every_kind_of_ring)
{
	char text[200];
	snprintf(text, sizeof(text), "distribution: %s\n" SERVERS, ring_kind_name(_i));
	print(text);
	good();
	ck_assert_int_eq(topology->pools[0].distribution, _i);
}
END_TEST

START_TEST(too_large)
{
	struct topology *t;
	json_t *servers = json_array();
	for (int i = 0; i < 20000; i++)
		json_array_append_new(servers, json_sprintf("host-%d:11211:1 name-%d", i, i));
	json_t *doc = json_pack("{s:{s:{s:o}}}", "pools", "p", "servers", servers);
	ck_assert_int_eq(topology_from_json(doc, &t, &at), ERR_NONE);
	ck_assert_int_eq(ring_body_print(&t->pools[0], &body, hex), ERR_INVALID);
	json_decref(doc);
	topology_free(&t);
	scratch_reserve(&body, RING_BODY_MAX + 1);
	memset(body.p, ' ', RING_BODY_MAX + 1);
	body.n = RING_BODY_MAX + 1;
	ck_assert_int_eq(parse_as("p"), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(at.why, "512 KiB at most"));
}
END_TEST

START_TEST(every_flipped_bit_is_noticed)
{
	print(SERVERS);
	for (size_t i = 0; i < body.n; i += 7) {
		body.p[i] ^= 1;
		ck_assert_int_eq(parse_as("p"), ERR_INVALID);
		ck_assert_ptr_null(topology);
		body.p[i] ^= 1;
	}
	body.n--;
	ck_assert_int_eq(parse_as("p"), ERR_INVALID);
	body.n++;
	hex[63] = hex[63] == '0' ? '1' : '0';
	ck_assert_int_eq(parse_as("p"), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(at.why, "the content is not what its name says"));
}
END_TEST

/* The body with one text replaced, under the name that then is right: as a writer with other ideas
 * would have made it. */
static void forge(const char *from, const char *to)
{
	print(SERVERS);
	char *found = memmem(body.p, body.n, from, strlen(from));
	ck_assert_msg(found != NULL, "%s", from);
	struct scratch forged = { 0 };
	scratch_put(&forged, body.p, (size_t)(found - body.p));
	scratch_put(&forged, to, strlen(to));
	found += strlen(from);
	scratch_put(&forged, found, body.n - (size_t)(found - body.p));
	scratch_fini(&body);
	body = forged;
	/* the refusal tells the right name */
	memset(hex, '0', RING_HEX_CHARS);
	ck_assert_int_eq(parse_as("p"), ERR_INVALID);
	const char *name = strrchr(at.why, ' ') + 1;
	ck_assert(ring_hex_is_valid(name));
	strcpy(hex, name);
}

static const struct {
	const char *from, *to, *where, *why;
} forgeries[] = {
	{ "\"points\":", "\"points\":1", "$.points", "points here, not 1" },
	{ "\"points\":", "\"points\":-", "$.points", "points here, not -" },
	{ "\"points\":", "\"points\":[],\"x\":", "$.points", "must be a number" },
	{ "\"points\":", "\"x\":", "$", "'points' and 'checksum' must be there" },
	{ "\"checksum\":\"", "\"checksum\":\"0", "$.checksum", "checksum is" },
	{ "\"checksum\":", "\"checksum\":5,\"x\":", "$.checksum", "must be a string" },
	{ "\"checksum\":", "\"x\":", "$", "'points' and 'checksum' must be there" },
	{ "\"pool\":", "\"x\":", "$", "'pool' is missing" },
	{ "\"pool\":", "\"pool\":[],\"x\":", "$.pool", "must be a mapping" },
	{ "\"weight\":2", "\"weight\":4", "$.checksum", "checksum is" },
	{ "\"weight\":2", "\"weight\":0", "$.pool.servers[0].weight", "from 1" },
	{ "\"weight\":2", "\"weight\":2,\"ejected\":true", "$.pool", "knows no ejections" },
	{ "\"name\":\"a\"", "\"name\":\"b\"", "$.checksum", "checksum is" },
	{ "\"host\":\"h\"", "\"host\":5", "$.pool.servers[0].host", "must be a string" },
	{ "ketama", "ring_of_later", "$.pool.distribution", "unknown distribution" },
	{ "fnv1a_64", "md5", "$.checksum", "checksum is" },
	{ "\"pool\":", "\"pool\"", "$", "column" },
	{ "{", "[", "$", "column" },
	{ "{", "{\"points\":1,", "$", "duplicate" },
};

START_TEST(forged)
{
	forge(forgeries[_i].from, forgeries[_i].to);
	ck_assert_int_eq(parse_as("p"), ERR_INVALID);
	ck_assert_msg(strcmp(at.where, forgeries[_i].where) == 0, "%s: %s", at.where, at.why);
	ck_assert_msg(strstr(at.why, forgeries[_i].why) != NULL, "%s", at.why);
	ck_assert_int_eq(ring_body_parse(scratch_slice(&body), hex, "p", &topology, NULL),
			 ERR_INVALID);
}
END_TEST

START_TEST(later_versions_may_add_keys)
{
	forge("\"pool\":{", "\"built_by\":\"x\",\"pool\":{\"zone\":{\"a\":1},");
	good();
	forge("\"host\":\"h\"", "\"host\":\"h\",\"rack\":\"r1\"");
	good();
}
END_TEST

START_TEST(names)
{
	print(SERVERS);
	ck_assert_int_eq(parse_as("other"), ERR_NONE);
	ck_assert_str_eq(topology->pools[0].name, "other");
	ck_assert_int_eq(parse_as(""), ERR_INVALID);
	ck_assert_int_eq(parse_as("a\nb"), ERR_INVALID);
}
END_TEST

/* --- composing -------------------------------------------------------------------------------- */

#define POOLS 2
static struct topology *parts[POOLS];
static struct pool_state states[POOLS];
static struct tree_pool pools[POOLS];
static const char *const pool_names[POOLS] = { "alpha", "beta" };

static void compose_setup(void)
{
	for (unsigned i = 0; i < POOLS; i++) {
		print(i == 0 ? "failover: pool:beta\n" SERVERS : SERVERS);
		ck_assert_int_eq(
		    ring_body_parse(scratch_slice(&body), hex, pool_names[i], &parts[i], &at),
		    ERR_NONE);
		ck_assert(pool_state_set_lineage(&states[i], "line"));
		strcpy(states[i].ring, hex);
		pools[i] = (struct tree_pool){ pool_names[i], &states[i], parts[i]->pools, NULL };
	}
}

static void compose_teardown(void)
{
	for (unsigned i = 0; i < POOLS; i++) {
		topology_free(&parts[i]);
		pool_state_fini(&states[i]);
	}
	teardown();
}

START_TEST(composed_in_transition)
{
	json_t *doc;
	struct topology *next;
	char why[sizeof(hex)];
	print("servers: [h:1, i:2, j:3, k:4]\n");
	strcpy(why, hex);
	ck_assert_int_eq(ring_body_parse(scratch_slice(&body), hex, "beta", &next, &at), ERR_NONE);
	ck_assert(pool_state_begin_transition(&states[1], why, PHASE_HOLD));
	states[1].lease_ms = 5000;
	ck_assert(pool_state_eject(&states[1], "k:4", 5, "x"));
	ck_assert_int_eq(tree_topology(pools, POOLS, NULL, 77, &doc, &topology, &at), ERR_INVALID);
	pools[1].next = next->pools;
	ck_assert_int_eq(tree_topology(pools, POOLS, NULL, 77, &doc, &topology, &at), ERR_NONE);
	const struct pool_spec *b = topology_pool(topology, SLICE("beta"));
	ck_assert_ptr_null(topology_pool(topology, SLICE("alpha"))->transition);
	ck_assert_ptr_nonnull(b->transition);
	ck_assert_uint_eq(b->transition->lease_ms, 5000);
	ck_assert_int_eq(b->transition->rules.phases[0], PHASE_HOLD);
	ck_assert_uint_eq(b->transition->next->server_count, 4);
	ck_assert(b->transition->next->servers[3].ejected);
	/* and back, and a copy */
	struct topology *copy = topology_copy(topology);
	json_t *again = topology_to_json(copy);
	topology_free(&copy);
	ck_assert_int_eq(topology_from_json(again, &copy, &at), ERR_NONE);
	json_t *third = topology_to_json(copy);
	ck_assert(json_equal(again, third));
	topology_free(&copy);
	topology_free(&next);
	json_decref(doc);
	json_decref(again);
	json_decref(third);
}
END_TEST

START_TEST(composed)
{
	json_t *doc, *routes = json_pack("{s:s}", "r", "PoolRoute|beta");
	ck_assert(pool_state_eject(&states[0], "i:2", 5, "x"));
	ck_assert(pool_state_eject(&states[0], "gone:1", 5, "x"));
	ck_assert_int_eq(tree_topology(pools, POOLS, routes, 77, &doc, &topology, &at), ERR_NONE);
	ck_assert_str_eq(topology->lineage, "line");
	ck_assert_uint_eq(topology->epoch, 0);
	ck_assert_uint_eq(topology->step, 0);
	ck_assert_uint_eq(topology->version, 77);
	ck_assert_uint_eq(topology->pool_count, 2);
	const struct pool_spec *a = topology_pool(topology, SLICE("alpha"));
	const struct pool_spec *b = topology_pool(topology, SLICE("beta"));
	ck_assert(!a->servers[0].ejected && a->servers[1].ejected && !a->servers[2].ejected);
	ck_assert(!b->servers[0].ejected && !b->servers[1].ejected && !b->servers[2].ejected);
	ck_assert_ptr_eq(topology_failover(topology, a), b);
	ck_assert_str_eq(json_string_value(json_object_get(topology->routes, "r")),
			 "PoolRoute|beta");

	json_t *again = topology_to_json(topology);
	ck_assert(json_equal(doc, again));
	json_decref(again);
	json_decref(doc);
	json_decref(routes);
}
END_TEST

START_TEST(either_result_may_be_left_out)
{
	json_t *doc, *null = json_null();
	ck_assert_int_eq(tree_topology(pools, POOLS, NULL, 1, NULL, NULL, NULL), ERR_NONE);
	ck_assert_int_eq(tree_topology(pools, POOLS, null, 1, &doc, NULL, NULL), ERR_NONE);
	ck_assert_ptr_null(json_object_get(doc, "routes"));
	json_decref(doc);
}
END_TEST

static void refused(uint32_t count, const json_t *routes, const char *where, const char *why)
{
	json_t *doc;
	ck_assert_int_eq(tree_topology(pools, count, routes, 1, &doc, &topology, &at), ERR_INVALID);
	ck_assert_ptr_null(doc);
	ck_assert_ptr_null(topology);
	ck_assert_str_eq(at.where, where);
	ck_assert_msg(strstr(at.why, why) != NULL, "%s", at.why);
	ck_assert_int_eq(tree_topology(pools, count, routes, 1, NULL, NULL, NULL), ERR_INVALID);
}

START_TEST(not_composed)
{
	refused(0, NULL, "$", "there is no pool");
	refused(1, NULL, "$.pools.alpha.failover", "pool 'beta' is not defined");
	json_t *routes = json_pack("{s:s}", "r", "PoolRoute|gamma");
	refused(POOLS, routes, "$.routes.r", "pool 'gamma' is not defined");
	json_decref(routes);
	routes = json_string("r");
	refused(POOLS, routes, "$.routes", "must be a mapping");
	json_decref(routes);
	ck_assert(pool_state_set_lineage(&states[1], "other"));
	refused(POOLS, NULL, "$.pools.beta", "different lineages");
	ck_assert(pool_state_set_lineage(&states[1], "line"));
	pools[1].name = "alpha";
	refused(POOLS, NULL, "$.pools.alpha", "the pool is twice");
}
END_TEST

#define ADD_LOOP(tc, test, table) \
	tcase_add_loop_test(tc, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
	Suite *s = suite_create("ring_body");
	TCase *tc = tcase_create("ring_body");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, bytes_of_a_body);
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, equal_pools_have_equal_bodies);
	tcase_add_test(tc, ejections_are_left_out);
	tcase_add_loop_test(tc, every_kind_of_ring, 0, RING_KIND_MAX);
	tcase_add_test(tc, too_large);
	tcase_add_test(tc, every_flipped_bit_is_noticed);
	ADD_LOOP(tc, forged, forgeries);
	tcase_add_test(tc, later_versions_may_add_keys);
	tcase_add_test(tc, names);
	suite_add_tcase(s, tc);
	tc = tcase_create("tree_topology");
	tcase_add_checked_fixture(tc, compose_setup, compose_teardown);
	tcase_add_test(tc, composed);
	tcase_add_test(tc, composed_in_transition);
	tcase_add_test(tc, either_result_may_be_left_out);
	tcase_add_test(tc, not_composed);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
