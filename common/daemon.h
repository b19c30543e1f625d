/* daemon.h - being a well-behaved background process: fork, pid file, lock, systemd, limits.
 *
 * Threads: main only, and daemon_detach() before any other thread exists.
 */
#ifndef TWINRING_COMMON_DAEMON_H
#define TWINRING_COMMON_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Go to the background. The caller's process stays behind and exits 0 once daemon_ready() is
 * called, or 1 if the daemon ends before that, so that a failed start is a failed command. Returns
 * in the daemon only (its own session, not its leader), or in the caller when fork() failed.
 * stderr stays open until daemon_ready(), for messages. */
enum err daemon_detach(int *ready_fd_out, struct err_at *where_out);

/* Tell whoever waits in daemon_detach(), detach the standard streams to /dev/null, close *ready_fd
 * and set it to -1. No-op when it is -1 (foreground). */
void daemon_ready(int *ready_fd);

/* A file that this process holds a lock on while it lives. */
struct lock_file {
	char *path;
	int fd; /* -1: none */
};

#define LOCK_FILE_NONE ((struct lock_file){ .fd = -1 })

/* Create the file if need be and lock it; ERR_IO with "held by process N" when another lives. The
 * kernel lets go of the lock on any death. Others may test it with flock(LOCK_SH | LOCK_NB) at any
 * moment: that is waited for, up to 0.1 s. */
enum err lock_file_take(const char *path, struct lock_file *out, struct err_at *where_out);
/* Put our process id in it: makes a lock file a pid file. */
enum err lock_file_write_pid(const struct lock_file *l, struct err_at *where_out);
/* Remove the file and let go. No-op for LOCK_FILE_NONE. */
void lock_file_release(struct lock_file *l);

/* Send systemd a message, such as "READY=1" or "STATUS=...". false: nobody wants to know. */
bool daemon_notify(const char *state);
/* How often systemd wants "WATCHDOG=1" at the latest; 0: never. */
uint64_t daemon_watchdog_us(void);
/* From now on these signals are read from the descriptor (signalfd(2)), in every thread that is
 * started later, and SIGPIPE is ignored. -1: errno. The caller closes it. */
int daemon_take_signals(const int *signals, size_t count);

/* Raise the soft limit of descriptors to the hard one; returns what it is then. */
uint64_t daemon_raise_nofile(void);
uint64_t daemon_nofile(void);

#endif
