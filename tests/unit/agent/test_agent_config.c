#include <check.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent_config_settings.h"
#include "agent/agent_config_values.h"
#include "agent/events.h"
#include "agent/verdict.h"

#define ZK "source: zk:h:2181/t\n"

static struct agent_options options;
static struct agent_config *config;
static struct config_issues issues;
static char dir[64], path[128];

static void setup(void)
{
	strcpy(dir, "/tmp/test_agent_config.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	options = (struct agent_options){ 0 };
}

static void forget(void)
{
	agent_config_free(&config);
	config_issues_fini(&issues);
}

static void teardown(void)
{
	forget();
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void put_file(const char *text, mode_t mode)
{
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static enum err parse(const char *text)
{
	forget();
	return agent_config_parse(text, strlen(text), "f", &options, &config, &issues);
}

static void parse_good(const char *text)
{
	enum err e = parse(text);
	ck_assert_msg(e == ERR_NONE, "%s: %s\n%s", issues.items[0].at.where, issues.items[0].at.why,
		      text);
	ck_assert_uint_eq(issues.error_count, 0);
}

static void expect(const char *where, const char *why)
{
	for (uint32_t i = 0; i < issues.count; i++)
		if (strcmp(issues.items[i].at.where, where) == 0 &&
		    strstr(issues.items[i].at.why, why) != NULL)
			return;
	for (uint32_t i = 0; i < issues.count; i++)
		fprintf(stderr, "%s: %s\n", issues.items[i].at.where, issues.items[i].at.why);
	ck_abort_msg("no issue '%s' at %s", why, where);
}

/* The only issue, and an error. */
static void parse_bad(const char *text, const char *where, const char *why)
{
	ck_assert_int_eq(parse(text), ERR_INVALID);
	ck_assert_ptr_null(config);
	expect(where, why);
	ck_assert_uint_eq(issues.count, 1);
}

/* --- the file --------------------------------------------------------------------------------- */

START_TEST(defaults)
{
	char host[256];
	ck_assert_int_eq(gethostname(host, sizeof(host)), 0);
	parse_good(ZK);
	ck_assert_uint_eq(issues.count, 0);
	ck_assert_int_eq(config->source.kind, AGENT_SOURCE_ZK);
	ck_assert_str_eq(config->source.text, "zk:h:2181/t");
	ck_assert_str_eq(config->source.where, "h:2181/t");
	ck_assert_str_eq(config->id, host);
	ck_assert_str_eq(config->host, host);
	ck_assert_ptr_null(config->rack);
	ck_assert(!config->nanny && config->coordinator);
	ck_assert_uint_eq(config->session_timeout_ms, 10000);
	ck_assert_str_eq(config->run_dir, "/run/twinring");
	ck_assert_str_eq(config->state_dir, "/var/lib/twinring");
	ck_assert_ptr_null(config->scripts_dir);
	ck_assert_ptr_null(config->metrics.text);
	ck_assert_ptr_null(config->log_file);
	ck_assert_uint_eq(config->log_level, 5);
	ck_assert_uint_eq(config->confirm_ms, 10000);
	ck_assert_uint_eq(config->reread_ms, 60000);
	ck_assert_uint_eq(config->webhook_count + config->output_count, 0);
}
END_TEST

START_TEST(every_option)
{
	char text[2048];
	put_file("user:pass word\n", 0400);
	snprintf(text, sizeof(text),
		 "source: file:/var/tree\nid: a-1\nhost: h.example\nrack: r1\nnanny: true\n"
		 "coordinator: false\nsession_timeout_ms: 4000\nrun_dir: /r\nstate_dir: /s\n"
		 "scripts_dir: /h\nmetrics: 127.0.0.1:9\nlog_file: /l\nlog_level: debug\n"
		 "confirm_ms: 100\nreread_ms: 1000\n"
		 "webhooks:\n"
		 " - {url: 'https://a/b?c', events: [ejected, panic begun], timeout_ms: 100,\n"
		 "    secret_file: %s}\n"
		 " - {url: 'http://[::1]:80', events: all}\n"
		 "outputs:\n"
		 " - {pool: a, ketama: /k, nutcracker: /n, listen: '127.0.0.1:1',\n"
		 "    command: [/bin/echo, 'a b']}\n"
		 " - {nutcracker: /m}\n",
		 path);
	parse_good(text);
	ck_assert_int_eq(config->source.kind, AGENT_SOURCE_FILE);
	ck_assert_str_eq(config->source.where, "/var/tree");
	ck_assert_str_eq(config->id, "a-1");
	ck_assert_str_eq(config->rack, "r1");
	ck_assert(config->nanny && !config->coordinator);
	ck_assert_str_eq(config->metrics.host, "127.0.0.1");
	ck_assert_uint_eq(config->log_level, 7);
	ck_assert_uint_eq(config->webhook_count, 2);
	const struct webhook_spec *w = config->webhooks;
	ck_assert_str_eq(w->url, "https://a/b?c");
	ck_assert_uint_eq(w->events.count, 2);
	ck_assert_str_eq(w->events.items[1], "panic begun");
	ck_assert_ptr_null(w->events.items[2]);
	ck_assert_str_eq(w->secret.text, "user:pass word");
	ck_assert_uint_eq(w[1].events.count, 0);
	ck_assert_uint_eq(w[1].timeout_ms, 5000);
	const struct output_spec *o = config->outputs;
	ck_assert_str_eq(o->pool, "a");
	ck_assert_str_eq(o->command.items[1], "a b");
	ck_assert_ptr_null(o->command.items[2]);
	ck_assert_str_eq(o[1].pool, "*");
	ck_assert_str_eq(o[1].listen, "/run/nutcracker/{pool}.sock");
}
END_TEST

static const struct {
	const char *text, *where, *why;
} mistakes[] = {
	{ "# nothing\n", "f", "the file is empty" },
	{ "nanny: true\n", "f:1:1", "'source' is missing" },
	{ "[a]\n", "f:1:1", "must be a mapping" },
	{ ZK "sauce: 1\n", "f:2:1", "unknown key 'sauce' (did you mean 'source'?)" },
	{ ZK "nany: true\n", "f:2:1", "did you mean 'nanny'?" },
	{ ZK "nanny: 1\n", "f:2:8", "'nanny' must be" },
	{ ZK "id: a\nid: b\n", "f:3:1", "duplicate key 'id'" },
	{ ZK "id: a/b\n", "f:2:5", "'id' may have letters, digits" },
	{ ZK "id: .a\n", "f:2:5", "'id' must not begin with a dot" },
	{ ZK "session_timeout_ms: 10\n", "f:2:21", "from 1000 to 600000, not 10" },
	{ ZK "run_dir: here\n", "f:2:10", "must be a path from the root" },
	{ ZK "metrics: x\n", "f:2:10", "must be host:port" },
	{ ZK "log_level: loud\n", "f:2:12", "must be error, warn" },
	{ ZK "digest_file: /nowhere\n", "f:2:14", "cannot be used: No such file" },
	{ ZK "digest_file: /\n", "f:2:14", "cannot be used: it is no file" },
	{ "source: 5\n", "f:1:9", "must be zk:HOST:PORT,.../CHROOT or file:DIR" },
	{ "source: 'zk:'\n", "f:1:9", "as HOST:PORT" },
	{ "source: zk:host\n", "f:1:9", "must name each server of ZooKeeper as HOST:PORT" },
	{ "source: zk:a:1,b\n", "f:1:9", "as HOST:PORT" },
	{ "source: zk::1\n", "f:1:9", "as HOST:PORT" },
	{ "source: 'zk:a:1,'\n", "f:1:9", "as HOST:PORT" },
	{ "source: file:tree\n", "f:1:9", "file:/DIR" },
	{ ZK "webhooks: {}\n", "f:2:11", "'webhooks' must be a list" },
	{ ZK "webhooks: [x]\n", "f:2:12", "'webhook' must be a mapping" },
	{ ZK "webhooks: [{}]\n", "f:2:12", "the webhook has no 'url'" },
	{ ZK "webhooks: [{url: 'ftp://a'}]\n", "f:2:18", "must begin with https:// or http://" },
	{ ZK "webhooks: [{url: 'http:///a'}]\n", "f:2:18", "has no host" },
	{ ZK "webhooks: [{url: 'http://u:p@a'}]\n", "f:2:18", "must not hold a password" },
	{ ZK "webhooks: [{url: 'http://a b'}]\n", "f:2:18", "holds a blank" },
	{ ZK "webhooks: [{url: 'http://a', events: some}]\n", "f:2:38", "or the word all" },
	{ ZK "webhooks: [{url: 'http://a', events: []}]\n", "f:2:38", "a list of 1 to 64" },
	{ ZK "webhooks: [{url: 'http://a', events: [eject]}]\n", "f:2:38",
	  "'events' knows no event 'eject' (did you mean 'ejected'?)" },
	{ ZK "webhooks: [{url: 'http://a', events: [5.5.5.5.5.5.5]}]\n", "f:2:38",
	  "knows no event" },
	{ ZK "outputs: [{}]\n", "f:2:11", "neither 'ketama' nor 'nutcracker'" },
	{ ZK "outputs: [{ketama: /a}]\n", "f:2:20", "'ketama' of all pools must hold {pool}" },
	{ ZK "outputs: [{pool: a, ketama: a}]\n", "f:2:29", "must be a path from the root" },
	{ ZK "outputs: [{nutcracker: /a, listen: 'h:1'}]\n", "f:2:36", "'listen' of all pools" },
	{ ZK "outputs: [{pool: a, ketama: /a, command: [echo]}]\n", "f:2:42",
	  "must begin with a program's path" },
	{ ZK "outputs: [{pool: a, ketama: /a, command: [/a, {}]}]\n", "f:2:42", "must be text" },
	{ ZK "outputs: [{pool: a, ketama: /a}, {pool: b, nutcracker: /a}]\n", "f:2:56",
	  "'/a' is written by another output" },
	{ ZK "outputs: [{pool: a, ketma: /a, nutcracker: /b}]\n", "f:2:21",
	  "did you mean 'ketama'?" },
};

START_TEST(mistakes_have_places)
{
	parse_bad(mistakes[_i].text, mistakes[_i].where, mistakes[_i].why);
}
END_TEST

START_TEST(all_mistakes_at_once)
{
	ck_assert_int_eq(parse("nanny: 3\nrack: ''\noutputs: [{}, 1]\nx: [\n"), ERR_INVALID);
	ck_assert_int_eq(parse("nanny: 3\nrack: ''\noutputs: [{}, 1]\nx: 1\n"), ERR_INVALID);
	expect("f:1:8", "'nanny'");
	expect("f:2:7", "'rack' must have 1 to 255 bytes");
	expect("f:3:11", "neither");
	expect("f:3:15", "'output' must be a mapping");
	expect("f:4:1", "unknown key 'x'");
	expect("f:1:1", "'source' is missing");
	ck_assert_uint_eq(issues.count, 6);
}
END_TEST

/* --- secrets ---------------------------------------------------------------------------------- */

static const struct {
	const char *content;
	mode_t mode;
	const char *why; /* NULL: good */
} digests[] = {
	{ "u:p", 0400, NULL },
	{ "u:p:q\n", 0600, NULL },
	{ "u:p", 0640, "others may use it: chmod 0400" },
	{ "u:p", 0444, "others may use it" },
	{ "", 0400, "it must hold one line" },
	{ "\n", 0400, "it must hold one line" },
	{ "u:p\nmore\n", 0400, "it must hold one line" },
	{ "u:p\r\n", 0400, "it must hold one line" },
	{ "user", 0400, "must name a file with user:password in it" },
	{ ":p", 0400, "user:password" },
	{ "u:", 0400, "user:password" },
};

START_TEST(digest_files)
{
	char text[256];
	put_file(digests[_i].content, digests[_i].mode);
	snprintf(text, sizeof(text), ZK "digest_file: %s\n", path);
	if (digests[_i].why) {
		parse_bad(text, "f:2:14", digests[_i].why);
		return;
	}
	parse_good(text);
	size_t n = strcspn(digests[_i].content, "\n");
	ck_assert_uint_eq(strlen(config->digest.text), n);
	ck_assert_int_eq(strncmp(config->digest.text, digests[_i].content, n), 0);
	json_t *dump = agent_config_to_json(config);
	ck_assert_str_eq(json_string_value(json_object_get(dump, "digest_file")), path);
	char *all = json_dumps(dump, 0);
	ck_assert_ptr_null(strstr(all, "u:p"));
	free(all);
	json_decref(dump);
}
END_TEST

START_TEST(secrets_that_are_too_large)
{
	char big[AGENT_SECRET_MAX + 2], why[200], *text;
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	put_file(big, 0400);
	ck_assert(!agent_secret_read(path, &text, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "too large"));
	big[AGENT_SECRET_MAX] = '\0';
	put_file(big, 0400);
	ck_assert(agent_secret_read(path, &text, why, sizeof(why)));
	ck_assert_str_eq(text, big);
	free(text);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0); /* must not wait for a writer */
	ck_assert(!agent_secret_read(path, &text, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "no file"));
}
END_TEST

START_TEST(digest_without_zookeeper_is_a_warning)
{
	char text[256];
	put_file("u:p", 0400);
	snprintf(text, sizeof(text), "source: file:/d\ndigest_file: %s\n", path);
	parse_good(text);
	expect("f:2:1", "is for ZooKeeper, and ignored");
	ck_assert(issues.items[0].warning);
}
END_TEST

/* --- the command line ------------------------------------------------------------------------- */

static char *messages, *words[32], copy[1024];

static bool parse_line(const char *line)
{
	size_t size;
	int n = 0;
	strcpy(copy, line);
	for (char *rest = copy, *word; (word = strsep(&rest, " "));) words[n++] = word;
	words[n] = NULL;
	free(messages);
	FILE *f = open_memstream(&messages, &size);
	bool ok = agent_options_parse(n, words, &options, f);
	fclose(f);
	ck_assert_msg(ok == (*messages == 0), "%s: %s", line, messages);
	return ok;
}

START_TEST(options_go_before_the_file)
{
	ck_assert(parse_line("twinring-agent --source zk:o:1/p --id o-1 --role nanny --run-dir /or "
			     "--state-dir=/os --metrics [::1]:5 -v 7 -o /ol"));
	parse_good("source: file:/f\nid: f\nnanny: false\nrun_dir: /f\nmetrics: 127.0.0.1:1\n"
		   "log_level: error\nlog_file: /f\n");
	ck_assert_int_eq(config->source.kind, AGENT_SOURCE_ZK);
	ck_assert_str_eq(config->source.where, "o:1/p");
	ck_assert_str_eq(config->id, "o-1");
	ck_assert(config->nanny);
	ck_assert_str_eq(config->run_dir, "/or");
	ck_assert_str_eq(config->state_dir, "/os");
	ck_assert_str_eq(config->metrics.host, "::1");
	ck_assert_uint_eq(config->log_level, 7);
	ck_assert_str_eq(config->log_file, "/ol");
	ck_assert(parse_line("twinring-agent --role agent"));
	parse_good(ZK "nanny: true\n");
	ck_assert(!config->nanny);
}
END_TEST

START_TEST(options_are_checked_as_the_file_is)
{
	ck_assert(parse_line("twinring-agent --source nowhere --id a/b --role king --verbose 12 "
			     "--metrics x --run-dir r"));
	ck_assert_int_eq(parse("nanny: false\n"), ERR_INVALID);
	expect("--source", "must be zk:");
	expect("--id", "may have letters");
	expect("--role", "must be agent or nanny, not 'king'");
	expect("--verbose", "must be error, warn");
	expect("--metrics", "must be host:port");
	expect("--run-dir", "must be a path from the root");
	ck_assert_uint_eq(issues.count, 6);
}
END_TEST

START_TEST(options_parsed)
{
	ck_assert(parse_line("/usr/bin/twinring-agent"));
	ck_assert_ptr_null(options.config_file);
	ck_assert_ptr_null(options.pid_file);
	ck_assert(!options.daemonize && !agent_options_inform(&options, stdout));
	ck_assert(parse_line("twinring-agent -c f -t -d -p pid --dump-config"));
	ck_assert_str_eq(options.config_file, "f");
	ck_assert_str_eq(options.pid_file, "pid");
	ck_assert(options.test_config && options.daemonize && options.dump_config);
	ck_assert(parse_line("twinring-agent --conf-file=g --verbose=info"));
	ck_assert_str_eq(options.log_level, "info");
}
END_TEST

START_TEST(options_wrong)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ "twinring-agent -x", "twinring-agent: invalid option -- 'x'\n" },
		{ "twinring-agent --bogus", "twinring-agent: invalid option '--bogus'\n" },
		{ "twinring-agent extra", "twinring-agent: unexpected argument 'extra'\n" },
		{ "twinring-agent -c", "option --conf-file requires FILE\n" },
		{ "twinring-agent --role", "option --role requires ROLE\n" },
		{ "twinring-agent --help=1", "invalid option '--help=1'\n" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_msg(!parse_line(cases[i].line), "%s", cases[i].line);
		ck_assert_msg(strstr(messages, cases[i].why), "%s: %s", cases[i].line, messages);
		ck_assert_ptr_nonnull(strstr(messages, "\nOptions:\n  -h, --help "));
	}
	free(messages);
	messages = NULL;
}
END_TEST

START_TEST(options_inform)
{
	char *out;
	size_t n;
	FILE *f = open_memstream(&out, &n);
	ck_assert(parse_line("twinring-agent -hV"));
	ck_assert(agent_options_inform(&options, f));
	fclose(f);
	ck_assert_int_eq(
	    strncmp(out, "twinring-agent-" TWINRING_VERSION "\nUsage: twinring-agent ", 40), 0);
	ck_assert_ptr_nonnull(strstr(out, "\n      --state-dir=DIR"));
	free(out);
}
END_TEST

/* --- loading ---------------------------------------------------------------------------------- */

START_TEST(loading)
{
	put_file(ZK, 0644);
	options.config_file = path;
	ck_assert_int_eq(agent_config_load(&options, &config, &issues), ERR_NONE);
	ck_assert_str_eq(config->source.text, "zk:h:2181/t");
	forget();
	options.config_file = "/nowhere/agent.yml";
	options.source = "file:/x";
	ck_assert_int_eq(agent_config_load(&options, &config, &issues), ERR_IO);
	expect("/nowhere/agent.yml", "cannot be read: No such file or directory");
	forget();
	if (access(AGENT_CONFIG_FILE, F_OK) == 0) return;
	options.config_file = NULL; /* the default, which need not be there */
	ck_assert_int_eq(agent_config_load(&options, &config, &issues), ERR_NONE);
	ck_assert_str_eq(config->source.text, "file:/x");
	forget();
	options.source = NULL;
	ck_assert_int_eq(agent_config_load(&options, &config, &issues), ERR_INVALID);
	expect(AGENT_CONFIG_FILE, "'source' is missing");
}
END_TEST

/* What is dumped reads back to the same. */
START_TEST(dump_is_a_configuration)
{
	parse_good(ZK "id: a\nwebhooks: [{url: 'http://a', events: [store lost]}]\n"
		      "outputs: [{pool: p, ketama: /k, command: [/c]}]\nmetrics: ':1'\n");
	json_t *dump = agent_config_to_json(config), *again;
	char *text = json_dumps(dump, 0);
	parse_good(text);
	again = agent_config_to_json(config);
	ck_assert_msg(json_equal(dump, again), "%s", text);
	ck_assert_uint_eq(json_array_size(json_object_get(dump, "outputs")), 1);
	free(text);
	json_decref(dump);
	json_decref(again);
}
END_TEST

/* --- the manual ------------------------------------------------------------------------------- */

static char *read_all(const char *name)
{
	FILE *f = fopen(name, "r");
	if (f == NULL) return strdup("");
	char *text = NULL;
	size_t cap = 0;
	if (getdelim(&text, &cap, '\0', f) < 0) ck_abort_msg("%s is empty", name);
	fclose(f);
	return text;
}

/* To write it anew: TWINRING_WRITE_DOCS=1 build/release/tests/unit/agent/test_agent_config */
START_TEST(every_option_is_documented)
{
	if (getenv("TWINRING_WRITE_DOCS") != NULL) {
		FILE *f = fopen("deploy/agent-settings.md", "w");
		ck_assert_ptr_nonnull(f);
		agent_config_document(f);
		fclose(f);
	}
	char *want = NULL, *have = read_all("deploy/agent-settings.md");
	size_t n;
	FILE *f = open_memstream(&want, &n);
	agent_config_document(f);
	fclose(f);
	ck_assert_msg(strcmp(want, have) == 0,
		      "deploy/agent-settings.md is not what the tables say");

	const struct settings *const tables[] = { &agent_settings, &webhook_settings,
						  &output_settings };
	char key[80], *sample = read_all("deploy/samples/agent.yml");
	for (size_t t = 0; t < 3; t++) {
		for (size_t i = 0; i < tables[t]->count; i++) {
			snprintf(key, sizeof(key), "%s:", tables[t]->items[i].key);
			ck_assert_msg(strstr(sample, key) != NULL, "%s is not in the sample", key);
		}
	}
	for (unsigned i = 0; i < AGENT_EVENT_MAX; i++)
		ck_assert_ptr_nonnull(strstr(have, agent_event_name(i)));
	free(want);
	free(have);
	free(sample);
}
END_TEST

/* Whoever reads the log of decisions and whoever is told by webhook see the same words. */
START_TEST(verdicts_are_events)
{
	for (unsigned v = 0; v <= VERDICT_BLIND_ENDED; v++) {
		unsigned i = 0;
		while (i < AGENT_EVENT_MAX &&
		       strcmp(agent_event_name(i), verdict_what_text((enum verdict_what)v)) != 0)
			i++;
		ck_assert_msg(i < AGENT_EVENT_MAX, "%s", verdict_what_text((enum verdict_what)v));
	}
}
END_TEST

START_TEST(the_sample_is_right)
{
	options.config_file = "deploy/samples/agent.yml";
	ck_assert_int_eq(agent_config_load(&options, &config, &issues), ERR_NONE);
	forget();
	/* And with everything that is commented out, but for secrets, which are not there. */
	char *sample = read_all(options.config_file), *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	for (char *line = strtok(sample, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (strstr(line, "digest_file") || strstr(line, "secret_file")) continue;
		const char *from =
		    strncmp(line, "# ", 2) == 0 && strchr(line, ':') ? line + 2 : line;
		if (from[0] != 'o' || strncmp(from, "of them", 7) != 0) fprintf(f, "%s\n", from);
	}
	fclose(f);
	parse_good(text);
	ck_assert_uint_eq(config->output_count, 2);
	ck_assert_uint_eq(config->webhooks[0].events.count, 3);
	free(text);
	free(sample);
}
END_TEST

#define ADD_LOOP(tc, test, table) \
	tcase_add_loop_test(tc, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
	Suite *s = suite_create("agent_config");
	TCase *t = tcase_create("agent_config");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, defaults);
	tcase_add_test(t, every_option);
	ADD_LOOP(t, mistakes_have_places, mistakes);
	tcase_add_test(t, all_mistakes_at_once);
	ADD_LOOP(t, digest_files, digests);
	tcase_add_test(t, secrets_that_are_too_large);
	tcase_add_test(t, digest_without_zookeeper_is_a_warning);
	tcase_add_test(t, options_go_before_the_file);
	tcase_add_test(t, options_are_checked_as_the_file_is);
	tcase_add_test(t, options_parsed);
	tcase_add_test(t, options_wrong);
	tcase_add_test(t, options_inform);
	tcase_add_test(t, loading);
	tcase_add_test(t, dump_is_a_configuration);
	tcase_add_test(t, every_option_is_documented);
	tcase_add_test(t, verdicts_are_events);
	tcase_add_test(t, the_sample_is_right);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	free(messages);
	return failed != 0;
}
