#include "common/saved.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[64], path[128], old[128];
static struct scratch body;
static struct err_at at;

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/twinring-saved-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(old, sizeof(old), "%s/file.old", dir);
}

static void teardown(void)
{
	unlink(path);
	unlink(old);
	rmdir(dir);
	scratch_fini(&body);
}

static void save(const char *text)
{
	ck_assert_int_eq(saved_write(path, slice_of(text), &at), ERR_NONE);
}

static enum err get(enum saved_generation g)
{
	return saved_read(path, g, &body, NULL, &at);
}

static void expect(enum saved_generation g, const char *text)
{
	ck_assert_int_eq(get(g), ERR_NONE);
	ck_assert(slice_eq(scratch_slice(&body), slice_of(text)));
}

static void damage(const char *name, long offset)
{
	FILE *f = fopen(name, "r+");
	ck_assert_ptr_nonnull(f);
	fseek(f, offset, offset < 0 ? SEEK_END : SEEK_SET);
	int c = fgetc(f);
	fseek(f, -1, SEEK_CUR);
	fputc(c ^ 1, f);
	fclose(f);
}

START_TEST(what_was_written_is_read)
{
	ck_assert_int_eq(get(SAVED_NEWEST), ERR_UNKNOWN_NAME);
	save("one");
	expect(SAVED_NEWEST, "one");
	ck_assert_int_eq(get(SAVED_BEFORE), ERR_UNKNOWN_NAME);
	save("two, longer");
	expect(SAVED_NEWEST, "two, longer");
	expect(SAVED_BEFORE, "one");
}
END_TEST

START_TEST(a_damaged_file_leaves_the_one_before)
{
	save("one");
	save("two");
	damage(path, -1);
	ck_assert_int_eq(get(SAVED_NEWEST), ERR_INVALID);
	ck_assert_str_eq(at.where, path);
	expect(SAVED_BEFORE, "one");
	damage(old, -1);
	ck_assert_int_eq(get(SAVED_BEFORE), ERR_INVALID);
	ck_assert_str_eq(at.where, old);
}
END_TEST

START_TEST(every_flipped_bit_and_every_cut_is_noticed)
{
	save("the body");
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	for (long i = 0; i < st.st_size; i++) {
		damage(path, i);
		ck_assert_int_eq(get(SAVED_NEWEST), ERR_INVALID);
		damage(path, i);
	}
	expect(SAVED_NEWEST, "the body");
	for (long n = st.st_size - 1; n >= 0; n--) {
		ck_assert_int_eq(truncate(path, n), 0);
		ck_assert_int_eq(get(SAVED_NEWEST), ERR_INVALID);
	}
}
END_TEST

/* Backwards and forwards: a clock that was set must not make a file look young. */
START_TEST(the_age_is_the_distance_from_now)
{
	static const long hours[] = { -2, 2 };
	uint64_t age_s;
	save("one");
	for (size_t i = 0; i < 2; i++) {
		struct timespec t[2] = { { .tv_sec = time(NULL) + hours[i] * 3600 } };
		t[1] = t[0];
		ck_assert_int_eq(utimensat(AT_FDCWD, path, t, 0), 0);
		ck_assert_int_eq(saved_read(path, SAVED_NEWEST, &body, &age_s, &at), ERR_NONE);
		ck_assert(age_s > 7190 && age_s < 7210);
		saved_touch(path);
		ck_assert_int_eq(saved_read(path, SAVED_NEWEST, &body, &age_s, &at), ERR_NONE);
		ck_assert_uint_lt(age_s, 10);
	}
}
END_TEST

START_TEST(an_unwritable_place_is_an_error)
{
	ck_assert_int_eq(saved_write("/nonexistent/x", SLICE("x"), &at), ERR_IO);
	ck_assert(at.why[0] != 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("saved");
	TCase *t = tcase_create("saved");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_was_written_is_read);
	tcase_add_test(t, a_damaged_file_leaves_the_one_before);
	tcase_add_test(t, every_flipped_bit_and_every_cut_is_noticed);
	tcase_add_test(t, the_age_is_the_distance_from_now);
	tcase_add_test(t, an_unwritable_place_is_an_error);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
