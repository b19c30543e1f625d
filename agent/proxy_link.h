/* proxy_link.h - one connection to one proxy's control socket: dial, check, ask, listen.
 *
 * Dials at once and again after every loss, with a back-off of 50 ms to 2 s. The peer must run as
 * root or as we do, and must answer "hello" before the link is up. Whatever is not a message, comes
 * too late or is too long closes the connection. A proxy that says nothing at all is asked "hello"
 * again, so that a stopped process is noticed within two deadlines.
 *
 * Threads:   everything on the loop's thread; callbacks come from the loop, never from within a
 *            call. They may call anything here but proxy_link_free().
 * Ownership: arguments are copied; what callbacks get is borrowed for the call.
 * Process:   must ignore SIGPIPE.
 * Bounds:    CTLMSG_LINE_MAX bytes a line either way, PROXY_LINK_CALLS_MAX calls without an answer.
 */
#ifndef TWINRING_AGENT_PROXY_LINK_H
#define TWINRING_AGENT_PROXY_LINK_H

#include <jansson.h>
#include <sys/types.h>

#include "common/io.h"
#include "common/list.h"

enum {
	PROXY_LINK_ANSWER_MS = 5000, /* a request must be answered by then, a line be whole */
	PROXY_LINK_CALLS_MAX = 16,
};

struct proxy_link;

/* What a proxy answered instead of a result. `where` may be "". */
struct proxy_link_fault {
	const char *code, *message, *where;
};

/* Exactly one of result and fault is set. */
typedef void (*proxy_link_fn)(void *ctx, const json_t *result,
			      const struct proxy_link_fault *fault);

struct proxy_link_events {
	void (*on_up)(void *ctx, const json_t *hello);
	/* The link went down, or an attempt failed; calls in flight get no answer any more. */
	void (*on_down)(void *ctx, const char *why);
	void (*on_event)(void *ctx, const char *event, const json_t *message);
	void *ctx;
};

/* answer_ms: PROXY_LINK_ANSWER_MS, or less in tests. Never fails: a path that cannot be dialled is
 * told by on_down. */
struct proxy_link *proxy_link_new(struct io_loop *l, const char *path, uint32_t answer_ms,
				  const struct proxy_link_events *events);
bool proxy_link_up(const struct proxy_link *l);
/* params: a JSON object as text. fn gets the events' ctx; NULL: nobody cares. false: the link is
 * not up, has too many calls in flight, or the line would be too long. */
bool proxy_link_call(struct proxy_link *l, const char *method, struct slice params,
		     proxy_link_fn fn);
/* How many bytes of params a call of this method can carry. */
size_t proxy_link_params_max(const char *method);

/* The file at the path may have changed. Dials now if it is another one than was dialled last. */
void proxy_link_kick(struct proxy_link *l);
/* There is a socket at the path, and it is not the one that this link is connected to. */
bool proxy_link_replaced(const struct proxy_link *l);
/* Do not dial again after the next loss: another process has the path. */
void proxy_link_retire(struct proxy_link *l);

/* Sets *l to NULL; NULL is a no-op. No callback follows. */
void proxy_link_free(struct proxy_link **l);

#endif
