#include <check.h>

#include "agent/server_conn.h"
#include "common/log.h"
#include "tests/unit/agent/fake.h"

static struct io_loop loop;
static struct fake fake;

static struct {
	int up, down, answers, lost;
	char said[4096], why[200];
} seen;

static void on_up(void *ctx)
{
	(void)ctx;
	seen.up++;
}

static void on_down(void *ctx, const char *why)
{
	(void)ctx;
	seen.down++;
	snprintf(seen.why, sizeof(seen.why), "%s", why);
}

static const struct server_conn_events events = { on_up, on_down };

/* "[a][b]"; "+" behind what more comes of. */
static void on_answer(void *ctx, const struct server_answer *a)
{
	(void)ctx;
	size_t n = strlen(seen.said);
	if (a->why) seen.lost++;
	else {
		seen.answers++;
		snprintf(seen.said + n, sizeof(seen.said) - n, "[%.*s]%s", (int)a->bytes.n,
			 a->bytes.p, a->more ? "+" : "");
	}
}

static void on_tick(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	io_timer_set(owner, 2000);
}

/* Until *value is at least `least`, or so many ms have passed. */
static void run(const int *value, int least, uint64_t ms)
{
	struct io_timer tick;
	uint64_t end = clock_now_us() + ms * 1000;
	io_timer_init(&tick, &loop, on_tick, &tick);
	io_timer_set(&tick, 0);
	while ((!value || *value < least) && clock_now_us() < end) io_loop_turn(&loop);
	io_timer_stop(&tick);
}

static void setup(void)
{
	log_level_set(LOG_LEVEL_CRIT);
	ck_assert(io_loop_init(&loop));
	memset(&fake, 0, sizeof(fake));
	memset(&seen, 0, sizeof(seen));
	fake_up(&fake, &loop);
}

static void teardown(void)
{
	fake_down(&fake);
	io_loop_fini(&loop);
}

static struct server_peer peer_of(enum protocol protocol)
{
	return (struct server_peer){ .host = "127.0.0.1",
				     .port = fake.port,
				     .protocol = protocol,
				     .timeout_ms = 5000,
				     .answer_max = 1000 };
}

static struct server_conn *open_conn(const struct server_peer *peer)
{
	struct server_conn *c = server_conn_new(&loop, peer, &events, &seen);
	ck_assert(!server_conn_up(c));
	run(&seen.up, 1, 5000);
	ck_assert(server_conn_up(c));
	return c;
}

START_TEST(many_questions_at_a_time)
{
	struct server_peer peer = peer_of(PROTOCOL_MEMCACHED);
	struct server_conn *c = open_conn(&peer);
	fake.replies[0] = "HD c1 W\r\nVA 7 f1\r\nEN\r\nabc\r\nEN\r\nkey=a x\nkey=b y\nEND\r\nOK";
	server_conn_ask(c, SERVER_META, SLICE("mg a\r\n"), on_answer, NULL);
	server_conn_ask(c, SERVER_META, SLICE("mg b v\r\n"), on_answer, NULL);
	server_conn_ask(c, SERVER_META, SLICE("mg c\r\n"), NULL, NULL);
	server_conn_ask(c, SERVER_LINES, SLICE("list\r\n"), on_answer, NULL);
	server_conn_ask(c, SERVER_META, SLICE("last\r\n"), on_answer, NULL);
	ck_assert_uint_eq(server_conn_asked(c), 5);
	ck_assert_uint_eq(server_conn_unsent(c), 32);
	run(&seen.answers, 5, 5000);
	ck_assert_str_eq(fake.got, "mg a\r\nmg b v\r\nmg c\r\nlist\r\nlast\r\n");
	ck_assert_str_eq(seen.said, "[HD c1 W\r\n][VA 7 f1\r\nEN\r\nabc\r\n]"
				    "[key=a x\n]+[key=b y\n]+[END\r\n]");
	ck_assert_uint_eq(server_conn_asked(c), 1); /* half an answer */
	server_conn_free(&c);
	ck_assert_ptr_null(c);
	server_conn_free(&c);
	run(NULL, 0, 20);
	ck_assert_int_eq(seen.lost, 0);
}
END_TEST

START_TEST(greeting)
{
	struct server_peer peer = peer_of(PROTOCOL_REDIS);
	peer.auth_user = "u";
	peer.auth_password = "p";
	peer.db = 4;
	fake.replies[0] = fake.replies[1] = "+OK\r\n";
	fake.replies[2] = "*2\r\n$1\r\nx\r\n*1\r\n:7\r\n";
	struct server_conn *c = open_conn(&peer);
	server_conn_ask(c, SERVER_RESP, SLICE("*1\r\n$1\r\nX\r\n"), on_answer, NULL);
	run(&seen.answers, 1, 5000);
	ck_assert_str_eq(seen.said, "[*2\r\n$1\r\nx\r\n*1\r\n:7\r\n]");
	ck_assert_str_eq(fake.got, "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n"
				   "*2\r\n$6\r\nSELECT\r\n$1\r\n4\r\n*1\r\n$1\r\nX\r\n");
	server_conn_free(&c);
}
END_TEST

START_TEST(greeting_refused)
{
	struct server_peer peer = peer_of(PROTOCOL_REDIS);
	peer.auth_password = "p";
	fake.replies[0] = "-WRONGPASS \x1b no\r\n";
	struct server_conn *c = server_conn_new(&loop, &peer, &events, &seen);
	run(&seen.down, 2, 5000);
	ck_assert_int_eq(seen.up, 0);
	ck_assert_str_eq(seen.why, "greeting: -WRONGPASS ? no");
	server_conn_free(&c);
}
END_TEST

static const struct {
	const char *reply, *why;
} breaks[] = {
	{ "HD\r\nHD\r\nHD\r\n", "answer: more than was asked for" },
	{ "VA 3\r\nabcde", "answer: it makes no sense, or is too long" },
	{ "VA x\r\n", "answer: it makes no sense, or is too long" },
	{ "VA 1001\r\n", "answer: it makes no sense, or is too long" },
	{ NULL, "answer: nothing within 100 ms" },
	{ "VA 3\r\nab", "answer: nothing within 100 ms" },
};

/* Whoever asked is told, and it is connected again. */
START_TEST(breaks_and_comes_again)
{
	struct server_peer peer = peer_of(PROTOCOL_MEMCACHED);
	peer.timeout_ms = 100;
	struct server_conn *c = open_conn(&peer);
	fake.replies[0] = breaks[_i].reply;
	server_conn_ask(c, SERVER_META, SLICE("a\r\n"), on_answer, NULL);
	server_conn_ask(c, SERVER_META, SLICE("b\r\n"), on_answer, NULL);
	run(&seen.down, 1, 5000);
	ck_assert_str_eq(seen.why, breaks[_i].why);
	ck_assert_int_eq(seen.answers + seen.lost, 2);
	ck_assert(!server_conn_up(c));
	run(&seen.up, 2, 5000);
	ck_assert(server_conn_up(c));
	fake.replies[0] = "HD\r\n";
	seen.answers = 0;
	server_conn_ask(c, SERVER_META, SLICE("c\r\n"), on_answer, NULL);
	run(&seen.answers, 1, 5000);
	ck_assert_int_eq(seen.answers, 1);
	ck_assert_int_eq(seen.down, 1);
	server_conn_free(&c);
}
END_TEST

START_TEST(idle_is_no_fault)
{
	struct server_peer peer = peer_of(PROTOCOL_MEMCACHED);
	peer.timeout_ms = 50;
	struct server_conn *c = open_conn(&peer);
	run(NULL, 0, 200);
	ck_assert_int_eq(seen.down, 0);
	fake.replies[0] = "HD\r\n";
	server_conn_ask(c, SERVER_META, SLICE("a\r\n"), on_answer, NULL);
	run(&seen.answers, 1, 5000);
	ck_assert_int_eq(seen.down, 0);
	fake_down(&fake);
	run(&seen.down, 3, 5000);
	ck_assert_str_eq(seen.why, "connect: Connection refused");
	fake_up(&fake, &loop);
	run(&seen.up, 2, 5000);
	ck_assert(server_conn_up(c));
	server_conn_free(&c);
}
END_TEST

START_TEST(held)
{
	struct server_peer peer = peer_of(PROTOCOL_MEMCACHED);
	peer.timeout_ms = 100;
	struct server_conn *c = open_conn(&peer);
	fake.replies[0] = "HD\r\n";
	server_conn_hold(c, true);
	server_conn_ask(c, SERVER_META, SLICE("a\r\n"), on_answer, NULL);
	run(&seen.answers, 1, 300);
	ck_assert_int_eq(seen.answers, 0);
	ck_assert_int_eq(seen.down, 0);
	ck_assert_str_eq(fake.got, "a\r\n");
	server_conn_hold(c, false);
	run(&seen.answers, 1, 5000);
	ck_assert_str_eq(seen.said, "[HD\r\n]");
	ck_assert_int_eq(seen.down, 0);
	server_conn_free(&c);
}
END_TEST

START_TEST(names)
{
	struct server_peer peer = peer_of(PROTOCOL_MEMCACHED);
	peer.host = "localhost";
	struct server_conn *c = open_conn(&peer);
	ck_assert_ptr_nonnull(server_conn_addr(c));
	server_conn_free(&c);
	memset(&seen, 0, sizeof(seen));
	peer.host = "no-such-host.invalid";
	c = server_conn_new(&loop, &peer, &events, &seen);
	run(&seen.down, 2, 5000);
	ck_assert_str_eq(seen.why, "name lookup: no address yet");
	ck_assert_ptr_null(server_conn_addr(c));
	server_conn_free(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("server_conn");
	TCase *t = tcase_create("server_conn");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, many_questions_at_a_time);
	tcase_add_test(t, greeting);
	tcase_add_test(t, greeting_refused);
	tcase_add_loop_test(t, breaks_and_comes_again, 0, sizeof(breaks) / sizeof(breaks[0]));
	tcase_add_test(t, idle_is_no_fault);
	tcase_add_test(t, held);
	tcase_add_test(t, names);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
