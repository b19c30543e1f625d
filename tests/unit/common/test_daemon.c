#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/daemon.h"

static char dir[64], path[96];
static struct err_at at;

static void setup(void)
{
	strcpy(dir, "/tmp/test_daemon.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/pid", dir);
}

static void teardown(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static int exit_status(pid_t child)
{
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* What the daemon of the next two tests reports through a pipe before it says that it is ready. */
struct identity {
	pid_t pid, session, group;
};

/* Start a daemon that becomes ready, or dies first. Returns what the command exits with. */
static int run_daemon(bool becomes_ready, struct identity *out)
{
	int p[2];
	ck_assert_int_eq(pipe(p), 0);
	pid_t child = fork();
	if (child == 0) {
		int ready = -1;
		if (daemon_detach(&ready, &at) != ERR_NONE) _exit(9);
		struct identity me = { getpid(), getsid(0), getpgrp() };
		if (write(p[1], &me, sizeof(me)) != sizeof(me)) _exit(8);
		if (!becomes_ready) _exit(1);
		daemon_ready(&ready);
		_exit(ready == -1 ? 0 : 7);
	}
	close(p[1]);
	int status = exit_status(child);
	ck_assert_int_eq(read(p[0], out, sizeof(*out)), sizeof(*out));
	ck_assert_int_ne(out->pid, child);
	close(p[0]);
	return status;
}

START_TEST(command_waits_for_the_daemon)
{
	struct identity id;
	ck_assert_int_eq(run_daemon(true, &id), 0);
	ck_assert_int_ne(id.session, getsid(0));
	ck_assert_int_ne(id.session, id.pid); /* not its leader */
	ck_assert_int_eq(id.session, id.group);
}
END_TEST

START_TEST(failed_start_is_a_failed_command)
{
	struct identity id;
	ck_assert_int_eq(run_daemon(false, &id), 1);
}
END_TEST

START_TEST(ready_in_the_foreground_is_nothing)
{
	int fd = -1;
	daemon_ready(&fd);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(pid_file_lives_with_the_process)
{
	struct lock_file l, other;
	char text[32] = "", want[32];
	ck_assert_int_eq(lock_file_take(path, &l, &at), ERR_NONE);
	ck_assert_int_eq(lock_file_write_pid(&l, &at), ERR_NONE);
	int fd = open(path, O_RDONLY);
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	snprintf(want, sizeof(want), "%d\n", getpid());
	ck_assert_str_eq(text, want);
	ck_assert_int_eq(lock_file_take(path, &other, &at), ERR_IO);
	ck_assert_int_eq(other.fd, -1);
	snprintf(want, sizeof(want), "held by process %d", getpid());
	ck_assert_str_eq(at.where, path);
	ck_assert_str_eq(at.why, want);
	lock_file_release(&other);
	lock_file_release(&l);
	lock_file_release(&l);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(stale_pid_file_is_taken_over)
{
	struct lock_file l;
	int fd = open(path, O_WRONLY | O_CREAT, 0644);
	ck_assert_int_eq(write(fd, "4000000 and more\n", 17), 17);
	close(fd);
	ck_assert_int_eq(lock_file_take(path, &l, &at), ERR_NONE);
	ck_assert_int_eq(lock_file_write_pid(&l, &at), ERR_NONE);
	char text[32] = "";
	ck_assert_int_lt(pread(l.fd, text, sizeof(text), 0), 17);
	lock_file_release(&l);
}
END_TEST

START_TEST(who_only_tests_the_lock_is_waited_for)
{
	struct lock_file l;
	int fd = open(path, O_RDWR | O_CREAT, 0644);
	ck_assert_int_eq(flock(fd, LOCK_SH), 0);
	pid_t child = fork(); /* shares the lock, and lets go of it last */
	if (child == 0) {
		usleep(20000);
		_exit(0);
	}
	close(fd);
	ck_assert_int_eq(lock_file_take(path, &l, &at), ERR_NONE);
	lock_file_release(&l);
	ck_assert_int_eq(exit_status(child), 0);
}
END_TEST

START_TEST(a_successors_file_is_left_alone)
{
	struct lock_file old, now;
	ck_assert_int_eq(lock_file_take(path, &old, &at), ERR_NONE);
	unlink(path);
	ck_assert_int_eq(lock_file_take(path, &now, &at), ERR_NONE);
	lock_file_release(&old);
	ck_assert_int_eq(access(path, F_OK), 0);
	lock_file_release(&now);
}
END_TEST

START_TEST(unwritable_path_is_an_error)
{
	struct lock_file l;
	ck_assert_int_eq(lock_file_take("/nonexistent/x.pid", &l, &at), ERR_IO);
	ck_assert_str_eq(at.where, "/nonexistent/x.pid");
	ck_assert_str_eq(at.why, "open: No such file or directory");
}
END_TEST

static int notify_socket(const char *name, size_t n)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	memcpy(un.sun_path, name, n);
	if (name[0] == '@') un.sun_path[0] = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
			 0);
	return fd;
}

START_TEST(systemd_is_told)
{
	char names[2][128], text[64];
	snprintf(names[0], sizeof(names[0]), "%s", path);
	snprintf(names[1], sizeof(names[1]), "@twinring-test-%d", getpid());
	unsetenv("NOTIFY_SOCKET");
	ck_assert(!daemon_notify("READY=1"));
	for (int i = 0; i < 2; i++) {
		int fd = notify_socket(names[i], strlen(names[i]));
		setenv("NOTIFY_SOCKET", names[i], 1);
		ck_assert(daemon_notify("READY=1\nSTATUS=serving"));
		ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
		ck_assert_int_eq(n, 22);
		ck_assert_int_eq(memcmp(text, "READY=1\nSTATUS=serving", 22), 0);
		close(fd);
	}
	ck_assert(!daemon_notify("READY=1")); /* nobody there any more */
	setenv("NOTIFY_SOCKET", "nonsense", 1);
	ck_assert(!daemon_notify("READY=1"));
	unsetenv("NOTIFY_SOCKET");
}
END_TEST

START_TEST(watchdog)
{
	char pid[16];
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	ck_assert_uint_eq(daemon_watchdog_us(), 0);
	setenv("WATCHDOG_USEC", "2500000", 1);
	ck_assert_uint_eq(daemon_watchdog_us(), 2500000);
	setenv("WATCHDOG_PID", "1", 1);
	ck_assert_uint_eq(daemon_watchdog_us(), 0);
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("WATCHDOG_PID", pid, 1);
	ck_assert_uint_eq(daemon_watchdog_us(), 2500000);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}
END_TEST

START_TEST(descriptors_are_raised_to_the_hard_limit)
{
	struct rlimit r;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
	rlim_t hard = r.rlim_max;
	r.rlim_cur = hard < 256 ? hard : 256;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
	ck_assert_uint_eq(daemon_nofile(), r.rlim_cur);
	ck_assert_uint_eq(daemon_raise_nofile(), hard);
	ck_assert_uint_eq(daemon_nofile(), hard);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("daemon");
	TCase *t = tcase_create("daemon");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, command_waits_for_the_daemon);
	tcase_add_test(t, failed_start_is_a_failed_command);
	tcase_add_test(t, ready_in_the_foreground_is_nothing);
	tcase_add_test(t, pid_file_lives_with_the_process);
	tcase_add_test(t, stale_pid_file_is_taken_over);
	tcase_add_test(t, who_only_tests_the_lock_is_waited_for);
	tcase_add_test(t, a_successors_file_is_left_alone);
	tcase_add_test(t, unwritable_path_is_an_error);
	tcase_add_test(t, systemd_is_told);
	tcase_add_test(t, watchdog);
	tcase_add_test(t, descriptors_are_raised_to_the_hard_limit);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
