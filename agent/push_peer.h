/* push_peer.h - one proxy as push.c knows it: its link, and how far it has followed.
 *
 * Threads:   the loop's. Ownership: borrows its env, which push.c keeps.
 * Callbacks: env->on_look and env->on_change only note what is to be done; the peer may not be
 * freed in them, nor in on_health.
 */
#ifndef TWINRING_AGENT_PUSH_PEER_H
#define TWINRING_AGENT_PUSH_PEER_H

#include "agent/push.h"
#include "common/scratch.h"

struct push_peer;

/* What orders topologies; only those of one lineage can be compared. */
struct push_key {
	char lineage[128]; /* "": none */
	uint64_t order[3]; /* epoch, step, version */
};

enum { PUSH_KEY_VERSION = 2 };

/* Missing members count as 0 and "". */
struct push_key push_key_of(const json_t *topology);
/* <0, 0, >0: by order alone. */
int push_key_compare(const struct push_key *a, const struct push_key *b);
bool push_key_same(const struct push_key *a, const struct push_key *b);

struct push_env {
	struct io_loop *loop;
	struct push_times times;
	struct push_events events;
	/* The newest topology; none while text is empty. */
	struct push_key newest;
	struct scratch text;
	uint64_t since_us;
	bool walks;	   /* some pool of it is in transition */
	bool stale;	   /* not confirmed for too long */
	uint32_t lease_ms; /* 0: nothing to renew */
	uint64_t until_us; /* and never beyond, by clock_boot_us() */
	void (*on_change)(void *ctx);
	void (*on_look)(void *ctx); /* a link went down: does the process live? */
	void *ctx;
};

struct push_peer *push_peer_new(const struct push_env *env, const char *name, const char *path);
void push_peer_free(struct push_peer **p);

const char *push_peer_name(const struct push_peer *p);
/* Not a proxy: no business of ours, though it lives in the run directory. */
bool push_peer_foreign(const struct push_peer *p);
bool push_peer_up(const struct push_peer *p);
/* Has given its name to another process, or is about to: look whether there is another socket. */
bool push_peer_replaced(struct push_peer *p);
/* Its lock is held, or that cannot be told: why then is not "". Only while not up. */
void push_peer_alive(struct push_peer *p, int pid, const char *why);

/* The newest topology changed; if `restored`, its lineage too: no earlier answer counts. */
void push_peer_topology(struct push_peer *p, bool restored);
void push_peer_lease(struct push_peer *p);

void push_peer_describe(const struct push_peer *p, struct push_proxy *out);
bool push_peer_leased(const struct push_peer *p, uint64_t version);
/* clock_now_us() of when it had drained the newest; 0: it has not. */
uint64_t push_peer_drained_us(const struct push_peer *p);
bool push_peer_reached(const struct push_peer *p, uint64_t version, enum push_state at_least);

#endif
