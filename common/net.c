#include "common/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* --- addresses -------------------------------------------------------------------------------- */

bool net_addr_unix(const char *path, struct net_addr *out)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->ss;
	size_t n = strlen(path);
	*out = (struct net_addr){ 0 };
	if (n == 0 || n >= sizeof(un->sun_path)) return false;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n);
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (path[0] == '@')
		un->sun_path[0] = 0; /* abstract: the length is part of the name, no NUL */
	else out->len++;
	return true;
}

bool net_addr_numeric(const char *host, uint16_t port, struct net_addr *out)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	char bare[INET6_ADDRSTRLEN + 20], service[6];
	if (port == 0) return net_addr_unix(host, out);
	size_t n = strlen(host);
	bool brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
	if (n - (brackets ? 2 : 0) >= sizeof(bare)) return false;
	snprintf(bare, sizeof(bare), "%.*s", (int)(n - (brackets ? 2 : 0)), host + brackets);
	/* getaddrinfo() takes inet_aton's "1" and "0x7f.1" too; those are names to us. */
	struct in_addr v4;
	if (inet_pton(AF_INET, bare, &v4) != 1 && !strchr(bare, ':')) return false;
	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(bare, service, &hints, &list) != 0) return false;
	*out = (struct net_addr){ .len = list->ai_addrlen };
	memcpy(&out->ss, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	return true;
}

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	if (a->len != b->len || a->ss.ss_family != b->ss.ss_family) return false;
	if (a->ss.ss_family == AF_INET) {
		const struct sockaddr_in *x = (const void *)&a->ss, *y = (const void *)&b->ss;
		return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
	}
	if (a->ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const void *)&a->ss, *y = (const void *)&b->ss;
		return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
		       memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
	}
	return memcmp(&a->ss, &b->ss, a->len) == 0;
}

static void net_unix_name(const struct net_addr *a, char name[NET_NAME_MAX])
{
	const struct sockaddr_un *un = (const void *)&a->ss;
	size_t n = a->len - offsetof(struct sockaddr_un, sun_path);
	if (a->len <= offsetof(struct sockaddr_un, sun_path)) snprintf(name, NET_NAME_MAX, "unix");
	else if (un->sun_path[0] == 0)
		snprintf(name, NET_NAME_MAX, "@%.*s", (int)(n - 1), un->sun_path + 1);
	else snprintf(name, NET_NAME_MAX, "%.*s", (int)n, un->sun_path);
}

void net_addr_name(const struct net_addr *a, char name[NET_NAME_MAX])
{
	char host[INET6_ADDRSTRLEN + 20], service[8];
	if (a->len && a->ss.ss_family == AF_UNIX) {
		net_unix_name(a, name);
		return;
	}
	if (a->len == 0 ||
	    getnameinfo((const struct sockaddr *)&a->ss, a->len, host, sizeof(host), service,
			sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(name, NET_NAME_MAX, "?");
		return;
	}
	const char *format = a->ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s";
	snprintf(name, NET_NAME_MAX, format, host, service);
}

uint16_t net_addr_port(const struct net_addr *a)
{
	if (a->len == 0) return 0;
	if (a->ss.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)(const void *)&a->ss)->sin_port);
	if (a->ss.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)&a->ss)->sin6_port);
	return 0;
}

void net_local_name(int fd, char name[NET_NAME_MAX])
{
	struct net_addr a = { .len = sizeof(a.ss) };
	if (getsockname(fd, (struct sockaddr *)&a.ss, &a.len) != 0) a.len = 0;
	net_addr_name(&a, name);
}

void net_peer_name(int fd, char name[NET_NAME_MAX])
{
	struct net_addr a = { .len = sizeof(a.ss) };
	if (getpeername(fd, (struct sockaddr *)&a.ss, &a.len) != 0) a.len = 0;
	net_addr_name(&a, name);
}

uint16_t net_local_port(int fd)
{
	struct net_addr a = { .len = sizeof(a.ss) };
	if (getsockname(fd, (struct sockaddr *)&a.ss, &a.len) != 0) return 0;
	return net_addr_port(&a);
}

/* --- connecting ------------------------------------------------------------------------------- */

enum err net_err(int errnum)
{
	switch (errnum) {
	case 0: return ERR_NONE;
	case ECONNREFUSED:
	case ENOENT: /* a unix socket whose server is not there */ return ERR_REFUSED;
	case ETIMEDOUT: return ERR_TIMEOUT;
	case ECONNRESET:
	case EPIPE: return ERR_CLOSED;
	case ENOMEM:
	case ENOBUFS: return ERR_NOMEM;
	default: return ERR_CONNECT;
	}
}

static int net_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

enum err net_connect_nonblocking(const struct net_addr *to, int *fd_out)
{
	int fd = net_socket(to->ss.ss_family);
	if (fd < 0) return net_err(errno);
	/* EAGAIN from a unix socket means that its backlog is full: nothing will follow. */
	if (connect(fd, (const struct sockaddr *)&to->ss, to->len) != 0 && errno != EINPROGRESS) {
		int saved = errno;
		close(fd);
		errno = saved;
		return saved == EAGAIN ? ERR_REFUSED : net_err(saved);
	}
	*fd_out = fd;
	return ERR_NONE;
}

enum err net_connect_result(int fd)
{
	int errnum = 0;
	socklen_t n = sizeof(errnum);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &n) != 0) errnum = errno;
	return net_err(errnum);
}

/* --- options ---------------------------------------------------------------------------------- */

static void net_set(int fd, int level, int option, int value)
{
	/* Unix sockets know none of these, and a connection works without. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

void net_nodelay(int fd)
{
	net_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void net_keepalive(int fd, uint32_t idle_s)
{
	uint32_t third = idle_s / 3 ? idle_s / 3 : 1;
	net_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	net_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)(idle_s ? idle_s : 1));
	net_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)third);
	net_set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

void net_user_timeout(int fd, uint32_t ms)
{
	net_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)ms);
}
