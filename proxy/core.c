#include "proxy/core.h"

#include "proxy/conn.h"
#include "proxy/request.h"

enum {
	SWEEP_US = 10000,	   /* how finely timeouts are kept */
	READ_ROOM_MIN = 64 * 1024, /* INBUF_SPARE and 48 KiB; with less, more reads end full */
};

/* One timer for all timeouts of a worker; it stops when nothing is awaited. */
static void core_on_sweep(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct core *core = owner;
	uint64_t now = core_now(core);
	struct conn *c, *next;
	LIST_FOREACH_SAFE (c, &core->active_conns, active, next) {
		conn_expire(c, now);
	}
	if (!LIST_EMPTY(&core->active_conns)) io_timer_set(&core->sweep, SWEEP_US);
}

bool core_init(struct core *core, uint32_t index, struct worker_slot *stats)
{
	*core = (struct core){ .index = index, .stats = stats };
	core->rng = clock_now_us() * 0x9e3779b97f4a7c15u + index + 1;
	core->deferred_tail = &core->deferred;
	core->reply_max = UINT32_MAX;
	LIST_INIT(&core->active_conns);
	buf_pool_init(&core->bufs);
	freelist_init(&core->requests, sizeof(struct request));
	if (!io_loop_init(&core->loop)) return false;
	io_timer_init(&core->sweep, &core->loop, core_on_sweep, core);
	return true;
}

static void core_free_garbage(struct core *core)
{
	while (core->garbage) {
		struct garbage *g = core->garbage;
		core->garbage = g->next;
		g->free(g);
	}
}

void core_fini(struct core *core)
{
	core_free_garbage(core);
	io_timer_stop(&core->sweep);
	if (core->rbuf) buf_unref(core->rbuf);
	parser_fini(&core->parser);
	scratch_fini(&core->text);
	scratch_fini(&core->aside);
	freelist_fini(&core->requests);
	buf_pool_fini(&core->bufs);
	io_loop_fini(&core->loop);
}

static void core_tell_deferred(struct core *core)
{
	while (core->deferred) {
		struct request *req = core->deferred;
		core->deferred = req->dest_next;
		if (!core->deferred) core->deferred_tail = &core->deferred;
		if (req->flags & REQ_AWAITED) {
			req->flags &= (uint8_t)~REQ_QUEUED;
			request_fail(req, req->err, req->server);
		} else {
			request_unqueue(core, req);
		}
	}
}

static void core_flush_conns(struct core *core)
{
	while (core->dirty_conns) {
		struct conn *c = core->dirty_conns;
		core->dirty_conns = c->dirty_next;
		c->dirty = false;
		conn_flush(c);
	}
}

void core_end_turn(struct core *core, void (*settle)(struct core *core))
{
	/* A client that can be read again makes requests, a failure may send one elsewhere, and
	 * sending may fail: until all is quiet. */
	do {
		core_tell_deferred(core);
		core_flush_conns(core);
		settle(core);
	} while (core->deferred || core->dirty_conns || core->dirty_clients || core->ready);
	if (core->garbage) core_free_garbage(core);
	metric_set(&core->stats->m[WORKER_buffer_bytes], core->bufs.bytes);
	metric_set(&core->stats->m[WORKER_requests_live], core->requests.live);
}

void core_close_conns(struct core *core)
{
	while (!LIST_EMPTY(&core->active_conns))
		conn_close(LIST_FIRST(&core->active_conns), ERR_SHUTDOWN);
}

struct buf *core_read_buffer(struct core *core)
{
	struct buf *b = core->rbuf;
	bool in_use = b && b->refs > 1;
	if (in_use && buf_room(b) < READ_ROOM_MIN) {
		buf_unref(b);
		b = NULL;
	}
	if (!b) core->rbuf = b = buf_get(&core->bufs, BUF_READ);
	else if (!in_use) b->len = 0;
	core->rbuf_at = b->len;
	return b;
}
