#include "tests/bench/lg_loop.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES	(256u << 10) /* a 512 KiB value takes a few reads, not dozens        */
#define EVENTS_MAX	256
#define STALL_NS	5000000000ull /* without a reply while some are owed: give up        */
#define POLL_MAX_NS	100000000ull  /* how late the end of a silent phase may be noticed   */
#define CONNECT_PAUSE	128 /* connections between pauses, well under any listen backlog      */
#define CONNECT_REST_US 2000

struct lg_conn {
	int fd; /* -1 = broken */
	bool want_write;
	uint32_t head, in_flight; /* ring of `asked`, depth_max slots */
	struct lg_asked *asked;
	struct lg_reply reply;
	char *out;
	size_t out_at, out_len, out_cap;
	char *carry; /* the unfinished line of the last read, at most LG_LINE_MAX */
	size_t carry_len;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t lg_random(struct lg_loop *l)
{
	l->rng ^= l->rng >> 12;
	l->rng ^= l->rng << 25;
	l->rng ^= l->rng >> 27;
	return l->rng * 2685821657736338717ull;
}

static void lg_error(struct lg_loop *l, uint64_t n, const char *why)
{
	if (l->result->errors == 0) snprintf(l->result->first_error, LG_LINE_MAX, "%s", why);
	l->result->errors += n;
}

/* --- one connection -----------------------------------------------------------------------------
 */

static void conn_break(struct lg_loop *l, struct lg_conn *c, const char *why)
{
	if (c->fd < 0) return;
	lg_error(l, c->in_flight ? c->in_flight : 1, why);
	l->outstanding -= c->in_flight;
	l->live--;
	c->in_flight = 0;
	close(c->fd);
	c->fd = -1;
}

static void conn_flush(struct lg_loop *l, struct lg_conn *c)
{
	bool blocked = false;

	while (c->fd >= 0 && c->out_at < c->out_len && !blocked) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) c->out_at += (size_t)n;
		else if (errno == EAGAIN) blocked = true;
		else if (errno != EINTR) conn_break(l, c, strerror(errno));
	}
	if (c->fd < 0) return;
	if (!blocked) c->out_at = c->out_len = 0;
	if (blocked == c->want_write) return;
	struct epoll_event e = { .events = EPOLLIN | (blocked ? EPOLLOUT : 0u), .data.ptr = c };
	epoll_ctl(l->epfd, EPOLL_CTL_MOD, c->fd, &e);
	c->want_write = blocked;
}

static char *conn_reserve(struct lg_conn *c, size_t room)
{
	if (c->out_at && c->out_cap - c->out_len < room) {
		memmove(c->out, c->out + c->out_at, c->out_len - c->out_at);
		c->out_len -= c->out_at;
		c->out_at = 0;
	}
	if (c->out_cap - c->out_len < room) {
		c->out_cap = c->out_len + room;
		c->out = realloc(c->out, c->out_cap);
		if (!c->out) {
			perror("lg: realloc");
			exit(1);
		}
	}
	return c->out + c->out_len;
}

/* Queue one request; conn_flush() sends it. at_ns: now, or when it was due. */
static void conn_ask(struct lg_loop *l, struct lg_conn *c, uint64_t at_ns)
{
	const struct lg_phase *p = l->phase;
	struct lg_asked *a = &c->asked[(c->head + c->in_flight) % l->depth_max];

	a->at_ns = at_ns;
	a->op = p->mix == LG_MIX_90_10 && lg_random(l) % 10 == 0 ? LG_SET : p->op;
	a->key = p->keys == LG_KEYS_IN_ORDER ? l->next_key++
					     : (uint32_t)(lg_random(l) >> 32) % l->work->key_count;
	c->out_len +=
	    lg_work_request(l->work, a, conn_reserve(c, lg_work_request_max(l->work, a->op)));
	c->in_flight++;
	l->outstanding++;
	l->asked++;
}

static void conn_fill(struct lg_loop *l, struct lg_conn *c, uint64_t now)
{
	if (l->phase->rate > 0 || c->fd < 0) return;
	if (l->phase->window == LG_BATCH && c->in_flight) return;
	while (c->in_flight < l->phase->depth && l->asked < l->limit) conn_ask(l, c, now);
}

/* Take the replies in buf; returns the bytes consumed. */
static size_t conn_parse(struct lg_loop *l, struct lg_conn *c, const char *buf, size_t len,
			 uint64_t now)
{
	char why[LG_LINE_MAX];
	size_t at = 0, used;

	while (at < len) {
		if (!c->in_flight) {
			conn_break(l, c, "a reply to nothing");
			return len;
		}
		struct lg_asked *a = &c->asked[c->head];
		enum lg_verdict v =
		    lg_work_reply(l->work, a, &c->reply, buf + at, len - at, &used, why);
		at += used;
		if (v == LG_MORE) break;
		if (v == LG_BROKEN) {
			conn_break(l, c, why);
			return len;
		}
		if (v == LG_WRONG) lg_error(l, 1, why);
		else if (l->counting) lg_hist_add(&l->result->hist, now - a->at_ns);
		memset(&c->reply, 0, sizeof(c->reply));
		c->head = (c->head + 1) % l->depth_max;
		c->in_flight--;
		l->outstanding--;
		l->last_reply_ns = now;
	}
	return at;
}

static void conn_read(struct lg_loop *l, struct lg_conn *c)
{
	memcpy(l->scratch, c->carry, c->carry_len);
	ssize_t n = recv(c->fd, l->scratch + c->carry_len, READ_BYTES, MSG_DONTWAIT);
	if (n == 0) conn_break(l, c, "closed by the peer");
	else if (n < 0 && errno != EAGAIN && errno != EINTR) conn_break(l, c, strerror(errno));
	if (n <= 0) return;

	uint64_t now = now_ns(CLOCK_MONOTONIC);
	size_t len = c->carry_len + (size_t)n;
	size_t used = conn_parse(l, c, l->scratch, len, now);
	if (c->fd < 0) return;
	/* lg_work_reply() leaves at most an unfinished line, which it bounds. */
	c->carry_len = len - used;
	memcpy(c->carry, l->scratch + used, c->carry_len);
	conn_fill(l, c, now);
	conn_flush(l, c);
}

/* --- opening and closing ------------------------------------------------------------------------
 */

static int conn_open(struct lg_loop *l, struct lg_conn *c, const struct sockaddr_in *addr)
{
	int one = 1;
	/* A reset instead of TIME_WAIT: thousands of connections per run would exhaust the ports.
	 */
	struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	c->asked = calloc(l->depth_max, sizeof(*c->asked));
	c->carry = malloc(LG_LINE_MAX);
	if (!c->asked || !c->carry) return -1;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return -1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));

	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, c->fd, &e) < 0) return -1;
	l->live++;
	return 0;
}

int lg_loop_open(struct lg_loop *l, const struct lg_work *w, const struct sockaddr_in *addrs,
		 uint32_t addr_count, uint32_t count, uint32_t depth_max)
{
	memset(l, 0, sizeof(*l));
	l->work = w;
	l->depth_max = depth_max;
	l->rng = 0x9e3779b97f4a7c15ull;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->scratch = malloc(READ_BYTES + LG_LINE_MAX);
	l->conns = calloc(count, sizeof(*l->conns));
	if (l->epfd < 0 || !l->scratch || !l->conns) return -1;
	for (uint32_t i = 0; i < count; i++) {
		l->conns[i].fd = -1;
		l->conn_count++;
		if (conn_open(l, &l->conns[i], &addrs[i % addr_count]) < 0) return -1;
		if (i % CONNECT_PAUSE == CONNECT_PAUSE - 1) usleep(CONNECT_REST_US);
	}
	return 0;
}

void lg_loop_close(struct lg_loop *l)
{
	for (uint32_t i = 0; i < l->conn_count; i++) {
		struct lg_conn *c = &l->conns[i];
		if (c->fd >= 0) close(c->fd);
		free(c->asked);
		free(c->carry);
		free(c->out);
	}
	free(l->conns);
	free(l->scratch);
	if (l->epfd >= 0) close(l->epfd);
	l->conns = NULL;
	l->scratch = NULL;
	l->epfd = -1;
	l->conn_count = 0;
}

/* --- phases -------------------------------------------------------------------------------------
 */

/* Requests that are due at `rate`, each to the next connection with room. Latency counts from the
 * moment a request was due, so that a stall is charged to every request it delays. */
static void loop_pace(struct lg_loop *l, uint64_t start, uint64_t now)
{
	double gap_ns = 1e9 / l->phase->rate;

	while (l->asked < l->limit) {
		uint64_t due = start + (uint64_t)((double)l->asked * gap_ns);
		if (due > now) return;
		struct lg_conn *c = NULL;
		for (uint32_t i = 0; i < l->conn_count && !c; i++) {
			struct lg_conn *next = &l->conns[l->next_conn++ % l->conn_count];
			if (next->fd >= 0 && next->in_flight < l->phase->depth) c = next;
		}
		if (!c) return; /* all are busy: the backlog waits, its clock running */
		conn_ask(l, c, due);
		conn_flush(l, c);
	}
}

/* How long the next poll may sleep. */
static uint64_t loop_sleep_ns(const struct lg_loop *l, uint64_t start, uint64_t now)
{
	if (l->phase->rate <= 0 || l->asked >= l->limit) return POLL_MAX_NS;
	uint64_t due = start + (uint64_t)((double)l->asked * 1e9 / l->phase->rate);
	if (due <= now) return l->outstanding ? POLL_MAX_NS : 0; /* a reply frees a connection */
	return due - now < POLL_MAX_NS ? due - now : POLL_MAX_NS;
}

static void loop_poll(struct lg_loop *l, uint64_t sleep_ns)
{
	struct epoll_event events[EVENTS_MAX];
	struct timespec t = { .tv_sec = 0, .tv_nsec = (long)sleep_ns };

	int n = epoll_pwait2(l->epfd, events, EVENTS_MAX, &t, NULL);
	for (int i = 0; i < n; i++) {
		struct lg_conn *c = events[i].data.ptr;
		if (c->fd >= 0 && (events[i].events & EPOLLOUT)) conn_flush(l, c);
		if (c->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT)) conn_read(l, c);
	}
}

static void loop_watch(const struct lg_loop *l, struct lg_cpu *cpus)
{
	for (int i = 0; i < l->phase->watch_count; i++)
		lg_watch_read(l->phase->watch_pids[i], &cpus[i]);
}

/* One end of the timed window. What is read first at the start is read first at the end, so that
 * the cost of the reading itself cancels. */
struct edge {
	uint64_t at_ns, cpu_ns;
	struct lg_cpu watch[LG_WATCH_MAX];
};

static void edge_take(const struct lg_loop *l, struct edge *e)
{
	loop_watch(l, e->watch);
	e->cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	e->at_ns = now_ns(CLOCK_MONOTONIC);
}

static void edge_subtract(struct lg_loop *l, const struct edge *a, const struct edge *b)
{
	struct lg_result *r = l->result;

	r->seconds = (double)(b->at_ns - a->at_ns) / 1e9;
	r->cpu_s = (double)(b->cpu_ns - a->cpu_ns) / 1e9;
	r->requests = r->hist.count;
	for (int i = 0; i < l->phase->watch_count; i++) {
		r->watch[i].run_ns = b->watch[i].run_ns - a->watch[i].run_ns;
		r->watch[i].wait_ns = b->watch[i].wait_ns - a->watch[i].wait_ns;
		r->watch[i].user_ticks = b->watch[i].user_ticks - a->watch[i].user_ticks;
		r->watch[i].sys_ticks = b->watch[i].sys_ticks - a->watch[i].sys_ticks;
	}
}

static bool loop_stalled(const struct lg_loop *l, uint64_t now)
{
	return l->outstanding && now > l->last_reply_ns + STALL_NS;
}

/* Nothing more is asked; what is owed must come. */
static void loop_drain(struct lg_loop *l)
{
	l->limit = l->asked;
	l->counting = false;
	while (l->outstanding && l->live && !loop_stalled(l, now_ns(CLOCK_MONOTONIC)))
		loop_poll(l, POLL_MAX_NS);
	if (l->outstanding) lg_error(l, l->outstanding, "no reply for 5 s");
}

/* From here on replies count. Returns when the window ends. */
static uint64_t loop_open_window(struct lg_loop *l, struct edge *first)
{
	edge_take(l, first);
	l->counting = true;
	if (l->phase->seconds <= 0) return UINT64_MAX;
	return first->at_ns + (uint64_t)(l->phase->seconds * 1e9);
}

int lg_loop_run(struct lg_loop *l, const struct lg_phase *phase, struct lg_result *result_out)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC), now = start, end = UINT64_MAX;
	uint64_t window = start + (uint64_t)(phase->warmup * 1e9);
	struct edge first, last;

	memset(result_out, 0, sizeof(*result_out));
	l->phase = phase;
	l->result = result_out;
	l->asked = l->outstanding = 0;
	l->next_key = l->next_conn = 0;
	l->limit = phase->requests ? phase->requests : UINT64_MAX;
	l->last_reply_ns = start;
	l->counting = false;
	if (phase->warmup <= 0) end = loop_open_window(l, &first);

	for (uint32_t i = 0; i < l->conn_count; i++) {
		conn_fill(l, &l->conns[i], now);
		if (l->conns[i].fd >= 0) conn_flush(l, &l->conns[i]);
	}
	while (now < end && l->live && !loop_stalled(l, now)) {
		if (!l->counting && now >= window) end = loop_open_window(l, &first);
		if (l->asked >= l->limit && !l->outstanding) break;
		if (phase->rate > 0) loop_pace(l, start, now);
		loop_poll(l, loop_sleep_ns(l, start, now));
		now = now_ns(CLOCK_MONOTONIC);
	}
	if (!l->counting) loop_open_window(l, &first); /* all broke during the warm-up */
	edge_take(l, &last);
	edge_subtract(l, &first, &last);
	loop_drain(l);
	return l->outstanding || !l->live ? -1 : 0;
}
