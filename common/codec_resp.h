/* codec_resp.h - what the files of the Redis codec share with each other and with local_redis.
 *
 *   codec_resp.c          the vtable, handshake, probe
 *   codec_resp_request.c  requests: arrays of bulk strings
 *   codec_resp_inline.c   requests: lines as a human types them
 *   codec_resp_command.c  which command it is, what its keys are, why it is refused
 *   codec_resp_keys.c     the rules by which keys are found
 *   codec_resp_reply.c    replies, RESP2 and RESP3
 *   codec_resp_held.c     a read under MULTI
 *   codec_resp_merge.c    requests taken apart, replies put together, failures told
 *   resp_commands.*       the table of commands
 */
#ifndef TWINRING_COMMON_CODEC_RESP_H
#define TWINRING_COMMON_CODEC_RESP_H

#include "common/resp_commands.h"

enum {
	RESP_INLINE_MAX = 65536, /* a request typed as a line; redis' own limit */
	RESP_LINE_MAX = 65536,	 /* a status, error or number in a reply        */
	RESP_ERROR_MAX = 1024,	 /* an error text of ours                       */
	RESP_MULTIBULK_MAX = 1024 * 1024,
};

/* --- requests */

enum parse_result resp_parse_request(struct parser *p, const struct codec_limits *limits,
				     const char *data, size_t n, struct parse_resume *resume,
				     struct command *cmd, size_t *skip_out);

/* A line, found at data[at..n); `at` is where it begins. */
enum parse_result resp_parse_inline(struct parser *p, const struct codec_limits *limits,
				    const char *data, size_t at, size_t n, struct command *cmd);

/* What separates words on a line, '\n' included: the C locale's isspace(). */
static inline bool resp_is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One digit or two and their CRLF, in canonical form and all here, as in nearly every header: how
 * many bytes of p[0..n) they take. 0: anything else, which may be as good. */
static inline size_t resp_short_number(const char *p, size_t n, uint64_t *value_out)
{
	if (n < 4) return 0;
	unsigned first = (unsigned)(p[0] - '0'), second = (unsigned)(p[1] - '0');
	if (first > 9) return 0;
	if (p[1] == '\r' && p[2] == '\n') {
		*value_out = first;
		return 3;
	}
	if (first == 0 || second > 9 || p[2] != '\r' || p[3] != '\n') return 0;
	*value_out = first * 10 + second;
	return 4;
}

/* `text` goes to p->tmp as a whole error reply, without moving what p->tmp already holds when
 * RESP_ERROR_MAX bytes were reserved behind it. */
struct slice resp_error(struct parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* PARSE_FATAL with `-ERR Protocol error: text`. */
enum parse_result resp_fatal(struct parser *p, struct command *cmd, const char *text);

/* From cmd->argv[0..argc), which must be p->argv, find out the rest: info, key, the key list, and
 * for what is not forwarded (OP_REFUSED) the answer in cmd->error. May grow p->argv. */
void resp_resolve(struct parser *p, const struct codec_limits *limits, struct command *cmd);

/* Make cmd one that is not forwarded, and answered with this error. */
void resp_refuse(struct parser *p, struct command *cmd, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for something known that a proxy cannot do: `what` is "'sort' with BY". */
void resp_unsupported(struct parser *p, struct command *cmd, const char *what, const char *why);

/* Apply the row's rule. False: refused, and cmd->error says why. */
bool resp_find_keys(struct parser *p, const struct codec_limits *limits,
		    const struct resp_command *row, struct command *cmd);

/* Digits of the canonical form: no sign, no leading zero, at most `max`. False: anything else. */
bool resp_count(struct slice s, uint64_t max, uint64_t *value_out);

/* --- replies */

enum parse_result resp_parse_reply(const struct op_info *info, struct slice sent, const char *data,
				   size_t n, struct reply_resume *resume, struct reply *reply_out);

/* One value inside a reply that was already found legal: its bytes, attributes included. */
struct slice resp_value(const char *data, size_t n);

/* A line of the form ":123\r\n"; false when it is something else or out of range. */
bool resp_integer(struct slice reply, int64_t *value_out);

/* "*3\r\n": how many bytes the head of an array takes and how many values follow. Attributes in
 * front count as head. False: not an array. */
bool resp_array(struct slice reply, size_t *head_out, uint64_t *count_out);

/* $-1, *-1 or _ */
bool resp_is_nil(struct slice value);

/* --- parts and failures */

void resp_encode_part(const struct command *cmd, const uint32_t *index, uint32_t count,
		      struct scratch *out);
enum reply_kind resp_merge(const struct op_info *info, const uint16_t *part_of_key,
			   uint32_t key_count, struct merge_part *parts, uint32_t part_count,
			   enum on_server_error on_error, struct merge_sink *sink);
void resp_encode_failure(const struct op_info *info, enum err e, const char *server,
			 enum on_server_error on_error, uint32_t key_count, struct scratch *out);

/* --- a read under MULTI, while its key may be on another server */

/* MULTI, EXISTS key..., `request`, EXEC: one request for RESP_HELD_READ, which is answered by four
 * values that count as one reply. */
void resp_put_held(struct scratch *out, const struct slice *keys, uint32_t key_count,
		   struct slice request);

struct resp_held {
	int64_t present;    /* of the keys; -1: the server refused it all ... */
	struct slice value; /* the reply to the request; or why it refused    */
};

/* `reply`: whole and legal. */
struct resp_held resp_read_held(struct slice reply);
/* Are these four values that belong together? */
bool resp_held_is_legal(struct slice reply);

/* --- writing */

void resp_put_bulk(struct scratch *out, struct slice s);
void resp_put_head(struct scratch *out, char type, uint64_t n); /* "*3\r\n" */

#endif
