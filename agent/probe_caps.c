#include "agent/probe_caps.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/probe_impl.h"
#include "agent/talk.h"
#include "common/codec_mc_text.h"
#include "common/resp_commands.h"

enum { META_MAJOR = 1, META_MINOR = 6 };

static bool has_text(struct slice in, const char *text)
{
	return memmem(in.p, in.n, text, strlen(text)) != NULL;
}

/* "VERSION 1.6.18\r\n" */
static bool has_meta(struct slice reply)
{
	char text[64];
	int major, minor;
	size_t n = reply.n < sizeof(text) - 1 ? reply.n : sizeof(text) - 1;
	memcpy(text, reply.p, n);
	text[n] = 0;
	return sscanf(text, "VERSION %d.%d", &major, &minor) == 2 &&
	       (major > META_MAJOR || (major == META_MAJOR && minor >= META_MINOR));
}

static void caps_finish(struct probe *p, const char *caps)
{
	snprintf(p->result.incarnation, sizeof(p->result.incarnation), "%s", caps);
	probe_finish(p, PROBE_GOOD, "well");
}

static void caps_on_reply(void *ctx, const struct reply *reply, struct slice bytes)
{
	struct probe *p = ctx;
	if (p->over) return;
	if (p->fit) {
		bool cas = reply->kind == REPLY_HIT && has_text(bytes, "STAT cas_enabled yes");
		caps_finish(p, cas ? PROBE_CAPS_PROMOTE : PROBE_CAPS_PLAIN);
	} else if (reply->kind != REPLY_HIT) {
		probe_talk_refused(p, bytes);
	} else if (p->target.kind == PROBE_REDIS) {
		caps_finish(p, PROBE_CAPS_PROMOTE);
	} else if (!has_meta(bytes)) {
		caps_finish(p, PROBE_CAPS_PLAIN);
	} else {
		p->fit = true;
		p->doing = "stats";
		talk_ask(p->own, NULL, SLICE("stats settings\r\n"));
	}
}

static void caps_start(struct probe *p)
{
	static const struct talk_events events = { probe_talk_ready, caps_on_reply,
						   probe_talk_failed };
	probe_talk(p, p->target.kind == PROBE_REDIS ? &codec_resp : &codec_mc_text, &events);
}

struct probe *probe_caps(struct io_loop *l, const struct probe_target *t, probe_done_fn done,
			 void *ctx)
{
	static const struct probe_ops ops = { true, caps_start, probe_talk_stop };
	assert(t->kind == PROBE_MEMCACHED || t->kind == PROBE_REDIS);
	return probe_begin(l, &ops, t, done, ctx);
}
