/* The memcached text codec: every command, every refusal, every reply, each at every split point.
 * The answers are those of memcached 1.6.18, taken from a running one. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/codec_mc_request.h"
#include "common/codec_mc_text.h"

static const struct codec *const mc = &codec_mc_text;

static const struct codec_limits limits = {
	.value_max_bytes = 1 << 20,
	.request_max_bytes = 1 << 21,
	.args_max = 1000,
	.allow_flush = true,
};

/* Input in a block of exactly its size, so that the sanitizer sees a byte too many being read. */
static char *exactly(const char *p, size_t n)
{
	char *copy = malloc(n ? n : 1);
	memcpy(copy, p, n);
	return copy;
}

static bool same(struct slice got, struct slice want)
{
	if (slice_eq(got, want)) return true;
	ck_abort_msg("got '%.*s' (%zu), want '%.*s' (%zu)", (int)got.n, got.p ? got.p : "", got.n,
		     (int)want.n, want.p, want.n);
	return false;
}

/* --- requests -------------------------------------------------------------------------------- */

struct request_row {
	struct slice in;
	enum parse_result result;
	int op;		   /* enum mc_op, or -1: not known           */
	struct slice head; /* what the server gets                   */
	struct slice key;
	struct slice error;
	uint32_t flags;
	size_t rest; /* bytes of `in` that are not taken             */
	size_t skip;
};

#define S(lit)                       \
	{                            \
		lit, sizeof(lit) - 1 \
	}
#define NONE          \
	{             \
		"", 0 \
	}
#define FORWARD(in, op, head, key)                                  \
	{                                                           \
		S(in), PARSE_OK, op, S(head), S(key), NONE, 0, 0, 0 \
	}
#define AS_IS(in, op, key) FORWARD(in, op, in, key)
#define QUIET(in, op, head, key)                                              \
	{                                                                     \
		S(in), PARSE_OK, op, S(head), S(key), NONE, CMD_NOREPLY, 0, 0 \
	}
#define ERR(in, op, error)                                            \
	{                                                             \
		S(in), PARSE_ERROR, op, NONE, NONE, S(error), 0, 0, 0 \
	}
#define QUIET_ERR(in, op)                                                   \
	{                                                                   \
		S(in), PARSE_ERROR, op, NONE, NONE, NONE, CMD_NOREPLY, 0, 0 \
	}
#define SKIP(in, op, skip, error)                                       \
	{                                                               \
		S(in), PARSE_SKIP, op, NONE, NONE, S(error), 0, 0, skip \
	}
#define FATAL(in, op, error)                                          \
	{                                                             \
		S(in), PARSE_FATAL, op, NONE, NONE, S(error), 0, 0, 0 \
	}
#define BAD	   "CLIENT_ERROR bad command line format\r\n"
#define BAD_TIME   "CLIENT_ERROR invalid exptime argument\r\n"
#define BAD_DELTA  "CLIENT_ERROR invalid numeric delta argument\r\n"
#define BAD_DELETE "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"
#define BAD_CHUNK  "CLIENT_ERROR bad data chunk\r\n"
#define TOO_LARGE  "SERVER_ERROR object too large for cache\r\n"
#define NO_META	   "CLIENT_ERROR meta commands not supported\r\n"
#define K50	   "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define K250	   K50 K50 K50 K50 K50
#define K251	   K250 "x"

/* clang-format off */
static const struct request_row request_rows[] = {
	/* reads */
	AS_IS("get a\r\n", MC_GET, "a"),
	AS_IS("get a b c\r\n", MC_GET, "a"),
	AS_IS("gets a\r\n", MC_GETS, "a"),
	AS_IS("gat 0 a\r\n", MC_GAT, "a"),
	AS_IS("gat -1 a b\r\n", MC_GAT, "a"),
	AS_IS("gats 10 a\r\n", MC_GATS, "a"),
	AS_IS("get noreply\r\n", MC_GET, "noreply"),
	AS_IS("get \xc3\xa9\xff\r\n", MC_GET, "\xc3\xa9\xff"),
	AS_IS("get 12345678 123456789\r\n", MC_GET, "12345678"),
	AS_IS("get " K250 "\r\n", MC_GET, K250),
	FORWARD("get a\n", MC_GET, "get a\r\n", "a"),
	FORWARD(" get  a   b \r\n", MC_GET, "get a b\r\n", "a"),
	FORWARD("gat 010 a\r\n", MC_GAT, "gat 10 a\r\n", "a"),
	FORWARD("gat  +5  a b\n", MC_GAT, "gat 5 a b\r\n", "a"),
	FORWARD("gat -0 a\r\n", MC_GAT, "gat 0 a\r\n", "a"),
	FORWARD("gat 99999999999 a\r\n", MC_GAT, "gat 1215752191 a\r\n", "a"),
	FORWARD("get / HTTP/1.1\r\n", MC_GET, "get / HTTP/1.1\r\n", "/"),
	ERR("get\r\n", MC_GET, "ERROR\r\n"),
	ERR("get \r\n", MC_GET, "ERROR\r\n"),
	ERR("gets\n", MC_GETS, "ERROR\r\n"),
	ERR("gat\r\n", MC_GAT, "ERROR\r\n"),
	ERR("gat  \r\n", MC_GAT, "ERROR\r\n"),
	ERR("gat 10\r\n", MC_GAT, "END\r\n"),
	ERR("gat x\r\n", MC_GAT, BAD_TIME),
	ERR("gat 9223372036854775808 a\r\n", MC_GAT, BAD_TIME),
	ERR("gat x " K251 "\r\n", MC_GAT, BAD_TIME),
	ERR("gat 1 " K251 "\r\n", MC_GAT, BAD),
	ERR("get " K251 "\r\n", MC_GET, BAD),
	ERR("get a " K251 " b\r\n", MC_GET, BAD),
	ERR("get a\x01" "b\r\n", MC_GET, BAD),
	ERR("get a\0b\r\n", MC_GET, BAD),
	ERR("get a\tb\r\n", MC_GET, BAD),
	ERR("get a\x7f\r\n", MC_GET, BAD),
	ERR("get a\rb\r\n", MC_GET, BAD),
	ERR("get a\r\r\n", MC_GET, BAD),
	ERR("get 12345678\x1f\r\n", MC_GET, BAD),
	/* stores */
	AS_IS("set k 0 0 1\r\na\r\n", MC_SET, "k"),
	AS_IS("set k 0 0 0\r\n\r\n", MC_SET, "k"),
	AS_IS("set k 4294967295 -2147483648 2\r\n\r\n\r\n", MC_SET, "k"),
	AS_IS("add k 1 2147483647 3\r\n\0\n\x80\r\n", MC_ADD, "k"),
	AS_IS("replace k 0 0 1\r\na\r\n", MC_REPLACE, "k"),
	AS_IS("append k 0 0 1\r\na\r\n", MC_APPEND, "k"),
	AS_IS("prepend k 0 0 1\r\na\r\n", MC_PREPEND, "k"),
	AS_IS("cas k 0 0 1 18446744073709551615\r\na\r\n", MC_CAS, "k"),
	AS_IS("set " K250 " 0 0 1\r\na\r\n", MC_SET, K250),
	FORWARD("set k 0 0 1\na\r\n", MC_SET, "set k 0 0 1\r\na\r\n", "k"),
	FORWARD(" set  k 0 0 1 \r\na\r\n", MC_SET, "set k 0 0 1\r\na\r\n", "k"),
	FORWARD("set k +5 007 01\r\na\r\n", MC_SET, "set k 5 7 1\r\na\r\n", "k"),
	FORWARD("set k -0 -0 -0\r\n\r\n", MC_SET, "set k 0 0 0\r\n\r\n", "k"),
	FORWARD("set k 4294967296 2147483648 1\r\na\r\n", MC_SET,
		"set k 0 -2147483648 1\r\na\r\n", "k"),
	FORWARD("set k 0 -2147483649 1\r\na\r\n", MC_SET, "set k 0 2147483647 1\r\na\r\n", "k"),
	FORWARD("set k 18446744073709551615 9223372036854775807 1\r\na\r\n", MC_SET,
		"set k 4294967295 -1 1\r\na\r\n", "k"),
	FORWARD("set k 0 0 1 ignored\r\na\r\n", MC_SET, "set k 0 0 1\r\na\r\n", "k"),
	FORWARD("cas k 0 0 1 +007\r\na\r\n", MC_CAS, "cas k 0 0 1 7\r\na\r\n", "k"),
	QUIET("set k 0 0 1 noreply\r\na\r\n", MC_SET, "set k 0 0 1\r\na\r\n", "k"),
	QUIET("cas k 0 -1 1 5 noreply\r\na\r\n", MC_CAS, "cas k 0 -1 1 5\r\na\r\n", "k"),
	ERR("set\r\n", MC_SET, "ERROR\r\n"),
	ERR("set k\r\n", MC_SET, "ERROR\r\n"),
	ERR("set k 0\r\n", MC_SET, "ERROR\r\n"),
	FATAL("set k 0 0\r\n", MC_SET, "ERROR\r\n"),
	FATAL("set  0 0 5\r\n", MC_SET, "ERROR\r\n"),
	FATAL("set a b 0 0 1 x\r\n", MC_SET, "ERROR\r\n"),
	FATAL("cas k 0 0 1\r\n", MC_CAS, "ERROR\r\n"),
	FATAL("cas k 0 0 1 5 a b\r\n", MC_CAS, "ERROR\r\n"),
	FATAL("set 1 2 3 4 5 6 7 8 9 10\r\n", MC_SET, "ERROR\r\n"),
	FATAL("set k 0 0 -1\r\n", MC_SET, BAD),
	FATAL("set k 0 0 abc\r\n", MC_SET, BAD),
	FATAL("set k 0 0 5a\r\n", MC_SET, BAD),
	FATAL("set k 0 0 1.0\r\n", MC_SET, BAD),
	FATAL("set k 0 0 99999999999\r\n", MC_SET, BAD),
	FATAL("set k 0 0 2147483646\r\n", MC_SET, BAD),
	FATAL("set k 0 0 18446744073709551617\r\n", MC_SET, BAD),
	FATAL("set k 0 0 1\t\r\n", MC_SET, BAD),
	{ S("set k 0 0 noreply\r\n"), PARSE_FATAL, MC_SET, NONE, NONE, NONE, CMD_NOREPLY, 0, 0 },
	SKIP("set k -1 0 1\r\n", MC_SET, 3, BAD),
	SKIP("set k 0x7 0 1\r\n", MC_SET, 3, BAD),
	SKIP("set k + 0 1\r\n", MC_SET, 3, BAD),
	SKIP("set k 18446744073709551616 0 1\r\n", MC_SET, 3, BAD),
	SKIP("set k 0 abc 7\r\n", MC_SET, 9, BAD),
	SKIP("set k 0 9223372036854775808 7\r\n", MC_SET, 9, BAD),
	SKIP("set k 0 -9223372036854775809 7\r\n", MC_SET, 9, BAD),
	SKIP("set " K251 " 0 0 7\r\n", MC_SET, 9, BAD),
	SKIP("set " K251 " 0 0 99999999\r\n", MC_SET, 100000001, BAD),
	SKIP("set a\x01 0 0 7\r\n", MC_SET, 9, BAD),
	SKIP("set a\0 0 0 7\r\n", MC_SET, 9, BAD),
	SKIP("set a\r 0 0 7\n", MC_SET, 9, BAD),
	SKIP("set a\x7f 0 0 7\r\n", MC_SET, 9, BAD),
	SKIP("set k 0\t 0 1\r\n", MC_SET, 3, BAD),
	SKIP("cas k 0 0 1 abc\r\n", MC_CAS, 3, BAD),
	SKIP("cas k 0 0 1 -5\r\n", MC_CAS, 3, BAD),
	SKIP("cas k 0 0 1 18446744073709551616\r\n", MC_CAS, 3, BAD),
	SKIP("set k 0 0 1048577\r\n", MC_SET, 1048579, TOO_LARGE),
	SKIP("set k 0 0 2147483645\r\n", MC_SET, 2147483647, TOO_LARGE),
	{ S("cas k 0 0 1 noreply\r\n"), PARSE_SKIP, MC_CAS, NONE, NONE, NONE, CMD_NOREPLY, 0, 3 },
	{ S("set k a 0 1 noreply\r\n"), PARSE_SKIP, MC_SET, NONE, NONE, NONE, CMD_NOREPLY, 0, 3 },
	ERR("set k 0 0 1\r\nabc", MC_SET, BAD_CHUNK),
	ERR("set k 0 0 3\r\nabc\nX", MC_SET, BAD_CHUNK),
	{ S("set k 0 0 3\r\nabcdef\r\n"), PARSE_ERROR, MC_SET, NONE, NONE, S(BAD_CHUNK), 0, 3, 0 },
	QUIET_ERR("set k 0 0 3 noreply\r\nabcde", MC_SET),
	/* a key and little else */
	AS_IS("incr k 1\r\n", MC_INCR, "k"),
	AS_IS("decr k 18446744073709551615\r\n", MC_DECR, "k"),
	FORWARD("incr k +01\r\n", MC_INCR, "incr k 1\r\n", "k"),
	FORWARD("incr k -0\r\n", MC_INCR, "incr k 0\r\n", "k"),
	FORWARD("incr k 1 ignored\r\n", MC_INCR, "incr k 1\r\n", "k"),
	QUIET("incr k 1 noreply\r\n", MC_INCR, "incr k 1\r\n", "k"),
	ERR("incr\r\n", MC_INCR, "ERROR\r\n"),
	ERR("incr k\r\n", MC_INCR, "ERROR\r\n"),
	ERR("incr k 1 2 3\r\n", MC_INCR, "ERROR\r\n"),
	ERR("incr k abc\r\n", MC_INCR, BAD_DELTA),
	ERR("decr k -1\r\n", MC_DECR, BAD_DELTA),
	ERR("incr k 18446744073709551616\r\n", MC_INCR, BAD_DELTA),
	ERR("incr " K251 " 1\r\n", MC_INCR, BAD),
	ERR("incr a\tb 1\r\n", MC_INCR, BAD),
	QUIET_ERR("incr k abc noreply\r\n", MC_INCR),
	QUIET_ERR("incr k noreply\r\n", MC_INCR),
	AS_IS("touch k -1\r\n", MC_TOUCH, "k"),
	FORWARD("touch k 99999999999\n", MC_TOUCH, "touch k 1215752191\r\n", "k"),
	FORWARD("touch k 1 foo\r\n", MC_TOUCH, "touch k 1\r\n", "k"),
	QUIET("touch k 1 noreply\r\n", MC_TOUCH, "touch k 1\r\n", "k"),
	ERR("touch k\r\n", MC_TOUCH, "ERROR\r\n"),
	ERR("touch k 1 2 3\r\n", MC_TOUCH, "ERROR\r\n"),
	ERR("touch k abc\r\n", MC_TOUCH, BAD_TIME),
	ERR("touch " K251 " 1\r\n", MC_TOUCH, BAD),
	QUIET_ERR("touch k abc noreply\r\n", MC_TOUCH),
	AS_IS("delete k\r\n", MC_DELETE, "k"),
	AS_IS("delete noreply\r\n", MC_DELETE, "noreply"),
	FORWARD("delete k 0\r\n", MC_DELETE, "delete k\r\n", "k"),
	QUIET("delete k noreply\r\n", MC_DELETE, "delete k\r\n", "k"),
	QUIET("delete k 0 noreply\r\n", MC_DELETE, "delete k\r\n", "k"),
	ERR("delete\r\n", MC_DELETE, "ERROR\r\n"),
	ERR("delete k 0 0 0\r\n", MC_DELETE, "ERROR\r\n"),
	ERR("delete k 5\r\n", MC_DELETE, BAD_DELETE),
	ERR("delete k 00\r\n", MC_DELETE, BAD_DELETE),
	ERR("delete k 0 foo\r\n", MC_DELETE, BAD_DELETE),
	ERR("delete k noreply 0\r\n", MC_DELETE, BAD_DELETE),
	ERR("delete " K251 "\r\n", MC_DELETE, BAD),
	ERR("delete " K251 " 0\r\n", MC_DELETE, BAD),
	ERR("delete " K251 " 5\r\n", MC_DELETE, BAD_DELETE),
	QUIET_ERR("delete k foo noreply\r\n", MC_DELETE),
	QUIET_ERR("delete " K251 " noreply\r\n", MC_DELETE),
	/* everyone */
	AS_IS("flush_all\r\n", MC_FLUSH_ALL, ""),
	AS_IS("flush_all -1\r\n", MC_FLUSH_ALL, ""),
	FORWARD("flush_all 010 foo\r\n", MC_FLUSH_ALL, "flush_all 10\r\n", ""),
	QUIET("flush_all noreply\r\n", MC_FLUSH_ALL, "flush_all\r\n", ""),
	QUIET("flush_all 0 noreply\r\n", MC_FLUSH_ALL, "flush_all 0\r\n", ""),
	ERR("flush_all abc\r\n", MC_FLUSH_ALL, BAD_TIME),
	ERR("flush_all foo bar\r\n", MC_FLUSH_ALL, BAD_TIME),
	ERR("flush_all 1 2 3\r\n", MC_FLUSH_ALL, "ERROR\r\n"),
	QUIET_ERR("flush_all abc noreply\r\n", MC_FLUSH_ALL),
	/* ours */
	{ S("version\r\n"), PARSE_OK, MC_VERSION, NONE, NONE, NONE, 0, 0, 0 },
	{ S("version foo\n"), PARSE_OK, MC_VERSION, NONE, NONE, NONE, 0, 0, 0 },
	{ S("verbosity 1\r\n"), PARSE_OK, MC_VERBOSITY, NONE, NONE, NONE, 0, 0, 0 },
	{ S("verbosity 1 foo\r\n"), PARSE_OK, MC_VERBOSITY, NONE, NONE, NONE, 0, 0, 0 },
	{ S("verbosity 1 noreply\r\n"), PARSE_OK, MC_VERBOSITY, NONE, NONE, NONE, CMD_NOREPLY, 0, 0 },
	ERR("verbosity\r\n", MC_VERBOSITY, "ERROR\r\n"),
	ERR("verbosity 1 2 3\r\n", MC_VERBOSITY, "ERROR\r\n"),
	ERR("verbosity abc\r\n", MC_VERBOSITY, BAD),
	ERR("verbosity -1\r\n", MC_VERBOSITY, BAD),
	QUIET_ERR("verbosity noreply\r\n", MC_VERBOSITY),
	{ S("stats\r\n"), PARSE_OK, MC_STATS, NONE, NONE, NONE, 0, 0, 0 },
	{ S("stats a b c d e f g h i j k\r\n"), PARSE_OK, MC_STATS, NONE, NONE, NONE, 0, 0, 0 },
	{ S("quit\r\nmn\r\n"), PARSE_OK, MC_QUIT, NONE, NONE, NONE, CMD_CLOSE, 4, 0 },
	{ S("quit foo\r\n"), PARSE_OK, MC_QUIT, NONE, NONE, NONE, CMD_CLOSE, 0, 0 },
	/* refused */
	{ S("shutdown\r\n"), PARSE_OK, MC_ADMIN_REFUSED, NONE, NONE,
	  S("CLIENT_ERROR shutdown not allowed\r\n"), 0, 0, 0 },
	{ S("cache_memlimit 1\r\n"), PARSE_OK, MC_ADMIN_REFUSED, NONE, NONE,
	  S("CLIENT_ERROR cache_memlimit not allowed\r\n"), 0, 0, 0 },
	{ S("watch fetchers\r\n"), PARSE_OK, MC_ADMIN_REFUSED, NONE, NONE,
	  S("CLIENT_ERROR watch not allowed\r\n"), 0, 0, 0 },
	{ S("lru_crawler crawl 1\r\n"), PARSE_OK, MC_ADMIN_REFUSED, NONE, NONE,
	  S("CLIENT_ERROR lru_crawler not allowed\r\n"), 0, 0, 0 },
	{ S("mg k v\r\n"), PARSE_OK, MC_META_REFUSED, NONE, NONE, S(NO_META), 0, 0, 0 },
	{ S("mn\r\n"), PARSE_OK, MC_META_REFUSED, NONE, NONE, S(NO_META), 0, 0, 0 },
	SKIP("ms k 7 T0\r\n", MC_META_REFUSED, 9, NO_META),
	SKIP("ms " K251 " 7\r\n", MC_META_REFUSED, 9, NO_META),
	ERR("ms\r\n", MC_META_REFUSED, NO_META),
	FATAL("ms k\r\n", MC_META_REFUSED, NO_META),
	FATAL("ms k S7\r\n", MC_META_REFUSED, NO_META),
	/* nonsense */
	ERR("\r\n", -1, "ERROR\r\n"),
	ERR("\n", -1, "ERROR\r\n"),
	ERR(" \r\n", -1, "ERROR\r\n"),
	ERR("x\r\n", -1, "ERROR\r\n"),
	ERR("GET a\r\n", -1, "ERROR\r\n"),
	ERR("getx a\r\n", -1, "ERROR\r\n"),
	ERR("get\0 a\r\n", -1, "ERROR\r\n"),
	ERR("mz\r\n", -1, "ERROR\r\n"),
	ERR("a_very_long_verb_indeed 1\r\n", -1, "ERROR\r\n"),
	ERR("foo HTTP/\r\n", -1, "ERROR\r\n"),
	{ S("foo\r\nget a\r\n"), PARSE_ERROR, -1, NONE, NONE, S("ERROR\r\n"), 0, 7, 0 },
	{ S("get a\r\nget b\r\n"), PARSE_OK, MC_GET, S("get a\r\n"), S("a"), NONE, 0, 7, 0 },
	FATAL("GET / HTTP/1.1\r\n", -1, ""),
	FATAL("POST /x HTTP/1.0\n", -1, ""),
};
/* clang-format on */

static void request_same(const struct request_row *row, enum parse_result result,
			 const struct command *cmd, size_t skip)
{
	const char *in = row->in.p;
	if (result != row->result) ck_abort_msg("'%s': result %d", in, result);
	if (result != PARSE_FATAL && cmd->consumed != row->in.n - row->rest)
		ck_abort_msg("'%s': consumed %zu", in, cmd->consumed);
	if (cmd->flags != row->flags) ck_abort_msg("'%s': flags %u", in, cmd->flags);
	if (skip != row->skip) ck_abort_msg("'%s': skip %zu", in, skip);
	int op = cmd->info ? cmd->info->id : -1;
	if (op != row->op) ck_abort_msg("'%s': op %d", in, op);
	same(cmd->error, row->error);
	if (result != PARSE_OK) return;
	same(cmd->key, row->key);
	char *sent = malloc(cmd->head.n + cmd->body.n + 1);
	if (cmd->head.n) memcpy(sent, cmd->head.p, cmd->head.n);
	if (cmd->body.n) memcpy(sent + cmd->head.n, cmd->body.p, cmd->body.n);
	same((struct slice){ sent, cmd->head.n + cmd->body.n }, row->head);
	free(sent);
}

/* Feed ever longer prefixes in steps of `step` bytes until the parser has an opinion. */
static void request_check(const struct request_row *row, size_t step)
{
	struct parser parser = { 0 };
	struct parse_resume resume = { 0 };
	enum parse_result result = PARSE_NEED;
	for (size_t n = step < row->in.n ? step : row->in.n; result == PARSE_NEED; n += step) {
		if (n > row->in.n) n = row->in.n;
		struct command cmd;
		size_t skip = 0;
		char *data = exactly(row->in.p, n);
		result = mc->parse_request(&parser, &limits, data, n, &resume, &cmd, &skip);
		if (result != PARSE_NEED) request_same(row, result, &cmd, skip);
		else if (n == row->in.n) ck_abort_msg("'%s': never done", row->in.p);
		else if (resume.need > row->in.n)
			ck_abort_msg("'%s': needs %zu", row->in.p, resume.need);
		free(data);
	}
	parser_fini(&parser);
}

START_TEST(requests_whole_and_in_pieces)
{
	for (size_t i = 0; i < sizeof(request_rows) / sizeof(request_rows[0]); i++) {
		struct request_row row = request_rows[i];
		for (size_t step = 1; step <= row.in.n; step++) {
			/* What follows a request may not be there yet. */
			request_check(&row, step);
		}
		if (row.rest == 0) continue;
		row.in.n -= row.rest;
		row.rest = 0;
		for (size_t step = 1; step <= row.in.n; step++) request_check(&row, step);
	}
}
END_TEST

struct parsed {
	struct parser parser;
	struct parse_resume resume;
	struct command cmd;
	size_t skip;
	enum parse_result result;
};

static void parse(struct parsed *x, const struct codec_limits *l, const char *p, size_t n)
{
	x->skip = 0;
	x->resume = (struct parse_resume){ 0 };
	x->result = mc->parse_request(&x->parser, l, p, n, &x->resume, &x->cmd, &x->skip);
}

START_TEST(first_byte_of_another_protocol)
{
	struct parsed x = { 0 };
	parse(&x, &limits, "\x80", 1);
	ck_assert_int_eq(x.result, PARSE_FATAL);
	ck_assert_uint_eq(x.cmd.error.n, 0);
	parse(&x, &limits, "\x80\n", 2);
	ck_assert_int_eq(x.result, PARSE_FATAL);
	parse(&x, &limits, "\x16\x03\x01", 3);
	ck_assert_int_eq(x.result, PARSE_FATAL);
	parse(&x, &limits, "*1\r\n$4\r\nPING\r\n", 14);
	ck_assert_int_eq(x.result, PARSE_FATAL);
	ck_assert(x.cmd.error.n > 5 && memcmp(x.cmd.error.p, "-ERR ", 5) == 0);
	parser_fini(&x.parser);
}
END_TEST

START_TEST(flush_only_where_allowed)
{
	struct codec_limits strict = limits;
	strict.allow_flush = false;
	struct parsed x = { 0 };
	parse(&x, &strict, "flush_all 10\r\n", 14);
	ck_assert_int_eq(x.result, PARSE_OK);
	ck_assert_int_eq(x.cmd.info->route, OP_REFUSED);
	same(x.cmd.error, SLICE("CLIENT_ERROR flush_all not allowed\r\n"));
	parse(&x, &strict, "flush_all noreply\r\n", 19);
	ck_assert_int_eq(x.result, PARSE_OK);
	ck_assert_uint_eq(x.cmd.error.n, 0);
	ck_assert_uint_eq(x.cmd.flags, CMD_NOREPLY);
	parser_fini(&x.parser);
}
END_TEST

/* A line of `n` bytes in all, its end included: "VERB aaaa...". */
static char *long_line(const char *verb, size_t n, char fill)
{
	char *line = malloc(n);
	memset(line, fill, n);
	memcpy(line, verb, strlen(verb));
	memcpy(line + n - 2, "\r\n", 2);
	return line;
}

static void line_limit(const char *verb, char fill, size_t n, enum parse_result want)
{
	struct parsed x = { 0 };
	char *line = long_line(verb, n, fill);
	parse(&x, &limits, line, n);
	ck_assert_int_eq(x.result, want);
	if (want == PARSE_FATAL) {
		same(x.cmd.error, SLICE("CLIENT_ERROR line too long\r\n"));
		/* One byte from its end its length is known as well. */
		parse(&x, &limits, line, n - 1);
		ck_assert_int_eq(x.result, PARSE_FATAL);
	} else {
		parse(&x, &limits, line, n - 1);
		ck_assert_int_eq(x.result, PARSE_NEED);
		ck_assert_uint_eq(x.resume.at, n - 1);
	}
	free(line);
	parser_fini(&x.parser);
}

START_TEST(line_limits)
{
	line_limit("foo ", 'a', 2048, PARSE_ERROR);
	line_limit("foo ", 'a', 2049, PARSE_FATAL);
	line_limit("getz ", 'a', 2049, PARSE_FATAL);
	line_limit("set ", 'a', 2049, PARSE_FATAL);
	line_limit("get ", 'a', 2049, PARSE_ERROR);
	line_limit("get a", ' ', 1 << 20, PARSE_OK);
	line_limit("  gats 1 a", ' ', 1 << 20, PARSE_OK);
	line_limit("get a", ' ', (1 << 20) + 1, PARSE_FATAL);
	line_limit(" ", ' ', 2048, PARSE_ERROR);
	line_limit(" ", ' ', 2049, PARSE_FATAL);
}
END_TEST

START_TEST(many_keys)
{
	char line[8192], *p = line;
	p += sprintf(p, "get");
	for (int i = 0; i < 1000; i++) p += sprintf(p, " k%d", i);
	size_t n = (size_t)(p - line);
	memcpy(p, "\r\n", 3);
	struct parsed x = { 0 };
	parse(&x, &limits, line, n + 2);
	ck_assert_int_eq(x.result, PARSE_OK);
	ck_assert_uint_eq(x.cmd.key_count, 1000);
	same(command_key(&x.cmd, 0), SLICE("k0"));
	same(command_key(&x.cmd, 999), SLICE("k999"));
	memcpy(p, " z\r\n", 4);
	parse(&x, &limits, line, n + 4);
	ck_assert_int_eq(x.result, PARSE_ERROR);
	ck_assert_uint_eq(x.cmd.consumed, n + 4);
	same(x.cmd.error, SLICE("CLIENT_ERROR too many keys\r\n"));
	parser_fini(&x.parser);
}
END_TEST

/* A small store is one run in the input; a large body is by itself, and in the input too. */
static void body_place(size_t bytes, bool canonical)
{
	char *in = malloc(bytes + 100);
	int line = sprintf(in, "set k 0 %s0 %zu\r\n", canonical ? "" : "0", bytes);
	memset(in + line, 'v', bytes);
	memcpy(in + line + bytes, "\r\n", 2);
	size_t n = line + bytes + 2;
	struct parsed x = { 0 };
	parse(&x, &limits, in, (size_t)line);
	ck_assert_int_eq(x.result, PARSE_NEED);
	ck_assert_uint_eq(x.resume.need, n);
	struct parse_resume kept = x.resume;
	x.result = mc->parse_request(&x.parser, &limits, in, n, &kept, &x.cmd, &x.skip);
	ck_assert_int_eq(x.result, PARSE_OK);
	ck_assert_uint_eq(x.cmd.consumed, n);
	bool apart = bytes + 2 >= 4096 || !canonical;
	ck_assert_uint_eq(x.cmd.body.n, apart ? bytes + 2 : 0);
	if (apart) ck_assert_ptr_eq(x.cmd.body.p, in + line);
	if (canonical) ck_assert_ptr_eq(x.cmd.head.p, in);
	ck_assert_uint_eq(x.cmd.head.n + x.cmd.body.n, n - !canonical);
	free(in);
	parser_fini(&x.parser);
}

START_TEST(bodies_by_size)
{
	static const size_t sizes[] = { 1, 4093, 4094, 4095, 65536, 1 << 20 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		body_place(sizes[i], true);
		body_place(sizes[i], false);
	}
}
END_TEST

START_TEST(request_limit_counts_line_and_body)
{
	struct codec_limits small = limits;
	small.request_max_bytes = 100;
	struct parsed x = { 0 };
	parse(&x, &small, "set k 0 0 85\r\n", 14);
	ck_assert_int_eq(x.result, PARSE_SKIP);
	ck_assert_uint_eq(x.skip, 87);
	parse(&x, &small, "set k 0 0 84\r\n", 14);
	ck_assert_int_eq(x.result, PARSE_NEED);
	parser_fini(&x.parser);
}
END_TEST

/* --- the short way and the long one ----------------------------------------------------------- */

static const struct codec_limits tight = {
	.value_max_bytes = 12,
	.request_max_bytes = 32,
	.args_max = 1000,
};

/* mc_parse_request() looks at plain requests only once, mc_parse_any() at all of them: the same
 * must come of it. */
static void two_ways(const struct codec_limits *l, const char *p, size_t n)
{
	struct parsed a = { 0 }, b = { 0 };
	char *data = exactly(p, n);
	parse(&a, l, data, n);
	b.result = mc_parse_any(&b.parser, l, data, n, &b.resume, &b.cmd, &b.skip);
	bool same_end = a.result == b.result && a.skip == b.skip;
	if (a.result != PARSE_NEED)
		same_end &= a.cmd.info == b.cmd.info && a.cmd.flags == b.cmd.flags &&
			    a.cmd.consumed == b.cmd.consumed && slice_eq(a.cmd.error, b.cmd.error);
	if (!same_end) ck_abort_msg("'%.*s': %d and %d", (int)n, p, a.result, b.result);
	if (a.result == PARSE_OK) {
		same(a.cmd.key, b.cmd.key);
		same(a.cmd.head, b.cmd.head);
		same(a.cmd.body, b.cmd.body);
		ck_assert_ptr_eq(a.cmd.body.p, b.cmd.body.p);
		ck_assert_uint_eq(a.cmd.argc, b.cmd.argc);
		ck_assert_uint_eq(a.cmd.first_key, b.cmd.first_key);
		ck_assert_uint_eq(a.cmd.key_step, b.cmd.key_step);
		ck_assert_uint_eq(a.cmd.key_count, b.cmd.key_count);
		for (uint32_t i = 0; i < a.cmd.argc; i++) same(a.cmd.argv[i], b.cmd.argv[i]);
	}
	free(data);
	parser_fini(&a.parser);
	parser_fini(&b.parser);
}

/* Each byte in turn changed to any other, left out, or said twice; and cut off there. */
static void ways_of_neighbours(const struct codec_limits *l, struct slice in)
{
	char text[128];
	for (size_t i = 0; i < in.n; i++) {
		memcpy(text, in.p, in.n);
		for (int c = 0; c < 256; c++) {
			text[i] = (char)c;
			two_ways(l, text, in.n);
		}
		memcpy(text + i, in.p + i + 1, in.n - i - 1);
		two_ways(l, text, in.n - 1);
		memcpy(text + i + 1, in.p + i, in.n - i);
		text[i] = in.p[i];
		two_ways(l, text, in.n + 1);
		two_ways(l, in.p, i);
	}
}

START_TEST(plain_requests_by_either_way)
{
	static const struct slice rows[] = {
		SLICE("get key\r\n"),
		SLICE("get key\r\nget other\r\n"),
		SLICE("set key 0 0 0\r\n\r\n"),
		SLICE("set key 12 3456 11\r\nhello world\r\n"),
		SLICE("set k 0 0 12\r\n0123456789ab\r\n1"),
		SLICE("set key 0 0 12\r\n0123456789ab\r\n"), /* 30 bytes, of 32 */
		SLICE("set k 0 0 13\r\n0123456789abc\r\n"),
		SLICE("set k 0 0 18446744073709551617\r\na\r\n"),
		SLICE("set key 10 0 12\r\n0123456789ab\r\n"),
		SLICE("set key 4294967295 2147483647 1\r\na\r\n"),
		SLICE("set key 4294967296 2147483648 1\r\na\r\n"),
		SLICE("set key 9999999999 0 1\r\na\r\n"),
		SLICE("set key 0 0 2147483645\r\na\r\n"),
		SLICE("set key 0 0 2147483646\r\na\r\n"),
		SLICE("set key 0 0 1 noreply\r\na\r\n"),
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ways_of_neighbours(&limits, rows[i]);
		ways_of_neighbours(&tight, rows[i]);
	}
	two_ways(&limits, "get " K250 "\r\n", 256);
	two_ways(&limits, "get " K251 "\r\n", 257);
	two_ways(&limits, "set " K250 " 0 0 1\r\na\r\n", 265);
	two_ways(&limits, "set " K251 " 0 0 1\r\na\r\n", 266);
}
END_TEST

/* --- parts ----------------------------------------------------------------------------------- */

static void part_is(const char *in, const uint32_t *index, uint32_t count, const char *want)
{
	struct parsed x = { 0 };
	struct scratch out = { 0 };
	parse(&x, &limits, in, strlen(in));
	ck_assert_int_eq(x.result, PARSE_OK);
	mc->encode_part(&x.cmd, index, count, &out);
	same(scratch_slice(&out), slice_of(want));
	scratch_fini(&out);
	parser_fini(&x.parser);
}

START_TEST(parts_of_a_read)
{
	part_is("get a bb c\r\n", (const uint32_t[]){ 0, 2 }, 2, "get a c\r\n");
	part_is("gets  a bb c\n", (const uint32_t[]){ 1 }, 1, "gets bb\r\n");
	part_is("gat  007 a bb c\r\n", (const uint32_t[]){ 1, 2 }, 2, "gat 7 bb c\r\n");
	part_is("gats -1 a a\r\n", (const uint32_t[]){ 0, 1 }, 2, "gats -1 a a\r\n");
}
END_TEST

/* --- replies --------------------------------------------------------------------------------- */

struct reply_row {
	int op;
	struct slice sent, in;
	enum parse_result result;
	enum reply_kind kind;
	uint32_t hits;
	bool close;
	size_t rest;
};

#define GOOD(op, in, kind)                                   \
	{                                                    \
		op, NONE, S(in), PARSE_OK, kind, 0, false, 0 \
	}
#define WRONG(op, sent, in)                                             \
	{                                                               \
		op, S(sent), S(in), PARSE_FATAL, REPLY_HIT, 0, false, 0 \
	}
#define FOUND(op, sent, in, hits)                                                             \
	{                                                                                     \
		op, S(sent), S(in), PARSE_OK, (hits) ? REPLY_HIT : REPLY_MISS, hits, false, 0 \
	}

/* clang-format off */
static const struct reply_row reply_rows[] = {
	GOOD(MC_SET, "STORED\r\n", REPLY_HIT),
	GOOD(MC_ADD, "NOT_STORED\r\n", REPLY_MISS),
	WRONG(MC_SET, "", "EXISTS\r\n"),
	WRONG(MC_SET, "", "STORED\n"),
	WRONG(MC_SET, "", "STORED \r\n"),
	WRONG(MC_SET, "", "stored\r\n"),
	WRONG(MC_SET, "", "\r\n"),
	WRONG(MC_SET, "", "\n"),
	WRONG(MC_SET, "", "END\r\n"),
	WRONG(MC_SET, "", "ERRORS\r\n"),
	WRONG(MC_SET, "", "+OK\r\n"),
	GOOD(MC_CAS, "STORED\r\n", REPLY_HIT),
	GOOD(MC_CAS, "EXISTS\r\n", REPLY_MISS),
	GOOD(MC_CAS, "NOT_FOUND\r\n", REPLY_MISS),
	GOOD(MC_INCR, "0\r\n", REPLY_HIT),
	GOOD(MC_INCR, "18446744073709551615\r\n", REPLY_HIT),
	GOOD(MC_DECR, "NOT_FOUND\r\n", REPLY_MISS),
	GOOD(MC_INCR, "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", REPLY_ERROR),
	WRONG(MC_INCR, "", "18446744073709551616\r\n"),
	WRONG(MC_INCR, "", "-1\r\n"),
	WRONG(MC_INCR, "", "1 \r\n"),
	WRONG(MC_INCR, "", "STORED\r\n"),
	GOOD(MC_DELETE, "DELETED\r\n", REPLY_HIT),
	GOOD(MC_DELETE, "NOT_FOUND\r\n", REPLY_MISS),
	WRONG(MC_DELETE, "", "TOUCHED\r\n"),
	GOOD(MC_TOUCH, "TOUCHED\r\n", REPLY_HIT),
	GOOD(MC_TOUCH, "NOT_FOUND\r\n", REPLY_MISS),
	WRONG(MC_TOUCH, "", "OK\r\n"),
	GOOD(MC_FLUSH_ALL, "OK\r\n", REPLY_HIT),
	GOOD(MC_PROBE, "VERSION 1.6.18\r\n", REPLY_HIT),
	GOOD(MC_PROBE, "ERROR\r\n", REPLY_ERROR),
	WRONG(MC_PROBE, "", "-ERR unknown command\r\n"),
	GOOD(MC_SET, "SERVER_ERROR out of memory storing object\r\n", REPLY_ERROR),
	{ MC_SET, NONE, S("CLIENT_ERROR bad data chunk\r\n"), PARSE_OK, REPLY_ERROR, 0, true, 0 },
	{ MC_CAS, NONE, S("ERROR\r\n"), PARSE_OK, REPLY_ERROR, 0, true, 0 },
	{ MC_DELETE, NONE, S("ERROR Too many open connections\r\n"), PARSE_OK, REPLY_ERROR, 0, true, 0 },
	{ MC_SET, NONE, S("STORED\r\nEND\r\n"), PARSE_OK, REPLY_HIT, 0, false, 5 },
	/* values */
	FOUND(MC_GET, "get a\r\n", "END\r\n", 0),
	FOUND(MC_GET, "get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n", 1),
	FOUND(MC_GET, "get a\r\n", "VALUE a 4294967295 0\r\n\r\nEND\r\n", 1),
	FOUND(MC_GET, "get a\r\n", "VALUE a 0 8\r\nx\r\nEND\r\n\r\nEND\r\n", 1),
	FOUND(MC_GET, "get 1234567\r\n", "VALUE 1234567 0 1\r\nx\r\nEND\r\n", 1),
	FOUND(MC_GET, "get 12345678\r\n", "VALUE 12345678 007 01\r\nx\r\nEND\r\n", 1),
	FOUND(MC_GET, "get 123456789abcdefg b\r\n", "VALUE 123456789abcdefg 0 1\r\nx\r\nEND\r\n", 1),
	WRONG(MC_GET, "get 12345678\r\n", "VALUE 1234567 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get 1234567\r\n", "VALUE 12345678 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get 12345678\r\n", "VALUE 12345679 0 1\r\nx\r\nEND\r\n"),
	/* two keys that were asked for, told as one */
	WRONG(MC_GET, "get 0 0\r\n", "VALUE 0 0 5 6\r\nxxxxxx\r\nEND\r\n"),
	WRONG(MC_GET, "get aaaaaaa 0\r\n", "VALUE aaaaaaa 0 1 1\r\nx\r\nEND\r\n"),
	FOUND(MC_GET, "get aa a b\r\n", "VALUE a 0 1\r\nx\r\nVALUE b 0 1\r\ny\r\nEND\r\n", 2),
	FOUND(MC_GET, "get a b a\r\n", "VALUE b 0 1\r\nx\r\nVALUE a 0 1\r\ny\r\nEND\r\n", 2),
	FOUND(MC_GET, "get a a\r\n", "VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n", 2),
	FOUND(MC_GETS, "gets a\r\n", "VALUE a 0 1 18446744073709551615\r\nx\r\nEND\r\n", 1),
	FOUND(MC_GAT, "gat 10 a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n", 1),
	FOUND(MC_GATS, "gats -1 a b\r\n", "VALUE b 0 1 9\r\nx\r\nEND\r\n", 1),
	{ MC_GET, S("get a\r\n"), S("SERVER_ERROR out of memory\r\n"), PARSE_OK, REPLY_ERROR, 0, false, 0 },
	{ MC_GAT, S("gat 1 a\r\n"), S("ERROR\r\n"), PARSE_OK, REPLY_ERROR, 0, false, 0 },
	{ MC_GET, S("get a b\r\n"), S("VALUE a 0 1\r\nx\r\nSERVER_ERROR oops\r\n"), PARSE_OK,
	  REPLY_ERROR, 1, false, 0 },
	{ MC_GET, S("get a\r\n"), S("END\r\nVALUE b 0 1\r\nx\r\nEND\r\n"), PARSE_OK, REPLY_MISS, 0,
	  false, 21 },
	WRONG(MC_GET, "get a b\r\n", "VALUE a 0 1\r\nx\r\nERROR\r\n"),
	WRONG(MC_GET, "get a b\r\n", "VALUE a 0 1\r\nx\r\nSTORED\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE b 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE aa 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get aa\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE get 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GAT, "gat 10 a\r\n", "VALUE 10 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a b\r\n", "VALUE b 0 1\r\nx\r\nVALUE a 0 1\r\ny\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 0 1 5\r\nx\r\nEND\r\n"),
	WRONG(MC_GETS, "gets a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GETS, "gets a\r\n", "VALUE a 0 1 18446744073709551616\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 4294967296 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 0 2147483648\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 0 -1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 0\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a x 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE  a 0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a  0 1\r\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE \r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 0 1\r\nxyz\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 0 2\r\nx\r\nEND\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "VALUE a 0 1\nx\r\nEND\r\n"),
	WRONG(MC_GET, "get a\r\n", "STORED\r\n"),
	WRONG(MC_GET, "get a\r\n", "END \r\n"),
};
/* clang-format on */

static void reply_check(const struct reply_row *row, size_t step)
{
	struct reply_resume resume = { 0 };
	struct reply reply;
	enum parse_result result = PARSE_NEED;
	for (size_t n = step < row->in.n ? step : row->in.n; result == PARSE_NEED; n += step) {
		if (n > row->in.n) n = row->in.n;
		char *data = exactly(row->in.p, n);
		result = mc->parse_reply(&mc_ops[row->op], row->sent, data, n, &resume, &reply);
		free(data);
		if (result == PARSE_NEED && n == row->in.n)
			ck_abort_msg("'%s': never done", row->in.p);
		if (resume.base.need > row->in.n && row->result == PARSE_OK)
			ck_abort_msg("'%s': needs %zu", row->in.p, resume.base.need);
	}
	if (result != row->result) ck_abort_msg("'%s': result %d", row->in.p, result);
	if (result != PARSE_OK) return;
	if (reply.n != row->in.n - row->rest) ck_abort_msg("'%s': n %zu", row->in.p, reply.n);
	if (reply.kind != row->kind) ck_abort_msg("'%s': kind %d", row->in.p, reply.kind);
	if (reply.hits != row->hits) ck_abort_msg("'%s': hits %u", row->in.p, reply.hits);
	if (reply.close != row->close) ck_abort_msg("'%s': close %d", row->in.p, reply.close);
}

START_TEST(replies_whole_and_in_pieces)
{
	for (size_t i = 0; i < sizeof(reply_rows) / sizeof(reply_rows[0]); i++)
		for (size_t step = 1; step <= reply_rows[i].in.n; step++)
			reply_check(&reply_rows[i], step);
}
END_TEST

START_TEST(reply_need_and_line_limit)
{
	struct reply_resume resume = { 0 };
	struct reply reply;
	const char *head = "VALUE a 0 1000\r\n";
	ck_assert_int_eq(mc->parse_reply(&mc_ops[MC_GET], SLICE("get a\r\n"), head, strlen(head),
					 &resume, &reply),
			 PARSE_NEED);
	ck_assert_uint_eq(resume.base.need, strlen(head) + 1000 + 2 + 5);

	char line[4096];
	memset(line, 'a', sizeof(line));
	memcpy(line, "SERVER_ERROR ", 13);
	resume = (struct reply_resume){ 0 };
	ck_assert_int_eq(mc->parse_reply(&mc_ops[MC_SET], SLICE(""), line, 2047, &resume, &reply),
			 PARSE_NEED);
	ck_assert_int_eq(mc->parse_reply(&mc_ops[MC_SET], SLICE(""), line, 2048, &resume, &reply),
			 PARSE_FATAL);
	resume = (struct reply_resume){ 0 };
	memcpy(line + 2046, "\r\n", 2);
	ck_assert_int_eq(mc->parse_reply(&mc_ops[MC_SET], SLICE(""), line, 2048, &resume, &reply),
			 PARSE_OK);

	/* nor may the line of a value be longer */
	for (size_t n = 2048; n <= 2049; n++) {
		resume = (struct reply_resume){ 0 };
		memset(line, '0', n);
		memcpy(line, "VALUE a 0 ", 10);
		memcpy(line + n - 3, "1\r\nx\r\nEND\r\n", 11);
		ck_assert_int_eq(mc->parse_reply(&mc_ops[MC_GET], SLICE("get a\r\n"), line, n + 8,
						 &resume, &reply),
				 n == 2048 ? PARSE_OK : PARSE_FATAL);
	}
}
END_TEST

START_TEST(full_server_is_unfit)
{
	struct reply_resume resume = { 0 };
	struct reply reply;
	struct slice in = SLICE("ERROR Too many open connections\r\n");
	ck_assert_int_eq(
	    mc->parse_reply(&mc_ops[MC_GET], SLICE("get a\r\n"), in.p, in.n, &resume, &reply),
	    PARSE_OK);
	ck_assert(reply.unhealthy && reply.close && reply.kind == REPLY_ERROR);
}
END_TEST

/* --- merging --------------------------------------------------------------------------------- */

struct collect {
	struct merge_sink sink;
	struct scratch out;
	uint32_t emits;
	const struct merge_part *parts;
};

static void collect_emit(struct merge_sink *sink, int part, struct slice bytes)
{
	struct collect *c = (struct collect *)sink;
	c->emits++;
	scratch_puts(&c->out, bytes);
	if (part < 0) return;
	struct slice whole = c->parts[part].reply;
	ck_assert(bytes.p >= whole.p && bytes.p + bytes.n <= whole.p + whole.n);
}

struct merge_row {
	int op;
	uint16_t part_of_key[8];
	uint32_t key_count;
	struct {
		const char *sent, *reply;
		enum err err;
		const char *server;
	} parts[3];
	enum on_server_error on_error;
	const char *want;
	enum reply_kind kind;
	uint32_t emits;
};

#define VA  "VALUE a 0 1\r\n1\r\n"
#define VB  "VALUE b 0 2\r\n22\r\n"
#define VC  "VALUE c 0 0\r\n\r\n"
#define VX  "VALUE x 0 5\r\nEND\r\n\r\n"
#define END "END\r\n"

/* clang-format off */
static const struct merge_row merge_rows[] = {
	{ MC_GET, { 0, 1, 0 }, 3, { { "get a c\r\n", VA VC END, 0, NULL }, { "get b\r\n", VB END, 0, NULL } },
	  ON_ERROR_ERROR, VA VB VC END, REPLY_HIT, 3 },
	/* neighbours make one run */
	{ MC_GET, { 0, 0, 1 }, 3, { { "get a c\r\n", VA VC END, 0, NULL }, { "get b\r\n", VB END, 0, NULL } },
	  ON_ERROR_ERROR, VA VC VB END, REPLY_HIT, 2 },
	/* also across another part's miss */
	{ MC_GET, { 0, 1, 0 }, 3, { { "get a c\r\n", VA VC END, 0, NULL }, { "get b\r\n", END, 0, NULL } },
	  ON_ERROR_ERROR, VA VC END, REPLY_HIT, 1 },
	{ MC_GET, { 1, 0 }, 2, { { "get a\r\n", END, 0, NULL }, { "get b\r\n", END, 0, NULL } },
	  ON_ERROR_ERROR, END, REPLY_MISS, 1 },
	/* the same key twice */
	{ MC_GET, { 0, 1, 0 }, 3, { { "get a a\r\n", VA VA END, 0, NULL }, { "get b\r\n", VB END, 0, NULL } },
	  ON_ERROR_ERROR, VA VB VA END, REPLY_HIT, 3 },
	/* ... one of them lost in between */
	{ MC_GET, { 0, 1, 0 }, 3, { { "get a a\r\n", VA END, 0, NULL }, { "get b\r\n", VB END, 0, NULL } },
	  ON_ERROR_ERROR, VA VB END, REPLY_HIT, 2 },
	/* a value that looks like an end */
	{ MC_GET, { 0, 1 }, 2, { { "get x\r\n", VX END, 0, NULL }, { "get b\r\n", VB END, 0, NULL } },
	  ON_ERROR_ERROR, VX VB END, REPLY_HIT, 2 },
	/* one key begins like another */
	{ MC_GET, { 0, 0, 1 }, 3, { { "get aa a\r\n", VA END, 0, NULL }, { "get b\r\n", VB END, 0, NULL } },
	  ON_ERROR_ERROR, VA VB END, REPLY_HIT, 2 },
	{ MC_GATS, { 1, 0 }, 2,
	  { { "gats 5 b\r\n", "VALUE b 0 1 7\r\nx\r\n" END, 0, NULL },
	    { "gats 5 a\r\n", "VALUE a 0 1 8\r\ny\r\n" END, 0, NULL } },
	  ON_ERROR_ERROR, "VALUE a 0 1 8\r\ny\r\nVALUE b 0 1 7\r\nx\r\n" END, REPLY_HIT, 2 },
	/* a part failed here */
	{ MC_GET, { 0, 1 }, 2, { { "get a\r\n", VA END, 0, NULL }, { "get b\r\n", "", ERR_TIMEOUT, "s2" } },
	  ON_ERROR_ERROR, "SERVER_ERROR Connection timed out (server s2)\r\n", REPLY_ERROR, 1 },
	{ MC_GET, { 0, 1 }, 2, { { "get a\r\n", VA END, 0, NULL }, { "get b\r\n", "", ERR_TKO, NULL } },
	  ON_ERROR_ERROR, "SERVER_ERROR server is marked down\r\n", REPLY_ERROR, 1 },
	{ MC_GET, { 1, 0 }, 2, { { "get a\r\n", VA END, 0, NULL }, { "get b\r\n", "", ERR_TIMEOUT, "s2" } },
	  ON_ERROR_MISS, VA END, REPLY_HIT, 1 },
	{ MC_GET, { 1, 0 }, 2, { { "get a\r\n", "", ERR_REFUSED, NULL }, { "get b\r\n", "", ERR_TIMEOUT, NULL } },
	  ON_ERROR_MISS, END, REPLY_MISS, 1 },
	/* or at the server, before or after a value */
	{ MC_GET, { 0, 1 }, 2, { { "get a\r\n", VA END, 0, NULL }, { "get b\r\n", "SERVER_ERROR no\r\n", 0, NULL } },
	  ON_ERROR_ERROR, "SERVER_ERROR no\r\n", REPLY_ERROR, 1 },
	{ MC_GET, { 0, 1 }, 2, { { "get a\r\n", VA END, 0, NULL }, { "get b\r\n", "SERVER_ERROR no\r\n", 0, NULL } },
	  ON_ERROR_MISS, VA END, REPLY_HIT, 1 },
	{ MC_GET, { 0, 0, 1 }, 3, { { "get a c\r\n", VA "SERVER_ERROR no\r\n", 0, NULL }, { "get b\r\n", END, 0, NULL } },
	  ON_ERROR_MISS, VA END, REPLY_HIT, 2 },
	{ MC_GET, { 0, 0, 1 }, 3, { { "get a c\r\n", VA "SERVER_ERROR END\r\n", 0, NULL }, { "get b\r\n", END, 0, NULL } },
	  ON_ERROR_ERROR, "SERVER_ERROR END\r\n", REPLY_ERROR, 1 },
	{ MC_GAT, { 0, 1 }, 2, { { "gat 1 a\r\n", "ERROR\r\n", 0, NULL }, { "gat 1 b\r\n", VB END, 0, NULL } },
	  ON_ERROR_MISS, "ERROR\r\n", REPLY_ERROR, 1 },
	/* flush_all */
	{ MC_FLUSH_ALL, { 0 }, 0, { { "", "OK\r\n", 0, NULL }, { "", "OK\r\n", 0, NULL } },
	  ON_ERROR_MISS, "OK\r\n", REPLY_HIT, 1 },
	{ MC_FLUSH_ALL, { 0 }, 0, { { "", "OK\r\n", 0, NULL }, { "", "CLIENT_ERROR flush_all not allowed\r\n", 0, NULL } },
	  ON_ERROR_ERROR, "CLIENT_ERROR flush_all not allowed\r\n", REPLY_ERROR, 1 },
	{ MC_FLUSH_ALL, { 0 }, 0, { { "", "", ERR_CLOSED, "s1" }, { "", "OK\r\n", 0, NULL } },
	  ON_ERROR_MISS, "SERVER_ERROR Connection closed by server (server s1)\r\n", REPLY_ERROR, 1 },
};
/* clang-format on */

/* As a connection tells them: from a reply that comes `step` bytes at a time. */
static void tell_ends(const struct op_info *info, struct merge_part *part, size_t step)
{
	struct reply_resume resume = { .ends = part->ends, .ends_room = 8 };
	struct reply reply;
	enum parse_result r = PARSE_NEED;
	for (size_t n = step; r == PARSE_NEED; n += step) {
		if (n > part->reply.n) n = part->reply.n;
		r = mc->parse_reply(info, part->sent, part->reply.p, n, &resume, &reply);
	}
	ck_assert_int_eq(r, PARSE_OK);
	part->ends_known = resume.ends != NULL;
}

/* _i: of how many bytes the pieces are in which replies came; 0: no connection brought them. */
START_TEST(merges)
{
	for (size_t i = 0; i < sizeof(merge_rows) / sizeof(merge_rows[0]); i++) {
		const struct merge_row *row = &merge_rows[i];
		struct merge_part parts[3] = { 0 };
		uint32_t ends[3][8] = { 0 };
		uint32_t count = 0;
		for (; count < 3 && row->parts[count].sent; count++) {
			parts[count].sent = slice_of(row->parts[count].sent);
			parts[count].reply = slice_of(row->parts[count].reply);
			parts[count].err = row->parts[count].err;
			parts[count].server = row->parts[count].server;
			parts[count].ends = ends[count];
			if (_i > 0 && !parts[count].err)
				tell_ends(&mc_ops[row->op], &parts[count], (size_t)_i);
		}
		struct collect c = { .sink.emit = collect_emit, .parts = parts };
		enum reply_kind kind = mc->merge(&mc_ops[row->op], row->part_of_key, row->key_count,
						 parts, count, row->on_error, &c.sink);
		same(scratch_slice(&c.out), slice_of(row->want));
		if (kind != row->kind) ck_abort_msg("row %zu: kind %d", i, kind);
		if (c.emits != row->emits) ck_abort_msg("row %zu: %u emits", i, c.emits);
		scratch_fini(&c.out);
	}
}
END_TEST

/* --- the rest -------------------------------------------------------------------------------- */

static void failure_is(int op, enum err e, const char *server, enum on_server_error on_error,
		       const char *want)
{
	struct scratch out = { 0 };
	mc->encode_failure(&mc_ops[op], e, server, on_error, 1, &out);
	same(scratch_slice(&out), slice_of(want));
	scratch_fini(&out);
}

START_TEST(failures)
{
	failure_is(MC_GET, ERR_REFUSED, NULL, ON_ERROR_ERROR,
		   "SERVER_ERROR Connection refused\r\n");
	failure_is(MC_GET, ERR_TIMEOUT, "s1", ON_ERROR_ERROR,
		   "SERVER_ERROR Connection timed out (server s1)\r\n");
	failure_is(MC_GET, ERR_REFUSED, "s1", ON_ERROR_MISS, "END\r\n");
	failure_is(MC_GATS, ERR_REFUSED, "s1", ON_ERROR_MISS, "END\r\n");
	failure_is(MC_SET, ERR_REFUSED, NULL, ON_ERROR_MISS, "SERVER_ERROR Connection refused\r\n");
}
END_TEST

START_TEST(handshake_probe_and_table)
{
	struct scratch out = { 0 };
	struct pool_spec pool = { 0 };
	ck_assert_ptr_null(mc->handshake(&pool, NULL, 2, 0, &out));
	pool.cas_tags = true;
	ck_assert_int_eq(mc->handshake(&pool, NULL, 2, 0, &out)->id, MC_INCARNATION);
	same(scratch_slice(&out), SLICE("stats\r\n"));
	ck_assert_ptr_null(mc->handshake(&pool, NULL, 2, 1, &out));
	scratch_clear(&out);
	const struct op_info *probe = mc->probe(&out);
	same(scratch_slice(&out), SLICE("version\r\n"));
	ck_assert_int_eq(probe->id, MC_PROBE);
	for (uint32_t i = 0; i < mc->op_count; i++) {
		const struct op_info *info = mc->op(i);
		ck_assert_uint_eq(info->id, i);
		ck_assert_ptr_nonnull(info->name);
		for (uint32_t j = 0; j < i; j++) ck_assert_str_ne(info->name, mc->op(j)->name);
	}
	ck_assert_ptr_null(mc->op(mc->op_count));
	scratch_fini(&out);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("codec_mc");
	TCase *t = tcase_create("codec_mc");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, requests_whole_and_in_pieces);
	tcase_add_test(t, first_byte_of_another_protocol);
	tcase_add_test(t, flush_only_where_allowed);
	tcase_add_test(t, line_limits);
	tcase_add_test(t, many_keys);
	tcase_add_test(t, bodies_by_size);
	tcase_add_test(t, request_limit_counts_line_and_body);
	tcase_add_test(t, plain_requests_by_either_way);
	tcase_add_test(t, parts_of_a_read);
	tcase_add_test(t, replies_whole_and_in_pieces);
	tcase_add_test(t, reply_need_and_line_limit);
	tcase_add_test(t, full_server_is_unfit);
	tcase_add_loop_test(t, merges, 0, 40);
	tcase_add_test(t, failures);
	tcase_add_test(t, handshake_probe_and_table);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
