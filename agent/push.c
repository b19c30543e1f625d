#include "agent/push.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/proxy_link.h"
#include "agent/push_peer.h"
#include "agent/run_dir.h"
#include "common/clock.h"
#include "common/ctlmsg.h"
#include "common/log.h"

enum { REFUSED_RETRY_MS = 60000, LEASE_INTERVAL_MIN_MS = 10 };

struct push_entry {
	struct push_peer *peer;
	bool current; /* has the name; the others had it once */
	TAILQ_ENTRY(push_entry) link;
};

struct push {
	struct push_env env;
	struct run_dir *dir;
	TAILQ_HEAD(, push_entry) entries; /* by name; the current one of a name first */
	uint32_t count;
	/* The last look at the directory. */
	bool unreadable, overfull;
	struct io_timer lease;
	struct io_timer later; /* what must not happen within a callback of a peer */
	bool look, tell;       /* for `later` */
};

/* --- who lives -------------------------------------------------------------------------------- */

static void push_add(struct push *p, const char *name)
{
	char *path = run_dir_socket(p->dir, name);
	struct push_entry *e = calloc(1, sizeof(*e)), *next;
	if (!e) abort();
	e->peer = push_peer_new(&p->env, name, path);
	e->current = true;
	free(path);
	TAILQ_FOREACH (next, &p->entries, link)
		if (strcmp(push_peer_name(next->peer), name) >= 0) break;
	if (next) TAILQ_INSERT_BEFORE(next, e, link);
	else TAILQ_INSERT_TAIL(&p->entries, e, link);
	p->count++;
	p->env.on_change(p);
}

static void push_remove(struct push *p, struct push_entry *e)
{
	TAILQ_REMOVE(&p->entries, e, link);
	p->count--;
	push_peer_free(&e->peer);
	free(e);
	p->env.on_change(p);
}

static bool push_knows(const struct push *p, const char *name)
{
	const struct push_entry *e;
	TAILQ_FOREACH (e, &p->entries, link)
		if (e->current && strcmp(push_peer_name(e->peer), name) == 0) return true;
	return false;
}

/* A lock that cannot be tested may be a proxy's. */
static enum run_lock push_lock(const struct push *p, const char *name, int *pid_out, char why[80])
{
	enum run_lock lock = run_dir_lock(p->dir, name, pid_out);
	why[0] = 0;
	if (lock == RUN_LOCK_UNKNOWN) snprintf(why, 80, "%s.lock: %s", name, strerror(errno));
	return lock;
}

static void push_on_name(void *ctx, const char *name)
{
	struct push *p = ctx;
	char why[80];
	int pid;
	if (push_knows(p, name) || push_lock(p, name, &pid, why) == RUN_LOCK_FREE) return;
	if (p->count >= PUSH_PROXIES_MAX) {
		p->overfull = true;
		log_error("more than %d proxies: %s is not served", PUSH_PROXIES_MAX, name);
		return;
	}
	push_add(p, name);
}

/* Those that are connected live; the others do while their lock is held. */
static void push_check(struct push *p, struct push_entry *e)
{
	char why[80];
	int pid;
	if (e->current && push_peer_replaced(e->peer)) e->current = false;
	if (push_peer_up(e->peer)) return;
	if (!e->current || push_lock(p, push_peer_name(e->peer), &pid, why) == RUN_LOCK_FREE) {
		log_notice("%s is gone", push_peer_name(e->peer));
		push_remove(p, e);
	} else {
		push_peer_alive(e->peer, pid, why);
	}
}

static void push_look(struct push *p)
{
	struct push_entry *e, *next;
	TAILQ_FOREACH_SAFE (e, &p->entries, link, next) push_check(p, e);
	p->overfull = false;
	bool unreadable = !run_dir_names(p->dir, push_on_name, p);
	if (unreadable) log_error("the directory of the proxies' sockets: %s", strerror(errno));
	if (unreadable != p->unreadable) p->env.on_change(p);
	p->unreadable = unreadable;
}

/* --- what must wait --------------------------------------------------------------------------- */

static void push_on_dir(void *ctx)
{
	push_look(ctx);
}

static void push_on_later(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct push *p = owner;
	if (p->look) {
		p->look = false;
		push_look(p);
	}
	if (!p->tell) return;
	p->tell = false;
	if (p->env.events.on_change) p->env.events.on_change(p->env.events.ctx);
}

static void push_on_change(void *ctx)
{
	struct push *p = ctx;
	p->tell = true;
	io_timer_set(&p->later, 0);
}

static void push_on_look(void *ctx)
{
	struct push *p = ctx;
	p->look = true;
	io_timer_set(&p->later, 0);
}

/* --- topologies and leases -------------------------------------------------------------------- */

static bool push_supersedes(const struct push_env *env, const struct push_key *key)
{
	if (!env->text.n || strcmp(key->lineage, env->newest.lineage) != 0) return true;
	return push_key_compare(key, &env->newest) > 0;
}

void push_topology(struct push *p, const json_t *topology)
{
	struct push_key key = push_key_of(topology);
	struct push_entry *e;
	if (!push_supersedes(&p->env, &key)) return;
	bool restored = p->env.text.n && strcmp(key.lineage, p->env.newest.lineage) != 0;
	scratch_fini(&p->env.text); /* one may be large, the next small */
	ctlmsg_put(topology, &p->env.text);
	p->env.text.n--; /* the newline */
	p->env.newest = key;
	p->env.walks = json_object_size(json_object_get(topology, "transitions")) > 0;
	p->env.since_us = clock_now_us();
	TAILQ_FOREACH (e, &p->entries, link) push_peer_topology(e->peer, restored);
}

void push_stale(struct push *p, bool stale)
{
	p->env.stale = stale;
}

static void push_renew(struct push *p)
{
	struct push_entry *e;
	uint32_t interval_ms = p->env.lease_ms / 3;
	if (interval_ms < LEASE_INTERVAL_MIN_MS) interval_ms = LEASE_INTERVAL_MIN_MS;
	io_timer_set(&p->lease, interval_ms * 1000ULL);
	TAILQ_FOREACH (e, &p->entries, link)
		if (!push_peer_foreign(e->peer)) push_peer_lease(e->peer);
}

static void push_on_lease(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	push_renew(owner);
}

void push_lease(struct push *p, uint32_t lease_ms, uint64_t until_us)
{
	bool other = lease_ms != p->env.lease_ms || until_us != p->env.until_us;
	p->env.lease_ms = lease_ms;
	p->env.until_us = until_us;
	if (!lease_ms) io_timer_stop(&p->lease);
	else if (other) push_renew(p);
}

bool push_leased(const struct push *p, uint64_t version)
{
	const struct push_entry *e;
	TAILQ_FOREACH (e, &p->entries, link)
		if (!push_peer_foreign(e->peer) && !push_peer_leased(e->peer, version))
			return false;
	return true;
}

uint64_t push_drained_ms(const struct push *p)
{
	const struct push_entry *e;
	uint64_t last = p->env.since_us;
	TAILQ_FOREACH (e, &p->entries, link) {
		if (push_peer_foreign(e->peer)) continue;
		uint64_t at = push_peer_drained_us(e->peer);
		if (!at) return 0;
		if (at > last) last = at;
	}
	return (last - p->env.since_us) / 1000;
}

/* --- asking ----------------------------------------------------------------------------------- */

uint32_t push_list(const struct push *p, struct push_proxy *out, uint32_t max)
{
	const struct push_entry *e;
	uint32_t n = 0;
	TAILQ_FOREACH (e, &p->entries, link) {
		if (push_peer_foreign(e->peer)) continue;
		if (n < max) push_peer_describe(e->peer, &out[n]);
		n++;
	}
	return n;
}

bool push_all(const struct push *p, uint64_t version, enum push_state at_least)
{
	const struct push_entry *e;
	if (p->unreadable || p->overfull) return false;
	TAILQ_FOREACH (e, &p->entries, link)
		if (!push_peer_foreign(e->peer) && !push_peer_reached(e->peer, version, at_least))
			return false;
	return true;
}

const char *push_state_text(enum push_state s)
{
	static const char *const texts[] = { [PUSH_SILENT] = "silent",
					     [PUSH_BEHIND] = "behind",
					     [PUSH_REFUSED] = "refused",
					     [PUSH_APPLIED] = "applied",
					     [PUSH_DRAINED] = "drained" };
	return texts[s];
}

/* --- life ------------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t given, uint32_t ours)
{
	return given ? given : ours;
}

struct push *push_new_timed(struct io_loop *l, const char *run_dir,
			    const struct push_events *events, const struct push_times *times,
			    struct err_at *where_out)
{
	struct push *p = calloc(1, sizeof(*p));
	if (!p) abort();
	TAILQ_INIT(&p->entries);
	p->env = (struct push_env){
		.loop = l,
		.times = { or_default(times->answer_ms, PROXY_LINK_ANSWER_MS),
			   or_default(times->retry_ms, REFUSED_RETRY_MS),
			   or_default(times->rescan_ms, RUN_DIR_RESCAN_MS) },
		.events = *events,
		.on_change = push_on_change,
		.on_look = push_on_look,
		.ctx = p,
	};
	io_timer_init(&p->lease, l, push_on_lease, p);
	io_timer_init(&p->later, l, push_on_later, p);
	if (run_dir_new(l, run_dir, p->env.times.rescan_ms, push_on_dir, p, &p->dir, where_out) !=
	    ERR_NONE) {
		push_free(&p);
		return NULL;
	}
	push_look(p); /* so that push_all() never speaks without having looked */
	return p;
}

struct push *push_new(struct io_loop *l, const char *run_dir, const struct push_events *events,
		      struct err_at *where_out)
{
	static const struct push_times ours = { 0 };
	return push_new_timed(l, run_dir, events, &ours, where_out);
}

void push_free(struct push **push)
{
	struct push *p = *push;
	struct push_entry *e;
	if (!p) return;
	while ((e = TAILQ_FIRST(&p->entries))) push_remove(p, e);
	io_timer_stop(&p->lease);
	io_timer_stop(&p->later);
	run_dir_free(&p->dir);
	scratch_fini(&p->env.text);
	free(p);
	*push = NULL;
}
