#include "common/buf.h"

#include <assert.h>
#include <stdlib.h>

/* Sizes of whole allocations. The header comes out of them, so that malloc's own sizes stay
 * round. */
static const uint32_t class_bytes[BUF_CLASSES] = { 512, 4096, 16384, 81920, 262144, 1048576 };
/* Buffers of each size_class that trimming leaves. */
static const uint32_t class_keep[BUF_CLASSES] = { 64, 16, 8, 4, 1, 0 };

_Static_assert(sizeof(struct buf) <= 64, "BUF_SMALL and BUF_READ count on this");

void buf_pool_init(struct buf_pool *p)
{
	*p = (struct buf_pool){ 0 };
	freelist_init(&p->segs, sizeof(struct seg));
}

static void buf_class_drop(struct buf_pool *p, uint32_t size_class, uint32_t count)
{
	while (count-- > 0 && p->classes[size_class].free) {
		struct buf *b = p->classes[size_class].free;
		p->classes[size_class].free = b->next;
		p->classes[size_class].free_count--;
		p->bytes -= class_bytes[size_class];
		free(b);
	}
}

void buf_pool_trim(struct buf_pool *p)
{
	for (uint32_t i = 0; i < BUF_CLASSES; i++) {
		uint32_t low = p->classes[i].low_water, keep = class_keep[i];
		buf_class_drop(p, i, low > keep ? (low - keep + 1) / 2 : 0);
		p->classes[i].low_water = p->classes[i].free_count;
	}
	freelist_trim(&p->segs);
}

void buf_pool_squeeze(struct buf_pool *p)
{
	for (uint32_t i = 0; i < BUF_CLASSES; i++) {
		buf_class_drop(p, i, UINT32_MAX);
		p->classes[i].low_water = 0;
	}
}

void buf_pool_fini(struct buf_pool *p)
{
	buf_pool_squeeze(p);
	freelist_fini(&p->segs);
}

struct buf *buf_get(struct buf_pool *p, size_t size)
{
	uint32_t size_class = 0;
	while (size_class < BUF_CLASSES && class_bytes[size_class] - sizeof(struct buf) < size)
		size_class++;
	struct buf *b = size_class < BUF_CLASSES ? p->classes[size_class].free : NULL;
	if (b) {
		p->classes[size_class].free = b->next;
		if (--p->classes[size_class].free_count < p->classes[size_class].low_water)
			p->classes[size_class].low_water = p->classes[size_class].free_count;
	} else {
		size_t bytes =
		    size_class < BUF_CLASSES ? class_bytes[size_class] : sizeof(*b) + size;
		assert(bytes - sizeof(*b) <= UINT32_MAX);
		b = malloc(bytes);
		if (!b) abort();
		p->bytes += bytes;
		b->pool = p;
		b->size_class = (uint8_t)size_class;
		b->cap = (uint32_t)(bytes - sizeof(*b));
		if (size_class < BUF_CLASSES) p->classes[size_class].low_water = 0;
	}
	b->refs = 1;
	b->len = 0;
	b->since_s = 0;
	memset(b->note, 0, sizeof(b->note));
	return b;
}

void buf_release(struct buf *b)
{
	struct buf_pool *p = b->pool;
#ifndef POOL_MALLOC
	if (b->size_class < BUF_CLASSES) {
		b->next = p->classes[b->size_class].free;
		p->classes[b->size_class].free = b;
		p->classes[b->size_class].free_count++;
		return;
	}
#endif
	p->bytes -= sizeof(*b) + b->cap;
	free(b);
}

struct buf *buf_grow(struct buf *b, size_t size)
{
	/* Beyond the classes, realloc moves pages instead of bytes. */
	if (b->size_class == BUF_CLASSES && b->refs == 1) {
		struct buf *grown = realloc(b, sizeof(*b) + size);
		if (!grown) abort();
		grown->pool->bytes += size - grown->cap;
		grown->cap = (uint32_t)size;
		return grown;
	}
	struct buf *grown = buf_get(b->pool, size);
	memcpy(grown->data, b->data, b->len);
	grown->len = b->len;
	grown->since_s = b->since_s;
	memcpy(grown->note, b->note, sizeof(b->note));
	buf_unref(b);
	return grown;
}

struct buf *buf_hold(struct buf_pool *p, struct buf *in, struct slice bytes, struct slice *held_out)
{
	if (in && bytes.n >= BUF_REF_MIN && buf_is_fair(in, bytes.n)) {
		*held_out = bytes;
		return buf_ref(in);
	}
	struct buf *copy = buf_get(p, bytes.n);
	memcpy(copy->data, bytes.p, bytes.n);
	copy->len = (uint32_t)bytes.n;
	*held_out = (struct slice){ copy->data, bytes.n };
	return copy;
}

static void outq_append(struct outq *q, struct seg *s)
{
	s->next = NULL;
	if (q->tail) q->tail->next = s;
	else q->head = s;
	q->tail = s;
	q->bytes += s->len;
}

static struct seg *outq_push(struct buf_pool *p, struct outq *q, struct buf *b, uint32_t off,
			     uint32_t len, bool own)
{
	struct seg *s = freelist_get(&p->segs);
	*s = (struct seg){ .buf = b, .off = off, .len = len, .own = own };
	outq_append(q, s);
	return s;
}

const char *outq_copy_fresh(struct buf_pool *p, struct outq *q, const void *bytes, size_t n,
			    size_t chunk)
{
	outq_push(p, q, buf_get(p, n > chunk ? n : chunk), 0, 0, true);
	return outq_fill(q, bytes, n);
}

char *outq_room(const struct outq *q, size_t *room_out)
{
	const struct seg *s = q->tail;
	*room_out = s && s->own ? buf_room(s->buf) : 0;
	return *room_out ? s->buf->data + s->buf->len : NULL;
}

void outq_add(struct outq *q, size_t n)
{
	if (n == 0) return;
	q->tail->buf->len += (uint32_t)n;
	q->tail->len += (uint32_t)n;
	q->bytes += n;
}

void outq_ref(struct buf_pool *p, struct outq *q, struct buf *b, struct slice bytes)
{
	struct seg *s = q->tail;
	uint32_t at = (uint32_t)(bytes.p - b->data);
	if (s && s->buf == b && !s->own && s->off + s->len == at) {
		s->len += (uint32_t)bytes.n;
		q->bytes += bytes.n;
		return;
	}
	s = outq_push(p, q, buf_ref(b), at, (uint32_t)bytes.n, false);
	s->pins = !buf_is_fair(b, bytes.n);
}

void outq_put_large(struct buf_pool *p, struct outq *q, struct buf *in, struct slice bytes,
		    size_t chunk)
{
	if (in) outq_ref(p, q, in, bytes);
	else outq_copy(p, q, bytes.p, bytes.n, chunk);
}

static void outq_drop_head(struct buf_pool *p, struct outq *q)
{
	struct seg *s = q->head;
	q->head = s->next;
	if (!q->head) q->tail = NULL;
	buf_unref(s->buf);
	freelist_put(&p->segs, s);
}

void outq_move(struct buf_pool *p, struct outq *to, struct outq *from, size_t chunk)
{
	/* Nothing to append to: then no byte need move. */
	while (to->head && from->head && from->head->len < BUF_REF_MIN) {
		struct seg *s = from->head;
		outq_copy(p, to, s->buf->data + s->off, s->len, chunk);
		from->bytes -= s->len;
		outq_drop_head(p, from);
	}
	if (!from->head) return;
	if (to->tail) to->tail->next = from->head;
	else to->head = from->head;
	to->tail = from->tail;
	to->bytes += from->bytes;
	*from = (struct outq){ 0 };
}

void outq_settle(struct buf_pool *p, struct outq *q, size_t chunk)
{
	struct seg *first = q->head;
	while (first && !first->pins) first = first->next;
	if (!first) return;
	struct outq settled = { 0 };
	while (q->head) {
		struct seg *s = q->head;
		if (s->pins) {
			outq_copy(p, &settled, s->buf->data + s->off, s->len, chunk);
			outq_drop_head(p, q);
		} else {
			q->head = s->next;
			outq_append(&settled, s);
		}
	}
	*q = settled;
}

int outq_iov(const struct outq *q, struct iovec *iov, int max)
{
	int n = 0;
	for (const struct seg *s = q->head; s && n < max; s = s->next) {
		if (s->len == 0) continue;
		iov[n].iov_base = s->buf->data + s->off;
		iov[n++].iov_len = s->len;
	}
	return n;
}

void outq_consume(struct buf_pool *p, struct outq *q, size_t n)
{
	assert(n <= q->bytes);
	q->bytes -= n;
	while (q->head && n >= q->head->len) {
		n -= q->head->len;
		outq_drop_head(p, q);
	}
	if (q->head && n > 0) {
		q->head->off += (uint32_t)n;
		q->head->len -= (uint32_t)n;
	}
}

void outq_clear(struct buf_pool *p, struct outq *q)
{
	while (q->head) outq_drop_head(p, q);
	q->bytes = 0;
}
