/* fake.h - servers for the tests of probes: scripted ones on the test's own loop, and real ones.
 *
 * Everything is on loopback, on ports that the kernel chose.
 */
#ifndef TWINRING_TESTS_UNIT_AGENT_FAKE_H
#define TWINRING_TESTS_UNIT_AGENT_FAKE_H

#include <arpa/inet.h>
#include <check.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/io.h"

enum { FAKE_CONNS = 64, FAKE_REPLIES = 6 };

struct fake_conn {
	struct fake *fake;
	struct io_watch watch;
	int fd; /* 0: unused */
	int step;
};

/* Answers the n-th thing it reads on a connection with the n-th reply; silent when that is NULL. */
struct fake {
	struct io_loop *loop;
	struct io_watch watch;
	int fd; /* 0: not listening */
	uint16_t port;
	const char *replies[FAKE_REPLIES];
	const char *welcome; /* said at once, or NULL */
	bool hang_up;	     /* on whoever connects   */
	bool silent;
	unsigned accepted;
	char got[8192]; /* all that was ever read, NUL-terminated */
	size_t got_n;
	struct fake_conn conns[FAKE_CONNS];
};

static inline void fake_say(int fd, const char *text)
{
	ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL);
	(void)n;
}

static inline void fake_close(struct fake_conn *c)
{
	if (!c->fd) return;
	io_watch_stop(&c->watch);
	close(c->fd);
	c->fd = 0;
}

static inline void fake_on_data(int fd, short what, void *owner)
{
	(void)what;
	struct fake_conn *c = owner;
	struct fake *f = c->fake;
	char data[4096];
	ssize_t n = read(fd, data, sizeof(data));
	if (n <= 0) {
		fake_close(c);
		return;
	}
	if (f->got_n + (size_t)n < sizeof(f->got)) {
		memcpy(f->got + f->got_n, data, (size_t)n);
		f->got_n += (size_t)n;
	}
	if (f->silent || c->step >= FAKE_REPLIES) return;
	const char *reply = f->replies[c->step++];
	if (reply) fake_say(fd, reply);
}

static inline void fake_on_accept(int fd, short what, void *owner)
{
	(void)what;
	struct fake *f = owner;
	int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (conn < 0) return;
	f->accepted++;
	struct fake_conn *c = f->conns;
	while (c < f->conns + FAKE_CONNS && c->fd) c++;
	if (f->hang_up || c == f->conns + FAKE_CONNS) {
		close(conn);
		return;
	}
	*c = (struct fake_conn){ .fake = f, .fd = conn };
	if (f->welcome) fake_say(conn, f->welcome);
	io_watch_init(&c->watch, f->loop, conn, fake_on_data, c);
	io_watch_set(&c->watch, IO_READ);
}

/* A bound socket of loopback; *port_inout 0: whichever is free. */
static inline int fake_bind(uint16_t *port_inout)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(*port_inout) };
	socklen_t len = sizeof(in);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	getsockname(fd, (struct sockaddr *)&in, &len);
	*port_inout = ntohs(in.sin_port);
	return fd;
}

/* Listen, on the port it had before if it had one. */
static inline void fake_up(struct fake *f, struct io_loop *l)
{
	f->loop = l;
	f->fd = fake_bind(&f->port);
	ck_assert_int_eq(listen(f->fd, 64), 0);
	io_watch_init(&f->watch, l, f->fd, fake_on_accept, f);
	io_watch_set(&f->watch, IO_READ);
}

/* Nobody listens there any more. */
static inline void fake_down(struct fake *f)
{
	if (!f->fd) return;
	io_watch_stop(&f->watch);
	close(f->fd);
	f->fd = 0;
	for (int i = 0; i < FAKE_CONNS; i++) fake_close(&f->conns[i]);
}

/* --- real ones -------------------------------------------------------------------------------- */

struct real {
	pid_t pid;
	uint16_t port;
};

static inline bool real_answers(uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0;
	close(fd);
	return ok;
}

/* argv with NULL where the port goes. */
static inline void real_start(struct real *r, char **argv, int port_at)
{
	char port[8];
	posix_spawn_file_actions_t files;
	close(fake_bind(&r->port));
	snprintf(port, sizeof(port), "%u", r->port);
	argv[port_at] = port;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 1, "/dev/null", 1 /* O_WRONLY */, 0);
	ck_assert_int_eq(posix_spawnp(&r->pid, argv[0], &files, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&files);
	for (int i = 0; i < 1000 && !real_answers(r->port); i++) usleep(10000);
	ck_assert(real_answers(r->port));
}

static inline void real_memcached(struct real *r)
{
	struct passwd *me = getpwuid(geteuid());
	char *argv[] = {
		"memcached", "-l", "127.0.0.1", "-U", "0", "-u", me ? me->pw_name : "nobody",
		"-t",	     "1",  "-p",	NULL, NULL
	};
	real_start(r, argv, 10);
}

static inline void real_redis(struct real *r, const char *password)
{
	char *argv[] = { "redis-server", "--bind",	  "127.0.0.1",	    "--save", "",   "--dir",
			 "/tmp",	 "--requirepass", (char *)password, "--port", NULL, NULL };
	real_start(r, argv, 10);
}

static inline void real_stop(struct real *r)
{
	if (r->pid <= 0) return;
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	r->pid = 0;
}

#endif
