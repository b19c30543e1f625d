/* nanny.h - looks after servers: probes each at its interval, and votes on who is bad.
 *
 * A server turns bad after `fall` bad probes in a row and good after `rise` good ones. Probes begin
 * spread over their first interval, and wander a tenth to either side of it.
 *
 * A nanny doubts itself, and says that it abstains, when half of all servers or more (and at least
 * two) turn bad within doubt_ms, when no server at all is good, or when it is told to. It votes
 * again when none of that has been so for doubt_ms. Its votes go on changing meanwhile: they just
 * do not count.
 *
 * Threads:   the loop's. Nothing blocks.
 * Callbacks: from the loop, and from within nanny_want() and nanny_doubt(). They must not call any
 *            function of the nanny's. Their arguments are borrowed for the call.
 * Time:      clock_now_us(); what is shown to people is milliseconds since 1970.
 */
#ifndef TWINRING_AGENT_NANNY_H
#define TWINRING_AGENT_NANNY_H

#include "agent/probe.h"

enum { NANNY_DOUBT_MS = 10000 };

struct nanny_server {
	const char *name; /* in the ring */
	const char *host;
	uint16_t port;
	bool ejected; /* out at present: when the nanny does not know it yet, it is bad until it has
		       * been seen well, so that a new nanny does not speak for the dead */
};

struct nanny_pool {
	const char *name;
	struct health_spec health;	       /* PROBE_NONE: left alone */
	const char *auth_user, *auth_password; /* NULL: none */
	uint32_t db;
	const struct nanny_server *servers;
	uint32_t server_count;
};

struct nanny_vote {
	const char *pool, *server;
	bool bad;
	bool changed;	   /* false: only the incarnation did */
	bool restarted;	   /* it is another process than the one that was seen before, and empty */
	const char *why;   /* printable */
	uint64_t since_ms; /* of `bad`  */
};

struct nanny_events {
	/* Everybody is good until said otherwise. A bad server that is no longer wanted is reported
	 * as not bad, so that its vote can be taken back. */
	void (*on_vote)(void *ctx, const struct nanny_vote *v);
	/* why: NULL: its votes count again. */
	void (*on_abstain)(void *ctx, const char *why);
	void *ctx;
	const char *script_dir; /* of health.script; NULL: scripts are whole paths */
	uint32_t doubt_ms;	/* 0: NANNY_DOUBT_MS */
	uint64_t seed;		/* of the spread; different on each host */
};

struct nanny;

/* Copies `events`, but borrows script_dir. */
struct nanny *nanny_new(struct io_loop *l, const struct nanny_events *events);
/* Look after exactly these. A server that stays, by pool, name and address, keeps its state. */
void nanny_want(struct nanny *n, const struct nanny_pool *pools, uint32_t count);
/* Doubt: it has lost the store, for one. */
void nanny_doubt(struct nanny *n, bool doubt, const char *why);
/* NULL: it does not abstain. */
const char *nanny_abstains(const struct nanny *n);
/* Without a word: no callbacks. Sets *n to NULL; NULL is a no-op. */
void nanny_free(struct nanny **n);

#endif
