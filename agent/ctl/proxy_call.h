/* proxy_call.h - ask the proxies of this host, over their control sockets.
 *
 * Blocks, for `timeout_ms` at most. A socket that belongs to neither us nor root is not asked.
 */
#ifndef TWINRING_AGENT_CTL_PROXY_CALL_H
#define TWINRING_AGENT_CTL_PROXY_CALL_H

#include <jansson.h>

#include "agent/ctl/client.h"

/* The answer's result, a new reference; NULL: *why_out says why. Steals `params`. */
json_t *proxy_call(const char *socket_path, const char *method, json_t *params, uint32_t timeout_ms,
		   struct err_at *why_out);

/* Names of what looks like control sockets in `dir`, sorted; none when it cannot be read. */
void proxy_sockets(const char *dir, struct client_names *out);

#endif
