/* request.h - one request on its way through the proxy.
 *
 * Follow a GET. client_on_read() reads what the client sent; the codec finds one request in it and
 * describes it (struct command). request_start() makes a `struct request`, whose bottom frame is
 * the client, and hands it to the route tree of the client's listener. A route handle passes it
 * down with route_send(); one that wants to see the answer pushes a frame first. At the bottom
 * hash_send() asks the ring for the server, and dest_send() copies the request into the output of
 * the worker's connection to it. At the end of the turn conn_flush() sends everything queued for
 * that server in one writev. When the answer comes, conn_on_read() cuts it from the stream, the
 * codec checks that it fits, and request_reply() pops the frames in reverse, the client's last.
 * client_flush() sends the client its replies in the order in which it asked.
 *
 * Threads:   a request lives and dies on one worker.
 * Ownership: two sides may hold it: whoever waits for the answer (REQ_AWAITED) and the connection
 *            that will read it (REQ_QUEUED). Either may let go first: a client that leaves, or a
 *            timeout that answers before the server does. The last one frees it.
 * Lifetimes: `key`, `head` and `body` are the client's input, good only until route_send()
 *            returns. What must last longer is copied into the destination's output.
 */
#ifndef TWINRING_PROXY_REQUEST_H
#define TWINRING_PROXY_REQUEST_H

#include "proxy/core.h"
#include "proxy/server_pool.h"

/* A snapshot as one worker sees it: with the worker's destinations. The newest one has a reference
 * of the worker's; each request has one. When the last is gone, nothing routed by that snapshot is
 * in flight here any more. */
struct view {
	struct snapshot *snapshot;
	struct dest **dests; /* [dest_count]; server i of a pool is dests[dest_base + i] */
	uint32_t dest_count;
	uint32_t refs;
	void (*on_unused)(struct view *v);
	struct core *core;
};

static inline void view_unref(struct view *v)
{
	if (--v->refs == 0) v->on_unused(v);
}

/* An answer on its way back. Everything in it is good only during the call. */
struct answer {
	struct slice bytes; /* the server's reply, whole; empty when err or chain is set */
	struct outq *chain; /* the reply put together from several; may be taken; or NULL */
	struct buf *buf;    /* the bytes lie in it and may be kept by reference; or NULL */
	enum reply_kind kind;
	uint32_t hits;
	bool ends_known;    /* req->ends tell where values end in `bytes`               */
	enum err err;	    /* the request failed in the proxy                       */
	uint16_t tag;	    /* with OP_TAGS_TELL: of who answered; 0: not known      */
	const char *server; /* ring name, or NULL                                    */
};

/* A stop on the way back. `reply` gets the answer and either passes it on (request_reply) or does
 * something else with the request, but not both. */
struct frame {
	struct frame *next;
	void (*reply)(struct frame *f, struct request *req, const struct answer *a);
	void *owner;
};

enum request_flag {
	REQ_AWAITED = 1,  /* somebody waits for the answer                        */
	REQ_QUEUED = 2,	  /* in a connection's queue                              */
	REQ_DONE = 4,	  /* answered; waits for its turn in its client's order   */
	REQ_NOREPLY = 8,  /* the client wants no answer                           */
	REQ_EXPIRED = 16, /* timed out: answered, but the server still owes a reply */
	REQ_QUIET = 64,	  /* CMD_QUIET */
	REQ_TAGGED = 32,  /* the answer gets the tag of the connection's process */
};

/* Bytes of a reply that waits for its turn in its request: at P16 on three servers every other one
 * waits, and a buffer of its own costs more than all else that is done about it. */
enum { REQUEST_BRIEF = 79 };

/* In order of who looks at it: with a deep pipeline hundreds of these are in flight, and an answer
 * finds them in no near cache. It needs the first two lines, `out` and `brief`. */
struct request {
	struct request *client_next; /* in the order in which the client asked       */
	struct request *dest_next;   /* in the order in which the server will answer */
	struct frame *top;
	struct frame bottom;
	const struct op_info *info;
	const struct server_pool *pool; /* NULL: answered locally */

	struct view *view; /* where dests are looked up; one reference; or NULL */
	uint64_t start_us;
	uint64_t deadline_us; /* 0: none */
	uint64_t queued_at;   /* its first byte's place in what its connection sends */
	struct slice sent;    /* what the server got (its head), when info->keep_sent */
	uint32_t *ends;	      /* of a part, for reply_resume.ends; NULL: nobody wants it */
	uint32_t key_count;
	uint8_t flags;
	uint8_t resp; /* dialect of the reply: 2 or 3 */
	uint8_t brief_n;

	struct slice key, head, body;
	const struct command *cmd; /* as long as `key`; NULL: a part of a split request */
	struct buf *in;		   /* head and body may lie in it; borrowed during route_send() */
	struct buf *sent_buf;
	struct multi *multi; /* a split request's parts, or NULL */
	const char *server;  /* deferred as failed: by whom, or NULL ... */
	enum err err;	     /* ... and why                              */
	uint32_t lane; /* the same for all of a client: chooses among connections to a server */

	struct outq out;	   /* REQ_DONE: the reply, until its turn; or it is in `brief` */
	char brief[REQUEST_BRIEF]; /* must be last: it is not zeroed */
};

static inline struct request *request_new(struct core *core, const struct op_info *info)
{
	struct request *req = freelist_get(&core->requests);
	zero_in_pieces(req, offsetof(struct request, brief));
	req->info = info;
	req->top = &req->bottom;
	req->flags = REQ_AWAITED;
	return req;
}

/* The awaiting side lets go. */
void request_drop(struct core *core, struct request *req);
/* The connection lets go. */
void request_unqueue(struct core *core, struct request *req);

/* It has its answer, and nothing of it needs servers any more. */
void request_leave_view(struct request *req);

/* Pass the answer to the topmost frame. */
static inline void request_reply(struct request *req, const struct answer *a)
{
	struct frame *f = req->top;
	req->top = f->next;
	f->reply(f, req, a);
}

/* Answer with an error at the end of this turn, never inline: the caller may still be on its way
 * down. `server` is a ring name of the request's snapshot, or NULL. */
void request_fail_later(struct core *core, struct request *req, enum err e, const char *server);
/* The same at once, from the way back. */
void request_fail(struct request *req, enum err e, const char *server);

#endif
