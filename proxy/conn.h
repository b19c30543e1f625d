/* conn.h - one connection to a server: connect, greet, send in batches, match replies to requests.
 *
 * Threads and lifetimes: as destination.h. A connection that closed is freed at the end of the
 * turn of the loop in which it closed.
 */
#ifndef TWINRING_PROXY_CONN_H
#define TWINRING_PROXY_CONN_H

#include "proxy/destination.h"

enum conn_state {
	CONN_CONNECTING, /* waits for the kernel                                      */
	CONN_GREETING,	 /* handshake under way: only its bytes are sent              */
	CONN_READY,	 /* carries requests                                          */
	CONN_QUARANTINE, /* takes no new requests; waits for the replies it is owed   */
	CONN_CLOSED,
};

struct conn {
	struct io_watch watch;
	struct dest *dest;
	struct core *core;
	LIST_ENTRY(conn) active;     /* core.active_conns, while something is awaited */
	LIST_ENTRY(conn) quarantine; /* dest.quarantine                               */
	struct conn *dirty_next;
	bool dirty, is_active;
	bool carried;  /* it has answered something in time */
	uint8_t state; /* enum conn_state; written by conn_set_state() */
	uint8_t resp;  /* dialect it speaks: 2 or 3 */
	uint16_t tag;  /* of the process behind it: codec.tag(); 0: not known (yet) */
	uint32_t lane;
	int fd;

	struct request *head, **tail;	   /* unanswered, oldest first                  */
	struct request *cursor;		   /* the oldest that has not timed out         */
	uint32_t count;			   /* in the queue                              */
	uint32_t unsent;		   /* of these, not wholly handed to the kernel */
	uint64_t queued_bytes, sent_bytes; /* of requests, since it was opened */
	uint64_t deadline_us; /* CONNECTING, GREETING: give up then; QUARANTINE: close then */

	uint32_t greeting;		     /* handshake requests answered so far */
	const struct op_info *greeting_info; /* of the one under way, or NULL */
	struct outq out;		     /* requests       */
	struct outq hello;		     /* handshake      */
	struct buf *in;			     /* an incomplete reply */
	struct reply_resume resume;
	struct garbage garbage;
};

enum { CONN_OWED_US = 10000000 /* how long a connection may owe replies that nobody awaits */ };

/* NULL: the attempt failed at once; *err_out says how. The destination is not told. */
struct conn *conn_open(struct dest *d, uint32_t lane, enum err *err_out);
/* Append to the queue and to the output. */
void conn_queue(struct conn *c, struct request *req);
/* Send what is queued: once per turn. */
void conn_flush(struct conn *c);
/* Fail what is unanswered with `e` and close. The destination learns of it when `e` is a failure
 * of the server's. */
void conn_close(struct conn *c, enum err e);
/* Take no more requests; stay open until what is owed has come, or for `grace_us`. */
void conn_retire(struct conn *c, uint64_t grace_us);
/* Nothing in the queue waits beyond `deadline_us`: deadlines must not fall from one to the next. */
void conn_shorten(struct conn *c, uint64_t deadline_us);
/* Answer what has waited too long. */
void conn_expire(struct conn *c, uint64_t now_us);

#endif
