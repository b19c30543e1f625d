/* What the proxy says of itself to memcached clients. */
#include <check.h>
#include <stdio.h>

#include "proxy/local.h"

static void figures(void *ctx, struct local_figures *out)
{
	(void)ctx;
	*out = (struct local_figures){
		.uptime_s = 77,
		.time_s = 1700000000,
		.rusage_user_us = 1500002,
		.rusage_system_us = 7,
		.clients = 3,
		.clients_total = 4,
		.reads = 10,
		.writes = 11,
		.hits = 6,
		.misses = 5,
		.client_bytes_in = 1ull << 40,
		.threads = 2,
		.server_count = 8,
		.servers_down = 1,
	};
}

static const struct codec_limits limits = {
	.value_max_bytes = 1 << 20,
	.request_max_bytes = 1 << 21,
	.args_max = 1000,
};

/* The answer to one line, as a string that the caller frees with scratch_fini(). */
static enum local_result ask(const char *line, struct scratch *out)
{
	struct pool_spec pool = { .name = "main", .timeout_ms = 400 };
	struct session session = { 0 };
	struct local_env env = {
		.session = &session,
		.pool = &pool,
		.limits = &limits,
		.port = 11211,
		.figures = figures,
	};
	struct parser parser = { 0 };
	struct parse_resume resume = { 0 };
	struct command cmd;
	size_t skip;
	ck_assert_int_eq(
	    codec_mc_text.parse_request(&parser, &limits, line, strlen(line), &resume, &cmd, &skip),
	    PARSE_OK);
	ck_assert_int_eq(cmd.info->route, OP_LOCAL);
	enum local_result result = local_mc(&env, &cmd, out);
	scratch_put(out, "", 1);
	parser_fini(&parser);
	return result;
}

static void says(const char *line, const char *want)
{
	struct scratch out = { 0 };
	ck_assert_int_eq(ask(line, &out), LOCAL_ANSWERED);
	ck_assert_str_eq(out.p, want);
	scratch_fini(&out);
}

static void has(const char *line, const char *want)
{
	struct scratch out = { 0 };
	ck_assert_int_eq(ask(line, &out), LOCAL_ANSWERED);
	if (!strstr(out.p, want)) ck_abort_msg("'%s' is not in '%s'", want, out.p);
	scratch_fini(&out);
}

START_TEST(short_answers)
{
	says("version\r\n", "VERSION 1.6.18-twinring-" TWINRING_VERSION "\r\n");
	says("version foo\n", "VERSION 1.6.18-twinring-" TWINRING_VERSION "\r\n");
	says("verbosity 1\r\n", "OK\r\n");
	says("verbosity 1 noreply\r\n", "");
	says("stats items\r\n", "END\r\n");
	says("stats slabs foo\r\n", "END\r\n");
	says("stats conns\r\n", "END\r\n");
	says("stats reset\r\n", "RESET\r\n");
	says("stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n");
	says("stats detail\r\n", "CLIENT_ERROR usage: stats detail on|off|dump\r\n");
	says("stats detail on\r\n", "OK\r\n");
	says("stats detail dump\r\n", "END\r\n");
	says("stats cachedump 1\r\n", "CLIENT_ERROR bad command line\r\n");
	says("stats cachedump 1 0\r\n", "END\r\n");
	says("stats foo\r\n", "ERROR\r\n");
}
END_TEST

START_TEST(quit_closes_without_a_word)
{
	struct scratch out = { 0 };
	ck_assert_int_eq(ask("quit\r\n", &out), LOCAL_CLOSE);
	ck_assert_str_eq(out.p, "");
	scratch_fini(&out);
}
END_TEST

START_TEST(stats_have_what_scrapers_want)
{
	static const char *const lines[] = {
		"STAT pid ",
		"STAT uptime 77\r\n",
		"STAT time 1700000000\r\n",
		"STAT version 1.6.18-twinring-",
		"STAT pointer_size 64\r\n",
		"STAT rusage_user 1.500002\r\n",
		"STAT rusage_system 0.000007\r\n",
		"STAT curr_connections 3\r\n",
		"STAT total_connections 4\r\n",
		"STAT cmd_get 10\r\n",
		"STAT cmd_set 11\r\n",
		"STAT cmd_touch 0\r\n",
		"STAT get_hits 6\r\n",
		"STAT get_misses 5\r\n",
		"STAT bytes_read 1099511627776\r\n",
		"STAT bytes_written 0\r\n",
		"STAT limit_maxbytes 0\r\n",
		"STAT accepting_conns 1\r\n",
		"STAT threads 2\r\n",
		"STAT twinring_servers 8\r\n",
		"STAT twinring_servers_down 1\r\n",
		"STAT twinring_pool main\r\nEND\r\n",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) has("stats\r\n", lines[i]);
	has("stats settings\r\n", "STAT maxconns ");
	has("stats settings\r\n", "STAT tcpport 11211\r\n");
	has("stats settings\r\n", "STAT item_size_max 1048576\r\n");
	has("stats settings\r\n", "STAT flush_enabled no\r\n");
	has("stats settings\r\n", "STAT twinring_timeout_ms 400\r\nEND\r\n");
}
END_TEST

/* Every line but the last is STAT, a name without blanks, and a value. */
START_TEST(stats_are_well_formed)
{
	static const char *const lines[] = { "stats\r\n", "stats settings\r\n" };
	for (size_t i = 0; i < 2; i++) {
		struct scratch out = { 0 };
		ask(lines[i], &out);
		char *p = out.p;
		for (;;) {
			char name[64], value[64];
			char *end = strstr(p, "\r\n");
			ck_assert_ptr_nonnull(end);
			if (strcmp(p, "END\r\n") == 0) break;
			*end = '\0';
			ck_assert_int_eq(sscanf(p, "STAT %63s %63s", name, value), 2);
			p = end + 2;
		}
		scratch_fini(&out);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("local_mc");
	TCase *t = tcase_create("local_mc");
	tcase_add_test(t, short_answers);
	tcase_add_test(t, quit_closes_without_a_word);
	tcase_add_test(t, stats_have_what_scrapers_want);
	tcase_add_test(t, stats_are_well_formed);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
