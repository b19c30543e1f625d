/* agent.h - one agent, put together: the tree's last good topology to this host's proxies, what
 * they say back into the tree, and, where asked to, nanny and coordinator.
 *
 * Threads: all on one loop.
 */
#ifndef TWINRING_AGENT_AGENT_H
#define TWINRING_AGENT_AGENT_H

#include "agent/agent_config.h"
#include "common/io.h"
#include "common/net.h"

struct agent;

enum err agent_new(struct io_loop *l, const struct agent_config *config, struct agent **agent_out,
		   struct err_at *where_out);
/* Where /metrics is served; false: nowhere. */
bool agent_metrics_name(const struct agent *a, char name[NET_NAME_MAX]);
/* Sets *a to NULL; NULL is a no-op. Ephemeral nodes go with the session. */
void agent_free(struct agent **a);

#endif
