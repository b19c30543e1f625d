/* worker.h - one thread and everything it touches: loop, clients, destinations, counters.
 *
 * Workers share nothing while they serve. Main talks to a worker through its mailbox: here is a
 * client, here is a snapshot, finish. A worker talks to main through main's.
 */
#ifndef TWINRING_PROXY_WORKER_H
#define TWINRING_PROXY_WORKER_H

#include "common/mailbox.h"
#include "proxy/multi.h"
#include "proxy/snapshot.h"

enum worker_mail {
	WORKER_CLIENT,	 /* fd, number: listener                                       */
	WORKER_SNAPSHOT, /* p: struct snapshot, one reference                          */
	WORKER_DRAIN,	 /* finish what clients have sent, then close them             */
	WORKER_STOP,	 /* close what is left and end the thread                      */
};

/* What workers tell main. */
enum main_mail {
	MAIN_ADOPTED,	    /* adopted_serial has changed                              */
	MAIN_SNAPSHOT_DEAD, /* p: struct snapshot, no references left                  */
	MAIN_DEST,    /* id: pool_server.id, number: 0 up, 1 failing beyond the limit; p: worker */
	MAIN_DRAINED, /* id: worker index; it has no clients left                */
};

/* Shared by all workers, made by main before they start, constant but where noted. */
struct worker_shared {
	uint32_t threads;
	struct stats *stats;
	struct mailbox *main;
	uint32_t *listener_clients; /* [LISTENERS_MAX], atomic: open clients */
	uint64_t started_us;	    /* wall clock */
	const char *client_name;    /* of our connections to servers; NULL: none */
	uint64_t lease_until_us;    /* atomic; clock_boot_us(); 0: never granted */
};

enum { LISTENERS_MAX = 1024 };

struct worker {
	struct core core;
	struct worker_shared *shared;
	struct mailbox mail;
	struct view *view; /* newest; NULL before the first snapshot */
	LIST_HEAD(, client) clients;
	struct freelist client_pool;
	struct client *corked;
	struct io_timer cork_timer, second;
	struct multi_scratch multi;
	uint32_t client_count; /* atomic: main reads it to choose a worker */
	uint32_t next_client_id;
	uint32_t entry_clients[LISTENERS_MAX]; /* this worker's, by listener */
	/* How clients of a listener speak, also when it leads nowhere any more. */
	const struct codec *codecs[LISTENERS_MAX];
	struct codec_limits limits[LISTENERS_MAX];
	uint64_t adopted_serial; /* atomic: the snapshot that new requests are routed by */
	bool draining, stopping;
	pthread_t thread;
};

/* NULL: no memory or no descriptors. Starts the thread. */
struct worker *worker_start(struct worker_shared *shared, uint32_t index);
/* After WORKER_STOP was posted: wait for the thread and free everything. */
void worker_join(struct worker **w);

/* The pieces of which a thread is made; for tests, which have no thread. worker_close() is the last
 * turn: it closes what is left. */
struct worker *worker_new(struct worker_shared *shared, uint32_t index);
void worker_turn(struct worker *w);
void worker_close(struct worker *w);
void worker_free(struct worker **w);

/* Of the newest snapshot. */
static inline const struct proxy_spec *worker_limits(const struct worker *w)
{
	return &w->view->snapshot->limits;
}

/* Where requests from a listener go now; NULL: nowhere any more. */
static inline const struct route *worker_entry(const struct worker *w, uint16_t listener)
{
	const struct snapshot *s = w->view ? w->view->snapshot : NULL;
	return s && listener < s->entry_count ? s->entries[listener] : NULL;
}

#endif
