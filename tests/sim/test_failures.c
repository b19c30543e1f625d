/* Servers that are slow, gone, wrong or full. */
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define FAST "    timeout_ms: 100\n"

static enum dest_state state(uint32_t i)
{
	return (enum dest_state)sim_dest(i)->state;
}

START_TEST(a_timeout_answers_at_the_deadline)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\n");
	sim_pass_ms(50);
	sim_send(c, "get b\r\n");
	sim_pass_ms(49);
	sim_expect(c, "%s", "");
	sim_pass_ms(12);
	sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
	sim_pass_ms(38);
	sim_expect(c, "%s", "");
	sim_pass_ms(12);
	sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
	ck_assert_uint_eq(sim_server_metric(0, SERVER_server_timedout), 2);
	sim_stop();
}
END_TEST

START_TEST(late_replies_shift_nobody)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\n");
	sim_pass_ms(112);
	sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
	sim_send(c, "set b 0 0 1\r\nx\r\n");
	sim_expect(sim_server(0), "get a\r\nset b 0 0 1\r\nx\r\n");
	sim_send(sim_server(0), "VALUE a 0 4\r\nlate\r\nEND\r\nSTO");
	sim_expect(c, "%s", "");
	sim_send(sim_server(0), "RED\r\n");
	sim_expect(c, "STORED\r\n");
	ck_assert_uint_eq(sim_server_metric(0, SERVER_late_replies), 1);
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(a_server_that_is_always_late_is_marked_down)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client();
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(state(0), DEST_READY);
		sim_send(c, "get a\r\n");
		sim_pass_ms(112);
		sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
		sim_send(sim_server(0), "END\r\n");
	}
	ck_assert_int_eq(state(0), DEST_TKO);
	sim_stop();
}
END_TEST

START_TEST(an_answer_in_time_forgives_failures)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client();
	for (int i = 0; i < 2; i++) {
		sim_send(c, "get a\r\n");
		sim_pass_ms(112);
		sim_send(sim_server(0), "END\r\n");
	}
	sim_send(c, "get a\r\n");
	sim_send(sim_server(0), "END\r\n");
	ck_assert_uint_eq(sim_dest(0)->failures, 0);
	ck_assert_int_eq(state(0), DEST_READY);
	sim_stop();
}
END_TEST

START_TEST(a_reply_owed_for_ever_is_given_up)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\n");
	sim_pass_ms(112);
	struct sock *s = sim_server(0);
	sim_pass_ms(9900);
	ck_assert(!s->closed);
	ck_assert_uint_eq(sim_live(), 1);
	sim_pass_ms(120);
	ck_assert(s->closed);
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(a_refusal_marks_down_at_once)
{
	static const enum fake_accept how[] = { ACCEPT_REFUSE, ACCEPT_REFUSE_AT_ONCE };
	for (int i = 0; i < 2; i++) {
		sim_start("memcached", 1, FAST, "");
		fake_set_accept(SIM_PORT, how[i]);
		struct sock *c = sim_client();
		sim_send(c, "get a\r\nget b\r\n");
		sim_pass_ms(2);
		sim_expect(c, "SERVER_ERROR Connection refused (server s0)\r\n"
			      "SERVER_ERROR Connection refused (server s0)\r\n");
		ck_assert_int_eq(state(0), DEST_TKO);
		uint32_t attempts = fake_connection_count(SIM_PORT);
		sim_send(c, "get c\r\n");
		sim_expect(c, "SERVER_ERROR Connection refused (server s0)\r\n");
		ck_assert_uint_eq(fake_connection_count(SIM_PORT), attempts);
		ck_assert_uint_eq(sim_server_metric(0, SERVER_fast_fails), i == 0 ? 1 : 2);
		sim_stop();
	}
}
END_TEST

/* request_fail_later(): the answer must not come while the request is still on its way down. */
START_TEST(a_failure_is_never_told_inline)
{
	sim_start("memcached", 2, "", "");
	fake_set_accept(SIM_PORT, ACCEPT_REFUSE_AT_ONCE);
	fake_set_accept(SIM_PORT + 1, ACCEPT_REFUSE_AT_ONCE);
	struct sock *c = sim_client();
	sim_send(c, "get %s %s %s\r\nget %s %s\r\nset %s 0 0 1 noreply\r\nx\r\nversion\r\n",
		 sim_key(0, 0), sim_key(1, 0), sim_key(0, 1), sim_key(1, 1), sim_key(0, 2),
		 sim_key(0, 3));
	ck_assert_int_eq(memcmp(c->out, "SERVER_ERROR Connection refused (server s", 41), 0);
	const char *second = memchr(c->out, '\n', c->out_n) + 1;
	ck_assert_int_eq(memcmp(second, "SERVER_ERROR Connection refused", 31), 0);
	const char *third = strchr(second, '\n') + 1;
	ck_assert_int_eq(memcmp(third, "VERSION ", 8), 0);
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(no_descriptor_is_no_proof_against_the_server)
{
	sim_start("memcached", 1, "    server_failure_limit: 3\n", "");
	fake_set_accept(SIM_PORT, ACCEPT_NO_FD);
	struct sock *c = sim_client();
	sim_send(c, "get a\r\n");
	sim_expect(c, "SERVER_ERROR Connection failed (server s0)\r\n");
	ck_assert_int_eq(state(0), DEST_READY);
	fake_set_accept(SIM_PORT, ACCEPT_LATER);
	sim_send(c, "get a\r\n");
	sim_send(sim_server(0), "END\r\n");
	sim_expect(c, "END\r\n");
	sim_stop();
}
END_TEST

START_TEST(a_connection_that_never_opens)
{
	sim_start("memcached", 1, "    timeout_ms: 400\n    connect_timeout_ms: 100\n", "");
	fake_set_accept(SIM_PORT, ACCEPT_NEVER);
	struct sock *c = sim_client();
	sim_send(c, "get a\r\nget b\r\n");
	sim_pass_ms(112);
	sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n"
		      "SERVER_ERROR Connection timed out (server s0)\r\n");
	ck_assert(fake_connection(SIM_PORT, 0)->closed);
	ck_assert_uint_eq(sim_dest(0)->failures, 1);
	sim_stop();
}
END_TEST

/* Mark server 0 down by three timeouts; its connection still owes three replies. */
static struct sock *mark_down(struct sock *c)
{
	sim_send(c, "get a\r\nget b\r\n");
	sim_pass_ms(112);
	sim_send(c, "get c\r\n");
	sim_pass_ms(112);
	ck_assert_int_eq(state(0), DEST_READY);
	sim_send(c, "get d\r\n");
	sim_pass_ms(112);
	ck_assert_int_eq(state(0), DEST_TKO);
	struct sock *s = fake_connection(SIM_PORT, 0);
	sim_expect(s, "get a\r\nget b\r\nget c\r\nget d\r\n");
	sock_take(c, c->out_n);
	return s;
}

START_TEST(quarantine_keeps_the_connection_and_sends_nothing_on_it)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client(), *old = mark_down(c);
	sim_send(c, "get e\r\n");
	sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
	ck_assert(!old->closed);
	sim_expect(old, "%s", "");
	/* The probe goes another way. */
	sim_pass_ms(130);
	struct sock *probe = sim_server(0);
	ck_assert_ptr_ne(probe, old);
	sim_expect(probe, "version\r\n");
	/* A part of what is owed changes nothing. */
	sim_send(old, "END\r\nEND\r\n");
	ck_assert(!old->closed);
	sim_expect(c, "%s", "");
	sim_send(old, "END\r\nEND\r\n");
	ck_assert(old->closed);
	sim_expect(c, "%s", "");
	sim_send(probe, "VERSION 1.6.18\r\n");
	ck_assert_int_eq(state(0), DEST_READY);
	sim_send(c, "get f\r\n");
	sim_expect(probe, "get f\r\n");
	sim_send(probe, "END\r\n");
	sim_expect(c, "END\r\n");
	ck_assert_uint_eq(sim_live(), 0);
	ck_assert_uint_ge(sim.dest_mails, 2);
	sim_stop();
}
END_TEST

START_TEST(a_server_that_is_back_waits_a_second_for_what_it_owes)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client(), *old = mark_down(c);
	sim_pass_ms(130);
	struct sock *probe = sim_server(0);
	uint64_t first = clock_now_us();
	for (int i = 0; i < 40 && state(0) == DEST_TKO; i++) {
		if (probe->out_n) {
			sim_expect(probe, "version\r\n");
			sim_send(probe, "VERSION 1\r\n");
		}
		if (state(0) == DEST_TKO) sim_pass_ms(30);
	}
	ck_assert_int_eq(state(0), DEST_READY);
	ck_assert_uint_ge(clock_now_us() - first, 1000000);
	ck_assert_uint_le(clock_now_us() - first, 1200000);
	ck_assert(!old->closed);
	sim_pass_ms(10100);
	ck_assert(old->closed);
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(probes_back_off)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client();
	mark_down(c);
	fake_set_accept(SIM_PORT, ACCEPT_REFUSE);
	uint64_t last = clock_now_us(), expected = 100;
	for (uint32_t i = 0; i < 8; i++) {
		uint32_t before = fake_connection_count(SIM_PORT);
		while (fake_connection_count(SIM_PORT) == before) sim_pass_ms(1);
		uint64_t waited = (clock_now_us() - last) / 1000;
		ck_assert_msg(waited + 12 >= expected && waited <= expected * 6 / 5 + 12,
			      "probe %u after %lu ms", i, (unsigned long)waited);
		last = clock_now_us();
		expected = expected * 2 < 2000 ? expected * 2 : 2000;
	}
	fake_set_accept(SIM_PORT, ACCEPT_LATER);
	sim_pass_ms(2500);
	sim_expect(sim_server(0), "version\r\n");
	/* No answer for a second: the probe has failed. */
	struct sock *probe = sim_server(0);
	sim_pass_ms(1030);
	ck_assert(probe->closed);
	sim_pass_ms(2500);
	sim_send(sim_server(0), "VERSION 2\r\n");
	sim_pass_ms(100);
	if (state(0) == DEST_TKO) sim_pass_ms(10000);
	sim_stop();
}
END_TEST

START_TEST(a_probe_that_is_answered_wrongly)
{
	sim_start("memcached", 1, FAST, "");
	struct sock *c = sim_client(), *old = mark_down(c);
	old->eof = true;
	sim_pass_ms(130);
	sim_send(sim_server(0), "ERROR\r\n");
	sim_pass_ms(20);
	ck_assert_int_eq(state(0), DEST_TKO);
	ck_assert_ptr_null(sim_server(0));
	sim_pass_ms(250);
	sim_send(sim_server(0), "-ERR unknown command\r\n");
	ck_assert_int_eq(state(0), DEST_TKO);
	ck_assert_ptr_null(sim_server(0));
	sim_pass_ms(490);
	sim_send(sim_server(0), "VERSION 1\r\n");
	ck_assert_int_eq(state(0), DEST_READY);
	sim_stop();
}
END_TEST

START_TEST(a_connection_that_closes_in_the_middle_of_a_reply)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\nget b\r\nget c\r\n");
	sim_feed(sim_server(0), "VALUE a 0 1\r\nx\r\nEND\r\nVALUE b 0 10\r\n1234");
	sim_server(0)->eof = true;
	sim_pass_ms(3);
	sim_expect(c, "VALUE a 0 1\r\nx\r\nEND\r\n"
		      "SERVER_ERROR Connection closed by server (server s0)\r\n"
		      "SERVER_ERROR Connection closed by server (server s0)\r\n");
	sim_send(c, "get d\r\n");
	sim_send(sim_server(0), "END\r\n");
	sim_expect(c, "END\r\n");
	sim_stop();
}
END_TEST

static void desync(const char *answer, const char *client_gets)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\n");
	struct sock *s = sim_server(0);
	sim_send(s, "%s", answer);
	sim_pass_ms(2);
	sim_expect(c, "%s", client_gets);
	ck_assert(s->closed);
	ck_assert_int_eq(state(0), DEST_TKO);
	ck_assert_uint_eq(sim_server_metric(0, SERVER_desync), 1);
	sim_stop();
}

START_TEST(what_nobody_asked_for_ends_the_connection)
{
	desync("END\r\nEND\r\n", "END\r\n");
	desync("VALUE b 0 1\r\nx\r\nEND\r\n",
	       "SERVER_ERROR protocol error from server (server s0)\r\n");
	desync("STORED\r\n", "SERVER_ERROR protocol error from server (server s0)\r\n");
	desync("VALUE a 0 1\r\nxEND\r\nEND\r\n",
	       "SERVER_ERROR protocol error from server (server s0)\r\n");
}
END_TEST

START_TEST(what_came_before_the_question_is_no_answer)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "set a 0 0 1\r\nx\r\n");
	sim_send(sim_server(0), "STORED\r\n");
	sim_expect(c, "STORED\r\n");
	/* Both arrive in one turn, the client's first. */
	struct sock *early = sim_client();
	struct sock *s = sim_server(0);
	ck_assert_int_lt(c->fd, s->fd);
	(void)early;
	sim_feed(c, "set b 0 0 1\r\ny\r\n");
	sim_feed(s, "STORED\r\n");
	sim_settle();
	sim_expect(c, "SERVER_ERROR protocol error from server (server s0)\r\n");
	ck_assert(s->closed);
	sim_stop();
}
END_TEST

START_TEST(an_early_refusal_of_a_large_body_is_an_answer)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	char *value = sim_value(100000, 3);
	sim_send(c, "get warm\r\n");
	struct sock *s = sim_server(0);
	sim_send(s, "END\r\n");
	sock_take(c, c->out_n);
	sock_take(s, s->out_n);
	s->window = 5000;
	sim_feed(c, "set a 0 0 100000\r\n");
	sock_send(c, value, 100000);
	sim_send(c, "\r\nget b\r\n");
	ck_assert_uint_eq(s->out_n, 5000);
	sim_send(s, "SERVER_ERROR object too large for cache\r\n");
	sim_pass_ms(2);
	sim_expect(c, "SERVER_ERROR object too large for cache\r\n");
	s->window = SIZE_MAX;
	sim_settle();
	ck_assert_uint_eq(s->out_n, 18 + 100002 + 7);
	sim_send(s, "END\r\n");
	sim_expect(c, "END\r\n");
	free(value);
	sim_stop();
}
END_TEST

START_TEST(a_refused_store_line_ends_the_connection)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "set a 0 0 9\r\nversion\r\n\r\n");
	sim_send(c, "get b\r\n");
	struct sock *s = sim_server(0);
	sim_send(s, "CLIENT_ERROR bad command line format\r\n");
	sim_pass_ms(2);
	sim_expect(c, "%s",
		   "CLIENT_ERROR bad command line format\r\n"
		   "SERVER_ERROR Connection closed by server (server s0)\r\n");
	ck_assert(s->closed);
	ck_assert_int_eq(state(0), DEST_READY);
	sim_stop();
}
END_TEST

START_TEST(a_reply_over_the_limit)
{
	sim_start("memcached", 1, "", "  reply_max: 100000\n");
	struct sock *c = sim_client();
	for (int i = 0; i < 5; i++) {
		sim_send(c, "get a\r\n");
		sim_send(sim_server(0), "VALUE a 0 200000\r\nabc");
		sim_expect(c, "SERVER_ERROR reply too large (server s0)\r\n");
		ck_assert_ptr_null(sim_server(0));
	}
	/* It was the client's wish, not the server's fault. */
	ck_assert_int_eq(state(0), DEST_READY);
	sim_stop();
}
END_TEST

START_TEST(a_full_server_socket)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get warm\r\n");
	struct sock *s = sim_server(0);
	sim_send(s, "END\r\n");
	sock_take(c, c->out_n);
	sock_take(s, s->out_n);
	s->window = 0;
	sim_send(c, "get a\r\nget b\r\n");
	sim_send(c, "get c\r\n");
	ck_assert_uint_eq(sim_server_metric(0, SERVER_in_queue), 3);
	for (int i = 0; i < 21; i++) {
		s->window = 1;
		sim_settle();
		ck_assert_uint_eq(s->out_n, (size_t)i + 1);
	}
	sim_expect(s, "get a\r\nget b\r\nget c\r\n");
	ck_assert_uint_eq(sim_server_metric(0, SERVER_in_queue), 0);
	ck_assert_uint_eq(sim_server_metric(0, SERVER_out_queue), 3);
	sim_send(s, "END\r\nEND\r\nEND\r\n");
	sim_expect(c, "END\r\nEND\r\nEND\r\n");
	sim_stop();
}
END_TEST

START_TEST(a_write_that_fails)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get warm\r\n");
	sim_send(sim_server(0), "END\r\n");
	sock_take(c, c->out_n);
	struct sock *s = sim_server(0);
	sim_feed(c, "get a\r\n");
	sim_turn();
	s->error = EPIPE;
	sim_send(c, "get b\r\n");
	sim_pass_ms(2);
	sim_expect(c, "SERVER_ERROR Connection closed by server (server s0)\r\n"
		      "SERVER_ERROR Connection closed by server (server s0)\r\n");
	sim_stop();
}
END_TEST

START_TEST(a_full_queue)
{
	sim_start("memcached", 1, "    inflight_max: 2\n", "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\nget b\r\nget c\r\nget d\r\n");
	sim_expect(sim_server(0), "get a\r\nget b\r\n");
	sim_send(sim_server(0), "END\r\nEND\r\n");
	sim_expect(c, "END\r\nEND\r\nSERVER_ERROR too many requests in flight (server s0)\r\n"
		      "SERVER_ERROR too many requests in flight (server s0)\r\n");
	sim_stop();
}
END_TEST

START_TEST(an_idle_connection_may_close)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	for (int i = 0; i < 5; i++) {
		sim_send(c, "get a\r\n");
		sim_send(sim_server(0), "END\r\n");
		sim_expect(c, "END\r\n");
		sim_server(0)->eof = true;
		sim_settle();
		ck_assert_uint_eq(sim_dest(0)->failures, 0);
	}
	sim_stop();
}
END_TEST

START_TEST(a_connection_that_closes_as_it_is_needed)
{
	for (int i = 0; i < 2; i++) {
		sim_start("memcached", 1, "", "");
		struct sock *c = sim_client();
		sim_send(c, "get a\r\n");
		struct sock *s = sim_server(0);
		sim_send(s, "END\r\n");
		sim_expect(c, "END\r\n");
		sock_take(s, s->out_n);
		sim_feed(c, "get b\r\nset c 0 0 1\r\nx\r\n");
		/* The client's event comes first, and its request is queued already. */
		if (i == 0) s->eof = true;
		if (i == 1) s->error = ECONNRESET;
		sim_settle();
		ck_assert(s->closed);
		sim_expect(s, "%s", "");
		sim_expect(sim_server(0), "get b\r\nset c 0 0 1\r\nx\r\n");
		sim_send(sim_server(0), "END\r\nSTORED\r\n");
		sim_expect(c, "END\r\nSTORED\r\n");
		sim_stop();
	}
}
END_TEST

START_TEST(a_server_that_only_accepts_and_closes)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	for (int i = 0; i < 3; i++) {
		sim_feed(c, "get a\r\n");
		sim_turn();
		ck_assert_uint_eq(fake_connection_count(SIM_PORT), (uint32_t)i + 1);
		sim_server(0)->eof = true;
		sim_settle();
		sim_expect(c, "SERVER_ERROR Connection closed by server (server s0)\r\n");
	}
	ck_assert_int_eq(state(0), DEST_TKO);
	sim_stop();
}
END_TEST

START_TEST(stopping_with_requests_in_flight_leaves_nothing)
{
	sim_start("memcached", 2, FAST, "");
	struct sock *c = sim_client();
	sim_send(c, "get %s %s\r\nget %s\r\n", sim_key(0, 0), sim_key(1, 0), sim_key(0, 1));
	sim_stop();
	sim_start("memcached", 1, FAST, "");
	mark_down(sim_client());
	sim_stop();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("failures");
	tcase_add_test(t, a_timeout_answers_at_the_deadline);
	tcase_add_test(t, late_replies_shift_nobody);
	tcase_add_test(t, a_server_that_is_always_late_is_marked_down);
	tcase_add_test(t, an_answer_in_time_forgives_failures);
	tcase_add_test(t, a_reply_owed_for_ever_is_given_up);
	tcase_add_test(t, a_refusal_marks_down_at_once);
	tcase_add_test(t, a_failure_is_never_told_inline);
	tcase_add_test(t, no_descriptor_is_no_proof_against_the_server);
	tcase_add_test(t, a_connection_that_never_opens);
	tcase_add_test(t, quarantine_keeps_the_connection_and_sends_nothing_on_it);
	tcase_add_test(t, a_server_that_is_back_waits_a_second_for_what_it_owes);
	tcase_add_test(t, probes_back_off);
	tcase_add_test(t, a_probe_that_is_answered_wrongly);
	tcase_add_test(t, a_connection_that_closes_in_the_middle_of_a_reply);
	tcase_add_test(t, what_nobody_asked_for_ends_the_connection);
	tcase_add_test(t, what_came_before_the_question_is_no_answer);
	tcase_add_test(t, an_early_refusal_of_a_large_body_is_an_answer);
	tcase_add_test(t, a_refused_store_line_ends_the_connection);
	tcase_add_test(t, a_reply_over_the_limit);
	tcase_add_test(t, a_full_server_socket);
	tcase_add_test(t, a_write_that_fails);
	tcase_add_test(t, a_full_queue);
	tcase_add_test(t, an_idle_connection_may_close);
	tcase_add_test(t, a_connection_that_closes_as_it_is_needed);
	tcase_add_test(t, a_server_that_only_accepts_and_closes);
	tcase_add_test(t, stopping_with_requests_in_flight_leaves_nothing);
	return sim_run("failures", t);
}
