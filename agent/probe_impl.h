/* probe_impl.h - what the kinds of probes have in common: address, deadline, one result.
 *
 * A kind is a table of functions. Its callbacks must do nothing once p->over is set. For the files
 * of probe and for rejoin, which is an errand of the same sort.
 */
#ifndef TWINRING_AGENT_PROBE_IMPL_H
#define TWINRING_AGENT_PROBE_IMPL_H

#include "agent/probe.h"

struct codec;
struct resolver;
struct slice;
struct talk_events;

struct probe_ops {
	bool wants_addr;		/* p->addr must be known before start */
	void (*start)(struct probe *p); /* begin; may call probe_finish()     */
	void (*stop)(struct probe *p);	/* after start; frees p->own          */
};

struct probe {
	struct io_loop *loop;
	const struct probe_ops *ops;
	struct probe_target target; /* with texts of its own */
	struct net_addr addr;
	struct resolver *resolver; /* while a name is looked up */
	struct io_timer timer;	   /* the deadline; then, at once, the delivery */
	uint64_t start_us;
	const char *doing; /* static: what a timeout interrupts        */
	bool fit;	   /* what comes now cannot make it bad        */
	bool started;
	bool over;
	void *own; /* the kind's */
	struct probe_result result;
	probe_done_fn done;
	void *ctx;
};

struct probe *probe_begin(struct io_loop *l, const struct probe_ops *ops,
			  const struct probe_target *t, probe_done_fn done, void *ctx);
/* The first call counts. `done` is called in the next turn of the loop. */
void probe_finish(struct probe *p, enum probe_outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* For an errno of connect() or the like: PROBE_UNKNOWN when it is this host that lacks something.
 */
void probe_finish_errno(struct probe *p, const char *what, int e);

/* For kinds that speak with a server: p->own is a talk from start to stop. */
void probe_talk(struct probe *p, const struct codec *codec, const struct talk_events *events);
/* talk_events.on_ready: the question whether it is there. */
void probe_talk_ready(void *ctx);
void probe_talk_stop(struct probe *p);
void probe_talk_failed(void *p, const char *doing, int e, const char *why);
/* PROBE_ILL, with what the server has answered instead. */
void probe_talk_refused(struct probe *p, struct slice answer);

extern const struct probe_ops probe_codec_ops, probe_tcp_ops, probe_http_ops, probe_script_ops;

#endif
