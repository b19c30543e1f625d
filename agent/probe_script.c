#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/probe_impl.h"

/* A running script. It lives until it is reaped, which may be after its probe. */
struct script {
	struct probe *probe; /* NULL: nobody wants to know any more */
	pid_t pid;	     /* also its process group              */
	int pidfd, out_fd;
	struct io_watch exit, out;
	char line[PROBE_WHY_MAX]; /* the first that it prints */
	size_t n;
	bool line_ended;
};

/* --- what it says ----------------------------------------------------------------------------- */

static void script_take(struct script *s, const char *data, size_t n)
{
	for (size_t i = 0; i < n && !s->line_ended; i++) {
		s->line_ended = data[i] == '\n';
		if (!s->line_ended && s->n < sizeof(s->line) - 1) s->line[s->n++] = data[i];
	}
}

static void script_on_output(int fd, short what, void *owner)
{
	(void)what;
	struct script *s = owner;
	char chunk[4096];
	ssize_t n = io_read(fd, chunk, sizeof(chunk));
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n > 0) script_take(s, chunk, (size_t)n);
	else io_watch_set(&s->out, IO_NONE);
}

/* --- its end ---------------------------------------------------------------------------------- */

static void script_free(struct script *s)
{
	io_watch_stop(&s->exit);
	io_watch_stop(&s->out);
	io_close(s->pidfd);
	io_close(s->out_fd);
	free(s);
}

static void script_judge(struct script *s, int status)
{
	char *how = s->line;
	char code[48];
	if (s->n == 0) {
		how = code;
		if (WIFSIGNALED(status))
			snprintf(code, sizeof(code), "the script died of signal %d",
				 WTERMSIG(status));
		else snprintf(code, sizeof(code), "the script exited with %d", WEXITSTATUS(status));
	}
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	probe_finish(s->probe, good ? PROBE_GOOD : PROBE_ILL, "%s", how);
}

static void script_on_exit(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct script *s = owner;
	int status;
	/* While it is not reaped its group's id cannot be another's. Its children go, too. */
	kill(-s->pid, SIGKILL);
	if (waitpid(s->pid, &status, WNOHANG) != s->pid) return;
	script_on_output(s->out_fd, IO_READ, s);
	if (s->probe) {
		script_judge(s, status);
		s->probe->own = NULL;
	}
	script_free(s);
}

/* --- its start -------------------------------------------------------------------------------- */

static int script_spawn(const struct probe_target *t, int out_fd, pid_t *pid_out)
{
	char port[8];
	snprintf(port, sizeof(port), "%u", t->port);
	char *argv[] = { (char *)t->script,
			 (char *)t->host,
			 port,
			 (char *)(t->pool ? t->pool : ""),
			 (char *)(t->server ? t->server : ""),
			 NULL };
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
	int e = posix_spawn(pid_out, t->script, &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return e;
}

static void script_start(struct probe *p)
{
	int out[2];
	pid_t pid;
	p->doing = "script";
	if (pipe2(out, O_CLOEXEC | O_NONBLOCK) != 0) {
		probe_finish(p, PROBE_UNKNOWN, "script: %s", strerror(errno));
		return;
	}
	int e = script_spawn(&p->target, out[1], &pid);
	io_close(out[1]);
	int pidfd = e ? -1 : pidfd_open(pid, 0);
	if (pidfd < 0) {
		if (!e) {
			e = errno;
			kill(-pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		io_close(out[0]);
		probe_finish(p, PROBE_UNKNOWN, "%s: %s", p->target.script, strerror(e));
		return;
	}
	struct script *s = calloc(1, sizeof(*s));
	if (!s) abort();
	*s = (struct script){ .probe = p, .pid = pid, .pidfd = pidfd, .out_fd = out[0] };
	p->own = s;
	io_watch_init(&s->exit, p->loop, pidfd, script_on_exit, s);
	io_watch_init(&s->out, p->loop, out[0], script_on_output, s);
	io_watch_set(&s->exit, IO_READ);
	io_watch_set(&s->out, IO_READ);
}

static void script_stop(struct probe *p)
{
	struct script *s = p->own;
	if (!s) return;
	s->probe = NULL;
	io_watch_set(&s->out, IO_NONE);
	kill(-s->pid, SIGKILL);
}

const struct probe_ops probe_script_ops = { false, script_start, script_stop };
