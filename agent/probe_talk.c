#include <errno.h>

#include "agent/probe_impl.h"
#include "agent/talk.h"

void probe_talk(struct probe *p, const struct codec *codec, const struct talk_events *events)
{
	struct talk_peer peer = { .addr = p->addr, .codec = codec };
	if (codec == &codec_resp) {
		peer.auth_user = p->target.auth_user;
		peer.auth_password = p->target.auth_password;
		peer.db = p->target.db;
	}
	p->doing = codec == &codec_resp ? "connect or greeting" : "connect";
	p->own = talk_new(p->loop, &peer, events, p);
	if (!p->own) probe_finish_errno(p, "connect", errno);
}

void probe_talk_ready(void *ctx)
{
	struct probe *p = ctx;
	if (p->over) return;
	bool memcached = p->target.kind == PROBE_MEMCACHED;
	struct scratch request = { 0 };
	const struct op_info *info = (memcached ? &codec_mc_text : &codec_resp)->probe(&request);
	p->doing = memcached ? "version" : "PING";
	talk_ask(p->own, info, scratch_slice(&request));
	scratch_fini(&request);
}

void probe_talk_stop(struct probe *p)
{
	struct talk *t = p->own;
	talk_free(&t);
}

void probe_talk_failed(void *p, const char *doing, int e, const char *why)
{
	if (e) probe_finish_errno(p, doing, e);
	else probe_finish(p, PROBE_ILL, "%s: %s", doing, why);
}

void probe_talk_refused(struct probe *p, struct slice answer)
{
	while (answer.n > 0 && (answer.p[answer.n - 1] == '\n' || answer.p[answer.n - 1] == '\r'))
		answer.n--;
	probe_finish(p, PROBE_ILL, "%s: %.*s", p->doing, (int)answer.n, answer.p);
}
