/* webhook.h - tell the URLs of the configuration what happens: one POST of a JSON object an event.
 *
 * Each URL has its own queue, sent in order, one at a time. What is not answered with 2xx is tried
 * again after a pause, which doubles from 1 s to 60 s, until it is 10 minutes old. At most 1,000
 * wait: then the oldest is dropped. A receiver may see an event twice, and knows it by `sequence`.
 *
 * Threads:   the loop's; nothing blocks.
 * Ownership: borrows loop and configuration until webhooks_free().
 */
#ifndef TWINRING_AGENT_WEBHOOK_H
#define TWINRING_AGENT_WEBHOOK_H

#include "agent/agent_config.h"
#include "common/io.h"

enum {
	WEBHOOK_BODY_MAX = 64 << 10,  /* bytes; an event with more is dropped      */
	WEBHOOK_REPLY_MAX = 64 << 10, /* no more of the answer's body is read      */
};

struct webhooks;

struct webhook_counts {
	uint64_t sent;	  /* answered with 2xx                            */
	uint64_t failed;  /* attempts that were not                       */
	uint64_t dropped; /* never delivered: too old, too many, too long */
	uint64_t waiting; /* now, the one on its way included             */
};

/* Running out of memory aborts. */
struct webhooks *webhooks_new(struct io_loop *l, const struct agent_config *c);

/* To every URL that wants `event`. `body` is an object, stolen; `event`, `time` (ms of Unix),
 * `agent` and `sequence` are set in it. */
void webhooks_send(struct webhooks *w, const char *event, json_t *body);

void webhooks_counts(const struct webhooks *w, struct webhook_counts *out);

/* What waits is lost, and counted nowhere. Sets *w to NULL; NULL is a no-op. */
void webhooks_free(struct webhooks **w);

/* Other limits than ours, for tests. 0: as they are. */
struct webhook_limits {
	uint32_t retry_min_ms, retry_max_ms, age_max_ms, queue_max;
};
struct webhooks *webhooks_new_limited(struct io_loop *l, const struct agent_config *c,
				      const struct webhook_limits *limits);

#endif
