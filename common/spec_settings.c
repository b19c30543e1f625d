#include "common/spec_settings.h"

#include "common/topology_settings.h"

/* Enums are stored through an unsigned by settings.c. */
_Static_assert(sizeof(enum pool_mode) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum transition_kind) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum on_rejoin) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum probe_kind) == sizeof(unsigned), "enum size");

/* clang-format off */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
/* clang-format on */

const char *pool_mode_name(unsigned mode)
{
	static const char *const words[] = { [MODE_CACHE] = "cache", [MODE_STORAGE] = "storage" };
	return mode < COUNT(words) ? words[mode] : NULL;
}

const char *transition_name(unsigned transition)
{
	static const char *const words[] = {
		[TRANSITION_INSTANT] = "instant", [TRANSITION_TWO_RING] = "two_ring"
	};
	return transition < COUNT(words) ? words[transition] : NULL;
}

const char *on_rejoin_name(unsigned on_rejoin)
{
	static const char *const words[] = { [REJOIN_FLUSH] = "flush", [REJOIN_KEEP] = "keep" };
	return on_rejoin < COUNT(words) ? words[on_rejoin] : NULL;
}

const char *probe_kind_name(unsigned probe)
{
	static const char *const words[PROBE_KIND_MAX] = {
		[PROBE_AUTO] = "auto", [PROBE_MEMCACHED] = "memcached", [PROBE_REDIS] = "redis",
		[PROBE_TCP] = "tcp",   [PROBE_HTTP] = "http",		[PROBE_SCRIPT] = "script",
		[PROBE_NONE] = "none",
	};
	return probe < COUNT(words) ? words[probe] : NULL;
}

/* clang-format off */
#define FIELD(name) .offset = offsetof(struct spec, name)

static const struct setting health_items[] = {
	{ .key = "probe", .type = SETTING_ENUM, FIELD(health.probe), .words = probe_kind_name,
	  .def = "auto",
	  .help = "what a nanny asks of a server; auto: what the pool's protocol has for it; none: "
		  "the server is never ejected by vote" },
	{ .key = "interval_ms", .type = SETTING_U32, FIELD(health.interval_ms), .min = 10,
	  .max = 3600000, .def = "1000", .unit = "ms", .help = "from one probe to the next" },
	{ .key = "timeout_ms", .type = SETTING_U32, FIELD(health.timeout_ms), .min = 1,
	  .max = 3600000, .def = "300", .unit = "ms",
	  .help = "a probe without an answer by then is bad; not longer than `interval_ms`" },
	{ .key = "fall", .type = SETTING_U32, FIELD(health.fall), .min = 1, .max = 1000,
	  .def = "3", .help = "bad probes in a row until a nanny votes against the server" },
	{ .key = "rise", .type = SETTING_U32, FIELD(health.rise), .min = 1, .max = 1000,
	  .def = "5", .help = "good probes in a row until the nanny takes its vote back" },
	{ .key = "http_path", .type = SETTING_NAME, FIELD(health.http_path), .min = 1, .max = 2000,
	  .def = "/", .help = "with `probe: http`, what to GET: a 2xx status is good" },
	{ .key = "http_port", .type = SETTING_U16, FIELD(health.http_port), .max = PORT_MAX,
	  .def = "0", .help = "with `probe: http`, the port; 0: the server's own" },
	{ .key = "script", .type = SETTING_NAME, FIELD(health.script), .min = 1,
	  .max = NAME_BYTES_MAX,
	  .help = "with `probe: script`, the name of a file in the folder of scripts that the agent's "
		  "own options name; a path is refused" },
};

const struct settings spec_health_settings = {
	.title = "pool spec health",
	.intro = "`health` of a pool spec: how nannies probe each server.",
	.items = health_items, .count = COUNT(health_items),
};

static const struct setting ejection_items[] = {
	{ .key = "cap_percent", .type = SETTING_U32, FIELD(ejection.cap_percent), .max = 100,
	  .def = "20",
	  .help = "never more of the pool's servers are ejected by vote at once, but one always may be" },
	{ .key = "min_interval_ms", .type = SETTING_U32, FIELD(ejection.min_interval_ms),
	  .max = NUMBER_MAX, .def = "10000", .unit = "ms", .help = "between two ejections" },
	{ .key = "backoff_ms", .type = SETTING_U32, FIELD(ejection.backoff_ms), .max = NUMBER_MAX,
	  .def = "30000", .unit = "ms",
	  .help = "a server stays out for so long at least; twice as long each time it fails again" },
	{ .key = "backoff_max_ms", .type = SETTING_U32, FIELD(ejection.backoff_max_ms),
	  .max = NUMBER_MAX, .def = "900000", .unit = "ms",
	  .help = "but not longer; not less than `backoff_ms`" },
	{ .key = "quarantine_after", .type = SETTING_U32, FIELD(ejection.quarantine_after),
	  .max = 1000, .def = "3",
	  .help = "after more ejections than this in an hour only an operator lets it back; 0: never" },
};

const struct settings spec_ejection_settings = {
	.title = "pool spec ejection",
	.intro = "`ejection` of a pool spec: how far votes may go.",
	.items = ejection_items, .count = COUNT(ejection_items),
};

static const struct setting moving_items[] = {
	{ .key = "slices", .type = SETTING_U32, FIELD(moving.slices), .max = TRANSITION_SLICES,
	  .def = "0",
	  .help = "16: moving keys change hands in as many parts, one after the other; 1: all at once; "
		  "0: 16 when there are more than 500 agents" },
	{ .key = "hold_max_ms", .type = SETTING_U32, FIELD(moving.hold_max_ms), .max = 3600000,
	  .def = "0", .unit = "ms",
	  .help = "nobody writes moving keys for so long at most: then back to the phase before; 0: 2 s, "
		  "and 1 s more for each 2,000 agents" },
	{ .key = "hold_park_ms", .type = SETTING_U32, FIELD(moving.hold_park_ms), .max = 60000,
	  .def = "250", .unit = "ms",
	  .help = "a write of such a key waits so long for that to be over, and then fails" },
	{ .key = "dual_max_ms", .type = SETTING_U32, FIELD(moving.dual_max_ms), .max = NUMBER_MAX,
	  .def = "600000", .unit = "ms",
	  .help = "with mode cache: after so long the new ring is alone, whether all is moved or not" },
	{ .key = "value_max", .type = SETTING_BYTES64, FIELD(moving.value_max_bytes), .min = 1,
	  .max = INT64_MAX, .def = "64m", .unit = "bytes",
	  .help = "Redis: larger values are not moved, but reported: with mode storage somebody has to "
		  "see to them" },
	{ .key = "keys_per_s", .type = SETTING_U32, FIELD(moving.keys_per_s), .max = NUMBER_MAX,
	  .def = "5000",
	  .help = "how many keys the mover takes from each server in a second; 0: no limit" },
	{ .key = "scrub_keys_per_s", .type = SETTING_U32, FIELD(moving.scrub_keys_per_s),
	  .max = NUMBER_MAX, .def = "5000",
	  .help = "how many old copies are deleted on each server in a second; 0: no limit" },
	{ .key = "bytes_per_s", .type = SETTING_BYTES64, FIELD(moving.bytes_per_s), .max = INT64_MAX,
	  .def = "0", .unit = "bytes",
	  .help = "how much is moved in a second, from all servers together; 0: no limit" },
	{ .key = "latency_max_ms", .type = SETTING_U32, FIELD(moving.latency_max_ms),
	  .max = NUMBER_MAX, .def = "50", .unit = "ms",
	  .help = "half the pace while a server takes longer to answer; 0: no such limit" },
};

const struct settings spec_moving_settings = {
	.title = "pool spec moving",
	.intro = "`moving` of a pool spec: how keys move from one ring to the next.",
	.items = moving_items, .count = COUNT(moving_items),
};

static const struct setting spec_items[] = {
	{ .key = "mode", .type = SETTING_ENUM, FIELD(mode), .words = pool_mode_name, .def = "cache",
	  .help = "storage: Redis as a store, where nothing may be lost or served stale" },
	{ .key = "transition", .type = SETTING_ENUM, FIELD(transition), .words = transition_name,
	  .def = "two_ring",
	  .help = "how proxies come from one ring to the next. two_ring: step by step, so that no key "
		  "is lost or stale, see `moving`; instant: at once, and keys that move are lost. "
		  "Distribution random, auto_eject_hosts, another protocol or redis_db are always "
		  "instant" },
	{ .key = "moving", .type = SETTING_GROUP, .group = &spec_moving_settings,
	  .help = "with transition two_ring" },
	{ .key = "max_shrink_percent", .type = SETTING_U32, FIELD(max_shrink_percent), .max = 100,
	  .def = "50",
	  .help = "to lose more of the servers, or of their weight, at once needs `confirm_shrink_to`" },
	{ .key = "confirm_shrink_to", .type = SETTING_U32, FIELD(confirm_shrink_to),
	  .max = 65535, .def = "0",
	  .help = "the number of servers that shall be left; 0: nothing is confirmed" },
	{ .key = "on_rejoin", .type = SETTING_ENUM, FIELD(on_rejoin), .words = on_rejoin_name,
	  .def = "(flush; keep with mode storage)",
	  .help = "what happens to the data of an ejected server before it serves again" },
	{ .key = "pins", .type = SETTING_READER, .unit = "mapping of server names to out or in",
	  .help = "out: ejected by hand; in: never ejected" },
	{ .key = "lease_ms", .type = SETTING_U32, FIELD(lease_ms), .max = NUMBER_MAX,
	  .def = "60000", .unit = "ms",
	  .help = "how long a proxy may act on a transition without hearing of it; 0: no limit, and "
		  "no agent is ever passed over" },
	{ .key = "health", .type = SETTING_GROUP, .group = &spec_health_settings,
	  .help = "probes" },
	{ .key = "ejection", .type = SETTING_GROUP, .group = &spec_ejection_settings,
	  .help = "limits of what votes may do" },
};
#undef FIELD

const struct settings spec_settings = {
	.title = "pool spec",
	.intro = "What `pools/NAME/spec` in the agent's tree may hold beside the options of *pool*.",
	.items = spec_items, .count = COUNT(spec_items),
};
/* clang-format on */
