/* listener.h - listening sockets: accept, enforce limits, hand each client to a worker.
 *
 * Threads: main only. Cache connections are few and live long, so the worker with the fewest gets
 * the next one; SO_REUSEPORT would spread them unevenly.
 */
#ifndef TWINRING_PROXY_LISTENER_H
#define TWINRING_PROXY_LISTENER_H

#include "common/config.h"
#include "common/io.h"
#include "proxy/worker.h"

struct listener {
	struct listener_spec spec; /* strings owned */
	uint16_t number;	   /* its place in every snapshot's entries */
	int fd;
	struct io_watch watch;
	struct listeners *set;
};

struct listeners {
	struct io_loop *loop;
	struct listener *by_number[LISTENERS_MAX];
	const struct listener_spec *specs[LISTENERS_MAX]; /* of the same, for snapshot_input */
	uint32_t count;					  /* highest number in use + 1       */
	struct io_timer resume; /* out of descriptors: no accepting until it fires */
	struct worker_shared *shared;
	struct worker **workers;
	uint32_t worker_count;
};

void listeners_init(struct listeners *l, struct io_loop *loop, struct worker_shared *shared,
		    struct worker **workers, uint32_t worker_count);
void listeners_fini(struct listeners *l);

/* Listen where `c` says. A listener that is there already stays as it is, but may lead elsewhere.
 * Fails before anything has changed. Those no longer wanted stay until listeners_prune(). */
enum err listeners_open(struct listeners *l, const struct config *c, struct err_at *where_out);
void listeners_prune(struct listeners *l, const struct config *c);

/* Begin to accept, once the workers have a snapshot. */
void listeners_start(struct listeners *l);
/* Close all: no more clients. */
void listeners_close(struct listeners *l);

#endif
