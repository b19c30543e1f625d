#include "agent/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
	struct child_events events; /* zeros: nobody wants to know */
	pid_t pid;		    /* also its process group */
	int pidfd, out_fd;
	struct io_watch exit, out;
};

enum { CHILD_FREE_WAIT_MS = 1000 };

/* --- from the loop ---------------------------------------------------------------------------- */

static void child_on_output(int fd, short what, void *owner)
{
	(void)what;
	struct child *c = owner;
	char chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk)); /* no socket */
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n <= 0) io_watch_set(&c->out, IO_NONE);
	else if (c->events.on_output) c->events.on_output(c->events.ctx, chunk, (size_t)n);
}

static void child_clear(struct child *c)
{
	io_watch_stop(&c->exit);
	io_watch_stop(&c->out);
	io_close(c->pidfd);
	io_close(c->out_fd);
	free(c);
}

static void child_on_exit(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct child *c = owner;
	int status;
	/* While it is not reaped its group's id cannot be another's. Its children go, too. */
	kill(-c->pid, SIGKILL);
	if (waitpid(c->pid, &status, WNOHANG) != c->pid) return;
	child_on_output(c->out_fd, IO_READ, c);
	struct child_events events = c->events;
	child_clear(c);
	if (events.on_exit) events.on_exit(events.ctx, status);
}

/* --- start ------------------------------------------------------------------------------------ */

static int child_spawn(char *const argv[], int out_fd, pid_t *pid_out)
{
	posix_spawnattr_t attr;
	posix_spawn_file_actions_t files;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
					    POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out_fd, 1);
	posix_spawn_file_actions_adddup2(&files, out_fd, 2);
	int e = posix_spawn(pid_out, argv[0], &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return e;
}

/* Also the descriptor that tells of its end. */
static int child_spawn_watched(char *const argv[], int out_fd, pid_t *pid_out, int *pidfd_out)
{
	int e = child_spawn(argv, out_fd, pid_out);
	if (e) return e;
	*pidfd_out = pidfd_open(*pid_out, 0);
	if (*pidfd_out >= 0) return 0;
	e = errno;
	kill(-*pid_out, SIGKILL);
	waitpid(*pid_out, NULL, 0);
	return e;
}

int child_start(struct io_loop *l, char *const argv[], const struct child_events *events,
		struct child **child_out)
{
	int out[2], pidfd = -1;
	pid_t pid;
	*child_out = NULL;
	if (pipe2(out, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
	int e = child_spawn_watched(argv, out[1], &pid, &pidfd);
	io_close(out[1]);
	if (e) {
		io_close(out[0]);
		return e;
	}
	struct child *c = calloc(1, sizeof(*c));
	if (!c) abort();
	*c = (struct child){ .events = *events, .pid = pid, .pidfd = pidfd, .out_fd = out[0] };
	io_watch_init(&c->exit, l, pidfd, child_on_exit, c);
	io_watch_init(&c->out, l, out[0], child_on_output, c);
	io_watch_set(&c->exit, IO_READ);
	io_watch_set(&c->out, IO_READ);
	*child_out = c;
	return 0;
}

/* --- end -------------------------------------------------------------------------------------- */

void child_kill(struct child *c)
{
	kill(-c->pid, SIGKILL);
}

void child_forget(struct child **c)
{
	if (!*c) return;
	(*c)->events = (struct child_events){ 0 };
	io_watch_set(&(*c)->out, IO_NONE);
	child_kill(*c);
	*c = NULL;
}

void child_free(struct child **c)
{
	if (!*c) return;
	struct pollfd gone = { .fd = (*c)->pidfd, .events = POLLIN };
	child_kill(*c);
	poll(&gone, 1, CHILD_FREE_WAIT_MS);
	waitpid((*c)->pid, NULL, WNOHANG);
	child_clear(*c);
	*c = NULL;
}
