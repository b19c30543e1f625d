/* addresses.h - the address of every server of a topology, kept up to date by the resolver.
 *
 * Threads: main only. A name that stops resolving keeps its last address.
 */
#ifndef TWINRING_PROXY_ADDRESSES_H
#define TWINRING_PROXY_ADDRESSES_H

#include "common/io.h"
#include "common/net.h"
#include "common/topology.h"

struct addresses;

/* Names are looked up again every refresh_ms. `on_change` is called soon after addresses have
 * changed, once for many changes. */
struct addresses *addresses_new(struct io_loop *l, uint32_t refresh_ms,
				void (*on_change)(void *ctx), void *ctx);
/* Watch all servers of `t`, and none that it does not name. */
void addresses_want(struct addresses *a, const struct topology *t);
/* *addr_out->len 0: not known, yet or at all. */
void addresses_lookup(const struct addresses *a, const char *host, uint16_t port,
		      struct net_addr *addr_out);
/* Run the loop until every name is known, but not longer than `ms`. */
void addresses_wait(struct addresses *a, uint32_t ms);
/* Sets *a to NULL; NULL is a no-op. */
void addresses_free(struct addresses **a);

#endif
