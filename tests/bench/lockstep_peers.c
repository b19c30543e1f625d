#include "tests/bench/lockstep_peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/lockstep_answer.h"
#include "tests/bench/lockstep_process.h"

enum { READ_BYTES = 64 << 10, POLL_MS = 100, STALL_S = 30 };

static bool fail(struct lockstep *s, const char *why)
{
	snprintf(s->why, sizeof(s->why), "%s", why);
	return false;
}

/* --- bytes ------------------------------------------------------------------------------------ */

static bool send_some(struct lockstep_bytes *b, int fd)
{
	while (b->at < b->len) {
		ssize_t n = send(fd, b->p + b->at, b->len - b->at, MSG_NOSIGNAL);
		if (n < 0) return errno == EAGAIN || errno == EINTR;
		b->at += (size_t)n;
	}
	b->at = b->len = 0;
	return true;
}

/* 1: something came. 0: nothing more. -1: closed. */
static int read_some(struct lockstep_bytes *b, int fd)
{
	lockstep_reserve(b, READ_BYTES);
	ssize_t n = recv(fd, b->p + b->len, b->cap - b->len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
	if (n <= 0) return -1;
	b->len += (size_t)n;
	return 1;
}

static void drop(struct lockstep_bytes *b, size_t n)
{
	memmove(b->p, b->p + n, b->len - n);
	b->len -= n;
}

/* --- opening ---------------------------------------------------------------------------------- */

static void make_quick(int fd)
{
	int one = 1;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

bool lockstep_listen(struct lockstep *s)
{
	for (uint32_t i = 0; i < s->server_count; i++) {
		struct sockaddr_in a = loopback(s->ports[i]);
		int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		s->listeners[i] = fd;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 512) < 0)
			return false;
	}
	return true;
}

bool lockstep_connect(struct lockstep *s, uint16_t proxy_port, int proxy_pid)
{
	struct sockaddr_in a = loopback(proxy_port);
	s->pid = proxy_pid;
	for (uint32_t i = 0; i < s->client_count; i++) {
		struct lockstep_client *c = &s->clients[i];
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0) return false;
		make_quick(c->fd);
	}
	return true;
}

/* --- what came -------------------------------------------------------------------------------- */

static bool accept_links(struct lockstep *s)
{
	for (uint32_t i = 0; i < s->server_count; i++) {
		int fd = accept4(s->listeners[i], NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) continue;
		if (s->link_count == LOCKSTEP_LINKS) return fail(s, "too many connections");
		make_quick(fd);
		s->links[s->link_count++] = (struct lockstep_link){ .fd = fd };
	}
	return true;
}

/* A link that closes is forgotten: whoever only looks whether a server is there does that. */
static bool links_read(struct lockstep *s)
{
	for (uint32_t i = 0; i < s->link_count; i++) {
		struct lockstep_link *l = &s->links[i];
		int got = 0;
		while (l->fd >= 0 && (got = read_some(&l->in, l->fd)) > 0) {
		}
		if (got < 0) {
			close(l->fd);
			l->fd = -1;
			continue;
		}
		size_t used = lockstep_answer(&s->work, &l->in, &l->out, &l->keys);
		drop(&l->in, used);
		/* A handshake is answered at once. */
		if (l->keys == 0 && !send_some(&l->out, l->fd))
			return fail(s, "the proxy closed a connection to a server");
	}
	return true;
}

static bool links_send(struct lockstep *s)
{
	for (uint32_t i = 0; i < s->link_count; i++) {
		struct lockstep_link *l = &s->links[i];
		if (l->fd >= 0 && !send_some(&l->out, l->fd))
			return fail(s, "the proxy closed a connection to a server");
	}
	return true;
}

/* Keys that the servers have been asked for since they last answered. */
static uint64_t links_keys(const struct lockstep *s)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < s->link_count; i++) n += s->links[i].keys;
	return n;
}

static bool client_take(struct lockstep *s, struct lockstep_client *c)
{
	size_t at = 0, used;
	while (at < c->in.len) {
		if (c->answered == s->depth) return fail(s, "a reply to nothing");
		enum lg_verdict v = lg_work_reply(&s->work, &c->asked[c->answered], &c->reply,
						  c->in.p + at, c->in.len - at, &used, s->why);
		at += used;
		if (v == LG_WRONG || v == LG_BROKEN) return false;
		if (v == LG_MORE) break;
		memset(&c->reply, 0, sizeof(c->reply));
		c->answered++;
	}
	drop(&c->in, at);
	return true;
}

/* Whether all have all; -1: s->why. */
static int clients_read(struct lockstep *s)
{
	bool all = true;
	for (uint32_t i = 0; i < s->client_count; i++) {
		struct lockstep_client *c = &s->clients[i];
		int got;
		while ((got = read_some(&c->in, c->fd)) > 0) {
		}
		if (got < 0) {
			fail(s, "the proxy closed a client");
			return -1;
		}
		if (!client_take(s, c)) return -1;
		all = all && c->answered == s->depth;
	}
	return all;
}

static bool clients_send(struct lockstep *s)
{
	for (uint32_t i = 0; i < s->client_count; i++)
		if (!send_some(&s->clients[i].out, s->clients[i].fd))
			return fail(s, "the proxy closed a client");
	return true;
}

enum link_events { LINKS_READ, LINKS_READ_AND_SEND };

/* Sleep until any socket has something for us, or room for what is left to be sent. */
static void await_any(struct lockstep *s, enum link_events events)
{
	static struct pollfd polls[LOCKSTEP_SERVERS + LOCKSTEP_CLIENTS + LOCKSTEP_LINKS];
	nfds_t n = 0;
	for (uint32_t i = 0; i < s->server_count; i++)
		polls[n++] = (struct pollfd){ .fd = s->listeners[i], .events = POLLIN };
	for (uint32_t i = 0; i < s->client_count; i++) {
		short out = s->clients[i].out.len ? POLLOUT : 0;
		polls[n++] = (struct pollfd){ .fd = s->clients[i].fd, .events = POLLIN | out };
	}
	for (uint32_t i = 0; i < s->link_count; i++) {
		bool send = events == LINKS_READ_AND_SEND && s->links[i].out.len;
		short out = send ? POLLOUT : 0;
		polls[n++] = (struct pollfd){ .fd = s->links[i].fd, .events = POLLIN | out };
	}
	poll(polls, n, POLL_MS);
}

static bool proxy_stop(struct lockstep *s)
{
	return process_stop_asleep(s->pid) || fail(s, "the proxy does not come to rest");
}

/* --- a round ---------------------------------------------------------------------------------- */

static void clients_ask(struct lockstep *s)
{
	for (uint32_t i = 0; i < s->client_count; i++) {
		struct lockstep_client *c = &s->clients[i];
		c->answered = 0;
		for (uint32_t d = 0; d < s->depth; d++) {
			struct lg_asked *a = &c->asked[d];
			bool write = s->writes_in_ten && s->asked % 10 < s->writes_in_ten;
			bool many = s->op == LG_MGET || s->op == LG_MSET;
			a->op = write ? LG_SET : s->op;
			/* 7919: neighbours ask for keys far apart */
			a->key = (uint32_t)(s->asked * 7919 % s->work.key_count);
			lockstep_reserve(&c->out, lg_work_request_max(&s->work, a->op));
			c->out.len += lg_work_request(&s->work, a, c->out.p + c->out.len);
			s->keys_asked += many ? s->work.keys_per : 1;
			s->asked++;
		}
	}
}

static bool servers_have_all(struct lockstep *s)
{
	time_t give_up = time(NULL) + STALL_S;
	while (links_keys(s) < s->keys_asked) {
		if (time(NULL) > give_up) return fail(s, "requests do not reach the servers");
		await_any(s, LINKS_READ);
		if (!accept_links(s) || !clients_send(s) || !links_read(s)) return false;
	}
	for (uint32_t i = 0; i < s->link_count; i++) s->links[i].keys = 0;
	return true;
}

static bool clients_have_all(struct lockstep *s)
{
	time_t give_up = time(NULL) + STALL_S;
	int all;
	while ((all = clients_read(s)) == 0) {
		if (time(NULL) > give_up) return fail(s, "replies do not reach the clients");
		await_any(s, LINKS_READ_AND_SEND);
		if (!accept_links(s) || !links_read(s) || !links_send(s)) return false;
	}
	return all > 0;
}

bool lockstep_round(struct lockstep *s)
{
	s->keys_asked = 0;
	clients_ask(s);
	if (!proxy_stop(s) || !clients_send(s)) return false;
	process_continue(s->pid);
	if (!servers_have_all(s) || !proxy_stop(s) || !links_send(s)) return false;
	process_continue(s->pid);
	return clients_have_all(s);
}
