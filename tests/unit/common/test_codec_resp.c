/* The Redis codec: requests and replies at every split point, the table of commands, key rules,
 * parts and merges, handshakes. Texts are those of redis 7.0.15, taken from a running one. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/codec_resp.h"

static const struct codec *const resp = &codec_resp;

static const struct codec_limits limits = {
	.value_max_bytes = 1000,
	.request_max_bytes = 4000,
	.args_max = 1000,
};

/* Input in a block of exactly its size, so that the sanitizer sees a byte too many being read. */
static char *exactly(const char *p, size_t n)
{
	char *copy = malloc(n ? n : 1);
	memcpy(copy, p, n);
	return copy;
}

static void same(struct slice got, const char *want, const char *about)
{
	ck_assert_msg(slice_eq(got, slice_of(want)), "%s: got '%.*s', want '%s'", about, (int)got.n,
		      got.p ? got.p : "", want);
}

/* "GET a" -> "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"; words are split at single spaces, _ is an empty one.
 */
static void array_of(const char *line, struct scratch *out)
{
	uint32_t words = 1;
	for (const char *c = line; *c; c++) words += *c == ' ';
	scratch_clear(out);
	resp_put_head(out, '*', words);
	for (const char *c = line;;) {
		size_t n = strcspn(c, " ");
		resp_put_bulk(out, (struct slice){ c, n == 1 && *c == '_' ? 0 : n });
		if (!c[n]) break;
		c += n + 1;
	}
	scratch_put(out, "", 1);
	out->n--;
}

static struct parser parser;
static struct scratch built;

/* Parse the whole of `in`, which must outlive the use of cmd. */
static enum parse_result parse(struct slice in, const struct codec_limits *l, struct command *cmd)
{
	struct parse_resume resume = { 0 };
	size_t skip = 0;
	return resp->parse_request(&parser, l, in.p, in.n, &resume, cmd, &skip);
}

static struct command command_of(const char *line, const struct codec_limits *l)
{
	struct command cmd;
	array_of(line, &built);
	enum parse_result r = parse(scratch_slice(&built), l, &cmd);
	ck_assert_msg(r == PARSE_OK, "%s: result %d", line, r);
	ck_assert_uint_eq(cmd.consumed, built.n);
	return cmd;
}

/* --- requests at every split ------------------------------------------------------------------ */

struct request_row {
	const char *in;
	enum parse_result result;
	enum resp_id id;
	const char *head;  /* NULL: the input as it stands */
	const char *error; /* of a fatal one               */
};

#define FATAL(in, text)                                                       \
	{                                                                     \
		in, PARSE_FATAL, 0, NULL, "-ERR Protocol error: " text "\r\n" \
	}
#define AS_IS(in, id)                        \
	{                                    \
		in, PARSE_OK, id, NULL, NULL \
	}
#define LINE(in, id, head)                   \
	{                                    \
		in, PARSE_OK, id, head, NULL \
	}
#define PING_ARRAY "*1\r\n$4\r\nPING\r\n"

/* clang-format off */
static const struct request_row requests[] = {
	AS_IS("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", RESP_GET),
	AS_IS("*2\r\n$3\r\ngEt\r\n$0\r\n\r\n", RESP_GET),
	AS_IS("*2\r\n$3\r\nGET\r\n$4\r\n\r\n\r\n\r\n", RESP_GET),
	AS_IS("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\n*1\r\n$4\r\nPING\r\n", RESP_SET),
	AS_IS("*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n", RESP_MGET),
	AS_IS("*1\r\n$4\r\nPING\r\n", RESP_PING),
	AS_IS("*3\r\n$6\r\nOBJECT\r\n$8\r\nENCODING\r\n$1\r\nk\r\n", RESP_OBJECT_ENCODING),
	LINE("\r\n*1\r\n$4\r\nPING\r\n", RESP_PING, PING_ARRAY),
	LINE("\n \t\r\n*1\r\n$4\r\nPING\r\n", RESP_PING, PING_ARRAY),

	LINE("PING\r\n", RESP_PING, PING_ARRAY),
	LINE("PING\n", RESP_PING, PING_ARRAY),
	LINE("  PING  \r\n", RESP_PING, PING_ARRAY),
	LINE("\r\n\r\nPING\r\n", RESP_PING, PING_ARRAY),
	LINE("set \"a b\" 'c\\'d\\n'\r\n", RESP_SET,
	     "*3\r\n$3\r\nset\r\n$3\r\na b\r\n$5\r\nc'd\\n\r\n"),
	LINE("set \"\\x41\\n\\t\\\"\\q\\xZZ\" \"\"\r\n", RESP_SET,
	     "*3\r\n$3\r\nset\r\n$8\r\nA\n\t\"qxZZ\r\n$0\r\n\r\n"),
	LINE("get a\"b c\"\r\n", RESP_GET, "*2\r\n$3\r\nget\r\n$4\r\nab c\r\n"),
	LINE("get \"\\x0d\\x0a*1\"\r\n", RESP_GET, "*2\r\n$3\r\nget\r\n$4\r\n\r\n*1\r\n"),

	FATAL("*-1\r\n", "invalid multibulk length"),
	FATAL("*0\r\n", "invalid multibulk length"),
	FATAL("*+1\r\n$4\r\nPING\r\n", "invalid multibulk length"),
	FATAL("*01\r\n$4\r\nPING\r\n", "invalid multibulk length"),
	FATAL("*\r\n", "invalid multibulk length"),
	FATAL("*1x\r\n", "invalid multibulk length"),
	FATAL("*1\rx", "invalid multibulk length"),
	FATAL("*1\n$4\r\nPING\r\n", "invalid multibulk length"),
	FATAL("*1001\r\n", "invalid multibulk length"),
	FATAL("*99999999999", "invalid multibulk length"),
	FATAL("*1\r\n$-1\r\n", "invalid bulk length"),
	FATAL("*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
	FATAL("*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
	FATAL("*1\r\n$\r\n", "invalid bulk length"),
	FATAL("*1\r\n$4\rPING\r\n", "invalid bulk length"),
	FATAL("*1\r\n$1001\r\n", "invalid bulk length"),
	FATAL("*1\r\n$512000000\r\n", "invalid bulk length"),
	FATAL("*1\r\n$99999999999", "invalid bulk length"),
	FATAL("*1\r\n$4\r\nPINGX\r\n", "expected CRLF after bulk"),
	FATAL("*1\r\n$4\r\nPING\rX", "expected CRLF after bulk"),
	FATAL("*1\r\n$4\r\nPING\n\n", "expected CRLF after bulk"),
	FATAL("*1\r\n:4\r\n", "expected '$', got ':'"),
	FATAL("*1\r\nPING\r\n", "expected '$', got 'P'"),
	FATAL("*1\r\n\r\n", "expected '$', got ' '"),
	FATAL("\"a\r\n", "unbalanced quotes in request"),
	FATAL("get \"a\"b\r\n", "unbalanced quotes in request"),
	FATAL("get 'a\r\n", "unbalanced quotes in request"),
	FATAL("get \"a\\\"\r\n", "unbalanced quotes in request"),
	FATAL("GET / HTTP/1.1\r\n", "this is not HTTP"),
	FATAL("POST / HTTP/1.1\r\n", "this is not HTTP"),
	FATAL("post x\r\n", "this is not HTTP"),
	FATAL("Host: x\r\n", "this is not HTTP"),
	FATAL("\x80\x01", "this is not RESP"),
	FATAL("\x16\x03\x01", "this is not RESP"),
};
/* clang-format on */

static void check_request(const struct request_row *row, const struct command *cmd, size_t n)
{
	if (row->result == PARSE_FATAL) {
		same(cmd->error, row->error, row->in);
		return;
	}
	ck_assert_msg(cmd->info->id == row->id, "%s: op %s", row->in, cmd->info->name);
	ck_assert_uint_eq(cmd->consumed, n);
	ck_assert_uint_eq(cmd->body.n, 0);
	same(cmd->head, row->head ? row->head : row->in, row->in);
}

START_TEST(request_at_every_split)
{
	const struct request_row *row = &requests[_i];
	size_t n = strlen(row->in), skip;
	for (size_t cut = 0; cut <= n; cut++) {
		struct parse_resume resume = { 0 };
		struct command cmd;
		char *part = exactly(row->in, cut), *all = exactly(row->in, n);
		enum parse_result r =
		    resp->parse_request(&parser, &limits, part, cut, &resume, &cmd, &skip);
		if (r == PARSE_NEED) {
			ck_assert_msg(resume.need <= n || row->result == PARSE_FATAL,
				      "%s cut at %zu: needs %zu", row->in, cut, resume.need);
			r = resp->parse_request(&parser, &limits, all, n, &resume, &cmd, &skip);
		} else {
			ck_assert_msg(r == PARSE_FATAL || cut == n, "%s: done at %zu", row->in,
				      cut);
		}
		ck_assert_msg(r == row->result, "%s cut at %zu: result %d", row->in, cut, r);
		check_request(row, &cmd, n);
		free(part);
		free(all);
	}
}
END_TEST

START_TEST(request_byte_by_byte)
{
	const struct request_row *row = &requests[_i];
	size_t n = strlen(row->in), skip;
	struct parse_resume resume = { 0 };
	struct command cmd;
	for (size_t have = 0; have <= n; have++) {
		char *part = exactly(row->in, have);
		enum parse_result r =
		    resp->parse_request(&parser, &limits, part, have, &resume, &cmd, &skip);
		if (r != PARSE_NEED) {
			ck_assert_int_eq(r, row->result);
			check_request(row, &cmd, n);
			free(part);
			return;
		}
		free(part);
	}
	ck_abort_msg("%s: never done", row->in);
}
END_TEST

START_TEST(request_in_a_pipeline)
{
	struct slice in = SLICE("*1\r\n$4\r\nPING\r\nget b\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1");
	static const enum resp_id want[] = { RESP_PING, RESP_GET, RESP_GET };
	for (size_t i = 0; i < 3; i++) {
		struct command cmd;
		ck_assert_int_eq(parse(in, &limits, &cmd), PARSE_OK);
		ck_assert_uint_eq(cmd.info->id, want[i]);
		in = (struct slice){ in.p + cmd.consumed, in.n - cmd.consumed };
	}
	struct command cmd;
	ck_assert_int_eq(parse(in, &limits, &cmd), PARSE_NEED);
}
END_TEST

START_TEST(request_says_what_it_needs)
{
	struct parse_resume resume = { 0 };
	struct command cmd;
	size_t skip;
	struct slice in = SLICE("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900\r\nxxx");
	enum parse_result r =
	    resp->parse_request(&parser, &limits, in.p, in.n, &resume, &cmd, &skip);
	ck_assert_int_eq(r, PARSE_NEED);
	ck_assert_uint_eq(resume.need, in.n - 3 + 900 + 2);
}
END_TEST

START_TEST(request_limits)
{
	struct command cmd;
	scratch_clear(&built);
	resp_put_head(&built, '*', 6);
	resp_put_bulk(&built, SLICE("MGET"));
	static char value[1000];
	for (int i = 0; i < 5; i++) resp_put_bulk(&built, (struct slice){ value, 1000 });
	ck_assert_int_eq(parse(scratch_slice(&built), &limits, &cmd), PARSE_FATAL);
	same(cmd.error, "-ERR Protocol error: request too large\r\n", "request_max");

	char *line = malloc(70000);
	memset(line, 'x', 70000);
	ck_assert_int_eq(parse((struct slice){ line, 65535 }, &limits, &cmd), PARSE_NEED);
	ck_assert_int_eq(parse((struct slice){ line, 65536 }, &limits, &cmd), PARSE_FATAL);
	same(cmd.error, "-ERR Protocol error: too big inline request\r\n", "inline");
	memset(line, '\n', 70000);
	ck_assert_int_eq(parse((struct slice){ line, 70000 }, &limits, &cmd), PARSE_FATAL);
	/* a word a byte: what the buffer for the array must hold at worst */
	for (int i = 0; i < 2000; i += 2) memcpy(line + i, "x ", 2);
	line[1999] = '\n';
	ck_assert_int_eq(parse((struct slice){ line, 2000 }, &limits, &cmd), PARSE_OK);
	ck_assert_uint_eq(cmd.argc, 1000);
	free(line);
}
END_TEST

/* Arguments by the hundred thousand, a few bytes at a time: each byte is looked at a bounded
 * number of times, or this would take hours. */
START_TEST(request_of_many_arguments)
{
	enum { KEYS = 100000 };
	struct codec_limits wide = { .value_max_bytes = 1 << 20,
				     .request_max_bytes = 1 << 24,
				     .args_max = 1 << 20 };
	scratch_clear(&built);
	resp_put_head(&built, '*', 1 + KEYS);
	resp_put_bulk(&built, SLICE("DEL"));
	for (int i = 0; i < KEYS; i++) resp_put_bulk(&built, SLICE("key"));
	struct parse_resume resume = { 0 };
	struct command cmd;
	size_t skip;
	enum parse_result r = PARSE_NEED;
	for (size_t have = 0; r == PARSE_NEED; have += 7) {
		size_t n = have < built.n ? have : built.n;
		r = resp->parse_request(&parser, &wide, built.p, n, &resume, &cmd, &skip);
	}
	ck_assert_int_eq(r, PARSE_OK);
	ck_assert_uint_eq(cmd.key_count, KEYS);
	same(command_key(&cmd, KEYS - 1), "key", "last key");
	/* announced but not there: no memory for it */
	parser_fini(&parser);
	ck_assert_int_eq(parse(SLICE("*1000000\r\n$1\r\n"), &wide, &cmd), PARSE_NEED);
	ck_assert_uint_le(parser.argv_cap, 16);
}
END_TEST

/* --- keys ------------------------------------------------------------------------------------- */

struct key_row {
	const char *line;
	enum op_route route;
	const char *keys; /* joined by spaces, as the line has them; "_" is an empty one */
};

static const struct key_row key_rows[] = {
	{ "GET a", OP_KEY, "a" },
	{ "GET _", OP_KEY, "_" },
	{ "SET a b EX 10 NX", OP_KEY, "a" },
	{ "EXPIRE a 10 NX", OP_KEY, "a" },
	{ "MGET a b a", OP_SPLIT, "a b a" },
	{ "DEL a", OP_SPLIT, "a" },
	{ "UNLINK a b", OP_SPLIT, "a b" },
	{ "TOUCH a b", OP_SPLIT, "a b" },
	{ "EXISTS a a", OP_SPLIT, "a a" },
	{ "MSET a 1 b 2", OP_SPLIT, "a b" },
	{ "MSETNX a 1 b 2", OP_SAME, "a b" },
	{ "BITOP AND d a b", OP_SAME, "d a b" },
	{ "RENAME a b", OP_SAME, "a b" },
	{ "SINTERSTORE d a b", OP_SAME, "d a b" },
	{ "SMOVE a b m", OP_SAME, "a b" },
	{ "LMOVE a b LEFT RIGHT", OP_SAME, "a b" },
	{ "PFCOUNT a b", OP_SAME, "a b" },
	{ "COPY a b REPLACE", OP_SAME, "a b" },
	{ "EVAL x 2 a b arg", OP_SAME, "a b" },
	{ "EVALSHA x 1 a", OP_SAME, "a" },
	{ "FCALL f 1 a x", OP_SAME, "a" },
	{ "ZUNION 2 a b WITHSCORES", OP_SAME, "a b" },
	{ "ZUNIONSTORE d 2 a b WEIGHTS 1 2", OP_SAME, "d a b" },
	{ "ZDIFFSTORE d 1 a", OP_SAME, "d a" },
	{ "SINTERCARD 2 a b LIMIT 3", OP_SAME, "a b" },
	{ "ZINTERCARD 2 a b", OP_SAME, "a b" },
	{ "LMPOP 2 a b LEFT", OP_SAME, "a b" },
	{ "ZMPOP 1 a MIN COUNT 2", OP_SAME, "a" },
	{ "SORT a", OP_SAME, "a" },
	{ "SORT a BY nosort GET # LIMIT 0 5 STORE d", OP_SAME, "a d" },
	{ "SORT a STORE x STORE d ALPHA", OP_SAME, "a d" },
	{ "SORT_RO a DESC", OP_SAME, "a" },
	{ "GEORADIUS a 1 2 3 m", OP_SAME, "a" },
	{ "GEORADIUS a 1 2 3 m COUNT 3 ANY STORE d", OP_SAME, "a d" },
	{ "GEORADIUSBYMEMBER a m 3 km WITHDIST STOREDIST d", OP_SAME, "a d" },
	{ "GEORADIUSBYMEMBER_RO a m 3 km", OP_KEY, "a" },
	{ "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m", OP_SAME, "d a" },
	{ "ZRANGESTORE d a 0 1", OP_SAME, "d a" },
	{ "XREAD COUNT 2 STREAMS a b 0 0", OP_SAME, "a b" },
	{ "XREADGROUP GROUP streams c NOACK STREAMS a >", OP_SAME, "a" },
	{ "XADD a * f v", OP_KEY, "a" },
	{ "XGROUP CREATE a g $", OP_KEY, "a" },
	{ "XINFO stream a", OP_KEY, "a" },
	{ "OBJECT freq a", OP_KEY, "a" },
	{ "OBJECT HELP", OP_KEY, "" },
	{ "MEMORY USAGE a SAMPLES 0", OP_KEY, "a" },
	{ "DBSIZE", OP_ALL, "" },
	{ "SCRIPT LOAD x", OP_ALL, "" },
	{ "SCRIPT EXISTS x y", OP_ALL, "" },
	{ "FLUSHALL", OP_ALL, "" },
	{ "FLUSHDB ASYNC", OP_ALL, "" },
	{ "PING", OP_LOCAL, "" },
	{ "HELLO 3 AUTH u p SETNAME x", OP_LOCAL, "" },
	{ "CLIENT SETINFO LIB-NAME x", OP_LOCAL, "" },
	{ "COMMAND", OP_LOCAL, "" },
	{ "command DOCS get", OP_LOCAL, "" },
	{ "CONFIG GET save", OP_LOCAL, "" },
	{ "CLUSTER INFO", OP_LOCAL, "" },
};

START_TEST(keys_are_found)
{
	const struct key_row *row = &key_rows[_i];
	struct codec_limits flush = limits;
	flush.allow_flush = true;
	struct command cmd = command_of(row->line, &flush);
	ck_assert_msg(cmd.info->route == row->route, "%s: route %d (%.*s)", row->line,
		      cmd.info->route, (int)cmd.error.n, cmd.error.p ? cmd.error.p : "");
	struct scratch got = { 0 };
	for (uint32_t i = 0; i < cmd.key_count; i++) {
		struct slice key = command_key(&cmd, i);
		scratch_puts(&got, key.n ? key : SLICE("_"));
		if (i + 1 < cmd.key_count) scratch_put(&got, " ", 1);
	}
	same(scratch_slice(&got), row->keys, row->line);
	if (cmd.key_count) ck_assert(slice_eq(cmd.key, command_key(&cmd, 0)));
	scratch_fini(&got);
}
END_TEST

/* --- refusals --------------------------------------------------------------------------------- */

struct refusal_row {
	const char *line, *error;
};

#define ARITY(name)	     "-ERR wrong number of arguments for '" name "' command\r\n"
#define NO(what, why)	     "-ERR " what " is not supported by this proxy: " why "\r\n"
#define OWN_CONNECTION(what) NO(what, "a transaction needs a server connection of its own")
#define BLOCKS(what)	     NO(what, "it could block a server connection that clients share")
#define PUBSUBS(what)	     NO(what, "publish/subscribe needs a server connection of its own")
#define ALL_KEYS(what)	     NO(what, "it needs the keys of all servers")
#define DIRECTLY(what)	     NO(what, "servers are administered directly")
#define ELSEWHERE(what)	     NO(what, "the pattern's keys may live on other servers")
#define UNBALANCED                                                                         \
	"-ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be " \
	"specified.\r\n"
#define NOT_INTEGER "-ERR value is not an integer or out of range\r\n"
#define SYNTAX	    "-ERR syntax error\r\n"
#define POSITIVE    "-ERR numkeys should be greater than 0\r\n"

static const struct refusal_row refusals[] = {
	{ "GET", ARITY("get") },
	{ "GET a b", ARITY("get") },
	{ "mset a", ARITY("mset") },
	{ "MSET a b c", ARITY("mset") },
	{ "MSETNX a b c", ARITY("msetnx") },
	{ "OBJECT", ARITY("object") },
	{ "OBJECT encoding", ARITY("object|encoding") },
	{ "OBJECT foo", "-ERR unknown subcommand 'foo'. Try OBJECT HELP.\r\n" },
	{ "FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n" },
	{ "foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n" },
	{ "object|encoding a",
	  "-ERR unknown command 'object|encoding', with args beginning with: 'a' \r\n" },
	{ "_ a", "-ERR unknown command '', with args beginning with: 'a' \r\n" },
	{ "MULTI", OWN_CONNECTION("'multi'") },
	{ "EXEC", OWN_CONNECTION("'exec'") },
	{ "DISCARD", OWN_CONNECTION("'discard'") },
	{ "WATCH a", OWN_CONNECTION("'watch'") },
	{ "UNWATCH", OWN_CONNECTION("'unwatch'") },
	{ "BLPOP a 0", BLOCKS("'blpop'") },
	{ "BLMPOP 0 1 a LEFT", BLOCKS("'blmpop'") },
	{ "BZPOPMIN a 0", BLOCKS("'bzpopmin'") },
	{ "WAIT 1 0", BLOCKS("'wait'") },
	{ "XREAD BLOCK 0 STREAMS a $", BLOCKS("'xread' with BLOCK") },
	{ "XREADGROUP GROUP g c BLOCK 0 STREAMS a >", BLOCKS("'xreadgroup' with BLOCK") },
	{ "SUBSCRIBE a", PUBSUBS("'subscribe'") },
	{ "PUBLISH a b", PUBSUBS("'publish'") },
	{ "KEYS *", ALL_KEYS("'keys'") },
	{ "SCAN 0", ALL_KEYS("'scan'") },
	{ "RANDOMKEY", ALL_KEYS("'randomkey'") },
	{ "CONFIG SET a b", DIRECTLY("'config set'") },
	{ "SHUTDOWN", DIRECTLY("'shutdown'") },
	{ "DEBUG SLEEP 1", DIRECTLY("'debug'") },
	{ "ACL LIST", DIRECTLY("'acl'") },
	{ "CLIENT KILL a", DIRECTLY("'client kill'") },
	{ "MONITOR", DIRECTLY("'monitor'") },
	{ "MIGRATE h 1 k 0 1", DIRECTLY("'migrate'") },
	{ "SLAVEOF NO ONE", NO("'slaveof'", "it belongs between servers") },
	{ "MOVE a 1", NO("'move'", "a pool is one database") },
	{ "COPY a b DB 3", NO("'copy' with DB", "a pool is one database") },
	{ "MEMORY DOCTOR", NO("'memory doctor'", "the answer would be that of one server only") },
	{ "FLUSHALL", NO("'flushall'", "allow_flush is off for this pool") },
	{ "FLUSHDB ASYNC", NO("'flushdb'", "allow_flush is off for this pool") },
	{ "FLUSHALL x", SYNTAX },
	{ "SORT a BY w_*", ELSEWHERE("'sort' with BY") },
	{ "SORT a GET x", ELSEWHERE("'sort' with GET") },
	{ "SORT a STORE", SYNTAX },
	{ "SORT_RO a STORE b", SYNTAX },
	{ "SORT a x", SYNTAX },
	{ "GEORADIUS k 1 1 1 m STORE", SYNTAX },
	{ "EVAL x a", NOT_INTEGER },
	{ "EVAL x 01 a", NOT_INTEGER },
	{ "EVAL x +1 a", NOT_INTEGER },
	{ "EVAL x 99999999999999999999 a", NOT_INTEGER },
	{ "EVAL x -1", "-ERR Number of keys can't be negative\r\n" },
	{ "EVAL x 3 a", "-ERR Number of keys can't be greater than number of args\r\n" },
	{ "EVAL x 0 a", NO("'eval' without keys", "keys tell which server runs it") },
	{ "ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command\r\n" },
	{ "ZUNION -1 a", "-ERR at least 1 input key is needed for 'zunion' command\r\n" },
	{ "ZUNION x a", NOT_INTEGER },
	{ "ZUNION 3 a", SYNTAX },
	{ "ZUNIONSTORE d 3 a", SYNTAX },
	{ "SINTERCARD 0 a", POSITIVE },
	{ "SINTERCARD x a", POSITIVE },
	{ "SINTERCARD 3 a", "-ERR Number of keys can't be greater than number of args\r\n" },
	{ "LMPOP 0 a LEFT", POSITIVE },
	{ "LMPOP 3 a LEFT", SYNTAX },
	{ "XREAD STREAMS a b c", UNBALANCED },
	{ "XREAD COUNT 1 foo a b c", SYNTAX },
	{ "XREAD COUNT 1 STREAMS", SYNTAX },
	{ "XREAD GROUP g c STREAMS a 0", SYNTAX },
	{ "XREADGROUP COUNT 1 STREAMS a b c d", "-ERR Missing GROUP option for XREADGROUP\r\n" },
};

START_TEST(refused_with_a_reason)
{
	const struct refusal_row *row = &refusals[_i];
	struct command cmd = command_of(row->line, &limits);
	ck_assert_msg(cmd.info->route == OP_REFUSED, "%s: route %d", row->line, cmd.info->route);
	same(cmd.error, row->error, row->line);
}
END_TEST

START_TEST(unknown_command_is_quoted_safely)
{
	struct command cmd;
	struct slice in = SLICE("*3\r\n$3\r\nf\no\r\n$4\r\na\r\nb\r\n$3\r\nc\0d\r\n");
	ck_assert_int_eq(parse(in, &limits, &cmd), PARSE_OK);
	same(cmd.error, "-ERR unknown command 'f o', with args beginning with: 'a  b' 'c' \r\n",
	     "line ends");
	char line[600];
	memset(line, 'y', sizeof(line));
	memcpy(line, "foo ", 4);
	for (int i = 64; i < 500; i += 61) line[i] = ' ';
	line[500] = 0;
	cmd = command_of(line, &limits);
	/* 60 bytes, 60 bytes, and of the third as much as fits: never 128 in all */
	ck_assert_uint_eq(cmd.error.n, strlen("-ERR unknown command 'foo', with args beginning "
					      "with: ") +
					   63 + 63 + 5 + 2);
}
END_TEST

START_TEST(held_reads)
{
	struct scratch out = { 0 };
	struct slice keys[] = { SLICE("a"), SLICE("b") };
	resp_put_held(&out, keys, 2, SLICE("*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n"));
	same(scratch_slice(&out),
	     "*1\r\n$5\r\nMULTI\r\n*3\r\n$6\r\nEXISTS\r\n$1\r\na\r\n$1\r\nb\r\n"
	     "*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n",
	     "request");
	scratch_fini(&out);
	struct resp_held held = resp_read_held(
	    SLICE("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:2\r\n*2\r\n$1\r\nx\r\n$-1\r\n"));
	ck_assert_int_eq(held.present, 2);
	same(held.value, "*2\r\n$1\r\nx\r\n$-1\r\n", "value");
	held = resp_read_held(SLICE("+OK\r\n+QUEUED\r\n-ERR what\r\n-EXECABORT no\r\n"));
	ck_assert_int_eq(held.present, -1);
	same(held.value, "-ERR what\r\n", "refusal");
	held = resp_read_held(SLICE("-NOPERM no\r\n:1\r\n$1\r\nv\r\n-ERR EXEC without\r\n"));
	ck_assert_int_eq(held.present, -1);
	same(held.value, "-NOPERM no\r\n", "refusal");
}
END_TEST

/* --- the table -------------------------------------------------------------------------------- */

START_TEST(every_verb_is_found)
{
	for (uint32_t i = 0; i < resp->op_count; i++) {
		const struct op_info *info = resp->op(i);
		const struct resp_command *row = resp_command_of(info);
		ck_assert_uint_eq(info->id, i);
		ck_assert_msg(row->op.name && row->arity, "row %u is empty", i);
		char verb[32];
		snprintf(verb, sizeof(verb), "%s", info->name);
		for (char *c = verb; *c; c++) *c &= *c >= 'a' && *c <= 'z' ? 0x5f : 0x7f;
		const struct resp_command *found = resp_command_find(slice_of(verb));
		if (i < RESP_FROM_end) ck_assert_msg(found == row, "%s", verb);
		else ck_assert_msg(!found, "%s must not be a verb", verb);
		char *bar = strchr(verb, '|');
		if (!bar) continue;
		*bar = 0;
		const struct resp_command *family = resp_command_find(slice_of(verb));
		ck_assert_msg(family && family->flags & RESP_CONTAINER, "%s", verb);
		ck_assert_ptr_eq(resp_subcommand_find(family, slice_of(bar + 1)), row);
	}
	static const char *const none[] = { "ge",	  "gett", "geu",     "g\x45tx",
					    "",		  "1",	  "sortyro", "EVAL\x7fRO",
					    "bitfield_r", "zzz",  "unknown" };
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_msg(!resp_command_find(slice_of(none[i])), "%s", none[i]);
	ck_assert(!resp_command_find(SLICE("get\0")));
}
END_TEST

/* A verb of late is no other verb, though it has a place in common with it or looks like it. */
START_TEST(verbs_are_recalled)
{
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < RESP_FROM_end; i++) {
			const struct resp_command *row = resp_command_at(i);
			ck_assert_ptr_eq(resp_command_recall(&parser, slice_of(row->op.name)), row);
		}
		struct slice get = SLICE("GET\0\0\0\0\0");
		for (size_t n = 0; n <= get.n; n++) {
			const struct resp_command *row =
			    resp_command_recall(&parser, (struct slice){ get.p, n });
			ck_assert_ptr_eq(row, n == 3 ? resp_command_at(RESP_GET) : NULL);
		}
	}
}
END_TEST

START_TEST(rows_make_sense)
{
	for (uint32_t i = 0; i < resp->op_count; i++) {
		const struct resp_command *row = resp_command_at(i);
		bool split = row->op.route == OP_SPLIT, all = row->op.route == OP_ALL;
		ck_assert_msg((row->op.merge != MERGE_NONE) == (split || all), "%s merge",
			      row->op.name);
		ck_assert_msg(row->miss == MISS_NO || row->op.access == OP_READ, "%s miss",
			      row->op.name);
		ck_assert_msg((row->op.route == OP_LOCAL) == (row->op.local != LOCAL_NONE),
			      "%s local", row->op.name);
		bool family = row->flags & RESP_CONTAINER;
		ck_assert_msg((row->op.route == OP_REFUSED) == (row->why != WHY_NONE), "%s why",
			      row->op.name);
		ck_assert_msg(!family || row->arity < 0, "%s", row->op.name);
		if (row->op.route == OP_SAME || split)
			ck_assert_msg(row->rule != RULE_NONE, "%s rule", row->op.name);
	}
}
END_TEST

/* --- replies ---------------------------------------------------------------------------------- */

struct reply_row {
	enum resp_id id;
	const char *in;
	enum parse_result result;
	enum reply_kind kind;
	uint32_t hits;
	bool unhealthy;
};

#define HIT(id, in, hits)                                \
	{                                                \
		id, in, PARSE_OK, REPLY_HIT, hits, false \
	}
#define MISS(id, in)                                   \
	{                                              \
		id, in, PARSE_OK, REPLY_MISS, 0, false \
	}
#define ERROR(id, in)                                   \
	{                                               \
		id, in, PARSE_OK, REPLY_ERROR, 0, false \
	}
#define SICK(id, in)                                   \
	{                                              \
		id, in, PARSE_OK, REPLY_ERROR, 0, true \
	}
#define BAD(id, in)                              \
	{                                        \
		id, in, PARSE_FATAL, 0, 0, false \
	}
#define ANYOF(in) HIT(RESP_EVAL, in, 0)

/* clang-format off */
static const struct reply_row replies[] = {
	HIT(RESP_GET, "$3\r\nabc\r\n", 1),
	HIT(RESP_GET, "$0\r\n\r\n", 1),
	HIT(RESP_GET, "$4\r\n\r\n\r\n\r\n", 1),
	HIT(RESP_GET, "=7\r\ntxt:abc\r\n", 1),
	MISS(RESP_GET, "$-1\r\n"),
	MISS(RESP_GET, "_\r\n"),
	MISS(RESP_GET, "*-1\r\n"),
	ERROR(RESP_GET, "-WRONGTYPE Operation against\r\n"),
	ERROR(RESP_GET, "!5\r\nERR x\r\n"),
	SICK(RESP_GET, "-LOADING Redis is loading the dataset in memory\r\n"),
	SICK(RESP_SET, "-READONLY You can't write against a read only replica.\r\n"),
	SICK(RESP_SET, "-MISCONF Redis is configured to\r\n"),
	SICK(RESP_GET, "-CLUSTERDOWN Hash slot not served\r\n"),
	SICK(RESP_GET, "-MASTERDOWN Link with MASTER is down\r\n"),
	SICK(RESP_GET, "-NOAUTH Authentication required.\r\n"),
	SICK(RESP_GET, "!21\r\nLOADING Redis is load\r\n"),
	SICK(RESP_PING, "-ERR max number of clients reached\r\n"),
	ERROR(RESP_GET, "-LOADINGS\r\n"),
	HIT(RESP_SET, "+OK\r\n", 0),
	HIT(RESP_SET, "$3\r\nold\r\n", 0),
	MISS(RESP_SET, "$-1\r\n"),
	HIT(RESP_INCR, ":-9223372036854775808\r\n", 0),
	HIT(RESP_INCR, ":0\r\n", 0),
	HIT(RESP_DEL, ":2\r\n", 0),
	MISS(RESP_DEL, ":0\r\n"),
	HIT(RESP_EXISTS, ":3\r\n", 3),
	MISS(RESP_EXISTS, ":0\r\n"),
	MISS(RESP_STRLEN, ":0\r\n"),
	HIT(RESP_TTL, ":-1\r\n", 1),
	MISS(RESP_TTL, ":-2\r\n"),
	MISS(RESP_TYPE, "+none\r\n"),
	HIT(RESP_MGET, "*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n", 2),
	HIT(RESP_MGET, "*3\r\n$1\r\na\r\n_\r\n$2\r\nbc\r\n", 2),
	HIT(RESP_MGET, "|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n*1\r\n$1\r\nx\r\n", 1),
	MISS(RESP_MGET, "*1\r\n$-1\r\n"),
	MISS(RESP_HGETALL, "*0\r\n"),
	MISS(RESP_HGETALL, "%0\r\n"),
	HIT(RESP_HGETALL, "%1\r\n$1\r\na\r\n$1\r\nb\r\n", 1),
	HIT(RESP_SMEMBERS, "~2\r\n$1\r\na\r\n$1\r\nb\r\n", 1),
	HIT(RESP_ZSCORE, ",1.5\r\n", 1),
	HIT(RESP_ZSCORE, ",-inf\r\n", 1),
	HIT(RESP_ZSCORE, "|1\r\n+ttl\r\n:3600\r\n,1e10\r\n", 1),
	HIT(RESP_PING, "+PONG\r\n", 0),
	ERROR(RESP_PING, "-ERR x\r\n"),
	ANYOF("(3492890328409238509324850943850943825024385\r\n"),
	ANYOF("#t\r\n"), ANYOF("#f\r\n"),
	ANYOF("*2\r\n*1\r\n*1\r\n:1\r\n-ERR nested\r\n"),
	ANYOF("*2\r\n|1\r\n+k\r\n+v\r\n:1\r\n*0\r\n"),
	ANYOF("%2\r\n+a\r\n*0\r\n+b\r\n%0\r\n"),
	ANYOF("|0\r\n|1\r\n+a\r\n|1\r\n+x\r\n+y\r\n+b\r\n+c\r\n"),
	ANYOF("+\r\n"),
	MISS(RESP_EVAL, "*-1\r\n"),
	HIT(RESP_HELLO, "%1\r\n$5\r\nproto\r\n:3\r\n", 0),

	BAD(RESP_INCR, "+OK\r\n"), BAD(RESP_DEL, "+OK\r\n"), BAD(RESP_MGET, "+OK\r\n"),
	BAD(RESP_GET, "+OK\r\n"), BAD(RESP_GET, ":1\r\n"), BAD(RESP_GET, "*1\r\n$1\r\na\r\n"),
	BAD(RESP_INCR, "$1\r\n1\r\n"), BAD(RESP_MSET, ":1\r\n"), BAD(RESP_MGET, "$-1\r\n"),
	HIT(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\nv\r\n", 0),
	HIT(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n%1\r\n+k\r\n,1.5\r\n", 0),
	HIT(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n-WRONGTYPE no\r\n", 0),
	ERROR(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n-ERR unknown command\r\n-EXECABORT no\r\n"),
	ERROR(RESP_HELD_READ, "+OK\r\n-LOADING no\r\n-LOADING no\r\n-EXECABORT no\r\n"),
	ERROR(RESP_HELD_READ, "-NOPERM no\r\n:1\r\n$1\r\nv\r\n-ERR EXEC without MULTI\r\n"),
	ERROR(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n+QUEUED\r\n-EXECABORT no\r\n"),
	BAD(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n:1\r\n:1\r\n"),
	BAD(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+1\r\n:1\r\n"),
	BAD(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n:1\r\n*2\r\n:1\r\n:1\r\n"),
	BAD(RESP_HELD_READ, "+OK\r\n-ERR no\r\n+QUEUED\r\n*2\r\n:1\r\n:1\r\n"),
	BAD(RESP_HELD_READ, "+OK\r\n+QUEUED\r\n+QUEUED\r\n$-1\r\n"),
	MISS(RESP_SETNAME, "-NOPERM no\r\n"), HIT(RESP_SETNAME, "+OK\r\n", 0),
	BAD(RESP_SETNAME, ":1\r\n"),
	BAD(RESP_PING, "+OK\r\n"), BAD(RESP_PING, "$4\r\nPONG\r\n"),
	BAD(RESP_GET, ">3\r\n"), BAD(RESP_EVAL, "*1\r\n>1\r\n+a\r\n"),
	BAD(RESP_GET, "$03\r\nabc\r\n"), BAD(RESP_GET, "$+3\r\nabc\r\n"), BAD(RESP_GET, "$-2\r\n"),
	BAD(RESP_GET, "$-0\r\n"), BAD(RESP_GET, "$-\r\n"), BAD(RESP_GET, "$-11\r\n"),
	BAD(RESP_GET, "$\r\n"), BAD(RESP_GET, "$3x\r\n"), BAD(RESP_GET, "$3\rx"),
	BAD(RESP_GET, "$3\nabc\r\n"), BAD(RESP_GET, "$3\r\nabcd\r\n"), BAD(RESP_GET, "$3\r\nabc\n\n"),
	BAD(RESP_GET, "$3\r\nabc\rx"), BAD(RESP_GET, "$99999999999"), BAD(RESP_GET, "$2147483648\r\n"),
	BAD(RESP_GET, "$?\r\n"), BAD(RESP_EVAL, "*?\r\n"), BAD(RESP_EVAL, "%-1\r\n"),
	BAD(RESP_EVAL, "~-1\r\n"), BAD(RESP_EVAL, "=-1\r\n"), BAD(RESP_EVAL, "!-1\r\n"),
	BAD(RESP_EVAL, "=3\r\ntxt\r\n"), BAD(RESP_EVAL, "=4\r\ntxt;\r\n"),
	BAD(RESP_EVAL, ":\r\n"), BAD(RESP_EVAL, ":+1\r\n"), BAD(RESP_EVAL, ":01\r\n"),
	BAD(RESP_EVAL, ":1x\r\n"), BAD(RESP_EVAL, ":12345678901234567890\r\n"),
	BAD(RESP_EVAL, "_x\r\n"), BAD(RESP_EVAL, "#x\r\n"), BAD(RESP_EVAL, "#\r\n"),
	BAD(RESP_EVAL, ",\r\n"), BAD(RESP_EVAL, ",1;2\r\n"), BAD(RESP_EVAL, "(\r\n"),
	BAD(RESP_EVAL, "(1.5\r\n"), BAD(RESP_EVAL, "+a\nb\r\n"), BAD(RESP_EVAL, "+a\rb\r\n"),
	BAD(RESP_EVAL, "HTTP/1.1 200 OK\r\n"), BAD(RESP_EVAL, "\r\n"), BAD(RESP_EVAL, "END\r\n"),
};
/* clang-format on */

static void check_reply(const struct reply_row *row, const struct reply *reply, size_t n)
{
	if (row->result != PARSE_OK) return;
	ck_assert_uint_eq(reply->n, n);
	ck_assert_msg(reply->kind == row->kind, "%s: kind %d", row->in, reply->kind);
	ck_assert_msg(reply->hits == row->hits, "%s: hits %u", row->in, reply->hits);
	ck_assert_msg(reply->unhealthy == row->unhealthy, "%s: unhealthy", row->in);
	ck_assert(!reply->close);
}

START_TEST(reply_at_every_split)
{
	const struct reply_row *row = &replies[_i];
	const struct op_info *info = resp->op(row->id);
	size_t n = strlen(row->in);
	for (size_t cut = 0; cut <= n; cut++) {
		struct reply_resume resume = { 0 };
		struct reply reply;
		/* more behind it, as in a pipeline */
		char *part = exactly(row->in, cut), *all = exactly(row->in, n + 1);
		enum parse_result r =
		    resp->parse_reply(info, (struct slice){ 0 }, part, cut, &resume, &reply);
		if (r == PARSE_NEED) {
			ck_assert_msg(resume.base.need <= n || row->result == PARSE_FATAL,
				      "%s needs %zu", row->in, resume.base.need);
			r = resp->parse_reply(info, (struct slice){ 0 }, all, n, &resume, &reply);
		} else if (r == PARSE_OK) {
			ck_assert_msg(cut == n, "%s done at %zu", row->in, cut);
		}
		ck_assert_msg(r == row->result, "%s cut at %zu: result %d", row->in, cut, r);
		check_reply(row, &reply, n);
		free(part);
		free(all);
	}
}
END_TEST

START_TEST(reply_byte_by_byte)
{
	const struct reply_row *row = &replies[_i];
	size_t n = strlen(row->in);
	struct reply_resume resume = { 0 };
	struct reply reply;
	enum parse_result r = PARSE_NEED;
	for (size_t have = 0; have <= n && r == PARSE_NEED; have++) {
		char *part = exactly(row->in, have);
		r = resp->parse_reply(resp->op(row->id), (struct slice){ 0 }, part, have, &resume,
				      &reply);
		free(part);
	}
	ck_assert_msg(r == row->result, "%s: result %d", row->in, r);
	check_reply(row, &reply, n);
}
END_TEST

static enum parse_result parse_reply(enum resp_id id, struct slice sent, struct slice in,
				     struct reply_resume *resume, struct reply *reply)
{
	*resume = (struct reply_resume){ 0 };
	return resp->parse_reply(resp->op(id), sent, in.p, in.n, resume, reply);
}

START_TEST(reply_depth_is_bounded)
{
	enum { DEEP = 100000 };
	struct scratch in = { 0 };
	struct reply_resume resume;
	struct reply reply;
	for (int i = 0; i < DEEP; i++) scratch_put(&in, "*1\r\n", 4);
	ck_assert_int_eq(parse_reply(RESP_EVAL, SLICE(""), scratch_slice(&in), &resume, &reply),
			 PARSE_FATAL);
	scratch_clear(&in);
	for (int i = 0; i < REPLY_DEPTH_MAX - 1; i++) scratch_put(&in, "*1\r\n", 4);
	scratch_put(&in, ":1\r\n", 4);
	ck_assert_int_eq(parse_reply(RESP_EVAL, SLICE(""), scratch_slice(&in), &resume, &reply),
			 PARSE_OK);
	scratch_fini(&in);
}
END_TEST

START_TEST(reply_says_what_it_needs)
{
	struct reply_resume resume;
	struct reply reply;
	struct slice in = SLICE("*2\r\n$1\r\na\r\n$1000000\r\nxx");
	ck_assert_int_eq(parse_reply(RESP_MGET, SLICE(""), in, &resume, &reply), PARSE_NEED);
	ck_assert_uint_eq(resume.base.need, in.n - 2 + 1000000 + 2);
	ck_assert_uint_eq(resume.base.at, in.n - 2 - 10);
}
END_TEST

START_TEST(reply_must_fit_what_was_sent)
{
	struct reply_resume resume;
	struct reply reply;
	struct slice sent = SLICE("*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n");
	ck_assert_int_eq(
	    parse_reply(RESP_MGET, sent, SLICE("*2\r\n$-1\r\n$-1\r\n"), &resume, &reply), PARSE_OK);
	ck_assert_int_eq(parse_reply(RESP_MGET, sent, SLICE("*1\r\n$-1\r\n"), &resume, &reply),
			 PARSE_FATAL);
	ck_assert_int_eq(parse_reply(RESP_MGET, sent, SLICE("-ERR x\r\n"), &resume, &reply),
			 PARSE_OK);
}
END_TEST

START_TEST(reply_line_is_bounded)
{
	struct reply_resume resume;
	struct reply reply;
	char *line = malloc(RESP_LINE_MAX + 1);
	memset(line, 'x', RESP_LINE_MAX + 1);
	line[0] = '+';
	struct slice in = { line, RESP_LINE_MAX };
	ck_assert_int_eq(parse_reply(RESP_SET, SLICE(""), in, &resume, &reply), PARSE_NEED);
	in.n++;
	ck_assert_int_eq(parse_reply(RESP_SET, SLICE(""), in, &resume, &reply), PARSE_FATAL);
	free(line);
}
END_TEST

/* --- parts ------------------------------------------------------------------------------------ */

static void part_is(const char *line, uint32_t n, const uint32_t *index, const char *want)
{
	struct command cmd = command_of(line, &limits);
	struct scratch out = { 0 }, expect = { 0 };
	resp->encode_part(&cmd, index, n, &out);
	array_of(want, &expect);
	same(scratch_slice(&out), expect.p, line);
	scratch_fini(&out);
	scratch_fini(&expect);
}

START_TEST(parts_are_whole_requests)
{
	part_is("MGET a bb ccc dddddddddddd", 2, (uint32_t[]){ 1, 3 }, "MGET bb dddddddddddd");
	part_is("mget a b c", 1, (uint32_t[]){ 2 }, "mget c");
	part_is("DEL a _ c", 2, (uint32_t[]){ 1, 2 }, "DEL _ c");
	part_is("MSET a 1 b 22 c _", 2, (uint32_t[]){ 0, 2 }, "MSET a 1 c _");

	struct command cmd;
	struct scratch out = { 0 };
	ck_assert_int_eq(parse(SLICE("mset \"a b\" 1 c 2\r\n"), &limits, &cmd), PARSE_OK);
	resp->encode_part(&cmd, (uint32_t[]){ 0 }, 1, &out);
	scratch_put(&out, "", 1);
	ck_assert_str_eq(out.p, "*3\r\n$4\r\nmset\r\n$3\r\na b\r\n$1\r\n1\r\n");
	scratch_fini(&out);
}
END_TEST

/* --- merges ----------------------------------------------------------------------------------- */

struct test_sink {
	struct merge_sink sink;
	const struct merge_part *parts;
	struct scratch out;
	uint32_t calls;
};

static void sink_emit(struct merge_sink *s, int part, struct slice bytes)
{
	struct test_sink *t = (struct test_sink *)s;
	if (part >= 0) {
		struct slice whole = t->parts[part].reply;
		ck_assert(bytes.p >= whole.p && bytes.p + bytes.n <= whole.p + whole.n);
	}
	ck_assert_uint_gt(bytes.n, 0);
	scratch_puts(&t->out, bytes);
	t->calls++;
}

struct merge_row {
	enum resp_id id;
	enum on_server_error on_error;
	const char *parts[4];	 /* replies, or "!" for one that timed out; ends with NULL */
	const char *part_of_key; /* "010" */
	const char *want;
	enum reply_kind kind;
};

#define A1	"$1\r\na\r\n"
#define B2	"$2\r\nbb\r\n"
#define NIL	"$-1\r\n"
#define TIMEOUT "-ERR Connection timed out (server s1)\r\n"
#define DESYNC	"-ERR protocol error from server (server s1)\r\n"

/* clang-format off */
static const struct merge_row merges[] = {
	{ RESP_MGET, ON_ERROR_ERROR, { "*2\r\n" A1 B2, "*1\r\n" NIL }, "010",
	  "*3\r\n" A1 NIL B2, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_ERROR, { "*2\r\n" A1 B2, "*1\r\n" NIL }, "001",
	  "*3\r\n" A1 B2 NIL, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_ERROR, { "*1\r\n_\r\n", "*1\r\n_\r\n" }, "10",
	  "*2\r\n_\r\n_\r\n", REPLY_MISS },
	{ RESP_MGET, ON_ERROR_ERROR, { "*1\r\n" A1, "!" }, "01", "*2\r\n" A1 TIMEOUT, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_ERROR, { "*2\r\n" A1 B2, "!" }, "010",
	  "*3\r\n" A1 TIMEOUT B2, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_MISS, { "*1\r\n" A1, "!" }, "01", "*2\r\n" A1 NIL, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_MISS, { "*1\r\n" A1, "-LOADING x\r\n" }, "01",
	  "*2\r\n" A1 NIL, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_ERROR, { "*1\r\n" A1, "-LOADING x\r\n" }, "01",
	  "*2\r\n" A1 "-LOADING x\r\n", REPLY_HIT },
	{ RESP_MGET, ON_ERROR_ERROR, { "-LOADING x\r\n", "!" }, "01", "-LOADING x\r\n", REPLY_ERROR },
	{ RESP_MGET, ON_ERROR_MISS, { "!", "!" }, "01", "*2\r\n" NIL NIL, REPLY_MISS },
	/* elements that are not plain */
	{ RESP_MGET, ON_ERROR_ERROR, { "*2\r\n" A1 "*2\r\n" A1 A1, "*1\r\n" NIL }, "010",
	  "*3\r\n" A1 NIL "*2\r\n" A1 A1, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_ERROR, { "*2\r\n|1\r\n+t\r\n:1\r\n" NIL B2, "*1\r\n" NIL }, "010",
	  "*3\r\n|1\r\n+t\r\n:1\r\n" NIL NIL B2, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_ERROR, { "|1\r\n+t\r\n:1\r\n*2\r\n" NIL B2, "*1\r\n" NIL }, "010",
	  "*3\r\n" NIL NIL B2, REPLY_HIT },
	/* one value too few or too many: whose is it? */
	{ RESP_MGET, ON_ERROR_ERROR, { "*1\r\n" A1, "*2\r\n" A1 A1 }, "01",
	  "*2\r\n" A1 DESYNC, REPLY_HIT },
	{ RESP_MGET, ON_ERROR_ERROR, { "*1\r\n" A1, "*0\r\n" }, "01", "*2\r\n" A1 DESYNC, REPLY_HIT },
	{ RESP_DEL, ON_ERROR_ERROR, { ":2\r\n", ":3\r\n" }, "01", ":5\r\n", REPLY_HIT },
	{ RESP_DEL, ON_ERROR_ERROR, { ":0\r\n", ":0\r\n" }, "01", ":0\r\n", REPLY_MISS },
	{ RESP_DEL, ON_ERROR_ERROR, { ":2\r\n", "!" }, "01", TIMEOUT, REPLY_ERROR },
	{ RESP_DEL, ON_ERROR_MISS, { ":2\r\n", "!" }, "01", TIMEOUT, REPLY_ERROR },
	{ RESP_DEL, ON_ERROR_ERROR, { "-OOM x\r\n", "!" }, "01", "-OOM x\r\n", REPLY_ERROR },
	{ RESP_DEL, ON_ERROR_ERROR, { ":1\r\n", ":9223372036854775807\r\n" }, "01",
	  DESYNC, REPLY_ERROR },
	{ RESP_EXISTS, ON_ERROR_MISS, { ":2\r\n", "!" }, "01", ":2\r\n", REPLY_HIT },
	{ RESP_DBSIZE, ON_ERROR_ERROR, { ":2\r\n", ":40\r\n", ":0\r\n" }, "", ":42\r\n", REPLY_HIT },
	{ RESP_DBSIZE, ON_ERROR_MISS, { ":2\r\n", "!" }, "", TIMEOUT, REPLY_ERROR },
	{ RESP_MSET, ON_ERROR_ERROR, { "+OK\r\n", "+OK\r\n" }, "01", "+OK\r\n", REPLY_HIT },
	{ RESP_MSET, ON_ERROR_MISS, { "+OK\r\n", "!" }, "01", TIMEOUT, REPLY_ERROR },
	{ RESP_MSET, ON_ERROR_ERROR, { "+OK\r\n", "+KO\r\n" }, "01", DESYNC, REPLY_ERROR },
	{ RESP_FLUSHALL, ON_ERROR_ERROR, { "+OK\r\n", "+OK\r\n" }, "", "+OK\r\n", REPLY_HIT },
	{ RESP_SCRIPT_LOAD, ON_ERROR_ERROR, { "$2\r\nab\r\n", "$2\r\nab\r\n" }, "",
	  "$2\r\nab\r\n", REPLY_HIT },
	{ RESP_SCRIPT_EXISTS, ON_ERROR_ERROR,
	  { "*3\r\n:0\r\n:1\r\n:1\r\n", "*3\r\n:0\r\n:0\r\n:1\r\n" }, "",
	  "*3\r\n:0\r\n:0\r\n:1\r\n", REPLY_HIT },
	{ RESP_SCRIPT_EXISTS, ON_ERROR_ERROR, { "*1\r\n:1\r\n", "*2\r\n:1\r\n:1\r\n" }, "",
	  DESYNC, REPLY_ERROR },
};
/* clang-format on */

/* As a connection tells them: from a reply that comes `step` bytes at a time. */
static void tell_ends(const struct op_info *info, struct merge_part *part, uint32_t keys,
		      size_t step)
{
	struct reply_resume resume = { .ends = part->ends };
	struct reply reply;
	enum parse_result r = PARSE_NEED;
	for (size_t n = step; r == PARSE_NEED; n += step) {
		if (n > part->reply.n) n = part->reply.n;
		resume.ends_room = keys;
		r = resp->parse_reply(info, (struct slice){ 0 }, part->reply.p, n, &resume, &reply);
	}
	ck_assert_int_eq(r, PARSE_OK);
	part->ends_known = resume.ends != NULL;
}

static void merge_is(const struct merge_row *row, size_t step)
{
	struct merge_part parts[4] = { 0 };
	uint32_t ends[4][8] = { 0 };
	uint16_t part_of_key[8];
	uint32_t n = 0, keys = (uint32_t)strlen(row->part_of_key);
	static const char *const servers[] = { "s0", "s1", "s2", "s3" };
	for (; row->parts[n]; n++) {
		parts[n].server = servers[n];
		parts[n].ends = ends[n];
		if (row->parts[n][0] == '!') parts[n].err = ERR_TIMEOUT;
		else parts[n].reply = slice_of(row->parts[n]);
	}
	uint32_t keys_of[4] = { 0 };
	for (uint32_t i = 0; i < keys; i++) {
		part_of_key[i] = (uint16_t)(row->part_of_key[i] - '0');
		keys_of[part_of_key[i]]++;
	}
	for (uint32_t i = 0; i < n && step; i++)
		if (!parts[i].err) tell_ends(resp->op(row->id), &parts[i], keys_of[i], step);
	struct test_sink sink = { .sink = { sink_emit }, .parts = parts };
	enum reply_kind kind =
	    resp->merge(resp->op(row->id), part_of_key, keys, parts, n, row->on_error, &sink.sink);
	same(scratch_slice(&sink.out), row->want, resp->op(row->id)->name);
	ck_assert_int_eq(kind, row->kind);
	scratch_fini(&sink.out);
}

START_TEST(merged)
{
	/* no connection brought them; byte by byte; ...; at once */
	for (size_t step = 0; step < 40; step++) merge_is(&merges[_i], step);
}
END_TEST

START_TEST(neighbours_are_emitted_together)
{
	uint32_t ends[4];
	struct merge_part parts[2] = { { .reply = SLICE("*3\r\n" A1 B2 A1), .ends = ends },
				       { .reply = SLICE("*1\r\n" B2), .ends = ends + 3 } };
	struct test_sink sink = { .sink = { sink_emit }, .parts = parts };
	resp->merge(resp->op(RESP_MGET), (uint16_t[]){ 0, 0, 0, 1 }, 4, parts, 2, ON_ERROR_ERROR,
		    &sink.sink);
	ck_assert_uint_eq(sink.calls, 3);
	scratch_fini(&sink.out);
}
END_TEST

/* --- failures --------------------------------------------------------------------------------- */

struct failure_row {
	enum resp_id id;
	enum err e;
	const char *server;
	enum on_server_error on_error;
	uint32_t keys;
	const char *want;
};

static const struct failure_row failures[] = {
	{ RESP_GET, ERR_REFUSED, "s1", ON_ERROR_ERROR, 1,
	  "-ERR Connection refused (server s1)\r\n" },
	{ RESP_GET, ERR_TIMEOUT, NULL, ON_ERROR_ERROR, 1, "-ERR Connection timed out\r\n" },
	{ RESP_GET, ERR_TIMEOUT, "s1", ON_ERROR_MISS, 1, "$-1\r\n" },
	{ RESP_SET, ERR_TIMEOUT, "s1", ON_ERROR_MISS, 1, TIMEOUT },
	{ RESP_MGET, ERR_TIMEOUT, "s1", ON_ERROR_MISS, 3, "*3\r\n$-1\r\n$-1\r\n$-1\r\n" },
	{ RESP_EXISTS, ERR_TIMEOUT, "s1", ON_ERROR_MISS, 3, ":0\r\n" },
	{ RESP_TTL, ERR_TIMEOUT, "s1", ON_ERROR_MISS, 1, ":-2\r\n" },
	{ RESP_TYPE, ERR_TIMEOUT, "s1", ON_ERROR_MISS, 1, "+none\r\n" },
	{ RESP_LRANGE, ERR_TIMEOUT, "s1", ON_ERROR_MISS, 1, "*0\r\n" },
	{ RESP_HMGET, ERR_TIMEOUT, "s1", ON_ERROR_MISS, 1, TIMEOUT },
	{ RESP_SINTER, ERR_CROSS_SLOT, NULL, ON_ERROR_MISS, 2,
	  "-CROSSSLOT keys of this command live on different servers\r\n" },
};

START_TEST(failures_are_told)
{
	const struct failure_row *row = &failures[_i];
	struct scratch out = { 0 };
	resp->encode_failure(resp->op(row->id), row->e, row->server, row->on_error, row->keys,
			     &out);
	same(scratch_slice(&out), row->want, resp->op(row->id)->name);
	/* what we make up must be what a server could have said */
	struct reply_resume resume;
	struct reply reply;
	ck_assert_int_eq(parse_reply(row->id, SLICE(""), scratch_slice(&out), &resume, &reply),
			 PARSE_OK);
	scratch_fini(&out);
}
END_TEST

START_TEST(every_miss_is_a_legal_reply)
{
	for (uint32_t i = 0; i < resp->op_count; i++) {
		const struct op_info *info = resp->op(i);
		struct scratch out = { 0 };
		struct reply_resume resume;
		struct reply reply;
		if (info->shape == REPLY_T_HELD) continue; /* never told to a client */
		resp->encode_failure(info, ERR_TIMEOUT, "s", ON_ERROR_MISS, 2, &out);
		enum parse_result r =
		    parse_reply(info->id, SLICE(""), scratch_slice(&out), &resume, &reply);
		ck_assert_msg(r == PARSE_OK && reply.kind != REPLY_HIT, "%s", info->name);
		scratch_fini(&out);
	}
}
END_TEST

/* --- handshake -------------------------------------------------------------------------------- */

static void handshake_is(const struct pool_spec *pool, const char *name, uint8_t dialect,
			 const char *want)
{
	struct scratch all = { 0 }, out = { 0 };
	const struct op_info *info;
	for (uint32_t n = 0; (info = resp->handshake(pool, name, dialect, n, &out)); n++) {
		struct command cmd;
		ck_assert_int_eq(parse(scratch_slice(&out), &limits, &cmd), PARSE_OK);
		if (info->id != RESP_SETNAME) ck_assert_ptr_eq(cmd.info, info);
		for (uint32_t i = 0; i < cmd.argc; i++) {
			scratch_puts(&all, cmd.argv[i]);
			scratch_put(&all, i + 1 < cmd.argc ? " " : ";", 1);
		}
		scratch_clear(&out);
	}
	same(scratch_slice(&all), want, "handshake");
	scratch_fini(&all);
	scratch_fini(&out);
}

START_TEST(handshakes)
{
	struct pool_spec pool = { 0 };
	char user[] = "u", password[] = "pw";
	handshake_is(&pool, NULL, 2, "");
	handshake_is(&pool, NULL, 3, "HELLO 3;");
	pool.redis_db = 12;
	handshake_is(&pool, NULL, 2, "SELECT 12;");
	handshake_is(&pool, "me", 2, "CLIENT SETNAME me;SELECT 12;");
	handshake_is(&pool, "me", 3, "HELLO 3;CLIENT SETNAME me;SELECT 12;");
	handshake_is(&pool, NULL, 3, "HELLO 3;SELECT 12;");
	pool.auth_password = password;
	handshake_is(&pool, NULL, 2, "AUTH pw;SELECT 12;");
	handshake_is(&pool, NULL, 3, "HELLO 3 AUTH default pw;SELECT 12;");
	pool.auth_user = user;
	handshake_is(&pool, NULL, 2, "AUTH u pw;SELECT 12;");
	pool.redis_db = 0;
	handshake_is(&pool, NULL, 2, "AUTH u pw;");
	handshake_is(&pool, "me", 2, "AUTH u pw;CLIENT SETNAME me;");
	handshake_is(&pool, NULL, 3, "HELLO 3 AUTH u pw;");

	struct scratch out = { 0 };
	ck_assert_ptr_eq(resp->probe(&out), resp->op(RESP_PING));
	same(scratch_slice(&out), "*1\r\n$4\r\nPING\r\n", "probe");
	scratch_fini(&out);
}
END_TEST

static void clean_up(void)
{
	parser_fini(&parser);
	scratch_fini(&built);
	built = (struct scratch){ 0 };
}

#define LOOP(t, test, rows) tcase_add_loop_test(t, test, 0, sizeof(rows) / sizeof((rows)[0]))

int main(void)
{
	Suite *s = suite_create("codec_resp");
	TCase *t = tcase_create("codec_resp");
	tcase_add_checked_fixture(t, NULL, clean_up);
	LOOP(t, request_at_every_split, requests);
	LOOP(t, request_byte_by_byte, requests);
	tcase_add_test(t, request_in_a_pipeline);
	tcase_add_test(t, request_says_what_it_needs);
	tcase_add_test(t, request_limits);
	tcase_add_test(t, request_of_many_arguments);
	LOOP(t, keys_are_found, key_rows);
	LOOP(t, refused_with_a_reason, refusals);
	tcase_add_test(t, unknown_command_is_quoted_safely);
	tcase_add_test(t, every_verb_is_found);
	tcase_add_test(t, verbs_are_recalled);
	tcase_add_test(t, rows_make_sense);
	LOOP(t, reply_at_every_split, replies);
	LOOP(t, reply_byte_by_byte, replies);
	tcase_add_test(t, reply_depth_is_bounded);
	tcase_add_test(t, reply_says_what_it_needs);
	tcase_add_test(t, reply_must_fit_what_was_sent);
	tcase_add_test(t, reply_line_is_bounded);
	tcase_add_test(t, held_reads);
	tcase_add_test(t, parts_are_whole_requests);
	LOOP(t, merged, merges);
	tcase_add_test(t, neighbours_are_emitted_together);
	LOOP(t, failures_are_told, failures);
	tcase_add_test(t, every_miss_is_a_legal_reply);
	tcase_add_test(t, handshakes);
	suite_add_tcase(s, t);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
