/* probe_caps.h - can a server take part in a transition, and can copies be promoted to it?
 *
 * A probe like those of health, and with the same rules. When it is good, `incarnation` of the
 * result is PROBE_CAPS_PROMOTE or PROBE_CAPS_PLAIN: a memcached without cas, or from before the
 * meta commands, can be used, but not be given leases on keys.
 */
#ifndef TWINRING_AGENT_PROBE_CAPS_H
#define TWINRING_AGENT_PROBE_CAPS_H

#include "agent/probe.h"

#define PROBE_CAPS_PROMOTE "promote"
#define PROBE_CAPS_PLAIN   "plain"

struct probe *probe_caps(struct io_loop *l, const struct probe_target *t, probe_done_fn done,
			 void *ctx);

#endif
