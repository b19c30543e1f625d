#include <check.h>
#include <stdlib.h>

#include "common/hist.h"

START_TEST(buckets_are_contiguous)
{
	/* Each bucket starts where the one before ends, and values fall where the edges say. */
	for (uint32_t b = 0; b + 1 < HIST_BUCKETS; b++) {
		uint64_t edge = hist_edge(b);
		ck_assert_uint_eq(hist_bucket(edge - 1), b);
		ck_assert_uint_eq(hist_bucket(edge), b + 1);
	}
	ck_assert_uint_eq(hist_edge(HIST_BUCKETS - 1), 1u << HIST_MAX_BITS);
	ck_assert_uint_eq(hist_bucket(1u << HIST_MAX_BITS), HIST_BUCKETS - 1);
	ck_assert_uint_eq(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
}
END_TEST

START_TEST(within_a_sixteenth)
{
	for (uint64_t v = 1; v < 1u << HIST_MAX_BITS; v += 1 + v / 97) {
		uint64_t edge = hist_edge(hist_bucket(v));
		ck_assert_uint_gt(edge, v);
		ck_assert(((double)edge - 1 - (double)v) / (double)v <= 0.0625);
	}
}
END_TEST

START_TEST(quantiles)
{
	struct hist *h = calloc(1, sizeof(*h));
	ck_assert_uint_eq(hist_quantile(h, 0.5), 0);
	hist_record(h, 5);
	ck_assert_uint_eq(hist_quantile(h, 0.0), 5);
	ck_assert_uint_eq(hist_quantile(h, 0.5), 5);
	ck_assert_uint_eq(hist_quantile(h, 1.0), 5);
	for (uint64_t v = 1; v <= 10000; v++) hist_record(h, v);
	ck_assert_uint_eq(hist_count(h), 10001);
	ck_assert_uint_eq(h->sum_us, 5 + 10000ull * 10001 / 2);
	const struct {
		double q;
		uint64_t want;
	} cases[] = { { 0.5, 5000 }, { 0.9, 9000 }, { 0.99, 9900 }, { 0.999, 9990 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t got = hist_quantile(h, cases[i].q);
		ck_assert_uint_ge(got, cases[i].want);
		ck_assert_uint_le(got, cases[i].want + cases[i].want / 16);
	}
	free(h);
}
END_TEST

START_TEST(merge_adds)
{
	struct hist *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
	hist_record(a, 1);
	hist_record(b, 1);
	hist_record(b, 1u << 30);
	hist_merge(a, b);
	ck_assert_uint_eq(hist_count(a), 3);
	ck_assert_uint_eq(a->sum_us, 2 + (1u << 30));
	ck_assert_uint_eq(a->bucket[1], 2);
	ck_assert_uint_eq(a->bucket[HIST_BUCKETS - 1], 1);
	ck_assert_uint_eq(hist_count(b), 2);
	free(a);
	free(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hist");
	TCase *t = tcase_create("hist");
	tcase_add_test(t, buckets_are_contiguous);
	tcase_add_test(t, within_a_sixteenth);
	tcase_add_test(t, quantiles);
	tcase_add_test(t, merge_adds);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
