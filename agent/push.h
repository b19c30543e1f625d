/* push.h - hand each topology to every proxy of this host, and know what each has done with it.
 *
 * Proxies are found in the run directory: NAME.lock is held by a process that lives, NAME.sock is
 * where it listens. A lock that is held by a proxy which we cannot talk to counts as a proxy that
 * did not follow: push_all() is false for as long. A socket whose lock nobody holds is ignored.
 * Two entries of one name are two processes, of which the later took the name of the earlier.
 *
 * Threads:   everything on the loop's thread; callbacks come from the loop, never from within a
 *            call, and may call anything here but push_free().
 * Ownership: topologies are copied, as text; events are borrowed for the call.
 * Bounds:    PUSH_PROXIES_MAX proxies; more than that are not served, and push_all() is false.
 */
#ifndef TWINRING_AGENT_PUSH_H
#define TWINRING_AGENT_PUSH_H

#include <jansson.h>

#include "common/err.h"
#include "common/io.h"

#define PUSH_RUN_DIR "/run/twinring"
enum { PUSH_PROXIES_MAX = 256 };

struct push;

struct push_events {
	/* Some proxy's state changed, one came or one went. Several changes may be one call. */
	void (*on_change)(void *ctx);
	/* "health", as the proxy sent it. */
	void (*on_health)(void *ctx, const char *proxy, const json_t *event);
	void *ctx;
};

/* With regard to the newest topology. In this order: a later one includes the earlier ones. */
enum push_state {
	PUSH_SILENT,  /* alive, but we cannot talk to it                           */
	PUSH_BEHIND,  /* connected; has not answered yet                           */
	PUSH_REFUSED, /* what it runs stays; asked again every minute              */
	PUSH_APPLIED, /* new requests are routed by it                             */
	PUSH_DRAINED, /* and no request routed by an older one is unresolved       */
};

struct push_proxy {
	const char *name; /* valid until the next turn of the loop */
	int pid;	  /* 0: unknown */
	enum push_state state;
	uint64_t version;  /* what it runs, as far as known; 0: unknown */
	const char *error; /* why it is silent, refused or behind, or what it says is wrong with
			    * itself; "" otherwise. As long as name */
	uint64_t lag_ms;   /* for how long it has not run the newest topology; 0: it does */
	const json_t *blocked_on; /* names of servers that it waits for; NULL: none. As name */
	const char *client_name;  /* of its connections to Redis; "": not told. As long as name */
};

/* NULL: *where_out says why. events' functions may be NULL. A directory that does not exist yet is
 * waited for. */
struct push *push_new(struct io_loop *l, const char *run_dir, const struct push_events *events,
		      struct err_at *where_out);
/* Sets *p to NULL; NULL is a no-op. Proxies go on as they are. */
void push_free(struct push **p);

/* {"lineage", "epoch", "step", "version", "pools", ...}: for all proxies, also those that appear
 * later. Of one lineage the highest (epoch, step, version) wins, and one that is not higher than
 * the last is ignored; another lineage replaces it. */
void push_topology(struct push *p, const json_t *topology);

/* What is pushed from now on may be out of date: the tree has not confirmed it for too long. A
 * proxy that serves takes it; one that starts does not serve by it until it gets a lease. */
void push_stale(struct push *p, bool stale);

/* Tell proxies that they may go on for lease_ms, now and every third of that, though never beyond
 * until_us (clock_boot_us()). Told are those that run the newest topology and have drained the
 * older ones, and those whose lease still runs; the others, which ran out of theirs, first have to
 * follow. lease_ms 0: stop. */
void push_lease(struct push *p, uint32_t lease_ms, uint64_t until_us);

/* Does every live proxy hold a lease that it was given for `version` or a later one? True when
 * there is none. */
bool push_leased(const struct push *p, uint64_t version);

/* At most `max`, sorted by name; returns how many there are. */
uint32_t push_list(const struct push *p, struct push_proxy *out, uint32_t max);

/* Has every live proxy acknowledged `version` or a later one of the newest topology's lineage, up
 * to at_least (PUSH_APPLIED or PUSH_DRAINED; less asks for the state alone)? True when there is
 * none; false while the run directory cannot be read. */
bool push_all(const struct push *p, uint64_t version, enum push_state at_least);

/* How long the slowest took to drain the newest topology, since it was pushed; 0: not all have. */
uint64_t push_drained_ms(const struct push *p);

const char *push_state_text(enum push_state s);

/* Other times than ours, for tests; before the first turn of the loop. 0: as it is. */
struct push_times {
	uint32_t answer_ms, retry_ms, rescan_ms;
};
struct push *push_new_timed(struct io_loop *l, const char *run_dir,
			    const struct push_events *events, const struct push_times *times,
			    struct err_at *where_out);

#endif
