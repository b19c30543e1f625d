/* buf.h - refcounted byte buffers, and queues of bytes waiting to be written.
 *
 * A buf is one contiguous block in one of a few sizes, taken from a pool that belongs to one
 * thread. Readers fill it, parsers point into it, queues and requests hold references; the last
 * buf_unref() returns it. Bytes below `len` never change once written, so any holder may go on
 * reading them while the owner appends behind.
 *
 * An outq is a chain of segments, each a range of a buf. Small pieces are copied together into a
 * chunk of the queue's own (one memcpy costs less than an iovec); large ones are referenced. A
 * segment that references a small part of a large buf pins the rest of it: fine for the moment
 * until it is written; a queue that has to wait is settled first.
 *
 * Threads: one. Errors: none; running out of memory aborts, as every caller is bounded.
 */
#ifndef TWINRING_COMMON_BUF_H
#define TWINRING_COMMON_BUF_H

#include <sys/uio.h>

#include "common/list.h"
#include "common/freelist.h"

enum {
	BUF_CLASSES = 6,
	BUF_SMALL = 448,       /* usable bytes of the smallest class        */
	BUF_READ = 81920 - 64, /* usable bytes of a worker's read buffer    */
	BUF_REF_MIN = 1027,    /* from here on bytes are referenced, not copied: more than 1 KiB
				  and its line end */
};

struct buf_pool;

struct buf {
	struct buf *next; /* in a free list */
	struct buf_pool *pool;
	uint32_t refs;
	uint32_t cap;	    /* usable bytes in data */
	uint32_t len;	    /* bytes written        */
	uint8_t size_class; /* BUF_CLASSES: allocated singly */
	uint32_t since_s;   /* its holder's own: when the partial request began ...  */
	uint64_t note[3];   /* ... and how far it was parsed                         */
	char data[];
};

struct seg {
	struct seg *next;
	struct buf *buf; /* one reference */
	uint32_t off, len;
	bool own;  /* the queue may append to the buf behind this segment */
	bool pins; /* keeps far more than its own bytes                   */
};

struct outq {
	struct seg *head, *tail;
	size_t bytes;
};

struct buf_pool {
	struct {
		struct buf *free;
		uint32_t free_count, low_water;
	} classes[BUF_CLASSES];
	struct freelist segs;
	size_t bytes; /* held in all: in use and in free lists */
};

void buf_pool_init(struct buf_pool *p);
/* Give back half of what lay unused since the last call. */
void buf_pool_trim(struct buf_pool *p);
/* Give back all that lies unused. */
void buf_pool_squeeze(struct buf_pool *p);
void buf_pool_fini(struct buf_pool *p);

/* An empty buf with room for at least `size` bytes and one reference. */
struct buf *buf_get(struct buf_pool *p, size_t size);
/* The same bytes and note in a larger buf; `b`'s reference is consumed. */
struct buf *buf_grow(struct buf *b, size_t size);

static inline struct buf *buf_ref(struct buf *b)
{
	b->refs++;
	return b;
}

void buf_release(struct buf *b);

static inline void buf_unref(struct buf *b)
{
	if (--b->refs == 0) buf_release(b);
}

/* Are `n` bytes of it reason enough to keep it? */
static inline bool buf_is_fair(const struct buf *b, size_t n)
{
	return n * 4 >= b->cap;
}

static inline size_t buf_room(const struct buf *b)
{
	return b->cap - b->len;
}

/* A reference that keeps `bytes` (which lie in `in`, or anywhere when it is NULL) readable: `in`
 * itself when they are a fair part of it, else a copy of the right size, so that a small reply
 * does not hold a large buffer. *held_out is where the bytes are now. */
struct buf *buf_hold(struct buf_pool *p, struct buf *in, struct slice bytes,
		     struct slice *held_out);

/* For outq_copy(): behind the last segment, in whose chunk there is room. */
static inline const char *outq_fill(struct outq *q, const void *bytes, size_t n)
{
	struct seg *s = q->tail;
	char *at = s->buf->data + s->buf->len;
	copy_short(at, bytes, n);
	s->buf->len += (uint32_t)n;
	s->len += (uint32_t)n;
	q->bytes += n;
	return at;
}

/* For outq_copy(): in a fresh chunk. */
const char *outq_copy_fresh(struct buf_pool *p, struct outq *q, const void *bytes, size_t n,
			    size_t chunk);

/* Append a copy. `chunk` is the size of a fresh chunk when one is needed. Returns where the bytes
 * now lie, contiguous, when `n` fits one chunk. */
static inline const char *outq_copy(struct buf_pool *p, struct outq *q, const void *bytes, size_t n,
				    size_t chunk)
{
	const struct seg *s = q->tail;
	bool fits = s && s->own && buf_room(s->buf) >= n;
	return fits ? outq_fill(q, bytes, n) : outq_copy_fresh(p, q, bytes, n, chunk);
}

/* Append bytes of `b` without copying. Right behind the last ones they only make these longer. */
void outq_ref(struct buf_pool *p, struct outq *q, struct buf *b, struct slice bytes);
/* For outq_put(): BUF_REF_MIN bytes or more. */
void outq_put_large(struct buf_pool *p, struct outq *q, struct buf *in, struct slice bytes,
		    size_t chunk);

/* Append bytes that may lie in `in` (or NULL): by reference when they are many. */
static inline void outq_put(struct buf_pool *p, struct outq *q, struct buf *in, struct slice bytes,
			    size_t chunk)
{
	if (bytes.n >= BUF_REF_MIN) outq_put_large(p, q, in, bytes, chunk);
	else if (bytes.n > 0) outq_copy(p, q, bytes.p, bytes.n, chunk);
}

/* Copy what pins: the queue has to wait for longer than this turn. */
void outq_settle(struct buf_pool *p, struct outq *q, size_t chunk);
/* Move everything of `from` behind `to`; small amounts are copied together. */
void outq_move(struct buf_pool *p, struct outq *to, struct outq *from, size_t chunk);
/* Fill up to `max` iovecs from the front; returns how many. */
int outq_iov(const struct outq *q, struct iovec *iov, int max);
/* Drop `n` bytes from the front. */
void outq_consume(struct buf_pool *p, struct outq *q, size_t n);
void outq_clear(struct buf_pool *p, struct outq *q);

/* Where more bytes can be appended to the queue's last chunk, and how many; NULL: it has none.
 * outq_add() appends those that were written there. */
char *outq_room(const struct outq *q, size_t *room_out);
void outq_add(struct outq *q, size_t n);

#endif
