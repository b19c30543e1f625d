#include "agent/outputs.h"

#include <check.h>
#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/output_text.h"
#include "common/clock.h"
#include "common/disk.h"
#include "common/log.h"

#define DATA	  "tests/data/outputs/"
#define ONE(more) "{\"pools\": {\"a\": {\"servers\": [\"h:1:1\"" more "]}}}"

static struct io_loop loop;
static struct agent_config *config;
static struct outputs *outputs;
static struct topology *topology;
static struct outputs_counts counts;
static char dir[64];

static void setup(void)
{
	strcpy(dir, "/tmp/test_outputs.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert(io_loop_init(&loop));
	log_level_set(LOG_LEVEL_EMERG);
}

static void teardown(void)
{
	outputs_free(&outputs);
	outputs_free(&outputs);
	agent_config_free(&config);
	topology_free(&topology);
	io_loop_fini(&loop);
	DIR *d = opendir(dir);
	for (struct dirent *e; (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* Text with each @ replaced by our directory; valid until the next call. */
static const char *here(const char *text)
{
	static char out[4096];
	size_t n = 0;
	for (; *text; text++) {
		if (*text == '@') n += (size_t)snprintf(out + n, sizeof(out) - n, "%s", dir);
		else out[n++] = *text;
	}
	out[n] = 0;
	return out;
}

static void start(const char *list)
{
	char text[4096];
	struct agent_options none = { 0 };
	struct config_issues issues;
	snprintf(text, sizeof(text), "source: file:/x\nid: a\noutputs:\n%s", here(list));
	enum err e = agent_config_parse(text, strlen(text), "f", &none, &config, &issues);
	ck_assert_msg(e == ERR_NONE, "%s: %s", issues.items[0].at.where, issues.items[0].at.why);
	config_issues_fini(&issues);
	outputs = outputs_new_timed(&loop, config, 300);
}

static void topology_is(json_t *doc)
{
	struct err_at at;
	topology_free(&topology);
	ck_assert_ptr_nonnull(doc);
	enum err e = topology_from_json(doc, &topology, &at);
	ck_assert_msg(e == ERR_NONE, "%s: %s", at.where, at.why);
	json_decref(doc);
}

static void update(const char *text)
{
	topology_is(json_loads(text, 0, NULL));
	outputs_update(outputs, topology);
	outputs_counts(outputs, &counts);
}

static void update_golden(void)
{
	topology_is(json_load_file(DATA "topology.json", 0, NULL));
	outputs_update(outputs, topology);
	outputs_counts(outputs, &counts);
}

static const char *content(const char *path)
{
	static struct scratch text;
	scratch_clear(&text);
	if (!disk_read(path[0] == '@' ? here(path) : path, 1 << 20, &text, NULL)) return NULL;
	scratch_put(&text, "", 1);
	static char out[65536];
	snprintf(out, sizeof(out), "%s", text.p);
	scratch_fini(&text);
	return out;
}

static void expect_golden(const char *path, const char *golden)
{
	char *want = strdup(content(golden));
	ck_assert_ptr_nonnull(content(path));
	ck_assert_str_eq(content(path), want);
	free(want);
}

static void pass(unsigned ms)
{
	uint64_t end = clock_now_us() + ms * 1000ull;
	while (clock_now_us() < end) {
		event_base_loop(io_loop_base(&loop), EVLOOP_NONBLOCK);
		usleep(500);
	}
	outputs_counts(outputs, &counts);
}

/* What a command has written, once it has so many lines. */
static const char *wait_lines(const char *path, unsigned lines)
{
	uint64_t end = clock_now_us() + 8000000;
	for (;;) {
		const char *text = content(path);
		unsigned n = 0;
		for (const char *p = text; p && (p = strchr(p, '\n')); p++) n++;
		if (n >= lines) return text;
		ck_assert_msg(clock_now_us() < end, "%s: %s", path, text ? text : "not there");
		pass(5);
	}
}

/* --- the texts -------------------------------------------------------------------------------- */

START_TEST(golden)
{
	start(" - {pool: alpha, ketama: @/k, nutcracker: @/n, listen: '127.0.0.1:22121'}\n");
	update_golden();
	expect_golden("@/k", DATA "alpha.servers");
	expect_golden("@/n", DATA "alpha.yml");
	ck_assert_uint_eq(counts.written, 2);
	ck_assert_uint_eq(counts.failed, 0);
}
END_TEST

START_TEST(golden_of_all)
{
	struct stat st;
	mode_t before = umask(0077);
	start(" - {ketama: '@/{pool}.servers', nutcracker: @/n}\n");
	update_golden();
	umask(before);
	expect_golden("@/n", DATA "all.yml");
	expect_golden("@/alpha.servers", DATA "alpha.servers");
	ck_assert_str_eq(content("@/strict.servers"),
			 "a:1\t1\nb:2\t1\n"); /* b's keys are to fail */
	ck_assert_str_eq(content("@/php.servers"), "a:1\t1\n");
	ck_assert_ptr_null(content("@/sessions.servers")); /* a unix socket */
	ck_assert_uint_eq(counts.failed, 2);
	ck_assert_int_eq(stat(here("@/alpha.servers"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0644);
	ck_assert_int_eq(stat(here("@/n"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0640); /* there is a password in it */
}
END_TEST

START_TEST(one_file_for_each)
{
	start(" - {nutcracker: '@/{pool}.yml', listen: '/tmp/{pool}.sock 0660'}\n");
	update_golden();
	ck_assert_ptr_nonnull(strstr(content("@/alpha.yml"), "\n  listen: /tmp/alpha.sock 0660\n"));
	ck_assert_ptr_nonnull(strstr(content("@/strict.yml"), "\nstrict:\n"));
	ck_assert_ptr_null(content("@/php.yml"));
	ck_assert_uint_eq(counts.written, 3);
}
END_TEST

static int run_nutcracker(const char *path)
{
	char command[256];
	snprintf(command, sizeof(command),
		 "/usr/sbin/nutcracker -t -o /dev/null -c %s >/dev/null 2>&1", path);
	return system(command);
}

/* The program itself takes what we write. */
START_TEST(nutcracker_takes_it)
{
	if (access("/usr/sbin/nutcracker", X_OK) != 0) return;
	start(" - {nutcracker: @/n}\n - {nutcracker: '@/{pool}.yml', listen: '[::1]:1{pool}'}\n"
	      " - {pool: alpha, nutcracker: @/a, listen: ':22121'}\n");
	update_golden();
	ck_assert_int_eq(run_nutcracker(here("@/n")), 0);
	ck_assert_int_eq(run_nutcracker(here("@/a")), 0);
	ck_assert_ptr_nonnull(strstr(content("@/a"), "listen: 0.0.0.0:22121"));
	ck_assert_ptr_null(content("@/alpha.yml")); /* port 1alpha */
	ck_assert_int_ne(run_nutcracker("/dev/null"), 0);
}
END_TEST

static uint64_t ring_sum(const struct pool_spec *p)
{
	struct ring_server servers[16];
	struct ring *ring;
	ck_assert_uint_le(p->server_count, 16);
	for (uint32_t i = 0; i < p->server_count; i++) {
		const struct server_spec *s = &p->servers[i];
		servers[i] = (struct ring_server){ .name = s->name,
						   .host = s->host,
						   .port = s->port,
						   .weight = s->weight,
						   .ejected = s->ejected };
	}
	struct ring_spec spec = { .kind = p->distribution,
				  .hash = p->hash,
				  .servers = servers,
				  .server_count = p->server_count };
	ck_assert_int_eq(ring_build(&spec, &ring), ERR_NONE);
	uint64_t sum = ring_checksum(ring);
	ring_free(&ring);
	return sum;
}

/* Read back as nutcracker reads it: the same ring, the same options. */
START_TEST(it_means_the_same)
{
	struct config *back;
	struct config_issues issues;
	start(" - {nutcracker: @/n}\n");
	update_golden();
	ck_assert_int_eq(config_load(here("@/n"), &back, &issues), ERR_NONE);
	ck_assert_uint_eq(issues.count, 0);
	ck_assert_uint_eq(back->topology->pool_count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		const struct pool_spec *b = &back->topology->pools[i];
		const struct pool_spec *p = topology_pool(topology, slice_of(b->name));
		ck_assert_int_eq(b->protocol, p->protocol);
		ck_assert_uint_eq(b->timeout_ms, p->timeout_ms);
		ck_assert_uint_eq(b->redis_db, p->redis_db);
		ck_assert_uint_eq(b->server_connections, p->server_connections);
		ck_assert_uint_eq(b->server_failure_limit, p->server_failure_limit);
		ck_assert_uint_eq(b->server_retry_timeout_ms, p->server_retry_timeout_ms);
		ck_assert_int_eq(b->auto_eject_hosts, p->auto_eject_hosts);
		ck_assert_int_eq(b->preconnect, p->preconnect);
		ck_assert_mem_eq(b->hash_tag, p->hash_tag, 2);
		if (p->auth_password) ck_assert_str_eq(b->auth_password, p->auth_password);
		if (p->failover == FAILOVER_RING) ck_assert_uint_eq(ring_sum(b), ring_sum(p));
		else ck_assert_uint_eq(b->server_count, p->server_count);
	}
	config_free(&back);
	config_issues_fini(&issues);
}
END_TEST

static const struct {
	const char *pool, *why_ketama, *why_nutcracker; /* NULL: it can be written */
} odd[] = {
	{ "{\"servers\": [{\"host\": \"h\", \"port\": 1, \"ejected\": true}]}", "no server is left",
	  "no server is left" },
	{ "{\"servers\": [\"/s:1\"]}", "unix sockets", NULL },
	{ "{\"servers\": [{\"host\": \"/s:1\"}]}", "unix sockets", "address" },
	{ "{\"servers\": [{\"host\": \"h\", \"port\": 1, \"name\": \"a b\"}]}", NULL, "name" },
	{ "{\"servers\": [\"h:1\"], \"distribution\": \"ketama_rj\"}", NULL, "like ketama_rj" },
	{ "{\"servers\": [\"h:1\"], \"protocol\": \"redis\","
	  "\"auth\": {\"user\": \"u\", \"password\": \"p\"}}",
	  NULL, "no users" },
	{ "{\"servers\": [\"h:1\"]}", NULL, NULL },
};

START_TEST(what_cannot_be_said)
{
	char text[512], why[200] = "";
	struct scratch out = { 0 };
	snprintf(text, sizeof(text), "{\"pools\": {\"a\": %s}}", odd[_i].pool);
	topology_is(json_loads(text, 0, NULL));
	const struct pool_spec *p = &topology->pools[0];
	scratch_puts(&out, SLICE("before"));
	bool good = output_ketama(p, &out, why, sizeof(why));
	ck_assert_msg(good == !odd[_i].why_ketama, "%s", why);
	if (!good) ck_assert_ptr_nonnull(strstr(why, odd[_i].why_ketama));
	ck_assert(good == (out.n > 6));
	out.n = 6;
	good = output_nutcracker(p, "h:1", &out, why, sizeof(why));
	ck_assert_msg(good == !odd[_i].why_nutcracker, "%s", why);
	if (!good) ck_assert_ptr_nonnull(strstr(why, odd[_i].why_nutcracker));
	ck_assert(good == (out.n > 6));
	out.n = 6;
	ck_assert(!output_nutcracker(p, "nowhere", &out, why, sizeof(why)));
	ck_assert(!output_nutcracker(p, "h:0", &out, why, sizeof(why)));
	ck_assert_uint_eq(out.n, 6);
	scratch_fini(&out);
}
END_TEST

START_TEST(names_in_paths)
{
	static const struct {
		const char *text, *pool, *want;
	} cases[] = {
		{ "/a/{pool}.b/{pool}", "p", "/a/p.b/p" },
		{ "{pool}", "p q", NULL },
		{ "/a", "../p", "/a" },
		{ "/{pool}", "../p", NULL },
		{ "/{pool}", "a/b", NULL },
		{ "/{pool}", ".a", NULL },
		{ "/{pool}", "{pool}", "/{pool}" },
		{ "/{poo}", "p", "/{poo}" },
	};
	char why[100];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *got = output_expand(cases[i].text, cases[i].pool, why, sizeof(why));
		if (cases[i].want) ck_assert_str_eq(got, cases[i].want);
		else ck_assert_ptr_null(got);
		free(got);
	}
}
END_TEST

/* --- files ------------------------------------------------------------------------------------ */

START_TEST(only_on_change)
{
	start(" - {pool: a, ketama: @/k}\n");
	for (int i = 0; i < 3; i++) update(ONE(""));
	ck_assert_uint_eq(counts.written, 1);
	update(ONE(", \"g:2:5\""));
	ck_assert_uint_eq(counts.written, 2);
	ck_assert_str_eq(content("@/k"), "h:1\t1\ng:2\t5\n");
	outputs_free(&outputs); /* nor after a restart */
	outputs = outputs_new(&loop, config);
	update(ONE(", \"g:2:5\""));
	ck_assert_uint_eq(counts.written, 0);
	unlink(here("@/k"));
	update(ONE(", \"g:2:5\""));
	ck_assert_uint_eq(counts.written, 1);
}
END_TEST

START_TEST(the_last_good_stays)
{
	start(" - {pool: a, ketama: @/k}\n");
	update(ONE(""));
	update("{\"pools\": {\"a\": {\"servers\": [{\"host\": \"h\", \"port\": 1, \"ejected\": "
	       "true}]}}}");
	ck_assert_uint_eq(counts.failed, 1);
	ck_assert_str_eq(content("@/k"), "h:1\t1\n");
	update("{\"pools\": {\"b\": {\"servers\": [\"h:1\"]}}}");
	ck_assert_str_eq(content("@/k"), "h:1\t1\n");
	ck_assert_uint_eq(counts.written, 1);
}
END_TEST

START_TEST(a_directory_that_is_not_there)
{
	start(" - {pool: a, ketama: @/none/k, command: [/bin/touch, @/ran]}\n");
	update(ONE(""));
	ck_assert_uint_eq(counts.failed, 1);
	ck_assert_uint_eq(counts.commands, 0);
}
END_TEST

/* --- commands --------------------------------------------------------------------------------- */

#define SH(script) "command: [/bin/sh, '-c', '" script "']}\n"

START_TEST(a_command_runs_after_a_change)
{
	start(" - {pool: a, ketama: @/k, " SH(
	    "cat @/k >>@/ran; echo said") " - {pool: b, ketama: @/b, command: [/bin/touch, "
					  "@/other]}\n");
	update(ONE(""));
	ck_assert_str_eq(wait_lines("@/ran", 1), "h:1\t1\n");
	update(ONE(""));
	pass(50);
	ck_assert_uint_eq(counts.commands, 1);
	update(ONE(", \"g:2:5\""));
	ck_assert_str_eq(wait_lines("@/ran", 3), "h:1\t1\nh:1\t1\ng:2\t5\n");
	pass(50);
	ck_assert_uint_eq(counts.commands, 2);
	ck_assert_uint_eq(counts.commands_failed, 0);
	ck_assert_ptr_null(content("@/other"));
}
END_TEST

START_TEST(changes_meanwhile_are_one_more_run)
{
	start(" - {pool: a, ketama: @/k, " SH(
	    "echo x >>@/ran; sleep 0.1") " - {pool: a, ketama: @/l, " SH("echo y >>@/ran"));
	update(ONE(""));
	wait_lines("@/ran", 1);
	for (int i = 2; i < 8; i++) {
		char text[128];
		snprintf(text, sizeof(text), ONE(", \"g:2:%d\""), i);
		update(text);
	}
	ck_assert_str_eq(wait_lines("@/ran", 3), "x\nx\ny\n");
	pass(200);
	ck_assert_uint_eq(counts.commands, 3);
	ck_assert_str_eq(content("@/ran"), "x\nx\ny\n");
}
END_TEST

/* Also when it is a zombie that nobody reaps. */
static bool is_dead(int pid)
{
	char path[64], state = 'Z';
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	if (!f) return true;
	if (fscanf(f, "%*d %*s %c", &state) != 1) state = '?';
	fclose(f);
	return state == 'Z' || state == 'X';
}

/* With all that it started. */
START_TEST(a_command_that_hangs_is_ended)
{
	start(" - {pool: a, ketama: @/k, " SH(
	    "sleep 100 & echo $! >@/ran; sleep 100") " - {pool: a, ketama: @/l, " SH("echo y "
										     ">>@/other"));
	update(ONE(""));
	int descendant = atoi(wait_lines("@/ran", 1));
	wait_lines("@/other", 1);
	pass(20);
	ck_assert_uint_eq(counts.commands_failed, 1);
	ck_assert_uint_eq(counts.commands, 2);
	for (int i = 0; i < 1000 && !is_dead(descendant); i++) usleep(1000);
	ck_assert(is_dead(descendant));
}
END_TEST

START_TEST(commands_that_fail)
{
	start(" - {pool: a, ketama: @/k, " SH(
	    "exit 3") " - {pool: a, ketama: @/l, "
		      "command: [/nowhere/program]}\n - {pool: a, ketama: @/m, " SH(
			  "kill -9 $$") " - {pool: a, ketama: @/o, " SH("echo z >@/ran"));
	update(ONE(""));
	wait_lines("@/ran", 1);
	pass(20);
	ck_assert_uint_eq(counts.commands, 4);
	ck_assert_uint_eq(counts.commands_failed, 3);
}
END_TEST

START_TEST(freed_while_a_command_runs)
{
	start(" - {pool: a, ketama: @/k, " SH("echo $$ >@/ran; exec sleep 100"));
	update(ONE(""));
	int pid = atoi(wait_lines("@/ran", 1));
	outputs_free(&outputs);
	ck_assert_int_ne(kill(pid, 0), 0);
}
END_TEST

START_TEST(nothing_configured)
{
	start("  []\n");
	update(ONE(""));
	ck_assert_uint_eq(counts.written + counts.failed + counts.commands, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("outputs");
	TCase *t = tcase_create("outputs");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, golden);
	tcase_add_test(t, golden_of_all);
	tcase_add_test(t, one_file_for_each);
	tcase_add_test(t, nutcracker_takes_it);
	tcase_add_test(t, it_means_the_same);
	tcase_add_loop_test(t, what_cannot_be_said, 0, (int)(sizeof(odd) / sizeof(odd[0])));
	tcase_add_test(t, names_in_paths);
	tcase_add_test(t, only_on_change);
	tcase_add_test(t, the_last_good_stays);
	tcase_add_test(t, a_directory_that_is_not_there);
	tcase_add_test(t, a_command_runs_after_a_change);
	tcase_add_test(t, changes_meanwhile_are_one_more_run);
	tcase_add_test(t, a_command_that_hangs_is_ended);
	tcase_add_test(t, commands_that_fail);
	tcase_add_test(t, freed_while_a_command_runs);
	tcase_add_test(t, nothing_configured);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
