/* probe.h - is one server fit to serve? One question, one answer.
 *
 * Memcached and Redis are asked in their own words (a handshake like the proxy's, then `version` or
 * PING) and, when that went well, for their incarnation: a sign that a server was started anew, and
 * is empty. TCP only connects. HTTP wants a 2xx or 3xx, and follows no redirects. A script gets
 * HOST PORT POOL SERVER as arguments and exits with 0 when all is well; the first line that it
 * prints is the reason.
 *
 * Threads:   all on the loop's thread; nothing blocks. Names are resolved on helper threads.
 * Ownership: the target and its texts are copied. A probe is gone when `done` returns, or by
 *            probe_cancel(), which is why nobody else frees it.
 * Processes: for HTTP, curl_global_init() should have been called. A script that was killed is
 *            reaped by the loop soon after, even if its probe is gone by then.
 */
#ifndef TWINRING_AGENT_PROBE_H
#define TWINRING_AGENT_PROBE_H

#include "common/io.h"
#include "common/net.h"
#include "common/spec.h"

enum { PROBE_WHY_MAX = 160, PROBE_INCARNATION_MAX = 64 };

struct probe_target {
	enum probe_kind kind; /* neither PROBE_AUTO nor PROBE_NONE                      */
	const char *host;
	uint16_t port;		     /* 0: `host` is the path of a unix socket                 */
	const struct net_addr *addr; /* NULL: look `host` up; better not for every probe       */
	const char *pool, *server;   /* for scripts                                            */
	const char *auth_user;	     /* NULL: none                                             */
	const char *auth_password;   /* NULL: none. Redis only, like the user and the database */
	uint32_t db;
	const char *http_path; /* begins with '/'                                        */
	const char *script;    /* path of the program                                    */
	uint32_t timeout_ms;   /* for all together                                       */
};

enum probe_outcome {
	PROBE_GOOD,
	PROBE_ILL,
	PROBE_UNKNOWN, /* it could not be asked, through no fault of its own: no descriptors left,
			* no such script */
};

struct probe_result {
	enum probe_outcome outcome;
	char why[PROBE_WHY_MAX];		 /* printable ASCII; "" when good          */
	char incarnation[PROBE_INCARNATION_MAX]; /* "": not known; else compare with strcmp */
	uint64_t took_us;
};

struct probe;
typedef void (*probe_done_fn)(void *ctx, const struct probe_result *r);

/* `done` is called exactly once, later, never from within; the result is borrowed for the call. */
struct probe *probe_start(struct io_loop *l, const struct probe_target *t, probe_done_fn done,
			  void *ctx);
/* `done` is not called any more. Sets *p to NULL; NULL is a no-op. Not from within its `done`. */
void probe_cancel(struct probe **p);

#endif
