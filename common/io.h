/* io.h - the one seam between the data path and the kernel: readiness, timers, reads, writes.
 *
 * Everything a worker does to a descriptor goes through here, so that a simulation can link another
 * io.c with scripted sockets and a fake clock, and so that TLS has one place to go. epoll(7) and
 * one timerfd(2) underneath; whoever needs libevent's bufferevents, its HTTP or its DNS asks the
 * loop for a base, which then has the loop's descriptor among its own.
 *
 * Threads: a loop and all its watches and timers belong to one thread.
 * Lifetimes: watches and timers are embedded in their owner. After io_watch_stop() the callback may
 * still run once in the same turn of the loop: free the owner after the turn.
 */
#ifndef TWINRING_COMMON_IO_H
#define TWINRING_COMMON_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/tree.h>
#include <sys/types.h>
#include <sys/uio.h>

struct event;
struct event_base;
struct io_loop;

enum io_want {
	IO_NONE = 0,
	IO_READ = 1,
	IO_WRITE = 2,
	/* Beside the others: tell of an arrival once, not for as long as it has not been read. The
	 * kernel need not look at every socket twice then. Whoever wants this reads until a read
	 * comes back short, or asks by io_watch_again(). epoll(7), question 9. */
	IO_EDGE = 4,
	/* Only told, and only to them: after what can be read comes an end or an error, of which
	 * there will be no word again. Read until you meet it. */
	IO_END = 8,
};

enum { IO_EVENTS = 256 /* of one turn */ };

/* what: IO_READ, IO_WRITE or both; IO_END with them. */
typedef void (*io_fn)(int fd, short what, void *owner);

struct io_watch {
	struct io_loop *loop;
	io_fn fn;
	void *owner;
	int fd;
	short want;
};

struct io_timer {
	RB_ENTRY(io_timer) at;
	struct io_loop *loop;
	io_fn fn;
	void *owner;
	uint64_t due_us, seq; /* seq: in which order they were set */
	bool armed;
};
RB_HEAD(io_timers, io_timer);

struct io_loop {
	int fd, timer_fd;
	struct io_timers timers;
	uint64_t timer_us; /* when timer_fd wakes us; 0: it will not */
	uint64_t seq;
	bool due;		 /* it did, in this turn                          */
	struct event_base *base; /* or NULL: nobody has asked for it             */
	struct event *nested;	 /* wakes the base for what happens here          */
	int count, next;	 /* events of this turn, and which comes after    */
	struct epoll_event events[IO_EVENTS];
};

bool io_loop_init(struct io_loop *l);
void io_loop_fini(struct io_loop *l);
/* Wait for events, run their callbacks once, return. */
void io_loop_turn(struct io_loop *l);
/* A base of libevent's that this loop turns with; made when first asked for, freed with it. */
struct event_base *io_loop_base(struct io_loop *l);

/* Bind without watching yet. */
void io_watch_init(struct io_watch *w, struct io_loop *l, int fd, io_fn fn, void *owner);
/* Wait for exactly these (IO_NONE: for nothing). Cheap when nothing changes. */
void io_watch_set(struct io_watch *w, short want);
/* With IO_EDGE: there may be more to read. Tell in the next turn if there is. */
void io_watch_again(struct io_watch *w);
void io_watch_stop(struct io_watch *w);
int io_watch_fd(const struct io_watch *w);

void io_timer_init(struct io_timer *t, struct io_loop *l, io_fn fn, void *owner);
/* Fire once, `us` from now; replaces an earlier setting. */
void io_timer_set(struct io_timer *t, uint64_t us);
bool io_timer_armed(const struct io_timer *t);
void io_timer_stop(struct io_timer *t);

/* As the system calls: -1 and errno on failure. */
ssize_t io_read(int fd, void *to, size_t n);
ssize_t io_writev(int fd, const struct iovec *iov, int count);
/* A connected or connecting non-blocking socket, or -1 and errno. *pending_out: not yet connected;
 * wait for IO_WRITE and ask io_connect_result(). */
int io_connect(const struct sockaddr *addr, socklen_t len, bool keepalive, bool *pending_out);
/* 0, or the errno that the connection attempt ended in. */
int io_connect_result(int fd);
/* Send no more; the peer reads to the end. */
void io_shutdown_write(int fd);
void io_close(int fd);

#endif
