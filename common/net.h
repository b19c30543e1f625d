/* net.h - addresses and sockets, without DNS.
 *
 * Threads: any; nothing is shared. Every descriptor made here is non-blocking and close-on-exec,
 * and belongs to the caller. Errors: err_at has the address in `where` and the reason in `why`.
 */
#ifndef TWINRING_COMMON_NET_H
#define TWINRING_COMMON_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/err.h"

struct listen_spec;

struct net_addr {
	struct sockaddr_storage ss;
	socklen_t len; /* 0: none */
};

/* Room for any net_*_name(), NUL included: "[v6%scope]:port", or a path of a unix socket. */
enum { NET_NAME_MAX = 128 };

/* host + port -> address, if it is one already: IPv4, IPv6 (brackets and %scope allowed), or with
 * port 0 the path of a unix socket ('@' first: abstract). false: a name, or a path that is too
 * long. Never asks a resolver. */
bool net_addr_numeric(const char *host, uint16_t port, struct net_addr *out);
bool net_addr_unix(const char *path, struct net_addr *out);
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
/* "1.2.3.4:5", "[::1]:5", "/path", "@abstract" or "unix". */
void net_addr_name(const struct net_addr *a, char name[NET_NAME_MAX]);
uint16_t net_addr_port(const struct net_addr *a);

/* "unix" for an unnamed peer, "?" when the descriptor is no connected socket. */
void net_local_name(int fd, char name[NET_NAME_MAX]);
void net_peer_name(int fd, char name[NET_NAME_MAX]);
/* The port fd is bound to; 0: unix socket. */
uint16_t net_local_port(int fd);

/* Bind and listen. A host name is resolved here and now (blocking): start and reload only. A unix
 * socket's file is replaced when nobody answers on it; anything else at that path is an error.
 * The file gets spec->mode before anyone can connect. */
enum err net_listen(const struct listen_spec *spec, int backlog, bool reuseport, int *fd_out,
		    struct err_at *where_out);
/* Remove the file of the unix socket that `fd` listens on, if it still is this one's. Call before
 * closing. No-op for others. */
void net_unlisten(int fd, const struct listen_spec *spec);

/* Start connecting. ERR_NONE: wait until writable, then ask net_connect_result(). ERR_REFUSED,
 * ERR_CONNECT ...: failed at once with errno set, nothing to close. */
enum err net_connect_nonblocking(const struct net_addr *to, int *fd_out);
enum err net_connect_result(int fd);
/* The failure that clients are told of, for an errno of a socket. */
enum err net_err(int errnum);

/* Socket options; all are no-ops on unix sockets, and failure is not worth a message. */
void net_nodelay(int fd);
/* First probe after idle_s, then 3 more, a third of that apart: a silent peer is found dead after
 * about twice idle_s. */
void net_keepalive(int fd, uint32_t idle_s);
/* Give up on a peer that does not acknowledge data for so long; 0: the system's default. */
void net_user_timeout(int fd, uint32_t ms);

#endif
