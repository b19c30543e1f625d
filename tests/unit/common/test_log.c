#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

static char dir[64], path[96], text[1 << 20];

static void setup(void)
{
	strcpy(dir, "/tmp/test_log.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	ck_assert_int_eq(log_open(path, LOG_LEVEL_NOTICE), ERR_NONE);
}

static void teardown(void)
{
	char old[112];
	log_close();
	snprintf(old, sizeof(old), "%s.old", path);
	unlink(old);
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static const char *contents(const char *file)
{
	int fd = open(file, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	ck_assert_int_ge(n, 0);
	text[n] = 0;
	close(fd);
	return text;
}

static unsigned count(const char *hay, const char *needle)
{
	unsigned n = 0;
	while ((hay = strstr(hay, needle))) {
		hay += strlen(needle);
		n++;
	}
	return n;
}

START_TEST(line_has_time_level_component)
{
	log_warn("server %s: %s", "a", "gone");
	const char *s = contents(path);
	int year, ms, at = 0;
	ck_assert_int_eq(sscanf(s, "[%4d-%*2d-%*2d %*2d:%*2d:%*2d.%3d]%n", &year, &ms, &at), 2);
	ck_assert_int_ge(year, 2024);
	ck_assert_str_eq(s + at, " warn test_log: server a: gone\n");
}
END_TEST

START_TEST(level_gates)
{
	log_info("not now");
	ck_assert_str_eq(contents(path), "");
	ck_assert_int_eq(log_level_add(1), LOG_LEVEL_INFO);
	log_info("now");
	ck_assert_uint_eq(count(contents(path), "info test_log: now\n"), 1);
	ck_assert_int_eq(log_level_add(100), LOG_LEVEL_MAX);
	log_level_set(-3);
	ck_assert_int_eq(log_level_get(), LOG_LEVEL_EMERG);
	ck_assert_int_eq(log_level_add(-1), LOG_LEVEL_EMERG);
	log_error("silence");
	ck_assert_uint_eq(count(contents(path), "silence"), 0);
}
END_TEST

START_TEST(arguments_not_evaluated_when_off)
{
	int calls = 0;
	log_debug("%d", ++calls);
	ck_assert_int_eq(calls, 0);
}
END_TEST

START_TEST(bytes_from_outside_cannot_forge_a_line)
{
	log_error("%s", "a\nb\r\x1b[0m\x7f caf\xc3\xa9");
	const char *s = contents(path);
	ck_assert_uint_eq(count(s, "\n"), 1);
	ck_assert_ptr_nonnull(strstr(s, ": a\\x0ab\\x0d\\x1b[0m\\x7f caf\xc3\xa9\n"));
}
END_TEST

START_TEST(long_lines_are_cut)
{
	static char big[3 * LOG_LINE_MAX];
	memset(big, '\n', sizeof(big) - 1);
	log_error("%s", big);
	memset(big, 'x', sizeof(big) - 1);
	log_error("%s", big);
	const char *s = contents(path);
	ck_assert_uint_eq(count(s, "...\n"), 2);
	ck_assert_uint_le(strlen(s), 2 * LOG_LINE_MAX);
}
END_TEST

static void shout(unsigned n)
{
	for (unsigned i = 0; i < n; i++) log_error("again and again %u", i);
}

START_TEST(repeats_are_summed_up)
{
	/* Even if the second turns in between, at most two seconds' worth gets through. */
	shout(100);
	unsigned written = count(contents(path), "again and again");
	ck_assert_uint_ge(written, LOG_SITE_LINES_PER_S);
	ck_assert_uint_le(written, 2 * LOG_SITE_LINES_PER_S);
	log_warn("another site is not concerned");
	log_close();
	const char *s = contents(path);
	ck_assert_uint_eq(count(s, "another site"), 1);
	unsigned told = 0;
	for (const char *p = s; (p = strstr(p, "error test_log: ")); p++) {
		unsigned n;
		if (sscanf(p, "error test_log: %u more like this suppressed", &n) == 1) told += n;
	}
	ck_assert_uint_eq(told, 100 - written);
}
END_TEST

START_TEST(debug_is_not_limited)
{
	log_level_set(LOG_LEVEL_DEBUG);
	for (int i = 0; i < 50; i++) log_debug("every one");
	ck_assert_uint_eq(count(contents(path), "every one"), 50);
}
END_TEST

START_TEST(reopen_follows_the_path)
{
	char old[112];
	snprintf(old, sizeof(old), "%s.old", path);
	log_error("before");
	ck_assert_int_eq(rename(path, old), 0);
	log_error("between");
	ck_assert_int_eq(log_reopen(), ERR_NONE);
	log_error("after");
	ck_assert_uint_eq(count(contents(old), "before"), 1);
	ck_assert_uint_eq(count(contents(old), "between"), 1);
	ck_assert_uint_eq(count(contents(path), "\n"), 1);
	ck_assert_uint_eq(count(contents(path), "after"), 1);
}
END_TEST

START_TEST(open_failure_keeps_the_old_log)
{
	ck_assert_int_eq(log_open("/nonexistent/dir/log", LOG_LEVEL_DEBUG), ERR_IO);
	ck_assert_int_eq(log_level_get(), LOG_LEVEL_NOTICE);
	log_error("still here");
	ck_assert_uint_eq(count(contents(path), "still here"), 1);
}
END_TEST

/* Give the process another stderr for a while. */
static int swap_stderr(int fd)
{
	int saved = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	return saved;
}

static void restore_stderr(int saved)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
}

START_TEST(journal_gets_priorities)
{
	int p[2];
	struct stat st;
	char stream[64], line[256];
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(fstat(p[1], &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	int saved = swap_stderr(p[1]);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open(NULL, LOG_LEVEL_MAX);
	log_warn("w");
	log_at(LOG_LEVEL_PVERB, "p");
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_open(NULL, LOG_LEVEL_MAX);
	log_warn("elsewhere");
	unsetenv("JOURNAL_STREAM");
	restore_stderr(saved);
	ssize_t n = read(p[0], line, sizeof(line) - 1);
	ck_assert_int_gt(n, 0);
	line[n] = 0;
	ck_assert_int_eq(strncmp(line, "<4>[", 4), 0);
	ck_assert_ptr_nonnull(strstr(line, "\n<7>["));
	ck_assert_ptr_nonnull(strstr(line, "\n["));
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(full_pipe_does_not_block)
{
	int p[2];
	ck_assert_int_eq(pipe(p), 0);
	int saved = swap_stderr(p[1]);
	log_open(NULL, LOG_LEVEL_DEBUG);
	for (int i = 0; i < 5000; i++) log_debug("%040d", i); /* more than a pipe holds */
	while (read(p[0], text, sizeof(text)) == 4096) {
	}
	for (int left = 1; left > 0;) {
		fcntl(p[0], F_SETFL, O_NONBLOCK);
		left = (int)read(p[0], text, sizeof(text));
	}
	log_debug("room again");
	restore_stderr(saved);
	ssize_t n = read(p[0], text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	text[n] = 0;
	ck_assert_ptr_nonnull(strstr(text, "lines lost"));
	ck_assert_ptr_nonnull(strstr(text, "room again"));
	close(p[0]);
	close(p[1]);
}
END_TEST

static void *writer(void *arg)
{
	for (int i = 0; i < 200; i++) {
		log_debug("thread %d says %d and nothing else.", *(int *)arg, i);
		if (i % 50 == 0) log_reopen();
		log_level_add(i % 2 ? -1 : 1);
	}
	return NULL;
}

START_TEST(threads_write_whole_lines)
{
	pthread_t t[4];
	int id[4];
	log_level_set(LOG_LEVEL_VVERB + 1);
	for (int i = 0; i < 4; i++) {
		id[i] = i;
		pthread_create(&t[i], NULL, writer, &id[i]);
	}
	for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
	const char *s = contents(path);
	ck_assert_uint_eq(count(s, "\n"), 800);
	ck_assert_uint_eq(count(s, "and nothing else.\n["), 799);
}
END_TEST

START_TEST(clocks_run)
{
	uint64_t a = clock_now_us(), b = clock_now_us();
	ck_assert_uint_ge(b, a);
	ck_assert_uint_gt(clock_wall_us(), 1700000000ull * 1000000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, line_has_time_level_component);
	tcase_add_test(t, level_gates);
	tcase_add_test(t, arguments_not_evaluated_when_off);
	tcase_add_test(t, bytes_from_outside_cannot_forge_a_line);
	tcase_add_test(t, long_lines_are_cut);
	tcase_add_test(t, repeats_are_summed_up);
	tcase_add_test(t, debug_is_not_limited);
	tcase_add_test(t, reopen_follows_the_path);
	tcase_add_test(t, open_failure_keeps_the_old_log);
	tcase_add_test(t, journal_gets_priorities);
	tcase_add_test(t, full_pipe_does_not_block);
	tcase_add_test(t, threads_write_whole_lines);
	tcase_add_test(t, clocks_run);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
