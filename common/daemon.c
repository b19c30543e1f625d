#include "common/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long a process that only tests a lock may take for it. */
enum { LOOKER_WAIT_MS = 100 };

static enum err daemon_fail(const char *where, const char *what, struct err_at *where_out)
{
	snprintf(where_out->where, sizeof(where_out->where), "%s", where);
	snprintf(where_out->why, sizeof(where_out->why), "%s: %s", what, strerror(errno));
	return ERR_IO;
}

/* --- background ------------------------------------------------------------------------------- */

/* In the process that was started: wait for the daemon's byte, or for its end. */
static _Noreturn void daemon_wait(int fd, pid_t child)
{
	char byte = 1;
	ssize_t n;
	int status;
	do n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	waitpid(child, &status, 0); /* the middle process: gone at once */
	_exit(n == 1 ? 0 : 1);
}

enum err daemon_detach(int *ready_fd_out, struct err_at *where_out)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) != 0) return daemon_fail("daemon", "pipe", where_out);
	pid_t child = fork();
	if (child < 0) {
		enum err e = daemon_fail("daemon", "fork", where_out);
		close(p[0]);
		close(p[1]);
		return e;
	}
	if (child > 0) {
		close(p[1]);
		daemon_wait(p[0], child);
	}
	close(p[0]);
	/* A second fork, so that the daemon leads no session and never gets a terminal. */
	if (setsid() < 0 || (child = fork()) < 0) {
		perror("daemon");
		_exit(1);
	}
	if (child > 0) _exit(0);
	*ready_fd_out = p[1];
	return ERR_NONE;
}

void daemon_ready(int *ready_fd)
{
	if (*ready_fd < 0) return;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		for (int fd = 0; fd <= 2; fd++) dup2(null, fd);
		if (null > 2) close(null);
	}
	ssize_t n = write(*ready_fd, "", 1);
	(void)n; /* nobody waits any more: nothing to tell */
	close(*ready_fd);
	*ready_fd = -1;
}

/* --- lock files ------------------------------------------------------------------------------- */

static enum err lock_held(const char *path, int fd, struct err_at *where_out)
{
	char pid[16] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
	pid[n > 0 ? strspn(pid, "0123456789") : 0] = 0;
	snprintf(where_out->where, sizeof(where_out->where), "%s", path);
	snprintf(where_out->why, sizeof(where_out->why), "held by process %s",
		 *pid ? pid : "(unknown)");
	return ERR_IO;
}

/* Is what we locked still what the path names? Its last holder may have removed it meanwhile. */
static bool lock_is_current(const char *path, int fd)
{
	struct stat ours, theirs;
	return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
	       ours.st_dev == theirs.st_dev;
}

/* Whoever only looks whether the lock is held has it in shared mode meanwhile, for microseconds.
 * As for flock(): 0, or -1 and errno. */
static int lock_exclusive(int fd)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	for (int tries = LOOKER_WAIT_MS; flock(fd, LOCK_EX | LOCK_NB) != 0; tries--) {
		if (errno != EWOULDBLOCK || tries == 0) return -1;
		if (flock(fd, LOCK_SH | LOCK_NB) != 0) return -1; /* held for good */
		flock(fd, LOCK_UN);
		nanosleep(&pause, NULL);
	}
	return 0;
}

enum err lock_file_take(const char *path, struct lock_file *out, struct err_at *where_out)
{
	enum err e;
	*out = LOCK_FILE_NONE;
	for (;;) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0) return daemon_fail(path, "open", where_out);
		if (lock_exclusive(fd) != 0) {
			e = errno == EWOULDBLOCK ? lock_held(path, fd, where_out)
						 : daemon_fail(path, "flock", where_out);
			close(fd);
			return e;
		}
		if (lock_is_current(path, fd)) {
			out->fd = fd;
			break;
		}
		close(fd);
	}
	out->path = strdup(path);
	if (out->path) return ERR_NONE;
	errno = ENOMEM;
	e = daemon_fail(path, "lock", where_out);
	close(out->fd);
	*out = LOCK_FILE_NONE;
	return e;
}

enum err lock_file_write_pid(const struct lock_file *l, struct err_at *where_out)
{
	char pid[16];
	int n = snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(l->fd, 0) != 0 || pwrite(l->fd, pid, (size_t)n, 0) != n)
		return daemon_fail(l->path, "write", where_out);
	return ERR_NONE;
}

void lock_file_release(struct lock_file *l)
{
	if (l->fd < 0) return;
	if (lock_is_current(l->path, l->fd)) unlink(l->path); /* first, while nobody else has it */
	close(l->fd);
	free(l->path);
	*l = LOCK_FILE_NONE;
}

/* --- systemd ---------------------------------------------------------------------------------- */

bool daemon_notify(const char *state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;
	if (n < 2 || n >= sizeof(un.sun_path) || (path[0] != '/' && path[0] != '@')) return false;
	memcpy(un.sun_path, path, n);
	if (path[0] == '@') un.sun_path[0] = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) return false;
	ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
	return sent >= 0;
}

uint64_t daemon_watchdog_us(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	if (!us || (pid && strtol(pid, NULL, 10) != getpid())) return 0;
	return strtoull(us, NULL, 10);
}

int daemon_take_signals(const int *signals, size_t count)
{
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < count; i++) sigaddset(&set, signals[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* --- limits ----------------------------------------------------------------------------------- */

uint64_t daemon_raise_nofile(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r); /* what is in force is what we report */
	}
	return daemon_nofile();
}

uint64_t daemon_nofile(void)
{
	struct rlimit r;
	return getrlimit(RLIMIT_NOFILE, &r) == 0 ? r.rlim_cur : 1024;
}
