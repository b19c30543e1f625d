#include "common/io.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

bool io_loop_init(struct io_loop *l)
{
	struct event_config *config = event_config_new();
	if (!config) return false;
	/* One thread per base: libevent's locks would only cost. */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	l->base = event_base_new_with_config(config);
	event_config_free(config);
	return l->base != NULL;
}

void io_loop_fini(struct io_loop *l)
{
	if (l->base) event_base_free(l->base);
	l->base = NULL;
}

void io_loop_turn(struct io_loop *l)
{
	event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
}

void io_watch_init(struct io_watch *w, struct io_loop *l, int fd, io_fn fn, void *owner)
{
	event_assign(&w->ev, l->base, fd, EV_PERSIST, fn, owner);
}

void io_watch_set(struct io_watch *w, short want)
{
	short now = (short)(w->ev.ev_events & (EV_READ | EV_WRITE));
	bool added = event_pending(&w->ev, EV_READ | EV_WRITE, NULL) != 0;
	if (now == want && (added || want == IO_NONE)) return;
	if (added) event_del(&w->ev);
	event_assign(&w->ev, w->ev.ev_base, w->ev.ev_fd, (short)(want | EV_PERSIST),
		     w->ev.ev_evcallback.evcb_cb_union.evcb_callback, w->ev.ev_evcallback.evcb_arg);
	/* Fails for want of memory only; what is not watched would be forgotten for ever. */
	if (want != IO_NONE && event_add(&w->ev, NULL) != 0) abort();
}

void io_watch_stop(struct io_watch *w)
{
	event_del(&w->ev);
}

int io_watch_fd(const struct io_watch *w)
{
	return w->ev.ev_fd;
}

void io_timer_init(struct io_timer *t, struct io_loop *l, io_fn fn, void *owner)
{
	evtimer_assign(&t->ev, l->base, fn, owner);
}

void io_timer_set(struct io_timer *t, uint64_t us)
{
	struct timeval tv = { .tv_sec = (time_t)(us / 1000000), .tv_usec = (long)(us % 1000000) };
	if (evtimer_add(&t->ev, &tv) != 0) abort();
}

bool io_timer_armed(const struct io_timer *t)
{
	return evtimer_pending(&t->ev, NULL) != 0;
}

void io_timer_stop(struct io_timer *t)
{
	evtimer_del(&t->ev);
}

ssize_t io_read(int fd, void *to, size_t n)
{
	return read(fd, to, n);
}

ssize_t io_writev(int fd, const struct iovec *iov, int count)
{
	if (count == 1) return send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

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
