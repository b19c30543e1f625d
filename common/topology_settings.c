#include "common/topology_settings.h"

#include <stdio.h>
#include <stdlib.h>

/* Enums are stored through an unsigned by settings.c. */
_Static_assert(sizeof(enum protocol) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum ring_kind) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum hash_kind) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum on_server_error) == sizeof(unsigned), "enum size");

static const char *protocol_word(unsigned value)
{
	return value < PROTOCOL_MAX ? protocol_name((enum protocol)value) : NULL;
}

static const char *distribution_word(unsigned value)
{
	return ring_kind_name((enum ring_kind)value);
}

static const char *hash_word(unsigned value)
{
	return hash_kind_name((enum hash_kind)value);
}

static const char *on_error_word(unsigned value)
{
	static const char *const words[] = { [ON_ERROR_ERROR] = "error", [ON_ERROR_MISS] = "miss" };
	return value < sizeof(words) / sizeof(words[0]) ? words[value] : NULL;
}

static bool hash_tag_set(void *field, const struct node *value, char *why, size_t cap)
{
	bool text = value->kind == NODE_STRING || (!value->from_json && value->kind == NODE_INT);
	if (!text || strlen(value->text) != 2) {
		snprintf(why, cap, "must be a string of exactly two bytes, such as \"{}\"");
		return false;
	}
	memcpy(field, value->text, 2);
	return true;
}

static json_t *hash_tag_to_json(const void *field)
{
	const char *tag = field;
	return tag[0] != '\0' ? json_stringn(tag, 2) : NULL;
}

static const struct setting_ops hash_tag_ops = { .set = hash_tag_set, .to_json = hash_tag_to_json };

/* --- failover: two fields, written as one text --------------------------------------------------
 */

#define FAILOVER_POOL_PREFIX "pool:"

static const char *const failover_words[] = {
	[FAILOVER_RING] = "ring",
	[FAILOVER_ERROR] = "error",
	[FAILOVER_POOL] = FAILOVER_POOL_PREFIX,
};

static struct pool_spec *failover_owner(void *field)
{
	return (struct pool_spec *)(void *)((char *)field - offsetof(struct pool_spec, failover));
}

static const struct pool_spec *failover_owner_const(const void *field)
{
	return (const struct pool_spec *)(const void *)((const char *)field -
							offsetof(struct pool_spec, failover));
}

static bool failover_set_pool(struct pool_spec *p, const char *name, char *why, size_t cap)
{
	char *copy = strdup(name);
	if (copy == NULL) {
		snprintf(why, cap, "%s", err_text(ERR_NOMEM));
		return false;
	}
	free(p->failover_pool);
	p->failover_pool = copy;
	p->failover = FAILOVER_POOL;
	return true;
}

static bool failover_set(void *field, const struct node *value, char *why, size_t cap)
{
	struct pool_spec *p = failover_owner(field);
	const char *text = value->kind == NODE_STRING ? value->text : "";
	size_t prefix = strlen(FAILOVER_POOL_PREFIX), n = strlen(text);
	if (strncmp(text, FAILOVER_POOL_PREFIX, prefix) == 0 && n > prefix &&
	    n - prefix <= NAME_BYTES_MAX)
		return failover_set_pool(p, text + prefix, why, cap);
	for (unsigned i = FAILOVER_RING; i <= FAILOVER_ERROR; i++) {
		if (strcmp(text, failover_words[i]) != 0) continue;
		p->failover = (enum failover)i;
		free(p->failover_pool);
		p->failover_pool = NULL;
		return true;
	}
	snprintf(why, cap, "must be ring, error or pool:NAME, not %s%.60s%s",
		 n > 0 ? "'" : node_kind_name(value), text, n > 0 ? "'" : "");
	return false;
}

static json_t *failover_to_json(const void *field)
{
	const struct pool_spec *p = failover_owner_const(field);
	if (p->failover != FAILOVER_POOL) return json_string(failover_words[p->failover]);
	return json_sprintf(FAILOVER_POOL_PREFIX "%s", p->failover_pool);
}

static void failover_fini(void *field)
{
	struct pool_spec *p = failover_owner(field);
	free(p->failover_pool);
	p->failover_pool = NULL;
}

static bool failover_copy(void *field, const void *from)
{
	const char *name = failover_owner_const(from)->failover_pool;
	struct pool_spec *p = failover_owner(field);
	p->failover_pool = name != NULL ? strdup(name) : NULL;
	return name == NULL || p->failover_pool != NULL;
}

static const struct setting_ops failover_ops = { .set = failover_set,
						 .to_json = failover_to_json,
						 .fini = failover_fini,
						 .copy = failover_copy };

/* clang-format off */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define FIELD(name) .offset = offsetof(struct pool_spec, name)

static const struct setting auth_items[] = {
	{ .key = "user", .type = SETTING_SECRET, FIELD(auth_user), .min = 1, .max = 4096,
	  .help = "ACL user (Redis 6 and later); without it the server's default user" },
	{ .key = "password", .type = SETTING_SECRET, FIELD(auth_password), .min = 1, .max = 4096,
	  .alias = "redis_auth",
	  .help = "sent to every server, and demanded of clients" },
};

const struct settings pool_auth_settings = {
	.title = "pool auth",
	.intro = "`auth` of a Redis pool.",
	.items = auth_items, .count = COUNT(auth_items),
};

static const struct setting pool_items[] = {
	{ .key = "protocol", .type = SETTING_ENUM, FIELD(protocol), .words = protocol_word,
	  .def = "memcached", .alias = "redis",
	  .help = "what clients and servers of the pool speak (nutcracker: `redis: true`)" },
	{ .key = "distribution", .type = SETTING_ENUM, FIELD(distribution),
	  .words = distribution_word, .def = "ketama", .alias = "distribution",
	  .help = "how keys are spread over servers; each word reproduces one existing program" },
	{ .key = "hash", .type = SETTING_ENUM, FIELD(hash), .words = hash_word,
	  .def = "(fnv1a_64; md5 for ketama_rj and ketama_libmemcached_weighted; one_at_a_time for "
		 "ketama_libmemcached and modula_libmemcached; fnv1a_32 for ketama_wayfair and "
		 "ketama_wayfair_lib)",
	  .alias = "hash", .alias_def = "fnv1a_64",
	  .help = "hash function of keys" },
	{ .key = "hash_tag", .type = SETTING_CUSTOM, FIELD(hash_tag), .ops = &hash_tag_ops,
	  .unit = "two bytes", .alias = "hash_tag",
	  .help = "hash only the part of a key between these two bytes, if there is one" },
	{ .key = "servers", .type = SETTING_READER, .unit = "list of servers, 1 to 65535",
	  .alias = "servers",
	  .help = "each `host:port`, `host:port:weight name`, `[v6]:port:weight`, "
		  "`/socket:weight name`, or a mapping (see *server*)" },
	{ .key = "timeout_ms", .type = SETTING_U32, FIELD(timeout_ms), .max = NUMBER_MAX,
	  .def = "1000", .unit = "ms", .alias = "timeout", .alias_def = "0",
	  .help = "answer to a request, from its arrival at the server's queue; 0: wait for ever" },
	{ .key = "connect_timeout_ms", .type = SETTING_U32, FIELD(connect_timeout_ms),
	  .max = NUMBER_MAX, .def = "0", .unit = "ms",
	  .help = "connection to a server; 0: as `timeout_ms`, and 1000 if that is 0 too" },
	{ .key = "server_connections", .type = SETTING_U32, FIELD(server_connections),
	  .min = 1, .max = PORT_MAX, .def = "1", .alias = "server_connections",
	  .help = "connections from each worker to each server" },
	{ .key = "preconnect", .type = SETTING_BOOL, FIELD(preconnect), .def = "false",
	  .alias = "preconnect", .help = "connect to all servers before the first request" },
	{ .key = "auto_eject_hosts", .type = SETTING_BOOL, FIELD(auto_eject_hosts), .def = "false",
	  .alias = "auto_eject_hosts",
	  .help = "rebuild the ring without a server that keeps failing, in this proxy alone" },
	{ .key = "server_retry_timeout_ms", .type = SETTING_U32, FIELD(server_retry_timeout_ms),
	  .max = NUMBER_MAX, .def = "2000", .unit = "ms", .alias = "server_retry_timeout",
	  .alias_def = "30000", .help = "how long a failed server is left alone" },
	{ .key = "server_failure_limit", .type = SETTING_U32, FIELD(server_failure_limit),
	  .max = NUMBER_MAX, .def = "3", .alias = "server_failure_limit", .alias_def = "2",
	  .help = "consecutive failures until a server counts as down; 0 is taken as 1" },
	{ .key = "auth", .type = SETTING_GROUP, .group = &pool_auth_settings,
	  .help = "credentials, Redis only" },
	{ .key = "redis_db", .type = SETTING_U32, FIELD(redis_db), .max = NUMBER_MAX, .def = "0",
	  .alias = "redis_db", .help = "database selected on every server connection, Redis only" },
	{ .key = "on_error", .type = SETTING_ENUM, FIELD(on_error), .words = on_error_word,
	  .def = "error",
	  .help = "what a client gets for a failed read: the error, or a miss; writes always fail" },
	{ .key = "failover", .type = SETTING_CUSTOM, FIELD(failover), .ops = &failover_ops,
	  .def = "ring", .unit = "ring, error, pool:NAME",
	  .help = "who serves the keys of an ejected server: the next ones on the ring, nobody, or "
		  "another pool of the same protocol" },
	{ .key = "allow_flush", .type = SETTING_BOOL, FIELD(allow_flush), .def = "false",
	  .help = "let flush_all, FLUSHALL and FLUSHDB through, to all servers" },
	{ .key = "cas_tags", .type = SETTING_BOOL, FIELD(cas_tags), .def = "false",
	  .help = "mark the cas tokens of memcached servers with the process that gave them: one "
		  "that comes back after a restart, or to another server, is answered EXISTS. All "
		  "proxies of a pool must agree" },
	{ .key = "meta_commands", .type = SETTING_BOOL, FIELD(meta_commands), .def = "false",
	  .help = "let clients use memcached's meta commands (mg, ms, md, ma, mn, me); every server "
		  "must know them: 1.6 or later" },
	{ .key = "inflight_max", .type = SETTING_U32, FIELD(inflight_max), .min = 1,
	  .max = NUMBER_MAX, .def = "100000",
	  .help = "requests queued or unanswered on one server connection; above it they fail" },
	{ .key = "value_max", .type = SETTING_BYTES32, FIELD(value_max_bytes), .min = 1,
	  .max = UINT32_MAX, .def = "(64m; 512m for Redis)", .unit = "bytes",
	  .help = "one value or bulk argument" },
	{ .key = "keepalive", .type = SETTING_BOOL, FIELD(keepalive), .def = "true",
	  .alias_def = "false", .help = "TCP keepalive on connections to servers" },
};
#undef FIELD

const struct settings pool_settings = {
	.title = "pool",
	.intro = "Each entry of `pools`, by name: servers that share one ring.",
	.items = pool_items, .count = COUNT(pool_items),
};

#define FIELD(name) .offset = offsetof(struct server_spec, name)

static const struct setting server_items[] = {
	{ .key = "host", .type = SETTING_NAME, FIELD(host), .min = 1, .max = NAME_BYTES_MAX,
	  .help = "name, IPv4 or IPv6 address (no brackets), or a unix socket's path" },
	{ .key = "port", .type = SETTING_U16, FIELD(port), .max = PORT_MAX,
	  .help = "TCP port; leave it out for a unix socket" },
	{ .key = "weight", .type = SETTING_U32, FIELD(weight), .min = 1, .max = NUMBER_MAX,
	  .def = "1", .help = "share of the keys, relative to the other servers" },
	{ .key = "name", .type = SETTING_NAME, FIELD(name), .max = NAME_BYTES_MAX,
	  .def = "(`host` on port 11211, else `host:port`)",
	  .help = "label in the ring: keys follow it, so a server's address may change under it" },
	{ .key = "ejected", .type = SETTING_BOOL, FIELD(ejected), .def = "false",
	  .help = "keep the server out of the ring" },
	{ .key = "held", .type = SETTING_BOOL, FIELD(held), .def = "false",
	  .help = "an ejected server's keys are served by nobody, whatever `failover` says: until "
		  "every proxy has stopped asking it" },
};
#undef FIELD

const struct settings server_settings = {
	.title = "server",
	.intro = "A server of a pool written as a mapping.",
	.items = server_items, .count = COUNT(server_items),
};

#define FIELD(name) .offset = offsetof(struct topology, name)

static const struct setting topology_items[] = {
	{ .key = "lineage", .type = SETTING_NAME, FIELD(lineage), .max = NAME_BYTES_MAX, .def = "(empty)",
	  .help = "which history of transitions the numbers below belong to" },
	{ .key = "epoch", .type = SETTING_U64, FIELD(epoch), .max = INT64_MAX, .def = "0",
	  .help = "the latest transition" },
	{ .key = "step", .type = SETTING_U32, FIELD(step), .max = UINT32_MAX, .def = "0",
	  .help = "of the transition" },
	{ .key = "version", .type = SETTING_U64, FIELD(version), .max = INT64_MAX, .def = "0",
	  .help = "grows with every change" },
	{ .key = "lease_ms", .type = SETTING_READER, .unit = "milliseconds",
	  .help = "for so long the proxy may act on transitions" },
	{ .key = "lease_until_us", .type = SETTING_READER, .unit = "microseconds since boot",
	  .help = "when that lease ends at the latest, however long the message was under way" },
	{ .key = "pools", .type = SETTING_READER, .unit = "mapping of pools",
	  .help = "see *pool*" },
	{ .key = "transitions", .type = SETTING_READER, .unit = "mapping of transitions, by pool",
	  .help = "pools on their way to another ring" },
	{ .key = "routes", .type = SETTING_READER, .unit = "mapping of routes", .help = "see *routes*" },
};
#undef FIELD

const struct settings topology_settings = {
	.title = "topology message",
	.intro = "What the agent sends to a proxy: a whole snapshot, as JSON.",
	.items = topology_items, .count = COUNT(topology_items),
};
/* clang-format on */
