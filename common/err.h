/* err.h - every way a call can fail, beside its text.
 *
 * A function that can fail returns `enum err` (ERR_NONE is success) and hands data out through
 * pointers named *_out. The texts reach users: clients see them behind "SERVER_ERROR" or "-ERR",
 * operators see them in logs. Where the peer that people migrate from has a text, ours is the same.
 */
#ifndef TWINRING_COMMON_ERR_H
#define TWINRING_COMMON_ERR_H

/* clang-format off */
#define ERR_TABLE(X)                                                             \
	X(ERR_NONE,           "ok")                                              \
	X(ERR_NOMEM,          "out of memory")                                   \
	X(ERR_INVALID,        "Invalid argument")                                \
	X(ERR_UNKNOWN_NAME,   "no such name")                                    \
	X(ERR_IO,             "input/output error")                              \
	/* one request to one server */                                          \
	X(ERR_REFUSED,        "Connection refused")                              \
	X(ERR_TIMEOUT,        "Connection timed out")                            \
	X(ERR_UNRESOLVED,     "Host is down")                                    \
	X(ERR_CLOSED,         "Connection closed by server")                     \
	X(ERR_CONNECT,        "Connection failed")                               \
	X(ERR_DESYNC,         "protocol error from server")                      \
	X(ERR_TKO,            "server is marked down")                           \
	X(ERR_NO_SERVER,      "no live server")                                  \
	X(ERR_QUEUE_FULL,     "too many requests in flight")                     \
	X(ERR_REPLY_TOO_LARGE,"reply too large")                                 \
	X(ERR_SHUTDOWN,       "proxy is shutting down")                          \
	X(ERR_NO_POOL,        "pool was removed")                                \
	X(ERR_CROSS_SLOT,     "keys of this command live on different servers") \
	/* while a pool's ring changes */                                       \
	X(ERR_MOVING,         "the pool's ring is changing, try again")         \
	X(ERR_FENCED,         "the pool's ring is changing, and this proxy has lost touch") \
	X(ERR_STALE,          "the topology is too old to serve by")
/* clang-format on */

enum err {
#define ERR_ENUM(name, text) name,
	ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
	    ERR_MAX
};

/* Static text; never NULL. Any thread. */
const char *err_text(enum err e);

/* Where and why an input was refused: filled by parsers and validators, printed by whoever
 * called them. `where` is "file:line:column" or a JSON path. Both always end in NUL. */
struct err_at {
	char where[160];
	char why[240];
};

#endif
