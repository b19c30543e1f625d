/* Listening: the part of net.h that has to deal with names and leftover socket files. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/config.h"
#include "common/net.h"

static enum err listen_fail(const struct listen_spec *spec, const char *what, const char *why,
			    struct err_at *where_out)
{
	snprintf(where_out->where, sizeof(where_out->where), "%s", spec->text);
	snprintf(where_out->why, sizeof(where_out->why), "%s: %s", what, why);
	return ERR_IO;
}

/* --- unix sockets ----------------------------------------------------------------------------- */

/* Does anybody accept connections there? A full backlog or a lack of rights is no proof of death.
 */
static bool listen_answers(const struct net_addr *a)
{
	int fd;
	if (net_connect_nonblocking(a, &fd) == ERR_NONE) {
		close(fd);
		return true;
	}
	return errno != ECONNREFUSED;
}

/* Remove the socket that a dead process left. */
static enum err listen_clear(const struct listen_spec *spec, const struct net_addr *a,
			     struct err_at *where_out)
{
	struct stat st;
	if (lstat(spec->host, &st) != 0) return ERR_NONE;
	if (!S_ISSOCK(st.st_mode))
		return listen_fail(spec, "bind", "exists and is not a socket", where_out);
	if (listen_answers(a)) return listen_fail(spec, "bind", strerror(EADDRINUSE), where_out);
	if (unlink(spec->host) != 0 && errno != ENOENT)
		return listen_fail(spec, "unlink", strerror(errno), where_out);
	return ERR_NONE;
}

static enum err listen_unix(const struct listen_spec *spec, int backlog, int *fd_out,
			    struct err_at *where_out)
{
	struct net_addr a;
	enum err e = ERR_NONE;
	bool file = spec->host[0] != '@';
	if (!net_addr_unix(spec->host, &a))
		return listen_fail(spec, "bind", "path is too long for a unix socket", where_out);
	if (file) e = listen_clear(spec, &a, where_out);
	if (e != ERR_NONE) return e;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) return listen_fail(spec, "socket", strerror(errno), where_out);
	if (bind(fd, (struct sockaddr *)&a.ss, a.len) != 0) {
		e = listen_fail(spec, "bind", strerror(errno), where_out);
	} else if (file && spec->mode && chmod(spec->host, spec->mode) != 0) {
		e = listen_fail(spec, "chmod", strerror(errno), where_out);
		unlink(spec->host);
	} else if (listen(fd, backlog) != 0) { /* until here a connect() is refused */
		e = listen_fail(spec, "listen", strerror(errno), where_out);
		if (file) unlink(spec->host);
	}
	if (e != ERR_NONE) {
		close(fd);
		return e;
	}
	*fd_out = fd;
	return ERR_NONE;
}

void net_unlisten(int fd, const struct listen_spec *spec)
{
	struct net_addr here = { .len = sizeof(here.ss) };
	struct net_addr there;
	if (spec->port != 0 || spec->port_any || !spec->host || spec->host[0] == '@') return;
	if (getsockname(fd, (struct sockaddr *)&here.ss, &here.len) != 0) return;
	if (!net_addr_unix(spec->host, &there) || !net_addr_equal(&here, &there)) return;
	/* A successor that took the path over answers on it once we no longer listen. */
	shutdown(fd, SHUT_RDWR);
	if (!listen_answers(&there)) unlink(spec->host);
}

/* --- TCP -------------------------------------------------------------------------------------- */

/* `*what_out` names the call that failed. */
static int listen_one(const struct addrinfo *ai, int backlog, bool reuseport, const char **what_out)
{
	int on = 1, off = 0;
	*what_out = "socket";
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (reuseport) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (ai->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	*what_out = "bind";
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0) {
		*what_out = "listen";
		if (listen(fd, backlog) == 0) return fd;
	}
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

enum err net_listen(const struct listen_spec *spec, int backlog, bool reuseport, int *fd_out,
		    struct err_at *where_out)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	char service[6];
	const char *what = "resolve";
	if (spec->port == 0 && !spec->port_any)
		return listen_unix(spec, backlog, fd_out, where_out);
	snprintf(service, sizeof(service), "%u", spec->port);
	/* "" means every address; IPv4 first, as twemproxy's 0.0.0.0 */
	const char *host = *spec->host ? spec->host : "0.0.0.0";
	int g = getaddrinfo(host, service, &hints, &list);
	if (g != 0) return listen_fail(spec, what, gai_strerror(g), where_out);
	int fd = -1, saved = 0;
	for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
		fd = listen_one(ai, backlog, reuseport, &what);
		saved = errno;
	}
	freeaddrinfo(list);
	if (fd < 0) return listen_fail(spec, what, strerror(saved), where_out);
	*fd_out = fd;
	return ERR_NONE;
}
