/* One topology takes the place of another while requests are in flight. */
#include <stdlib.h>

#include "tests/sim/sim.h"

START_TEST(the_old_view_goes_with_its_last_answer)
{
	sim_start("memcached", 2, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\nget %s\r\n", sim_key(0, 0), sim_key(1, 0));
	struct sock *a = sim_server(0), *b = sim_server(1);
	struct dest *d = sim_dest(0);
	sim_swap("memcached", 3, "", "");
	ck_assert_uint_eq(sim.snapshots_alive, 2);
	/* The same servers keep their connections. */
	ck_assert_ptr_eq(sim_dest(0), d);
	sim_send(b, "END\r\n");
	ck_assert_uint_eq(sim.snapshots_alive, 2);
	sim_send(a, "END\r\n");
	ck_assert_uint_eq(sim.snapshots_alive, 1);
	sim_pass_ms(2);
	sim_expect(c, "END\r\nEND\r\n");
	sim_send(c, "get %s\r\nget %s\r\n", sim_key(0, 0), sim_key(2, 0));
	ck_assert_ptr_eq(sim_server(0), a);
	ck_assert_ptr_nonnull(sim_server(2));
	sim_stop();
}
END_TEST

START_TEST(a_late_reply_belongs_to_its_view_too)
{
	sim_start("memcached", 1, "    timeout_ms: 100\n", "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\n");
	sim_pass_ms(112);
	sock_take(c, c->out_n);
	sim_swap("memcached", 1, "    timeout_ms: 200\n", "");
	ck_assert_uint_eq(sim.snapshots_alive, 2);
	sim_send(sim_server(0), "END\r\n");
	ck_assert_uint_eq(sim.snapshots_alive, 1);
	/* Another options' value holds from now on. */
	sim_send(c, "get a\r\n");
	sim_pass_ms(150);
	sim_expect(c, "%s", "");
	sim_pass_ms(62);
	sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
	sim_stop();
}
END_TEST

START_TEST(a_server_that_is_removed_answers_what_it_was_asked)
{
	sim_start("memcached", 2, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\n", sim_key(1, 0));
	struct sock *b = sim_server(1);
	sim_swap("memcached", 1, "", "");
	ck_assert(!b->closed);
	sim_send(b, "END\r\n");
	sim_expect(c, "END\r\n");
	ck_assert(b->closed);
	ck_assert_uint_eq(sim.snapshots_alive, 1);
	sim_stop();
}
END_TEST

START_TEST(an_idle_server_that_is_removed_is_closed)
{
	sim_start("memcached", 2, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\nget %s\r\n", sim_key(0, 0), sim_key(1, 0));
	sim_send(sim_server(0), "END\r\n");
	sim_send(sim_server(1), "END\r\n");
	struct sock *a = sim_server(0), *b = sim_server(1);
	sim_swap("memcached", 1, "", "");
	ck_assert(b->closed);
	ck_assert(!a->closed);
	sim_stop();
}
END_TEST

/* The first view outlives the second, which named the server last. */
START_TEST(a_view_outlives_its_successor)
{
	sim_start("memcached", 2, "    timeout_ms: 100000\n", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\nget %s %s\r\n", sim_key(1, 0), sim_key(0, 0), sim_key(1, 1));
	struct sock *b = sim_server(1);
	sim_swap("memcached", 2, "    timeout_ms: 90000\n", "");
	sim_swap("memcached", 1, "", "");
	sim_swap("memcached", 1, "    timeout_ms: 500\n", "");
	ck_assert(!b->closed);
	sim_feed(b, "END\r\nVAL");
	b->eof = true;
	sim_settle();
	sim_send(sim_server(0), "END\r\n");
	sim_pass_ms(3);
	sim_expect(c, "END\r\nSERVER_ERROR Connection closed by server (server s1)\r\n");
	ck_assert_uint_eq(sim.snapshots_alive, 1);
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(a_removed_server_dies_with_its_last_request)
{
	sim_start("memcached", 2, "    server_failure_limit: 1\n", "");
	struct sock *c = sim_client(), *c2 = sim_client();
	sim_send(c, "get %s\r\n", sim_key(1, 0));
	sim_send(c2, "get %s\r\n", sim_key(1, 0));
	struct sock *b = sim_server(1);
	sim_swap("memcached", 1, "", "");
	b->eof = true;
	sim_pass_ms(500);
	sim_expect(c, "SERVER_ERROR Connection closed by server (server s1)\r\n");
	sim_expect(c2, "SERVER_ERROR Connection closed by server (server s1)\r\n");
	ck_assert_uint_eq(sim.snapshots_alive, 1);
	ck_assert_uint_eq(fake_connection_count(SIM_PORT + 1), 1);
	sim_stop();
}
END_TEST

START_TEST(a_server_in_quarantine_survives_a_swap)
{
	sim_start("memcached", 1, "    timeout_ms: 100\n    server_failure_limit: 1\n", "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\n");
	sim_pass_ms(112);
	sock_take(c, c->out_n);
	struct sock *old = sim_server(0);
	ck_assert_int_eq(sim_dest(0)->state, DEST_TKO);
	sim_swap("memcached", 1, "    timeout_ms: 150\n", "");
	ck_assert_int_eq(sim_dest(0)->state, DEST_TKO);
	sim_pass_ms(9000);
	ck_assert_uint_eq(sim.snapshots_alive, 2);
	sim_pass_ms(1200);
	ck_assert(old->closed);
	ck_assert_uint_eq(sim.snapshots_alive, 1);
	sim_stop();
}
END_TEST

START_TEST(a_client_whose_entry_vanishes)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client(), *idle = sim_client(), *half = sim_client();
	sim_send(c, "get a\r\n");
	sim_send(half, "get b");
	sim_swap_to_nothing();
	sim_send(c, "get c\r\n");
	sim_send(idle, "get d\r\n");
	sim_expect(idle, "SERVER_ERROR pool was removed\r\n");
	sim_send(fake_connection(SIM_PORT, 0), "END\r\n");
	sim_expect(c, "END\r\nSERVER_ERROR pool was removed\r\n");
	half->eof = true;
	sim_settle();
	ck_assert(half->closed);
	struct sock *late = sim_client();
	sim_send(late, "set e 0 0 3\r\nget\r\nquit\r\n");
	sim_expect(late, "SERVER_ERROR pool was removed\r\n");
	ck_assert(late->shut);
	sim_stop();
}
END_TEST

START_TEST(half_a_request_across_a_swap)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "set a 0 0 10\r\n01234");
	sim_swap("memcached", 1, "    value_max: 5000\n", "");
	sim_send(c, "56789\r\nget ");
	sim_expect(sim_server(0), "set a 0 0 10\r\n0123456789\r\n");
	sim_swap("memcached", 2, "", "");
	sim_send(c, "%s\r\n", sim_key(1, 0));
	sim_send(sim_server(0), "STORED\r\n");
	sim_send(sim_server(1), "END\r\n");
	sim_pass_ms(2);
	sim_expect(c, "STORED\r\nEND\r\n");
	sim_stop();
}
END_TEST

START_TEST(a_listener_that_changes_its_protocol)
{
	static const char *const halves[] = { "set a 0 0 10\r\n01234", "get abcdef", "g" };
	static const char *const resp[] = { "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$99\r\n0", "*2\r\n$3",
					    "*" };
	for (int i = 0; i < 6; i++) {
		sim_start(i < 3 ? "memcached" : "redis", 1, "", "");
		struct sock *c = sim_client();
		sim_send(c, "%s", i < 3 ? halves[i] : resp[i - 3]);
		sim_swap(i < 3 ? "redis" : "memcached", 1, "", "");
		for (int k = 0; k < 20 && !c->closed && !c->shut; k++)
			sim_send(c, "\r\n$3\r\n5678901234567890\r\n");
		sim_stop();
	}
}
END_TEST

START_TEST(a_shorter_timeout_holds_behind_a_longer_one)
{
	static const char *const before[] = { "    timeout_ms: 10000\n", "    timeout_ms: 0\n" };
	for (int i = 0; i < 2; i++) {
		sim_start("memcached", 1, before[i], "");
		struct sock *c = sim_client(), *c2 = sim_client();
		sim_send(c, "get a\r\n");
		sim_pass_ms(500);
		sim_swap("memcached", 1, "    timeout_ms: 100\n", "");
		sim_pass_ms(50);
		sim_send(c2, "get b\r\n");
		sim_pass_ms(62);
		sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
		sim_expect(c2, "%s", "");
		sim_pass_ms(50);
		sim_expect(c2, "SERVER_ERROR Connection timed out (server s0)\r\n");
		sim_send(sim_server(0), "END\r\nEND\r\n");
		ck_assert_uint_eq(sim_live(), 0);
		ck_assert_uint_eq(sim.snapshots_alive, 1);
		sim_stop();
	}
}
END_TEST

/* Three swaps; the connection that the last removes is probed meanwhile. */
START_TEST(a_probed_server_is_removed)
{
	sim_start("memcached", 2, "    server_failure_limit: 1\n", "");
	struct sock *c = sim_client();
	fake_set_accept(SIM_PORT + 1, ACCEPT_REFUSE);
	sim_send(c, "get %s\r\n", sim_key(1, 0));
	sim_expect(c, "SERVER_ERROR Connection refused (server s1)\r\n");
	fake_set_accept(SIM_PORT + 1, ACCEPT_LATER);
	sim_pass_ms(130);
	struct sock *probe = sim_server(1);
	sim_expect(probe, "version\r\n");
	sim_swap("memcached", 1, "", "");
	ck_assert(probe->closed);
	ck_assert_uint_eq(sim_live(), 0);
	sim_pass_ms(3000);
	sim_stop();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("swap");
	tcase_add_test(t, the_old_view_goes_with_its_last_answer);
	tcase_add_test(t, a_late_reply_belongs_to_its_view_too);
	tcase_add_test(t, a_server_that_is_removed_answers_what_it_was_asked);
	tcase_add_test(t, an_idle_server_that_is_removed_is_closed);
	tcase_add_test(t, a_view_outlives_its_successor);
	tcase_add_test(t, a_removed_server_dies_with_its_last_request);
	tcase_add_test(t, a_server_in_quarantine_survives_a_swap);
	tcase_add_test(t, a_client_whose_entry_vanishes);
	tcase_add_test(t, half_a_request_across_a_swap);
	tcase_add_test(t, a_listener_that_changes_its_protocol);
	tcase_add_test(t, a_shorter_timeout_holds_behind_a_longer_one);
	tcase_add_test(t, a_probed_server_is_removed);
	return sim_run("swap", t);
}
