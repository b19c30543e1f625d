#include "common/config_settings.h"

#include "common/config_values.h"
#include "common/spec_settings.h"
#include "common/topology_settings.h"

/* --- the tables ------------------------------------------------------------------------------- */

static const char *listener_protocol_word(unsigned value)
{
	return value < PROTOCOL_MAX ? protocol_name((enum protocol)value) : NULL;
}

/* clang-format off */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define FIELD(name) .offset = offsetof(struct proxy_spec, name)

static const struct setting proxy_items[] = {
	{ .key = "threads", .type = SETTING_U32, FIELD(threads), .max = 1024, .def = "0",
	  .help = "workers (threads worker-0, worker-1 ...); 0: one per core" },
	{ .key = "control", .type = SETTING_NAME, FIELD(control), .min = 1, .max = 107,
	  .help = "path of the control socket, for the agent and for operators" },
	{ .key = "saved_topology", .type = SETTING_NAME, FIELD(saved_topology), .min = 1,
	  .max = 4000,
	  .help = "where a pushed topology is kept for the next start; with `control`, unless "
		  "given, that path with `.topology` at its end" },
	{ .key = "saved_max_age_ms", .type = SETTING_U32, FIELD(saved_max_age_ms),
	  .max = NUMBER_MAX, .def = "3600000", .unit = "ms",
	  .help = "a start with a saved topology that was confirmed longer ago answers every request "
		  "with a miss or an error until the agent confirms one; 0: serve by it at any age, "
		  "at the risk of stale data" },
	{ .key = "stats", .type = SETTING_CUSTOM, FIELD(stats), .ops = &optional_listen_ops,
	  .unit = "address, off",
	  .help = "twemproxy's statistics: connect, read one JSON object, closed" },
	{ .key = "metrics", .type = SETTING_CUSTOM, FIELD(metrics), .ops = &optional_listen_ops,
	  .unit = "address, off", .help = "HTTP with /metrics (Prometheus), /healthz, /readyz" },
	{ .key = "stats_interval_ms", .type = SETTING_U32, FIELD(stats_interval_ms),
	  .min = 1, .max = NUMBER_MAX, .def = "1000", .unit = "ms",
	  .help = "how old statistics may be" },
	{ .key = "log_file", .type = SETTING_NAME, FIELD(log_file), .min = 1, .max = 4095,
	  .help = "path of the log; without it standard error" },
	{ .key = "log_level", .type = SETTING_CUSTOM, FIELD(log_level), .ops = &log_level_ops,
	  .def = "notice", .unit = LOG_LEVEL_UNIT,
	  .help = "nothing less important is logged" },
	{ .key = "shutdown_timeout_ms", .type = SETTING_U32, FIELD(shutdown_timeout_ms),
	  .max = NUMBER_MAX, .def = "10000", .unit = "ms",
	  .help = "how long requests in flight may take to finish when the proxy stops" },
	{ .key = "pipeline_max", .type = SETTING_U32, FIELD(pipeline_max), .min = 1,
	  .max = 1000000, .def = "1024",
	  .help = "requests of one client in flight; above it the client is not read" },
	{ .key = "client_output_max", .type = SETTING_BYTES32, FIELD(client_output_max_bytes),
	  .min = 4096, .max = UINT32_MAX, .def = "8m", .unit = "bytes",
	  .help = "replies waiting for one client; above it the client is not read" },
	{ .key = "request_max", .type = SETTING_BYTES32, FIELD(request_max_bytes),
	  .min = 4096, .max = UINT32_MAX, .def = "512m", .unit = "bytes",
	  .help = "one whole request" },
	{ .key = "reply_max", .type = SETTING_BYTES32, FIELD(reply_max_bytes),
	  .min = 4096, .max = UINT32_MAX, .def = "512m", .unit = "bytes",
	  .help = "one whole reply of a server" },
	{ .key = "memory_max", .type = SETTING_BYTES64, FIELD(memory_max_bytes),
	  .max = INT64_MAX, .def = "0", .unit = "bytes",
	  .help = "all buffers together; 0: no limit" },
	{ .key = "client_idle_timeout_ms", .type = SETTING_U32, FIELD(client_idle_timeout_ms),
	  .max = NUMBER_MAX, .def = "0", .unit = "ms",
	  .help = "a client that asks nothing for so long is closed; 0: never" },
	{ .key = "client_partial_timeout_ms", .type = SETTING_U32,
	  FIELD(client_partial_timeout_ms), .max = NUMBER_MAX, .def = "60000", .unit = "ms",
	  .help = "a client that stops in the middle of a request is closed; 0: never" },
	{ .key = "resolve_interval_ms", .type = SETTING_U32, FIELD(resolve_interval_ms),
	  .min = 100, .max = NUMBER_MAX, .def = "30000", .unit = "ms",
	  .help = "how often the names of servers are looked up again; another address never moves "
		  "a key, and one that is known stays while the name does not resolve; takes "
		  "effect at the next start" },
	{ .key = "moderation_us", .type = SETTING_U32, FIELD(moderation_us), .max = 100000,
	  .def = "20", .unit = "us",
	  .help = "under load, pause after a round that found little, so that the next finds more; up "
		  "to four times as long where clients pipeline" },
};
#undef FIELD

const struct settings proxy_settings = {
	.title = "proxy",
	.intro = "The process as a whole. All of it may be left out.",
	.items = proxy_items, .count = COUNT(proxy_items),
};

#define FIELD(name) .offset = offsetof(struct listener_spec, name)

static const struct setting listener_items[] = {
	{ .key = "listen", .type = SETTING_CUSTOM, FIELD(listen), .ops = &listen_ops,
	  .unit = "address", .alias = "listen",
	  .help = "`host:port`, `[v6]:port`, `:port`, or `/path` with an octal mode `/path 0770`; "
		  "port 0: any" },
	{ .key = "pool", .type = SETTING_NAME, FIELD(pool), .min = 1, .max = NAME_BYTES_MAX,
	  .help = "who serves its clients: a pool" },
	{ .key = "route", .type = SETTING_NAME, FIELD(route), .min = 1, .max = NAME_BYTES_MAX,
	  .help = "or a route" },
	{ .key = "protocol", .type = SETTING_ENUM, FIELD(protocol),
	  .words = listener_protocol_word, .def = "(of the pool)",
	  .help = "must be given only where a route leads to no pool" },
	{ .key = "backlog", .type = SETTING_U32, FIELD(backlog), .max = NUMBER_MAX,
	  .def = "512", .alias = "backlog", .help = "connections that wait to be accepted" },
	{ .key = "client_connections", .type = SETTING_U32, FIELD(client_connections),
	  .max = NUMBER_MAX, .def = "0", .alias = "client_connections",
	  .help = "clients at once; 0: as many as there are file descriptors" },
	{ .key = "tcpkeepalive", .type = SETTING_BOOL, FIELD(tcpkeepalive), .def = "false",
	  .alias = "tcpkeepalive", .help = "TCP keepalive on connections of clients" },
	{ .key = "reuseport", .type = SETTING_BOOL, FIELD(reuseport), .def = "false",
	  .alias = "reuseport", .help = "let several processes listen on one port" },
};
#undef FIELD

const struct settings listener_settings = {
	.title = "listener",
	.intro = "Each entry of `listeners`.",
	.items = listener_items, .count = COUNT(listener_items),
};

static const struct setting config_items[] = {
	{ .key = "proxy", .type = SETTING_READER, .unit = "mapping", .help = "see *proxy*" },
	{ .key = "listeners", .type = SETTING_READER, .unit = "list of mappings",
	  .help = "see *listener*" },
	{ .key = "pools", .type = SETTING_READER, .unit = "mapping of mappings",
	  .help = "see *pool*" },
	{ .key = "routes", .type = SETTING_READER, .unit = "mapping of routes",
	  .help = "named routes: each `PoolRoute\\|POOL`, or a mapping with `type` and `pool`" },
	{ .key = "route", .type = SETTING_READER, .unit = "route",
	  .help = "the route of listeners that name neither pool nor route; its own name is `default`" },
};

const struct settings config_settings = {
	.title = "file",
	.intro = "The top level of a configuration file in our own form.",
	.items = config_items, .count = COUNT(config_items),
};
/* clang-format on */

void config_document(FILE *out)
{
	static const struct settings *const sections[] = {
		&config_settings,      &proxy_settings,		&listener_settings,
		&pool_settings,	       &server_settings,	&pool_auth_settings,
		&topology_settings,    &spec_settings,		&spec_moving_settings,
		&spec_health_settings, &spec_ejection_settings,
	};
	fputs(
	    "# Options\n\n"
	    "Every option of a configuration file (YAML or JSON). Numbers are whole and unquoted; "
	    "sizes may end in k, m or g (powers of 1024). A wrong value is an error, never a "
	    "default. The fourth column names the option in nutcracker.yml and its default there "
	    "where it differs.\n\n",
	    out);
	for (size_t i = 0; i < COUNT(sections); i++)
		settings_document(sections[i], SETTINGS_WITH_ALIASES, out);
}
