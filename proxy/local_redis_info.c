/* local_redis_info.c - INFO: the figures that exporters, job queues and people look for.
 *
 * Names are redis' own; those it has and we do not are left out, rather than made up.
 */
#include "proxy/local_redis.h"

#include <unistd.h>

struct info {
	const struct local_env *env;
	struct local_figures f;
	struct scratch text;
};

typedef unsigned long long ull;

static void section_server(struct info *i)
{
	scratch_printf(&i->text,
		       "redis_version:%s\r\nredis_mode:standalone\r\ntwinring_version:%s\r\n"
		       "arch_bits:%zu\r\nmultiplexing_api:epoll\r\nprocess_id:%ld\r\n"
		       "tcp_port:%u\r\nserver_time_usec:%llu\r\nuptime_in_seconds:%llu\r\n"
		       "uptime_in_days:%llu\r\n",
		       LOCAL_REDIS_VERSION, TWINRING_VERSION, sizeof(void *) * 8, (long)getpid(),
		       i->env->port, (ull)i->env->now_us, (ull)i->f.uptime_s,
		       (ull)(i->f.uptime_s / 86400));
}

static void section_clients(struct info *i)
{
	scratch_printf(&i->text,
		       "connected_clients:%llu\r\nblocked_clients:0\r\ntracking_clients:0\r\n",
		       (ull)i->f.clients);
}

static void section_memory(struct info *i)
{
	scratch_printf(&i->text,
		       "used_memory:%llu\r\nused_memory_rss:%llu\r\nmaxmemory:0\r\n"
		       "maxmemory_policy:noeviction\r\n",
		       (ull)i->f.rss_bytes, (ull)i->f.rss_bytes);
}

static void section_persistence(struct info *i)
{
	scratch_puts(&i->text, SLICE("loading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\n"
				     "aof_enabled:0\r\naof_rewrite_in_progress:0\r\n"));
}

static void section_stats(struct info *i)
{
	scratch_printf(&i->text,
		       "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
		       "instantaneous_ops_per_sec:%llu\r\ntotal_net_input_bytes:%llu\r\n"
		       "total_net_output_bytes:%llu\r\nkeyspace_hits:%llu\r\n"
		       "keyspace_misses:%llu\r\n",
		       (ull)i->f.clients_total, (ull)i->f.requests, (ull)i->f.requests_per_second,
		       (ull)i->f.client_bytes_in, (ull)i->f.client_bytes_out, (ull)i->f.hits,
		       (ull)i->f.misses);
}

static void section_replication(struct info *i)
{
	scratch_puts(&i->text, SLICE("role:master\r\nconnected_slaves:0\r\n"));
}

static void put_seconds(struct info *i, const char *name, uint64_t us)
{
	scratch_printf(&i->text, "%s:%llu.%06llu\r\n", name, (ull)(us / 1000000),
		       (ull)(us % 1000000));
}

static void section_cpu(struct info *i)
{
	put_seconds(i, "used_cpu_sys", i->f.rusage_system_us);
	put_seconds(i, "used_cpu_user", i->f.rusage_user_us);
}

static void section_cluster(struct info *i)
{
	scratch_puts(&i->text, SLICE("cluster_enabled:0\r\n"));
}

/* How many keys there are, only all servers together know: DBSIZE. */
static void section_keyspace(struct info *i)
{
	(void)i;
}

static void section_twinring(struct info *i)
{
	scratch_printf(&i->text,
		       "pool:%s\r\nthreads:%u\r\nservers:%u\r\nservers_down:%u\r\n"
		       "server_connections:%llu\r\n",
		       i->env->pool->name ? i->env->pool->name : "", i->f.threads,
		       i->f.server_count, i->f.servers_down, (ull)i->f.server_connections);
}

static const struct section {
	const char *name, *title;
	void (*write)(struct info *i);
} sections[] = {
	{ "server", "Server", section_server },
	{ "clients", "Clients", section_clients },
	{ "memory", "Memory", section_memory },
	{ "persistence", "Persistence", section_persistence },
	{ "stats", "Stats", section_stats },
	{ "replication", "Replication", section_replication },
	{ "cpu", "CPU", section_cpu },
	{ "cluster", "Cluster", section_cluster },
	{ "keyspace", "Keyspace", section_keyspace },
	{ "twinring", "Twinring", section_twinring },
};

static bool is_wanted(const struct answer *a, const char *name)
{
	if (a->cmd->argc == 1) return true;
	for (uint32_t i = 1; i < a->cmd->argc; i++) {
		struct slice s = arg(a, i);
		if (resp_is(s, name) || resp_is(s, "default") || resp_is(s, "all") ||
		    resp_is(s, "everything"))
			return true;
	}
	return false;
}

void answer_info(struct answer *a)
{
	struct info info = { .env = a->env };
	if (a->env->figures) a->env->figures(a->env->ctx, &info.f);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if (!is_wanted(a, sections[i].name)) continue;
		if (info.text.n) scratch_puts(&info.text, SLICE("\r\n"));
		scratch_printf(&info.text, "# %s\r\n", sections[i].title);
		sections[i].write(&info);
	}
	put_text(a, scratch_slice(&info.text));
	scratch_fini(&info.text);
}
