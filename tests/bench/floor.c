/* floor.c - the least that a multiplexer can do, as a physical limit beside the proxies.
 *
 * N clients over one connection to each server. It finds where messages end and brings replies to
 * their clients in the order of requests: one read per readiness, one send per server and turn, a
 * client's replies held until all that it has asked is answered, and the same pause under load as
 * the proxy's. It does not route (the servers take turns), validate, time out, count or recover: a
 * server that closes ends it.
 *
 *	floor --listen PORT [--redis] [--moderate US] SERVER-PORT...
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/floor_frame.h"
#include "tests/bench/floor_io.h"

enum {
	SERVERS_MAX = 16,
	EVENTS_MAX = 256,
	HELD_MAX = 64 << 10,	 /* bytes of replies that a client may wait with */
	MODERATE_IN_FLIGHT = 12, /* these four as proxy/moderate.h               */
	MODERATE_REPLIES = 16,
	MODERATE_DEPTH = 2,
	MODERATE_TIMES_MAX = 4,
	INLINE_REPLY = 96,
};

enum role { LISTENER, CLIENT, SERVER };

/* A request on its way, in its client's queue and its server's. Of its reply it holds what came
 * before the client's turn for it. */
struct waiter {
	struct waiter *client_next, *server_next;
	struct peer *client; /* NULL: it has gone */
	char *reply;	     /* NULL: none yet    */
	size_t len;
	char small[INLINE_REPLY];
};

struct peer {
	enum role role;
	int fd;
	bool dirty, want_write, gone;
	struct peer *dirty_next;
	struct waiter *head, **tail; /* oldest first */
	struct floor_in in;
	struct floor_out out;
};

static struct {
	int epfd;
	floor_frame_fn request, reply;
	struct peer servers[SERVERS_MAX];
	uint32_t server_count, next_server, clients, in_flight, turn_replies;
	long moderate_us;
	struct waiter *unused;
	struct peer *dirty_servers, *dirty_clients;
	char shared[FLOOR_READ];
} floor_;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- waiters ---------------------------------------------------------------------------------- */

static struct waiter *waiter_new(struct peer *client, struct peer *server)
{
	struct waiter *w = floor_.unused;
	if (w) floor_.unused = w->client_next;
	else w = floor_alloc(NULL, sizeof(*w));
	w->client_next = w->server_next = NULL;
	w->client = client;
	w->reply = NULL;
	*client->tail = w;
	client->tail = &w->client_next;
	*server->tail = w;
	server->tail = &w->server_next;
	floor_.in_flight++;
	return w;
}

static void waiter_free(struct waiter *w)
{
	if (w->reply && w->reply != w->small) free(w->reply);
	w->client_next = floor_.unused;
	floor_.unused = w;
}

static void mark_dirty(struct peer *p, struct peer **list)
{
	if (p->dirty) return;
	p->dirty = true;
	p->dirty_next = *list;
	*list = p;
}

static void client_pop(struct peer *c)
{
	struct waiter *w = c->head;
	c->head = w->client_next;
	if (!c->head) c->tail = &c->head;
	waiter_free(w);
}

static void put(struct floor_out *o, const char *p, size_t n)
{
	memcpy(floor_out_room(o, n), p, n);
}

/* What has been waiting behind the reply that just went out. */
static void client_put_waiting(struct peer *c)
{
	while (c->head && c->head->reply) {
		struct waiter *w = c->head;
		if (w->len > FLOOR_BIG) {
			floor_out_give(&c->out, w->reply, w->len);
			w->reply = NULL;
		} else {
			put(&c->out, w->reply, w->len);
		}
		client_pop(c);
	}
}

/* --- bytes taken ------------------------------------------------------------------------------ */

static size_t take_requests(void *owner, char *p, size_t n, bool *own, size_t *need_out)
{
	struct peer *client = owner;
	size_t at = 0, len;
	while (at < n && (len = floor_.request(p + at, n - at, need_out)) > 0) {
		struct peer *s = &floor_.servers[floor_.next_server];
		if (++floor_.next_server == floor_.server_count) floor_.next_server = 0;
		waiter_new(client, s);
		if (own && len == n && len > FLOOR_BIG) {
			floor_out_give(&s->out, p, n);
			*own = true;
		} else {
			put(&s->out, p + at, len);
		}
		mark_dirty(s, &floor_.dirty_servers);
		at += len;
	}
	return at;
}

static void reply_keep(struct waiter *w, char *p, size_t n, bool own)
{
	w->len = n;
	if (own) {
		w->reply = p;
		return;
	}
	w->reply = n <= INLINE_REPLY ? w->small : floor_alloc(NULL, n);
	memcpy(w->reply, p, n);
}

static void reply_deliver(struct peer *server, char *p, size_t n, bool own)
{
	struct waiter *w = server->head;
	if (!w) die("a reply to nothing");
	server->head = w->server_next;
	if (!server->head) server->tail = &server->head;
	floor_.in_flight--;
	floor_.turn_replies++;
	struct peer *c = w->client;
	if (!c) {
		if (own) free(p);
		waiter_free(w);
		return;
	}
	if (c->head != w) {
		reply_keep(w, p, n, own);
		return;
	}
	if (own) floor_out_give(&c->out, p, n);
	else put(&c->out, p, n);
	client_pop(c);
	client_put_waiting(c);
	mark_dirty(c, &floor_.dirty_clients);
}

static size_t take_replies(void *owner, char *p, size_t n, bool *own, size_t *need_out)
{
	size_t at = 0, len;
	while (at < n && (len = floor_.reply(p + at, n - at, need_out)) > 0) {
		bool whole = own && len == n && len > FLOOR_BIG;
		if (whole) *own = true;
		reply_deliver(owner, p + at, len, whole);
		at += len;
	}
	return at;
}

/* --- peers ------------------------------------------------------------------------------------ */

/* Edges, as we read all there is: the kernel looks at each socket once, not twice. */
static void watch(struct peer *p, int op, uint32_t events)
{
	struct epoll_event e = { .events = events | EPOLLET | EPOLLRDHUP, .data.ptr = p };
	if (epoll_ctl(floor_.epfd, op, p->fd, &e) < 0) die("epoll_ctl");
}

static void peer_open(struct peer *p, enum role role, int fd)
{
	int one = 1;
	*p = (struct peer){ .role = role, .fd = fd };
	p->tail = &p->head;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (role != LISTENER) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	watch(p, EPOLL_CTL_ADD, EPOLLIN);
}

/* Its memory goes at the end of the turn: events of this one may still name it. */
static void client_close(struct peer *c)
{
	if (c->gone) return;
	c->gone = true;
	for (struct waiter *w = c->head, *next; w; w = next) {
		next = w->client_next;
		w->client = NULL;
		if (w->reply) waiter_free(w);
	}
	close(c->fd);
	mark_dirty(c, &floor_.dirty_clients);
}

static void client_free(struct peer *c)
{
	floor_.clients--;
	floor_out_fini(&c->out);
	free(c->in.p);
	free(c);
}

static void peer_send(struct peer *p)
{
	int sent = floor_out_send(&p->out, p->fd);
	if (sent < 0 && p->role == SERVER) die("server");
	if (sent < 0) {
		client_close(p);
		return;
	}
	bool want = sent == 0;
	if (want == p->want_write) return;
	p->want_write = want;
	watch(p, EPOLL_CTL_MOD, want ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void accept_all(struct peer *listener)
{
	int fd;
	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		peer_open(floor_alloc(NULL, sizeof(struct peer)), CLIENT, fd);
	floor_.clients++;
}

static void on_event(struct peer *p, uint32_t events)
{
	if (p->gone) return;
	if (p->role == LISTENER) {
		accept_all(p);
		return;
	}
	if (events & EPOLLOUT) peer_send(p);
	if (p->gone || !(events & ~(uint32_t)EPOLLOUT)) return;
	bool server = p->role == SERVER;
	floor_take_fn take = server ? take_replies : take_requests;
	int more;
	while ((more = floor_in_read(&p->in, p->fd, floor_.shared, take, p)) > 0) continue;
	if (more == 0 && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
	if (server) die("server closed");
	client_close(p);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void flush_servers(void)
{
	struct peer *s = floor_.dirty_servers, *next;
	floor_.dirty_servers = NULL;
	for (; s; s = next) {
		next = s->dirty_next;
		s->dirty = false;
		if (!s->want_write) peer_send(s);
	}
}

/* A client that waits for more gets all at once, and is in nobody's list until then: the reply
 * that is missing brings it back. */
static void flush_clients(void)
{
	struct peer *c = floor_.dirty_clients, *next;
	floor_.dirty_clients = NULL;
	for (; c; c = next) {
		next = c->dirty_next;
		c->dirty = false;
		bool corked = c->head && c->out.bytes < HELD_MAX;
		if (!c->gone && !corked && !c->want_write) peer_send(c);
		if (c->gone) client_free(c);
	}
}

static void moderate(void)
{
	if (floor_.in_flight < MODERATE_IN_FLIGHT || floor_.turn_replies >= MODERATE_REPLIES ||
	    floor_.moderate_us == 0)
		return;
	long depth = floor_.in_flight / (floor_.clients ? floor_.clients : 1);
	if (depth < MODERATE_DEPTH) depth = MODERATE_DEPTH;
	if (depth > MODERATE_DEPTH * MODERATE_TIMES_MAX)
		depth = MODERATE_DEPTH * MODERATE_TIMES_MAX;
	long us = floor_.moderate_us * depth / MODERATE_DEPTH;
	struct timespec pause = { .tv_nsec = us * 1000 };
	nanosleep(&pause, NULL);
}

static void turn(void)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(floor_.epfd, events, EVENTS_MAX, -1);
	floor_.turn_replies = 0;
	for (int i = 0; i < n; i++) on_event(events[i].data.ptr, events[i].events);
	flush_servers();
	flush_clients();
	moderate();
}

/* --- start ------------------------------------------------------------------------------------ */

static struct sockaddr_in loopback(const char *port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)atoi(port)),
				     .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static void add_server(const char *port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (floor_.server_count == SERVERS_MAX) die("too many servers");
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) die(port);
	peer_open(&floor_.servers[floor_.server_count++], SERVER, fd);
}

static void add_listener(const char *port)
{
	static struct peer listener;
	struct sockaddr_in a = loopback(port);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 512) < 0)
		die(port);
	peer_open(&listener, LISTENER, fd);
}

static void allow_all_files(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0) return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "listen", required_argument, NULL, 'l' },
						 { "redis", no_argument, NULL, 'r' },
						 { "moderate", required_argument, NULL, 'm' },
						 { NULL, 0, NULL, 0 } };
	enum floor_proto proto = FLOOR_MEMCACHED;
	const char *port = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l': port = optarg; break;
		case 'r': proto = FLOOR_REDIS; break;
		case 'm': floor_.moderate_us = atol(optarg); break;
		default: return 2;
		}
	}
	if (!port || optind == argc) {
		fputs("floor --listen PORT [--redis] [--moderate US] SERVER-PORT...\n", stderr);
		return 2;
	}
	allow_all_files();
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* ns; else a pause takes 50 us more */
	floor_.request = floor_frame_request(proto);
	floor_.reply = floor_frame_reply(proto);
	floor_.epfd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = optind; i < argc; i++) add_server(argv[i]);
	add_listener(port);
	for (;;) turn();
}
