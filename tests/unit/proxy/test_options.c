#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/options.h"

static struct options o;
static char *messages;
static size_t messages_size;
static char *words[32], copy[1024];

static void teardown(void)
{
	free(messages);
	messages = NULL;
}

/* Parse a command line as a shell without quoting would split it. */
static bool parse(const char *line)
{
	int n = 0;
	strcpy(copy, line);
	for (char *rest = copy, *word; (word = strsep(&rest, " "));) words[n++] = word;
	words[n] = NULL;
	free(messages);
	FILE *f = open_memstream(&messages, &messages_size);
	bool ok = options_parse(n, words, &o, f);
	fclose(f);
	ck_assert_msg(ok == (*messages == 0), "%s: %s", line, messages);
	return ok;
}

START_TEST(nothing_given)
{
	char text[64];
	ck_assert(parse("/usr/sbin/twinring-proxy"));
	ck_assert(!o.nutcracker && !o.daemonize && !o.test_config && !o.dump_config);
	ck_assert_str_eq(o.config_file, "/etc/twinring/proxy.yml");
	ck_assert_uint_eq(o.log_level, OPTION_UNSET);
	ck_assert_uint_eq(o.threads, OPTION_UNSET);
	ck_assert_ptr_null(o.pid_file);
	ck_assert(!options_stats_listen(&o, text, sizeof(text)));
	ck_assert(!options_inform(&o));
}
END_TEST

START_TEST(everything_given)
{
	char text[64];
	ck_assert(parse("twinring-proxy -c f.yml -t -d -v 7 -o log -s 1234 -a ::1 -i 50 -p pid "
			"-m 512 --threads 4 --control /c --metrics 127.0.0.1:9 --dump-config"));
	ck_assert_str_eq(o.config_file, "f.yml");
	ck_assert(o.test_config && o.daemonize && o.dump_config);
	ck_assert_uint_eq(o.log_level, 7);
	ck_assert_str_eq(o.log_file, "log");
	ck_assert_uint_eq(o.stats_interval_ms, 50);
	ck_assert_str_eq(o.pid_file, "pid");
	ck_assert_uint_eq(o.mbuf_size, 512);
	ck_assert_uint_eq(o.threads, 4);
	ck_assert_str_eq(o.control, "/c");
	ck_assert_str_eq(o.metrics, "127.0.0.1:9");
	ck_assert(options_stats_listen(&o, text, sizeof(text)));
	ck_assert_str_eq(text, "[::1]:1234");
	ck_assert(parse("twinring-proxy --conf-file=g --threads=0 --verbose=11 -s1"));
	ck_assert_str_eq(o.config_file, "g");
	ck_assert_uint_eq(o.threads, 0);
	ck_assert(options_stats_listen(&o, text, sizeof(text)));
	ck_assert_str_eq(text, "127.0.0.1:1");
	ck_assert(parse("twinring-proxy -a /run/stats"));
	ck_assert(options_stats_listen(&o, text, sizeof(text)));
	ck_assert_str_eq(text, "/run/stats");
}
END_TEST

START_TEST(where_takes_keys)
{
	ck_assert(parse("twinring-proxy -c f --where main a b c"));
	ck_assert_str_eq(o.where_pool, "main");
	ck_assert_uint_eq(o.where_key_count, 3);
	ck_assert_str_eq(o.where_keys[2], "c");
	ck_assert(parse("twinring-proxy --where main -- -x"));
	ck_assert_uint_eq(o.where_key_count, 1);
	ck_assert_str_eq(o.where_keys[0], "-x");
	ck_assert(parse("twinring-proxy --where=main"));
	ck_assert_uint_eq(o.where_key_count, 0);
}
END_TEST

START_TEST(nutcracker_defaults)
{
	char text[64];
	ck_assert(parse("/usr/sbin/nutcracker extra"));
	ck_assert(o.nutcracker);
	ck_assert_str_eq(o.config_file, "conf/nutcracker.yml");
	ck_assert_uint_eq(o.log_level, 5);
	ck_assert_uint_eq(o.stats_interval_ms, 30000);
	ck_assert_uint_eq(o.mbuf_size, 16384);
	ck_assert(options_stats_listen(&o, text, sizeof(text)));
	ck_assert_str_eq(text, "0.0.0.0:22222");
	ck_assert(parse("nutcracker -v 99 -s 11291 -a 127.0.0.1"));
	ck_assert_uint_eq(o.log_level, 11);
	ck_assert(options_stats_listen(&o, text, sizeof(text)));
	ck_assert_str_eq(text, "127.0.0.1:11291");
}
END_TEST

START_TEST(errors_say_why_and_show_usage)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ "twinring-proxy -x", "twinring-proxy: invalid option -- 'x'\n" },
		{ "twinring-proxy --bogus", "twinring-proxy: invalid option '--bogus'\n" },
		{ "twinring-proxy --help=1", "twinring-proxy: invalid option '--help=1'\n" },
		{ "twinring-proxy extra", "twinring-proxy: unexpected argument 'extra'\n" },
		{ "twinring-proxy -v", "option --verbose requires a number\n" },
		{ "twinring-proxy -c", "option --conf-file requires a file name\n" },
		{ "twinring-proxy --where", "option --where requires a string\n" },
		{ "twinring-proxy -v 12", "option --verbose must be between 0 and 11, not 12\n" },
		{ "twinring-proxy -v -1", "option --verbose requires a number, not '-1'\n" },
		{ "nutcracker -x", "nutcracker: invalid option -- 'x'\n" },
		{ "nutcracker --threads 2", "nutcracker: invalid option '--threads'\n" },
		{ "nutcracker -v", "requires a number\n" },
		{ "nutcracker -v x", "requires a number, not 'x'\n" },
		{ "nutcracker -s 0", "must be between 1 and 65535, not 0\n" },
		{ "nutcracker -s 99999999", "must be between 1 and 65535" },
		{ "nutcracker -s 4294967297", "requires a number" },
		{ "nutcracker -m 100", "must be between 512 and 16777216, not 100\n" },
		{ "nutcracker -m 16777217", "must be between 512 and 16777216" },
		{ "nutcracker -i x", "requires a number" },
		{ "nutcracker -a", "option --stats-addr requires a string\n" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_msg(!parse(cases[i].line), "%s", cases[i].line);
		ck_assert_msg(strstr(messages, cases[i].why), "%s: %s", cases[i].line, messages);
		ck_assert_ptr_nonnull(strstr(messages, "\nOptions:\n  -h, --help             : "));
	}
}
END_TEST

/* Run options_inform() with stdout and stderr in files; returns what each got. */
static void inform(char *out, char *err, size_t size)
{
	FILE *f[2] = { tmpfile(), tmpfile() };
	int saved[2] = { dup(1), dup(2) };
	char *into[2] = { out, err };
	fflush(stdout);
	for (int i = 0; i < 2; i++) dup2(fileno(f[i]), i + 1);
	bool informed = options_inform(&o);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
		ssize_t n = pread(fileno(f[i]), into[i], size - 1, 0);
		into[i][n > 0 ? n : 0] = 0;
		fclose(f[i]);
	}
	ck_assert(informed);
}

START_TEST(information_goes_where_each_program_puts_it)
{
	static char out[16384], err[16384];
	ck_assert(parse("twinring-proxy -V"));
	inform(out, err, sizeof(out));
	ck_assert_str_eq(out, "twinring-proxy-" TWINRING_VERSION "\n");
	ck_assert_str_eq(err, "");
	ck_assert(parse("twinring-proxy --help"));
	inform(out, err, sizeof(out));
	ck_assert_int_eq(strncmp(out, "Usage: twinring-proxy ", 22), 0);
	ck_assert_ptr_nonnull(strstr(out, "--dump-config"));
	ck_assert_str_eq(err, "");
	ck_assert(parse("nutcracker -hV"));
	inform(out, err, sizeof(out));
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(strncmp(err, "This is nutcracker-0.5.0 (", 26), 0);
	ck_assert_ptr_nonnull(strstr(err, "\n\nUsage: nutcracker [-?hVdDt] [-v verbosity level]"));
	ck_assert_ptr_nonnull(strstr(err, "(default: 0.0.0.0)\n"));
	ck_assert_ptr_null(strstr(err, "--threads"));
	ck_assert(parse("nutcracker -D"));
	inform(out, err, sizeof(out));
	ck_assert_ptr_nonnull(strstr(err, "\n\npool stats:\n  client_eof            \""));
	ck_assert_ptr_nonnull(strstr(err, "\nserver stats:\n  server_eof "));
	ck_assert(parse("twinring-proxy --describe-stats"));
	inform(out, err, sizeof(out));
	ck_assert_int_eq(strncmp(out, "pool stats:\n", 12), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("options");
	TCase *t = tcase_create("options");
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, nothing_given);
	tcase_add_test(t, everything_given);
	tcase_add_test(t, where_takes_keys);
	tcase_add_test(t, nutcracker_defaults);
	tcase_add_test(t, errors_say_why_and_show_usage);
	tcase_add_test(t, information_goes_where_each_program_puts_it);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
