/* What the proxy answers Redis clients itself. Texts are those of redis 7.0.15, taken from a
 * running one; those of CLIENT SETINFO and NO-TOUCH of 7.2. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/local_redis.h"

static const struct codec_limits limits = {
	.value_max_bytes = 1 << 20,
	.request_max_bytes = 1 << 22,
	.args_max = 1000,
};

static char password[] = "pw", user[] = "app", pool_name[] = "alpha";

/* One client and what it has been told last. */
static struct parser parser;
static struct scratch out;
static struct pool_spec pool;
static struct session session;
static enum local_result result;

static void figures(void *ctx, struct local_figures *f)
{
	(void)ctx;
	*f = (struct local_figures){ .uptime_s = 90000,
				     .clients = 3,
				     .requests = 12,
				     .hits = 7,
				     .misses = 5,
				     .rusage_user_us = 1500000,
				     .threads = 2 };
}

static struct local_env env = {
	.session = &session,
	.pool = &pool,
	.limits = &limits,
	.client_id = 42,
	.port = 6379,
	.peer = "127.0.0.1:5000",
	.here = "127.0.0.1:6379",
	.now_us = 1700000000123456,
	.connected_s = 9,
	.figures = figures,
};

static void set_up(void)
{
	pool = (struct pool_spec){ .name = pool_name, .protocol = PROTOCOL_REDIS };
	session = (struct session){ .resp = 2, .authenticated = true };
}

static void tear_down(void)
{
	session_fini(&session);
	parser_fini(&parser);
	scratch_fini(&out);
}

/* What the client is told when it types `line`. */
static struct slice say(const char *line)
{
	char text[4096];
	int n = snprintf(text, sizeof(text), "%s\r\n", line);
	struct parse_resume resume = { 0 };
	struct command cmd;
	size_t skip;
	scratch_clear(&out);
	enum parse_result r =
	    codec_resp.parse_request(&parser, &limits, text, (size_t)n, &resume, &cmd, &skip);
	ck_assert_msg(r == PARSE_OK, "%s: result %d", line, r);
	if (!local_redis_may(&session, &pool, &cmd, &out)) return scratch_slice(&out);
	if (cmd.info->route == OP_REFUSED) {
		scratch_puts(&out, cmd.error);
	} else {
		ck_assert_msg(cmd.info->route == OP_LOCAL, "%s is not local", line);
		result = local_redis(&env, &cmd, &out);
	}
	/* always one whole value, and a legal one */
	ck_assert_msg(resp_value(out.p, out.n).n == out.n, "%s: '%.*s'", line, (int)out.n, out.p);
	return scratch_slice(&out);
}

static void told(const char *line, const char *want)
{
	struct slice got = say(line);
	ck_assert_msg(slice_eq(got, slice_of(want)), "%s: got '%.*s', want '%s'", line, (int)got.n,
		      got.p, want);
}

static void mentions(const char *line, const char *part)
{
	struct slice got = say(line);
	ck_assert_msg(memmem(got.p, got.n, part, strlen(part)) != NULL, "%s: '%.*s' has no '%s'",
		      line, (int)got.n, got.p, part);
}

/* --- a table of what does not depend on state ------------------------------------------------- */

#define CLUSTER_OFF "-ERR This instance has cluster support disabled\r\n"
#define BAD_NAME    "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
#define SYNTAX	    "-ERR syntax error\r\n"
#define HELLO_TAIL                                                                             \
	"$2\r\nid\r\n:42\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n" \
	"$7\r\nmodules\r\n*0\r\n"
#define HELLO_HEAD "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n"
#define HELLO_2	   "*14\r\n" HELLO_HEAD ":2\r\n" HELLO_TAIL
#define HELLO_3	   "%7\r\n" HELLO_HEAD ":3\r\n" HELLO_TAIL
#define WRONG	   "-WRONGPASS invalid username-password pair or user is disabled.\r\n"

static const struct exchange {
	const char *line, *want;
} exchanges[] = {
	{ "PING", "+PONG\r\n" },
	{ "PING \"a b\"", "$3\r\na b\r\n" },
	{ "PING a b", "-ERR wrong number of arguments for 'ping' command\r\n" },
	{ "ECHO x", "$1\r\nx\r\n" },
	{ "QUIT", "+OK\r\n" },
	{ "RESET", "+RESET\r\n" },
	{ "SELECT 0", "+OK\r\n" },
	{ "SELECT 1", "-ERR DB index is out of range\r\n" },
	{ "SELECT -1", "-ERR DB index is out of range\r\n" },
	{ "SELECT a", "-ERR value is not an integer or out of range\r\n" },
	{ "SELECT 99999999999999999999", "-ERR value is not an integer or out of range\r\n" },
	{ "TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n" },
	{ "READONLY", CLUSTER_OFF },
	{ "READWRITE", CLUSTER_OFF },
	{ "ASKING", CLUSTER_OFF },
	{ "CLUSTER INFO", CLUSTER_OFF },
	{ "HELLO", HELLO_2 },
	{ "HELLO 2", HELLO_2 },
	{ "HELLO 3", HELLO_3 },
	{ "HELLO 3 AUTH default x SETNAME n", HELLO_3 },
	{ "HELLO 3 AUTH u p", WRONG },
	{ "HELLO 4", "-NOPROTO unsupported protocol version\r\n" },
	{ "HELLO 1", "-NOPROTO unsupported protocol version\r\n" },
	{ "HELLO x", "-ERR Protocol version is not an integer or out of range\r\n" },
	{ "HELLO 3 foo", "-ERR Syntax error in HELLO option 'foo'\r\n" },
	{ "HELLO 3 \"f\\r\\no\"", "-ERR Syntax error in HELLO option 'f  o'\r\n" },
	{ "HELLO 3 auth a", "-ERR Syntax error in HELLO option 'auth'\r\n" },
	{ "HELLO 3 setname", "-ERR Syntax error in HELLO option 'setname'\r\n" },
	{ "HELLO 3 SETNAME \"a b\"", BAD_NAME },
	{ "AUTH x", "-ERR AUTH <password> called without any password configured for the default "
		    "user. Are you sure your configuration is correct?\r\n" },
	{ "AUTH default x", "+OK\r\n" },
	{ "AUTH u p", WRONG },
	{ "AUTH a b c", SYNTAX },
	{ "CLIENT GETNAME", "$-1\r\n" },
	{ "CLIENT SETNAME \"a b\"", BAD_NAME },
	{ "CLIENT ID", ":42\r\n" },
	{ "CLIENT SETINFO lib-name x", "+OK\r\n" },
	{ "CLIENT SETINFO LIB-VER 1.2", "+OK\r\n" },
	{ "CLIENT SETINFO foo x", "-ERR Unrecognized option 'foo'\r\n" },
	{ "CLIENT SETINFO lib-name \"a b\"",
	  "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n" },
	{ "CLIENT NO-EVICT on", "+OK\r\n" },
	{ "CLIENT NO-EVICT x", SYNTAX },
	{ "CLIENT NO-TOUCH off", "+OK\r\n" },
	{ "CLIENT TRACKING OFF", "+OK\r\n" },
	{ "CLIENT TRACKING x", SYNTAX },
	{ "CLIENT TRACKINGINFO", "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n"
				 "$8\r\nprefixes\r\n*0\r\n" },
	{ "CLIENT GETREDIR", ":-1\r\n" },
	{ "CLIENT REPLY ON", "+OK\r\n" },
	{ "CLIENT REPLY x", SYNTAX },
	{ "CLIENT LIST TYPE pubsub", "$0\r\n\r\n" },
	{ "CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'\r\n" },
	{ "CLIENT LIST ID 1 2", "$0\r\n\r\n" },
	{ "CLIENT LIST ID x", "-ERR Invalid client ID\r\n" },
	{ "CLIENT LIST foo", SYNTAX },
	{ "CLIENT foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n" },
	{ "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none",
	  "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n" },
	{ "COMMAND COUNT x", "-ERR wrong number of arguments for 'command|count' command\r\n" },
	{ "COMMAND INFO get nosuch",
	  "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n"
	  "+@read\r\n+@string\r\n+@fast\r\n*0\r\n*0\r\n*0\r\n$-1\r\n" },
	{ "COMMAND INFO multi", "*1\r\n$-1\r\n" },
	{ "COMMAND GETKEYS mset a b c d", "*2\r\n$1\r\na\r\n$1\r\nc\r\n" },
	{ "COMMAND GETKEYS zunionstore d 2 a b", "*3\r\n$1\r\nd\r\n$1\r\na\r\n$1\r\nb\r\n" },
	{ "COMMAND GETKEYS nosuch a", "-ERR Invalid command specified\r\n" },
	{ "COMMAND GETKEYS get a b", "-ERR Invalid number of arguments specified for command\r\n" },
	{ "COMMAND GETKEYS config get a", "-ERR The command has no key arguments\r\n" },
	{ "COMMAND DOCS nosuch", "*0\r\n" },
	{ "COMMAND LIST FILTERBY PATTERN xread*", "*2\r\n$10\r\nxreadgroup\r\n$5\r\nxread\r\n" },
	{ "COMMAND LIST FILTERBY MODULE x", "*0\r\n" },
	{ "COMMAND LIST FILTERBY x y", SYNTAX },
	{ "CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n" },
	{ "CONFIG GET SAVE append*y", "*4\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$4\r\nsave\r\n"
				      "$0\r\n\r\n" },
	{ "CONFIG GET nosuch", "*0\r\n" },
	{ "CONFIG GET requirepass", "*0\r\n" },
	{ "CONFIG GET port", "*2\r\n$4\r\nport\r\n$4\r\n6379\r\n" },
	{ "SLOWLOG GET", "*0\r\n" },
	{ "SLOWLOG GET -1", "*0\r\n" },
	{ "SLOWLOG GET x", "-ERR count should be greater than or equal to -1\r\n" },
	{ "SLOWLOG LEN", ":0\r\n" },
	{ "SLOWLOG RESET", "+OK\r\n" },
	{ "INFO nosuch", "$0\r\n\r\n" },
	{ "INFO clients", "$71\r\n# Clients\r\nconnected_clients:3\r\nblocked_clients:0\r\n"
			  "tracking_clients:0\r\n\r\n" },
};

START_TEST(answers)
{
	told(exchanges[_i].line, exchanges[_i].want);
}
END_TEST

START_TEST(only_quit_closes)
{
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		result = LOCAL_ANSWERED;
		say(exchanges[i].line);
		ck_assert_int_eq(result == LOCAL_CLOSE, strcmp(exchanges[i].line, "QUIT") == 0);
	}
}
END_TEST

/* Every row that is local has an answer, with as few arguments as it takes, in both dialects. */
START_TEST(every_local_row_answers)
{
	session.resp = (uint8_t)_i;
	for (uint32_t i = 0; i < RESP_COUNT; i++) {
		const struct resp_command *row = resp_command_at(i);
		if (row->op.route != OP_LOCAL) continue;
		char line[128];
		int n = snprintf(line, sizeof(line), "%s", row->op.name);
		char *bar = strchr(line, '|');
		if (bar) *bar = ' ';
		int args = (row->arity < 0 ? -row->arity : row->arity) - (bar ? 2 : 1);
		for (; args > 0; args--) n += snprintf(line + n, sizeof(line) - (size_t)n, " 1");
		say(line);
		session.resp = (uint8_t)_i;
	}
}
END_TEST

START_TEST(resp3_has_its_own_types)
{
	told("HELLO 3", HELLO_3);
	ck_assert_uint_eq(session.resp, 3);
	told("CLIENT GETNAME", "_\r\n");
	told("CONFIG GET save", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n");
	told("COMMAND INFO get",
	     "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~3\r\n"
	     "+@read\r\n+@string\r\n+@fast\r\n~0\r\n~0\r\n*0\r\n");
	told("INFO keyspace", "=16\r\ntxt:# Keyspace\r\n\r\n");
	mentions("CLIENT INFO", "resp=3");
	told("HELLO", HELLO_3);
	told("HELLO 2", HELLO_2);
	told("CLIENT GETNAME", "$-1\r\n");
	/* what is refused changes nothing */
	told("HELLO 3 foo", "-ERR Syntax error in HELLO option 'foo'\r\n");
	ck_assert_uint_eq(session.resp, 2);
}
END_TEST

START_TEST(names_are_remembered)
{
	told("CLIENT SETNAME web-1", "+OK\r\n");
	told("CLIENT GETNAME", "$5\r\nweb-1\r\n");
	told("HELLO 2 SETNAME web-2", HELLO_2);
	told("CLIENT GETNAME", "$5\r\nweb-2\r\n");
	told("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n");
	told("CLIENT SETINFO LIB-VER 5.0", "+OK\r\n");
	mentions("CLIENT INFO", " name=web-2 ");
	mentions("CLIENT LIST", "lib-name=redis-py lib-ver=5.0\n");
	mentions("CLIENT LIST ID 42", "id=42 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 ");
	told("CLIENT SETNAME \"\"", "+OK\r\n");
	told("CLIENT GETNAME", "$-1\r\n");
	told("CLIENT SETNAME x", "+OK\r\n");
	told("RESET", "+RESET\r\n");
	told("CLIENT GETNAME", "$-1\r\n");
	char line[600] = "CLIENT SETNAME ";
	memset(line + strlen(line), 'x', 500);
	told(line, "-ERR Client names cannot be longer than 256 bytes.\r\n");
}
END_TEST

START_TEST(a_password_is_demanded)
{
	static const char noauth[] = "-NOAUTH Authentication required.\r\n";
	pool.auth_password = password;
	session.authenticated = false;
	told("PING", noauth);
	told("CLIENT SETNAME x", noauth);
	told("MULTI", noauth);
	told("FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n");
	told("GET", "-ERR wrong number of arguments for 'get' command\r\n");
	mentions("HELLO 3", "-NOAUTH HELLO must be called with the client already authenticated");
	ck_assert_uint_eq(session.resp, 2);
	told("AUTH x", WRONG);
	told("AUTH pwx", WRONG);
	told("AUTH \"\"", WRONG);
	told("AUTH app pw", WRONG);
	told("PING", noauth);
	told("AUTH pw", "+OK\r\n");
	told("PING", "+PONG\r\n");
	/* a wrong one later takes nothing away */
	told("AUTH x", WRONG);
	told("PING", "+PONG\r\n");
	told("RESET", "+RESET\r\n");
	told("PING", noauth);
	told("AUTH default pw", "+OK\r\n");
	told("RESET", "+RESET\r\n");
	told("HELLO 3 AUTH default pw SETNAME x", HELLO_3);
	told("CLIENT GETNAME", "$1\r\nx\r\n");
	told("RESET", "+RESET\r\n");
	/* a bad name is seen before the password is looked at */
	told("HELLO 3 AUTH default pw SETNAME \"a b\"", BAD_NAME);
	told("PING", noauth);
	told("QUIT", "+OK\r\n");
}
END_TEST

START_TEST(a_user_may_be_demanded)
{
	pool.auth_password = password;
	pool.auth_user = user;
	session.authenticated = false;
	told("AUTH pw", WRONG);
	told("AUTH default pw", WRONG);
	told("AUTH app x", WRONG);
	told("AUTH app pw", "+OK\r\n");
	mentions("CLIENT INFO", " user=app ");
}
END_TEST

START_TEST(info_has_what_exporters_read)
{
	static const char *const parts[] = {
		"# Server\r\nredis_version:7.0.15\r\n",
		"redis_mode:standalone\r\n",
		"twinring_version:",
		"tcp_port:6379\r\n",
		"uptime_in_seconds:90000\r\nuptime_in_days:1\r\n",
		"connected_clients:3\r\n",
		"blocked_clients:0\r\n",
		"used_memory:0\r\n",
		"maxmemory_policy:noeviction\r\n",
		"loading:0\r\n",
		"total_commands_processed:12\r\n",
		"instantaneous_ops_per_sec:0\r\n",
		"keyspace_hits:7\r\nkeyspace_misses:5\r\n",
		"role:master\r\n",
		"used_cpu_user:1.500000\r\n",
		"cluster_enabled:0\r\n",
		"\r\n\r\n# Twinring\r\npool:alpha\r\nthreads:2\r\n",
	};
	static const char *const lines[] = { "INFO", "info ALL", "INFO everything",
					     "INFO default server" };
	for (size_t l = 0; l < sizeof(lines) / sizeof(lines[0]); l++)
		for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
			mentions(lines[l], parts[i]);
	struct slice some = say("INFO server REPLICATION");
	ck_assert(memmem(some.p, some.n, "# Replication", 13));
	ck_assert(!memmem(some.p, some.n, "# Clients", 9));
}
END_TEST

START_TEST(command_lists_what_works)
{
	mentions("COMMAND", "$4\r\nmget\r\n:-2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:-1\r\n:1\r\n");
	mentions("COMMAND INFO object", "$15\r\nobject|encoding\r\n:3\r\n");
	mentions("COMMAND INFO mset", ":-3\r\n*2\r\n+write\r\n+denyoom\r\n:1\r\n:-1\r\n:2\r\n");
	mentions("COMMAND INFO eval", "+movablekeys\r\n:0\r\n:0\r\n:0\r\n");
	mentions("COMMAND INFO sort", "+movablekeys\r\n:1\r\n:1\r\n:1\r\n");
	mentions("COMMAND INFO config|get", "$10\r\nconfig|get\r\n:-3\r\n");
	mentions("COMMAND DOCS get", "$5\r\ngroup\r\n$6\r\nstring\r\n");
	mentions("CLIENT HELP", "+SETNAME\r\n");
	struct slice list = say("COMMAND LIST");
	ck_assert(memmem(list.p, list.n, "\r\nget\r\n", 7));
	ck_assert(!memmem(list.p, list.n, "\r\nmulti\r\n", 9));
	ck_assert(!memmem(list.p, list.n, "unknown", 7));
	/* the count is that of the list */
	char head[16];
	struct slice count = say("COMMAND COUNT");
	snprintf(head, sizeof(head), "*%.*s", (int)count.n - 1, count.p + 1);
	struct slice all = say("COMMAND");
	ck_assert(all.n > 5 && memcmp(all.p, head, strlen(head)) == 0);
}
END_TEST

static const struct glob_row {
	const char *pattern, *text;
	bool want;
} globs[] = {
	{ "", "", true },
	{ "", "a", false },
	{ "*", "", true },
	{ "*", "abc", true },
	{ "a*c", "abbc", true },
	{ "a*c", "abb", false },
	{ "a*b*c", "aXbYbc", true },
	{ "?", "a", true },
	{ "?", "", false },
	{ "A?c", "aBc", true },
	{ "[a-c]x", "bx", true },
	{ "[c-a]x", "bx", true },
	{ "[^a-c]x", "bx", false },
	{ "[^a-c]x", "dx", true },
	{ "[ab", "b", true },
	{ "\\*", "*", true },
	{ "\\*", "a", false },
	{ "max*-pol*", "maxmemory-policy", true },
	{ "[\\]]", "]", true },
	{ "[", "a", false },
	{ "a\\", "a\\", true },
	{ "**a", "bba", true },
	{ "*a", "b", false },
};

START_TEST(globs_match_as_in_redis)
{
	const struct glob_row *row = &globs[_i];
	ck_assert_msg(glob_matches(slice_of(row->pattern), row->text) == row->want, "%s %s",
		      row->pattern, row->text);
}
END_TEST

START_TEST(globs_take_bounded_time)
{
	struct scratch pattern = { 0 };
	for (int i = 0; i < 100000; i++) scratch_put(&pattern, "*a", 2);
	scratch_put(&pattern, "b", 1);
	ck_assert(
	    !glob_matches(scratch_slice(&pattern), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	scratch_fini(&pattern);
}
END_TEST

#define LOOP(t, test, rows) tcase_add_loop_test(t, test, 0, sizeof(rows) / sizeof((rows)[0]))

int main(void)
{
	Suite *s = suite_create("local_redis");
	TCase *t = tcase_create("local_redis");
	tcase_add_checked_fixture(t, set_up, tear_down);
	LOOP(t, answers, exchanges);
	tcase_add_test(t, only_quit_closes);
	tcase_add_loop_test(t, every_local_row_answers, 2, 4);
	tcase_add_test(t, resp3_has_its_own_types);
	tcase_add_test(t, names_are_remembered);
	tcase_add_test(t, a_password_is_demanded);
	tcase_add_test(t, a_user_may_be_demanded);
	tcase_add_test(t, info_has_what_exporters_read);
	tcase_add_test(t, command_lists_what_works);
	LOOP(t, globs_match_as_in_redis, globs);
	tcase_add_test(t, globs_take_bounded_time);
	suite_add_tcase(s, t);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
