#include "agent/ctl/proxy_call.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/ctlmsg.h"

static bool call_fails(struct err_at *at, const char *why)
{
	snprintf(at->why, sizeof(at->why), "%s", why);
	return false;
}

/* Ready for `events` before the deadline? */
static bool call_wait(int fd, short events, uint64_t deadline, struct err_at *at)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t now = clock_now_us();
		int ms = now < deadline ? (int)((deadline - now + 999) / 1000) : 0;
		int n = poll(&p, 1, ms);
		if (n > 0) return true;
		if (n == 0) return call_fails(at, "no answer in time");
		if (errno != EINTR) return call_fails(at, strerror(errno));
	}
}

static bool call_connect(int fd, const char *path, struct err_at *at)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t n = sizeof(peer);
	if (strlen(path) >= sizeof(to.sun_path)) return call_fails(at, "the path is too long");
	memcpy(to.sun_path, path, strlen(path) + 1);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		return call_fails(at, strerror(errno));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
		return call_fails(at, strerror(errno));
	if (peer.uid != 0 && peer.uid != geteuid())
		return call_fails(at, "it is another user's process");
	return true;
}

static bool call_send(int fd, struct slice line, uint64_t deadline, struct err_at *at)
{
	while (line.n > 0) {
		if (!call_wait(fd, POLLOUT, deadline, at)) return false;
		ssize_t n = send(fd, line.p, line.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return call_fails(at, strerror(errno));
		if (n <= 0) continue;
		line.p += n;
		line.n -= (size_t)n;
	}
	return true;
}

/* One line, its newline included. */
static bool call_receive(int fd, struct scratch *line, uint64_t deadline, struct err_at *at)
{
	while (line->n == 0 || line->p[line->n - 1] != '\n') {
		if (line->n >= CTLMSG_LINE_MAX) return call_fails(at, "the answer is too long");
		if (!call_wait(fd, POLLIN, deadline, at)) return false;
		ssize_t n = recv(fd, scratch_reserve(line, 65536), 65536, MSG_DONTWAIT);
		if (n == 0) return call_fails(at, "it closed the connection");
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return call_fails(at, strerror(errno));
		if (n > 0) line->n += (size_t)n;
	}
	return true;
}

static json_t *call_result(struct slice line, struct err_at *at)
{
	json_t *doc = json_loadb(line.p, line.n, 0, NULL), *result = json_object_get(doc, "result");
	const char *why =
	    json_string_value(json_object_get(json_object_get(doc, "error"), "message"));
	if (result == NULL) call_fails(at, why != NULL ? why : "no answer that makes sense");
	json_incref(result);
	json_decref(doc);
	return result;
}

json_t *proxy_call(const char *socket_path, const char *method, json_t *params, uint32_t timeout_ms,
		   struct err_at *why_out)
{
	struct scratch out = { 0 }, in = { 0 };
	uint64_t deadline = clock_now_us() + timeout_ms * 1000ull;
	json_t *request = json_pack("{s:i, s:s, s:o}", "id", 1, "method", method, "params", params);
	json_t *result = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	*why_out = (struct err_at){ 0 };
	snprintf(why_out->where, sizeof(why_out->where), "%.150s", socket_path);
	ctlmsg_put(request, &out);
	if (fd < 0) call_fails(why_out, strerror(errno));
	else if (call_connect(fd, socket_path, why_out) &&
		 call_send(fd, scratch_slice(&out), deadline, why_out) &&
		 call_receive(fd, &in, deadline, why_out))
		result = call_result(scratch_slice(&in), why_out);
	if (fd >= 0) close(fd);
	json_decref(request);
	scratch_fini(&out);
	scratch_fini(&in);
	return result;
}

static int socket_filter(const struct dirent *d)
{
	size_t n = strlen(d->d_name);
	return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".sock") == 0;
}

void proxy_sockets(const char *dir, struct client_names *out)
{
	struct dirent **found;
	int n = scandir(dir, &found, socket_filter, alphasort);
	*out = (struct client_names){ 0 };
	if (n < 0) return;
	out->names = calloc((size_t)n + 1, sizeof(*out->names));
	if (out->names == NULL) abort();
	for (int i = 0; i < n; i++) {
		if ((out->names[out->count++] = strdup(found[i]->d_name)) == NULL) abort();
		free(found[i]);
	}
	free(found);
}
