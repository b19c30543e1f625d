#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/mover_rate.h"
#include "agent/mover_spool.h"

/* --- spool ------------------------------------------------------------------------------------ */

enum { KEYS = 5000 };

static int seen[KEYS];

static void offer_all(struct mover_spool *s)
{
	char key[24];
	for (int i = 0; i < KEYS; i++) {
		int n = snprintf(key, sizeof(key), "key:%d", i);
		struct slice k = { key, (size_t)n };
		struct spool_entry e = { .hash = spool_hash(k), .cas = (uint64_t)i };
		if (spool_takes(s, e.hash)) spool_put(s, &e, k);
		ck_assert_uint_le(spool_bytes(s), s->bytes_max);
	}
}

static void take_all(struct mover_spool *s)
{
	char key[24];
	while (spool_waiting(s) > 0) {
		const struct spool_entry *e = spool_first(s);
		struct slice k = spool_key(s, e);
		snprintf(key, sizeof(key), "key:%d", (int)e->cas);
		ck_assert(slice_eq(k, slice_of(key)));
		ck_assert(spool_takes(s, e->hash));
		seen[e->cas]++;
		spool_pop(s);
	}
}

/* However little fits, each key has its turn, once. */
START_TEST(spool_rounds)
{
	static const size_t sizes[] = { 1 << 20, 100000, 20000, 8000 };
	struct mover_spool s;
	int ranges = 0;
	memset(seen, 0, sizeof(seen));
	spool_init(&s, sizes[_i]);
	do {
		offer_all(&s);
		take_all(&s);
		ranges++;
	} while (spool_next_range(&s));
	for (int i = 0; i < KEYS; i++) ck_assert_int_eq(seen[i], 1);
	if (_i == 0) ck_assert_int_eq(ranges, 1);
	else ck_assert_int_gt(ranges, (int)(KEYS * sizeof(struct spool_entry) / sizes[_i]));
	spool_reset(&s);
	ck_assert(spool_takes(&s, 0) && spool_takes(&s, UINT64_MAX));
	spool_fini(&s);
}
END_TEST

/* A pipe: as much goes in as comes out. */
START_TEST(spool_as_a_queue)
{
	struct mover_spool s;
	char key[24];
	uint64_t next = 0;
	spool_init(&s, 10000);
	for (int i = 0; i < 20000; i++) {
		int n = snprintf(key, sizeof(key), "key:%d", i);
		struct slice k = { key, (size_t)n };
		struct spool_entry e = { .hash = spool_hash(k), .cas = (uint64_t)i };
		spool_put(&s, &e, k);
		if (spool_waiting(&s) < 20) continue;
		ck_assert_uint_eq(spool_first(&s)->cas, next++);
		spool_pop(&s);
	}
	ck_assert(!spool_next_range(&s)); /* nothing was put off */
	spool_fini(&s);
}
END_TEST

/* --- rate ------------------------------------------------------------------------------------- */

static void samples(struct mover_rate *r, uint64_t took_us, int decisions)
{
	for (int i = 0; i < decisions * RATE_SAMPLES; i++) rate_sample(r, took_us, 0);
}

START_TEST(pace_follows_the_server)
{
	struct mover_rate r;
	rate_init(&r, 0);
	samples(&r, 200, 10);
	ck_assert_double_gt(r.pace, RATE_START * 5.0); /* found soon */
	double before = r.pace;
	samples(&r, 800, 4); /* more than twice, but too little to be the server's */
	ck_assert_double_gt(r.pace, before);
	before = r.pace;
	samples(&r, 2000, 1);
	ck_assert_double_lt(r.pace, before * 0.51);
	samples(&r, 2000, 30);
	ck_assert_double_eq(r.pace, RATE_MIN); /* and never stops */
	samples(&r, 200, 10);
	ck_assert_double_lt(r.pace, RATE_MIN * 2); /* slowly back */
	samples(&r, 200, 1000);
	ck_assert_double_eq(r.pace, RATE_MAX);
}
END_TEST

START_TEST(one_slow_answer_is_no_news)
{
	struct mover_rate r;
	rate_init(&r, 0);
	samples(&r, 200, 1);
	double before = r.pace;
	for (int i = 0; i < RATE_SAMPLES; i++) rate_sample(&r, i < 2 ? 100000 : 200, 0);
	ck_assert_double_gt(r.pace, before);
}
END_TEST

START_TEST(slower_for_good_is_got_used_to)
{
	struct mover_rate r;
	rate_init(&r, 0);
	samples(&r, 3000, 1);
	samples(&r, 9000, 5);
	double low = r.pace;
	ck_assert_double_lt(low, RATE_START / 10.0);
	samples(&r, 9000, 1000); /* four minutes */
	ck_assert_double_gt(r.pace, low);
}
END_TEST

START_TEST(latency_limit)
{
	struct mover_rate r;
	rate_init(&r, 0);
	for (int i = 0; i < RATE_SAMPLES; i++) rate_sample(&r, 6000, 5000);
	ck_assert_double_eq(r.pace, RATE_START / 2.0);
}
END_TEST

static int allowed(struct mover_rate *r, uint64_t from_us, uint64_t to_us, uint32_t limit)
{
	int n = 0;
	for (uint64_t now = from_us; now < to_us; now += 1000)
		while (rate_allows(r, now, limit)) {
			rate_take(r);
			n++;
		}
	return n;
}

START_TEST(keys_per_second)
{
	struct mover_rate r;
	rate_init(&r, 1000000);
	int n = allowed(&r, 1000000, 3000000, 500);
	ck_assert_int_ge(n, 990);
	ck_assert_int_le(n, 1001);
	n = allowed(&r, 3000000, 4000000, 0);
	ck_assert_int_ge(n, RATE_START * 99 / 100);
	ck_assert_int_le(n, RATE_START * 101 / 100);
	/* what was not used is not saved up for long */
	ck_assert_int_le(allowed(&r, 60000000, 60001000, 0), RATE_START / 20 + 1);
	/* less than one a turn */
	ck_assert_int_eq(allowed(&r, 61000000, 71000000, 1), 10);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mover_parts");
	TCase *t = tcase_create("spool");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, spool_rounds, 0, 4);
	tcase_add_test(t, spool_as_a_queue);
	suite_add_tcase(s, t);
	t = tcase_create("rate");
	tcase_add_test(t, pace_follows_the_server);
	tcase_add_test(t, one_slow_answer_is_no_news);
	tcase_add_test(t, slower_for_good_is_got_used_to);
	tcase_add_test(t, latency_limit);
	tcase_add_test(t, keys_per_second);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
