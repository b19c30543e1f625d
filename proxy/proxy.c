#include "proxy/proxy.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/mutation.h"
#include "proxy/control.h"
#include "proxy/proxy_control.h"
#include "proxy/addresses.h"
#include "proxy/exporter.h"
#include "proxy/topology_file.h"

enum {
	SECOND_US = 1000000,
	FIRST_ANSWERS_MS = 2000, /* how long names may take to resolve before we go on */
	SAVE_AGAIN_US = 2000000,
};

/* --- snapshots -------------------------------------------------------------------------------- */

/* On whatever thread dropped the last reference. */
static void proxy_on_snapshot_unused(void *ctx, struct snapshot *s)
{
	struct proxy *p = ctx;
	mailbox_post(&p->mail, &(struct mail){ .kind = MAIN_SNAPSHOT_DEAD, .p = s });
}

static void proxy_resolve(void *ctx, const struct server_spec *server, struct net_addr *addr_out)
{
	struct proxy *p = ctx;
	addresses_lookup(p->addresses, server->host, server->port, addr_out);
}

enum err proxy_publish(struct proxy *p, struct err_at *where_out)
{
	struct topology *t = topology_copy(p->topology);
	if (!t) return ERR_NOMEM;
	ejections_mark(&p->ejections, t);
	struct snapshot_input in = { .stats = p->stats,
				     .identities = p->identities,
				     .proxy = &p->config->proxy,
				     .listeners = p->listeners.specs,
				     .listener_count = p->listeners.count,
				     .stale = p->fenced,
				     .resolve = proxy_resolve,
				     .ctx = p };
	struct snapshot *s;
	enum err e = snapshot_build(t, &in, &s, where_out);
	if (e != ERR_NONE) return e;
	s->on_unused = proxy_on_snapshot_unused;
	s->ctx = p;
	p->snapshots_alive++;
	for (uint32_t i = 0; i < p->worker_count; i++) {
		snapshot_ref(s);
		mailbox_post(&p->workers[i]->mail,
			     &(struct mail){ .kind = WORKER_SNAPSHOT, .p = s });
	}
	if (p->snapshot) snapshot_unref(p->snapshot);
	p->snapshot = s;
	p->undrained = p->snapshots_alive > 1 && !MUTATED(NODRAIN);
	p->process.topology_version = p->topology->version;
	p->process.fenced = p->fenced;
	return ERR_NONE;
}

static void proxy_publish_or_log(struct proxy *p)
{
	struct err_at at = { 0 };
	if (proxy_publish(p, &at) != ERR_NONE)
		log_error("the topology stays as it was: %s: %s", at.where, at.why);
}

enum err proxy_apply(struct proxy *p, struct topology *t, struct err_at *where_out)
{
	struct topology *old = p->topology;
	p->topology = t;
	addresses_want(p->addresses, t);
	enum err e = proxy_publish(p, where_out);
	if (e != ERR_NONE) {
		p->topology = old;
		addresses_want(p->addresses, old);
		topology_free(&t);
		return e;
	}
	topology_free(&old);
	return ERR_NONE;
}

/* --- leases ----------------------------------------------------------------------------------- */

static void proxy_lease_set(struct proxy *p, uint64_t until_us)
{
	__atomic_store_n(&p->shared.lease_until_us, until_us, __ATOMIC_RELAXED);
}

bool proxy_lease_has_lapsed(const struct proxy *p)
{
	return p->shared.lease_until_us && clock_boot_us() >= p->shared.lease_until_us;
}

uint64_t proxy_lease_left_ms(const struct proxy *p)
{
	uint64_t now = clock_boot_us(), until = p->shared.lease_until_us;
	return until > now ? (until - now) / 1000 : 0;
}

void proxy_lease(struct proxy *p, uint32_t ms)
{
	uint64_t now = clock_boot_us();
	p->lease_late_ms = 0;
	if (!p->undrained || (p->shared.lease_until_us && !proxy_lease_has_lapsed(p))) {
		proxy_lease_set(p, now + ms * 1000ull);
		return;
	}
	p->lease_late_ms = ms;
	p->lease_late_us = now;
}

/* All is drained: a lease that was waiting for it counts from when it was granted. */
static void proxy_lease_begin(struct proxy *p)
{
	if (p->lease_late_ms) proxy_lease_set(p, p->lease_late_us + p->lease_late_ms * 1000ull);
	p->lease_late_ms = 0;
}

/* --- what the agent says of it, and what stays on the disk -------------------------------------
 */

enum err proxy_confirm(struct proxy *p, struct err_at *where_out)
{
	bool first = !p->confirmed;
	p->confirmed = true;
	/* The file that we started from may have been the older one, or damaged since. */
	if (p->pushed && first) proxy_save(p);
	else if (p->pushed && !p->unsaved[0]) topology_file_confirm(&p->config->proxy);
	if (!p->fenced) return ERR_NONE;
	p->fenced = false;
	enum err e = proxy_publish(p, where_out);
	if (e != ERR_NONE) p->fenced = true;
	else
		log_notice("topology %llu is confirmed: serving by it",
			   (unsigned long long)p->topology->version);
	return e;
}

void proxy_save(struct proxy *p)
{
	struct err_at at = { 0 };
	bool before = p->unsaved[0] != 0;
	enum err e = topology_file_save(&p->config->proxy, p->topology, &at);
	if (e == ERR_NONE) {
		if (before) log_notice("the topology is saved again");
		p->unsaved[0] = 0;
	} else {
		if (!at.why[0]) snprintf(at.why, sizeof(at.why), "%s", err_text(e));
		snprintf(p->unsaved, sizeof(p->unsaved),
			 "the topology is not saved: %.100s: %.100s", at.where, at.why);
		if (!before) log_error("in force, but %s", p->unsaved);
		p->save_again_us = clock_now_us() + SAVE_AGAIN_US;
	}
	p->process.unsaved = e != ERR_NONE;
}

static void proxy_on_snapshot_dead(struct proxy *p, struct snapshot *s)
{
	snapshot_free(s);
	if (--p->snapshots_alive > 1 || !p->undrained) return;
	p->undrained = false;
	proxy_lease_begin(p);
	if (p->control) proxy_control_drained(p);
}

/* --- ejection --------------------------------------------------------------------------------- */

static void proxy_count_ejection(struct proxy *p, const struct server_pool *pool,
				 const struct pool_server *server)
{
	(void)p;
	/* Only main writes these two, in the slot of worker 0. */
	metric_add(&pool->stats->slots[0].m[POOL_server_ejects], 1);
	metric_set(&server->stats->slots[0].m[SERVER_server_ejected_at], clock_wall_us());
}

static void proxy_on_dest(struct proxy *p, uint64_t id, uint32_t worker, bool failing)
{
	for (uint32_t i = 0; i < p->snapshot->topology->pool_count; i++) {
		const struct server_pool *pool = &p->snapshot->pools[i];
		for (uint32_t k = 0; k < pool->spec->server_count; k++) {
			const struct pool_server *server = &pool->servers[k];
			if (server->id != id) continue;
			if (!ejections_report(&p->ejections, pool->spec, server->spec->ring_name,
					      worker, failing, clock_now_us()))
				return;
			proxy_count_ejection(p, pool, server);
			proxy_publish_or_log(p);
			return;
		}
	}
}

/* --- mail and time ---------------------------------------------------------------------------- */

static void proxy_stop_workers(struct proxy *p)
{
	p->stopped = true;
}

static void proxy_on_mail(void *owner, const struct mail *m)
{
	struct proxy *p = owner;
	switch ((enum main_mail)m->kind) {
	case MAIN_ADOPTED: /* proxy_run() or the control socket waits for it */ break;
	case MAIN_SNAPSHOT_DEAD: proxy_on_snapshot_dead(p, m->p); break;
	case MAIN_DEST:
		proxy_on_dest(p, m->id, (uint32_t)m->fd, m->number != 0);
		if (p->control) proxy_control_health(p);
		break;
	case MAIN_DRAINED:
		if (++p->drained_workers == p->worker_count) proxy_stop_workers(p);
		break;
	}
}

static void proxy_on_second(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct proxy *p = owner;
	if (ejections_expire(&p->ejections, clock_now_us())) proxy_publish_or_log(p);
	if (p->unsaved[0] && clock_now_us() >= p->save_again_us) proxy_save(p);
	log_flush();
	if (p->control && clock_now_us() - p->health_told_us >= SECOND_US) proxy_control_health(p);
	uint64_t watchdog_us = daemon_watchdog_us();
	if (watchdog_us) daemon_notify("WATCHDOG=1");
	/* An ejection is to end when it may, not up to a second later. */
	io_timer_set(&p->second, LIST_EMPTY(&p->ejections.list) ? SECOND_US : SECOND_US / 10);
}

static void proxy_on_deadline(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	log_warn("clients did not finish in time; closing them");
	proxy_stop_workers(owner);
}

void proxy_drain(struct proxy *p)
{
	if (p->stopping) {
		proxy_stop_workers(p);
		return;
	}
	p->stopping = true;
	p->process.draining = true;
	p->process.ready = false;
	daemon_notify("STOPPING=1");
	log_notice("draining: no new clients");
	listeners_close(&p->listeners);
	for (uint32_t i = 0; i < p->worker_count; i++)
		mailbox_post(&p->workers[i]->mail, &(struct mail){ .kind = WORKER_DRAIN });
	io_timer_set(&p->deadline, p->config->proxy.shutdown_timeout_ms * 1000ull);
}

/* --- reloading -------------------------------------------------------------------------------- */

bool proxy_override(const struct options *o, struct config *c, struct err_at *where_out)
{
	struct proxy_spec *spec = &c->proxy;
	char text[300];
	const char *why = "";
	if (o->threads != OPTION_UNSET) spec->threads = o->threads;
	if (o->log_level != OPTION_UNSET) spec->log_level = o->log_level;
	if (o->stats_interval_ms != OPTION_UNSET) spec->stats_interval_ms = o->stats_interval_ms;
	if (o->log_file) {
		free(spec->log_file);
		spec->log_file = strdup(o->log_file);
	}
	if (o->control) {
		free(spec->control);
		spec->control = strdup(o->control);
	}
	if (options_stats_listen(o, text, sizeof(text))) {
		listen_spec_fini(&spec->stats);
		if (!listen_spec_parse(text, &spec->stats, &why)) {
			snprintf(where_out->where, sizeof(where_out->where), "%.150s", text);
			snprintf(where_out->why, sizeof(where_out->why), "%s", why);
			return false;
		}
	}
	if (o->metrics) {
		listen_spec_fini(&spec->metrics);
		if (!listen_spec_parse(o->metrics, &spec->metrics, &why)) {
			snprintf(where_out->where, sizeof(where_out->where), "%.150s", o->metrics);
			snprintf(where_out->why, sizeof(where_out->why), "%s", why);
			return false;
		}
	}
	if (spec->threads == 0) {
		cpu_set_t cpus;
		spec->threads =
		    sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
	}
	return true;
}

static void proxy_log_issues(const struct config_issues *issues, struct err_at *first_out)
{
	bool found = false;
	for (uint32_t i = 0; i < issues->count; i++) {
		const struct config_issue *it = &issues->items[i];
		if (it->warning) log_warn("%s: %s", it->at.where, it->at.why);
		else log_error("%s: %s", it->at.where, it->at.why);
		if (!it->warning && !found) {
			*first_out = it->at;
			found = true;
		}
	}
}

/* What a running process cannot change. */
static void proxy_keep_fixed(const struct proxy *p, struct config *c)
{
	if (c->proxy.threads != p->worker_count)
		log_warn("threads: %u takes effect at the next start", c->proxy.threads);
	c->proxy.threads = p->worker_count;
}

static enum err proxy_export(struct proxy *p, struct err_at *where_out)
{
	const struct proxy_spec *spec = &p->config->proxy;
	enum err e = exporter_listen(p->exporter, EXPORTER_JSON, &spec->stats, where_out);
	if (e != ERR_NONE) return e;
	return exporter_listen(p->exporter, EXPORTER_HTTP, &spec->metrics, where_out);
}

static enum err proxy_adopt_config(struct proxy *p, struct config *c, struct err_at *where_out)
{
	enum err e = listeners_open(&p->listeners, c, where_out);
	if (e != ERR_NONE) return e;
	struct config *old = p->config;
	p->config = c;
	struct topology *t = p->pushed ? topology_copy(p->topology) : topology_copy(c->topology);
	if (!t) abort();
	t->version = p->pushed ? t->version : p->topology->version + 1;
	listeners_prune(&p->listeners, c);
	e = proxy_apply(p, t, where_out);
	if (e != ERR_NONE) {
		p->config = old;
		return e;
	}
	config_free(&old);
	listeners_start(&p->listeners);
	struct err_at at = { 0 };
	if (proxy_export(p, &at) != ERR_NONE)
		log_error("stats stay where they were: %s: %s", at.where, at.why);
	return ERR_NONE;
}

enum err proxy_reload(struct proxy *p, struct err_at *where_out)
{
	struct config *c = NULL;
	struct config_issues issues = { 0 };
	p->process.config_reloads++;
	daemon_notify("RELOADING=1");
	enum err e = config_load(p->options->config_file, &c, &issues);
	proxy_log_issues(&issues, where_out);
	config_issues_fini(&issues);
	if (e == ERR_NONE && !proxy_override(p->options, c, where_out)) e = ERR_INVALID;
	if (e == ERR_NONE) {
		proxy_keep_fixed(p, c);
		e = proxy_adopt_config(p, c, where_out);
	}
	if (e != ERR_NONE) {
		config_free(&c);
		p->process.config_failures++;
		p->process.config_ok = false;
		log_error("the configuration stays as it was: %s: %s", where_out->where,
			  where_out->why);
	} else {
		p->process.config_ok = true;
		p->process.config_at_us = clock_wall_us();
		log_level_set((int)p->config->proxy.log_level);
		log_notice("configuration reloaded%s",
			   p->pushed ? "; the pools stay as the control socket set them" : "");
	}
	daemon_notify("READY=1");
	return e;
}

/* --- signals ---------------------------------------------------------------------------------- */

static void proxy_on_signal(int fd, short what, void *owner)
{
	(void)what;
	struct proxy *p = owner;
	struct signalfd_siginfo info;
	struct err_at at = { 0 };
	if (read(fd, &info, sizeof(info)) != sizeof(info)) return;
	switch (info.ssi_signo) {
	case SIGHUP: /* nutcracker reopens its log; so do we, and read the configuration again */
		log_reopen();
		proxy_reload(p, &at);
		break;
	case SIGUSR1: log_reopen(); break;
	case SIGTTIN: log_notice("log level is %d", log_level_add(1)); break;
	case SIGTTOU: log_notice("log level is %d", log_level_add(-1)); break;
	case SIGTERM:
	case SIGINT: proxy_drain(p); break;
	case SIGQUIT: proxy_stop_workers(p); break;
	default: break;
	}
}

/* Before any thread starts, so that all inherit the mask. */
static bool proxy_init_signals(struct proxy *p)
{
	static const int handled[] = { SIGHUP,	SIGUSR1, SIGUSR2, SIGTTIN,
				       SIGTTOU, SIGTERM, SIGINT,  SIGQUIT };
	p->signal_fd = daemon_take_signals(handled, sizeof(handled) / sizeof(handled[0]));
	if (p->signal_fd < 0) return false;
	io_watch_init(&p->signals, &p->loop, p->signal_fd, proxy_on_signal, p);
	io_watch_set(&p->signals, IO_READ);
	return true;
}

/* --- life ------------------------------------------------------------------------------------- */

/* A name resolves elsewhere now: the same server, other connections. */
static void proxy_on_address(void *ctx)
{
	struct proxy *p = ctx;
	if (p->snapshot && !p->stopping) proxy_publish_or_log(p);
}

static enum err proxy_start_workers(struct proxy *p)
{
	uint32_t n = p->config->proxy.threads;
	p->stats = stats_new(n);
	p->workers = calloc(n, sizeof(*p->workers));
	p->shared = (struct worker_shared){ .threads = n,
					    .stats = p->stats,
					    .main = &p->mail,
					    .started_us = p->process.started_us,
					    .client_name = p->client_name };
	p->shared.listener_clients = calloc(LISTENERS_MAX, sizeof(uint32_t));
	if (!p->workers || !p->shared.listener_clients) return ERR_NOMEM;
	for (uint32_t i = 0; i < n; i++) {
		p->workers[i] = worker_start(&p->shared, i);
		if (!p->workers[i]) return ERR_NOMEM;
		p->worker_count++;
	}
	return ERR_NONE;
}

static void proxy_status(void *ctx, struct stats_process *out)
{
	*out = ((struct proxy *)ctx)->process;
}

static enum err proxy_start_servers(struct proxy *p, struct err_at *where_out)
{
	const struct proxy_spec *spec = &p->config->proxy;
	p->exporter = exporter_new(io_loop_base(&p->loop), p->stats, proxy_status, p);
	enum err e = proxy_export(p, where_out);
	if (e == ERR_NONE && spec->control) e = proxy_control_start(p, spec->control, where_out);
	return e;
}

/* An agent tells a restarted host from a restarted proxy by the boot; servers, by the name, whose
 * connections are those of a proxy that is no more. */
static void proxy_name_process(struct proxy *p)
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
	if (f) {
		if (fgets(p->boot_id, sizeof(p->boot_id), f))
			p->boot_id[strcspn(p->boot_id, "\n")] = 0;
		fclose(f);
	}
	snprintf(p->client_name, sizeof(p->client_name), "twinring-%d-%.8s-%llu", (int)getpid(),
		 p->boot_id, (unsigned long long)p->process.started_us / 1000);
}

/* What was pushed before, so that we need not wait for the agent. Too old, it is not served by: the
 * host may have been forgotten meanwhile, and its servers' data be out of date. */
static bool proxy_take_saved(struct proxy *p)
{
	uint64_t age_s, max_ms = p->config->proxy.saved_max_age_ms;
	p->topology = topology_file_load(&p->config->proxy, &age_s);
	p->pushed = p->topology != NULL;
	if (!p->pushed) return false;
	p->fenced = max_ms > 0 && age_s * 1000 > max_ms;
	log_notice("starting with the saved topology, version %llu, confirmed %llu s ago",
		   (unsigned long long)p->topology->version, (unsigned long long)age_s);
	if (p->fenced)
		log_warn("that is longer than saved_max_age_ms: nothing is served by it until the "
			 "agent confirms it");
	return true;
}

enum err proxy_init(struct proxy *p, const struct options *o, struct config *config,
		    struct err_at *where_out)
{
	*p = (struct proxy){ .options = o, .config = config, .signal_fd = -1 };
	p->process = (struct stats_process){ .started_us = clock_wall_us(),
					     .config_file = o->config_file,
					     .config_ok = true,
					     .config_at_us = clock_wall_us() };
	proxy_name_process(p);
	LIST_INIT(&p->ejections.list);
	p->identities = identities_new();
	if (!proxy_take_saved(p)) p->topology = topology_copy(config->topology);
	if (!p->identities || !p->topology || !io_loop_init(&p->loop) || !proxy_init_signals(p) ||
	    !mailbox_init(&p->mail, &p->loop, proxy_on_mail, p))
		return ERR_NOMEM;
	io_timer_init(&p->second, &p->loop, proxy_on_second, p);
	io_timer_init(&p->deadline, &p->loop, proxy_on_deadline, p);
	p->addresses =
	    addresses_new(&p->loop, config->proxy.resolve_interval_ms, proxy_on_address, p);
	enum err e = p->addresses ? proxy_start_workers(p) : ERR_NOMEM;
	if (e != ERR_NONE) return e;
	p->ejections.worker_count = p->worker_count;
	listeners_init(&p->listeners, &p->loop, &p->shared, p->workers, p->worker_count);
	e = listeners_open(&p->listeners, config, where_out);
	if (e == ERR_NONE) e = proxy_start_servers(p, where_out);
	if (e != ERR_NONE) return e;
	addresses_want(p->addresses, p->topology);
	addresses_wait(p->addresses, FIRST_ANSWERS_MS);
	return proxy_publish(p, where_out);
}

bool proxy_all_adopted(const struct proxy *p)
{
	for (uint32_t i = 0; i < p->worker_count; i++)
		if (__atomic_load_n(&p->workers[i]->adopted_serial, __ATOMIC_ACQUIRE) <
		    p->snapshot->serial)
			return false;
	return true;
}

/* Does every listener lead to a pool? */
static bool proxy_leads_everywhere(const struct proxy *p)
{
	for (uint32_t i = 0; i < p->listeners.count; i++)
		if (p->listeners.by_number[i] &&
		    (i >= p->snapshot->entry_count || !p->snapshot->entries[i]))
			return false;
	return true;
}

void proxy_run(struct proxy *p, void (*ready)(struct proxy *p, void *ctx), void *ctx)
{
	io_timer_set(&p->second, SECOND_US);
	if (!proxy_leads_everywhere(p)) log_notice("waiting for the agent to name the pools");
	while (!p->stopped && (!proxy_leads_everywhere(p) || !proxy_all_adopted(p)))
		io_loop_turn(&p->loop);
	if (p->stopped) return;
	listeners_start(&p->listeners);
	p->process.ready = true;
	daemon_notify("READY=1");
	ready(p, ctx);
	while (!p->stopped) io_loop_turn(&p->loop);
}

void proxy_fini(struct proxy *p)
{
	if (p->worker_count) listeners_fini(&p->listeners);
	if (p->control) proxy_control_stop(p);
	exporter_free(&p->exporter);
	for (uint32_t i = 0; i < p->worker_count; i++)
		mailbox_post(&p->workers[i]->mail, &(struct mail){ .kind = WORKER_STOP });
	for (uint32_t i = 0; i < p->worker_count; i++) worker_join(&p->workers[i]);
	if (p->snapshot) snapshot_unref(p->snapshot);
	mailbox_fini(&p->mail); /* frees the last snapshots */
	addresses_free(&p->addresses);
	io_timer_stop(&p->second);
	io_timer_stop(&p->deadline);
	io_watch_stop(&p->signals);
	if (p->signal_fd >= 0) close(p->signal_fd);
	ejections_fini(&p->ejections);
	identities_free(&p->identities);
	topology_free(&p->topology);
	stats_free(&p->stats);
	config_free(&p->config);
	free(p->workers);
	free(p->shared.listener_clients);
	io_loop_fini(&p->loop);
}
