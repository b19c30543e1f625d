/* What operators may write in pools/P/spec: what it means, and each way of getting it wrong. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spec.h"

static struct spec *spec;
static struct config_issues issues;
static struct err_at at;

static void teardown(void)
{
	spec_free(&spec);
	config_issues_fini(&issues);
}

static enum err parse_n(const char *text, size_t n)
{
	teardown();
	return spec_parse(text, n, "p", "f", &spec, &issues);
}

static void good(const char *text)
{
	enum err e = parse_n(text, strlen(text));
	ck_assert_msg(e == ERR_NONE, "%s: %s in %s", issues.items[0].at.where,
		      issues.items[0].at.why, text);
	ck_assert_ptr_nonnull(spec);
	ck_assert_uint_eq(issues.error_count, 0);
}

static bool issue_is(uint32_t i, const char *where, const char *why)
{
	return strcmp(issues.items[i].at.where, where) == 0 &&
	       strstr(issues.items[i].at.why, why) != NULL;
}

/* The issue is among the reported ones. */
static void bad_n(const char *text, size_t n, const char *where, const char *why)
{
	ck_assert_int_eq(parse_n(text, n), ERR_INVALID);
	ck_assert_ptr_null(spec);
	ck_assert_uint_ge(issues.error_count, 1);
	for (uint32_t i = 0; i < issues.count; i++)
		if (!issues.items[i].warning && issue_is(i, where, why)) return;
	ck_abort_msg("%s: '%s' is not what %s: '%s' says of %.200s", where, why,
		     issues.items[0].at.where, issues.items[0].at.why, text);
}

static void bad(const char *text, const char *where, const char *why)
{
	bad_n(text, strlen(text), where, why);
}

#define SERVERS "servers: [h:1:2 a, h:2 b, h:3 c]\n"

START_TEST(defaults)
{
	good(SERVERS);
	ck_assert_str_eq(spec->pool->name, "p");
	ck_assert_ptr_eq(spec->pool, &spec->topology->pools[0]);
	ck_assert_uint_eq(spec->topology->pool_count, 1);
	ck_assert_uint_eq(spec->pool->server_count, 3);
	ck_assert_int_eq(spec->pool->failover, FAILOVER_RING);
	ck_assert_int_eq(spec->mode, MODE_CACHE);
	ck_assert_int_eq(spec->transition, TRANSITION_TWO_RING);
	ck_assert_uint_eq(spec->moving.slices, 0);
	ck_assert_uint_eq(spec->moving.dual_max_ms, 600000);
	ck_assert_uint_eq(spec->moving.value_max_bytes, 64 << 20);
	ck_assert_uint_eq(spec->max_shrink_percent, 50);
	ck_assert_uint_eq(spec->confirm_shrink_to, 0);
	ck_assert_int_eq(spec->on_rejoin, REJOIN_FLUSH);
	ck_assert_uint_eq(spec->pin_count, 0);
	ck_assert_int_eq(spec_pin(spec, "a"), PIN_NONE);
	ck_assert_uint_eq(spec->lease_ms, 60000);
	ck_assert_int_eq(spec->health.probe, PROBE_MEMCACHED);
	ck_assert_uint_eq(spec->health.interval_ms, 1000);
	ck_assert_uint_eq(spec->health.timeout_ms, 300);
	ck_assert_uint_eq(spec->health.fall, 3);
	ck_assert_uint_eq(spec->health.rise, 5);
	ck_assert_str_eq(spec->health.http_path, "/");
	ck_assert_uint_eq(spec->health.http_port, 0);
	ck_assert_ptr_null(spec->health.script);
	ck_assert_uint_eq(spec->ejection.cap_percent, 20);
	ck_assert_uint_eq(spec->ejection.min_interval_ms, 10000);
	ck_assert_uint_eq(spec->ejection.backoff_ms, 30000);
	ck_assert_uint_eq(spec->ejection.backoff_max_ms, 900000);
	ck_assert_uint_eq(spec->ejection.quarantine_after, 3);
}
END_TEST

#define EVERYTHING                                                                                \
	"{\"protocol\": \"redis\", \"servers\": [\"h:1:2 a\", {\"host\": \"i\", \"port\": 2}],\n" \
	" \"hash_tag\": \"{}\", \"timeout_ms\": 250, \"failover\": \"pool:gutter\",\n"            \
	" \"mode\": \"cache\", \"transition\": \"instant\", \"max_shrink_percent\": 0,\n"         \
	" \"confirm_shrink_to\": 2, \"on_rejoin\": \"keep\", \"lease_ms\": 0,\n"                  \
	" \"pins\": {\"i:2\": \"out\", \"a\": \"in\"},\n"                                         \
	" \"health\": {\"probe\": \"script\", \"script\": \"check\", \"interval_ms\": 50,\n"      \
	"  \"timeout_ms\": 50, \"fall\": 1, \"rise\": 2, \"http_path\": \"/x\",\n"                \
	"  \"http_port\": 8080},\n"                                                               \
	" \"ejection\": {\"cap_percent\": 100, \"min_interval_ms\": 0, \"backoff_ms\": 5,\n"      \
	"  \"backoff_max_ms\": 5, \"quarantine_after\": 0}}"

static void check_everything(void)
{
	ck_assert_int_eq(spec->pool->protocol, PROTOCOL_REDIS);
	ck_assert_int_eq(spec->pool->failover, FAILOVER_POOL);
	ck_assert_str_eq(spec->pool->failover_pool, "gutter");
	ck_assert_uint_eq(spec->pool->timeout_ms, 250);
	ck_assert_uint_eq(spec->max_shrink_percent, 0);
	ck_assert_uint_eq(spec->confirm_shrink_to, 2);
	ck_assert_int_eq(spec->on_rejoin, REJOIN_KEEP);
	ck_assert_uint_eq(spec->lease_ms, 0);
	ck_assert_uint_eq(spec->pin_count, 2);
	ck_assert_int_eq(spec_pin(spec, "i:2"), PIN_OUT);
	ck_assert_int_eq(spec_pin(spec, "a"), PIN_IN);
	ck_assert_int_eq(spec_pin(spec, "i"), PIN_NONE);
	ck_assert_int_eq(spec->health.probe, PROBE_SCRIPT);
	ck_assert_str_eq(spec->health.script, "check");
	ck_assert_str_eq(spec->health.http_path, "/x");
	ck_assert_uint_eq(spec->health.http_port, 8080);
	ck_assert_uint_eq(spec->health.fall, 1);
	ck_assert_uint_eq(spec->ejection.cap_percent, 100);
	ck_assert_uint_eq(spec->ejection.backoff_max_ms, 5);
	ck_assert_uint_eq(spec->ejection.quarantine_after, 0);
}

START_TEST(every_option_there_and_back)
{
	good(EVERYTHING);
	check_everything();
	json_t *dump = spec_to_json(spec);
	char *text = json_dumps(dump, JSON_INDENT(1));
	good(text);
	check_everything();
	json_t *again = spec_to_json(spec);
	ck_assert(json_equal(dump, again));
	json_decref(dump);
	json_decref(again);
	free(text);
}
END_TEST

START_TEST(storage_has_defaults_of_its_own)
{
	good("protocol: redis\nmode: storage\n" SERVERS);
	ck_assert_int_eq(spec->on_rejoin, REJOIN_KEEP);
	ck_assert_int_eq(spec->pool->failover, FAILOVER_ERROR);
	ck_assert_int_eq(spec->health.probe, PROBE_REDIS);
	good("protocol: redis\nmode: storage\nfailover: error\non_rejoin: keep\n" SERVERS);
}
END_TEST

/* --- what is refused -------------------------------------------------------------------------- */

static const struct {
	const char *text, *where, *why;
} refusals[] = {
	/* the text as a whole */
	{ "", "f", "empty" },
	{ "# nothing but a comment\n", "f", "empty" },
	{ "\n\n  \n", "f", "empty" },
	{ "{", "f:2:1", "did not find" },
	{ "{\"servers\": [\"h:1\"}", "f:1:19", "did not find expected ',' or ']'" },
	{ "{\"servers\": [\"h:1\"]", "f:2:1", "did not find expected ',' or '}'" },
	{ SERVERS "---\n" SERVERS, "f:2:1", "a second document starts here" },
	{ "h:1", "f:1:1", "'the spec' must be a mapping, not a string" },
	{ "[" SERVERS "]", "f:1:1", "must be a mapping, not a list" },
	{ "null", "f:1:1", "must be a mapping, not nothing" },
	{ "42", "f:1:1", "must be a mapping, not a number" },
	{ SERVERS "a: *b\n", "f:2:4", "aliases" },
	{ SERVERS "\tmode: cache\n", "f:2:1", "cannot start any token" },
	{ SERVERS "pins: &x {}\n", "f:2:7", "anchors" },
	{ SERVERS "mode: !!str cache\n", "f:2:7", "tags" },
	{ SERVERS "? [a]\n: b\n", "f:2:3", "a key must be plain text" },
	{ "<html><body>It works!</body></html>\n", "f:1:1", "must be a mapping" },
	/* keys */
	{ SERVERS "mood: cache\n", "f:2:1", "unknown key 'mood' (did you mean 'mode'?)" },
	{ SERVERS "max_shrink_procent: 1\n", "f:2:1", "did you mean 'max_shrink_percent'?" },
	{ SERVERS "timeout: 1\n", "f:2:1", "did you mean 'timeout_ms'?" },
	{ SERVERS "zzzzzzzzzzz: 1\n", "f:2:1", "unknown key 'zzzzzzzzzzz'" },
	{ SERVERS "mode: cache\nmode: cache\n", "f:3:1",
	  "duplicate key 'mode', first given at line 2" },
	{ SERVERS SERVERS, "f:2:1", "duplicate key 'servers'" },
	{ SERVERS "pins:\n  a: in\n  a: out\n", "f:4:3", "duplicate key 'a'" },
	{ SERVERS "health: {fall: 1, fall: 2}\n", "f:2:19", "duplicate key 'fall'" },
	{ SERVERS "health: {fell: 1}\n", "f:2:10", "did you mean 'fall'?" },
	{ SERVERS "ejection: {cap: 1}\n", "f:2:12", "unknown key 'cap' in pool spec ejection" },
	{ SERVERS "name: p\n", "f:2:1", "unknown key 'name'" },
	/* servers */
	{ "mode: cache\n", "f:1:1", "pool 'p' has no 'servers'" },
	{ "servers: []\n", "f:1:1", "must have 1 to 65535 servers, not 0" },
	{ "servers: h:1\n", "f:1:10", "'servers' must be a list, not a string" },
	{ "servers: {a: h:1}\n", "f:1:10", "'servers' must be a list, not a mapping" },
	{ "servers: [h:1:0 a]\n", "f:1:11", "the weight must be a whole number from 1" },
	{ "servers: [h:0:1 a]\n", "f:1:11", "the port must be a whole number from 1" },
	{ "servers: [h:70000]\n", "f:1:11", "the port must be a whole number from 1 to 65535" },
	{ "servers:\n- h:1 a\n- h:2 a\n", "f:3:3", "two servers called 'a'" },
	{ "servers:\n- h:1\n- h:1\n", "f:3:3", "two servers called 'h:1'" },
	{ "servers: [h]\n", "f:1:11", "is not host:port:weight" },
	{ "servers: [null]\n", "f:1:11", "a server must be text" },
	{ "servers: [[h:1]]\n", "f:1:11", "a server must be text" },
	{ "servers:\n- {host: h, port: 1, ejected: true}\n", "f:2:3", "write pins: {h:1: out}" },
	{ "servers:\n- {host: h, port: 1, name: ''}\n", "f:2:3", "the server's name is empty" },
	{ "servers: [h:1:2147483647 a, h:2:2147483647 b, h:3:2 c]\n", "f:1:1", "add up to more" },
	/* words and numbers */
	{ SERVERS "hash: fnv\n", "f:2:7", "unknown hash 'fnv'" },
	{ SERVERS "distribution: ketame\n", "f:2:15", "(did you mean 'ketama'?)" },
	{ SERVERS "protocol: http\n", "f:2:11", "unknown protocol 'http'" },
	{ SERVERS "mode: cash\n", "f:2:7", "unknown mode 'cash' (did you mean 'cache'?)" },
	{ SERVERS "mode: [cache]\n", "f:2:7", "'mode' must be a string, not a list" },
	{ SERVERS "transition: slow\n", "f:2:13", "unknown transition 'slow'" },
	{ SERVERS "transition: two_rings\n", "f:2:13", "two_ring" },
	{ SERVERS "moving: {slices: 8}\n", "f:2:18", "1, 16, or 0" },
	{ SERVERS "moving: {slices: 17}\n", "f:2:18", "16" },
	{ SERVERS "moving: {value_max: 0}\n", "f:2:21", "1" },
	{ SERVERS "max_shrink_percent: 101\n", "f:2:21",
	  "must be a whole number from 0 to 100, not 101" },
	{ SERVERS "max_shrink_percent: 50%\n", "f:2:21", "not the text '50%'" },
	{ SERVERS "max_shrink_percent: -1\n", "f:2:21", "from 0 to 100, not -1" },
	{ SERVERS "max_shrink_percent: 1.5\n", "f:2:21", "not 1.5" },
	{ SERVERS "max_shrink_percent: 99999999999999999999\n", "f:2:21", "from 0 to 100" },
	{ SERVERS "confirm_shrink_to: three\n", "f:2:20", "not the text 'three'" },
	{ SERVERS "on_rejoin: wipe\n", "f:2:12", "unknown on_rejoin 'wipe'" },
	{ SERVERS "lease_ms: \"60000\"\n", "f:2:11", "not the text '60000'" },
	{ SERVERS "lease_ms: ~\n", "f:2:11", "not nothing" },
	{ SERVERS "lease_ms: 010\n", "f:2:11", "not 010" },
	/* failover */
	{ SERVERS "failover: next\n", "f:2:11", "ring, error or pool:NAME, not 'next'" },
	{ SERVERS "failover: 'pool:'\n", "f:2:11", "ring, error or pool:NAME" },
	{ SERVERS "failover: {pool: x}\n", "f:2:11", "not a mapping" },
	{ SERVERS "failover: pool:p\n", "f:2:11", "cannot take over from itself" },
	/* pins */
	{ SERVERS "pins: [a]\n", "f:2:7", "'pins' must be a mapping, not a list" },
	{ SERVERS "pins: {aa: out}\n", "f:2:8", "'aa' is no server of the pool (did you mean 'a'" },
	{ SERVERS "pins: {something: out}\n", "f:2:8", "'something' is no server of the pool" },
	{ SERVERS "pins: {a: off}\n", "f:2:11", "must be 'out' or 'in', not 'off'" },
	{ SERVERS "pins: {a: true}\n", "f:2:11", "must be 'out' or 'in', not true or false" },
	{ SERVERS "pins: {a: out, b: out, c: out}\n", "f:2:1", "leave no server in the ring" },
	/* mode storage */
	{ SERVERS "mode: storage\n", "f:2:7", "'storage' is for Redis pools only" },
	{ SERVERS "protocol: redis\nmode: storage\nfailover: ring\n", "f:4:11",
	  "'failover' must be error" },
	{ SERVERS "protocol: redis\nmode: storage\non_rejoin: flush\n", "f:4:12",
	  "'on_rejoin' must be keep" },
	/* health and ejection */
	{ SERVERS "health: 5\n", "f:2:9", "'health' must be a mapping, not a number" },
	{ SERVERS "health: {probe: ping}\n", "f:2:17", "unknown probe 'ping'" },
	{ SERVERS "health: {probe: redis}\n", "f:2:17", "speaks another protocol" },
	{ SERVERS "health: {probe: script}\n", "f:2:17", "needs the option 'script'" },
	{ SERVERS "health: {script: /bin/sh}\n", "f:2:18", "not a path" },
	{ SERVERS "health: {script: ..}\n", "f:2:18", "not a path" },
	{ SERVERS "health: {http_path: x}\n", "f:2:21", "must begin with /" },
	{ SERVERS "health: {http_port: 65536}\n", "f:2:21", "from 0 to 65535" },
	{ SERVERS "health: {interval_ms: 0}\n", "f:2:23", "from 10 to 3600000, not 0" },
	{ SERVERS "health: {interval_ms: 100}\n", "f:2:9",
	  "must not be longer than 'interval_ms'" },
	{ SERVERS "health: {timeout_ms: 2000}\n", "f:2:22", "not be longer than 'interval_ms'" },
	{ SERVERS "health: {fall: 0}\n", "f:2:16", "from 1 to 1000, not 0" },
	{ SERVERS "ejection: []\n", "f:2:11", "'ejection' must be a mapping, not a list" },
	{ SERVERS "ejection: {cap_percent: 120}\n", "f:2:25", "from 0 to 100, not 120" },
	{ SERVERS "ejection: {backoff_max_ms: 1}\n", "f:2:28", "not be less than 'backoff_ms'" },
	/* the pool's own rules */
	{ SERVERS "redis_db: 1\n", "f:1:1", "databases are for Redis only" },
	{ SERVERS "hash_tag: '{'\n", "f:2:11", "exactly two bytes" },
	{ SERVERS "hash_tag: \"\\0a\"\n", "f:2:11", "NUL" },
};

START_TEST(refused)
{
	bad(refusals[_i].text, refusals[_i].where, refusals[_i].why);
}
END_TEST

START_TEST(json_is_refused_with_its_place_too)
{
	bad("{\n  \"servers\": [\"h:1\"],\n  \"mode\": \"cash\"\n}", "f:3:11",
	    "unknown mode 'cash'");
	bad("{\"servers\": [\"h:1\"], \"lease_ms\": \"1\"}", "f:1:34", "not the text '1'");
}
END_TEST

START_TEST(binary_is_refused)
{
	char junk[256];
	for (unsigned i = 0; i < sizeof(junk); i++) junk[i] = (char)i;
	bad_n(junk, sizeof(junk), "f:1:1", "control characters are not allowed");
	bad_n("\0\0\0\0", 4, "f:1:1", "control characters are not allowed");
	bad_n("\xff\xfe\xfd", 3, "f:1:1", "incomplete UTF-16");
	bad_n("mode: \xc3\x28\n", 9, "f:1:1", "UTF-8");
	bad_n("\x7f"
	      "ELF\x02\x01\x01",
	      7, "f:1:1", "control characters");
	bad_n("\x1f\x8b\x08\x00", 4, "f:1:1", "control characters");
}
END_TEST

static char *repeat(const char *piece, size_t bytes)
{
	size_t n = strlen(piece);
	char *text = malloc(bytes + 1);
	for (size_t i = 0; i < bytes; i++) text[i] = piece[i % n];
	text[bytes] = '\0';
	return text;
}

static const struct {
	const char *piece;
	size_t bytes;
	const char *where, *why;
} junk[] = {
	{ "x", 1 << 20, "f", "512 KiB at most, not 1024" },
	{ "\x01\x80", 1 << 20, "f", "512 KiB at most" },
	{ "servers: [h:1]\n", 2 << 20, "f", "512 KiB at most, not 2048" },
	{ "x", SPEC_TEXT_MAX, "f:1:1", "must be a mapping, not a string" },
	{ "[", SPEC_TEXT_MAX, "f:1:65", "nested deeper than 64 levels" },
	{ "{\"a\":", SPEC_TEXT_MAX, "f:1:321", "nested deeper than 64 levels" },
	{ "a: 1\n", SPEC_TEXT_MAX, "f:2:1", "duplicate key 'a'" },
	{ "- ", SPEC_TEXT_MAX, "f:1:129", "nested deeper than 64 levels" },
	{ "\n", SPEC_TEXT_MAX, "f", "empty" },
	{ "\"", SPEC_TEXT_MAX, "f:1:3", "did not find expected" },
	{ "\xff", SPEC_TEXT_MAX, "f:1:1", "UTF-8" },
};

START_TEST(a_lot_of_junk_is_refused)
{
	char *text = repeat(junk[_i].piece, junk[_i].bytes);
	bad(text, junk[_i].where, junk[_i].why);
	free(text);
}
END_TEST

/* Tens of thousands of mistakes cost neither minutes nor gigabytes. */
START_TEST(many_mistakes)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	fputs("servers:\n", f);
	for (unsigned i = 0; i < 20000; i++) fprintf(f, "- h:%u\n", i + 1);
	fputs("pins:\n", f);
	for (unsigned i = 0; i < 20000; i++) fprintf(f, " x%u: out\n", i);
	fclose(f);
	bad(text, "f:20003:2", "'x0' is no server of the pool");
	ck_assert_uint_gt(issues.error_count, 19999);
	free(text);
}
END_TEST

START_TEST(a_ring_too_large_for_a_znode)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	fputs("mode: cache\nservers:\n", f);
	for (unsigned i = 0; i < 20000; i++) fprintf(f, "- h:%u\n", i + 1);
	fclose(f);
	bad(text, "f:2:1", "must fit into 512 KiB of JSON");
	free(text);
}
END_TEST

START_TEST(every_problem_is_reported_in_order)
{
	const char *text = "mode: cash\nservers: [h:0]\nlease_ms: x\nfoo_bar: 1\n"
			   "health: {fall: 0}\npins: {h: 1}\n";
	ck_assert_int_eq(parse_n(text, strlen(text)), ERR_INVALID);
	ck_assert_uint_eq(issues.error_count, 6);
	ck_assert(issue_is(0, "f:1:7", "mode"));
	ck_assert(issue_is(1, "f:2:11", "port"));
	ck_assert(issue_is(2, "f:3:11", "lease_ms"));
	ck_assert(issue_is(3, "f:4:1", "foo_bar"));
	ck_assert(issue_is(4, "f:5:16", "fall"));
	ck_assert(issue_is(5, "f:6:11", "out"));
}
END_TEST

START_TEST(names_of_pools)
{
	ck_assert_int_eq(spec_parse(SERVERS, strlen(SERVERS), "", "f", &spec, &issues),
			 ERR_INVALID);
	ck_assert(issue_is(0, "f:1:1", "the pool's name must have 1 to 255 bytes"));
	config_issues_fini(&issues);
	ck_assert_int_eq(spec_parse(SERVERS, strlen(SERVERS), "a\nb", "f", &spec, &issues),
			 ERR_INVALID);
	ck_assert(issue_is(0, "f:1:1", "holds a control character"));
}
END_TEST

/* --- shrinking -------------------------------------------------------------------------------- */

/* "" when the change is allowed. */
static const struct {
	const char *current, *wanted, *why;
} shrinks[] = {
	{ "servers: [h:1, h:2, h:3, h:4]", "servers: [h:1, h:2]", "" },
	{ "servers: [h:1, h:2, h:3, h:4]", "servers: [h:1]",
	  "3 of 4 servers would be lost at once, more than 50 %: if that is meant, add "
	  "confirm_shrink_to: 1" },
	{ "servers: [h:1, h:2, h:3, h:4]", "servers: [h:1]\nconfirm_shrink_to: 1", "" },
	{ "servers: [h:1, h:2, h:3, h:4]", "servers: [h:1]\nconfirm_shrink_to: 2",
	  "confirm_shrink_to: 1, not 2" },
	{ "servers: [h:1, h:2, h:3, h:4]", "servers: [h:1]\nmax_shrink_percent: 75", "" },
	{ "servers: [h:1, h:2, h:3, h:4]", "servers: [h:1]\nmax_shrink_percent: 74", "3 of 4" },
	{ "servers: [h:1, h:2]", "servers: [h:1]\nmax_shrink_percent: 0", "1 of 2 servers" },
	{ "servers: [h:1, h:2]", "servers: [h:1]\nmax_shrink_percent: 100", "" },
	/* replaced by as many others: all that was cached is lost */
	{ "servers: [h:1, h:2]", "servers: [i:1, i:2]", "2 of 2 servers" },
	{ "servers: [h:1, h:2]", "servers: [i:1, i:2]\nconfirm_shrink_to: 2", "" },
	/* the same names at other addresses */
	{ "servers: [h:1 a, h:2 b]", "servers: [i:1 b, i:2 a]", "" },
	{ "servers: [h:1, h:2]", "servers: [h:1, h:2, h:3, h:4, h:5]", "" },
	/* one server of four, but most of the weight */
	{ "servers: [h:1:10, h:2, h:3, h:4]", "servers: [h:2, h:3, h:4]",
	  "10 of 13 parts of the weight would be lost" },
	{ "servers: [h:1:10, h:2, h:3, h:4]", "servers: [h:2, h:3, h:4]\nconfirm_shrink_to: 3",
	  "" },
	/* half of the servers, a small part of the weight */
	{ "servers: [h:1:10, h:2]", "servers: [h:1:10]", "" },
	/* a confirmation that is no longer needed does no harm */
	{ "servers: [h:1, h:2]", "servers: [h:1, h:2, h:3]\nconfirm_shrink_to: 9", "" },
};

START_TEST(shrinking)
{
	good(shrinks[_i].current);
	struct spec *current = spec;
	spec = NULL;
	char text[200];
	snprintf(text, sizeof(text), "\n  # moved down\n%s", shrinks[_i].wanted);
	good(text);
	bool allowed = shrinks[_i].why[0] == '\0';
	enum err e = spec_check_shrink(spec, current->pool, &at);
	ck_assert_msg(e == (allowed ? ERR_NONE : ERR_INVALID), "%s", shrinks[_i].wanted);
	if (!allowed) {
		ck_assert_str_eq(at.where, "f:3:1");
		ck_assert_msg(strstr(at.why, shrinks[_i].why) != NULL, "%s", at.why);
	}
	spec_free(&current);
}
END_TEST

/* --- failover to other pools ------------------------------------------------------------------ */

#define OTHERS_MAX 3

static const struct {
	const char *wanted; /* of pool p */
	struct {
		const char *name, *text;
	} others[OTHERS_MAX];
	const char *where, *why; /* NULL: allowed */
} failovers[] = {
	{ "failover: ring", { { NULL, NULL } }, NULL, NULL },
	{ "failover: pool:q", { { "q", "" } }, NULL, NULL },
	{ "failover: pool:q", { { "q", "failover: pool:r" }, { "r", "" } }, NULL, NULL },
	{ "failover: pool:q", { { "r", "" } }, "f:2:1", "pool 'q' does not exist" },
	{ "failover: pool:q",
	  { { "q", "protocol: redis" } },
	  "f:2:1",
	  "pool 'q' speaks redis, not memcached" },
	{ "failover: pool:q",
	  { { "q", "failover: pool:p" } },
	  "f:2:1",
	  "the failover through pool 'q' leads back" },
	{ "failover: pool:q",
	  { { "q", "failover: pool:r" }, { "r", "failover: pool:p" } },
	  "f:2:1",
	  "leads back" },
	/* what p was before does not matter */
	{ "failover: pool:q", { { "p", "failover: pool:r" }, { "q", "" } }, NULL, NULL },
	{ "protocol: redis", { { "p", "" } }, NULL, NULL },
	/* a circle of others is found when one of them changes */
	{ "failover: pool:q",
	  { { "q", "failover: pool:r" }, { "r", "failover: pool:q" } },
	  NULL,
	  NULL },
	{ "protocol: redis",
	  { { "q", "failover: pool:p" } },
	  "f:2:1",
	  "pool 'q' has this one as its failover and speaks memcached" },
};

START_TEST(failover_among_pools)
{
	struct spec *others[OTHERS_MAX];
	const struct pool_spec *pools[OTHERS_MAX];
	uint32_t count = 0;
	char text[200];
	for (; count < OTHERS_MAX && failovers[_i].others[count].name != NULL; count++) {
		snprintf(text, sizeof(text), "servers: [h:1]\n%s",
			 failovers[_i].others[count].text);
		ck_assert_int_eq(spec_parse(text, strlen(text), failovers[_i].others[count].name,
					    "o", &others[count], &issues),
				 ERR_NONE);
		config_issues_fini(&issues);
		pools[count] = others[count]->pool;
	}
	snprintf(text, sizeof(text), "servers: [h:1]\n%s", failovers[_i].wanted);
	good(text);
	enum err e = spec_check_failover(spec, pools, count, &at);
	ck_assert_int_eq(e, failovers[_i].why == NULL ? ERR_NONE : ERR_INVALID);
	if (e != ERR_NONE) {
		ck_assert_str_eq(at.where, failovers[_i].where);
		ck_assert_msg(strstr(at.why, failovers[_i].why) != NULL, "%s", at.why);
	}
	while (count > 0) spec_free(&others[--count]);
}
END_TEST

#define ADD_LOOP(tc, test, table) \
	tcase_add_loop_test(tc, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
	Suite *s = suite_create("spec");
	TCase *tc = tcase_create("spec");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, defaults);
	tcase_add_test(tc, every_option_there_and_back);
	tcase_add_test(tc, storage_has_defaults_of_its_own);
	ADD_LOOP(tc, refused, refusals);
	tcase_add_test(tc, json_is_refused_with_its_place_too);
	tcase_add_test(tc, binary_is_refused);
	ADD_LOOP(tc, a_lot_of_junk_is_refused, junk);
	tcase_add_test(tc, many_mistakes);
	tcase_add_test(tc, a_ring_too_large_for_a_znode);
	tcase_add_test(tc, every_problem_is_reported_in_order);
	tcase_add_test(tc, names_of_pools);
	ADD_LOOP(tc, shrinking, shrinks);
	ADD_LOOP(tc, failover_among_pools, failovers);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
