#include <check.h>

#include "agent/nanny.h"
#include "common/log.h"
#include "tests/unit/agent/fake.h"

enum { SERVERS = 6, DOUBT_MS = 400, INTERVAL_MS = 15 };

static struct io_loop loop;
static struct nanny *nanny;
static struct fake fakes[SERVERS];
static struct nanny_server servers[SERVERS];
static struct nanny_pool pool;

/* What the nanny has said. */
static struct {
	int votes[SERVERS]; /* how often each server's changed */
	bool bad[SERVERS];
	int restarts[SERVERS];
	char why[SERVERS][PROBE_WHY_MAX];
	uint64_t at_us[SERVERS]; /* the last change */
	int total;
	bool abstains;
	int abstentions;
	char abstain_why[PROBE_WHY_MAX];
	bool voted_before_doubt;
} seen;

static const char *const names[SERVERS] = { "s0", "s1", "s2", "s3", "s4", "s5" };

static void on_vote(void *ctx, const struct nanny_vote *v)
{
	ck_assert_ptr_eq(ctx, &seen);
	ck_assert_str_eq(v->pool, "main");
	int i = v->server[1] - '0';
	seen.total++;
	seen.restarts[i] += v->restarted;
	if (!v->changed) return;
	ck_assert_int_ne(seen.bad[i], v->bad);
	ck_assert(v->why[0]);
	ck_assert_uint_gt(v->since_ms, 1500000000000);
	seen.votes[i]++;
	seen.bad[i] = v->bad;
	seen.at_us[i] = clock_now_us();
	if (v->bad && !seen.abstains) seen.voted_before_doubt = true;
	snprintf(seen.why[i], sizeof(seen.why[i]), "%s", v->why);
}

static void on_abstain(void *ctx, const char *why)
{
	ck_assert_ptr_eq(ctx, &seen);
	ck_assert_int_ne(seen.abstains, why != NULL);
	seen.abstains = why != NULL;
	seen.abstentions++;
	if (why) snprintf(seen.abstain_why, sizeof(seen.abstain_why), "%s", why);
}

static const struct nanny_events events = {
	.on_vote = on_vote, .on_abstain = on_abstain, .ctx = &seen, .doubt_ms = DOUBT_MS, .seed = 7
};

static void fake_is_well(struct fake *f)
{
	f->replies[0] = "VERSION 1.6\r\n";
	f->replies[1] = "STAT pid 1\r\nSTAT uptime 5\r\nSTAT time 50\r\nEND\r\n";
	f->silent = false;
}

static void setup(void)
{
	log_level_set(LOG_LEVEL_CRIT);
	ck_assert(io_loop_init(&loop));
	memset(&seen, 0, sizeof(seen));
	memset(fakes, 0, sizeof(fakes));
	for (int i = 0; i < SERVERS; i++) {
		fake_is_well(&fakes[i]);
		fake_up(&fakes[i], &loop);
		servers[i] = (struct nanny_server){ names[i], "127.0.0.1", fakes[i].port, false };
	}
	pool = (struct nanny_pool){ .name = "main",
				    .health = { .probe = PROBE_MEMCACHED,
						.interval_ms = INTERVAL_MS,
						.timeout_ms = 1000,
						.fall = 3,
						.rise = 5 },
				    .servers = servers,
				    .server_count = SERVERS };
	nanny = nanny_new(&loop, &events);
}

static void teardown(void)
{
	nanny_free(&nanny);
	ck_assert_ptr_null(nanny);
	nanny_free(&nanny);
	for (int i = 0; i < SERVERS; i++) fake_down(&fakes[i]);
	io_loop_fini(&loop);
}

static void on_tick(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	io_timer_set(owner, 2000);
}

typedef bool (*condition_fn)(void);

/* Until it holds, or for so long; returns whether it does. */
static bool run(uint64_t ms, condition_fn fn)
{
	struct io_timer tick;
	uint64_t end = clock_now_us() + ms * 1000;
	io_timer_init(&tick, &loop, on_tick, &tick);
	io_timer_set(&tick, 0);
	while (clock_now_us() < end && !(fn && fn())) io_loop_turn(&loop);
	io_timer_stop(&tick);
	return fn && fn();
}

static bool first_is_bad(void)
{
	return seen.bad[0];
}

static bool first_is_good(void)
{
	return !seen.bad[0];
}

static bool first_has_restarted(void)
{
	return seen.restarts[0] > 0;
}

static bool it_abstains(void)
{
	return seen.abstains;
}

static bool it_votes(void)
{
	return !seen.abstains;
}

static bool all_were_probed(void)
{
	for (int i = 0; i < SERVERS; i++)
		if (fakes[i].accepted < 12) return false;
	return true;
}

/* --- rise and fall ---------------------------------------------------------------------------- */

START_TEST(all_is_well)
{
	nanny_want(nanny, &pool, 1);
	ck_assert(run(5000, all_were_probed));
	ck_assert_int_eq(seen.total, 0);
	ck_assert_int_eq(seen.abstentions, 0);
	ck_assert_ptr_null(nanny_abstains(nanny));
}
END_TEST

START_TEST(one_dies_and_returns)
{
	nanny_want(nanny, &pool, 1);
	ck_assert(run(5000, all_were_probed));
	fake_down(&fakes[0]);
	ck_assert(run(5000, first_is_bad));
	ck_assert_str_eq(seen.why[0], "connect: Connection refused");
	run(100, NULL);
	ck_assert_int_eq(seen.total, 1);
	fake_up(&fakes[0], &loop);
	unsigned before = fakes[0].accepted;
	ck_assert(run(5000, first_is_good));
	ck_assert_uint_eq(fakes[0].accepted - before, 5);
	ck_assert_str_eq(seen.why[0], "5 good probes in a row");
	ck_assert_int_eq(seen.total, 2);
	ck_assert_int_eq(seen.abstentions, 0);
}
END_TEST

/* Row 11: accepts, but never replies. */
START_TEST(one_hangs)
{
	pool.health.timeout_ms = 50;
	nanny_want(nanny, &pool, 1);
	ck_assert(run(5000, all_were_probed));
	fakes[0].silent = true;
	unsigned before = fakes[0].accepted;
	ck_assert(run(5000, first_is_bad));
	ck_assert_uint_ge(fakes[0].accepted - before, 2); /* one may have been under way */
	ck_assert_uint_le(fakes[0].accepted - before, 4);
	ck_assert_ptr_nonnull(strstr(seen.why[0], "version: no answer within 50 ms"));
	ck_assert_int_eq(seen.total, 1);
}
END_TEST

START_TEST(two_bad_probes_in_a_row_are_not_three)
{
	nanny_want(nanny, &pool, 1);
	for (int i = 0; i < 6; i++) {
		unsigned before = fakes[0].accepted;
		fakes[0].replies[0] = "SERVER_ERROR no\r\n";
		uint64_t end = clock_now_us() + 5000000;
		while (fakes[0].accepted < before + 2 && clock_now_us() < end) io_loop_turn(&loop);
		fakes[0].replies[0] = "VERSION 1.6\r\n";
		while (fakes[0].accepted < before + 4 && clock_now_us() < end) io_loop_turn(&loop);
	}
	ck_assert_int_eq(seen.total, 0);
}
END_TEST

START_TEST(the_interval_is_kept)
{
	pool.server_count = 1;
	pool.health.interval_ms = 40;
	nanny_want(nanny, &pool, 1);
	uint64_t begun = clock_now_us();
	run(1000, NULL);
	/* A probe may begin a tenth of the interval early, but none is made up for. */
	ck_assert_uint_le(fakes[0].accepted, (clock_now_us() - begun) / 36000 + 1);
	ck_assert_uint_ge(fakes[0].accepted, 5);
}
END_TEST

START_TEST(the_first_probes_are_spread)
{
	pool.health.interval_ms = 1000;
	nanny_want(nanny, &pool, 1);
	run(300, NULL);
	int probed = 0;
	for (int i = 0; i < SERVERS; i++) probed += fakes[i].accepted > 0;
	ck_assert_int_lt(probed, SERVERS);
	run(1000, NULL);
	for (int i = 0; i < SERVERS; i++) ck_assert_uint_gt(fakes[i].accepted, 0);
}
END_TEST

START_TEST(a_new_incarnation_is_told)
{
	nanny_want(nanny, &pool, 1);
	ck_assert(run(5000, all_were_probed));
	fakes[0].replies[1] = "STAT pid 1\r\nSTAT uptime 1\r\nSTAT time 52\r\nEND\r\n";
	ck_assert(run(5000, first_has_restarted));
	run(100, NULL);
	ck_assert_int_eq(seen.restarts[0], 1);
	ck_assert_int_eq(seen.votes[0], 0);
	ck_assert_int_eq(seen.total, 1);
}
END_TEST

/* --- what is wanted --------------------------------------------------------------------------- */

START_TEST(what_stays_keeps_its_state)
{
	nanny_want(nanny, &pool, 1);
	fake_down(&fakes[0]);
	ck_assert(run(5000, first_is_bad));
	pool.server_count = 3;
	nanny_want(nanny, &pool, 1);
	run(60, NULL);
	ck_assert_int_eq(seen.total, 1);
	unsigned before = fakes[4].accepted;
	run(60, NULL);
	ck_assert_uint_eq(fakes[4].accepted, before);
	nanny_want(nanny, NULL, 0);
	ck_assert_int_eq(seen.total, 2);
	ck_assert(!seen.bad[0]);
	ck_assert_str_eq(seen.why[0], "no longer looked after");
}
END_TEST

START_TEST(another_address_is_another_server)
{
	nanny_want(nanny, &pool, 1);
	fake_down(&fakes[0]);
	ck_assert(run(5000, first_is_bad));
	servers[0].port = fakes[1].port;
	nanny_want(nanny, &pool, 1);
	ck_assert(!seen.bad[0]);
	run(150, NULL);
	ck_assert_int_eq(seen.total, 2);
}
END_TEST

START_TEST(probe_none_leaves_alone)
{
	nanny_want(nanny, &pool, 1);
	fake_down(&fakes[0]);
	ck_assert(run(5000, first_is_bad));
	pool.health.probe = PROBE_NONE;
	nanny_want(nanny, &pool, 1);
	ck_assert(!seen.bad[0]);
}
END_TEST

START_TEST(the_ejected_must_prove_themselves)
{
	servers[0].ejected = servers[1].ejected = true;
	fake_down(&fakes[1]);
	nanny_want(nanny, &pool, 1);
	ck_assert(seen.bad[0] && seen.bad[1]);
	ck_assert(run(5000, first_is_good));
	ck_assert_uint_ge(fakes[0].accepted, 5);
	ck_assert(seen.bad[1]);
	servers[2].ejected = true; /* by others: it is known here, and well */
	nanny_want(nanny, &pool, 1);
	ck_assert(!seen.bad[2]);
}
END_TEST

START_TEST(names_and_other_probes)
{
	for (int i = 0; i < SERVERS; i++) servers[i].host = "localhost";
	servers[5].host = "no-such-host.invalid";
	servers[4].host = "/no/such/socket";
	servers[4].port = 0;
	nanny_want(nanny, &pool, 1);
	fake_down(&fakes[0]);
	ck_assert(run(5000, first_is_bad));
	run(200, NULL);
	ck_assert(seen.bad[4]);
	ck_assert(!seen.bad[5] && !seen.bad[1]); /* that nobody knows its name is not its fault */
	pool.health = (struct health_spec){ .probe = PROBE_HTTP,
					    .interval_ms = 15,
					    .timeout_ms = 1000,
					    .fall = 2,
					    .rise = 2,
					    .http_port = fakes[3].port };
	fakes[3].replies[0] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	pool.server_count = 4;
	nanny_want(nanny, &pool, 1);
	ck_assert(run(5000, first_is_good));
}
END_TEST

/* --- doubt ------------------------------------------------------------------------------------ */

/* Row 67: this nanny alone is cut off. */
START_TEST(cut_off_from_all_it_abstains)
{
	pool.health.timeout_ms = 50;
	nanny_want(nanny, &pool, 1);
	ck_assert(run(5000, all_were_probed));
	for (int i = 0; i < SERVERS; i++) fakes[i].silent = true;
	ck_assert(run(5000, it_abstains));
	run(3 * DOUBT_MS, NULL);
	ck_assert(seen.abstains);
	ck_assert_ptr_nonnull(strstr(nanny_abstains(nanny), "servers"));
	ck_assert(!seen.voted_before_doubt);
	for (int i = 0; i < SERVERS; i++) ck_assert(seen.bad[i]);
	for (int i = 0; i < SERVERS; i++) fake_is_well(&fakes[i]);
	ck_assert(run(5000, it_votes));
	for (int i = 0; i < SERVERS; i++) ck_assert(!seen.bad[i]);
	ck_assert_int_eq(seen.abstentions, 2);
}
END_TEST

/* Row 68: half of them are gone, and stay so: after a while that is the truth. */
START_TEST(half_are_gone)
{
	nanny_want(nanny, &pool, 1);
	ck_assert(run(5000, all_were_probed));
	for (int i = 0; i < 3; i++) fake_down(&fakes[i]);
	ck_assert(run(5000, it_abstains));
	uint64_t since = clock_now_us();
	ck_assert(run(10 * DOUBT_MS, it_votes));
	ck_assert_uint_ge(clock_now_us() - since, 2 * DOUBT_MS * 900);
	ck_assert(seen.bad[0] && seen.bad[1] && seen.bad[2] && !seen.bad[3]);
}
END_TEST

START_TEST(a_third_is_no_reason_to_doubt)
{
	nanny_want(nanny, &pool, 1);
	ck_assert(run(5000, all_were_probed));
	fake_down(&fakes[0]);
	fake_down(&fakes[1]);
	ck_assert(run(5000, first_is_bad));
	run(100, NULL);
	ck_assert(seen.bad[1]);
	ck_assert_int_eq(seen.abstentions, 0);
}
END_TEST

START_TEST(one_of_one_is_no_reason_to_doubt)
{
	pool.server_count = 1;
	nanny_want(nanny, &pool, 1);
	fake_down(&fakes[0]);
	ck_assert(run(5000, first_is_bad));
	run(100, NULL);
	ck_assert_int_eq(seen.abstentions, 0);
}
END_TEST

START_TEST(one_after_another_is_no_reason_to_doubt)
{
	nanny_want(nanny, &pool, 1);
	for (int i = 0; i < 4; i++) {
		fake_down(&fakes[i]);
		run(DOUBT_MS, NULL);
		ck_assert(seen.bad[i]);
	}
	ck_assert_int_eq(seen.abstentions, 0);
}
END_TEST

START_TEST(told_to_doubt)
{
	nanny_want(nanny, &pool, 1);
	nanny_doubt(nanny, true, "the store is away");
	ck_assert(seen.abstains);
	ck_assert_str_eq(seen.abstain_why, "the store is away");
	run(2 * DOUBT_MS, NULL);
	ck_assert(seen.abstains);
	uint64_t since = clock_now_us();
	nanny_doubt(nanny, false, NULL);
	ck_assert(seen.abstains);
	ck_assert(run(5000, it_votes));
	ck_assert_uint_ge(clock_now_us() - since, DOUBT_MS * 900);
	ck_assert_int_eq(seen.abstentions, 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("nanny");
	TCase *t = tcase_create("nanny");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, all_is_well);
	tcase_add_test(t, one_dies_and_returns);
	tcase_add_test(t, one_hangs);
	tcase_add_test(t, two_bad_probes_in_a_row_are_not_three);
	tcase_add_test(t, the_interval_is_kept);
	tcase_add_test(t, the_first_probes_are_spread);
	tcase_add_test(t, a_new_incarnation_is_told);
	tcase_add_test(t, what_stays_keeps_its_state);
	tcase_add_test(t, another_address_is_another_server);
	tcase_add_test(t, probe_none_leaves_alone);
	tcase_add_test(t, the_ejected_must_prove_themselves);
	tcase_add_test(t, names_and_other_probes);
	tcase_add_test(t, cut_off_from_all_it_abstains);
	tcase_add_test(t, half_are_gone);
	tcase_add_test(t, a_third_is_no_reason_to_doubt);
	tcase_add_test(t, one_of_one_is_no_reason_to_doubt);
	tcase_add_test(t, one_after_another_is_no_reason_to_doubt);
	tcase_add_test(t, told_to_doubt);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
