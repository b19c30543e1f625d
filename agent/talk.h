/* talk.h - a short conversation with one cache server: connect, greet, ask, listen.
 *
 * One question at a time; the owner minds the time. Without a codec it only connects.
 *
 * Threads:   the loop's. Callbacks never come from within talk_new() or talk_ask().
 * Ownership: the owner frees the talk, from within a callback too, and must after on_failure.
 */
#ifndef TWINRING_AGENT_TALK_H
#define TWINRING_AGENT_TALK_H

#include "common/codec.h"
#include "common/io.h"
#include "common/net.h"

enum { TALK_REPLY_MAX = 256 * 1024 };

struct talk_peer {
	struct net_addr addr;
	const struct codec *codec;	       /* NULL: just connect */
	const char *auth_user, *auth_password; /* NULL: none; borrowed until on_ready */
	uint32_t db;
};

struct talk_events {
	void (*on_ready)(void *ctx); /* connected and greeted: ask */
	void (*on_reply)(void *ctx, const struct reply *reply, struct slice bytes);
	/* It is over: errno, or 0 and what was not right with what the server said. */
	void (*on_failure)(void *ctx, const char *doing, int e, const char *why);
};

struct talk;

/* NULL and errno when not even an attempt could be made. */
struct talk *talk_new(struct io_loop *l, const struct talk_peer *peer,
		      const struct talk_events *events, void *ctx);
/* `bytes` is copied. info: what the codec shall take the reply for. NULL: lines as memcached's
 * `stats` gives them, up to END; any other first line is the whole reply, and an error. */
void talk_ask(struct talk *t, const struct op_info *info, struct slice bytes);
/* Static: "connect", "AUTH" ... for messages. */
const char *talk_doing(const struct talk *t);
/* Sets *t to NULL; NULL is a no-op. */
void talk_free(struct talk **t);

#endif
