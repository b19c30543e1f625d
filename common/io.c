#include "common/io.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"

enum { US_PER_S = 1000000 };

/* --- timers ----------------------------------------------------------------------------------- */

static int timer_cmp(const struct io_timer *a, const struct io_timer *b)
{
	if (a->due_us != b->due_us) return a->due_us < b->due_us ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

RB_GENERATE_INTERNAL(io_timers, io_timer, at, timer_cmp, __attribute__((unused)) static)

/* A wake-up that came too early costs less than to put off each one that is not needed. */
static void loop_set_wake(struct io_loop *l)
{
	const struct io_timer *first = RB_MIN(io_timers, &l->timers);
	if (!first || (l->timer_us && l->timer_us <= first->due_us)) return;
	uint64_t us = first->due_us ? first->due_us : 1; /* 0 would disarm it */
	struct itimerspec at = { .it_value = { .tv_sec = (time_t)(us / US_PER_S),
					       .tv_nsec = (long)(us % US_PER_S) * 1000 } };
	if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0) abort();
	l->timer_us = us;
}

void io_timer_init(struct io_timer *t, struct io_loop *l, io_fn fn, void *owner)
{
	*t = (struct io_timer){ .loop = l, .fn = fn, .owner = owner };
}

void io_timer_set(struct io_timer *t, uint64_t us)
{
	struct io_loop *l = t->loop;
	io_timer_stop(t);
	t->due_us = clock_now_us() + us;
	t->seq = ++l->seq;
	t->armed = true;
	RB_INSERT(io_timers, &l->timers, t);
	if (!l->due) loop_set_wake(l);
}

bool io_timer_armed(const struct io_timer *t)
{
	return t->armed;
}

void io_timer_stop(struct io_timer *t)
{
	if (t->armed) RB_REMOVE(io_timers, &t->loop->timers, t);
	t->armed = false;
}

/* Those that are due, but not those that are set meanwhile: a timer of 0 us would never end. */
static void loop_run_timers(struct io_loop *l)
{
	const uint64_t now_us = clock_now_us(), seq = l->seq;
	struct io_timer *t;
	while ((t = RB_MIN(io_timers, &l->timers)) && t->due_us <= now_us && t->seq <= seq) {
		io_timer_stop(t);
		t->fn(-1, 0, t->owner);
	}
	l->due = false;
	l->timer_us = 0;
	loop_set_wake(l);
}

/* --- watches ---------------------------------------------------------------------------------- */

void io_watch_init(struct io_watch *w, struct io_loop *l, int fd, io_fn fn, void *owner)
{
	*w = (struct io_watch){ .loop = l, .fn = fn, .owner = owner, .fd = fd };
}

/* Who lets a library open and close descriptors (curl) may be mistaken about what the kernel knows.
 * What is not watched would be forgotten for ever. */
static void watch_tell_kernel(struct io_watch *w, int op)
{
	struct epoll_event e = { .data.ptr = w };
	if (w->want & IO_READ) e.events |= EPOLLIN;
	if (w->want & IO_WRITE) e.events |= EPOLLOUT;
	if (w->want & IO_EDGE) e.events |= EPOLLET | EPOLLRDHUP;
	if (epoll_ctl(w->loop->fd, op, w->fd, &e) == 0) return;
	if (op == EPOLL_CTL_ADD && errno == EEXIST) op = EPOLL_CTL_MOD;
	else if (op == EPOLL_CTL_MOD && errno == ENOENT) op = EPOLL_CTL_ADD;
	else if (op != EPOLL_CTL_DEL) abort();
	if (op != EPOLL_CTL_DEL && epoll_ctl(w->loop->fd, op, w->fd, &e) != 0) abort();
}

/* It may be among the events of this turn, and its owner free to go. */
static void loop_forget(struct io_loop *l, const struct io_watch *w)
{
	for (int i = l->next; i < l->count; i++)
		if (l->events[i].data.ptr == w) l->events[i].data.ptr = NULL;
}

void io_watch_set(struct io_watch *w, short want)
{
	if (want == w->want) return;
	int op = want == IO_NONE      ? EPOLL_CTL_DEL
		 : w->want == IO_NONE ? EPOLL_CTL_ADD
				      : EPOLL_CTL_MOD;
	w->want = want;
	watch_tell_kernel(w, op);
	if (want == IO_NONE) loop_forget(w->loop, w);
}

void io_watch_again(struct io_watch *w)
{
	if (w->want & IO_EDGE) watch_tell_kernel(w, EPOLL_CTL_MOD);
}

void io_watch_stop(struct io_watch *w)
{
	io_watch_set(w, IO_NONE);
}

int io_watch_fd(const struct io_watch *w)
{
	return w->fd;
}

/* --- the loop --------------------------------------------------------------------------------- */

bool io_loop_init(struct io_loop *l)
{
	/* The timer's event is the one whose owner is the loop. It is not read: set again, it wakes
	 * us again. */
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.ptr = l };
	*l = (struct io_loop){ .timers = RB_INITIALIZER(&l->timers) };
	l->fd = epoll_create1(EPOLL_CLOEXEC);
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->fd >= 0 && l->timer_fd >= 0 && epoll_ctl(l->fd, EPOLL_CTL_ADD, l->timer_fd, &e) == 0)
		return true;
	io_loop_fini(l);
	return false;
}

void io_loop_fini(struct io_loop *l)
{
	if (l->nested) event_free(l->nested);
	if (l->base) event_base_free(l->base);
	if (l->fd > 0) close(l->fd);
	if (l->timer_fd > 0) close(l->timer_fd);
	*l = (struct io_loop){ .fd = -1, .timer_fd = -1 };
}

static short watch_news(const struct io_watch *w, uint32_t events)
{
	short what = 0;
	if (events & EPOLLIN) what |= IO_READ;
	if (events & EPOLLOUT) what |= IO_WRITE;
	if (events & EPOLLRDHUP) what |= IO_READ | IO_END;
	if (events & (EPOLLHUP | EPOLLERR)) what |= IO_READ | IO_WRITE | IO_END;
	what &= (short)(w->want | IO_END);
	return w->want & IO_EDGE ? what : (short)(what & ~IO_END);
}

/* wait_ms: -1: until something happens. */
static void loop_dispatch(struct io_loop *l, int wait_ms)
{
	l->count = epoll_wait(l->fd, l->events, IO_EVENTS, wait_ms);
	l->next = 0;
	while (l->next < l->count) {
		const struct epoll_event *e = &l->events[l->next++];
		struct io_watch *w = e->data.ptr;
		if (e->data.ptr == l) l->due = true;
		if (e->data.ptr == l || !w) continue;
		short what = watch_news(w, e->events);
		if (what & (IO_READ | IO_WRITE)) w->fn(w->fd, what, w->owner);
	}
	if (l->due) loop_run_timers(l);
}

static void loop_on_nested(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	loop_dispatch(owner, 0);
}

struct event_base *io_loop_base(struct io_loop *l)
{
	if (l->base) return l->base;
	struct event_config *config = event_config_new();
	if (!config) abort();
	/* One thread per base: libevent's locks would only cost. */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	l->base = event_base_new_with_config(config);
	event_config_free(config);
	if (l->base) l->nested = event_new(l->base, l->fd, EV_READ | EV_PERSIST, loop_on_nested, l);
	if (!l->nested || event_add(l->nested, NULL) != 0) abort();
	return l->base;
}

void io_loop_turn(struct io_loop *l)
{
	if (l->base) event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
	else loop_dispatch(l, -1);
}

/* --- reads and writes ------------------------------------------------------------------------- */

/* No thread of ours is ever cancelled, and the library's functions would make ready for it at every
 * call. Sanitizers watch the library's functions only. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SYSCALL(name, ...) name(__VA_ARGS__)
#else
#define SYSCALL(name, ...) syscall(SYS_##name, __VA_ARGS__)
#endif

ssize_t io_read(int fd, void *to, size_t n)
{
	return SYSCALL(recvfrom, fd, to, n, 0, NULL, NULL);
}

ssize_t io_writev(int fd, const struct iovec *iov, int count)
{
	if (count == 1)
		return SYSCALL(sendto, fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL, NULL, 0);
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };
	return SYSCALL(sendmsg, fd, &m, MSG_NOSIGNAL);
}

/* --- connecting and closing ------------------------------------------------------------------- */

/* Small packets at once; a peer that vanished without a word is noticed within ten seconds. */
static void io_tune(int fd, int family, bool keepalive)
{
	if (family == AF_UNIX) return;
	int on = 1, user_timeout_ms = 10000, idle_s = 5, interval_s = 2, count = 3;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
	if (!keepalive) return;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

int io_connect(const struct sockaddr *addr, socklen_t len, bool keepalive, bool *pending_out)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) return -1;
	io_tune(fd, addr->sa_family, keepalive);
	*pending_out = false;
	if (connect(fd, addr, len) == 0) return fd;
	if (errno == EINPROGRESS) {
		*pending_out = true;
		return fd;
	}
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}

int io_connect_result(int fd)
{
	int why = 0;
	socklen_t len = sizeof(why);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0) return errno;
	return why;
}

void io_shutdown_write(int fd)
{
	shutdown(fd, SHUT_WR);
}

void io_close(int fd)
{
	close(fd);
}
