/* Backpressure, corking, timeouts of clients. */
#include <stdlib.h>

#include "tests/sim/sim.h"

static struct client *only_client(void)
{
	return LIST_FIRST(&sim.w->clients);
}

START_TEST(a_deep_pipeline_is_not_read_further)
{
	sim_start("memcached", 1, "", "  pipeline_max: 4\n");
	struct sock *c = sim_client();
	for (int i = 0; i < 10; i++) sim_feed(c, "get k%d\r\n", i);
	sim_settle();
	struct sock *s = sim_server(0);
	sim_expect(s, "get k0\r\nget k1\r\nget k2\r\nget k3\r\n");
	ck_assert_uint_eq(sim_live(), 4);
	uint64_t reads = c->reads;
	sim_send(c, "get k10\r\n");
	ck_assert_uint_eq(c->reads, reads);
	sim_send(s, "END\r\n");
	sim_expect(s, "get k4\r\n");
	sim_send(s, "END\r\nEND\r\nEND\r\nEND\r\n");
	sim_expect(s, "get k5\r\nget k6\r\nget k7\r\nget k8\r\n");
	sim_send(s, "END\r\nEND\r\nEND\r\nEND\r\n");
	sim_expect(s, "get k9\r\nget k10\r\n");
	sim_send(s, "END\r\nEND\r\n");
	for (int i = 0; i < 11; i++) {
		ck_assert_int_eq(memcmp(c->out, "END\r\n", 5), 0);
		sock_take(c, 5);
	}
	sim_expect(c, "%s", "");
	ck_assert(!(only_client()->flags & CLIENT_PAUSED));
	sim_stop();
}
END_TEST

START_TEST(a_pipeline_of_one)
{
	sim_start("memcached", 1, "", "  pipeline_max: 1\n");
	struct sock *c = sim_client();
	for (int i = 0; i < 200; i++) sim_feed(c, "set k%d 0 0 1\r\nx\r\nbogus\r\n", i);
	c->eof = true;
	sim_settle();
	for (int i = 0; i < 200; i++) {
		sim_expect(sim_server(0), "set k%d 0 0 1\r\nx\r\n", i);
		sim_send(sim_server(0), "STORED\r\n");
		sim_expect(c, "STORED\r\nERROR\r\n");
	}
	ck_assert(c->closed);
	sim_stop();
}
END_TEST

START_TEST(a_client_that_does_not_read_is_not_read)
{
	sim_start("memcached", 1, "", "  client_output_max: 100000\n");
	struct sock *c = sim_client();
	char *value = sim_value(60000, 1);
	c->window = 1000;
	uint32_t asked = 0;
	for (int i = 0; i < 20; i++) {
		sim_send(c, "get a\r\n");
		struct sock *s = sim_server(0);
		if (s->out_n == 0) continue;
		asked++;
		sim_expect(s, "get a\r\n");
		sim_feed(s, "VALUE a 0 60000\r\n");
		sock_send(s, value, 60000);
		sim_send(s, "\r\nEND\r\n");
	}
	ck_assert_uint_eq(asked, 2);
	uint64_t writes = c->writes;
	sim_pass_ms(500);
	ck_assert_uint_le(c->writes, writes + 1);
	c->window = SIZE_MAX;
	sim_settle();
	while (asked < 20) {
		sim_expect(sim_server(0), "%.*s", (int)sim_server(0)->out_n,
			   sim_server(0)->out_n ? sim_server(0)->out : "");
		sim_feed(sim_server(0), "VALUE a 0 60000\r\n");
		sock_send(sim_server(0), value, 60000);
		sim_send(sim_server(0), "\r\nEND\r\n");
		asked++;
	}
	sim_pass_ms(2);
	ck_assert_uint_eq(c->out_n, 20 * (17 + 60000 + 7));
	free(value);
	sim_stop();
}
END_TEST

START_TEST(a_client_that_never_reads_is_closed)
{
	sim_start("memcached", 1, "", "  client_partial_timeout_ms: 5000\n");
	struct sock *c = sim_client();
	c->window = 0;
	sim_send(c, "version\r\n");
	sim_pass_ms(4000);
	ck_assert(!c->closed);
	sim_pass_ms(2500);
	ck_assert(c->closed);
	sim_stop();
}
END_TEST

START_TEST(half_a_request_times_out)
{
	sim_start("memcached", 1, "", "  client_partial_timeout_ms: 5000\n");
	struct sock *half = sim_client(), *skip = sim_client(), *idle = sim_client();
	sim_send(half, "set a 0 0 10\r\n123");
	sim_send(skip, "set a%0300d 0 0 1000\r\n123", 0);
	sim_pass_ms(7000);
	ck_assert(half->closed);
	ck_assert(skip->closed);
	ck_assert(!idle->closed);
	sim_stop();
}
END_TEST

START_TEST(idle_clients_time_out_when_asked_to)
{
	sim_start("memcached", 1, "    timeout_ms: 0\n", "  client_idle_timeout_ms: 5000\n");
	struct sock *idle = sim_client(), *waits = sim_client();
	sim_send(waits, "get a\r\n");
	sim_pass_ms(7000);
	ck_assert(idle->closed);
	ck_assert(!waits->closed);
	sim_stop();
}
END_TEST

START_TEST(replies_are_corked_for_a_millisecond_at_most)
{
	sim_start("memcached", 2, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\nget %s\r\n", sim_key(0, 0), sim_key(1, 0));
	uint64_t start = clock_now_us();
	sim_send(sim_server(0), "END\r\n");
	sim_expect(c, "%s", "");
	while (c->out_n == 0) sim_pass_us(50);
	ck_assert_uint_le(clock_now_us() - start, 1100);
	sim_expect(c, "END\r\n");
	sim_send(sim_server(1), "END\r\n");
	sim_expect(c, "END\r\n");
	/* Both in time: together, in one write. */
	sim_send(c, "get %s\r\nget %s\r\n", sim_key(0, 0), sim_key(1, 0));
	uint64_t writes = c->writes;
	sim_send(sim_server(0), "END\r\n");
	sim_pass_us(300);
	sim_send(sim_server(1), "END\r\n");
	ck_assert_uint_eq(c->writes, writes + 1);
	sim_expect(c, "END\r\nEND\r\n");
	sim_stop();
}
END_TEST

START_TEST(a_large_reply_is_not_corked)
{
	sim_start("memcached", 2, "", "");
	struct sock *c = sim_client();
	char *value = sim_value(20000, 1);
	sim_send(c, "get %s\r\nget %s\r\n", sim_key(0, 0), sim_key(1, 0));
	sim_feed(sim_server(0), "VALUE %s 0 20000\r\n", sim_key(0, 0));
	sock_send(sim_server(0), value, 20000);
	sim_send(sim_server(0), "\r\nEND\r\n");
	ck_assert_uint_gt(c->out_n, 20000);
	free(value);
	sim_stop();
}
END_TEST

START_TEST(a_corked_client_may_close)
{
	sim_start("memcached", 2, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\nget %s\r\n", sim_key(0, 0), sim_key(1, 0));
	sim_send(sim_server(0), "END\r\n");
	sim_expect(c, "%s", "");
	c->error = 104;
	sim_settle();
	ck_assert(c->closed);
	sim_pass_ms(5);
	sim_send(sim_server(1), "END\r\n");
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

/* Clients that hold the memory which they wait for must not wait for ever. */
START_TEST(clients_short_of_memory_do_not_wait_for_ever)
{
	sim_start("memcached", 1, "    timeout_ms: 0\n",
		  "  memory_max: 4m\n  client_partial_timeout_ms: 5000\n");
	struct sock *c[4];
	char *half = sim_value(1500000, 1);
	for (int i = 0; i < 4; i++) {
		c[i] = sim_client();
		sim_send(c[i], "set k%d 0 0 3000000\r\n", i);
		sim_send_pieces(c[i], half, 1500000, 100000);
	}
	struct sock *small = sim_client();
	sim_send(small, "get a\r\n");
	ck_assert_uint_lt(sim.w->core.bufs.bytes, 12 * 1024 * 1024);
	sim_pass_ms(8000);
	uint32_t closed = 0;
	for (int i = 0; i < 4; i++) closed += c[i]->closed;
	ck_assert_uint_gt(closed, 0);
	sim_expect(sim_server(0), "get a\r\n");
	sim_send(sim_server(0), "END\r\n");
	sim_expect(small, "END\r\n");
	free(half);
	sim_stop();
}
END_TEST

START_TEST(memory_that_became_free_can_be_used_at_once)
{
	sim_start("memcached", 1, "    timeout_ms: 0\n", "  memory_max: 2m\n");
	struct sock *c = sim_client(), *other = sim_client();
	char *value = sim_value(300000, 1);
	sim_send(c, "get warm\r\n");
	struct sock *s = sim_server(0);
	sim_send(s, "END\r\n");
	sock_take(s, s->out_n);
	s->window = 0;
	for (int i = 0; i < 9; i++) {
		sim_feed(c, "set k%d 0 0 300000\r\n", i);
		sock_send(c, value, 300000);
		sim_send(c, "\r\n");
	}
	sim_send(other, "get a\r\n");
	ck_assert(LIST_FIRST(&sim.w->clients)->flags & CLIENT_PAUSED);
	s->window = SIZE_MAX;
	sim_settle();
	for (int i = 0; i < 9; i++) sim_send(s, "STORED\r\n");
	/* Within a second, without waiting for lists to be trimmed. */
	sim_pass_ms(1100);
	sim_expect(c, "END\r\nSTORED\r\nSTORED\r\nSTORED\r\nSTORED\r\nSTORED\r\nSTORED\r\n"
		      "STORED\r\nSTORED\r\nSTORED\r\n");
	sim_send(s, "END\r\n");
	sim_expect(other, "END\r\n");
	free(value);
	sim_stop();
}
END_TEST

START_TEST(a_stalled_server_holds_little_memory)
{
	sim_start("memcached", 1, "    timeout_ms: 60000\n",
		  "  pipeline_max: 10000\n  client_output_max: 1g\n");
	struct sock *c = sim_client();
	for (int i = 0; i < 2000; i++) sim_send(c, "get key%d\r\n", i);
	ck_assert_uint_eq(sim_live(), 2000);
	ck_assert_uint_lt(sim.w->core.bufs.bytes, 2000 * 600 + 200000);
	sim_stop();
}
END_TEST

START_TEST(replies_that_wait_for_their_turn_count_as_output)
{
	sim_start("memcached", 2, "", "  client_output_max: 200000\n");
	struct sock *c = sim_client();
	char *value = sim_value(60000, 1);
	uint32_t asked = 0;
	sim_send(c, "get %s\r\n", sim_key(0, 0));
	for (int i = 0; i < 20; i++) {
		sim_send(c, "get %s\r\n", sim_key(1, 0));
		struct sock *s = sim_server(1);
		if (s->out_n == 0) continue;
		asked++;
		sock_take(s, s->out_n);
		sim_feed(s, "VALUE %s 0 60000\r\n", sim_key(1, 0));
		sock_send(s, value, 60000);
		sim_send(s, "\r\nEND\r\n");
	}
	/* 3 x 60,000 bytes, and what the one in flight may bring, are more than 200,000. */
	ck_assert_uint_eq(asked, 3);
	sim_send(sim_server(0), "END\r\n");
	for (int turns = 0; asked < 20 && turns < 100; turns++) {
		struct sock *s = sim_server(1);
		uint32_t n = (uint32_t)(s->out_n / 8);
		sock_take(s, s->out_n);
		for (uint32_t i = 0; i < n; i++) {
			sim_feed(s, "VALUE %s 0 60000\r\n", sim_key(1, 0));
			sock_send(s, value, 60000);
			sim_send(s, "\r\nEND\r\n");
		}
		asked += n;
		sock_take(c, c->out_n);
	}
	ck_assert_uint_eq(asked, 20);
	free(value);
	sim_stop();
}
END_TEST

START_TEST(an_idle_client_holds_no_buffer)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\nget b");
	sim_send(sim_server(0), "END\r\n");
	ck_assert_ptr_nonnull(only_client()->in);
	sim_send(c, "\r\n");
	sim_send(sim_server(0), "END\r\n");
	ck_assert_ptr_null(only_client()->in);
	ck_assert_ptr_null(only_client()->out.head);
	/* What the heap allots for it, and nothing else. */
	ck_assert_uint_le(sizeof(struct client), 300);
	sim_stop();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("limits");
	tcase_add_test(t, a_deep_pipeline_is_not_read_further);
	tcase_add_test(t, a_pipeline_of_one);
	tcase_add_test(t, a_client_that_does_not_read_is_not_read);
	tcase_add_test(t, a_client_that_never_reads_is_closed);
	tcase_add_test(t, half_a_request_times_out);
	tcase_add_test(t, idle_clients_time_out_when_asked_to);
	tcase_add_test(t, replies_are_corked_for_a_millisecond_at_most);
	tcase_add_test(t, a_large_reply_is_not_corked);
	tcase_add_test(t, a_corked_client_may_close);
	tcase_add_test(t, clients_short_of_memory_do_not_wait_for_ever);
	tcase_add_test(t, memory_that_became_free_can_be_used_at_once);
	tcase_add_test(t, a_stalled_server_holds_little_memory);
	tcase_add_test(t, replies_that_wait_for_their_turn_count_as_output);
	tcase_add_test(t, an_idle_client_holds_no_buffer);
	return sim_run("limits", t);
}
