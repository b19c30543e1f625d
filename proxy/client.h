/* client.h - one client connection: read requests, keep replies in order, write them.
 *
 * Threads:   owned by one worker; every call on its thread.
 * Memory:    at most 250 bytes while idle, the loop's share included: no buffer is held unless
 *            bytes are pending. 8,000 idle clients cost about 1.2 MiB.
 * Order:     requests form a ring in the order of arrival; a reply that comes early waits in its
 *            request. Replies are corked: while a client still waits for more they are gathered,
 *            but for a millisecond at the most.
 * Limits:    a client with too much in flight or too much unread output is not read from until it
 *            has caught up.
 */
#ifndef TWINRING_PROXY_CLIENT_H
#define TWINRING_PROXY_CLIENT_H

#include "proxy/local.h"
#include "proxy/worker.h"

enum client_flag {
	CLIENT_DIRTY = 1,    /* in core.dirty_clients                                        */
	CLIENT_CORKED = 2,   /* in worker.corked                                             */
	CLIENT_PAUSED = 4,   /* not read from: it must wait                                  */
	CLIENT_CLOSING = 8,  /* no more requests; close when all is answered and sent        */
	CLIENT_LINGER = 16,  /* all sent, our side shut; waits for the client to close       */
	CLIENT_DEAD = 32,    /* closed; memory goes at the end of the turn                   */
	CLIENT_BLOCKED = 64, /* its socket is full; waits to become writable                 */
};

struct client {
	struct io_watch watch;
	struct core *core;
	union {
		LIST_ENTRY(client) all;
		struct garbage garbage; /* CLIENT_DEAD */
	};
	struct client *dirty_next; /* or the next in worker.corked */
	struct request *last;	   /* the newest unanswered; last->client_next is the oldest */
	struct outq out;
	size_t held;	/* bytes of replies that wait for their turn, and of their requests */
	struct buf *in; /* an incomplete request, or what came while paused */
	struct session session;
	uint32_t id;
	uint32_t skip;	    /* bytes of a refused request's body still to come    */
	uint32_t active_s;  /* monotonic: when it last sent or took bytes         */
	uint32_t in_flight; /* requests not answered yet                         */
	uint32_t cork_us;   /* CORKED: low bits of the time until when            */
	uint16_t listener;
	uint8_t flags;	    /* enum client_flag */
	uint8_t reply_bits; /* replies of late had up to 2^this bytes */
};

/* Take over an accepted, non-blocking descriptor. */
void client_new(struct worker *w, int fd, uint16_t listener);
/* Close now; what is in flight is answered to nobody. */
void client_close(struct client *c);
/* Answer what has been read, take no more, close. */
void client_finish(struct client *c);
/* For once a second: idle, stuck and lingering clients. */
void client_check(struct client *c, uint32_t now_s);

/* See to core.dirty_clients and worker.corked; core_end_turn() calls it. */
void clients_flush(struct core *core);

#endif
