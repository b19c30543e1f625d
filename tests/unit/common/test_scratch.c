/* The growable buffer: what is put is there, at every size around its growth. */
#include "common/scratch.h"

#include <check.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static struct scratch s;

static void teardown(void)
{
	scratch_fini(&s);
	ck_assert_ptr_null(s.p);
	ck_assert_uint_eq(s.cap, 0);
}

static void holds(const char *want)
{
	struct slice all = scratch_slice(&s);
	ck_assert_uint_eq(all.n, strlen(want));
	ck_assert_int_eq(memcmp(all.p, want, all.n), 0);
}

START_TEST(pieces_lie_behind_each_other)
{
	scratch_put(&s, "one", 3);
	scratch_put(&s, NULL, 0);
	scratch_puts(&s, SLICE(" two"));
	scratch_printf(&s, " %s %d", "three", 4);
	holds("one two three 4");
	scratch_clear(&s);
	ck_assert_uint_eq(s.n, 0);
	scratch_put(&s, "again", 5);
	holds("again");
}
END_TEST

START_TEST(bytes_survive_growth)
{
	for (int i = 0; i < 100000; i++) scratch_put(&s, &(char){ (char)(i * 31) }, 1);
	ck_assert_uint_eq(s.n, 100000);
	bool same = true;
	for (int i = 0; i < 100000; i++) same = same && s.p[i] == (char)(i * 31);
	ck_assert(same);
}
END_TEST

START_TEST(reserve_gives_room_behind)
{
	scratch_put(&s, "head", 4);
	char *at = scratch_reserve(&s, 5000);
	ck_assert_ptr_eq(at, s.p + 4);
	ck_assert_uint_ge(s.cap, 5004);
	memset(at, 'r', 5000);
	s.n += 5000;
	ck_assert_int_eq(memcmp(s.p, "head", 4), 0);
}
END_TEST

/* printf's room is guessed: every length around what it guesses, from every fill. */
START_TEST(printf_at_every_length)
{
	char text[600];
	for (size_t before = 0; before < 300; before += 13) {
		for (size_t n = 0; n < sizeof(text) - 1; n++) {
			scratch_fini(&s);
			memset(text, 'a', n);
			text[n] = 0;
			for (size_t i = 0; i < before; i++) scratch_put(&s, "b", 1);
			scratch_printf(&s, "%s", text);
			ck_assert_uint_eq(s.n, before + n);
			ck_assert_int_eq(memcmp(s.p + before, text, n), 0);
		}
	}
}
END_TEST

START_TEST(digits)
{
	static const uint64_t numbers[] = {
		0, 1, 9, 10, 99, 100, 12345, UINT32_MAX, 10000000000000000000u, UINT64_MAX
	};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		char want[32];
		snprintf(want, sizeof(want), "%" PRIu64, numbers[i]);
		scratch_clear(&s);
		scratch_put_u64(&s, numbers[i]);
		holds(want);
	}
}
END_TEST

START_TEST(trimming_frees_only_what_is_too_large)
{
	scratch_put(&s, "kept", 4);
	scratch_trim(&s, 4096);
	holds("kept");
	scratch_reserve(&s, 100000);
	scratch_trim(&s, 4096);
	ck_assert_uint_eq(s.cap, 0);
	ck_assert_uint_eq(s.n, 0);
	scratch_put(&s, "anew", 4);
	holds("anew");
}
END_TEST

START_TEST(any_bytes_become_text)
{
	char text[] = "a\001\377~ z\n";
	scratch_put_printable(&s, (struct slice){ "k\\\0\xff~", 5 }, 100);
	holds("k\\x5c\\x00\\xff~");
	scratch_clear(&s);
	scratch_put_printable(&s, SLICE("abcdef"), 3);
	holds("abc");
	text_make_printable(text);
	ck_assert_str_eq(text, "a??~ z?");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("scratch");
	TCase *t = tcase_create("scratch");
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, pieces_lie_behind_each_other);
	tcase_add_test(t, bytes_survive_growth);
	tcase_add_test(t, reserve_gives_room_behind);
	tcase_add_test(t, printf_at_every_length);
	tcase_add_test(t, digits);
	tcase_add_test(t, any_bytes_become_text);
	tcase_add_test(t, trimming_frees_only_what_is_too_large);
	suite_add_tcase(suite, t);
	SRunner *r = srunner_create(suite);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
