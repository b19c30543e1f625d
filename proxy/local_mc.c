#include "proxy/local.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/codec_mc_text.h"

/* Clients take the first three numbers for what the server can do. */
#define MC_VERSION_TEXT "1.6.18-twinring-" TWINRING_VERSION

static void stat_text(struct scratch *out, const char *name, const char *text)
{
	scratch_printf(out, "STAT %s %s\r\n", name, text);
}

static void stat_u64(struct scratch *out, const char *name, uint64_t v)
{
	scratch_printf(out, "STAT %s %llu\r\n", name, (unsigned long long)v);
}

static void stat_seconds(struct scratch *out, const char *name, uint64_t us)
{
	scratch_printf(out, "STAT %s %llu.%06llu\r\n", name, (unsigned long long)(us / 1000000),
		       (unsigned long long)(us % 1000000));
}

/* As many connections as there may be file descriptors. */
static uint64_t connections_max(void)
{
	struct rlimit limit;
	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

/* --- stats ------------------------------------------------------------------------------------ */

enum stat_kind {
	STAT_FIGURE,  /* a counter of ours                                               */
	STAT_FIGURE4, /* the same, of 32 bits                                            */
	STAT_ZERO,    /* memcached's own doing, which a proxy has none of; scrapers want it */
};

struct stat_row {
	const char *name;
	enum stat_kind kind;
	size_t offset;
};

/* clang-format off */
#define FIGURE(name, field)  { name, STAT_FIGURE, offsetof(struct local_figures, field) }
#define FIGURE4(name, field) { name, STAT_FIGURE4, offsetof(struct local_figures, field) }
#define ZERO(name)           { name, STAT_ZERO, 0 }

static const struct stat_row stat_rows[] = {
	FIGURE("curr_connections", clients),
	FIGURE("total_connections", clients_total),
	ZERO("rejected_connections"),
	FIGURE("cmd_get", reads),
	FIGURE("cmd_set", writes),
	ZERO("cmd_flush"),
	FIGURE("cmd_touch", touches),
	FIGURE("get_hits", hits),
	FIGURE("get_misses", misses),
	ZERO("get_expired"),
	ZERO("get_flushed"),
	ZERO("delete_misses"),
	ZERO("delete_hits"),
	ZERO("incr_misses"),
	ZERO("incr_hits"),
	ZERO("decr_misses"),
	ZERO("decr_hits"),
	ZERO("cas_misses"),
	ZERO("cas_hits"),
	ZERO("cas_badval"),
	ZERO("touch_hits"),
	ZERO("touch_misses"),
	ZERO("auth_cmds"),
	ZERO("auth_errors"),
	FIGURE("bytes_read", client_bytes_in),
	FIGURE("bytes_written", client_bytes_out),
	ZERO("limit_maxbytes"),
	{ "accepting_conns", STAT_ZERO, 1 },
	ZERO("listen_disabled_num"),
	FIGURE4("threads", threads),
	ZERO("conn_yields"),
	ZERO("bytes"),
	ZERO("curr_items"),
	ZERO("total_items"),
	ZERO("expired_unfetched"),
	ZERO("evicted_unfetched"),
	ZERO("evictions"),
	ZERO("reclaimed"),
	FIGURE("twinring_requests", requests),
	FIGURE("twinring_requests_per_second", requests_per_second),
	FIGURE("twinring_server_connections", server_connections),
	FIGURE4("twinring_servers", server_count),
	FIGURE4("twinring_servers_down", servers_down),
	FIGURE("twinring_rss_bytes", rss_bytes),
};
/* clang-format on */

static void stats_general(struct local_env *env, const struct command *cmd, struct scratch *out)
{
	(void)cmd;
	struct local_figures figures = { 0 };
	env->figures(env->ctx, &figures);
	stat_u64(out, "pid", (uint64_t)getpid());
	stat_u64(out, "uptime", figures.uptime_s);
	stat_u64(out, "time", figures.time_s);
	stat_text(out, "version", MC_VERSION_TEXT);
	stat_u64(out, "pointer_size", 8 * sizeof(void *));
	stat_seconds(out, "rusage_user", figures.rusage_user_us);
	stat_seconds(out, "rusage_system", figures.rusage_system_us);
	stat_u64(out, "max_connections", connections_max());
	for (size_t i = 0; i < sizeof(stat_rows) / sizeof(stat_rows[0]); i++) {
		const struct stat_row *row = &stat_rows[i];
		const void *field = (const char *)&figures + row->offset;
		uint64_t v = row->offset;
		if (row->kind == STAT_FIGURE) v = *(const uint64_t *)field;
		if (row->kind == STAT_FIGURE4) v = *(const uint32_t *)field;
		stat_u64(out, row->name, v);
	}
	stat_text(out, "twinring_pool", env->pool->name);
	scratch_puts(out, SLICE("END\r\n"));
}

static void stats_settings(struct local_env *env, const struct command *cmd, struct scratch *out)
{
	(void)cmd;
	struct local_figures figures = { 0 };
	env->figures(env->ctx, &figures);
	stat_u64(out, "maxbytes", 0);
	stat_u64(out, "maxconns", connections_max());
	stat_u64(out, "tcpport", env->port);
	stat_u64(out, "udpport", 0);
	stat_u64(out, "verbosity", 0);
	stat_u64(out, "oldest", 0);
	stat_text(out, "evictions", "off");
	stat_u64(out, "num_threads", figures.threads);
	stat_text(out, "detail_enabled", "no");
	stat_text(out, "cas_enabled", "yes");
	stat_text(out, "binding_protocol", "ascii");
	stat_text(out, "auth_enabled_sasl", "no");
	stat_text(out, "auth_enabled_ascii", "no");
	stat_u64(out, "item_size_max", env->limits->value_max_bytes);
	stat_text(out, "lru_crawler", "no");
	stat_text(out, "lru_maintainer_thread", "no");
	stat_text(out, "flush_enabled", env->limits->allow_flush ? "yes" : "no");
	stat_text(out, "dump_enabled", "no");
	stat_text(out, "twinring_pool", env->pool->name);
	stat_text(out, "twinring_protocol", "memcached");
	stat_u64(out, "twinring_keys_max", env->limits->args_max);
	stat_u64(out, "twinring_timeout_ms", env->pool->timeout_ms);
	scratch_puts(out, SLICE("END\r\n"));
}

static void stats_detail(struct local_env *env, const struct command *cmd, struct scratch *out)
{
	(void)env;
	struct slice what = cmd->argc > 2 ? cmd->argv[2] : SLICE("");
	if (slice_eq(what, SLICE("on")) || slice_eq(what, SLICE("off")))
		scratch_puts(out, SLICE("OK\r\n"));
	else if (slice_eq(what, SLICE("dump"))) scratch_puts(out, SLICE("END\r\n"));
	else scratch_puts(out, SLICE("CLIENT_ERROR usage: stats detail on|off|dump\r\n"));
}

static void stats_cachedump(struct local_env *env, const struct command *cmd, struct scratch *out)
{
	(void)env;
	bool whole = cmd->argc >= 4;
	scratch_puts(out, whole ? SLICE("END\r\n") : SLICE("CLIENT_ERROR bad command line\r\n"));
}

/* A kind of `stats`: a function, or the same text always. */
struct stats_row {
	struct slice arg;
	struct slice text;
	void (*write)(struct local_env *env, const struct command *cmd, struct scratch *out);
};

/* clang-format off */
#define ARG(lit) { lit, sizeof(lit) - 1 }
static const struct stats_row stats_rows[] = {
	{ ARG("settings"),      ARG(""),          stats_settings },
	{ ARG("items"),         ARG("END\r\n"),   NULL },
	{ ARG("slabs"),         ARG("END\r\n"),   NULL },
	{ ARG("conns"),         ARG("END\r\n"),   NULL },
	{ ARG("extstore"),      ARG("END\r\n"),   NULL },
	{ ARG("reset"),         ARG("RESET\r\n"), NULL },
	{ ARG("detail"),        ARG(""),          stats_detail },
	{ ARG("cachedump"),     ARG(""),          stats_cachedump },
	{ ARG("sizes"),         ARG("STAT sizes_status disabled\r\nEND\r\n"), NULL },
	{ ARG("sizes_enable"),  ARG("STAT sizes_status disabled\r\n"), NULL },
	{ ARG("sizes_disable"), ARG("STAT sizes_status disabled\r\n"), NULL },
};
/* clang-format on */

static void local_stats(struct local_env *env, const struct command *cmd, struct scratch *out)
{
	if (cmd->argc < 2) {
		stats_general(env, cmd, out);
		return;
	}
	for (size_t i = 0; i < sizeof(stats_rows) / sizeof(stats_rows[0]); i++) {
		const struct stats_row *row = &stats_rows[i];
		if (!slice_eq(cmd->argv[1], row->arg)) continue;
		scratch_puts(out, row->text);
		if (row->write) row->write(env, cmd, out);
		return;
	}
	scratch_puts(out, SLICE("ERROR\r\n"));
}

enum local_result local_mc(struct local_env *env, const struct command *cmd, struct scratch *out)
{
	switch ((enum mc_local)cmd->info->local) {
	case MC_LOCAL_NONE: scratch_puts(out, SLICE("ERROR\r\n")); break;
	case MC_LOCAL_VERSION: scratch_puts(out, SLICE("VERSION " MC_VERSION_TEXT "\r\n")); break;
	case MC_LOCAL_VERBOSITY:
		if (!(cmd->flags & CMD_NOREPLY)) scratch_puts(out, SLICE("OK\r\n"));
		break;
	case MC_LOCAL_STATS: local_stats(env, cmd, out); break;
	case MC_LOCAL_QUIT: return LOCAL_CLOSE;
	case MC_LOCAL_NOOP: scratch_puts(out, SLICE("MN\r\n")); break;
	}
	return LOCAL_ANSWERED;
}
