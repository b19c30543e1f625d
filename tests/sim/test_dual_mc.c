/* memcached keys on their way from one server to another: which bytes go where, in which order,
 * before the client hears anything. Server 0 is the old owner, server 1 the new one. */
#include <stdlib.h>

#include "proxy/routes/dual_mc.h"
#include "proxy/routes/flow.h"
#include "tests/sim/sim.h"

#define OPTIONS	 "    timeout_ms: 100\n"
#define RULES(p) "\"phase\": \"" p "\", \"promote\": true, \"hold_park_ms\": 250"
#define COLD(p)	 "\"phase\": \"" p "\", \"promote\": false, \"hold_park_ms\": 250"
#define LOST(p)	 RULES(p) ", \"lost\": [\"s0\"]"
#define START(r) dual_start(r)
#define OLD	 sim_server(0)
#define NEW	 sim_server(1)

static const char *k; /* a key that moves from server 0 to server 1 */

static struct sock *dual_start(const char *rules)
{
	sim_start("memcached", 1, OPTIONS, "");
	sim_transition("memcached", 1, 2, OPTIONS, rules);
	k = sim_moving(0, 1, 0);
	return sim_client();
}

static void dual_phase(const char *rules)
{
	sim_transition("memcached", 1, 2, OPTIONS, rules);
}

static void nothing_left(void)
{
	ck_assert_uint_eq(sim_live(), 0);
	ck_assert_uint_eq(flows_live(&sim.w->core), 0);
	sim_stop();
}

/* --- reads in DUAL ---------------------------------------------------------------------------- */

START_TEST(a_read_of_what_the_target_has)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "get %s\r\n", k);
	sim_expect(NEW, "mg %s s v f t c N5\r\n", k);
	sim_send(NEW, "VA 3 s3 f7 t-1 c9\r\nabc\r\n");
	sim_expect(c, "VALUE %s 7 3\r\nabc\r\nEND\r\n", k);
	sim_expect(OLD, "%s", "");
	nothing_left();
}
END_TEST

START_TEST(a_read_promotes_with_time_and_flags)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "gets %s\r\n", k);
	sim_expect(NEW, "mg %s s v f t c N5\r\n", k);
	sim_send(NEW, "VA 0 s0 f0 t-1 c41 W\r\n\r\n");
	sim_expect(OLD, "mg %s s v f t c\r\n", k);
	sim_send(OLD, "VA 3 s3 f7 t60 c5\r\nabc\r\n");
	sim_expect(NEW, "ms %s 3 F7 T60 C41 c\r\nabc\r\n", k);
	sim_expect(c, "%s", "");
	sim_send(NEW, "HD c42\r\n");
	/* The token is the new copy's. */
	sim_expect(c, "VALUE %s 7 3 42\r\nabc\r\nEND\r\n", k);
	nothing_left();
}
END_TEST

START_TEST(a_value_that_lives_long_gets_a_date)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "get %s\r\n", k);
	sim_send(NEW, "VA 0 s0 f0 t-1 c41 W\r\n\r\n");
	sim_send(OLD, "VA 1 s1 f0 t2592001 c5\r\nx\r\n");
	sim_take_line(NEW, "mg");
	uint64_t date = clock_wall_us() / 1000000 + 2592001;
	sim_expect(NEW, "ms %s 1 F0 T%llu C41 c\r\nx\r\n", k, (unsigned long long)date);
	sim_send(NEW, "HD c42\r\n");
	sim_expect(c, "VALUE %s 0 1\r\nx\r\nEND\r\n", k);
	nothing_left();
}
END_TEST

START_TEST(a_value_that_has_expired_is_no_value)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "get %s\r\n", k);
	sim_send(NEW, "VA 0 s0 f0 t-1 c41 W\r\n\r\n");
	sim_send(OLD, "VA 1 s1 f0 t0 c5\r\nx\r\n");
	sim_take_line(NEW, "mg");
	sim_expect(NEW, "md %s C41\r\n", k);
	sim_expect(c, "%s", "");
	sim_send(NEW, "HD\r\n");
	sim_expect(c, "END\r\n");
	nothing_left();
}
END_TEST

START_TEST(while_another_promotes_the_source_is_read)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "get %s\r\n", k);
	sim_send(NEW, "VA 0 s0 f0 t5 c41 Z\r\n\r\n");
	sim_send(OLD, "VA 3 s3 f7 t60 c5\r\nabc\r\n");
	sim_expect(c, "VALUE %s 7 3\r\nabc\r\nEND\r\n", k);
	sim_expect(NEW, "mg %s s v f t c N5\r\n", k);
	nothing_left();
}
END_TEST

START_TEST(what_was_read_is_true_though_the_copy_failed)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "gets %s\r\n", k);
	sim_send(NEW, "VA 0 s0 f0 t-1 c41 W\r\n\r\n");
	sim_send(OLD, "VA 3 s3 f7 t60 c5\r\nabc\r\n");
	sim_send(NEW, "NF\r\n");
	sim_expect(c, "VALUE %s 7 3 5\r\nabc\r\nEND\r\n", k);
	nothing_left();
}
END_TEST

START_TEST(a_source_that_fails_gives_the_lease_back)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "get %s\r\n", k);
	sim_send(NEW, "VA 0 s0 f0 t-1 c41 W\r\n\r\n");
	sim_take_line(NEW, "mg");
	sim_pass_ms(120);
	sim_expect(NEW, "md %s C41\r\n", k);
	sim_expect(c, "%s", "");
	sim_send(NEW, "HD\r\n");
	sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
	sim_send(OLD, "EN\r\n");
	nothing_left();
}
END_TEST

START_TEST(a_large_value_is_moved_whole)
{
	struct sock *c = START(RULES("dual"));
	char *v = sim_value(300000, 1);
	struct scratch reply = { 0 }, want = { 0 }, fill = { 0 };
	scratch_printf(&reply, "VA 300000 s300000 f1 t-1 c5\r\n");
	scratch_put(&reply, v, 300000);
	scratch_printf(&reply, "\r\n");
	scratch_printf(&fill, "ms %s 300000 F1 C41 c\r\n", k);
	scratch_put(&fill, v, 300000);
	scratch_printf(&fill, "\r\n");
	scratch_printf(&want, "VALUE %s 1 300000\r\n", k);
	scratch_put(&want, v, 300000);
	scratch_printf(&want, "\r\nEND\r\n");
	sim_send(c, "get %s\r\n", k);
	sim_send(NEW, "VA 0 s0 f0 t-1 c41 W\r\n\r\n");
	sim_take_line(NEW, "mg");
	sim_send_bytes(OLD, reply.p, reply.n);
	sim_expect_bytes(NEW, fill.p, fill.n);
	sim_send(NEW, "HD c42\r\n");
	sim_expect_bytes(c, want.p, want.n);
	scratch_fini(&reply);
	scratch_fini(&want);
	scratch_fini(&fill);
	free(v);
	nothing_left();
}
END_TEST

START_TEST(a_multiget_over_keys_that_move_and_one_that_stays)
{
	struct sock *c = START(RULES("dual"));
	const char *k2 = sim_moving(0, 1, 1), *stays = sim_moving(0, 0, 0);
	sim_send(c, "get %s %s %s %s\r\n", k, stays, k2, k);
	sim_expect(OLD, "get %s\r\n", stays);
	sim_expect(NEW, "mg %s s v f t c N5\r\nmg %s s v f t c N5\r\n", k, k2);
	sim_send(OLD, "VALUE %s 0 1\r\ns\r\nEND\r\n", stays);
	sim_send(NEW, "VA 1 s1 f0 t-1 c1\r\na\r\nVA 1 s1 f0 t-1 c2\r\nb\r\n");
	/* The second read of the same key waits for the first. */
	sim_expect(NEW, "mg %s s v f t c N5\r\n", k);
	sim_send(NEW, "VA 1 s1 f0 t-1 c1\r\na\r\n");
	sim_expect(c,
		   "VALUE %s 0 1\r\na\r\nVALUE %s 0 1\r\ns\r\nVALUE %s 0 1\r\nb\r\n"
		   "VALUE %s 0 1\r\na\r\nEND\r\n",
		   k, stays, k2, k);
	nothing_left();
}
END_TEST

START_TEST(each_read_counts_for_the_server_that_it_needed)
{
	struct sock *c = START(_i ? RULES("dual-r") : RULES("dual"));
	sim_send(c, "get %s\r\n", k);
	struct sock *to = _i ? OLD : NEW;
	sim_send(to, "VA 3 s3 f7 t-1 c9\r\nabc\r\n");
	sim_moving_reads(1, 0);
	sim_send(c, "get %s\r\n", k); /* which somebody else promotes */
	sim_send(to, "VA 0 s0 f0 t5 c41 Z\r\n\r\n");
	struct sock *from = _i ? NEW : OLD;
	sim_send(from, "VA 3 s3 f7 t60 c5\r\nabc\r\n");
	sim_moving_reads(1, 1);
	sim_send(c, "gat 90 %s\r\n", k);
	sim_send(to, "HD s0 f0 t-1 c41 W\r\n");
	sim_send(from, "VA 1 s1 f4 t-1 c5\r\nq\r\n");
	sim_send(to, "HD c42\r\n");
	sim_send(to, "VA 1 s1 f4 t90 c42\r\nq\r\n");
	sim_moving_reads(1, 2);
	/* Nobody has it. */
	sim_send(c, "get %s\r\n", k);
	sim_send(to, "VA 0 s0 f0 t-1 c41 W\r\n\r\n");
	sim_send(from, "EN\r\n");
	sim_send(to, "HD\r\n");
	sim_moving_reads(1, 2);
	/* It is no read. */
	sim_send(c, "add %s 3 9 2\r\nxy\r\n", k);
	sim_send(to, "HD s1 f0 t-1 c42\r\n");
	sim_moving_reads(1, 2);
	/* Nor does it move. */
	sim_send(c, "get %s\r\n", sim_moving(0, 0, 0));
	sim_send(OLD, "END\r\n");
	sim_moving_reads(1, 2);
	ck_assert_uint_eq(sim_pool_metric(POOL_promoted), 1);
	nothing_left();
}
END_TEST

/* --- mutations in DUAL and DRAIN -------------------------------------------------------------- */

static void set_crosses(const char *rules)
{
	struct sock *c = START(rules);
	sim_send(c, "set %s 1 2 3\r\nabc\r\n", k);
	sim_expect(OLD, "delete %s\r\n", k);
	sim_expect(NEW, "%s", "");
	sim_send(OLD, "NOT_FOUND\r\n");
	sim_expect(NEW, "set %s 1 2 3\r\nabc\r\n", k);
	sim_expect(c, "%s", "");
	sim_send(NEW, "STORED\r\n");
	sim_expect(c, "STORED\r\n");
	nothing_left();
}

START_TEST(a_set_deletes_at_the_source_first)
{
	set_crosses(RULES("dual"));
	set_crosses(RULES("drain"));
	set_crosses(COLD("dual"));
}
END_TEST

START_TEST(a_large_set_is_sent_once)
{
	struct sock *c = START(RULES("dual"));
	char *v = sim_value(200000, 1);
	struct scratch set = { 0 };
	scratch_printf(&set, "set %s 0 0 200000\r\n", k);
	scratch_put(&set, v, 200000);
	scratch_printf(&set, "\r\n");
	sim_send_bytes(c, set.p, set.n);
	sim_send(OLD, "DELETED\r\n");
	sim_expect_bytes(NEW, set.p, set.n);
	sim_send(NEW, "STORED\r\n");
	sim_expect(c, "STORED\r\n");
	scratch_fini(&set);
	free(v);
	nothing_left();
}
END_TEST

START_TEST(a_set_whose_source_does_not_answer_is_an_error)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "set %s 0 0 1\r\na\r\n", k);
	sim_pass_ms(120);
	sim_expect(c, "SERVER_ERROR Connection timed out (server s0)\r\n");
	sim_expect(NEW, "%s", "");
	sim_send(OLD, "DELETED\r\n");
	sim_expect(NEW, "%s", "");
	nothing_left();
}
END_TEST

START_TEST(a_set_whose_target_does_not_answer_is_an_error)
{
	struct sock *c = START(RULES("drain"));
	sim_send(c, "set %s 0 0 1\r\na\r\n", k);
	sim_send(OLD, "DELETED\r\n");
	sim_pass_ms(120);
	sim_expect(c, "SERVER_ERROR Connection timed out (server s1)\r\n");
	sim_send(NEW, "STORED\r\n");
	sim_expect(c, "%s", "");
	nothing_left();
}
END_TEST

static void delete_says(const char *rules, const char *old, const char *new, const char *says)
{
	struct sock *c = START(rules);
	sim_send(c, "delete %s\r\n", k);
	sim_expect(OLD, "delete %s\r\n", k);
	sim_send(OLD, "%s\r\n", old);
	sim_expect(NEW, "delete %s\r\n", k);
	sim_expect(c, "%s", "");
	sim_send(NEW, "%s\r\n", new);
	sim_expect(c, "%s\r\n", says);
	nothing_left();
}

START_TEST(a_delete_counts_wherever_the_value_was)
{
	static const char *const phases[] = { RULES("hold"), RULES("dual"), RULES("drain") };
	for (int i = 0; i < 3; i++) {
		delete_says(phases[i], "DELETED", "NOT_FOUND", "DELETED");
		delete_says(phases[i], "NOT_FOUND", "DELETED", "DELETED");
		delete_says(phases[i], "NOT_FOUND", "NOT_FOUND", "NOT_FOUND");
	}
}
END_TEST

START_TEST(an_add_takes_the_lease_for_its_value)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "add %s 3 9 2\r\nxy\r\n", k);
	sim_expect(NEW, "mg %s s f t c N5\r\n", k);
	sim_send(NEW, "HD s0 f0 t-1 c41 W\r\n");
	sim_expect(OLD, "mg %s s v f t c\r\n", k);
	sim_send(OLD, "EN\r\n");
	sim_expect(NEW, "ms %s 2 F3 T9 C41 c\r\nxy\r\n", k);
	sim_send(NEW, "HD c42\r\n");
	sim_expect(c, "STORED\r\n");
	nothing_left();
}
END_TEST

START_TEST(an_add_meets_a_value_at_the_source)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "add %s 3 9 2\r\nxy\r\n", k);
	sim_send(NEW, "HD s0 f0 t-1 c41 W\r\n");
	sim_take_line(NEW, "mg");
	sim_send(OLD, "VA 1 s1 f4 t-1 c5\r\nq\r\n");
	sim_expect(NEW, "ms %s 1 F4 C41 c\r\nq\r\n", k);
	sim_send(NEW, "HD c42\r\n");
	sim_expect(c, "NOT_STORED\r\n");
	nothing_left();
}
END_TEST

START_TEST(an_increment_promotes_deletes_then_changes)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "incr %s 5\r\n", k);
	sim_expect(NEW, "mg %s s f t c N5\r\n", k);
	sim_send(NEW, "HD s0 f0 t-1 c41 W\r\n");
	sim_expect(OLD, "mg %s s v f t c\r\n", k);
	sim_send(OLD, "VA 2 s2 f4 t-1 c5\r\n10\r\n");
	sim_expect(NEW, "ms %s 2 F4 C41 c\r\n10\r\n", k);
	sim_send(NEW, "HD c42\r\n");
	sim_expect(OLD, "delete %s\r\n", k);
	sim_send(OLD, "DELETED\r\n");
	sim_expect(NEW, "ma %s D5 C42 v\r\n", k);
	sim_send(NEW, "VA 2\r\n15\r\n");
	sim_expect(c, "15\r\n");
	nothing_left();
}
END_TEST

START_TEST(an_append_tries_again_when_the_value_changes)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "append %s 0 0 2\r\nzz\r\n", k);
	for (int i = 0; i < MC_TRIES_MAX; i++) {
		sim_expect(NEW, "mg %s s f t c N5\r\n", k);
		sim_send(NEW, "HD s2 f0 t-1 c%d\r\n", 41 + i);
		sim_expect(OLD, "delete %s\r\n", k);
		sim_send(OLD, "NOT_FOUND\r\n");
		sim_expect(NEW, "ms %s 2 MA C%d\r\nzz\r\n", k, 41 + i);
		sim_expect(c, "%s", "");
		sim_send(NEW, "EX\r\n");
	}
	sim_expect(c, "SERVER_ERROR the pool's ring is changing, try again\r\n");
	nothing_left();
}
END_TEST

START_TEST(in_drain_a_placeholder_is_no_value)
{
	struct sock *c = START(RULES("drain"));
	sim_send(c, "append %s 0 0 2\r\nzz\r\nget %s\r\nincr %s 1\r\n", k, k, k);
	sim_expect(OLD, "delete %s\r\n", k);
	sim_send(OLD, "NOT_FOUND\r\n");
	sim_expect(NEW, "mg %s s f t c\r\n", k);
	sim_send(NEW, "HD s0 f0 t5 c1 Z\r\n");
	sim_expect(NEW, "mg %s s v f t c\r\n", k);
	sim_send(NEW, "VA 0 s0 f0 t5 c1 Z\r\n\r\n");
	sim_expect(OLD, "delete %s\r\n", k);
	sim_send(OLD, "NOT_FOUND\r\n");
	sim_expect(NEW, "mg %s s f t c\r\n", k);
	sim_send(NEW, "HD s0 f0 t5 c1 Z\r\n");
	sim_pass_ms(2);
	sim_expect(c, "NOT_STORED\r\nEND\r\nNOT_FOUND\r\n");
	nothing_left();
}
END_TEST

START_TEST(a_touched_placeholder_goes)
{
	struct sock *c = START(RULES("drain"));
	sim_send(c, "touch %s 0\r\n", k);
	sim_expect(NEW, "mg %s s f t c T0\r\n", k);
	sim_send(NEW, "HD s0 f0 t-1 c41 Z\r\n");
	sim_expect(NEW, "md %s C41\r\n", k);
	sim_send(NEW, "HD\r\n");
	sim_expect(c, "NOT_FOUND\r\n");
	nothing_left();
}
END_TEST

START_TEST(gat_promotes_then_touches)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "gat 90 %s\r\n", k);
	sim_expect(NEW, "mg %s s f t c N5\r\n", k);
	sim_send(NEW, "HD s0 f0 t-1 c41 W\r\n");
	sim_send(OLD, "VA 1 s1 f4 t-1 c5\r\nq\r\n");
	sim_expect(NEW, "ms %s 1 F4 C41 c\r\nq\r\n", k);
	sim_send(NEW, "HD c42\r\n");
	sim_expect(NEW, "mg %s s v f t c T90\r\n", k);
	sim_send(NEW, "VA 1 s1 f4 t90 c42\r\nq\r\n");
	sim_expect(c, "VALUE %s 4 1\r\nq\r\nEND\r\n", k);
	nothing_left();
}
END_TEST

/* --- order ------------------------------------------------------------------------------------ */

START_TEST(a_client_reads_what_it_has_just_written)
{
	struct sock *c = START(RULES("dual"));
	struct sock *other = sim_client();
	sim_send(c, "set %s 0 0 1 noreply\r\na\r\nget %s\r\n", k, k);
	sim_expect(OLD, "delete %s\r\n", k);
	sim_expect(NEW, "%s", "");
	/* Another client does not wait. */
	sim_send(other, "get %s\r\n", k);
	sim_expect(NEW, "mg %s s v f t c N5\r\n", k);
	sim_send(OLD, "NOT_FOUND\r\n");
	sim_expect(NEW, "set %s 0 0 1\r\na\r\n", k);
	sim_send(NEW, "VA 1 s1 f0 t-1 c1\r\nz\r\nSTORED\r\n");
	sim_expect(other, "VALUE %s 0 1\r\nz\r\nEND\r\n", k);
	sim_expect(NEW, "mg %s s v f t c N5\r\n", k);
	sim_send(NEW, "VA 1 s1 f0 t-1 c2\r\na\r\n");
	sim_expect(c, "VALUE %s 0 1\r\na\r\nEND\r\n", k);
	nothing_left();
}
END_TEST

/* The next ring's keys go straight to their servers: nothing may overtake what had steps to go. */
START_TEST(a_client_reads_what_it_wrote_before_the_ring_changed)
{
	struct sock *c = START(RULES("drain"));
	struct sock *other = sim_client();
	sim_send(c, "set %s 0 0 1\r\na\r\n", k);
	sim_expect(OLD, "delete %s\r\n", k);
	sim_swap("memcached", 2, OPTIONS, "");
	sim_send(c, "get %s\r\nget %s\r\n", k, sim_key(0, 0));
	sim_expect(NEW, "%s", "");
	sim_send(other, "get %s\r\n", k);
	sim_expect(NEW, "get %s\r\n", k);
	sim_send(NEW, "END\r\n");
	sim_expect(other, "END\r\n");
	sim_send(OLD, "NOT_FOUND\r\n");
	sim_expect(NEW, "set %s 0 0 1\r\na\r\n", k);
	sim_expect(OLD, "%s", "");
	sim_send(NEW, "STORED\r\n");
	sim_expect(NEW, "get %s\r\n", k);
	sim_expect(OLD, "get %s\r\n", sim_key(0, 0));
	sim_send(NEW, "VALUE %s 0 1\r\na\r\nEND\r\n", k);
	sim_send(OLD, "END\r\n");
	sim_expect(c, "STORED\r\nVALUE %s 0 1\r\na\r\nEND\r\nEND\r\n", k);
	nothing_left();
}
END_TEST

START_TEST(a_client_that_leaves_ends_no_flow)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "set %s 0 0 1\r\na\r\n", k);
	c->error = 104;
	sim_settle();
	sim_send(OLD, "NOT_FOUND\r\n");
	sim_expect(NEW, "set %s 0 0 1\r\na\r\n", k);
	sim_send(NEW, "STORED\r\n");
	nothing_left();
}
END_TEST

/* --- HOLD ------------------------------------------------------------------------------------- */

START_TEST(a_set_waits_for_hold_to_end)
{
	struct sock *c = START(RULES("hold"));
	sim_send(c, "set %s 0 0 1\r\na\r\nget %s\r\n", k, k);
	sim_pass_ms(200);
	sim_expect(OLD, "%s", "");
	sim_expect(NEW, "%s", "");
	dual_phase(RULES("dual"));
	sim_expect(OLD, "delete %s\r\n", k);
	sim_send(OLD, "NOT_FOUND\r\n");
	sim_take_line(NEW, "set");
	sim_take_line(NEW, "a");
	sim_send(NEW, "STORED\r\n");
	sim_take_line(NEW, "mg");
	sim_send(NEW, "VA 1 s1 f0 t-1 c2\r\na\r\n");
	sim_pass_ms(2);
	sim_expect(c, "STORED\r\nVALUE %s 0 1\r\na\r\nEND\r\n", k);
	sim_pass_ms(300);
	sim_expect(c, "%s", "");
	nothing_left();
}
END_TEST

START_TEST(a_step_back_lets_parked_writes_run_where_they_were)
{
	struct sock *c = START(RULES("hold"));
	sim_send(c, "set %s 0 0 1\r\na\r\nincr %s 1\r\nget %s\r\n", k, k, k);
	sim_pass_ms(100);
	dual_phase(RULES("prepare"));
	sim_expect(OLD, "set %s 0 0 1\r\na\r\nincr %s 1\r\nget %s\r\n", k, k, k);
	sim_send(OLD, "STORED\r\n");
	sim_send(OLD, "5\r\nEND\r\n");
	sim_pass_ms(2);
	sim_expect(c, "STORED\r\n5\r\nEND\r\n");
	nothing_left();
}
END_TEST

START_TEST(a_set_that_waited_too_long_deletes_both)
{
	struct sock *c = START(RULES("hold"));
	sim_send(c, "set %s 0 0 1\r\na\r\n", k);
	sim_pass_ms(251);
	sim_expect(OLD, "delete %s\r\n", k);
	sim_send(OLD, "DELETED\r\n");
	sim_expect(NEW, "delete %s\r\n", k);
	sim_expect(c, "%s", "");
	sim_send(NEW, "NOT_FOUND\r\n");
	sim_expect(c, "SERVER_ERROR the pool's ring is changing, try again\r\n");
	nothing_left();
}
END_TEST

START_TEST(hold_reads_the_source_and_refuses_locks)
{
	struct sock *c = START(RULES("hold"));
	sim_send(c, "get %s\r\nadd %s 0 0 1\r\na\r\ncas %s 0 0 1 7\r\na\r\n", k, k, k);
	sim_expect(OLD, "mg %s s v f t c\r\n", k);
	sim_send(OLD, "VA 1 s1 f3 t-1 c2\r\na\r\n");
	sim_pass_ms(2);
	sim_expect(c, "VALUE %s 3 1\r\na\r\nEND\r\nNOT_STORED\r\nEXISTS\r\n", k);
	sim_send(c, "incr %s 1\r\n", k);
	sim_pass_ms(260);
	sim_expect(c, "SERVER_ERROR the pool's ring is changing, try again\r\n");
	sim_expect(NEW, "%s", "");
	nothing_left();
}
END_TEST

START_TEST(a_stop_while_writes_are_parked)
{
	struct sock *c = START(RULES("hold"));
	sim_send(c, "set %s 0 0 1\r\na\r\nset %s 0 0 1\r\nb\r\nget %s\r\n", k, k, k);
	sim_stop();
}
END_TEST

START_TEST(a_stop_in_the_middle_of_everything)
{
	struct sock *c = START(RULES("dual"));
	sim_send(c, "set %s 0 0 1\r\na\r\nget %s\r\nincr %s 1\r\n", k, k, k);
	const char *k2 = sim_moving(0, 1, 1);
	sim_send(c, "get %s %s\r\n", k, k2);
	sim_stop();
}
END_TEST

/* --- fenced, lost, cold ----------------------------------------------------------------------- */

START_TEST(a_proxy_that_lost_touch)
{
	struct sock *c = START(RULES("dual") ", \"lease_ms\": 1000");
	sim_send(c, "get %s\r\nset %s 0 0 1\r\na\r\nadd %s 0 0 1\r\na\r\n", k, k, k);
	sim_pass_ms(2);
	sim_expect(c, "END\r\nSERVER_ERROR the pool's ring is changing, and this proxy has lost "
		      "touch\r\nNOT_STORED\r\n");
	sim_expect(OLD, "%s", "");
	sim_send(c, "delete %s\r\n", k);
	sim_expect(OLD, "delete %s\r\n", k);
	sim_send(OLD, "DELETED\r\n");
	sim_expect(NEW, "delete %s\r\n", k);
	sim_send(NEW, "DELETED\r\n");
	sim_expect(c,
		   "SERVER_ERROR the pool's ring is changing, and this proxy has lost touch\r\n");
	sim_lease(clock_boot_us() + 1000000);
	sim_send(c, "delete %s\r\n", k);
	sim_send(OLD, "DELETED\r\n");
	sim_send(NEW, "DELETED\r\n");
	sim_expect(c, "DELETED\r\n");
	nothing_left();
}
END_TEST

START_TEST(a_lost_source_is_not_asked)
{
	struct sock *c = START(LOST("dual"));
	sim_send(c, "set %s 0 0 1\r\na\r\nget %s\r\n", k, k);
	sim_expect(NEW, "set %s 0 0 1\r\na\r\nmg %s s v f t c\r\n", k, k);
	sim_send(NEW, "STORED\r\nEN\r\n");
	sim_pass_ms(2);
	sim_expect(c, "STORED\r\nEND\r\n");
	sim_expect(OLD, "%s", "");
	nothing_left();
}
END_TEST

START_TEST(a_delete_is_acknowledged_only_if_the_lost_source_confirms)
{
	struct sock *c = START(LOST("hold"));
	fake_set_accept(SIM_PORT, ACCEPT_REFUSE);
	OLD->eof = true;
	sim_settle();
	sim_send(c, "delete %s\r\n", k);
	sim_expect(NEW, "delete %s\r\n", k);
	sim_send(NEW, "DELETED\r\n");
	sim_expect(c, "SERVER_ERROR Connection refused\r\n");
	nothing_left();
}
END_TEST

START_TEST(servers_without_meta_commands_get_none)
{
	struct sock *c = START(COLD("dual"));
	sim_send(c, "get %s\r\nincr %s 1\r\n", k, k);
	sim_expect(NEW, "get %s\r\n", k);
	sim_expect(OLD, "delete %s\r\n", k);
	sim_send(OLD, "NOT_FOUND\r\n");
	sim_expect(NEW, "incr %s 1\r\n", k);
	sim_send(NEW, "END\r\n7\r\n");
	sim_pass_ms(2);
	sim_expect(c, "END\r\n7\r\n");
	nothing_left();
}
END_TEST

START_TEST(on_the_way_back_roles_are_swapped)
{
	struct sock *c = START(RULES("dual-r"));
	sim_send(c, "set %s 0 0 1\r\na\r\n", k);
	sim_expect(NEW, "delete %s\r\n", k);
	sim_send(NEW, "NOT_FOUND\r\n");
	sim_expect(OLD, "set %s 0 0 1\r\na\r\n", k);
	sim_send(OLD, "STORED\r\n");
	sim_expect(c, "STORED\r\n");
	nothing_left();
}
END_TEST

START_TEST(flush_all_is_refused)
{
	sim_start("memcached", 1, "    allow_flush: true\n", "");
	sim_transition("memcached", 1, 2, "    allow_flush: true\n", RULES("prepare"));
	struct sock *c = sim_client();
	sim_send(c, "flush_all\r\n");
	sim_expect(c, "SERVER_ERROR the pool's ring is changing, try again\r\n");
	nothing_left();
}
END_TEST

/* A flow may not begin an action at a server long after it was started. */
START_TEST(an_operation_ends_in_time)
{
	sim_start("memcached", 1, "    timeout_ms: 0\n", "");
	sim_transition("memcached", 1, 2, "    timeout_ms: 0\n", RULES("dual"));
	k = sim_moving(0, 1, 0);
	struct sock *c = sim_client();
	sim_send(c, "set %s 0 0 1\r\na\r\n", k);
	sim_pass_ms(5001);
	sim_send(OLD, "DELETED\r\n");
	sim_expect(NEW, "%s", "");
	sim_expect(c, "SERVER_ERROR Connection timed out (server s1)\r\n");
	nothing_left();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("dual_mc");
	tcase_add_test(t, a_read_of_what_the_target_has);
	tcase_add_test(t, a_read_promotes_with_time_and_flags);
	tcase_add_test(t, a_value_that_lives_long_gets_a_date);
	tcase_add_test(t, a_value_that_has_expired_is_no_value);
	tcase_add_test(t, while_another_promotes_the_source_is_read);
	tcase_add_test(t, what_was_read_is_true_though_the_copy_failed);
	tcase_add_test(t, a_source_that_fails_gives_the_lease_back);
	tcase_add_test(t, a_large_value_is_moved_whole);
	tcase_add_test(t, a_multiget_over_keys_that_move_and_one_that_stays);
	tcase_add_loop_test(t, each_read_counts_for_the_server_that_it_needed, 0, 2);
	tcase_add_test(t, a_set_deletes_at_the_source_first);
	tcase_add_test(t, a_large_set_is_sent_once);
	tcase_add_test(t, a_set_whose_source_does_not_answer_is_an_error);
	tcase_add_test(t, a_set_whose_target_does_not_answer_is_an_error);
	tcase_add_test(t, a_delete_counts_wherever_the_value_was);
	tcase_add_test(t, an_add_takes_the_lease_for_its_value);
	tcase_add_test(t, an_add_meets_a_value_at_the_source);
	tcase_add_test(t, an_increment_promotes_deletes_then_changes);
	tcase_add_test(t, an_append_tries_again_when_the_value_changes);
	tcase_add_test(t, in_drain_a_placeholder_is_no_value);
	tcase_add_test(t, a_touched_placeholder_goes);
	tcase_add_test(t, gat_promotes_then_touches);
	tcase_add_test(t, a_client_reads_what_it_has_just_written);
	tcase_add_test(t, a_client_reads_what_it_wrote_before_the_ring_changed);
	tcase_add_test(t, a_client_that_leaves_ends_no_flow);
	tcase_add_test(t, a_set_waits_for_hold_to_end);
	tcase_add_test(t, a_step_back_lets_parked_writes_run_where_they_were);
	tcase_add_test(t, a_set_that_waited_too_long_deletes_both);
	tcase_add_test(t, hold_reads_the_source_and_refuses_locks);
	tcase_add_test(t, a_stop_while_writes_are_parked);
	tcase_add_test(t, a_stop_in_the_middle_of_everything);
	tcase_add_test(t, a_proxy_that_lost_touch);
	tcase_add_test(t, a_lost_source_is_not_asked);
	tcase_add_test(t, a_delete_is_acknowledged_only_if_the_lost_source_confirms);
	tcase_add_test(t, servers_without_meta_commands_get_none);
	tcase_add_test(t, on_the_way_back_roles_are_swapped);
	tcase_add_test(t, flush_all_is_refused);
	tcase_add_test(t, an_operation_ends_in_time);
	return sim_run("dual_mc", t);
}
