/* codec_mc_request.h - one memcached request while it is parsed: for the parsers only.
 *
 * A parser gets a request whose line is complete, checks its arguments, and leaves in the command
 * what goes to the server: the client's own bytes where they are what we would write (`plain`),
 * else a line rebuilt in the parser's memory.
 */
#ifndef TWINRING_COMMON_CODEC_MC_REQUEST_H
#define TWINRING_COMMON_CODEC_MC_REQUEST_H

#include "common/codec_mc_scan.h"
#include "common/codec_mc_text.h"

enum {
	MC_LINE_MAX = 2048,	   /* any line but a read's, its newline included  */
	MC_GET_LINE_MAX = 1 << 20, /* a read's                                     */
	MC_BODY_APART = 4096,	   /* a body of this size may be passed by reference */
	MC_ARGS_MAX = 8,	   /* arguments worth keeping; more are only counted */
	MC_VERB_MAX = 16,
};

struct mc_verb;

struct mc_request {
	struct parser *parser;
	const struct codec_limits *limits;
	const char *data;
	size_t n;
	struct parse_resume *resume;
	struct command *cmd;
	size_t *skip_out;
	const struct mc_verb *row;
	struct slice verb;
	const char *args; /* where the verb ends                                  */
	const char *end;  /* where the line ends, before its CRLF or LF           */
	size_t line_n;	  /* bytes of the line, newline included                  */
	bool plain;	  /* up to here the line is what we would write ourselves */
};

typedef enum parse_result (*mc_parse_fn)(struct mc_request *r);

struct mc_verb {
	char name[MC_VERB_MAX]; /* padded with NUL          */
	mc_parse_fn parse;
	const struct op_info *info;
	struct slice refusal; /* of those that are refused */
};

/* The row of a verb, or NULL. */
const struct mc_verb *mc_verb_find(struct slice verb);

struct mc_args {
	struct slice v[MC_ARGS_MAX];
	uint32_t n;
	bool clean; /* no control characters */
};

#define MC_ERROR       SLICE("ERROR\r\n")
#define MC_BAD_FORMAT  SLICE("CLIENT_ERROR bad command line format\r\n")
#define MC_BAD_CHUNK   SLICE("CLIENT_ERROR bad data chunk\r\n")
#define MC_BAD_EXPTIME SLICE("CLIENT_ERROR invalid exptime argument\r\n")

void mc_args_split(struct mc_request *r, struct mc_args *args);

/* As memcached has it: a last argument of "noreply" counts, wherever it stands, and silences even
 * errors. Sets CMD_NOREPLY. */
void mc_args_noreply(struct mc_request *r, const struct mc_args *args);

/* Answer `text` (nothing if the client wants no reply) to the line. */
enum parse_result mc_refuse(struct mc_request *r, enum parse_result how, struct slice text);

/* The same, and drop the body: nothing in it may ever be taken for a command. */
enum parse_result mc_refuse_body(struct mc_request *r, uint32_t bytes, struct slice text);

/* The command has this one key. */
void mc_set_key(struct mc_request *r, struct slice key);
/* The line goes to the server as it came. */
enum parse_result mc_set_head(struct mc_request *r);
/* The same, but ending with argument `last`: "noreply" is not for servers. */
enum parse_result mc_cut_head(struct mc_request *r, struct slice last);
/* Begin a rebuilt line: the verb. */
struct scratch *mc_rebuild(struct mc_request *r);
void mc_rebuild_arg(struct scratch *out, struct slice arg);
void mc_rebuild_i64(struct scratch *out, int64_t v);
void mc_rebuild_u64(struct scratch *out, uint64_t v);
/* 20 digits, so that another token fits in its place. */
void mc_put_token(struct scratch *out, uint64_t v);
/* In a pool with cas_tags, take the row's tagged twin. */
enum parse_result mc_tagged(struct mc_request *r, enum parse_result result);
/* End it: the rebuilt line goes to the server. */
enum parse_result mc_rebuilt(struct mc_request *r);

/* Any request. */
enum parse_result mc_parse_any(struct parser *p, const struct codec_limits *limits,
			       const char *data, size_t n, struct parse_resume *resume,
			       struct command *cmd, size_t *skip_out);

enum parse_result mc_parse_get(struct mc_request *r);
enum parse_result mc_parse_gets(struct mc_request *r);
enum parse_result mc_parse_gats(struct mc_request *r);
enum parse_result mc_parse_cas(struct mc_request *r);
enum parse_result mc_parse_gat(struct mc_request *r);
enum parse_result mc_parse_store(struct mc_request *r);
enum parse_result mc_parse_meta(struct mc_request *r);
enum parse_result mc_parse_meta_set(struct mc_request *r);
enum parse_result mc_parse_noop(struct mc_request *r);
/* Where the pool does not take meta commands. */
enum parse_result mc_parse_meta_refused(struct mc_request *r);
enum parse_result mc_parse_meta_set_refused(struct mc_request *r);
enum parse_result mc_parse_arith(struct mc_request *r);
enum parse_result mc_parse_delete(struct mc_request *r);
enum parse_result mc_parse_touch(struct mc_request *r);
enum parse_result mc_parse_flush_all(struct mc_request *r);
enum parse_result mc_parse_verbosity(struct mc_request *r);
enum parse_result mc_parse_local(struct mc_request *r);
enum parse_result mc_parse_quit(struct mc_request *r);
enum parse_result mc_parse_refused(struct mc_request *r);

#endif
