#include <fcntl.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/agent/suite.h"

/* In memory where there is such a place: the tests write thousands of files and sync each. */
static char base[64], dir[96];
static unsigned trees;

static void new_base(void)
{
	snprintf(base, sizeof(base), "%s/twinring-file-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(base)) abort();
}

static void open_store(struct rig *r)
{
	struct store_events events = rig_events;
	struct err_at at;
	events.ctx = r;
	ck_assert_int_eq(store_file_new(r->loop, dir, &events, &r->store, &at), ERR_NONE);
}

static void suite_open_file(struct rig *r)
{
	snprintf(dir, sizeof(dir), "%s/%d.%u", base, (int)getpid(), trees++ / 2);
	open_store(r);
}

static struct io_loop loop;
static struct rig rig;

static void start(struct rig *r)
{
	*r = (struct rig){ .loop = &loop };
	open_store(r);
	ck_assert(rig_wait(&loop, &r->sessions[STORE_NEW_SESSION], 1));
}

static void setup(void)
{
	ck_assert(io_loop_init(&loop));
	snprintf(dir, sizeof(dir), "%s/own.%d.%u", base, (int)getpid(), trees++);
	start(&rig);
}

static void teardown(void)
{
	store_free(&rig.store);
	io_loop_fini(&loop);
}

/* As a person does it. */
static void run(const char *format, ...)
{
	char command[1024], text[2048];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(text, sizeof(text), "cd %s && { %s; }", dir, command);
	ck_assert_int_eq(system(text), 0);
}

START_TEST(test_by_hand)
{
	run("mkdir -p pools/alpha pools/beta && echo one > pools/alpha/spec &&"
	    "echo two > pools/beta/spec.yml && echo x > pools/beta/spec.yml~ &&"
	    "echo x > pools/beta/.spec.swp && echo x > 'pools/beta/#spec#' && echo r > "
	    "routes.json");
	struct answer a = rig_list(&rig, "pools", false);
	ck_assert_uint_eq(a.name_count, 2);
	ck_assert_str_eq(rig_get(&rig, "pools/alpha/spec", false).data, "one\n");
	ck_assert_str_eq(rig_get(&rig, "pools/beta/spec", false).data, "two\n");
	a = rig_list(&rig, "pools/beta", false);
	ck_assert_uint_eq(a.name_count, 1);
	ck_assert_str_eq(a.names[0], "spec");
	a = rig_list(&rig, "", false);
	ck_assert_uint_eq(a.name_count, 2);
	ck_assert_str_eq(a.names[1], "routes");
	/* what people have begun goes on under the same name */
	ck_assert_int_eq(rig_put(&rig, "pools/beta/spec", "three", 0).rc, STORE_OK);
	run("test \"$(cat pools/beta/spec.yml)\" = three && ! test -e pools/beta/spec");
	ck_assert_int_eq(rig_create(&rig, "pools/beta/spec", "", 0).rc, STORE_NODE_EXISTS);
	ck_assert_int_eq(rig_delete(&rig, "pools/beta/spec", 1).rc, STORE_OK);
	run("! test -e pools/beta/spec.yml");
	ck_assert_int_eq(rig_create(&rig, "pools/beta/spec", "x", 0).rc, STORE_OK);
	run("test -f pools/beta/spec");
}
END_TEST

START_TEST(test_names)
{
	static const char *const bad[] = { "a~",	 "#a",		"a.data",
					   "p/spec.yml", "routes.json", "a/b~/c" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_int_eq(rig_create(&rig, bad[i], "", STORE_PARENTS).rc, STORE_INVALID);
	ck_assert_int_eq(rig_create(&rig, "server.yml", "x", 0).rc, STORE_OK);
	ck_assert_str_eq(rig_list(&rig, "", false).names[0], "server.yml");
}
END_TEST

/* Every way in which editors and tools write a file. */
START_TEST(test_edits)
{
	static const char *const edits[] = {
		"echo 2 > pools/a/spec",
		"echo 3 > pools/a/.new && mv pools/a/.new pools/a/spec",
		"mv pools/a/spec pools/a/spec~ && echo 4 > pools/a/spec",
		"echo 5 >> pools/a/spec",
		"rm pools/a/spec && echo 4 > pools/a/spec",
		"sed -i s/4/6/ pools/a/spec",
		"cp -r pools/a pools/b && echo 7 > pools/b/spec && mv pools/a old && mv pools/b "
		"pools/a",
		"mv pools/a/spec pools/a/spec.json && echo 8 > pools/a/spec.json",
	};
	run("mkdir -p pools/a && echo 1 > pools/a/spec");
	struct answer before = rig_get(&rig, "pools/a/spec", true);
	ck_assert_int_eq(before.rc, STORE_OK);
	for (unsigned i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		unsigned changes = rig.changes;
		uint64_t t0 = clock_now_us();
		run("%s", edits[i]);
		ck_assert_msg(rig_wait(&loop, &rig.changes, changes + 1), "%s", edits[i]);
		ck_assert_uint_lt(clock_now_us() - t0, 500000); /* heard, not polled */
		rig_pass(&loop, 20);
		struct answer after = rig_get(&rig, "pools/a/spec", true);
		ck_assert_msg(after.rc == STORE_OK, "%s", edits[i]);
		ck_assert_str_ne(after.data, before.data);
		ck_assert_int_ne(after.stat.version, before.stat.version);
		ck_assert(after.stat.mzxid > before.stat.mzxid);
		before = after;
	}
	unsigned changes = rig.changes;
	run("rm -r pools");
	ck_assert(rig_wait(&loop, &rig.changes, changes + 1));
	ck_assert_int_eq(rig_get(&rig, "pools/a/spec", true).rc, STORE_NO_NODE);
}
END_TEST

/* A directory of the tree is a link that is swapped, as configuration management does it. */
/* Two parts of an agent watch the same node. What changes between their reads is news to one. */
START_TEST(test_two_readers)
{
	rig_create(&rig, "a", "first", 0);
	ck_assert_str_eq(rig_get(&rig, "a", true).data, "first");
	rig_pass(&loop, 50);
	unsigned before = rig.changes;
	rig_put(&rig, "a", "second", STORE_ANY_VERSION);
	ck_assert_str_eq(rig_get(&rig, "a", true).data, "second");
	ck_assert(rig_wait(&loop, &rig.changes, before + 1));
	ck_assert_str_eq(rig.changed, "a");
}
END_TEST

START_TEST(test_link_swap)
{
	run("mkdir -p pools v1 v2 && echo 1 > v1/spec && echo 2 > v2/spec && ln -s ../v1 pools/a");
	ck_assert_str_eq(rig_get(&rig, "pools/a/spec", true).data, "1\n");
	run("ln -s ../v2 pools/.swap && mv -T pools/.swap pools/a");
	ck_assert(rig_wait(&loop, &rig.changes, 1));
	ck_assert_str_eq(rig_get(&rig, "pools/a/spec", true).data, "2\n");
	run("echo 3 > v2/spec");
	ck_assert(rig_wait(&loop, &rig.changes, 2));
	ck_assert_str_eq(rig_get(&rig, "pools/a/spec", false).data, "3\n");
}
END_TEST

/* The whole tree goes away, comes back, and becomes another one. */
START_TEST(test_tree_replaced)
{
	rig_create(&rig, "a", "1", 0);
	rig_create(&rig, "live", "1", STORE_EPHEMERAL);
	rig_get(&rig, "a", true);
	char away[128];
	snprintf(away, sizeof(away), "%s.away", dir);
	ck_assert_int_eq(rename(dir, away), 0);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_LOST], 1));
	ck_assert_int_eq(rig_get(&rig, "a", true).rc, STORE_AWAY);
	ck_assert_int_eq(rig_create(&rig, "b", "", 0).rc, STORE_AWAY);
	ck_assert_int_eq(rename(away, dir), 0);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_CONNECTED], 1));
	ck_assert(rig_get(&rig, "live", false).stat.mine);
	ck_assert_int_eq(rename(dir, away), 0);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	run("echo 2 > a");
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_NEW_SESSION], 2));
	ck_assert_str_eq(rig_get(&rig, "a", true).data, "2\n");
	ck_assert_int_eq(rig_get(&rig, "live", false).rc, STORE_NO_NODE);
	ck_assert_int_eq(rig_create(&rig, "live", "1", STORE_EPHEMERAL).rc, STORE_OK);
}
END_TEST

/* Versions and ids outlive the process and agree between two. */
START_TEST(test_versions_last)
{
	struct rig other;
	start(&other);
	rig_create(&rig, "a", "0", 0);
	rig_put(&rig, "a", "1", 0);
	struct answer last = rig_put(&other, "a", "2", 1);
	ck_assert_int_eq(last.rc, STORE_OK);
	store_free(&rig.store);
	store_free(&other.store);
	run("printf 3 > a");
	start(&rig);
	start(&other);
	struct answer x = rig_get(&rig, "a", false), y = rig_get(&other, "a", false);
	ck_assert_int_eq(x.stat.version, 3);
	ck_assert_int_eq(y.stat.version, 3);
	ck_assert(x.stat.mzxid == y.stat.mzxid && x.stat.mzxid > last.stat.mzxid);
	ck_assert(x.stat.czxid == last.stat.czxid);
	ck_assert(x.stat.mzxid >= (int64_t)clock_wall_us() - 60000000);
	/* the same time and size, other contents */
	run("touch -d '2024-01-01 00:00:00' a");
	ck_assert_int_eq(rig_get(&rig, "a", false).stat.version, 4);
	run("printf 4 > a && touch -d '2024-01-01 00:00:00' a");
	ck_assert_int_eq(rig_get(&rig, "a", false).stat.version, 5);
	/* a clock that was set back takes nothing back */
	run("printf '09000000000000000000\\n' > .twinring/lock");
	ck_assert(rig_put(&rig, "a", "5", 5).stat.mzxid == 9000000000000000001ll);
	run("printf torn > .twinring/lock; for f in .twinring/meta/*; do printf '3 torn' > $f; "
	    "done");
	ck_assert_int_eq(rig_get(&rig, "a", false).rc, STORE_OK);
	store_free(&other.store);
}
END_TEST

enum { PROCESSES = 4, ROUNDS = 50 };

static void count_up(void)
{
	for (int i = 0; i < ROUNDS;) {
		struct answer a = rig_get(&rig, "count", false);
		char text[16];
		snprintf(text, sizeof(text), "%d", atoi(a.data) + 1);
		enum store_rc rc = rig_put(&rig, "count", text, a.stat.version).rc;
		i += rc == STORE_OK;
		if (rc != STORE_OK && rc != STORE_BAD_VERSION) _exit(2);
	}
}

START_TEST(test_processes)
{
	rig_create(&rig, "count", "0", 0);
	pid_t pids[PROCESSES];
	for (int i = 0; i < PROCESSES; i++) {
		if ((pids[i] = fork()) == 0) {
			ck_assert(io_loop_init(&loop));
			start(&rig);
			count_up();
			_exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status = -1;
		waitpid(pids[i], &status, 0);
		ck_assert_int_eq(status, 0);
	}
	struct answer a = rig_get(&rig, "count", false);
	ck_assert_int_eq(atoi(a.data), PROCESSES * ROUNDS);
	ck_assert_int_eq(a.stat.version, PROCESSES * ROUNDS);
}
END_TEST

/* kill -9: what the dead process owned goes within seconds, or at the next start. */
START_TEST(test_owner_dies)
{
	run("mkdir live");
	rig_list(&rig, "live", true);
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct rig child;
		io_loop_init(&loop);
		start(&child);
		rig_create(&child, "live/child", "1", STORE_EPHEMERAL);
		rig_create(&child, "live/empty", "", STORE_EPHEMERAL);
		rig_create(&child, "stays", "1", 0);
		if (write(pipes[1], "x", 1) != 1) _exit(1);
		pause();
	}
	char c;
	ck_assert_int_eq(read(pipes[0], &c, 1), 1);
	close(pipes[0]);
	close(pipes[1]);
	ck_assert(rig_wait(&loop, &rig.changes, 1));
	ck_assert_uint_eq(rig_list(&rig, "live", true).name_count, 2);
	rig_pass(&loop, 1200); /* a poll does not take it for dead */
	ck_assert_uint_eq(rig_list(&rig, "live", true).name_count, 2);
	unsigned changes = rig.changes;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ck_assert(rig_wait(&loop, &rig.changes, changes + 1));
	ck_assert_uint_eq(rig_list(&rig, "live", true).name_count, 0);
	ck_assert_int_eq(rig_get(&rig, "stays", false).rc, STORE_OK);
	run("test $(ls .twinring/sessions | wc -l) = 1");
}
END_TEST

/* Somebody was stopped while he held the lock: writes fail, reads go on, nothing hangs. */
START_TEST(test_lock_held)
{
	rig_create(&rig, "a", "1", 0);
	char name[128];
	snprintf(name, sizeof(name), "%s/.twinring/lock", dir);
	int fd = open(name, O_RDWR);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	uint64_t t0 = clock_now_us();
	ck_assert_int_eq(rig_put(&rig, "a", "2", 0).rc, STORE_AWAY);
	ck_assert_uint_lt(clock_now_us() - t0, 5000000);
	ck_assert_str_eq(rig_get(&rig, "a", false).data, "1");
	close(fd);
	ck_assert_int_eq(rig_put(&rig, "a", "2", 0).rc, STORE_OK);
}
END_TEST

START_TEST(test_large_file)
{
	rig_get(&rig, "big", true);
	run("head -c 2000000 /dev/zero > big");
	ck_assert(rig_wait(&loop, &rig.changes, 1));
	struct answer a = rig_get(&rig, "big", true);
	ck_assert_int_eq(a.rc, STORE_TOO_LARGE);
	ck_assert_uint_eq(a.bytes, 0);
	ck_assert(a.stat.mzxid > 0);
	ck_assert_int_eq(rig_put(&rig, "big", "small", a.stat.version).rc, STORE_OK);
	run("mkfifo pipe"); /* nobody waits for it */
	ck_assert_int_eq(rig_get(&rig, "pipe", false).rc, STORE_NO_NODE);
}
END_TEST

START_TEST(test_modes)
{
	struct stat st;
	char name[128];
	rig_create(&rig, "pools/a/spec", "1", STORE_PARENTS);
	snprintf(name, sizeof(name), "%s/pools/a/spec", dir);
	ck_assert_int_eq(stat(name, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07, 0);
	ck_assert_int_eq(chmod(name, 0664), 0);
	rig_put(&rig, "pools/a/spec", "2", STORE_ANY_VERSION);
	ck_assert_int_eq(stat(name, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0664);
	/* a link stays a link */
	run("echo 1 > elsewhere && ln -s ../../elsewhere pools/a/link");
	ck_assert_int_eq(rig_put(&rig, "pools/a/link", "2", STORE_ANY_VERSION).rc, STORE_OK);
	run("test -L pools/a/link && test $(cat elsewhere) = 2");
}
END_TEST

START_TEST(test_cannot_open)
{
	struct store *s = NULL;
	struct err_at at = { .why = "" };
	ck_assert_int_eq(store_file_new(&loop, "/nowhere/at/all", &rig_events, &s, &at), ERR_IO);
	ck_assert_ptr_null(s);
	ck_assert_str_ne(at.why, "");
	run("echo x > file");
	char name[128];
	snprintf(name, sizeof(name), "%s/file", dir);
	ck_assert_int_eq(store_file_new(&loop, name, &rig_events, &s, &at), ERR_IO);
	ck_assert_int_eq(store_file_new(&loop, "", &rig_events, &s, &at), ERR_IO);
}
END_TEST

int main(void)
{
	log_level_set(LOG_LEVEL_ALERT);
	new_base();
	Suite *s = suite_create("store_file");
	TCase *shared = tcase_create("shared");
	suite_add(shared, suite_open_file);
	suite_add_tcase(s, shared);
	TCase *own = tcase_create("files");
	tcase_add_checked_fixture(own, setup, teardown);
	tcase_set_timeout(own, 60);
	tcase_add_test(own, test_by_hand);
	tcase_add_test(own, test_names);
	tcase_add_test(own, test_edits);
	tcase_add_test(own, test_two_readers);
	tcase_add_test(own, test_link_swap);
	tcase_add_test(own, test_tree_replaced);
	tcase_add_test(own, test_versions_last);
	tcase_add_test(own, test_processes);
	tcase_add_test(own, test_owner_dies);
	tcase_add_test(own, test_lock_held);
	tcase_add_test(own, test_large_file);
	tcase_add_test(own, test_modes);
	tcase_add_test(own, test_cannot_open);
	suite_add_tcase(s, own);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	char command[96];
	snprintf(command, sizeof(command), "rm -rf '%s'", base);
	if (system(command) != 0) failed++;
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
