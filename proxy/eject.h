/* eject.h - auto_eject_hosts: servers that fail leave their ring for a while.
 *
 * twemproxy's option with its faults left out: an idle connection that a server closes is no
 * failure; a server returns only after it has answered a probe, and not before
 * server_retry_timeout; and the ring is rebuilt here, not in the path of a request.
 *
 * Threads: main only.
 */
#ifndef TWINRING_PROXY_EJECT_H
#define TWINRING_PROXY_EJECT_H

#include "common/topology.h"

struct ejection {
	LIST_ENTRY(ejection) list;
	char *pool, *server;	     /* ring name */
	uint64_t since_us, until_us; /* monotonic; not back before until_us */
	uint8_t *failing;	     /* [worker]: still fails there */
};

struct ejections {
	LIST_HEAD(, ejection) list;
	uint32_t worker_count;
};

/* A worker found that the server fails, or that it is well again. true: an ejection began. */
bool ejections_report(struct ejections *e, const struct pool_spec *pool, const char *server,
		      uint32_t worker, bool failing, uint64_t now_us);
/* End those that may end. true: at least one did. */
bool ejections_expire(struct ejections *e, uint64_t now_us);
/* Mark the ejected servers in `t`. Where the nannies follow with an ejection of their own, which
 * gives a server's keys to others only when no proxy asks it any more, they stay where we have
 * moved them: no second outage. */
void ejections_mark(const struct ejections *e, struct topology *t);
void ejections_fini(struct ejections *e);

#endif
