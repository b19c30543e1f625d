/* codec_resp_request.c - one request: "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".
 *
 * Stricter than redis, which takes any two bytes for the line end behind a bulk: what two readers
 * could read differently never reaches a server. So the input is the canonical form, and is
 * forwarded as it stands.
 */
#include "common/codec_resp.h"

enum { DIGITS_MAX = 10 };

/* The digits of a header and its CRLF at *at. */
static enum parse_result header_number(const char *data, size_t n, size_t *at, uint64_t *value_out)
{
	size_t i = *at;
	uint64_t v = 0;
	while (i < n && (unsigned)(data[i] - '0') < 10) {
		if (i - *at >= DIGITS_MAX) return PARSE_FATAL;
		if (v == 0 && i > *at) return PARSE_FATAL; /* a leading zero */
		v = v * 10 + (unsigned)(data[i++] - '0');
	}
	if (i == n) return PARSE_NEED;
	if (i == *at || data[i] != '\r') return PARSE_FATAL;
	if (i + 1 == n) return PARSE_NEED;
	if (data[i + 1] != '\n') return PARSE_FATAL;
	*at = i + 2;
	*value_out = v;
	return PARSE_OK;
}

struct reader {
	struct parser *p;
	const struct codec_limits *limits;
	const char *data;
	size_t n;
	struct parse_resume *resume;
	struct command *cmd;
};

static enum parse_result wrong_type(struct reader *r, char got)
{
	char text[] = "expected '$', got ' '";
	if (got > ' ' && got < 0x7f) text[sizeof(text) - 3] = got;
	return resp_fatal(r->p, r->cmd, text);
}

/* One "$3\r\nkey\r\n" at *at. */
static inline enum parse_result read_bulk(struct reader *r, size_t *at, struct slice *out)
{
	size_t i = *at;
	if (i == r->n) return PARSE_NEED;
	if (r->data[i] != '$') return wrong_type(r, r->data[i]);
	i++;
	uint64_t len;
	enum parse_result result = header_number(r->data, r->n, &i, &len);
	if (result == PARSE_NEED) return PARSE_NEED;
	if (result != PARSE_OK || len > r->limits->value_max_bytes)
		return resp_fatal(r->p, r->cmd, "invalid bulk length");
	if (i + len + 2 > r->limits->request_max_bytes)
		return resp_fatal(r->p, r->cmd, "request too large");
	/* Each byte of the line end is judged as soon as it is there, as with any other byte. */
	if (i + len < r->n && r->data[i + len] != '\r')
		return resp_fatal(r->p, r->cmd, "expected CRLF after bulk");
	if (i + len + 2 > r->n) {
		r->resume->need = i + len + 2;
		return PARSE_NEED;
	}
	if (r->data[i + len + 1] != '\n')
		return resp_fatal(r->p, r->cmd, "expected CRLF after bulk");
	*out = (struct slice){ r->data + i, len };
	*at = i + len + 2;
	return PARSE_OK;
}

/* The count behind '*'. One is the least: redis skips *0 and *-1 without a word, but no client
 * sends them. */
static enum parse_result read_count(struct reader *r, size_t *at, uint64_t *count_out)
{
	size_t i = *at + 1;
	enum parse_result result = header_number(r->data, r->n, &i, count_out);
	if (result == PARSE_NEED) return PARSE_NEED;
	uint32_t most =
	    r->limits->args_max < RESP_MULTIBULK_MAX ? r->limits->args_max : RESP_MULTIBULK_MAX;
	if (result != PARSE_OK || *count_out == 0 || *count_out > most)
		return resp_fatal(r->p, r->cmd, "invalid multibulk length");
	*at = i;
	return PARSE_OK;
}

/* Go over the arguments that came since the last call, without keeping them: until the rest is
 * here, the parser serves other clients. */
static enum parse_result skim(struct reader *r)
{
	size_t at = r->resume->at;
	struct slice unused;
	while (r->resume->left) {
		enum parse_result result = read_bulk(r, &at, &unused);
		if (result != PARSE_OK) return result;
		r->resume->at = at;
		r->resume->left--;
	}
	return PARSE_OK;
}

static enum parse_result read_array(struct reader *r, size_t start)
{
	struct parser *p = r->p;
	size_t at = start;
	uint64_t count = 0;
	if (r->resume->at) {
		r->resume->need = 0;
		enum parse_result result = skim(r);
		if (result != PARSE_OK) return result;
	}
	enum parse_result result = read_count(r, &at, &count);
	/* Room is made for what is there, not for what is announced. */
	for (uint64_t i = 0; result == PARSE_OK && i < count; i++) {
		if (i >= p->argv_cap) parser_argv(p, (uint32_t)i + 1);
		size_t begin = at;
		result = read_bulk(r, &at, &p->argv[i]);
		if (result != PARSE_NEED) continue;
		r->resume->at = begin;
		r->resume->left = count - i;
	}
	if (result != PARSE_OK) return result;
	r->cmd->argv = p->argv;
	r->cmd->argc = (uint32_t)count;
	r->cmd->consumed = at;
	r->cmd->head = (struct slice){ r->data + start, at - start };
	return PARSE_OK;
}

/* Empty lines between requests mean nothing: people press return, and masters ping so. */
static size_t skip_blank_lines(const char *data, size_t n)
{
	size_t begin = 0;
	for (size_t i = 0; i < n && resp_is_blank(data[i]); i++)
		if (data[i] == '\n') begin = i + 1;
	return begin;
}

/* Whatever it is: inline commands, incomplete requests, and all that can be wrong with one. */
static __attribute__((noinline)) enum parse_result
parse_any(struct parser *p, const struct codec_limits *limits, const char *data, size_t n,
	  struct parse_resume *resume, struct command *cmd)
{
	struct reader r = { p, limits, data, n, resume, cmd };
	size_t start = 0;
	if (n && data[0] != '*') start = skip_blank_lines(data, n);
	if (start > RESP_INLINE_MAX) return resp_fatal(p, cmd, "too big inline request");
	if (start == n) return PARSE_NEED;
	if (data[start] == '*') return read_array(&r, start);
	return resp_parse_inline(p, limits, data, start, n, cmd);
}

/* --- what nearly every call is given: a whole request, and nothing to say against it ---------- */

/* A header's number behind its type byte at p; returns what follows it, NULL for anything else. */
static inline const char *good_number(const char *p, const char *end, uint64_t *value_out)
{
	size_t at = resp_short_number(p, (size_t)(end - p), value_out);
	if (at == 0 && header_number(p, (size_t)(end - p), &at, value_out) != PARSE_OK) return NULL;
	return p + at;
}

/* False: parse_any() is to say what it is. Most requests are small, so that looking again costs
 * little; what is large and comes in pieces is never looked at here but the first time. */
static inline bool read_good(struct parser *p, const struct codec_limits *limits, const char *data,
			     size_t n, struct command *cmd)
{
	const char *end =
	    data + (n < limits->request_max_bytes ? n : (size_t)limits->request_max_bytes);
	uint64_t count, len;
	if (data == end || *data != '*') return false;
	const char *at = good_number(data + 1, end, &count);
	if (!at || count == 0 || count > limits->args_max || count > RESP_MULTIBULK_MAX)
		return false;
	struct slice *argv = p->argv;
	for (uint32_t i = 0; i < count; i++) {
		if (at == end || *at != '$') return false;
		const char *text = good_number(at + 1, end, &len);
		if (!text || len > limits->value_max_bytes || (size_t)(end - text) < len + 2)
			return false;
		if (text[len] != '\r' || text[len + 1] != '\n') return false;
		if (i == p->argv_cap) argv = parser_argv(p, i + 1);
		argv[i] = (struct slice){ text, len };
		at = text + len + 2;
	}
	cmd->argv = argv;
	cmd->argc = (uint32_t)count;
	cmd->consumed = (size_t)(at - data);
	cmd->head = (struct slice){ data, cmd->consumed };
	return true;
}

enum parse_result resp_parse_request(struct parser *p, const struct codec_limits *limits,
				     const char *data, size_t n, struct parse_resume *resume,
				     struct command *cmd, size_t *skip_out)
{
	(void)skip_out; /* what is too large cannot be skipped in sync: redis closes as well */
	zero_in_pieces(cmd, sizeof(*cmd));
	scratch_clear(&p->tmp);
	enum parse_result result = PARSE_OK;
	if (resume->at || !read_good(p, limits, data, n, cmd))
		result = parse_any(p, limits, data, n, resume, cmd);
	if (result == PARSE_OK) resp_resolve(p, limits, cmd);
	return result;
}
