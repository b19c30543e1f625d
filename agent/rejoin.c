#include "agent/rejoin.h"

#include <assert.h>

#include "agent/probe_impl.h"
#include "agent/talk.h"
#include "common/codec_mc_text.h"
#include "common/resp_commands.h"

static void flush_on_ready(void *ctx)
{
	struct probe *p = ctx;
	if (p->over) return;
	p->doing = "flush";
	if (p->target.kind == PROBE_MEMCACHED) {
		talk_ask(p->own, codec_mc_text.op(MC_FLUSH_ALL), SLICE("flush_all\r\n"));
		return;
	}
	/* Empty at once for everybody; the memory is given back in the background. */
	talk_ask(p->own, codec_resp.op(RESP_FLUSHDB),
		 SLICE("*2\r\n$7\r\nFLUSHDB\r\n$5\r\nASYNC\r\n"));
}

static void flush_on_reply(void *ctx, const struct reply *reply, struct slice bytes)
{
	if (reply->kind == REPLY_HIT) probe_finish(ctx, PROBE_GOOD, "flushed");
	else probe_talk_refused(ctx, bytes);
}

static void flush_start(struct probe *p)
{
	static const struct talk_events events = { flush_on_ready, flush_on_reply,
						   probe_talk_failed };
	probe_talk(p, p->target.kind == PROBE_REDIS ? &codec_resp : &codec_mc_text, &events);
}

struct probe *rejoin_flush(struct io_loop *l, const struct probe_target *t, probe_done_fn done,
			   void *ctx)
{
	static const struct probe_ops ops = { true, flush_start, probe_talk_stop };
	assert(t->kind == PROBE_MEMCACHED || t->kind == PROBE_REDIS);
	return probe_begin(l, &ops, t, done, ctx);
}
