#include "common/disk.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[128], fresh[140];
static struct scratch text;

static void setup(void)
{
	strcpy(dir, "/tmp/test_disk.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
}

static void teardown(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left */
	scratch_fini(&text);
}

static void expect(const char *want, mode_t mode)
{
	struct stat st;
	scratch_clear(&text);
	ck_assert(disk_read(path, 1000, &text, NULL));
	ck_assert(slice_eq(scratch_slice(&text), slice_of(want)));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, mode);
}

START_TEST(replaced)
{
	mode_t before = umask(0077);
	ck_assert(disk_replace(path, SLICE("one"), 0644));
	expect("one", 0644);
	ck_assert(disk_replace(path, SLICE(""), 0640));
	expect("", 0640);
	umask(before);
}
END_TEST

START_TEST(written_in_parts)
{
	struct slice parts[] = { SLICE("a"), SLICE(""), SLICE("bc") };
	ck_assert(disk_write(path, parts, 3, 0600));
	expect("abc", 0600);
}
END_TEST

START_TEST(failures_leave_the_old)
{
	ck_assert(disk_replace(path, SLICE("old"), 0600));
	ck_assert_int_eq(mkdir(fresh, 0700), 0);
	ck_assert(!disk_replace(path, SLICE("new"), 0600));
	ck_assert_int_eq(errno, EISDIR);
	ck_assert_int_eq(rmdir(fresh), 0);
	ck_assert_int_eq(symlink(path, fresh), 0); /* not through it */
	ck_assert(!disk_replace(path, SLICE("new"), 0600));
	ck_assert_int_eq(errno, ELOOP);
	ck_assert_int_eq(unlink(fresh), 0);
	expect("old", 0600);
	ck_assert(!disk_replace("/nowhere/file", SLICE(""), 0600));
	ck_assert_int_eq(errno, ENOENT);
	char longer[DISK_PATH_MAX + 1];
	memset(longer, 'x', sizeof(longer));
	longer[DISK_PATH_MAX] = 0;
	ck_assert(!disk_replace(longer, SLICE(""), 0600));
	ck_assert_int_eq(errno, ENAMETOOLONG);
}
END_TEST

START_TEST(a_directory_in_the_way)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert(!disk_replace(path, SLICE("new"), 0600));
	ck_assert_int_eq(errno, EISDIR);
	ck_assert_int_ne(access(fresh, F_OK), 0);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(what_cannot_be_read)
{
	ck_assert(!disk_read(path, 10, &text, NULL));
	ck_assert_int_eq(errno, ENOENT);
	ck_assert(disk_replace(path, SLICE("12345"), 0600));
	ck_assert(!disk_read(path, 4, &text, NULL));
	ck_assert_int_eq(errno, EFBIG);
	ck_assert(!disk_read(dir, 1 << 20, &text, NULL));
	ck_assert_int_eq(errno, EINVAL);
	time_t written = 0;
	scratch_puts(&text, SLICE("0"));
	ck_assert(disk_read(path, 5, &text, &written));
	ck_assert(slice_eq(scratch_slice(&text), SLICE("012345")));
	ck_assert_int_gt(written, 0);
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0); /* must not wait for a writer */
	ck_assert(!disk_read(path, 10, &text, NULL));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("disk");
	TCase *t = tcase_create("disk");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, replaced);
	tcase_add_test(t, written_in_parts);
	tcase_add_test(t, failures_leave_the_old);
	tcase_add_test(t, a_directory_in_the_way);
	tcase_add_test(t, what_cannot_be_read);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
