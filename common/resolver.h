/* resolver.h - names to addresses, off the data path, again and again.
 *
 * getaddrinfo() blocks, so a few helper threads call it; they start with the first name that needs
 * them. An address that is known stays in use until an answer comes without it: failures and
 * reordered answers change nothing.
 *
 * Threads:   all calls, and the callback, on the thread that runs the base.
 * Ownership: borrows base and ctx. resolver_free() does not wait for a lookup that hangs.
 */
#ifndef TWINRING_COMMON_RESOLVER_H
#define TWINRING_COMMON_RESOLVER_H

#include "common/net.h"

struct event_base;
struct resolver;

enum {
	RESOLVER_REFRESH_MS = 30000, /* getaddrinfo() does not tell the TTL */
	RESOLVER_RETRY_MS = 5000,    /* after a failure                     */
	RESOLVER_THREADS = 4,	     /* so that one dead zone does not hold up the others */
	RESOLVER_ADDRS_MAX = 16,     /* of one answer                       */
};

/* Fill addrs[0..max) and *count_out (> 0), or say why not in *why_out (static). May block; called
 * on helper threads. */
typedef bool (*resolver_lookup_fn)(const char *host, uint16_t port, struct net_addr *addrs,
				   uint32_t max, uint32_t *count_out, const char **why_out);

struct resolver_config {
	/* A name has its first address, or another. Not called from within resolver_watch(). The
	 * callback may watch and unwatch. */
	void (*on_change)(void *ctx, uint32_t id, const struct net_addr *addr);
	void *ctx;
	uint32_t refresh_ms, retry_ms; /* 0: the defaults above */
	resolver_lookup_fn lookup;     /* NULL: getaddrinfo()   */
};

struct resolver *resolver_new(struct event_base *base, const struct resolver_config *config);

/* Keep an eye on host:port (port 0: the path of a unix socket). What is numeric has its address
 * when this returns and never changes. Ids are never 0, and are used again after unwatch. */
uint32_t resolver_watch(struct resolver *r, const char *host, uint16_t port);
void resolver_unwatch(struct resolver *r, uint32_t id);
/* The address now; NULL: not known yet. Good until the next call of any of these or the loop. */
const struct net_addr *resolver_addr(const struct resolver *r, uint32_t id);

/* Sets *r to NULL; NULL is a no-op. */
void resolver_free(struct resolver **r);

#endif
