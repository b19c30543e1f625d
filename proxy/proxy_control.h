/* proxy_control.h - what the control socket's methods do to a proxy. Main only. */
#ifndef TWINRING_PROXY_PROXY_CONTROL_H
#define TWINRING_PROXY_PROXY_CONTROL_H

#include "proxy/proxy.h"

enum err proxy_control_start(struct proxy *p, const char *path, struct err_at *where_out);
/* Nothing routed by an older topology is in flight any more: tell who asked. */
void proxy_control_drained(struct proxy *p);
/* Tell subscribers how the servers are: once a second, and at once when one goes down or comes
 * back. */
void proxy_control_health(struct proxy *p);
void proxy_control_stop(struct proxy *p);

#endif
