/* Free lists: objects of their own, reuse, trimming, slabs. */
#include "common/freelist.h"

#include <check.h>
#include <string.h>

enum { SIZE = 48, MANY = 1000 };

static void distinct(struct freelist *f)
{
	void *object[MANY];
	for (int i = 0; i < MANY; i++) {
		object[i] = freelist_get(f);
		memset(object[i], i, SIZE); /* overlap would show below */
	}
	ck_assert_uint_eq(f->live, MANY);
	for (int i = 0; i < MANY; i++) {
		unsigned char want[SIZE];
		memset(want, i, SIZE);
		ck_assert_int_eq(memcmp(object[i], want, SIZE), 0);
	}
	for (int i = 0; i < MANY; i++) freelist_put(f, object[i]);
	ck_assert_uint_eq(f->live, 0);
}

START_TEST(objects_do_not_overlap)
{
	struct freelist f;
	freelist_init(&f, SIZE);
	distinct(&f);
	distinct(&f);
	freelist_fini(&f);
}
END_TEST

START_TEST(slabs_do_not_overlap)
{
	struct freelist f;
	freelist_init_slab(&f, SIZE, 64);
	distinct(&f);
	distinct(&f);
	freelist_trim(&f); /* slabs stay */
	distinct(&f);
	freelist_fini(&f);
}
END_TEST

#ifndef POOL_MALLOC
START_TEST(the_latest_comes_back_first)
{
	struct freelist f;
	freelist_init(&f, SIZE);
	void *a = freelist_get(&f), *b = freelist_get(&f);
	freelist_put(&f, a);
	freelist_put(&f, b);
	ck_assert_ptr_eq(freelist_get(&f), b);
	ck_assert_ptr_eq(freelist_get(&f), a);
	freelist_put(&f, a);
	freelist_put(&f, b);
	freelist_fini(&f);
}
END_TEST

START_TEST(slabs_are_made_when_the_last_is_used_up)
{
	struct freelist f;
	void *object[65];
	freelist_init_slab(&f, SIZE, 64);
	for (int i = 0; i < 64; i++) object[i] = freelist_get(&f);
	ck_assert_uint_eq(f.free_count, 0);
	object[64] = freelist_get(&f);
	ck_assert_uint_eq(f.free_count, 63);
	for (int i = 0; i < 65; i++) freelist_put(&f, object[i]);
	ck_assert_uint_eq(f.free_count, 128);
	freelist_fini(&f);
}
END_TEST

START_TEST(trimming_halves_what_lay_idle)
{
	struct freelist f;
	void *object[MANY];
	freelist_init(&f, SIZE);
	for (int i = 0; i < MANY; i++) object[i] = freelist_get(&f);
	for (int i = 0; i < MANY; i++) freelist_put(&f, object[i]);
	freelist_trim(&f); /* all were in use since the last time */
	ck_assert_uint_eq(f.free_count, MANY);
	freelist_trim(&f);
	ck_assert_uint_lt(f.free_count, MANY * 6 / 10);
	ck_assert_uint_gt(f.free_count, MANY * 4 / 10);
	/* what is taken between two trims counts as needed */
	uint32_t before = f.free_count;
	for (uint32_t i = 0; i < before; i++) object[i] = freelist_get(&f);
	for (uint32_t i = 0; i < before; i++) freelist_put(&f, object[i]);
	freelist_trim(&f);
	ck_assert_uint_eq(f.free_count, before);
	for (int i = 0; i < 30; i++) freelist_trim(&f);
	ck_assert_uint_gt(f.free_count, 0);
	ck_assert_uint_le(f.free_count, 32);
	freelist_fini(&f);
}
END_TEST
#endif

int main(void)
{
	Suite *s = suite_create("freelist");
	TCase *t = tcase_create("freelist");
	tcase_add_test(t, objects_do_not_overlap);
	tcase_add_test(t, slabs_do_not_overlap);
#ifndef POOL_MALLOC
	tcase_add_test(t, the_latest_comes_back_first);
	tcase_add_test(t, slabs_are_made_when_the_last_is_used_up);
	tcase_add_test(t, trimming_halves_what_lay_idle);
#endif
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
