/* io.h - the one seam between the data path and the kernel: readiness, timers, reads, writes.
 *
 * Everything a worker does to a descriptor goes through here, so that a simulation can link another
 * io.c with scripted sockets and a fake clock, and so that TLS has one place to go. libevent's
 * plain events underneath, never bufferevents.
 *
 * Threads: a loop and all its watches and timers belong to one thread.
 * Lifetimes: watches and timers are embedded in their owner. After io_watch_stop() the callback may
 * still run once in the same turn of the loop: free the owner after the turn.
 */
#ifndef TWINRING_COMMON_IO_H
#define TWINRING_COMMON_IO_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

enum io_want { IO_NONE = 0, IO_READ = EV_READ, IO_WRITE = EV_WRITE };

struct io_loop {
	struct event_base *base;
};

/* what: IO_READ, IO_WRITE or both. */
typedef void (*io_fn)(int fd, short what, void *owner);

struct io_watch {
	struct event ev;
};

struct io_timer {
	struct event ev;
};

bool io_loop_init(struct io_loop *l);
void io_loop_fini(struct io_loop *l);
/* Wait for events, run their callbacks once, return. */
void io_loop_turn(struct io_loop *l);

/* Bind without watching yet. */
void io_watch_init(struct io_watch *w, struct io_loop *l, int fd, io_fn fn, void *owner);
/* Wait for exactly these (IO_NONE: for nothing). Cheap when nothing changes. */
void io_watch_set(struct io_watch *w, short want);
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
