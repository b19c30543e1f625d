#include <check.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/config_settings.h"
#include "common/listen.h"

/* Paths are relative to the top of the source tree, where the tests are run. */
#define DATA "tests/data/nutcracker_yml/"

#define NUTCRACKER(more) \
	"alpha:\n  listen: 127.0.0.1:22121\n" more "  servers:\n   - 127.0.0.1:11211:1\n"
#define LISTENERS "listeners: [{listen: '127.0.0.1:0', pool: a}]\n"
#define NATIVE(pool_options) \
	LISTENERS "pools: {a: {servers: ['127.0.0.1:11211:1'], " pool_options "}}\n"

static struct config *config;
static struct config_issues issues;

static void setup(void)
{
	config = NULL;
	issues = (struct config_issues){ 0 };
}

static void teardown(void)
{
	config_free(&config);
	config_issues_fini(&issues);
}

static enum err parse(const char *text)
{
	teardown();
	return config_parse(text, strlen(text), "f", &config, &issues);
}

static void parse_good(const char *text)
{
	enum err e = parse(text);
	ck_assert_msg(e == ERR_NONE, "%s: %s\n%s", issues.items[0].at.where, issues.items[0].at.why,
		      text);
	ck_assert_ptr_nonnull(config);
	ck_assert_uint_eq(issues.error_count, 0);
}

/* Some issue stands at `where` and its text contains `why`. */
static void expect(const char *where, const char *why)
{
	for (uint32_t i = 0; i < issues.count; i++)
		if (strcmp(issues.items[i].at.where, where) == 0 &&
		    strstr(issues.items[i].at.why, why) != NULL)
			return;
	for (uint32_t i = 0; i < issues.count; i++)
		fprintf(stderr, "%s: %s\n", issues.items[i].at.where, issues.items[i].at.why);
	ck_abort_msg("no issue '%s' at %s", why, where);
}

/* The only issue, and an error. */
static void parse_bad(const char *text, const char *where, const char *why)
{
	ck_assert_int_eq(parse(text), ERR_INVALID);
	ck_assert_ptr_null(config);
	expect(where, why);
	ck_assert_uint_eq(issues.count, 1);
	ck_assert(!issues.items[0].warning);
}

static void parse_warns(const char *text, const char *where, const char *why)
{
	parse_good(text);
	expect(where, why);
	ck_assert(issues.items[0].warning);
}

static const struct pool_spec *pool(const char *name)
{
	const struct pool_spec *p = topology_pool(config->topology, slice_of(name));
	ck_assert_ptr_nonnull(p);
	return p;
}

/* --- nutcracker.yml --------------------------------------------------------------------------- */

START_TEST(nutcracker_defaults)
{
	parse_good(NUTCRACKER(""));
	ck_assert_int_eq(config->syntax, CONFIG_NUTCRACKER);
	ck_assert_uint_eq(config->listener_count, 1);
	ck_assert_uint_eq(config->listeners[0].backlog, 512);
	ck_assert_uint_eq(config->listeners[0].client_connections, 0);
	ck_assert_str_eq(config->listeners[0].pool, "alpha");
	ck_assert_str_eq(config->listeners[0].listen.host, "127.0.0.1");
	ck_assert_uint_eq(config->listeners[0].listen.port, 22121);
	const struct pool_spec *p = pool("alpha");
	ck_assert_int_eq(p->protocol, PROTOCOL_MEMCACHED);
	ck_assert_int_eq(p->hash, HASH_FNV1A_64);
	ck_assert_int_eq(p->distribution, RING_KETAMA);
	ck_assert_uint_eq(p->timeout_ms, 0);
	ck_assert_uint_eq(p->server_connections, 1);
	ck_assert_uint_eq(p->server_retry_timeout_ms, 30000);
	ck_assert_uint_eq(p->server_failure_limit, 2);
	ck_assert(!p->auto_eject_hosts && !p->preconnect && !p->keepalive);
	ck_assert_str_eq(p->servers[0].ring_name, "127.0.0.1");
	ck_assert_ptr_null(p->servers[0].name);
}
END_TEST

START_TEST(nutcracker_every_option)
{
	parse_good(
	    NUTCRACKER("  hash: murmur\n  hash_tag: 11\n  distribution: modula\n"
		       "  timeout: 400\n  backlog: 1024\n  client_connections: 16\n"
		       "  redis: true\n  redis_auth: 007\n  redis_db: 3\n  tcpkeepalive: true\n"
		       "  reuseport: true\n  preconnect: true\n  auto_eject_hosts: true\n"
		       "  server_connections: 2\n  server_retry_timeout: 2000\n"
		       "  server_failure_limit: 0\n"));
	const struct listener_spec *l = &config->listeners[0];
	ck_assert_uint_eq(l->backlog, 1024);
	ck_assert_uint_eq(l->client_connections, 16);
	ck_assert_int_eq(l->protocol, PROTOCOL_REDIS);
	ck_assert(l->tcpkeepalive && l->reuseport);
	const struct pool_spec *p = pool("alpha");
	ck_assert_int_eq(p->hash, HASH_MURMUR);
	ck_assert_mem_eq(p->hash_tag, "11", 2);
	ck_assert_int_eq(p->distribution, RING_MODULA);
	ck_assert_uint_eq(p->timeout_ms, 400);
	ck_assert_str_eq(p->auth_password, "007");
	ck_assert_uint_eq(p->redis_db, 3);
	ck_assert(p->preconnect && p->auto_eject_hosts);
	ck_assert_uint_eq(p->server_connections, 2);
	ck_assert_uint_eq(p->server_retry_timeout_ms, 2000);
	ck_assert_uint_eq(p->server_failure_limit, 0);
}
END_TEST

/* The label is what keys follow: as nutcracker's own statistics show it. */
static const struct {
	const char *typed, *host, *ring_name;
	uint16_t port;
	uint32_t weight;
} servers[] = {
	{ "127.0.0.1:11211:1", "127.0.0.1", "127.0.0.1", 11211, 1 },
	{ "127.0.0.1:1:3", "127.0.0.1", "127.0.0.1:1", 1, 3 },
	{ "h:1:1 a:b", "h", "a:b", 1, 1 },
	{ "::1:22122:1", "::1", "::1:22122", 22122, 1 },
	{ "::1:11211:1", "::1", "::1", 11211, 1 },
	{ "\"[::1]:22122:1\"", "::1", "[::1]:22122", 22122, 1 },
	{ "\"[::1]:11211:1\"", "::1", "[::1]", 11211, 1 },
	{ "h:022122:1", "h", "h:022122", 22122, 1 },
	{ "h:011211:1", "h", "h", 11211, 1 },
	{ "h:1:010", "h", "h:1", 1, 10 },
	{ "h:1:4294967297", "h", "h:1", 1, 1 },
	{ "/tmp/a.sock:1", "/tmp/a.sock", "/tmp/a.sock:", 0, 1 },
	{ "/tmp/a b:2 n", "/tmp/a b", "n", 0, 2 },
	{ "':1:1'", "127.0.0.1", ":1", 1, 1 },
	{ "':11211:1'", "127.0.0.1", "", 11211, 1 },
	{ "'h:1:1 '", "h", "", 1, 1 },
};

START_TEST(nutcracker_server)
{
	char text[200];
	snprintf(text, sizeof(text), "p:\n  listen: h:1\n  servers:\n   - %s\n", servers[_i].typed);
	parse_good(text);
	const struct server_spec *s = &pool("p")->servers[0];
	ck_assert_str_eq(s->host, servers[_i].host);
	ck_assert_str_eq(s->ring_name, servers[_i].ring_name);
	ck_assert_uint_eq(s->port, servers[_i].port);
	ck_assert_uint_eq(s->weight, servers[_i].weight);

	/* the ring is built from name, host and port */
	char name[64];
	struct ring_server as = { .name = s->name, .host = s->host, .port = s->port };
	ring_server_name(&as, name, sizeof(name));
	ck_assert_str_eq(name, s->ring_name);
}
END_TEST

START_TEST(nutcracker_listen_path)
{
	parse_good("p:\n  listen: /tmp/my sock 0640\n  servers:\n   - h:1:1\n");
	ck_assert_str_eq(config->listeners[0].listen.host, "/tmp/my sock");
	ck_assert_uint_eq(config->listeners[0].listen.mode, 0640);
	ck_assert_uint_eq(config->listeners[0].listen.port, 0);
	parse_good("p:\n  listen: /tmp/x\n  servers:\n   - h:1:1\n");
	ck_assert_uint_eq(config->listeners[0].listen.mode, 0);
	parse_warns("p:\n  listen: /tmp/x 78\n  servers:\n   - h:1:1\n", "f:2:11", "taken as 7");
	ck_assert_uint_eq(config->listeners[0].listen.mode, 7);
}
END_TEST

START_TEST(nutcracker_listen_everywhere)
{
	parse_good("p:\n  listen: '*:5'\n  servers:\n  - h:1:1\n");
	ck_assert_str_eq(config->listeners[0].listen.host, "");
	ck_assert_uint_eq(config->listeners[0].listen.port, 5);
}
END_TEST

START_TEST(nutcracker_warnings)
{
	parse_warns(NUTCRACKER("  timeout: 4294967297\n"), "f:3:12", "takes it as 1");
	ck_assert_uint_eq(pool("alpha")->timeout_ms, 1);
	parse_warns(NUTCRACKER("  redis_db: 5\n"), "f:1:1", "redis_db is ignored");
	ck_assert_uint_eq(pool("alpha")->redis_db, 0);
	parse_warns(NUTCRACKER("  server_connections: 70000\n"), "f:3:23", "lowered to 65535");
	parse_warns("p:\n  listen: h:1\n  hash: crc32\n  servers:\n   - a:1:1\n   - b:1:1\n",
		    "f:1:1", "15 bits");
}
END_TEST

START_TEST(nutcracker_refusals)
{
	parse_bad(NUTCRACKER("  tiemout: 1\n"), "f:3:3",
		  "unknown key 'tiemout' (did you mean 'timeout'?)");
	parse_bad(NUTCRACKER("  timeout_ms: 1\n"), "f:3:3", "did you mean 'timeout'?");
	parse_bad(NUTCRACKER("  timeout: 1\n  timeout: 2\n"), "f:4:3", "first given at line 3");
	parse_bad(NUTCRACKER("  redis_auth: x\n"), "f:1:1", "memcached pool");
	parse_bad(NUTCRACKER("  redis: true\n  redis_auth:\n"), "f:4:14", "'redis_auth' must have");
	parse_bad(NUTCRACKER("") "beta:\n  listen: 127.0.0.1:22121\n  servers:\n  - h:1:1\n",
		  "f:6:11", "two listeners have the address '127.0.0.1:22121'");
	parse_bad("p:\n  servers:\n   - h:1:1\n", "f:1:1", "pool 'p' has no 'listen'");
	parse_bad("p:\n  listen: h:1\n", "f:1:1", "pool 'p' has no 'servers'");
	parse_bad("p:\n  listen: h:1\n  servers: []\n", "f:1:1", "1 to 65535 servers, not 0");
	parse_bad("p:\n  listen: h:1\n  servers: {a: 1}\n", "f:3:12", "must be a list");
	parse_bad("p:\n  listen: h:1\n  servers: [[h]]\n", "f:3:13", "plain values, not a list");
	parse_bad("p:\n  listen: h:1\n  servers:\n  - h:1:1\n  - h:1:2\n", "f:5:5",
		  "two servers called 'h:1'");
	parse_bad("p:\n  listen: [h:1, h:2]\n  servers:\n  - h:1:1\n", "f:2:11",
		  "must be one value");
	parse_bad("p:\n  listen: h:1\n  servers:\n  - h:1:1\nq: 5\n", "f:5:4", "must be a mapping");
	parse_bad(
	    "p:\n  listen: h:1\n  servers:\n  - h:1:2147483647\n  - i:1:2147483647\n  - j:1:2\n",
	    "f:1:1", "add up to more");
	parse_bad("\"a\\x01\":\n  listen: h:1\n  servers:\n  - h:1:1\n", "f:1:1",
		  "control character");
	parse_bad("p:\n  listen: a b:1\n  servers:\n  - h:1:1\n", "f:2:11", "no host that could");
	parse_bad("p:\n  listen: '[a:1'\n  servers:\n  - h:1:1\n", "f:2:11", "no host that could");
	parse_bad("p:\n  listen: \"h\\x7f:1\"\n  servers:\n  - h:1:1\n", "f:2:11",
		  "control character");
}
END_TEST

/* Pools whose names are words of our own form. */
START_TEST(form_is_recognised)
{
	static const char *const names[] = { "pools",  "proxy",	 "listeners",
					     "routes", "listen", "servers" };
	char text[200];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), "%s:\n  listen: h:1\n  servers:\n  - h:1:1\n",
			 names[i]);
		parse_good(text);
		ck_assert_int_eq(config->syntax, CONFIG_NUTCRACKER);
	}
	parse_good("listeners: [{listen: ':1', pool: servers}]\n"
		   "pools: {servers: {servers: [h:1]}, listen: {servers: [h:1]}}\n");
	ck_assert_int_eq(config->syntax, CONFIG_NATIVE);
	parse_bad("alpha: {lisen: x}\n", "f:1:1", "neither our own form");
}
END_TEST

static uint32_t check_folder(const char *name, enum err wanted)
{
	char path[600];
	uint32_t count = 0;
	snprintf(path, sizeof(path), DATA "%s", name);
	DIR *dir = opendir(path);
	ck_assert_msg(dir != NULL, "%s is missing: run from the top of the tree", path);
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (strstr(e->d_name, ".yml") == NULL) continue;
		snprintf(path, sizeof(path), DATA "%s/%s", name, e->d_name);
		teardown();
		ck_assert_msg(config_load(path, &config, &issues) == wanted, "%s: %s", path,
			      issues.count > 0 ? issues.items[0].at.why : "accepted");
		count++;
	}
	closedir(dir);
	return count;
}

/* The first two folders hold nutcracker 0.5.0's own verdicts (-t); the others where we differ. */
START_TEST(corpus)
{
	ck_assert_uint_gt(check_folder("accept", ERR_NONE), 60);
	ck_assert_uint_gt(check_folder("refuse", ERR_INVALID), 60);
	ck_assert_uint_gt(check_folder("lenient", ERR_NONE), 5);
	ck_assert_uint_gt(check_folder("strict", ERR_INVALID), 0);
}
END_TEST

/* --- our own form ----------------------------------------------------------------------------- */

START_TEST(native_defaults)
{
	parse_good(NATIVE(""));
	ck_assert_int_eq(config->syntax, CONFIG_NATIVE);
	const struct proxy_spec *x = &config->proxy;
	ck_assert_uint_eq(x->threads, 0);
	ck_assert_ptr_null(x->control);
	ck_assert_ptr_null(x->stats.text);
	ck_assert_uint_eq(x->log_level, 5);
	ck_assert_uint_eq(x->shutdown_timeout_ms, 10000);
	ck_assert_uint_eq(x->pipeline_max, 1024);
	ck_assert_uint_eq(x->client_output_max_bytes, 8 << 20);
	ck_assert_uint_eq(x->request_max_bytes, 512 << 20);
	ck_assert_uint_eq(x->memory_max_bytes, 0);
	ck_assert_uint_eq(x->client_partial_timeout_ms, 60000);
	ck_assert_uint_eq(x->moderation_us, 20);
	ck_assert_uint_eq(config->listeners[0].backlog, 512);
	ck_assert(config->listeners[0].listen.port_any);
	const struct pool_spec *p = pool("a");
	ck_assert_uint_eq(p->timeout_ms, 1000);
	ck_assert_uint_eq(p->server_failure_limit, 3);
	ck_assert_uint_eq(p->server_retry_timeout_ms, 2000);
	ck_assert_uint_eq(p->inflight_max, 100000);
	ck_assert_uint_eq(p->value_max_bytes, 64 << 20);
	ck_assert(p->keepalive);
	parse_good(NATIVE("protocol: redis"));
	ck_assert_uint_eq(pool("a")->value_max_bytes, 512 << 20);
	ck_assert_int_eq(config->listeners[0].protocol, PROTOCOL_REDIS);
}
END_TEST

static const struct {
	const char *distribution;
	enum hash_kind hash;
} hashes[] = {
	{ "ketama", HASH_FNV1A_64 },
	{ "modula", HASH_FNV1A_64 },
	{ "random", HASH_FNV1A_64 },
	{ "ketama_rj", HASH_MD5 },
	{ "ketama_libmemcached_weighted", HASH_MD5 },
	{ "ketama_libmemcached", HASH_ONE_AT_A_TIME },
	{ "modula_libmemcached", HASH_ONE_AT_A_TIME },
	{ "ketama_wayfair", HASH_FNV1A_32 },
	{ "ketama_wayfair_lib", HASH_FNV1A_32 },
};

START_TEST(native_default_hash)
{
	char text[300];
	snprintf(text, sizeof(text), NATIVE("distribution: %s"), hashes[_i].distribution);
	parse_good(text);
	ck_assert_int_eq(pool("a")->hash, hashes[_i].hash);
	snprintf(text, sizeof(text), NATIVE("distribution: %s, hash: crc16"),
		 hashes[_i].distribution);
	parse_good(text);
	ck_assert_int_eq(pool("a")->hash, HASH_CRC16);
}
END_TEST

START_TEST(native_sizes)
{
	parse_good("proxy: {client_output_max: 64k, request_max: 1G, reply_max: 4096, memory_max: "
		   "5g}\n" NATIVE("value_max: \"8M\""));
	ck_assert_uint_eq(config->proxy.client_output_max_bytes, 64 << 10);
	ck_assert_uint_eq(config->proxy.request_max_bytes, 1 << 30);
	ck_assert_uint_eq(config->proxy.reply_max_bytes, 4096);
	ck_assert_uint_eq(config->proxy.memory_max_bytes, 5ull << 30);
	ck_assert_uint_eq(pool("a")->value_max_bytes, 8 << 20);
	parse_bad("proxy: {request_max: 8q}\n" NATIVE(""), "f:1:22", "must be a whole number");
	parse_bad("proxy: {request_max: 4g}\n" NATIVE(""), "f:1:22", "from 4k to 4294967295");
	parse_bad("proxy: {request_max: 99999999999g}\n" NATIVE(""), "f:1:22",
		  "not the text '9999");
}
END_TEST

START_TEST(native_servers)
{
	parse_good(LISTENERS "pools:\n  a:\n    servers:\n"
			     "    - h:1\n    - h:2:3\n    - h:3:1 n\n    - \"[::1]:4\"\n"
			     "    - \"[::1]:5:2 v6\"\n    - /tmp/s\n    - /tmp/t:2 u\n"
			     "    - {host: \"::1\", port: 6, weight: 7, name: m, ejected: true}\n"
			     "    - {host: /tmp/v}\n    - h:11211\n");
	static const struct {
		const char *host, *ring_name;
		uint16_t port;
		uint32_t weight;
	} want[] = {
		{ "h", "h:1", 1, 1 },	  { "h", "h:2", 2, 3 },	 { "h", "n", 3, 1 },
		{ "::1", "::1:4", 4, 1 }, { "::1", "v6", 5, 2 }, { "/tmp/s", "/tmp/s:", 0, 1 },
		{ "/tmp/t", "u", 0, 2 },  { "::1", "m", 6, 7 },	 { "/tmp/v", "/tmp/v:", 0, 1 },
		{ "h", "h", 11211, 1 },
	};
	const struct pool_spec *p = pool("a");
	ck_assert_uint_eq(p->server_count, sizeof(want) / sizeof(want[0]));
	for (uint32_t i = 0; i < p->server_count; i++) {
		ck_assert_str_eq(p->servers[i].host, want[i].host);
		ck_assert_str_eq(p->servers[i].ring_name, want[i].ring_name);
		ck_assert_uint_eq(p->servers[i].port, want[i].port);
		ck_assert_uint_eq(p->servers[i].weight, want[i].weight);
		ck_assert_int_eq(p->servers[i].ejected, i == 7);
	}
}
END_TEST

#define SERVER(text) LISTENERS "pools: {a: {servers: [" text "]}}\n"

START_TEST(native_server_refusals)
{
	parse_bad(SERVER("h"), "f:2:23", "is not host:port:weight");
	parse_bad(SERVER("5"), "f:2:23", "must be text");
	parse_bad(SERVER("'h:0:1'"), "f:2:23", "the port must be");
	parse_bad(SERVER("'h:1:0'"), "f:2:23", "the weight must be");
	parse_bad(SERVER("'::1:11211'"), "f:2:23", "in brackets");
	parse_bad(SERVER("'2001:db8::1:11211:1'"), "f:2:23", "in brackets");
	parse_bad(SERVER("'h:1:1 '"), "f:2:23", "is not host:port:weight");
	parse_bad(SERVER("{host: h}"), "f:2:23", "the port is missing");
	parse_bad(SERVER("{port: 5}"), "f:2:23", "has no 'host'");
	parse_bad(SERVER("{host: /x, port: 5}"), "f:2:23", "no port");
	parse_bad(SERVER("{host: h, port: 5, wieght: 2}"), "f:2:42", "did you mean 'weight'?");
	parse_bad(SERVER("\"h:1:1 a\\x07\""), "f:2:23", "control character");
	parse_bad(SERVER("h:1, {host: h, port: 1}"), "f:2:28", "two servers called 'h:1'");
}
END_TEST

START_TEST(native_refusals)
{
	parse_bad(NATIVE("tiemout_ms: 5"), "f:2:45", "(did you mean 'timeout_ms'?)");
	parse_bad(NATIVE("timeout: 5"), "f:2:45", "(did you mean 'timeout_ms'?)");
	parse_bad(NATIVE("timeout_ms: '5'"), "f:2:57", "not the text '5'");
	parse_bad(NATIVE("timeout_ms: 010"), "f:2:57", "must be a whole number");
	parse_bad(NATIVE("timeout_ms: -1"), "f:2:57", "from 0 to 2147483647, not -1");
	parse_bad(NATIVE("timeout_ms: 2147483648"), "f:2:57", "from 0 to 2147483647");
	parse_bad(NATIVE("timeout_ms: [5]"), "f:2:57", "not a list");
	parse_bad(NATIVE("preconnect: yes"), "f:2:57", "'preconnect' must be true or false");
	parse_bad(NATIVE("hash: fnv1a64"), "f:2:51",
		  "unknown hash 'fnv1a64' (did you mean 'fnv1a_64'?)");
	parse_bad(NATIVE("hash_tag: abc"), "f:2:55", "exactly two bytes");
	parse_bad(NATIVE("redis_db: 1"), "f:2:9", "databases are for Redis only");
	parse_bad(NATIVE("auth: {password: x}"), "f:2:9", "credentials are for Redis only");
	parse_bad(NATIVE("protocol: redis, auth: {user: x}"), "f:2:9", "no password");
	parse_bad(NATIVE("protocol: redis, auth: {pasword: x}"), "f:2:69",
		  "did you mean 'password'?");
	parse_bad(NATIVE("timeout_ms: 1, timeout_ms: 2"), "f:2:60", "duplicate key");
	parse_bad(LISTENERS "pools: {a: {}}", "f:2:9", "has no 'servers'");
	parse_bad(LISTENERS "pools: {a: {servers: []}}", "f:2:13", "1 to 65535 servers, not 0");
	parse_bad(NATIVE("") "poolz: 1", "f:3:1", "did you mean 'pools'?");
	parse_bad("pools: {a: {servers: [h:1]}}", "f:1:1", "'listeners' is missing");
	parse_bad("[1]", "f:1:1", "must be a mapping, not a list");
	parse_bad("", "f", "the file is empty");
}
END_TEST

#define LISTENER(text) "pools: {a: {servers: [h:1]}}\nlisteners: [{" text "}]\n"

START_TEST(native_listeners)
{
	parse_bad(LISTENER("listen: ':1', pool: b"), "f:2:34", "pool 'b' is not defined");
	parse_bad(LISTENER("listen: ':1'"), "f:2:13", "neither 'pool' nor 'route'");
	parse_bad(LISTENER("pool: a"), "f:2:13", "has no 'listen'");
	parse_bad(LISTENER("listen: 1, pool: a"), "f:2:22", "must be an address");
	parse_bad(LISTENER("listen: ':1', pool: a, protocol: redis"), "f:2:47", "speaks memcached");
	parse_bad(LISTENER("listen: ':1', pool: a},{listen: ':1', pool: a"), "f:2:46",
		  "two listeners have the address ':1'");
	parse_bad(LISTENER("listen: ':1', pool: a, route: r") "routes: {r: PoolRoute|a}\n",
		  "f:2:37", "a pool or a route, not both");
	/* ports that the kernel chooses do not clash */
	parse_bad(LISTENER("listen: ':0', pool: a},{listen: ':0', pool: a"), "f:2:46",
		  "two listeners have the address ':0'");
}
END_TEST

START_TEST(native_routes)
{
	parse_good(LISTENER("listen: ':1'") "route: PoolRoute|a\n");
	ck_assert_str_eq(config->listeners[0].route, "default");
	ck_assert_ptr_null(config->listeners[0].pool);
	parse_good(LISTENER("listen: ':1', route: r") "routes: {r: {type: PoolRoute, pool: a}}\n");
	parse_bad(LISTENER("listen: ':1', pool: a") "routes: {r: HashRoute}\n", "f:3:13",
		  "supported is PoolRoute");
	parse_bad(LISTENER("listen: ':1', pool: a") "routes: {r: PoolRoute|b}\n", "f:3:13",
		  "pool 'b' is not defined");
	parse_bad(LISTENER("listen: ':1', pool: a") "routes: {r: {type: PoolRoute}}\n", "f:3:13",
		  "PoolRoute needs 'pool'");
	parse_bad(
	    LISTENER("listen: ':1', pool: a") "routes: {r: {type: PoolRoute, pool: a, poll: a}}\n",
	    "f:3:40", "unknown key 'poll' in a PoolRoute");
}
END_TEST

START_TEST(native_unsafe_yaml)
{
	parse_bad(NUTCRACKER("  timeout: &a 5\n"), "f:3:12", "anchors");
	ck_assert_int_eq(parse("a: &a [x]\nb: [*a, *a]\n"), ERR_INVALID);
	expect("f:1:4", "anchors");
	expect("f:2:5", "aliases");
	ck_assert_int_eq(parse(NATIVE("timeout_ms: !!int 5")), ERR_INVALID);
	expect("f:2:57", "tags");
	ck_assert_int_eq(parse("{[a]: 5, pools: 3}"), ERR_INVALID);
	expect("f:1:2", "a key must be plain text");
	parse_bad("pools: 1\n---\npools: 1\n", "f:2:1", "a second document");
	parse_bad(NATIVE("hash: \"md5\\0\""), "f:2:51", "NUL");
}
END_TEST

START_TEST(limits)
{
	char text[400];
	memset(text, '[', 100);
	text[100] = '\0';
	parse_bad(text, "f:1:65", "deeper than 64");

	/* each brace opens a key: nothing is kept of those, but they are nested too */
	memset(text, '{', 100);
	ck_assert_int_eq(parse(text), ERR_INVALID);
	expect("f:1:65", "deeper than 64");

	teardown();
	char *large = malloc((16 << 20) + 1);
	memset(large, ' ', (16 << 20) + 1);
	ck_assert_int_eq(config_parse(large, (16 << 20) + 1, "f", &config, &issues), ERR_INVALID);
	free(large);
	expect("f", "larger than 16 MiB");
	teardown();

	char name[300];
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	snprintf(text, sizeof(text), "%s:\n  listen: h:1\n  servers:\n  - h:1:1\n", name);
	parse_bad(text, "f:1:1", "1 to 255 bytes, not 256");
}
END_TEST

START_TEST(all_problems_in_file_order)
{
	ck_assert_int_eq(
	    parse("pools:\n  a: {hash: x, servers: [h]}\nlisteners:\n- {listen: 5, pool: a}\n"
		  "proxy: {thread: 5}\n"),
	    ERR_INVALID);
	ck_assert_uint_eq(issues.error_count, 4);
	ck_assert_str_eq(issues.items[0].at.where, "f:2:13");
	ck_assert_str_eq(issues.items[1].at.where, "f:2:26");
	ck_assert_str_eq(issues.items[2].at.where, "f:4:12");
	ck_assert_str_eq(issues.items[3].at.where, "f:5:9");
}
END_TEST

START_TEST(messages_are_safe)
{
	parse_bad(NATIVE("hash: \"\\e[31m\\x9b\""), "f:2:51", "unknown hash '?[31m??");
}
END_TEST

/* --- dumps, files, addresses, documents ---------------------------------------------------------
 */

/* What config_to_json writes is a native configuration of the same meaning. */
static void check_dump(void)
{
	json_t *dump = config_to_json(config);
	char *text = json_dumps(dump, 0);
	parse_good(text);
	json_t *again = config_to_json(config);
	ck_assert_msg(json_equal(dump, again), "%s", text);
	ck_assert_int_eq(config->syntax, CONFIG_NATIVE);
	json_decref(dump);
	json_decref(again);
	free(text);
}

START_TEST(dump_of_nutcracker_is_native)
{
	char path[600];
	DIR *dir = opendir(DATA "accept");
	ck_assert_ptr_nonnull(dir);
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (strstr(e->d_name, ".yml") == NULL) continue;
		snprintf(path, sizeof(path), DATA "accept/%s", e->d_name);
		teardown();
		ck_assert_int_eq(config_load(path, &config, &issues), ERR_NONE);
		check_dump();
	}
	closedir(dir);
}
END_TEST

START_TEST(samples_are_valid)
{
	static const char *const samples[] = { "deploy/samples/twinring.yml",
					       "deploy/samples/nutcracker.yml" };
	for (size_t i = 0; i < 2; i++) {
		teardown();
		enum err e = config_load(samples[i], &config, &issues);
		ck_assert_msg(e == ERR_NONE && issues.count == 0, "%s: %s", samples[i],
			      issues.count > 0 ? issues.items[0].at.why : err_text(e));
		check_dump();
	}
}
END_TEST

START_TEST(unreadable_files)
{
	ck_assert_int_eq(config_load("/nonexistent/x.yml", &config, &issues), ERR_IO);
	expect("/nonexistent/x.yml", "cannot be read: No such file or directory");
	teardown();
	ck_assert_int_eq(config_load("/", &config, &issues), ERR_IO);
	expect("/", "cannot be read: Is a directory");
}
END_TEST

static const struct {
	const char *text, *host; /* NULL: refused */
	uint16_t port;
	bool any;
	uint32_t mode;
	const char *again; /* NULL: as typed */
} listens[] = {
	{ "127.0.0.1:22121", "127.0.0.1", 22121, false, 0, NULL },
	{ "[::1]:22121", "::1", 22121, false, 0, NULL },
	{ ":22121", "", 22121, false, 0, NULL },
	{ "*:22121", "", 22121, false, 0, ":22121" },
	{ "h:0", "h", 0, true, 0, NULL },
	{ "/run/x", "/run/x", 0, false, 0, NULL },
	{ "/run/x 0660", "/run/x", 0, false, 0660, NULL },
	{ "/run/x 7", "/run/x", 0, false, 7, "/run/x 07" },
	{ "/run/a b 0", "/run/a b", 0, false, 0, "/run/a b 00" },
	{ "/run/a b", NULL, 0, false, 0, NULL },
	{ "/run/x 1777", NULL, 0, false, 0, NULL },
	{ "/run/x ", NULL, 0, false, 0, NULL },
	{ "::1:22121", NULL, 0, false, 0, NULL },
	{ "[::1]", NULL, 0, false, 0, NULL },
	{ "[]:1", NULL, 0, false, 0, NULL },
	{ "h", NULL, 0, false, 0, NULL },
	{ "h:", NULL, 0, false, 0, NULL },
	{ "h:65536", NULL, 0, false, 0, NULL },
	{ "h:-1", NULL, 0, false, 0, NULL },
	{ "h:1 ", NULL, 0, false, 0, NULL },
	{ "h:1\n", NULL, 0, false, 0, NULL },
	{ "", NULL, 0, false, 0, NULL },
};

START_TEST(listen_addresses)
{
	struct listen_spec l;
	const char *why = NULL;
	bool good = listen_spec_parse(listens[_i].text, &l, &why);
	ck_assert_msg(good == (listens[_i].host != NULL), "%s", listens[_i].text);
	if (!good) {
		ck_assert_ptr_nonnull(why);
		return;
	}
	ck_assert_str_eq(l.text, listens[_i].text);
	ck_assert_str_eq(l.host, listens[_i].host);
	ck_assert_uint_eq(l.port, listens[_i].port);
	ck_assert_int_eq(l.port_any, listens[_i].any);
	ck_assert_uint_eq(l.mode, listens[_i].mode);
	char *again = listen_spec_text(&l);
	ck_assert_str_eq(again, listens[_i].again != NULL ? listens[_i].again : listens[_i].text);
	free(again);
	listen_spec_fini(&l);
}
END_TEST

START_TEST(optional_addresses)
{
	parse_good("proxy: {stats: 'h:1', metrics: off}\n" NATIVE(""));
	ck_assert_str_eq(config->proxy.stats.host, "h");
	ck_assert_ptr_null(config->proxy.metrics.text);
	parse_good("proxy: {log_level: debug}\n" NATIVE(""));
	ck_assert_uint_eq(config->proxy.log_level, 7);
	parse_good("proxy: {log_level: 11}\n" NATIVE(""));
	ck_assert_uint_eq(config->proxy.log_level, 11);
	parse_bad("proxy: {log_level: 12}\n" NATIVE(""), "f:1:20", "0 to 11");
}
END_TEST

static char *read_all(const char *path)
{
	FILE *f = fopen(path, "r");
	if (f == NULL) return strdup("");
	char *text = NULL;
	size_t cap = 0;
	if (getdelim(&text, &cap, '\0', f) < 0) ck_abort_msg("%s is empty", path);
	fclose(f);
	return text;
}

/* To write it anew: TWINRING_WRITE_DOCS=1 build/release/tests/unit/common/test_config */
START_TEST(every_option_is_documented)
{
	if (getenv("TWINRING_WRITE_DOCS") != NULL) {
		FILE *f = fopen("deploy/settings.md", "w");
		ck_assert_ptr_nonnull(f);
		config_document(f);
		fclose(f);
	}
	char *want = NULL, *have = read_all("deploy/settings.md");
	size_t n;
	FILE *f = open_memstream(&want, &n);
	config_document(f);
	fclose(f);
	ck_assert_msg(strcmp(want, have) == 0, "deploy/settings.md is not what the tables say");

	const struct settings *const tables[] = { &config_settings, &proxy_settings,
						  &listener_settings };
	char cell[80], *sample = read_all("deploy/samples/twinring.yml");
	for (size_t t = 0; t < 3; t++) {
		for (size_t i = 0; i < tables[t]->count; i++) {
			snprintf(cell, sizeof(cell), "| `%s` |", tables[t]->items[i].key);
			ck_assert_msg(strstr(have, cell) != NULL, "%s", cell);
			if (strcmp(tables[t]->items[i].key, "route") == 0) continue;
			snprintf(cell, sizeof(cell), "%s:", tables[t]->items[i].key);
			ck_assert_msg(strstr(sample, cell) != NULL, "%s is not in the sample",
				      cell);
		}
	}
	free(want);
	free(have);
	free(sample);
}
END_TEST

#define ADD_LOOP(tc, test, table) \
	tcase_add_loop_test(tc, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
	Suite *s = suite_create("config");
	TCase *tc = tcase_create("config");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nutcracker_defaults);
	tcase_add_test(tc, nutcracker_every_option);
	ADD_LOOP(tc, nutcracker_server, servers);
	tcase_add_test(tc, nutcracker_listen_path);
	tcase_add_test(tc, nutcracker_listen_everywhere);
	tcase_add_test(tc, nutcracker_warnings);
	tcase_add_test(tc, nutcracker_refusals);
	tcase_add_test(tc, form_is_recognised);
	tcase_add_test(tc, corpus);
	tcase_add_test(tc, native_defaults);
	ADD_LOOP(tc, native_default_hash, hashes);
	tcase_add_test(tc, native_sizes);
	tcase_add_test(tc, native_servers);
	tcase_add_test(tc, native_server_refusals);
	tcase_add_test(tc, native_refusals);
	tcase_add_test(tc, native_listeners);
	tcase_add_test(tc, native_routes);
	tcase_add_test(tc, native_unsafe_yaml);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, all_problems_in_file_order);
	tcase_add_test(tc, messages_are_safe);
	tcase_add_test(tc, dump_of_nutcracker_is_native);
	tcase_add_test(tc, samples_are_valid);
	tcase_add_test(tc, unreadable_files);
	ADD_LOOP(tc, listen_addresses, listens);
	tcase_add_test(tc, optional_addresses);
	tcase_add_test(tc, every_option_is_documented);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
