#include "agent/agent_config_settings.h"

#include "agent/agent_config_values.h"
#include "agent/events.h"
#include "common/config_values.h"

/* clang-format off */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define FIELD(name) .offset = offsetof(struct agent_config, name)

static const struct setting agent_items[] = {
	{ .key = "source", .type = SETTING_CUSTOM, FIELD(source), .ops = &agent_source_ops,
	  .unit = "zk:HOST:PORT,.../CHROOT, file:DIR",
	  .help = "where the tree is: in ZooKeeper, or in a directory of files; must be given" },
	{ .key = "digest_file", .type = SETTING_CUSTOM, FIELD(digest), .ops = &agent_digest_ops,
	  .unit = "path",
	  .help = "a file of mode 0400 or 0600 with `user:password`: who we are to ZooKeeper; what "
		  "we make there is then for that user only" },
	{ .key = "session_timeout_ms", .type = SETTING_U32, FIELD(session_timeout_ms),
	  .min = 1000, .max = 600000, .def = "10000", .unit = "ms",
	  .help = "after so long without us ZooKeeper takes us for dead" },
	{ .key = "id", .type = SETTING_CUSTOM, FIELD(id), .ops = &agent_id_ops,
	  .unit = "letters, digits and . _ - : @", .def = "(the name of the host)",
	  .help = "how the tree calls this agent; no two may share it" },
	{ .key = "host", .type = SETTING_NAME, FIELD(host), .min = 1, .max = 255,
	  .def = "(the name of the host)", .help = "for people" },
	{ .key = "rack", .type = SETTING_NAME, FIELD(rack), .min = 1, .max = 255,
	  .help = "what fails together with this host" },
	{ .key = "nanny", .type = SETTING_BOOL, FIELD(nanny), .def = "false",
	  .help = "probe the servers, and vote on them" },
	{ .key = "coordinator", .type = SETTING_BOOL, FIELD(coordinator), .def = "true",
	  .help = "may be elected to make specs into states and to eject servers" },
	{ .key = "run_dir", .type = SETTING_CUSTOM, FIELD(run_dir), .ops = &agent_path_ops,
	  .unit = "path", .def = "/run/twinring", .help = "where proxies have their control sockets" },
	{ .key = "state_dir", .type = SETTING_CUSTOM, FIELD(state_dir), .ops = &agent_path_ops,
	  .unit = "path", .def = "/var/lib/twinring",
	  .help = "where the last good tree is kept, for a start without ZooKeeper" },
	{ .key = "scripts_dir", .type = SETTING_CUSTOM, FIELD(scripts_dir), .ops = &agent_path_ops,
	  .unit = "path",
	  .help = "where the scripts of `health: {probe: script}` are; without it there are none" },
	{ .key = "metrics", .type = SETTING_CUSTOM, FIELD(metrics), .ops = &optional_listen_ops,
	  .unit = "address, off", .help = "HTTP with /metrics (Prometheus), /healthz, /readyz" },
	{ .key = "log_file", .type = SETTING_NAME, FIELD(log_file), .min = 1, .max = 4095,
	  .help = "path of the log; without it standard error" },
	{ .key = "log_level", .type = SETTING_CUSTOM, FIELD(log_level), .ops = &log_level_ops,
	  .def = "notice", .unit = LOG_LEVEL_UNIT, .help = "nothing less important is logged" },
	{ .key = "confirm_ms", .type = SETTING_U32, FIELD(confirm_ms), .min = 100, .max = 600000,
	  .def = "10000", .unit = "ms",
	  .help = "how often the store is asked whether what we know is current; no lease of a "
		  "proxy is renewed on older news" },
	{ .key = "reread_ms", .type = SETTING_U32, FIELD(reread_ms), .min = 1000, .max = 86400000,
	  .def = "60000", .unit = "ms",
	  .help = "how often the whole tree is read again, whatever the watches say" },
	{ .key = "ring_grace_ms", .type = SETTING_U32, FIELD(ring_grace_ms), .min = 1000,
	  .max = 604800000, .def = "3600000", .unit = "ms",
	  .help = "when this agent coordinates: how long ring bodies stay that no pool uses any more" },
	{ .key = "cache_max_age_ms", .type = SETTING_U32, FIELD(cache_max_age_ms), .max = UINT32_MAX,
	  .def = "3600000", .unit = "ms",
	  .help = "a tree that was confirmed longer ago, as when ZooKeeper has been away, is pushed "
		  "as stale: a proxy that starts does not serve by it; 0: serve by it at any age, "
		  "at the risk of stale data" },
	{ .key = "webhooks", .type = SETTING_READER, .unit = "list of mappings",
	  .help = "whom to tell what happens: see *webhook*" },
	{ .key = "outputs", .type = SETTING_READER, .unit = "list of mappings",
	  .help = "files for clients that shard by themselves: see *output*" },
};
#undef FIELD

const struct settings agent_settings = {
	.title = "agent",
	.intro = "The top level of the file. Only `source` must be given, there or on the command "
		 "line.",
	.items = agent_items, .count = COUNT(agent_items),
};

#define FIELD(name) .offset = offsetof(struct webhook_spec, name)

static const struct setting webhook_items[] = {
	{ .key = "url", .type = SETTING_CUSTOM, FIELD(url), .ops = &agent_url_ops,
	  .unit = "http or https URL", .help = "where to POST; redirects are not followed" },
	{ .key = "events", .type = SETTING_CUSTOM, FIELD(events), .ops = &agent_events_ops,
	  .unit = "list of events, all", .def = "all", .help = "which: see *events*" },
	{ .key = "timeout_ms", .type = SETTING_U32, FIELD(timeout_ms), .min = 100, .max = 60000,
	  .def = "5000", .unit = "ms", .help = "for one attempt" },
	{ .key = "secret_file", .type = SETTING_CUSTOM, FIELD(secret), .ops = &agent_secret_ops,
	  .unit = "path",
	  .help = "a file of mode 0400 or 0600; the header `X-Twinring-Signature: sha256=HEX` is "
		  "then the HMAC-SHA256 of the body with its one line" },
};
#undef FIELD

const struct settings webhook_settings = {
	.title = "webhook",
	.intro = "Each entry of `webhooks`. An event is one POST of a JSON object. What does not "
		 "answer with 2xx is tried again, with pauses from 1 to 60 seconds, for ten minutes; "
		 "events for one URL arrive in order. At most 1,000 wait: then the oldest is dropped.",
	.items = webhook_items, .count = COUNT(webhook_items),
};

#define FIELD(name) .offset = offsetof(struct output_spec, name)

static const struct setting output_items[] = {
	{ .key = "pool", .type = SETTING_NAME, FIELD(pool), .min = 1, .max = 255, .def = "*",
	  .help = "a pool, or `*` for all of them" },
	{ .key = "ketama", .type = SETTING_CUSTOM, FIELD(ketama), .ops = &agent_path_ops,
	  .unit = "path",
	  .help = "write the pool's servers there, as libketama reads them; for `*` the path must "
		  "hold `{pool}`" },
	{ .key = "nutcracker", .type = SETTING_CUSTOM, FIELD(nutcracker), .ops = &agent_path_ops,
	  .unit = "path",
	  .help = "write a nutcracker.yml there; for `*` one with all pools, unless the path holds "
		  "`{pool}`" },
	{ .key = "listen", .type = SETTING_NAME, FIELD(listen), .min = 1, .max = 255,
	  .def = "/run/nutcracker/{pool}.sock",
	  .help = "what nutcracker.yml says about where to listen" },
	{ .key = "command", .type = SETTING_CUSTOM, FIELD(command), .ops = &agent_command_ops,
	  .unit = "list of texts",
	  .help = "a program and its arguments, run without a shell after a file changed; ended "
		  "after 30 seconds; changes meanwhile make one more run" },
};
#undef FIELD

const struct settings output_settings = {
	.title = "output",
	.intro = "Each entry of `outputs`. Files are replaced in one step, and only when their "
		 "content changes. In paths and in `listen`, `{pool}` stands for the pool's name. "
		 "Ejected servers are left out where their keys go along the ring (`failover: ring`); "
		 "a pool whose ring or servers a format cannot express is left out of it, with an "
		 "error in the log.",
	.items = output_items, .count = COUNT(output_items),
};
/* clang-format on */

static void events_document(FILE *out)
{
	fputs("## events\n\nThe object that is sent has `event`, `time` (ms), `agent` and what the "
	      "event is about.\n\n| event | meaning |\n|---|---|\n",
	      out);
	for (unsigned i = 0; i < AGENT_EVENT_MAX; i++)
		fprintf(out, "| `%s` | %s |\n", agent_event_name(i), agent_event_help(i));
}

void agent_config_document(FILE *out)
{
	static const struct settings *const sections[] = { &agent_settings, &webhook_settings,
							   &output_settings };
	fputs(
	    "# Options of the agent\n\n"
	    "Every option of twinring-agent's configuration (YAML or JSON). Numbers are whole and "
	    "unquoted. A wrong value is an error, never a default. What the command line says "
	    "goes before the file.\n\n",
	    out);
	for (size_t i = 0; i < COUNT(sections); i++)
		settings_document(sections[i], SETTINGS_PLAIN, out);
	events_document(out);
}
