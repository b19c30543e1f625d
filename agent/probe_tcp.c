#include "agent/probe_impl.h"
#include "agent/talk.h"

static void tcp_on_ready(void *ctx)
{
	probe_finish(ctx, PROBE_GOOD, "connected");
}

static void tcp_start(struct probe *p)
{
	static const struct talk_events events = { .on_ready = tcp_on_ready,
						   .on_failure = probe_talk_failed };
	probe_talk(p, NULL, &events);
}

const struct probe_ops probe_tcp_ops = { true, tcp_start, probe_talk_stop };
