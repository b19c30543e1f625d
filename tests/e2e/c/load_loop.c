#include "tests/e2e/c/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES    (64u << 10)
#define DEPTH_MAX     256
#define RETRY_NS      20000000ull /* between attempts to connect     */
#define TICK_MS	      1
#define SECOND_NS     1000000000ull
#define STDIN_MARK    UINT32_MAX
#define CONNECT_MS    200 /* a full backlog must not stop us */
#define PRELOAD_DEPTH 64

struct conn {
	int fd; /* -1: down */
	uint32_t number, head, in_flight;
	uint64_t retry_ns;
	struct asked *asked; /* ring of DEPTH_MAX */
	char *in, *out;
	size_t in_len, in_cap, out_at, out_len, out_cap;
	bool want_write;
};

struct loop {
	const struct load_options *o;
	const struct load_protocol *protocol;
	struct chooser *chooser;
	struct history *history;
	struct sockaddr_in proxies[16];
	struct conn *conns;
	uint32_t conn_count, turn;
	int epfd;
	uint32_t rate;
	uint64_t last_begin_ns, outstanding;
	struct load_counts total, second;
	struct answer answer; /* of the reply being parsed; too big for a stack frame */
	bool preloading, preload_failed, stopping;
	char line[512];
	size_t line_len;
};

uint64_t load_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

struct loop *loop_new(const struct load_options *o, struct chooser *c, struct history *h)
{
	struct loop *l = calloc(1, sizeof(*l));

	l->o = o;
	l->protocol = o->redis ? &load_redis : &load_memcached;
	l->chooser = c;
	l->history = h;
	l->rate = o->rate;
	memcpy(l->proxies, o->proxies, sizeof(l->proxies));
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->conn_count = o->conns * o->proxy_count;
	l->conns = calloc(l->conn_count, sizeof(*l->conns));
	for (uint32_t i = 0; i < l->conn_count; i++) {
		l->conns[i].fd = -1;
		l->conns[i].number = i;
		l->conns[i].asked = calloc(DEPTH_MAX, sizeof(struct asked));
	}
	return l;
}

void loop_free(struct loop *l)
{
	for (uint32_t i = 0; i < l->conn_count; i++) {
		if (l->conns[i].fd >= 0) close(l->conns[i].fd);
		free(l->conns[i].asked);
		free(l->conns[i].in);
		free(l->conns[i].out);
	}
	close(l->epfd);
	free(l->conns);
	free(l);
}

void loop_counts(const struct loop *l, struct load_counts *out)
{
	*out = l->total;
}

/* --- what came of an operation ------------------------------------------------------------------
 */

static void count_into(struct load_counts *n, const struct asked *a, const struct answer *answer,
		       uint64_t took_ns)
{
	n->ops++;
	if (took_ns > n->longest_ns) n->longest_ns = took_ns;
	switch (answer->result) {
	case RESULT_OK:
		if (a->op != OP_GET && a->op != OP_GETS) return;
		if (KEY_CLASS(a->key[0]) != CLASS_REGISTER) return;
		for (uint32_t i = 0; i < a->n; i++)
			if (answer->value[i]) n->hits++;
			else n->misses++;
		return;
	case RESULT_TRYAGAIN:
	case RESULT_ERROR:
		if (!n->errors++) snprintf(n->error, sizeof(n->error), "%s", answer->why);
		return;
	case RESULT_LOST: n->lost++; return;
	case RESULT_CORRUPT:
		if (!n->corrupt++) snprintf(n->problem, sizeof(n->problem), "%s", answer->why);
		return;
	case RESULT_FAIL:
	case RESULT_MAX: return;
	}
}

static void concluded(struct loop *l, struct conn *c, const struct answer *answer)
{
	struct asked *a = &c->asked[c->head];
	uint64_t now = load_now_ns();

	c->head = (c->head + 1) % DEPTH_MAX;
	c->in_flight--;
	l->outstanding--;
	if (l->preloading) {
		if (answer->result != RESULT_OK) {
			if (!l->preload_failed)
				fprintf(stderr, "preload: result %d %s\n", answer->result,
					answer->why);
			l->preload_failed = true;
		}
		return;
	}
	count_into(&l->total, a, answer, now - a->begin_ns);
	count_into(&l->second, a, answer, now - a->begin_ns);
	history_write(l->history, a, c->number, now, answer);
	choose_heard(l->chooser, c->number, a, answer);
}

/* --- one connection -----------------------------------------------------------------------------
 */

static void conn_lost(struct loop *l, struct conn *c)
{
	if (c->fd < 0) return;
	close(c->fd);
	c->fd = -1;
	c->retry_ns = load_now_ns() + RETRY_NS;
	c->in_len = c->out_at = c->out_len = 0;
	c->want_write = false;
	memset(&l->answer, 0, sizeof(l->answer));
	l->answer.result = RESULT_LOST;
	while (c->in_flight) concluded(l, c, &l->answer);
}

static void conn_connect(struct loop *l, struct conn *c)
{
	const struct sockaddr_in *to = &l->proxies[c->number % l->o->proxy_count];
	struct timeval limit = { .tv_usec = CONNECT_MS * 1000 };
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = c->number };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to))) {
		close(fd);
		c->retry_ns = load_now_ns() + RETRY_NS;
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->fd = fd;
	epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &e);
}

static void conn_want_write(struct loop *l, struct conn *c, bool want)
{
	struct epoll_event e = { .events = EPOLLIN | (want ? EPOLLOUT : 0), .data.u32 = c->number };

	if (c->want_write == want) return;
	c->want_write = want;
	epoll_ctl(l->epfd, EPOLL_CTL_MOD, c->fd, &e);
}

static void conn_flush(struct loop *l, struct conn *c)
{
	while (c->fd >= 0 && c->out_at < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			c->out_at += (size_t)n;
		} else if (errno == EAGAIN) {
			conn_want_write(l, c, true);
			return;
		} else {
			conn_lost(l, c);
			return;
		}
	}
	if (c->fd < 0) return;
	c->out_at = c->out_len = 0;
	conn_want_write(l, c, false);
}

static size_t room_for(const struct load_options *o, const struct asked *a)
{
	size_t need = 512;

	for (uint32_t i = 0; i < a->n; i++) need += 128 + value_len(o, a->key[i], a->value[i]);
	return need;
}

static void conn_ask(struct loop *l, struct conn *c, const struct asked *what)
{
	struct asked *a = &c->asked[(c->head + c->in_flight) % DEPTH_MAX];
	size_t need = room_for(l->o, what);
	uint64_t now = load_now_ns();

	*a = *what;
	a->begin_ns = l->last_begin_ns = now > l->last_begin_ns ? now : l->last_begin_ns + 1;
	if (c->out_cap - c->out_len < need)
		c->out = realloc(c->out, c->out_cap = 2 * (c->out_len + need));
	c->out_len += l->protocol->write(l->o, a, c->out + c->out_len);
	c->in_flight++;
	l->outstanding++;
}

static void conn_parse(struct loop *l, struct conn *c)
{
	size_t at = 0;

	while (c->fd >= 0 && c->in_flight && at < c->in_len) {
		struct answer *answer = &l->answer;
		long n;

		memset(answer, 0, offsetof(struct answer, tokens));
		answer->why[0] = 0;
		n = l->protocol->parse(l->o, &c->asked[c->head], c->in + at, c->in_len - at,
				       answer);
		if (n == 0) break;
		if (n < 0) answer->result = RESULT_CORRUPT;
		concluded(l, c, answer);
		if (n < 0) {
			conn_lost(l, c);
			return;
		}
		at += (size_t)n;
	}
	if (c->fd >= 0 && !c->in_flight && at < c->in_len) { /* a reply that nobody asked for */
		snprintf(l->total.problem, sizeof(l->total.problem), "stray: %.*s",
			 (int)(c->in_len - at < 80 ? c->in_len - at : 80), c->in + at);
		l->total.corrupt++;
		conn_lost(l, c);
		return;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

static void conn_read(struct loop *l, struct conn *c)
{
	ssize_t n;

	if (c->in_cap - c->in_len < READ_BYTES) {
		c->in_cap = c->in_cap * 2 + READ_BYTES;
		c->in = realloc(c->in, c->in_cap);
	}
	n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n <= 0) {
		conn_lost(l, c);
		return;
	}
	c->in_len += (size_t)n;
	conn_parse(l, c);
}

/* --- standard input: "stop", "rate N", "proxy I HOST:PORT" ---------------------------------------
 */

static void loop_command(struct loop *l, const char *line)
{
	char host[64];
	unsigned i, port;

	if (sscanf(line, "proxy %u %63[^:]:%u", &i, host, &port) == 3 && i < l->o->proxy_count) {
		inet_pton(AF_INET, host, &l->proxies[i].sin_addr);
		l->proxies[i].sin_port = htons((uint16_t)port);
	} else if (sscanf(line, "rate %u", &i) == 1) {
		l->rate = i;
	} else {
		l->stopping = true;
	}
}

static void loop_stdin(struct loop *l)
{
	ssize_t n = read(0, l->line + l->line_len, sizeof(l->line) - l->line_len - 1);
	char *end;

	if (n <= 0) {
		l->stopping = true;
		return;
	}
	l->line_len += (size_t)n;
	l->line[l->line_len] = 0;
	while ((end = strchr(l->line, '\n')) != NULL) {
		*end = 0;
		loop_command(l, l->line);
		l->line_len -= (size_t)(end + 1 - l->line);
		memmove(l->line, end + 1, l->line_len + 1);
	}
}

/* --- the loop -----------------------------------------------------------------------------------
 */

static void loop_expire(struct loop *l)
{
	uint64_t now = load_now_ns(), limit = l->o->timeout_ms * 1000000ull;

	for (uint32_t i = 0; i < l->conn_count; i++) {
		struct conn *c = &l->conns[i];
		if (c->fd < 0 && now >= c->retry_ns && !l->stopping) conn_connect(l, c);
		else if (c->fd >= 0 && c->in_flight && now - c->asked[c->head].begin_ns > limit)
			conn_lost(l, c);
	}
}

static void loop_wait(struct loop *l)
{
	struct epoll_event events[64];
	int n = epoll_wait(l->epfd, events, 64, TICK_MS);

	for (int i = 0; i < n; i++) {
		uint32_t who = events[i].data.u32;
		if (who == STDIN_MARK) {
			loop_stdin(l);
			continue;
		}
		if (l->conns[who].fd >= 0 && (events[i].events & EPOLLOUT))
			conn_flush(l, &l->conns[who]);
		if (l->conns[who].fd >= 0 && (events[i].events & ~EPOLLOUT))
			conn_read(l, &l->conns[who]);
	}
}

static void loop_drain(struct loop *l)
{
	while (l->outstanding) {
		loop_wait(l);
		loop_expire(l);
	}
}

static void loop_connect_all(struct loop *l)
{
	for (uint32_t i = 0; i < l->conn_count; i++)
		if (l->conns[i].fd < 0) conn_connect(l, &l->conns[i]);
}

bool loop_preload(struct loop *l)
{
	struct asked a;
	bool more = true;

	l->preloading = true;
	loop_connect_all(l);
	while (more && !l->preload_failed) {
		for (uint32_t i = 0; i < l->conn_count && more; i++) {
			struct conn *c = &l->conns[i];
			while (c->fd >= 0 && c->in_flight < PRELOAD_DEPTH &&
			       (more = choose_preload(l->chooser, &a)))
				conn_ask(l, c, &a);
			if (c->fd < 0) l->preload_failed = true;
			conn_flush(l, c);
		}
		loop_wait(l);
	}
	loop_drain(l);
	l->preloading = false;
	return !l->preload_failed;
}

static void loop_second(struct loop *l)
{
	const struct load_counts *n = &l->second;

	printf("{\"at\": %lu, \"ops\": %lu, \"hits\": %lu, \"misses\": %lu, \"errors\": %lu, "
	       "\"lost\": %lu, \"corrupt\": %lu, \"longest_ms\": %.1f}\n",
	       load_now_ns(), n->ops, n->hits, n->misses, n->errors, n->lost, n->corrupt,
	       (double)n->longest_ns / 1e6);
	fflush(stdout);
	memset(&l->second, 0, sizeof(l->second));
}

/* As many as the rate still allows, each connection in its turn. */
static void loop_ask(struct loop *l, double *budget)
{
	struct asked a;

	for (uint32_t i = 0; i < l->conn_count; i++) {
		struct conn *c = &l->conns[(l->turn + i) % l->conn_count];
		while (c->fd >= 0 && c->in_flight < l->o->depth && (!l->rate || *budget >= 1)) {
			choose(l->chooser, c->number, &a);
			conn_ask(l, c, &a);
			*budget -= 1;
			if (l->rate) break;
		}
		conn_flush(l, c);
	}
	l->turn = (l->turn + 1) % l->conn_count;
}

void loop_run(struct loop *l)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = STDIN_MARK };
	uint64_t before = load_now_ns(), second = before;
	double budget = 0;

	epoll_ctl(l->epfd, EPOLL_CTL_ADD, 0, &e);
	loop_connect_all(l);
	while (!l->stopping) {
		uint64_t now = load_now_ns();
		budget += (double)l->rate * (double)(now - before) / 1e9;
		if (budget > l->rate / 10.0) budget = l->rate / 10.0; /* no flood after a pause */
		before = now;
		loop_ask(l, &budget);
		loop_wait(l);
		loop_expire(l);
		if (now - second >= SECOND_NS) {
			second += SECOND_NS;
			loop_second(l);
		}
	}
	loop_drain(l);
}
