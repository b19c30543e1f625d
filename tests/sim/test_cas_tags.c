/* cas tokens that are good only at the process that gave them. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/codec_mc_text.h"
#include "tests/sim/sim.h"

#define A(n)	sim_key(0, n)
#define OPTIONS "    timeout_ms: 100\n    cas_tags: true\n"
#define STATS1	"STAT pid 71\r\nSTAT uptime 10\r\nSTAT time 1000\r\nEND\r\n"
#define STATS1B "STAT pid 71\r\nSTAT uptime 25\r\nSTAT time 1015\r\nEND\r\n"
#define STATS2	"STAT pid 71\r\nSTAT uptime 1\r\nSTAT time 1016\r\nEND\r\n"

static uint64_t tagged(uint32_t server, const char *stats, uint64_t cas)
{
	char name[64];
	snprintf(name, sizeof(name), "s%u 127.0.0.1:%u", server, SIM_PORT + server);
	uint16_t tag = mc_tag(slice_of(stats), slice_of(name));
	ck_assert_uint_ne(tag, 0);
	return cas ^ (uint64_t)tag << 48;
}

START_TEST(the_tag_is_of_the_process)
{
	ck_assert_uint_eq(tagged(0, STATS1, 0), tagged(0, STATS1B, 0));
	ck_assert_uint_ne(tagged(0, STATS1, 0), tagged(0, STATS2, 0));
	ck_assert_uint_ne(tagged(0, STATS1, 0), tagged(1, STATS1, 0));
	ck_assert_uint_eq(mc_tag(SLICE("END\r\n"), SLICE("s")), 0);
}
END_TEST

START_TEST(a_token_goes_out_and_comes_back)
{
	sim_start("memcached", 2, OPTIONS, "");
	struct sock *c = sim_client();
	sim_send(c, "gets %s %s\r\n", A(0), A(1));
	struct sock *s = sim_server(0);
	sim_expect(s, "stats\r\n");
	sim_send(s, STATS1);
	sim_expect(s, "gets %s %s\r\n", A(0), A(1));
	sim_send(s, "VALUE %s 3 2 7\r\nab\r\nVALUE %s 0 0 18446744\r\n\r\nEND\r\n", A(0), A(1));
	uint64_t token = tagged(0, STATS1, 7), other = tagged(0, STATS1, 18446744);
	sim_expect(c, "VALUE %s 3 2 %" PRIu64 "\r\nab\r\nVALUE %s 0 0 %" PRIu64 "\r\n\r\nEND\r\n",
		   A(0), token, A(1), other);
	sim_send(c, "cas %s 0 0 1 %" PRIu64 "\r\nx\r\nget %s\r\n", A(0), token, A(1));
	sim_expect(s, "cas %s 0 0 1 00000000000000000007\r\nx\r\nget %s\r\n", A(0), A(1));
	sim_send(s, "STORED\r\nEND\r\n");
	sim_pass_ms(2);
	sim_expect(c, "STORED\r\nEND\r\n");
	sim_stop();
}
END_TEST

START_TEST(after_a_restart_the_server_itself_says_no)
{
	sim_start("memcached", 1, OPTIONS, "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\n", A(0));
	sim_send(sim_server(0), STATS1);
	sim_send(sim_server(0), "END\r\n");
	sim_expect(c, "END\r\n");
	sim_server(0)->eof = true;
	sim_settle();
	/* Queued before it is known who answers now. */
	uint64_t old = tagged(0, STATS1, 7);
	sim_send(c, "cas %s 0 0 1 %" PRIu64 " noreply\r\nx\r\n", A(0), old);
	sim_expect(sim_server(0), "stats\r\n");
	sim_send(sim_server(0), STATS2);
	uint64_t never = old ^ tagged(0, STATS2, 0);
	ck_assert_uint_ne(never >> 48, 0);
	sim_expect(sim_server(0), "cas %s 0 0 1 %020" PRIu64 "\r\nx\r\n", A(0), never);
	sim_send(sim_server(0), "EXISTS\r\n");
	sim_expect(c, "%s", "");
	sim_stop();
}
END_TEST

START_TEST(what_moves_to_another_connection_is_exchanged_anew)
{
	sim_start("memcached", 1, OPTIONS, "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\n", A(0));
	sim_send(sim_server(0), STATS1);
	sim_send(sim_server(0), "END\r\n");
	sim_expect(c, "END\r\n");
	/* The server has closed, and we learn of it when we send. */
	struct sock *s = sim_server(0);
	sim_take_line(s, "stats");
	sim_take_line(s, "get");
	s->error = 32;
	sim_feed(c, "cas %s 0 0 1 %" PRIu64 "\r\nx\r\n", A(0), tagged(0, STATS1, 7));
	sim_settle();
	sim_send(sim_server(0), STATS2);
	sim_expect(sim_server(0), "stats\r\ncas %s 0 0 1 %020" PRIu64 "\r\nx\r\n", A(0),
		   tagged(0, STATS1, 7) ^ tagged(0, STATS2, 0));
	sim_send(sim_server(0), "EXISTS\r\n");
	sim_expect(c, "EXISTS\r\n");
	sim_stop();
}
END_TEST

START_TEST(multigets_over_servers_show_each_servers_tag)
{
	sim_start("memcached", 2, OPTIONS, "");
	struct sock *c = sim_client();
	const char *b = sim_key(1, 0);
	sim_send(c, "gets %s %s\r\n", A(0), b);
	sim_send(sim_server(0), STATS1);
	sim_send(sim_server(1), STATS2);
	sim_send(sim_server(1), "VALUE %s 0 1 9\r\nb\r\nEND\r\n", b);
	sim_send(sim_server(0), "VALUE %s 0 1 9\r\na\r\nEND\r\n", A(0));
	sim_expect(c, "VALUE %s 0 1 %" PRIu64 "\r\na\r\nVALUE %s 0 1 %" PRIu64 "\r\nb\r\nEND\r\n",
		   A(0), tagged(0, STATS1, 9), b, tagged(1, STATS2, 9));
	sim_stop();
}
END_TEST

START_TEST(without_the_option_nothing_is_touched)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "gets %s\r\ncas %s 0 0 1 7\r\nx\r\n", A(0), A(0));
	sim_expect(sim_server(0), "gets %s\r\ncas %s 0 0 1 7\r\nx\r\n", A(0), A(0));
	sim_send(sim_server(0), "VALUE %s 0 1 7\r\na\r\nEND\r\nSTORED\r\n", A(0));
	sim_pass_ms(2);
	sim_expect(c, "VALUE %s 0 1 7\r\na\r\nEND\r\nSTORED\r\n", A(0));
	sim_stop();
}
END_TEST

/* --- while a key moves ------------------------------------------------------------------------ */

static struct sock *dual_start(const char *phase)
{
	char rules[128];
	snprintf(rules, sizeof(rules), "\"phase\": \"%s\", \"promote\": true", phase);
	sim_start("memcached", 1, OPTIONS, "");
	sim_transition("memcached", 1, 2, OPTIONS, rules);
	sim_send(sim_server(0), STATS1);
	sim_send(sim_server(1), STATS1);
	sim_take_line(sim_server(0), "stats");
	sim_take_line(sim_server(1), "stats");
	return sim_client();
}

START_TEST(a_token_of_the_other_owner_is_refused_without_asking)
{
	struct sock *c = dual_start("dual");
	const char *k = sim_moving(0, 1, 0);
	sim_send(c, "cas %s 0 0 1 %" PRIu64 "\r\nx\r\n", k, tagged(0, STATS1, 7));
	sim_expect(c, "EXISTS\r\n");
	sim_expect(sim_server(0), "%s", "");
	sim_expect(sim_server(1), "%s", "");
	sim_send(c, "cas %s 0 0 1 %" PRIu64 "\r\nx\r\n", k, tagged(1, STATS1, 7));
	sim_expect(sim_server(0), "delete %s\r\n", k);
	sim_send(sim_server(0), "NOT_FOUND\r\n");
	sim_expect(sim_server(1), "cas %s 0 0 1 00000000000000000007\r\nx\r\n", k);
	sim_send(sim_server(1), "STORED\r\n");
	sim_expect(c, "STORED\r\n");
	sim_stop();
}
END_TEST

START_TEST(promotion_shows_the_token_of_who_has_the_value)
{
	struct sock *c = dual_start("dual");
	const char *k = sim_moving(0, 1, 0);
	sim_send(c, "gets %s\r\n", k);
	sim_send(sim_server(1), "VA 0 s0 f0 t-1 c41 W\r\n\r\n");
	sim_take_line(sim_server(1), "mg");
	sim_send(sim_server(0), "VA 1 s1 f0 t-1 c5\r\nx\r\n");
	sim_expect(sim_server(1), "ms %s 1 F0 C00000000000000000041 c\r\nx\r\n", k);
	sim_send(sim_server(1), "HD c42\r\n");
	sim_expect(c, "VALUE %s 0 1 %" PRIu64 "\r\nx\r\nEND\r\n", k, tagged(1, STATS1, 42));
	/* Somebody else's lease: what was read is the source's. */
	sim_send(c, "gets %s\r\n", k);
	sim_send(sim_server(1), "VA 0 s0 f0 t5 c41 Z\r\n\r\n");
	sim_send(sim_server(0), "VA 1 s1 f0 t-1 c5\r\nx\r\n");
	sim_expect(c, "VALUE %s 0 1 %" PRIu64 "\r\nx\r\nEND\r\n", k, tagged(0, STATS1, 5));
	sim_stop();
}
END_TEST

/* The numbers of a fresh process are small ones again. */
START_TEST(a_lease_dies_with_the_process_that_gave_it)
{
	struct sock *c = dual_start("dual");
	const char *k = sim_moving(0, 1, 0);
	sim_send(c, "get %s\r\n", k);
	sim_send(sim_server(1), "VA 0 s0 f0 t-1 c1 W\r\n\r\n");
	sim_server(1)->eof = true;
	sim_settle();
	sim_send(sim_server(0), "VA 1 s1 f0 t-1 c5\r\nx\r\n");
	sim_send(sim_server(1), STATS2);
	uint64_t never = tagged(1, STATS1, 1) ^ tagged(1, STATS2, 0);
	sim_expect(sim_server(1), "stats\r\nms %s 1 F0 C%020" PRIu64 " c\r\nx\r\n", k, never);
	sim_send(sim_server(1), "EX\r\n");
	sim_expect(c, "VALUE %s 0 1\r\nx\r\nEND\r\n", k);
	sim_stop();
}
END_TEST

START_TEST(who_is_behind_the_target_is_asked_first)
{
	sim_start("memcached", 1, OPTIONS, "");
	sim_transition("memcached", 1, 2, OPTIONS, "\"phase\": \"drain\", \"promote\": true");
	const char *k = sim_moving(0, 1, 0);
	sim_send(sim_server(0), STATS1);
	sim_take_line(sim_server(0), "stats");
	struct sock *c = sim_client();
	sim_send(c, "cas %s 0 0 1 %" PRIu64 "\r\nx\r\n", k, tagged(0, STATS1, 7));
	sim_expect(sim_server(0), "%s", "");
	sim_send(sim_server(1), STATS1);
	sim_expect(sim_server(1), "stats\r\nmg %s s f t c\r\n", k);
	sim_send(sim_server(1), "EN\r\n");
	sim_expect(c, "EXISTS\r\n");
	sim_stop();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("cas_tags");
	tcase_add_test(t, the_tag_is_of_the_process);
	tcase_add_test(t, a_token_goes_out_and_comes_back);
	tcase_add_test(t, after_a_restart_the_server_itself_says_no);
	tcase_add_test(t, what_moves_to_another_connection_is_exchanged_anew);
	tcase_add_test(t, multigets_over_servers_show_each_servers_tag);
	tcase_add_test(t, without_the_option_nothing_is_touched);
	tcase_add_test(t, a_token_of_the_other_owner_is_refused_without_asking);
	tcase_add_test(t, promotion_shows_the_token_of_who_has_the_value);
	tcase_add_test(t, a_lease_dies_with_the_process_that_gave_it);
	tcase_add_test(t, who_is_behind_the_target_is_asked_first);
	return sim_run("cas_tags", t);
}
