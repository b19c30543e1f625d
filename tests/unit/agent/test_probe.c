#include <check.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "agent/probe.h"
#include "agent/rejoin.h"
#include "common/log.h"
#include "tests/unit/agent/fake.h"

static struct io_loop loop;
static struct fake fake;
static struct real memcached, redis, locked; /* locked: a Redis with the password "sesame" */

static struct {
	int calls;
	struct probe_result r;
} answer;

static void on_done(void *ctx, const struct probe_result *r)
{
	ck_assert_ptr_eq(ctx, &answer);
	answer.calls++;
	answer.r = *r;
}

static void setup(void)
{
	log_level_set(LOG_LEVEL_CRIT);
	ck_assert(io_loop_init(&loop));
	memset(&fake, 0, sizeof(fake));
	fake_up(&fake, &loop);
}

static void teardown(void)
{
	fake_down(&fake);
	io_loop_fini(&loop);
}

static void start_servers(void)
{
	real_memcached(&memcached);
	real_redis(&redis, "");
	real_redis(&locked, "sesame");
}

static void stop_servers(void)
{
	real_stop(&memcached);
	real_stop(&redis);
	real_stop(&locked);
}

static struct probe_target target(enum probe_kind kind, uint16_t port)
{
	return (struct probe_target){
		.kind = kind,
		.host = "127.0.0.1",
		.port = port,
		.pool = "main",
		.server = "cache1",
		.http_path = "/health",
		.timeout_ms = 5000,
	};
}

static void on_tick(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	io_timer_set(owner, 5000);
}

static void run_until(const int *calls, int wanted)
{
	struct io_timer tick;
	uint64_t end = clock_now_us() + 10000000;
	io_timer_init(&tick, &loop, on_tick, &tick);
	io_timer_set(&tick, 0);
	while (*calls < wanted && clock_now_us() < end) io_loop_turn(&loop);
	io_timer_stop(&tick);
}

static void run_for_ms(uint64_t ms)
{
	struct io_timer tick;
	uint64_t end = clock_now_us() + ms * 1000;
	io_timer_init(&tick, &loop, on_tick, &tick);
	io_timer_set(&tick, 0);
	while (clock_now_us() < end) io_loop_turn(&loop);
	io_timer_stop(&tick);
}

static enum probe_outcome ask(const struct probe_target *t)
{
	memset(&answer, 0, sizeof(answer));
	ck_assert_ptr_nonnull(probe_start(&loop, t, on_done, &answer));
	ck_assert_int_eq(answer.calls, 0);
	run_until(&answer.calls, 1);
	ck_assert_int_eq(answer.calls, 1);
	ck_assert_int_eq(answer.r.outcome == PROBE_GOOD, answer.r.why[0] == '\0');
	return answer.r.outcome;
}

static void expect_ill(const struct probe_target *t, const char *why)
{
	ck_assert_int_eq(ask(t), PROBE_ILL);
	ck_assert_str_eq(answer.r.why, why);
}

static uint16_t free_port(void)
{
	uint16_t port = 0;
	close(fake_bind(&port));
	return port;
}

/* --- real servers ----------------------------------------------------------------------------- */

START_TEST(a_real_memcached)
{
	struct real mine = { 0 };
	char first[PROBE_INCARNATION_MAX], pid[32];
	real_memcached(&mine);
	struct probe_target t = target(PROBE_MEMCACHED, mine.port);
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	snprintf(pid, sizeof(pid), "pid %d since ", mine.pid);
	ck_assert_msg(!strncmp(answer.r.incarnation, pid, strlen(pid)), "%s", answer.r.incarnation);
	ck_assert_uint_lt(answer.r.took_us, 5000000);
	strcpy(first, answer.r.incarnation);
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_str_eq(answer.r.incarnation, first);
	real_stop(&mine);
	expect_ill(&t, "connect: Connection refused");
	real_memcached(&mine);
	t.port = mine.port;
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_str_ne(answer.r.incarnation, first);
	real_stop(&mine);
}
END_TEST

START_TEST(a_real_redis)
{
	struct probe_target t = target(PROBE_REDIS, redis.port);
	t.db = 3;
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_uint_eq(strlen(answer.r.incarnation), 40);
	t.db = 99;
	expect_ill(&t, "select: -ERR DB index is out of range");
	t = target(PROBE_MEMCACHED, redis.port);
	ck_assert_int_eq(ask(&t), PROBE_ILL);
	t = target(PROBE_REDIS, memcached.port);
	ck_assert_int_eq(ask(&t), PROBE_ILL);
}
END_TEST

START_TEST(a_real_redis_with_a_password)
{
	struct probe_target t = target(PROBE_REDIS, locked.port);
	expect_ill(&t, "PING: -NOAUTH Authentication required.");
	t.auth_password = "wrong";
	ck_assert_int_eq(ask(&t), PROBE_ILL);
	ck_assert_ptr_nonnull(strstr(answer.r.why, "auth: -WRONGPASS"));
	t.auth_password = "sesame";
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	t.auth_user = "default";
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_uint_eq(strlen(answer.r.incarnation), 40);
}
END_TEST

START_TEST(a_stopped_server)
{
	struct probe_target t = target(PROBE_MEMCACHED, memcached.port);
	t.timeout_ms = 50;
	kill(memcached.pid, SIGSTOP);
	expect_ill(&t, "version: no answer within 50 ms");
	kill(memcached.pid, SIGCONT);
	t.timeout_ms = 5000;
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
}
END_TEST

/* --- rejoin ----------------------------------------------------------------------------------- */

/* What the server says to `text`, up to `end`. */
static void say(uint16_t port, const char *text, char *out, size_t cap)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	fake_say(fd, text);
	shutdown(fd, SHUT_WR);
	size_t n = 0;
	ssize_t got;
	while (n < cap - 1 && (got = read(fd, out + n, cap - 1 - n)) > 0) n += (size_t)got;
	out[n] = '\0';
	close(fd);
}

static enum probe_outcome flush(const struct probe_target *t)
{
	memset(&answer, 0, sizeof(answer));
	ck_assert_ptr_nonnull(rejoin_flush(&loop, t, on_done, &answer));
	run_until(&answer.calls, 1);
	ck_assert_int_eq(answer.calls, 1);
	return answer.r.outcome;
}

START_TEST(rejoin_empties_memcached)
{
	char out[200];
	struct probe_target t = target(PROBE_MEMCACHED, memcached.port);
	say(memcached.port, "set k 0 0 1\r\nv\r\nget k\r\nquit\r\n", out, sizeof(out));
	ck_assert_str_eq(out, "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
	ck_assert_int_eq(flush(&t), PROBE_GOOD);
	say(memcached.port, "get k\r\nquit\r\n", out, sizeof(out));
	ck_assert_str_eq(out, "END\r\n");
}
END_TEST

START_TEST(rejoin_empties_the_database_of_the_pool)
{
	char out[200];
	struct probe_target t = target(PROBE_REDIS, locked.port);
	say(locked.port, "AUTH sesame\r\nSET k 0\r\nSELECT 2\r\nSET k 2\r\nQUIT\r\n", out,
	    sizeof(out));
	ck_assert_int_eq(flush(&t), PROBE_ILL);
	ck_assert_str_eq(answer.r.why, "flush: -NOAUTH Authentication required.");
	t.auth_password = "sesame";
	t.db = 2;
	ck_assert_int_eq(flush(&t), PROBE_GOOD);
	say(locked.port, "AUTH sesame\r\nGET k\r\nSELECT 2\r\nGET k\r\nQUIT\r\n", out, sizeof(out));
	ck_assert_str_eq(out, "+OK\r\n$1\r\n0\r\n+OK\r\n$-1\r\n+OK\r\n");
}
END_TEST

START_TEST(rejoin_fails)
{
	struct probe_target t = target(PROBE_MEMCACHED, fake.port);
	fake.replies[0] = "CLIENT_ERROR flush_all not allowed\r\n";
	ck_assert_int_eq(flush(&t), PROBE_ILL);
	ck_assert_str_eq(answer.r.why, "flush: CLIENT_ERROR flush_all not allowed");
	t.timeout_ms = 30;
	fake.silent = true;
	ck_assert_int_eq(flush(&t), PROBE_ILL);
	ck_assert_str_eq(answer.r.why, "flush: no answer within 30 ms");
	fake_down(&fake);
	ck_assert_int_eq(flush(&t), PROBE_ILL);
	ck_assert_str_eq(answer.r.why, "connect: Connection refused");
}
END_TEST

/* --- scripted servers ------------------------------------------------------------------------- */

struct fault {
	enum probe_kind kind;
	const char *replies[FAKE_REPLIES];
	const char *why; /* NULL: good */
	const char *password;
	uint32_t db;
};

static const struct fault faults[] = {
	{ PROBE_MEMCACHED,
	  { "SERVER_ERROR out of memory\r\n" },
	  "version: SERVER_ERROR out of memory",
	  NULL,
	  0 },
	{ PROBE_MEMCACHED,
	  { "ERROR Too many open connections\r\n" },
	  "version: ERROR Too many open connections",
	  NULL,
	  0 },
	{ PROBE_MEMCACHED, { "VERSION 1.6\n" }, "probe: its answer makes no sense", NULL, 0 },
	{ PROBE_MEMCACHED,
	  { "HTTP/1.1 400 Bad Request\r\n\r\n" },
	  "probe: its answer makes no sense",
	  NULL,
	  0 },
	{ PROBE_MEMCACHED,
	  { "VERSION 1\r\nVERSION 1\r\n" },
	  "probe: it said more than it was asked for",
	  NULL,
	  0 },
	{ PROBE_MEMCACHED,
	  { "SERVER_ERROR \x1b[31m\xff\r\n" },
	  "version: SERVER_ERROR ?[31m?",
	  NULL,
	  0 },
	{ PROBE_REDIS,
	  { "-LOADING Redis is loading the dataset in memory\r\n" },
	  "PING: -LOADING Redis is loading the dataset in memory",
	  NULL,
	  0 },
	{ PROBE_REDIS,
	  { "-READONLY You can't write\r\n" },
	  "PING: -READONLY You can't write",
	  NULL,
	  0 },
	{ PROBE_REDIS,
	  { "-MISCONF Errors writing\r\n" },
	  "PING: -MISCONF Errors writing",
	  NULL,
	  0 },
	{ PROBE_REDIS,
	  { "-OOM command not allowed\r\n" },
	  "PING: -OOM command not allowed",
	  NULL,
	  0 },
	{ PROBE_REDIS, { "+QUEUED\r\n" }, "ping: its answer makes no sense", NULL, 0 },
	{ PROBE_REDIS, { "+OK\r\n", "-LOADING wait\r\n" }, "select: -LOADING wait", "pw", 1 },
	{ PROBE_REDIS, { "+OK\r\n", "+OK\r\n", "+PONG\r\n", "-NOPERM no\r\n" }, NULL, "pw", 1 },
	{ PROBE_REDIS, { "+PONG\r\n", "-ERR unknown command\r\n" }, NULL, NULL, 0 },
	{ PROBE_REDIS, { "+PONG\r\n", "junk\r\n" }, NULL, NULL, 0 },
	{ PROBE_REDIS, { "+PONG\r\n", "$6\r\nrun_id\r\n" }, NULL, NULL, 0 },
	{ PROBE_MEMCACHED, { "VERSION 1\r\n", "ERROR\r\n" }, NULL, NULL, 0 },
	{ PROBE_MEMCACHED,
	  { "VERSION 1\r\n", "STAT pid x\r\nSTAT time 1\r\nEND\r\n" },
	  NULL,
	  NULL,
	  0 },
	{ PROBE_MEMCACHED, { "VERSION 1\r\n", "END\r\n" }, NULL, NULL, 0 },
};

START_TEST(odd_answers)
{
	const struct fault *f = &faults[_i];
	struct probe_target t = target(f->kind, fake.port);
	t.auth_password = f->password;
	t.db = f->db;
	memcpy(fake.replies, f->replies, sizeof(fake.replies));
	if (f->why) expect_ill(&t, f->why);
	else ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_str_eq(answer.r.incarnation, "");
}
END_TEST

START_TEST(incarnations)
{
	struct probe_target t = target(PROBE_MEMCACHED, fake.port);
	fake.replies[0] = "VERSION 1.6.18\r\n";
	fake.replies[1] = "STAT pid 7\r\nSTAT uptime 100\r\nSTAT time 1000\r\nEND\r\n";
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_str_eq(answer.r.incarnation, "pid 7 since 900");
	t.kind = PROBE_REDIS;
	fake.replies[0] = "+PONG\r\n";
	fake.replies[1] = "$27\r\n# Server\r\nrun_id:abc\r\nx:1\r\n\r\n";
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_str_eq(answer.r.incarnation, "abc");
}
END_TEST

START_TEST(a_server_that_is_slow_only_with_its_statistics_is_well)
{
	struct probe_target t = target(PROBE_MEMCACHED, fake.port);
	t.timeout_ms = 40;
	fake.replies[0] = "VERSION 1.6.18\r\n";
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_str_eq(answer.r.incarnation, "");
}
END_TEST

START_TEST(silence)
{
	struct probe_target t = target(PROBE_REDIS, fake.port);
	t.timeout_ms = 30;
	expect_ill(&t, "PING: no answer within 30 ms");
	ck_assert_uint_ge(answer.r.took_us, 30000);
	fake.replies[0] = "+PON"; /* and no more */
	expect_ill(&t, "PING: no answer within 30 ms");
	t.auth_password = "pw";
	fake.silent = true;
	expect_ill(&t, "connect or greeting: no answer within 30 ms");
}
END_TEST

START_TEST(hanging_up)
{
	struct probe_target t = target(PROBE_MEMCACHED, fake.port);
	fake.hang_up = true;
	ck_assert_int_eq(ask(&t), PROBE_ILL);
}
END_TEST

START_TEST(endless_answer)
{
	static char flood[700000];
	memset(flood, 'x', sizeof(flood) - 1);
	memcpy(flood, "$600000\r\n", 9);
	struct probe_target t = target(PROBE_REDIS, fake.port);
	fake.replies[0] = flood;
	ck_assert_int_eq(ask(&t), PROBE_ILL);
}
END_TEST

START_TEST(what_is_sent)
{
	struct probe_target t = target(PROBE_REDIS, fake.port);
	t.auth_user = "u";
	t.auth_password = "p";
	t.db = 7;
	fake.replies[0] = fake.replies[1] = "+OK\r\n";
	fake.replies[2] = "+PONG\r\n";
	fake.replies[3] = "$-1\r\n";
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_str_eq(fake.got, "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n"
				   "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n"
				   "*1\r\n$4\r\nPING\r\n"
				   "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n");
}
END_TEST

/* --- addresses -------------------------------------------------------------------------------- */

START_TEST(names)
{
	struct probe_target t = target(PROBE_MEMCACHED, memcached.port);
	t.host = "localhost";
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	t.host = "no-such-host.invalid";
	t.timeout_ms = 60;
	ck_assert_int_eq(ask(&t), PROBE_UNKNOWN);
	ck_assert_str_eq(answer.r.why, "name lookup: no answer within 60 ms");
	struct net_addr addr;
	ck_assert(net_addr_numeric("127.0.0.1", memcached.port, &addr));
	t.addr = &addr;
	t.timeout_ms = 5000;
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
}
END_TEST

START_TEST(unix_sockets)
{
	struct probe_target t = target(PROBE_TCP, 0);
	t.host = "/nonexistent/socket";
	expect_ill(&t, "connect: No such file or directory");
	char path[300];
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	t.host = path;
	ck_assert_int_eq(ask(&t), PROBE_UNKNOWN);
}
END_TEST

START_TEST(no_descriptors_left_is_not_the_servers_fault)
{
	static int fds[70000];
	int n = 0, fd;
	struct probe_target t = target(PROBE_MEMCACHED, memcached.port);
	while (n < 70000 && (fd = dup(0)) >= 0) fds[n++] = fd;
	if (n < 70000) ck_assert_int_eq(ask(&t), PROBE_UNKNOWN);
	while (n > 0) close(fds[--n]);
}
END_TEST

/* --- tcp -------------------------------------------------------------------------------------- */

START_TEST(tcp_only_connects)
{
	struct probe_target t = target(PROBE_TCP, fake.port);
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	fake.welcome = "220 hello\r\n";
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_uint_eq(fake.got_n, 0);
	t.port = free_port();
	expect_ill(&t, "connect: Connection refused");
}
END_TEST

/* --- http ------------------------------------------------------------------------------------- */

#define HTTP(status, rest) "HTTP/1.1 " status "\r\n" rest

static const struct {
	const char *reply, *why;
} pages[] = {
	{ HTTP("200 OK", "Content-Length: 2\r\n\r\nok"), NULL },
	{ HTTP("204 No Content", "\r\n"), NULL },
	{ HTTP("302 Found", "Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), NULL },
	{ HTTP("404 Not Found", "Content-Length: 0\r\n\r\n"), "HTTP status 404" },
	{ HTTP("503 Service Unavailable", "Content-Length: 0\r\n\r\n"), "HTTP status 503" },
	{ "VERSION 1.6\r\n", "" },
	{ HTTP("200 OK", "Content-Length: 20\r\n\r\nless"), "HTTP: no answer within 300 ms" },
	{ NULL, "HTTP: no answer within 300 ms" },
};

START_TEST(http_answers)
{
	struct probe_target t = target(PROBE_HTTP, fake.port);
	t.timeout_ms = 300;
	fake.replies[0] = pages[_i].reply;
	ck_assert_int_eq(ask(&t), pages[_i].why ? PROBE_ILL : PROBE_GOOD);
	if (pages[_i].why && pages[_i].why[0]) ck_assert_str_eq(answer.r.why, pages[_i].why);
	ck_assert_uint_eq(fake.accepted, 1);
	ck_assert(!strncmp(fake.got, "GET /health HTTP/1.1\r\n", 22));
}
END_TEST

START_TEST(http_endless_page)
{
	static char page[300000];
	size_t n =
	    (size_t)snprintf(page, sizeof(page), HTTP("200 OK", "Content-Length: 9999999\r\n\r\n"));
	memset(page + n, 'x', sizeof(page) - n - 1);
	struct probe_target t = target(PROBE_HTTP, fake.port);
	fake.replies[0] = page;
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_uint_lt(answer.r.took_us, 2000000);
}
END_TEST

START_TEST(http_elsewhere)
{
	struct probe_target t = target(PROBE_HTTP, free_port());
	ck_assert_int_eq(ask(&t), PROBE_ILL);
	t.port = fake.port;
	t.host = "localhost"; /* the name is for the Host: only */
	struct net_addr addr;
	ck_assert(net_addr_numeric("127.0.0.1", fake.port, &addr));
	t.addr = &addr;
	fake.replies[0] = HTTP("200 OK", "Content-Length: 0\r\n\r\n");
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	ck_assert_ptr_nonnull(strstr(fake.got, "\r\nHost: localhost:"));
	t.http_path = "file:///etc/passwd";
	ck_assert_int_eq(ask(&t), PROBE_UNKNOWN);
}
END_TEST

/* --- script ----------------------------------------------------------------------------------- */

static char script_path[64];

static struct probe_target script(const char *body)
{
	snprintf(script_path, sizeof(script_path), "/tmp/test_probe.%d.sh", getpid());
	int fd = open(script_path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0700);
	ck_assert_int_ge(fd, 0);
	dprintf(fd, "#!/bin/sh\n%s\n", body);
	close(fd);
	struct probe_target t = target(PROBE_SCRIPT, 11211);
	t.script = script_path;
	return t;
}

START_TEST(script_arguments_and_reasons)
{
	struct probe_target t = script("echo \"$*\"; echo more; exit 3");
	expect_ill(&t, "127.0.0.1 11211 main cache1");
	t = script("echo fine");
	ck_assert_int_eq(ask(&t), PROBE_GOOD);
	t = script("exit 4");
	expect_ill(&t, "the script exited with 4");
	t = script("echo wrong >&2; exit 1");
	expect_ill(&t, "wrong");
	t = script("kill -9 $$");
	expect_ill(&t, "the script died of signal 9");
	t = script("yes | head -c 300000; exit 1");
	expect_ill(&t, "y");
	t = script("head -c 300000 /dev/zero | tr '\\0' a; exit 1");
	ck_assert_int_eq(ask(&t), PROBE_ILL);
	ck_assert_uint_eq(strlen(answer.r.why), PROBE_WHY_MAX - 1);
	unlink(script_path);
}
END_TEST

START_TEST(script_is_killed_with_its_children)
{
	char body[200], mark[80];
	snprintf(mark, sizeof(mark), "/tmp/test_probe.%d.mark", getpid());
	snprintf(body, sizeof(body), "(sleep 1; touch %s) & sleep 10", mark);
	struct probe_target t = script(body);
	t.timeout_ms = 100;
	expect_ill(&t, "script: no answer within 100 ms");
	run_for_ms(1300);
	ck_assert_int_ne(access(mark, F_OK), 0);
	ck_assert_int_le(waitpid(-1, NULL, WNOHANG), 0); /* no corpse */
	unlink(script_path);
	unlink(mark);
}
END_TEST

START_TEST(script_is_not_there)
{
	struct probe_target t = target(PROBE_SCRIPT, 1);
	t.script = "/nonexistent/script";
	ck_assert_int_eq(ask(&t), PROBE_UNKNOWN);
	ck_assert_str_eq(answer.r.why, "/nonexistent/script: No such file or directory");
}
END_TEST

/* --- cancelling ------------------------------------------------------------------------------- */

START_TEST(cancelled_probes_say_nothing)
{
	static const enum probe_kind kinds[] = { PROBE_MEMCACHED, PROBE_REDIS, PROBE_TCP,
						 PROBE_HTTP, PROBE_SCRIPT };
	memset(&answer, 0, sizeof(answer));
	struct probe_target s = script("sleep 5");
	for (int turns = 0; turns < 4; turns++)
		for (int i = 0; i < 5; i++) {
			struct probe_target t = target(kinds[i], fake.port);
			t.script = s.script;
			t.timeout_ms = 20;
			struct probe *p = probe_start(&loop, &t, on_done, &answer);
			for (int k = 0; k < turns && !answer.calls; k++) io_loop_turn(&loop);
			if (!answer.calls) probe_cancel(&p);
			answer.calls = 0;
		}
	struct probe_target t = target(PROBE_TCP, 1);
	t.host = "localhost";
	struct probe *p = probe_start(&loop, &t, on_done, &answer);
	probe_cancel(&p);
	ck_assert_ptr_null(p);
	probe_cancel(&p);
	run_for_ms(100);
	ck_assert_int_eq(answer.calls, 0);
	unlink(script_path);
}
END_TEST

START_TEST(many_at_once)
{
	struct probe_target t = target(PROBE_MEMCACHED, memcached.port);
	memset(&answer, 0, sizeof(answer));
	for (int i = 0; i < 200; i++) probe_start(&loop, &t, on_done, &answer);
	run_until(&answer.calls, 200);
	ck_assert_int_eq(answer.calls, 200);
	ck_assert_int_eq(answer.r.outcome, PROBE_GOOD);
}
END_TEST

static TCase *group(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);
	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, start_servers, stop_servers);
	tcase_add_checked_fixture(t, setup, teardown);
	suite_add_tcase(s, t);
	return t;
}

int main(void)
{
	Suite *s = suite_create("probe");
	TCase *t = group(s, "caches");
	tcase_add_test(t, a_real_memcached);
	tcase_add_test(t, a_real_redis);
	tcase_add_test(t, a_real_redis_with_a_password);
	tcase_add_test(t, a_stopped_server);
	tcase_add_test(t, rejoin_empties_memcached);
	tcase_add_test(t, rejoin_empties_the_database_of_the_pool);
	tcase_add_test(t, rejoin_fails);
	tcase_add_loop_test(t, odd_answers, 0, sizeof(faults) / sizeof(faults[0]));
	tcase_add_test(t, incarnations);
	tcase_add_test(t, a_server_that_is_slow_only_with_its_statistics_is_well);
	tcase_add_test(t, silence);
	tcase_add_test(t, hanging_up);
	tcase_add_test(t, endless_answer);
	tcase_add_test(t, what_is_sent);
	tcase_add_test(t, names);
	tcase_add_test(t, unix_sockets);
	tcase_add_test(t, no_descriptors_left_is_not_the_servers_fault);
	tcase_add_test(t, many_at_once);
	tcase_add_test(t, tcp_only_connects);
	tcase_add_loop_test(t, http_answers, 0, sizeof(pages) / sizeof(pages[0]));
	tcase_add_test(t, http_endless_page);
	tcase_add_test(t, http_elsewhere);
	tcase_add_test(t, script_arguments_and_reasons);
	tcase_add_test(t, script_is_killed_with_its_children);
	tcase_add_test(t, script_is_not_there);
	tcase_add_test(t, cancelled_probes_say_nothing);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
