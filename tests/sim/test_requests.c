/* One client's requests: order, splitting, bodies, ways to end. */
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define A(n) sim_key(0, n)
#define B(n) sim_key(1, n)
#define C(n) sim_key(2, n)

START_TEST(replies_keep_the_order_of_requests)
{
	sim_start("memcached", 3, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s\r\nget %s\r\nget %s\r\nget %s\r\n", A(0), B(0), C(0), A(1));
	struct sock *a = sim_server(0), *b = sim_server(1), *d = sim_server(2);
	sim_expect(a, "get %s\r\nget %s\r\n", A(0), A(1));
	sim_expect(b, "get %s\r\n", B(0));
	sim_expect(d, "get %s\r\n", C(0));
	sim_send(d, "VALUE %s 0 1\r\nc\r\nEND\r\n", C(0));
	sim_pass_ms(5);
	sim_expect(c, "%s", "");
	sim_send(b, "VALUE %s 0 1\r\nb\r\nEND\r\n", B(0));
	sim_pass_ms(5);
	sim_expect(c, "%s", "");
	sim_send(a, "VALUE %s 7 1\r\na\r\nEND\r\n", A(0));
	sim_pass_ms(5);
	sim_expect(c,
		   "VALUE %s 7 1\r\na\r\nEND\r\nVALUE %s 0 1\r\nb\r\nEND\r\n"
		   "VALUE %s 0 1\r\nc\r\nEND\r\n",
		   A(0), B(0), C(0));
	sim_send(a, "END\r\n");
	sim_expect(c, "END\r\n");
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(any_chunking_gives_the_same_bytes)
{
	for (size_t piece = 1; piece < 40; piece++) {
		sim_start("memcached", 2, "", "");
		struct sock *c = sim_client();
		struct scratch ask = { 0 }, hear = { 0 }, want = { 0 };
		scratch_printf(&ask, "get %s\r\nset %s 1 0 5\r\nhello\r\nget %s %s\r\n", A(0), A(1),
			       A(2), A(3));
		scratch_printf(&hear,
			       "VALUE %s 0 10\r\nEND\r\nEND\r\n\r\nEND\r\nSTORED\r\n"
			       "VALUE %s 0 0\r\n\r\nVALUE %s 1 2\r\nxy\r\nEND\r\n",
			       A(0), A(2), A(3));
		scratch_put(&want, hear.p, hear.n);
		sim_send_pieces(c, ask.p, ask.n, piece);
		sim_expect_bytes(sim_server(0), ask.p, ask.n);
		sim_send_pieces(sim_server(0), hear.p, hear.n, piece);
		sim_pass_ms(5);
		sim_expect_bytes(c, want.p, want.n);
		scratch_fini(&ask);
		scratch_fini(&hear);
		scratch_fini(&want);
		sim_stop();
	}
}
END_TEST

START_TEST(a_multiget_is_split_and_merged)
{
	sim_start("memcached", 3, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s %s %s %s %s %s\r\n", B(0), A(0), C(0), A(1), B(1), B(0));
	sim_expect(sim_server(0), "get %s %s\r\n", A(0), A(1));
	sim_expect(sim_server(1), "get %s %s %s\r\n", B(0), B(1), B(0));
	sim_expect(sim_server(2), "get %s\r\n", C(0));
	sim_send(sim_server(1), "VALUE %s 0 1\r\n1\r\nVALUE %s 0 1\r\n1\r\nEND\r\n", B(0), B(0));
	sim_send(sim_server(2), "END\r\n");
	sim_expect(c, "%s", "");
	sim_send(sim_server(0), "VALUE %s 0 2\r\n01\r\nEND\r\n", A(1));
	sim_expect(c, "VALUE %s 0 1\r\n1\r\nVALUE %s 0 2\r\n01\r\nVALUE %s 0 1\r\n1\r\nEND\r\n",
		   B(0), A(1), B(0));
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

static void split_with_failure(const char *options, bool miss)
{
	sim_start("memcached", 2, options, "");
	struct sock *c = sim_client();
	sim_send(c, "get %s %s\r\nget %s\r\n", A(0), B(0), A(1));
	sim_send(sim_server(0), "VALUE %s 0 1\r\na\r\nEND\r\nEND\r\n", A(0));
	sim_server(1)->eof = true;
	sim_pass_ms(3);
	if (miss) sim_expect(c, "VALUE %s 0 1\r\na\r\nEND\r\nEND\r\n", A(0));
	else sim_expect(c, "SERVER_ERROR Connection closed by server (server s1)\r\nEND\r\n");
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}

START_TEST(a_part_that_fails_fails_its_multiget)
{
	split_with_failure("", false);
}
END_TEST

START_TEST(a_part_that_fails_may_count_as_a_miss)
{
	split_with_failure("    on_error: miss\n", true);
}
END_TEST

START_TEST(a_part_that_times_out)
{
	sim_start("memcached", 2, "    timeout_ms: 100\n", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s %s\r\n", A(0), B(0));
	sim_send(sim_server(0), "VALUE %s 0 1\r\na\r\nEND\r\n", A(0));
	sim_pass_ms(112);
	sim_expect(c, "SERVER_ERROR Connection timed out (server s1)\r\n");
	/* The late part shifts nobody's reply. */
	sim_send(c, "get %s\r\n", B(1));
	sim_send(sim_server(1), "VALUE %s 0 1\r\nx\r\nEND\r\n", B(0));
	sim_expect(c, "%s", "");
	sim_send(sim_server(1), "VALUE %s 0 1\r\ny\r\nEND\r\n", B(1));
	sim_expect(c, "VALUE %s 0 1\r\ny\r\nEND\r\n", B(1));
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

/* The name of the server that failed must outlive two swaps, until the last part is there. */
START_TEST(a_failed_part_remembers_its_server_across_swaps)
{
	sim_start("memcached", 2, "    timeout_ms: 100000\n", "");
	struct sock *c = sim_client();
	sim_send(c, "get %s %s\r\n", A(0), B(0));
	sim_swap("memcached", 2, "    timeout_ms: 90000\n", "");
	sim_server(0)->eof = true;
	sim_settle();
	sim_swap("memcached", 2, "    timeout_ms: 80000\n", "");
	sim_swap("memcached", 2, "    timeout_ms: 70000\n", "");
	sim_send(sim_server(1), "END\r\n");
	sim_expect(c, "SERVER_ERROR Connection closed by server (server s0)\r\n");
	ck_assert_uint_eq(sim_live(), 0);
	sim_stop();
}
END_TEST

START_TEST(noreply_gets_no_reply)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "set a 0 0 1 noreply\r\nx\r\nget b\r\nset c 0 0 1 noreply\r\ny\r\n");
	sim_expect(sim_server(0), "set a 0 0 1\r\nx\r\nget b\r\nset c 0 0 1\r\ny\r\n");
	sim_send(sim_server(0), "SERVER_ERROR out of memory storing object\r\nEND\r\nSTORED\r\n");
	sim_pass_ms(3);
	sim_expect(c, "END\r\n");
	sim_server(0)->eof = true;
	sim_send(c, "set a 0 0 1 noreply\r\nx\r\n");
	sim_settle();
	sim_expect(c, "%s", "");
	sim_stop();
}
END_TEST

START_TEST(quit_comes_after_what_was_asked_before)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\nquit\r\nget b\r\n");
	sim_expect(sim_server(0), "get a\r\n");
	sim_expect(c, "%s", "");
	sim_send(sim_server(0), "END\r\n");
	sim_expect(c, "END\r\n");
	ck_assert(c->shut && !c->closed);
	c->eof = true;
	sim_settle();
	ck_assert(c->closed);
	sim_stop();
}
END_TEST

START_TEST(quit_while_the_socket_is_full)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	c->window = 3;
	sim_send(c, "version\r\n");
	ck_assert_uint_eq(c->out_n, 3);
	sim_send(c, "get a\r\nquit\r\n");
	sim_send(sim_server(0), "END\r\n");
	c->window = SIZE_MAX;
	sim_settle();
	ck_assert_uint_gt(c->out_n, 10);
	ck_assert_int_eq(memcmp(c->out + c->out_n - 7, "\r\nEND\r\n", 7), 0);
	ck_assert(c->shut);
	sim_stop();
}
END_TEST

START_TEST(a_client_that_lingers_is_closed)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "quit\r\n");
	ck_assert(c->shut);
	sim_pass_ms(1000);
	sim_send(c, "still talking");
	ck_assert(!c->closed);
	sim_pass_ms(2500);
	ck_assert(c->closed);
	sim_stop();
}
END_TEST

START_TEST(a_half_closed_client_gets_its_answers)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_feed(c, "get a\r\nget b\r\n");
	c->eof = true;
	sim_settle();
	ck_assert(!c->closed);
	sim_send(sim_server(0), "END\r\n");
	sim_pass_ms(3);
	sim_expect(c, "END\r\n");
	sim_send(sim_server(0), "END\r\n");
	sim_expect(c, "END\r\n");
	ck_assert(c->closed);
	sim_stop();
}
END_TEST

START_TEST(a_client_that_dies_leaves_the_connection_in_step)
{
	sim_start("memcached", 2, "", "");
	struct sock *c = sim_client(), *other = sim_client();
	sim_send(c, "get %s\r\nget %s %s %s\r\nset %s 0 0 1\r\nx\r\n", A(0), A(1), B(0), B(1),
		 A(2));
	sim_send(other, "get %s\r\n", A(3));
	c->error = ECONNRESET;
	sim_settle();
	ck_assert(c->closed);
	struct sock *a = sim_server(0), *b = sim_server(1);
	sim_send(a, "VALUE %s 0 1\r\n0\r\nEND\r\nVALUE %s 0 1\r\n1\r\nEND\r\nSTORED\r\n", A(0),
		 A(1));
	sim_expect(other, "%s", "");
	sim_send(a, "VALUE %s 0 1\r\n3\r\nEND\r\n", A(3));
	sim_expect(other, "VALUE %s 0 1\r\n3\r\nEND\r\n", A(3));
	sim_send(b, "END\r\n");
	ck_assert_uint_eq(sim_live(), 0);
	sim_send(other, "get %s %s\r\n", A(0), B(0));
	ck_assert_ptr_eq(sim_server(0), a);
	ck_assert_ptr_eq(sim_server(1), b);
	sim_send(a, "END\r\n");
	sim_send(b, "END\r\n");
	sim_expect(other, "END\r\n");
	sim_stop();
}
END_TEST

/* Every size at which a buffer, a chunk or a threshold begins or ends. */
static const size_t sizes[] = { 0,     1,     400,   448,   449,    4032,   4096,    4097,
				8191,  8192,  8193,  16300, 16384,  16385,  65400,   65471,
				65472, 65473, 65535, 65536, 131072, 262144, 1048575, 1048576 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static void big_values(size_t size, size_t piece, size_t window)
{
	sim_start("memcached", 2, "", "");
	struct sock *c = sim_client();
	char *value = sim_value(size, (uint32_t)size);
	struct scratch set = { 0 }, get = { 0 }, both = { 0 };
	scratch_printf(&set, "set %s 0 0 %zu\r\n", A(0), size);
	scratch_put(&set, value, size);
	scratch_printf(&set, "\r\n");
	scratch_printf(&get, "VALUE %s 0 %zu\r\n", A(0), size);
	scratch_put(&get, value, size);
	scratch_printf(&get, "\r\nEND\r\n");
	c->write_max = window;
	sim_send_pieces(c, set.p, set.n, piece);
	sim_server(0)->write_max = window;
	sim_expect_bytes(sim_server(0), set.p, set.n);
	sim_send(sim_server(0), "STORED\r\n");
	sim_expect(c, "STORED\r\n");
	/* Twice on the way back: written straight on, and held for its turn. */
	sim_send(c, "get %s\r\nget %s\r\nget %s %s\r\n", B(0), A(0), A(0), B(0));
	struct sock *a = sim_server(0), *b = sim_server(1);
	sim_send_pieces(a, get.p, get.n, piece);
	sim_send(b, "END\r\n");
	sim_send_pieces(a, get.p, get.n, piece);
	sim_send(b, "VALUE %s 0 0\r\n\r\nEND\r\n", B(0));
	scratch_printf(&both, "END\r\n");
	scratch_put(&both, get.p, get.n);
	scratch_put(&both, get.p, get.n - 5);
	scratch_printf(&both, "VALUE %s 0 0\r\n\r\nEND\r\n", B(0));
	sim_pass_ms(3);
	sim_expect_bytes(c, both.p, both.n);
	ck_assert_uint_eq(sim_live(), 0);
	scratch_fini(&set);
	scratch_fini(&get);
	scratch_fini(&both);
	free(value);
	sim_stop();
}

START_TEST(values_of_every_size)
{
	for (int i = 0; i < SIZES; i++) {
		big_values(sizes[i], SIZE_MAX / 2, 0);
		big_values(sizes[i], sizes[i] < 2000 ? 7 : 5000, 0);
		big_values(sizes[i], 70001, 8192);
		big_values(sizes[i], sizes[i] + 3, 100000);
	}
	/* And somewhere here a reply becomes too long to wait in its request. */
	for (size_t size = 30; size <= REQUEST_BRIEF; size++) big_values(size, SIZE_MAX / 2, 0);
}
END_TEST

START_TEST(a_value_cut_at_every_boundary)
{
	for (size_t size = 65300; size < 65500; size += 9) big_values(size, size / 2 + 20, 0);
	for (size_t cut = 1; cut < 60; cut++) big_values(8200, cut + 8150, 0);
}
END_TEST

START_TEST(a_refused_body_is_skipped_in_any_chunking)
{
	for (size_t piece = 1; piece < 300; piece += 13) {
		sim_start("memcached", 1, "    value_max: 100\n", "");
		struct sock *c = sim_client();
		char *value = sim_value(250, 1);
		struct scratch text = { 0 };
		scratch_printf(&text, "set a 0 0 250\r\n");
		scratch_put(&text, value, 250);
		scratch_printf(&text, "\r\nget b\r\n");
		sim_send_pieces(c, text.p, text.n, piece);
		sim_expect(sim_server(0), "get b\r\n");
		sim_send(sim_server(0), "END\r\n");
		sim_expect(c, "SERVER_ERROR object too large for cache\r\nEND\r\n");
		scratch_fini(&text);
		free(value);
		sim_stop();
	}
}
END_TEST

/* One who sends without end leaves turns for others, and all of it is read in the end. */
START_TEST(a_flood_is_read_a_few_buffers_a_turn)
{
	enum { FLOOD = 1000000 };
	sim_start("memcached", 1, "    value_max: 100\n", "");
	struct sock *flood = sim_client(), *other = sim_client();
	char *value = sim_value(FLOOD, 1);
	sim_feed(flood, "set a 0 0 %d\r\n", FLOOD);
	sock_send(flood, value, FLOOD);
	sim_feed(flood, "\r\nmg x\r\n");
	sim_feed(other, "mg x\r\n");
	sim_turn();
	ck_assert_uint_le(flood->reads, 4);
	ck_assert_uint_lt(flood->in_at, flood->in_n);
	sim_expect(other, "CLIENT_ERROR meta commands not supported\r\n");
	sim_settle();
	ck_assert_uint_eq(flood->in_at, flood->in_n);
	sim_expect(flood, "SERVER_ERROR object too large for cache\r\n"
			  "CLIENT_ERROR meta commands not supported\r\n");
	free(value);
	sim_stop();
}
END_TEST

START_TEST(what_comes_after_the_last_answer_is_read_to_its_end)
{
	enum { RUBBISH = 700000 };
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	char *value = sim_value(RUBBISH, 1);
	sim_send(c, "quit\r\n");
	ck_assert(c->shut);
	sock_send(c, value, RUBBISH);
	sim_turn();
	ck_assert_uint_lt(c->in_at, c->in_n);
	sim_settle();
	ck_assert_uint_eq(c->in_at, c->in_n);
	ck_assert(!c->closed);
	sock_send(c, value, 10);
	c->eof = true;
	sim_turn();
	ck_assert(c->closed);
	free(value);
	sim_stop();
}
END_TEST

START_TEST(local_answers_wait_for_their_turn)
{
	sim_start("memcached", 1, "", "");
	struct sock *c = sim_client();
	sim_send(c, "get a\r\nbogus\r\nget b\r\nmg x\r\n");
	sim_expect(c, "%s", "");
	sim_send(sim_server(0), "END\r\nEND\r\n");
	sim_expect(c, "END\r\nERROR\r\nEND\r\nCLIENT_ERROR meta commands not supported\r\n");
	sim_stop();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("requests");
	tcase_add_test(t, replies_keep_the_order_of_requests);
	tcase_add_test(t, any_chunking_gives_the_same_bytes);
	tcase_add_test(t, a_multiget_is_split_and_merged);
	tcase_add_test(t, a_part_that_fails_fails_its_multiget);
	tcase_add_test(t, a_part_that_fails_may_count_as_a_miss);
	tcase_add_test(t, a_part_that_times_out);
	tcase_add_test(t, a_failed_part_remembers_its_server_across_swaps);
	tcase_add_test(t, noreply_gets_no_reply);
	tcase_add_test(t, quit_comes_after_what_was_asked_before);
	tcase_add_test(t, quit_while_the_socket_is_full);
	tcase_add_test(t, a_client_that_lingers_is_closed);
	tcase_add_test(t, a_half_closed_client_gets_its_answers);
	tcase_add_test(t, a_client_that_dies_leaves_the_connection_in_step);
	tcase_add_test(t, values_of_every_size);
	tcase_add_test(t, a_value_cut_at_every_boundary);
	tcase_add_test(t, a_refused_body_is_skipped_in_any_chunking);
	tcase_add_test(t, a_flood_is_read_a_few_buffers_a_turn);
	tcase_add_test(t, what_comes_after_the_last_answer_is_read_to_its_end);
	tcase_add_test(t, local_answers_wait_for_their_turn);
	return sim_run("requests", t);
}
