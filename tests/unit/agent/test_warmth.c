#include "agent/warmth.h"

#include <check.h>
#include <stdlib.h>

static struct warmth *w;

static void setup(void)
{
	w = warmth_new();
}

static void teardown(void)
{
	warmth_free(&w);
	ck_assert_ptr_null(w);
	warmth_free(&w);
}

/* --- what counts ------------------------------------------------------------------------------ */

START_TEST(only_growth_counts)
{
	ck_assert_int_eq(warmth_percent(w, "p", 1000), -1);
	warmth_note(w, "p", "a", 5000, 5000, 1000);
	ck_assert_int_eq(warmth_percent(w, "p", 1000), -1);
	warmth_note(w, "p", "a", 5090, 5010, 2000);
	ck_assert_int_eq(warmth_percent(w, "p", 2000), 90);
	ck_assert_int_eq(warmth_percent(w, "q", 2000), -1);
}
END_TEST

START_TEST(few_reads_say_nothing)
{
	warmth_note(w, "p", "a", 0, 0, 1000);
	warmth_note(w, "p", "a", WARMTH_READS_MIN - 1, 0, 2000);
	ck_assert_int_eq(warmth_percent(w, "p", 2000), -1);
	warmth_note(w, "p", "a", WARMTH_READS_MIN, 0, 2100);
	ck_assert_int_eq(warmth_percent(w, "p", 2100), 100);
}
END_TEST

START_TEST(it_is_rounded_down)
{
	warmth_note(w, "p", "a", 0, 0, 1000);
	warmth_note(w, "p", "a", 998999, 1001 + 10000, 1000);
	ck_assert_int_eq(warmth_percent(w, "p", 1000), 98);
}
END_TEST

START_TEST(proxies_add_up_and_pools_do_not)
{
	for (int i = 0; i < 2; i++) {
		warmth_note(w, "p", "a", i * 300, i * 100, 1000 + i);
		warmth_note(w, "p", "b", 700 + i * 100, i * 300, 1000 + i);
		warmth_note(w, "q", "a", 0, 9 + i * 100, 1000 + i);
	}
	ck_assert_int_eq(warmth_percent(w, "p", 1002), 50);
	ck_assert_int_eq(warmth_percent(w, "q", 1002), 0);
}
END_TEST

START_TEST(a_proxy_started_anew_begins_anew)
{
	warmth_note(w, "p", "a", 1000, 1000, 1000);
	warmth_note(w, "p", "a", 10, 1200, 1500); /* one of them is lower */
	ck_assert_int_eq(warmth_percent(w, "p", 1500), -1);
	warmth_note(w, "p", "a", 2000, 20, 1600);
	ck_assert_int_eq(warmth_percent(w, "p", 1600), -1);
	warmth_note(w, "p", "a", 2100, 120, 2000);
	ck_assert_int_eq(warmth_percent(w, "p", 2000), 50);
}
END_TEST

/* --- when it counts --------------------------------------------------------------------------- */

START_TEST(what_is_old_goes)
{
	uint64_t hits = 0, misses = 0, now = 1000;
	warmth_note(w, "p", "a", hits, misses, now);
	for (int i = 0; i < 20; i++) warmth_note(w, "p", "a", hits, misses += 100, now += 1000);
	ck_assert_int_eq(warmth_percent(w, "p", now), 0);
	uint64_t turn = now;
	while (warmth_percent(w, "p", now) < 100) {
		ck_assert_uint_le(now - turn, WARMTH_MS);
		warmth_note(w, "p", "a", hits += 100, misses, now += 500);
	}
	ck_assert_uint_gt(now - turn, WARMTH_HALF_MS);
}
END_TEST

START_TEST(what_nobody_tells_of_is_forgotten)
{
	warmth_note(w, "p", "a", 0, 0, 1000);
	warmth_note(w, "p", "a", 200, 0, 2000);
	ck_assert_int_eq(warmth_percent(w, "p", 2000 + WARMTH_HALF_MS - 1), 100);
	ck_assert_int_eq(warmth_percent(w, "p", 2000 + 2 * WARMTH_HALF_MS), -1);
	warmth_note(w, "q", "a", 0, 0, 2000 + 2 * WARMTH_MS);
	ck_assert_int_eq(warmth_percent(w, "p", 2000 + 2 * WARMTH_MS), -1);
}
END_TEST

/* Nobody knows how long ago they were. */
START_TEST(reads_of_a_long_silence_do_not_count)
{
	warmth_note(w, "p", "a", 0, 0, 1000);
	warmth_note(w, "p", "b", 0, 0, 1000 + WARMTH_GAP_MS);
	warmth_note(w, "p", "a", 500, 0, 1001 + WARMTH_GAP_MS);
	ck_assert_int_eq(warmth_percent(w, "p", 1001 + WARMTH_GAP_MS), -1);
	warmth_note(w, "p", "b", 0, 500, 1000 + 2 * WARMTH_GAP_MS);
	ck_assert_int_eq(warmth_percent(w, "p", 1000 + 2 * WARMTH_GAP_MS), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("warmth");
	TCase *t = tcase_create("window");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, only_growth_counts);
	tcase_add_test(t, few_reads_say_nothing);
	tcase_add_test(t, it_is_rounded_down);
	tcase_add_test(t, proxies_add_up_and_pools_do_not);
	tcase_add_test(t, a_proxy_started_anew_begins_anew);
	tcase_add_test(t, what_is_old_goes);
	tcase_add_test(t, what_nobody_tells_of_is_forgotten);
	tcase_add_test(t, reads_of_a_long_silence_do_not_count);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
