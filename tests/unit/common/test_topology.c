#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/topology.h"
#include "common/topology_check.h"

static struct topology *topology;
static struct err_at at;

static void setup(void)
{
	topology = NULL;
}

static void teardown(void)
{
	topology_free(&topology);
}

/* JSON with ' for ". */
static json_t *json(const char *text)
{
	json_error_t e;
	char *quoted = strdup(text);
	for (char *p = quoted; *p != '\0'; p++)
		if (*p == '\'') *p = '"';
	json_t *j = json_loads(quoted, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
	ck_assert_msg(j != NULL, "%s in %s", e.text, quoted);
	free(quoted);
	return j;
}

static enum err from_json(const char *text)
{
	json_t *j = json(text);
	teardown();
	enum err e = topology_from_json(j, &topology, &at);
	json_decref(j);
	return e;
}

static void good(const char *text)
{
	ck_assert_msg(from_json(text) == ERR_NONE, "%s: %s", at.where, at.why);
	ck_assert_ptr_nonnull(topology);
}

static void bad(const char *text, const char *where, const char *why)
{
	ck_assert_int_eq(from_json(text), ERR_INVALID);
	ck_assert_ptr_null(topology);
	ck_assert_str_eq(at.where, where);
	ck_assert_msg(strstr(at.why, why) != NULL, "'%s' is not in '%s'", why, at.why);
}

#define FULL                                                                                     \
	"{'lineage': 'l1', 'epoch': 7, 'step': 2, 'version': 9007199254740993, 'pools': {"       \
	"'alpha': {'servers': ['h:1:1 a', {'host': 'i', 'port': 2, 'ejected': true}],"           \
	"          'hash_tag': '{}', 'timeout_ms': 250, 'value_max': '1m'},"                     \
	"'beta': {'protocol': 'redis', 'servers': ['/s:1'], 'auth': {'user': 'u', 'password': "  \
	"'p'},"                                                                                  \
	"         'redis_db': 2, 'on_error': 'miss', 'failover': 'pool:gamma', 'distribution': " \
	"'ketama_rj'},"                                                                          \
	"'gamma': {'protocol': 'redis', 'servers': ['g:1'], 'failover': 'error'}},"              \
	"'routes': {'r': 'PoolRoute|alpha'}}"

static void check_full(const struct topology *t)
{
	ck_assert_str_eq(t->lineage, "l1");
	ck_assert_uint_eq(t->epoch, 7);
	ck_assert_uint_eq(t->step, 2);
	ck_assert_uint_eq(t->version, 9007199254740993);
	ck_assert_uint_eq(t->pool_count, 3);
	const struct pool_spec *a = topology_pool(t, SLICE("alpha"));
	const struct pool_spec *b = topology_pool(t, SLICE("beta"));
	ck_assert_ptr_null(topology_pool(t, SLICE("alph")));
	ck_assert_ptr_null(topology_pool(t, SLICE("")));
	ck_assert_uint_eq(a->server_count, 2);
	ck_assert_str_eq(a->servers[0].ring_name, "a");
	ck_assert_str_eq(a->servers[1].ring_name, "i:2");
	ck_assert(!a->servers[0].ejected && a->servers[1].ejected);
	ck_assert_mem_eq(a->hash_tag, "{}", 2);
	ck_assert_uint_eq(a->timeout_ms, 250);
	ck_assert_uint_eq(a->value_max_bytes, 1 << 20);
	ck_assert_int_eq(b->protocol, PROTOCOL_REDIS);
	ck_assert_str_eq(b->auth_user, "u");
	ck_assert_str_eq(b->auth_password, "p");
	ck_assert_uint_eq(b->redis_db, 2);
	ck_assert_int_eq(b->on_error, ON_ERROR_MISS);
	ck_assert_int_eq(b->distribution, RING_KETAMA_RJ);
	ck_assert_int_eq(b->hash, HASH_MD5);
	ck_assert_uint_eq(b->servers[0].port, 0);
	ck_assert_int_eq(a->failover, FAILOVER_RING);
	ck_assert_ptr_null(topology_failover(t, a));
	ck_assert_int_eq(b->failover, FAILOVER_POOL);
	ck_assert_str_eq(b->failover_pool, "gamma");
	ck_assert_ptr_eq(topology_failover(t, b), topology_pool(t, SLICE("gamma")));
	ck_assert_int_eq(topology_pool(t, SLICE("gamma"))->failover, FAILOVER_ERROR);
	ck_assert_str_eq(json_string_value(json_object_get(t->routes, "r")), "PoolRoute|alpha");
}

START_TEST(whole_message)
{
	good(FULL);
	check_full(topology);
}
END_TEST

START_TEST(there_and_back)
{
	good(FULL);
	json_t *j = topology_to_json(topology);
	struct topology *again;
	ck_assert_int_eq(topology_from_json(j, &again, &at), ERR_NONE);
	check_full(again);
	json_t *k = topology_to_json(again);
	ck_assert(json_equal(j, k));
	json_decref(j);
	json_decref(k);
	topology_free(&again);
	ck_assert_ptr_null(again);
	topology_free(&again);
}
END_TEST

START_TEST(copies_are_deep)
{
	good(FULL);
	struct topology *copy = topology_copy(topology);
	topology_free(&topology);
	check_full(copy);
	topology_free(&copy);
}
END_TEST

START_TEST(all_ejected_is_allowed)
{
	good("{'pools': {'a': {'servers': [{'host': 'h', 'port': 1, 'ejected': true}]}}}");
	ck_assert_str_eq(topology->lineage, "");
	ck_assert_uint_eq(topology->version, 0);
	ck_assert_ptr_null(topology->routes);
}
END_TEST

#define POOL(more)   "{'pools': {'a': {'servers': ['h:1'], " more "}}}"
#define SERVER(text) "{'pools': {'a': {'servers': ['g:1', " text "]}}}"

START_TEST(refusals)
{
	bad("[]", "$", "must be a mapping, not a list");
	bad("5", "$", "must be a mapping, not a number");
	bad("{}", "$", "'pools' is missing");
	bad("{'pools': {}}", "$.pools", "1 to 4096 pools, not 0");
	bad("{'pools': {'a': {}}}", "$.pools.a", "has no 'servers'");
	bad("{'pools': {'a': 5}}", "$.pools.a", "must be a mapping");
	bad("{'pools': {'': {'servers': ['h:1']}}}", "$.pools[\"\"]", "1 to 255 bytes");
	bad("{'pools': {'a b': {'servers': []}}}", "$.pools[\"a b\"].servers", "not 0");
	bad("{'poolz': 1, 'pools': {'a': {'servers': ['h:1']}}}", "$.poolz",
	    "did you mean 'pools'?");
	bad("{'epoch': -1, 'pools': {'a': {'servers': ['h:1']}}}", "$.epoch", "not -1");
	bad("{'step': 4294967296, 'pools': {'a': {'servers': ['h:1']}}}", "$.step", "4294967295");
	bad("{'lineage': 5, 'pools': {'a': {'servers': ['h:1']}}}", "$.lineage",
	    "a string, not a number");
	bad(POOL("'tiemout_ms': 1"), "$.pools.a.tiemout_ms", "did you mean 'timeout_ms'?");
	bad(POOL("'timeout_ms': '1'"), "$.pools.a.timeout_ms", "not the text '1'");
	bad(POOL("'timeout_ms': 1.5"), "$.pools.a.timeout_ms", "not 1.5");
	bad(POOL("'timeout_ms': null"), "$.pools.a.timeout_ms", "not nothing");
	bad(POOL("'preconnect': 1"), "$.pools.a.preconnect", "true or false, not a number");
	bad(POOL("'protocol': 'redis', 'auth': {'password': 5}"), "$.pools.a.auth.password",
	    "must be a string");
	bad(POOL("'protocol': 'redis', 'auth': {'password': 'a\\u0000b'}"),
	    "$.pools.a.auth.password", "NUL");
	bad(POOL("'hash_tag': 11"), "$.pools.a.hash_tag", "two bytes");
	bad(SERVER("{'host': 'h', 'port': 1, 'weight': 0}"), "$.pools.a.servers[1].weight",
	    "from 1 to 2147483647, not 0");
	bad(SERVER("{'host': 'h', 'port': 65536}"), "$.pools.a.servers[1].port", "65535");
	bad(SERVER("{'host': 'h\\n', 'port': 1}"), "$.pools.a.servers[1].host",
	    "control character");
	bad(SERVER("'g:1:2'"), "$.pools.a.servers[1]", "two servers called 'g:1'");
	bad("{'pools': {'a': {'servers': ['h:1']}}, 'routes': {'r': 'PoolRoute|b'}}", "$.routes.r",
	    "pool 'b' is not defined");
	bad("{'pools': {'a': {'servers': ['h:1']}}, 'routes': []}", "$.routes",
	    "must be a mapping");
}
END_TEST

START_TEST(long_names)
{
	char name[300], text[400];
	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	snprintf(text, sizeof(text), SERVER("'h:1:1 %s'"), name);
	good(text);
	name[255] = 'n';
	name[256] = '\0';
	snprintf(text, sizeof(text), SERVER("'h:1:1 %s'"), name);
	bad(text, "$.pools.a.servers[1]", "longer than 255");
	snprintf(text, sizeof(text), SERVER("{'host': 'h', 'port': 1, 'name': '%s'}"), name);
	bad(text, "$.pools.a.servers[1].name", "0 to 255 bytes, not 256");
}
END_TEST

START_TEST(too_many)
{
	json_t *servers = json_array(),
	       *doc = json_pack("{s:{s:{s:o}}}", "pools", "a", "servers", servers);
	char text[32];
	for (unsigned i = 0; i < 65536; i++) {
		snprintf(text, sizeof(text), "h%u:1", i);
		json_array_append_new(servers, json_string(text));
	}
	ck_assert_int_eq(topology_from_json(doc, &topology, &at), ERR_INVALID);
	ck_assert_str_eq(at.where, "$.pools.a.servers");
	json_array_remove(servers, 0);
	ck_assert_int_eq(topology_from_json(doc, &topology, &at), ERR_NONE);
	ck_assert_uint_eq(topology->pools[0].server_count, 65535);
	json_decref(doc);

	char deep[200];
	memset(deep, '[', 80);
	memset(deep + 80, ']', 80);
	deep[160] = '\0';
	ck_assert_int_eq(from_json(deep), ERR_INVALID);
	ck_assert_msg(strstr(at.why, "deeper than 64") != NULL, "%s", at.why);
}
END_TEST

START_TEST(every_problem_is_in_the_report)
{
	struct report r = { 0 };
	json_t *doc =
	    json("{'pools': {'a': {'servers': ['h:1', 'h:1', 'h:0'], 'hash': 'x', 'y': 1}}}");
	ck_assert_int_eq(topology_read_json(doc, &topology, &r), ERR_INVALID);
	ck_assert_uint_eq(r.error_count, 4);
	report_fini(&r);
	json_decref(doc);
}
END_TEST

#define PAIR(first, second) \
	"{'pools': {'a': {'servers': ['h:1']" first "}, 'b': {'servers': ['h:1']" second "}}}"
#define TO(pool) ", 'failover': 'pool:" pool "'"

static const struct {
	const char *text, *where, *why;
} failovers[] = {
	{ PAIR(TO("a"), ""), "$.pools.a.failover", "cannot take over from itself" },
	{ PAIR(TO("bb"), ""), "$.pools.a.failover", "'bb' is not defined (did you mean 'b'?)" },
	{ PAIR(TO("b"), ", 'protocol': 'redis'"), "$.pools.a.failover",
	  "'b' speaks redis, not memcached" },
	{ PAIR(TO("b"), TO("a")), "$.pools.a.failover", "in a circle through pool 'a'" },
	{ PAIR(TO(""), ""), "$.pools.a.failover", "must be ring, error or pool:NAME" },
	{ PAIR(", 'failover': 'next'", ""), "$.pools.a.failover", "not 'next'" },
	{ PAIR(", 'failover': 1", ""), "$.pools.a.failover", "not a number" },
	{ PAIR(", 'failover': {}", ""), "$.pools.a.failover", "not a mapping" },
	{ PAIR(", 'failover': 'pool:'", ""), "$.pools.a.failover", "not 'pool:'" },
};

START_TEST(failover_refusals)
{
	bad(failovers[_i].text, failovers[_i].where, failovers[_i].why);
}
END_TEST

/* 0 -> 1 -> ... -> n-1, and the last to `last`. */
static json_t *failover_chain(unsigned n, unsigned last)
{
	json_t *pools = json_object();
	for (unsigned i = 0; i < n; i++) {
		char name[16], target[24];
		snprintf(name, sizeof(name), "p%u", i);
		snprintf(target, sizeof(target), "pool:p%u", i + 1 < n ? i + 1 : last);
		bool end = i + 1 == n && last >= n;
		json_object_set_new(
		    pools, name,
		    json_pack("{s:[s], s:s}", "servers", "h:1", "failover", end ? "ring" : target));
	}
	return json_pack("{s:o}", "pools", pools);
}

START_TEST(failover_chains)
{
	json_t *doc = failover_chain(500, 500);
	ck_assert_int_eq(topology_from_json(doc, &topology, &at), ERR_NONE);
	json_decref(doc);
	topology_free(&topology);

	doc = failover_chain(500, 250);
	struct report r = { 0 };
	ck_assert_int_eq(topology_read_json(doc, &topology, &r), ERR_INVALID);
	ck_assert_uint_eq(r.error_count, 1);
	ck_assert_ptr_nonnull(strstr(r.items[0].at.why, "'p0' leads in a circle through"));
	report_fini(&r);
	json_decref(doc);
}
END_TEST

START_TEST(where_may_be_null)
{
	json_t *doc = json("{}");
	ck_assert_int_eq(topology_from_json(doc, &topology, NULL), ERR_INVALID);
	json_decref(doc);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("topology");
	TCase *tc = tcase_create("topology");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, whole_message);
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, copies_are_deep);
	tcase_add_test(tc, all_ejected_is_allowed);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, long_names);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, every_problem_is_in_the_report);
	tcase_add_loop_test(tc, failover_refusals, 0, sizeof(failovers) / sizeof(failovers[0]));
	tcase_add_test(tc, failover_chains);
	tcase_add_test(tc, where_may_be_null);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
