/* server_conn.h - a lasting connection to one cache server, for many questions at a time.
 *
 * Looks names up, connects, greets as the protocol wants it (AUTH, SELECT), and when it breaks does
 * so again, after a while that grows up to SERVER_RETRY_MAX_MS. Questions are sent in the order
 * they are asked in and answered in that order. What was sent before a break may have been carried
 * out or not, or may be yet: only its asker knows whether to ask again.
 *
 * Threads:   the loop's.
 * Callbacks: never from within server_conn_new() or server_conn_ask(). They may ask more, but not
 *            free the connection.
 * Memory:    what the asker sends, and of what comes in one answer, within peer.answer_max. An
 *            asker who cannot take more answers for now holds the connection.
 */
#ifndef TWINRING_AGENT_SERVER_CONN_H
#define TWINRING_AGENT_SERVER_CONN_H

#include "common/io.h"
#include "common/list.h"
#include "common/topology.h"

enum { SERVER_RETRY_MIN_MS = 50, SERVER_RETRY_MAX_MS = 2000 };

struct server_peer {
	const char *host; /* all texts are copied */
	uint16_t port;	  /* 0: `host` is the path of a unix socket */
	enum protocol protocol;
	const char *auth_user, *auth_password; /* NULL: none; Redis only, like the database */
	uint32_t db;
	uint32_t timeout_ms; /* for the greeting, and for the server to say anything when asked */
	size_t answer_max;   /* bytes; a longer answer breaks the connection                   */
};

/* What an answer looks like. */
enum server_answer_kind {
	SERVER_RESP,  /* any Redis reply                                                   */
	SERVER_META,  /* memcached: one line, and behind "VA n" n bytes more               */
	SERVER_LINES, /* memcached: each line that begins with "key=" or "STAT " by itself,
		       * then the one that does not                                        */
};

struct server_answer {
	struct slice bytes; /* whole, with CRLF. Good for the call                      */
	const char *why;    /* NULL; else the connection broke, and there is no answer */
	bool more;	    /* another line of the same answer comes                   */
};

typedef void (*server_answer_fn)(void *ctx, const struct server_answer *a);

struct server_conn_events {
	void (*on_up)(void *ctx);
	/* After all that was asked has been told. `why` is for people. An attempt to connect that
	 * fails is told of as well. */
	void (*on_down)(void *ctx, const char *why);
};

struct server_conn;

struct server_conn *server_conn_new(struct io_loop *l, const struct server_peer *peer,
				    const struct server_conn_events *events, void *ctx);
bool server_conn_up(const struct server_conn *c);
/* Only while up. `bytes` is copied. */
void server_conn_ask(struct server_conn *c, enum server_answer_kind kind, struct slice bytes,
		     server_answer_fn fn, void *ctx);
/* Read no more answers, or go on. Time does not run out while held. */
void server_conn_hold(struct server_conn *c, bool hold);
/* Bytes that the server has not taken yet. */
size_t server_conn_unsent(const struct server_conn *c);
/* Questions that are not answered yet. */
uint32_t server_conn_asked(const struct server_conn *c);
/* Where it is connected to, or the attempt goes to; NULL: the name is not known yet. */
const struct net_addr *server_conn_addr(const struct server_conn *c);
/* Nobody is called any more. Sets *c to NULL; NULL is a no-op. */
void server_conn_free(struct server_conn **c);

#endif
