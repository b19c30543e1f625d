#include "tests/sim/fake_io.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

/* What a watch or a timer is here; they point to it where they would to their loop. */
struct fake_event {
	LIST_ENTRY(fake_event) all;
	SLIST_ENTRY(fake_event) made;
	io_fn fn;
	void *owner;
	uint64_t due_us, seq;
	uint64_t told; /* with IO_EDGE: of how many arrivals; see sock_arrivals() */
	int fd;
	short want;
	bool linked;
};
LIST_HEAD(fake_events, fake_event);

static struct {
	uint64_t now_us, seq;
	struct fake_events watches, timers;
	SLIST_HEAD(, fake_event) made;
	struct sock *socks[FAKE_SOCKS_MAX];
	uint32_t sock_count;
	struct {
		uint16_t port;
		enum fake_accept how;
	} ports[FAKE_PORTS_MAX];
	uint32_t port_count;
} fake;

uint64_t fake_shuffle;

/* --- the clock ------------------------------------------------------------------------------- */

uint64_t clock_now_us(void)
{
	return fake.now_us;
}

uint64_t clock_boot_us(void)
{
	return fake.now_us;
}

uint64_t clock_wall_us(void)
{
	return 1700000000000000 + fake.now_us;
}

void fake_pass_us(uint64_t us)
{
	fake.now_us += us;
}

/* --- the test's side ------------------------------------------------------------------------- */

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.now_us = 1000000000;
	fake_shuffle = 0;
}

void fake_free(void)
{
	for (uint32_t i = 0; i < fake.sock_count; i++) {
		free(fake.socks[i]->in);
		free(fake.socks[i]->out);
		free(fake.socks[i]);
	}
	struct fake_event *e;
	while ((e = SLIST_FIRST(&fake.made))) {
		SLIST_REMOVE_HEAD(&fake.made, made);
		free(e);
	}
	fake_reset();
}

struct sock *fake_sock_new(void)
{
	struct sock *s = calloc(1, sizeof(*s));
	if (!s || fake.sock_count == FAKE_SOCKS_MAX) abort();
	s->fd = FAKE_FD + (int)fake.sock_count;
	s->window = SIZE_MAX;
	fake.socks[fake.sock_count++] = s;
	return s;
}

struct sock *fake_sock(int fd)
{
	int i = fd - FAKE_FD;
	assert(i >= 0 && i < (int)fake.sock_count);
	return fake.socks[i];
}

uint32_t fake_sock_count(void)
{
	return fake.sock_count;
}

struct sock *fake_connection(uint16_t port, uint32_t n)
{
	for (uint32_t i = 0; i < fake.sock_count; i++)
		if (fake.socks[i]->port == port && n-- == 0) return fake.socks[i];
	return NULL;
}

uint32_t fake_connection_count(uint16_t port)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < fake.sock_count; i++) n += fake.socks[i]->port == port;
	return n;
}

void fake_set_accept(uint16_t port, enum fake_accept how)
{
	uint32_t i = 0;
	while (i < fake.port_count && fake.ports[i].port != port) i++;
	if (i == FAKE_PORTS_MAX) abort();
	if (i == fake.port_count) fake.port_count++;
	fake.ports[i].port = port;
	fake.ports[i].how = how;
}

static enum fake_accept fake_accept_of(uint16_t port)
{
	for (uint32_t i = 0; i < fake.port_count; i++)
		if (fake.ports[i].port == port) return fake.ports[i].how;
	return ACCEPT_LATER;
}

void sock_send(struct sock *s, const void *bytes, size_t n)
{
	size_t left = s->in_n - s->in_at;
	/* A fresh block every time: whoever reads past its end is caught. */
	char *in = malloc(left + n + 1);
	if (!in) abort();
	if (left) memcpy(in, s->in + s->in_at, left);
	if (n) memcpy(in + left, bytes, n);
	free(s->in);
	s->in = in;
	s->in_n = left + n;
	s->in_at = 0;
	s->arrivals++;
}

void sock_take(struct sock *s, size_t n)
{
	assert(n <= s->out_n);
	if (n < s->out_n) memmove(s->out, s->out + n, s->out_n - n);
	s->out_n -= n;
}

/* --- readiness ------------------------------------------------------------------------------- */

static short sock_ready(const struct sock *s, short want)
{
	if (s->closed || s->never) return 0;
	short ready = 0;
	if (s->pending) return want & IO_WRITE;
	if (s->in_at < s->in_n || s->eof || s->error) ready |= IO_READ;
	if (s->window > 0 || s->error) ready |= IO_WRITE;
	return ready & want;
}

/* Of bytes, and of what comes after the last of them. */
static uint64_t sock_arrivals(const struct sock *s)
{
	return s->arrivals + s->eof + (s->error != 0);
}

static short watch_ready(const struct fake_event *e)
{
	if (e->want == IO_NONE) return 0;
	if (e->fd >= FAKE_FD) {
		const struct sock *s = fake_sock(e->fd);
		short ready = sock_ready(s, e->want);
		bool over = (ready & IO_READ) && (s->eof || s->error);
		if (!(e->want & IO_EDGE)) return ready;
		return e->told == sock_arrivals(s) ? ready & IO_WRITE : ready | (over ? IO_END : 0);
	}
	struct pollfd p = { .fd = e->fd, .events = POLLIN };
	return poll(&p, 1, 0) > 0 ? IO_READ & e->want : 0;
}

uint64_t fake_next_timer_us(void)
{
	uint64_t first = UINT64_MAX;
	struct fake_event *e;
	LIST_FOREACH (e, &fake.timers, all) {
		if (e->due_us < first) first = e->due_us;
	}
	return first;
}

bool fake_is_ready(void)
{
	struct fake_event *e;
	LIST_FOREACH (e, &fake.watches, all) {
		if (watch_ready(e)) return true;
	}
	return fake_next_timer_us() <= fake.now_us;
}

static uint64_t fake_random(void)
{
	fake_shuffle ^= fake_shuffle << 13;
	fake_shuffle ^= fake_shuffle >> 7;
	fake_shuffle ^= fake_shuffle << 17;
	return fake_shuffle;
}

/* --- events ---------------------------------------------------------------------------------- */

static struct fake_event *fake_init(io_fn fn, void *owner)
{
	struct fake_event *e = calloc(1, sizeof(*e));
	if (!e) abort();
	SLIST_INSERT_HEAD(&fake.made, e, made);
	e->fn = fn;
	e->owner = owner;
	return e;
}

static void fake_link(struct fake_event *e, struct fake_events *list, bool link)
{
	if (e->linked == link) return;
	e->linked = link;
	if (link) LIST_INSERT_HEAD(list, e, all);
	else LIST_REMOVE(e, all);
}

/* --- the loop -------------------------------------------------------------------------------- */

bool io_loop_init(struct io_loop *l)
{
	(void)l;
	return true;
}

void io_loop_fini(struct io_loop *l)
{
	(void)l;
}

struct event_base *io_loop_base(struct io_loop *l)
{
	(void)l;
	return NULL; /* no simulation resolves names or serves pages */
}

struct fired {
	struct fake_event *event;
	io_fn fn;
	void *owner;
	int fd;
	short what;
};

static struct fake_event *fake_due_timer(void)
{
	struct fake_event *e, *first = NULL;
	LIST_FOREACH (e, &fake.timers, all) {
		if (e->due_us > fake.now_us) continue;
		if (!first || e->due_us < first->due_us ||
		    (e->due_us == first->due_us && e->seq < first->seq))
			first = e;
	}
	return first;
}

static bool fake_is_linked(const struct fake_event *wanted)
{
	struct fake_event *e;
	LIST_FOREACH (e, &fake.watches, all) {
		if (e == wanted) return true;
	}
	return false;
}

static int fired_by_fd(const void *a, const void *b)
{
	int x = ((const struct fired *)a)->fd, y = ((const struct fired *)b)->fd;
	return x < y ? -1 : x > y;
}

static uint32_t fake_collect(struct fired *fired, uint32_t max)
{
	struct fake_event *e;
	uint32_t n = 0;
	LIST_FOREACH (e, &fake.watches, all) {
		short what = watch_ready(e);
		if (what && n < max) fired[n++] = (struct fired){ e, e->fn, e->owner, e->fd, what };
	}
	qsort(fired, n, sizeof(*fired), fired_by_fd);
	for (uint32_t i = n; fake_shuffle && i > 1; i--) {
		uint32_t k = (uint32_t)(fake_random() % i);
		struct fired t = fired[k];
		fired[k] = fired[i - 1];
		fired[i - 1] = t;
	}
	return n;
}

void io_loop_turn(struct io_loop *l)
{
	(void)l;
	static struct fired fired[FAKE_SOCKS_MAX];
	uint32_t n = fake_collect(fired, FAKE_SOCKS_MAX);
	uint64_t before = fake.seq;
	for (uint32_t i = 0; i < n; i++) {
		struct fired *f = &fired[i];
		bool stale = !fake_is_linked(f->event) || !(f->event->want & f->what);
		if (stale && !(fake_shuffle && fake_random() % 2)) continue;
		if (f->fd >= FAKE_FD) f->event->told = sock_arrivals(fake_sock(f->fd));
		f->fn(f->fd, f->what, f->owner);
	}
	struct fake_event *e;
	/* Not those that were set in this turn, or a timer of 0 would never end. */
	while ((e = fake_due_timer()) && e->seq <= before) {
		fake_link(e, &fake.timers, false);
		e->fn(-1, 0, e->owner);
	}
}

/* --- watches and timers ---------------------------------------------------------------------- */

void io_watch_init(struct io_watch *w, struct io_loop *l, int fd, io_fn fn, void *owner)
{
	(void)l;
	struct fake_event *e = fake_init(fn, owner);
	e->fd = fd;
	w->loop = (struct io_loop *)e;
}

void io_watch_set(struct io_watch *w, short want)
{
	struct fake_event *e = (struct fake_event *)w->loop;
	assert(e->fd < FAKE_FD || !fake_sock(e->fd)->closed);
	if (e->want != want) io_watch_again(w);
	e->want = want;
	fake_link(e, &fake.watches, want != IO_NONE);
}

void io_watch_again(struct io_watch *w)
{
	((struct fake_event *)w->loop)->told = UINT64_MAX;
}

void io_watch_stop(struct io_watch *w)
{
	struct fake_event *e = (struct fake_event *)w->loop;
	if (!e) return;
	e->want = IO_NONE;
	fake_link(e, &fake.watches, false);
}

int io_watch_fd(const struct io_watch *w)
{
	return ((const struct fake_event *)w->loop)->fd;
}

void io_timer_init(struct io_timer *t, struct io_loop *l, io_fn fn, void *owner)
{
	(void)l;
	t->loop = (struct io_loop *)fake_init(fn, owner);
}

void io_timer_set(struct io_timer *t, uint64_t us)
{
	struct fake_event *e = (struct fake_event *)t->loop;
	e->due_us = fake.now_us + us;
	e->seq = ++fake.seq;
	fake_link(e, &fake.timers, true);
}

bool io_timer_armed(const struct io_timer *t)
{
	return ((const struct fake_event *)t->loop)->linked;
}

void io_timer_stop(struct io_timer *t)
{
	if (t->loop) fake_link((struct fake_event *)t->loop, &fake.timers, false);
}

/* --- sockets --------------------------------------------------------------------------------- */

static ssize_t fail(int why)
{
	errno = why;
	return -1;
}

ssize_t io_read(int fd, void *to, size_t n)
{
	struct sock *s = fake_sock(fd);
	assert(!s->closed && !s->pending && n > 0);
	s->reads++;
	size_t left = s->in_n - s->in_at;
	if (left == 0 && s->error) return fail(s->error);
	if (left == 0) return s->eof ? 0 : fail(EAGAIN);
	if (n > left) n = left;
	if (s->read_max && n > s->read_max) {
		n = s->read_max;
		s->arrivals++; /* the rest comes as soon as this is read */
	}
	memcpy(to, s->in + s->in_at, n);
	s->in_at += n;
	return (ssize_t)n;
}

static void sock_write(struct sock *s, const char *bytes, size_t n)
{
	if (s->out_n + n > s->out_cap) {
		s->out_cap = (s->out_n + n) * 2;
		s->out = realloc(s->out, s->out_cap);
		if (!s->out) abort();
	}
	memcpy(s->out + s->out_n, bytes, n);
	s->out_n += n;
	if (s->window != SIZE_MAX) s->window -= n;
}

ssize_t io_writev(int fd, const struct iovec *iov, int count)
{
	struct sock *s = fake_sock(fd);
	assert(!s->closed && !s->pending && !s->shut && count > 0);
	s->writes++;
	if (s->error) return fail(s->error);
	size_t room = s->window, sent = 0;
	if (s->write_max && room > s->write_max) room = s->write_max;
	if (room == 0) return fail(EAGAIN);
	for (int i = 0; i < count && room > 0; i++) {
		size_t n = iov[i].iov_len < room ? iov[i].iov_len : room;
		assert(iov[i].iov_len > 0);
		sock_write(s, iov[i].iov_base, n);
		room -= n;
		sent += n;
	}
	return (ssize_t)sent;
}

int io_connect(const struct sockaddr *addr, socklen_t len, bool keepalive, bool *pending_out)
{
	(void)keepalive;
	struct sockaddr_in in;
	assert(addr->sa_family == AF_INET && len >= sizeof(in));
	memcpy(&in, addr, sizeof(in));
	uint16_t port = ntohs(in.sin_port);
	enum fake_accept how = fake_accept_of(port);
	if (how == ACCEPT_REFUSE_AT_ONCE) return (int)fail(ECONNREFUSED);
	if (how == ACCEPT_NO_FD) return (int)fail(EMFILE);
	struct sock *s = fake_sock_new();
	s->port = port;
	*pending_out = s->pending = how != ACCEPT_AT_ONCE;
	s->never = how == ACCEPT_NEVER;
	s->connect_error = how == ACCEPT_REFUSE ? ECONNREFUSED : 0;
	return s->fd;
}

int io_connect_result(int fd)
{
	struct sock *s = fake_sock(fd);
	assert(!s->closed);
	s->pending = false;
	return s->connect_error;
}

void io_shutdown_write(int fd)
{
	struct sock *s = fake_sock(fd);
	assert(!s->closed);
	s->shut = true;
}

void io_close(int fd)
{
	struct sock *s = fake_sock(fd);
	assert(!s->closed);
	s->closed = true;
}
