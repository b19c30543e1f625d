/* What only Redis needs: greetings, lanes, dialects. */
#include <stdlib.h>

#include "tests/sim/sim.h"

#define AUTH	    "    auth: {user: bob, password: sesame}\n    redis_db: 7\n"
#define AUTH_BOB    "*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$6\r\nsesame\r\n"
#define SELECT_7    "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n"
#define HELLO_3	    "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"
#define HELLO_REPLY "%%1\r\n$5\r\nproto\r\n:3\r\n"

static void send_get(struct sock *c, const char *key)
{
	sim_send(c, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
}

static void expect_get(struct sock *s, const char *key)
{
	sim_expect(s, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
}

static struct sock *client_with_password(void)
{
	struct sock *c = sim_client();
	sim_send(c, AUTH_BOB);
	sim_expect(c, "+OK\r\n");
	return c;
}

START_TEST(a_greeting_comes_before_any_request)
{
	sim_start("redis", 1, AUTH, "");
	struct sock *c = client_with_password();
	send_get(c, "a");
	struct sock *s = sim_server(0);
	sim_expect(s, AUTH_BOB);
	sim_send_pieces(s, "+OK\r\n", 5, 1);
	sim_expect(s, SELECT_7);
	send_get(c, "b");
	sim_expect(s, "%s", "");
	sim_send_pieces(s, "+OK\r\n", 5, 1);
	sim_expect(s, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
	sim_send(s, "$1\r\nx\r\n$-1\r\n");
	sim_expect(c, "$1\r\nx\r\n$-1\r\n");
	sim_stop();
}
END_TEST

START_TEST(a_refused_greeting_lets_no_request_through)
{
	sim_start("redis", 1, AUTH, "");
	struct sock *c = client_with_password();
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(sim_dest(0)->state, DEST_READY);
		send_get(c, "a");
		struct sock *s = sim_server(0);
		sim_expect(s, AUTH_BOB);
		sim_send(s, "-WRONGPASS invalid username-password pair\r\n");
		ck_assert(s->closed);
		sim_expect(s, "%s", "");
		ck_assert_int_eq(memcmp(c->out, "-ERR Connection failed", 22), 0);
		sock_take(c, c->out_n);
	}
	ck_assert_int_eq(sim_dest(0)->state, DEST_TKO);
	sim_stop();
}
END_TEST

START_TEST(a_greeting_that_is_not_answered)
{
	sim_start("redis", 1, "    redis_db: 7\n    timeout_ms: 100\n", "");
	struct sock *c = sim_client();
	send_get(c, "a");
	struct sock *s = sim_server(0);
	sim_expect(s, SELECT_7);
	sim_pass_ms(112);
	ck_assert(s->closed);
	sim_expect(s, "%s", "");
	ck_assert_int_eq(memcmp(c->out, "-ERR Connection timed out", 25), 0);
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(more_than_the_greeting_asked_for)
{
	sim_start("redis", 1, "    redis_db: 7\n", "");
	struct sock *c = sim_client();
	send_get(c, "a");
	struct sock *s = sim_server(0);
	sim_expect(s, SELECT_7);
	sim_send(s, "+OK\r\n+OK\r\n");
	ck_assert(s->closed);
	sim_expect(s, "%s", "");
	ck_assert_int_eq(memcmp(c->out, "-ERR protocol error", 19), 0);
	sim_stop();
}
END_TEST

START_TEST(a_probe_greets_first)
{
	sim_start("redis", 1, "    redis_db: 7\n    server_failure_limit: 1\n", "");
	struct sock *c = sim_client();
	send_get(c, "a");
	sim_server(0)->eof = true;
	sim_settle();
	ck_assert_int_eq(sim_dest(0)->state, DEST_TKO);
	sim_pass_ms(130);
	struct sock *s = sim_server(0);
	sim_expect(s, SELECT_7);
	sim_send(s, "+OK\r\n");
	sim_expect(s, "*1\r\n$4\r\nPING\r\n");
	sim_send(s, "-LOADING Redis is loading the dataset in memory\r\n");
	sim_pass_ms(20);
	ck_assert_int_eq(sim_dest(0)->state, DEST_TKO);
	sim_pass_ms(250);
	s = sim_server(0);
	sim_send(s, "+OK\r\n");
	sim_send(s, "+PONG\r\n");
	ck_assert_int_eq(sim_dest(0)->state, DEST_READY);
	sock_take(s, s->out_n);
	send_get(c, "b");
	expect_get(s, "b");
	sim_stop();
}
END_TEST

START_TEST(each_dialect_has_its_lane)
{
	sim_start("redis", 1, "", "");
	struct sock *c = sim_client(), *c3 = sim_client();
	sim_send(c3, HELLO_3);
	ck_assert_uint_gt(c3->out_n, 0);
	sock_take(c3, c3->out_n);
	send_get(c, "a");
	struct sock *s2 = sim_server(0);
	expect_get(s2, "a");
	send_get(c3, "a");
	struct sock *s3 = sim_server(0);
	ck_assert_ptr_ne(s2, s3);
	sim_expect(s3, HELLO_3);
	sim_send(s3, HELLO_REPLY);
	expect_get(s3, "a");
	sim_send(s3, "_\r\n");
	sim_expect(c3, "_\r\n");
	sim_send(s2, "$-1\r\n");
	sim_expect(c, "$-1\r\n");
	sim_stop();
}
END_TEST

/* An old server knows no HELLO. That is no reason to keep it from those who do not need it. */
START_TEST(a_server_without_resp3_still_serves_resp2)
{
	sim_start("redis", 1, "", "");
	struct sock *c = sim_client(), *c3 = sim_client();
	sim_send(c3, HELLO_3);
	sock_take(c3, c3->out_n);
	for (int i = 0; i < 5; i++) {
		send_get(c3, "a");
		sim_expect(sim_server(0), HELLO_3);
		sim_send(sim_server(0), "-ERR unknown command `HELLO`\r\n");
		ck_assert_int_eq(memcmp(c3->out, "-ERR Connection failed", 22), 0);
		sock_take(c3, c3->out_n);
	}
	send_get(c, "a");
	sim_send(sim_server(0), "$-1\r\n");
	sim_expect(c, "$-1\r\n");
	sim_stop();
}
END_TEST

START_TEST(clients_are_spread_over_lanes_and_stay_there)
{
	sim_start("redis", 1, "    server_connections: 200\n", "");
	struct sock *c[200];
	for (int i = 0; i < 200; i++) {
		c[i] = sim_client();
		if (i % 2) sim_send(c[i], HELLO_3);
		sock_take(c[i], c[i]->out_n);
	}
	for (int i = 0; i < 200; i++) {
		uint32_t before = fake_connection_count(SIM_PORT);
		send_get(c[i], "a");
		ck_assert_uint_eq(fake_connection_count(SIM_PORT), before + 1);
		struct sock *s = sim_server(0);
		if (i % 2) {
			sim_expect(s, HELLO_3);
			sim_send(s, HELLO_REPLY);
		}
		send_get(c[i], "b");
		sim_expect(s, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
		sim_send(s, "$1\r\n%d\r\n$-1\r\n", i % 10);
		sim_pass_ms(1);
		sim_expect(c[i], "$1\r\n%d\r\n$-1\r\n", i % 10);
	}
	sim_stop();
}
END_TEST

START_TEST(mget_is_split_and_merged)
{
	sim_start("redis", 2, "", "");
	struct sock *c = sim_client();
	sim_send(c, "*4\r\n$4\r\nMGET\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
		 strlen(sim_key(0, 0)), sim_key(0, 0), strlen(sim_key(1, 0)), sim_key(1, 0),
		 strlen(sim_key(0, 1)), sim_key(0, 1));
	char *big = sim_value(70000, 9);
	sim_feed(sim_server(0), "*2\r\n$-1\r\n$70000\r\n");
	sock_send(sim_server(0), big, 70000);
	sim_send(sim_server(0), "\r\n");
	sim_expect(c, "%s", "");
	sim_send(sim_server(1), "*1\r\n$1\r\nb\r\n");
	struct scratch want = { 0 };
	scratch_printf(&want, "*3\r\n$-1\r\n$1\r\nb\r\n$70000\r\n");
	scratch_put(&want, big, 70000);
	scratch_printf(&want, "\r\n");
	sim_expect_bytes(c, want.p, want.n);
	scratch_fini(&want);
	free(big);
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(a_reply_of_many_parts_is_bounded)
{
	sim_start("redis", 1, "", "  reply_max: 100000\n");
	struct sock *c = sim_client();
	send_get(c, "a");
	struct sock *s = sim_server(0);
	sim_send(s, "*100000000\r\n");
	for (int i = 0; i < 100000 && !s->closed; i++) sim_send(s, "$1\r\nx\r\n:1\r\n:2\r\n");
	ck_assert(s->closed);
	ck_assert_uint_lt(sim.w->core.bufs.bytes, 1000000);
	ck_assert_int_eq(memcmp(c->out, "-ERR ", 5), 0);
	sim_stop();
}
END_TEST

START_TEST(a_bulk_of_a_megabyte_in_any_chunks)
{
	static const size_t pieces[] = { 1000, 16384, 65472, 65473, 100000, 1048576 };
	char *value = sim_value(1048576, 2);
	for (int i = 0; i < 6; i++) {
		sim_start("redis", 1, "", "");
		struct sock *c = sim_client();
		struct scratch set = { 0 };
		scratch_printf(&set, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1048576\r\n");
		scratch_put(&set, value, 1048576);
		scratch_printf(&set, "\r\n");
		sim_send_pieces(c, set.p, set.n, pieces[i]);
		sim_expect_bytes(sim_server(0), set.p, set.n);
		sim_send(sim_server(0), "+OK\r\n");
		sim_expect(c, "+OK\r\n");
		send_get(c, "a");
		const char *bulk = set.p + 20;
		sim_send_pieces(sim_server(0), bulk, set.n - 20, pieces[i]);
		sim_expect_bytes(c, bulk, set.n - 20);
		scratch_fini(&set);
		sim_stop();
	}
	free(value);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("redis");
	tcase_add_test(t, a_greeting_comes_before_any_request);
	tcase_add_test(t, a_refused_greeting_lets_no_request_through);
	tcase_add_test(t, a_greeting_that_is_not_answered);
	tcase_add_test(t, more_than_the_greeting_asked_for);
	tcase_add_test(t, a_probe_greets_first);
	tcase_add_test(t, each_dialect_has_its_lane);
	tcase_add_test(t, a_server_without_resp3_still_serves_resp2);
	tcase_add_test(t, clients_are_spread_over_lanes_and_stay_there);
	tcase_add_test(t, mget_is_split_and_merged);
	tcase_add_test(t, a_reply_of_many_parts_is_bounded);
	tcase_add_test(t, a_bulk_of_a_megabyte_in_any_chunks);
	return sim_run("redis", t);
}
