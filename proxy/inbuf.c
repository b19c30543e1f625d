#include "proxy/inbuf.h"

/* Room beyond what has arrived: a peer that announces much and sends little gets little. */
enum { INBUF_STEP = 1024 * 1024 };

static size_t inbuf_target(const struct buf *b, size_t need)
{
	size_t step = b->len < INBUF_STEP ? INBUF_STEP : (size_t)b->len * 2;
	if (step > UINT32_MAX) step = UINT32_MAX; /* what a buf can count */
	if (need > b->len) return need < step ? need : step;
	return b->len < INBUF_STEP / 2 ? (size_t)b->len * 2 : step;
}

struct buf *inbuf_read(struct core *core, int fd, struct buf **kept, size_t need, ssize_t *got_out,
		       bool *full_out)
{
	struct buf *own = *kept;
	bool direct = own && (own->len > INBUF_SMALL || need > INBUF_LARGE);
	struct buf *b;
	if (direct) {
		if (buf_room(own) == 0) *kept = own = buf_grow(own, inbuf_target(own, need));
		b = own;
	} else {
		b = core_read_buffer(core);
		b->since_s = own ? own->since_s : 0;
		if (own) {
			memcpy(b->data + b->len, own->data, own->len);
			b->len += own->len;
		}
	}
	size_t room = buf_room(b) - (direct ? 0 : INBUF_SPARE);
	/* Not past the end of a message whose end is known: its buf is to hold it alone. */
	if (direct && need > b->len && need - b->len < room) room = need - b->len;
	ssize_t got = io_read(fd, b->data + b->len, room);
	*got_out = got;
	*full_out = got == (ssize_t)room;
	if (got <= 0) {
		if (!direct) b->len = core->rbuf_at;
		return NULL;
	}
	b->len += (uint32_t)got;
	if (own && !direct) buf_unref(own);
	*kept = NULL;
	return b;
}

size_t inbuf_read_rest(const struct core *core, int fd, struct buf *b, size_t at, size_t need)
{
	size_t have = b->len - at;
	/* Fewer bytes are moved for less than a system call. */
	if (b != core->rbuf || buf_room(b) > INBUF_SPARE || have < BUF_REF_MIN) return 0;
	if (need <= have || need - have > buf_room(b)) return 0;
	ssize_t got = io_read(fd, b->data + b->len, need - have);
	if (got <= 0) return 0; /* an end or an error is seen again by the next read */
	b->len += (uint32_t)got;
	return (size_t)got;
}

void inbuf_keep(struct core *core, struct buf *b, size_t parsed, size_t need, struct buf **kept)
{
	size_t rest = b->len - parsed;
	bool shared = b == core->rbuf;
	if (rest == 0) {
		if (!shared) buf_unref(b);
		return;
	}
	if (!shared && parsed == 0) {
		*kept = b;
		return;
	}
	size_t size = rest;
	if (need > INBUF_LARGE) size = need < INBUF_STEP ? need : INBUF_STEP;
	struct buf *own = buf_get(&core->bufs, size > rest ? size : rest);
	memcpy(own->data, b->data + parsed, rest);
	own->len = (uint32_t)rest;
	*kept = own;
	if (!shared) buf_unref(b);
}
