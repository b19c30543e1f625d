#include "common/codec_mc_scan.h"
#include "common/codec_mc_text.h"

enum { MC_REPLY_LINE_MAX = 2048 };

/* A whole line of a reply, without its CRLF. */
struct mc_reply_line {
	const char *p, *end;
	size_t n; /* with it */
};

static enum parse_result mc_reply_line(const char *p, size_t n, struct mc_reply_line *out)
{
	size_t window = n < MC_REPLY_LINE_MAX ? n : MC_REPLY_LINE_MAX;
	const char *newline = window ? memchr(p, '\n', window) : NULL;
	if (!newline) return window == MC_REPLY_LINE_MAX ? PARSE_FATAL : PARSE_NEED;
	if (newline == p || newline[-1] != '\r') return PARSE_FATAL;
	*out = (struct mc_reply_line){ p, newline - 1, newline - p + 1 };
	return PARSE_OK;
}

static bool mc_line_is(const struct mc_reply_line *line, struct slice text)
{
	return slice_eq((struct slice){ line->p, line->end - line->p }, text);
}

/* The line is `word`, or begins with it and a blank. */
static bool mc_line_begins(const struct mc_reply_line *line, struct slice word)
{
	size_t n = line->end - line->p;
	return n >= word.n && memcmp(line->p, word.p, word.n) == 0 &&
	       (n == word.n || line->p[word.n] == ' ');
}

/* --- errors -------------------------------------------------------------------------------- */

static bool mc_reply_error(const struct op_info *info, const struct mc_reply_line *line,
			   struct reply *out)
{
	bool server = mc_line_begins(line, SLICE("SERVER_ERROR"));
	if (!server && !mc_line_begins(line, SLICE("CLIENT_ERROR")) &&
	    !mc_line_begins(line, SLICE("ERROR")))
		return false;
	out->kind = REPLY_ERROR;
	/* What a server says in place of a welcome; it hangs up next. */
	if (mc_line_is(line, SLICE("ERROR Too many open connections")))
		out->unhealthy = out->close = true;
	/* The server did not like the line, so it takes the body for commands. We check lines so
	 * that this cannot be; if it is, the connection must not be used any more. */
	if (!server && (info->shape == MC_SHAPE_STORE || info->shape == MC_SHAPE_CAS ||
			info->shape == MC_SHAPE_META_SET))
		out->close = true;
	return true;
}

/* --- replies of one line ------------------------------------------------------------------- */

struct mc_answer {
	struct slice text;
	enum reply_kind kind;
};

/* clang-format off */
#define ANSWER(text, kind) { { text, sizeof(text) - 1 }, kind }
static const struct mc_answer answers[MC_SHAPE_MAX][5] = {
	[MC_SHAPE_STORE]  = { ANSWER("STORED", REPLY_HIT), ANSWER("NOT_STORED", REPLY_MISS) },
	[MC_SHAPE_CAS]    = { ANSWER("STORED", REPLY_HIT), ANSWER("EXISTS", REPLY_MISS),
			      ANSWER("NOT_FOUND", REPLY_MISS), ANSWER("NOT_STORED", REPLY_MISS) },
	[MC_SHAPE_COUNT]  = { ANSWER("NOT_FOUND", REPLY_MISS) },
	[MC_SHAPE_DELETE] = { ANSWER("DELETED", REPLY_HIT), ANSWER("NOT_FOUND", REPLY_MISS) },
	[MC_SHAPE_TOUCH]  = { ANSWER("TOUCHED", REPLY_HIT), ANSWER("NOT_FOUND", REPLY_MISS) },
	[MC_SHAPE_OK]     = { ANSWER("OK", REPLY_HIT) },
};
/* clang-format on */

static bool mc_reply_answer(unsigned shape, const struct mc_reply_line *line, struct reply *out)
{
	for (const struct mc_answer *a = answers[shape]; a->text.n; a++) {
		if (!mc_line_is(line, a->text)) continue;
		out->kind = a->kind;
		return true;
	}
	uint64_t count;
	if (shape == MC_SHAPE_VERSION) return mc_line_begins(line, SLICE("VERSION"));
	return shape == MC_SHAPE_COUNT &&
	       mc_digits(line->p, line->end, UINT64_MAX, &count) == line->end;
}

static enum parse_result mc_reply_single(const struct op_info *info, const char *data, size_t n,
					 struct reply *out)
{
	struct mc_reply_line line;
	enum parse_result result = mc_reply_line(data, n, &line);
	if (result != PARSE_OK) return result;
	out->n = line.n;
	if (mc_reply_answer(info->shape, &line, out) || mc_reply_error(info, &line, out))
		return PARSE_OK;
	return PARSE_FATAL;
}

/* --- values -------------------------------------------------------------------------------- */

size_t mc_sent_keys(unsigned shape, struct slice sent)
{
	bool exptime = shape == MC_SHAPE_GAT || shape == MC_SHAPE_GATS;
	const char *p = sent.p, *end = sent.p + sent.n;
	for (int skip = exptime ? 2 : 1; skip > 0; skip--) {
		p = mc_span(p, end);
		if (p < end) p++;
	}
	return p - sent.p;
}

struct slice mc_sent_key(struct slice sent, size_t at)
{
	const char *p = sent.p + at;
	return (struct slice){ p, mc_span(p, sent.p + sent.n) - p };
}

/* Find `key` among the sent keys from *at on, and move *at behind it. A server answers in the
 * order it was asked in, and leaves out what it has not. */
static bool mc_sent_find(struct slice sent, struct slice key, uint64_t *at)
{
	while (*at < sent.n) {
		const char *p = sent.p + *at;
		size_t left = sent.n - *at;
		/* Most often it is the first; then there is no need to look for its end. */
		if (left > key.n && (unsigned char)p[key.n] <= ' ' &&
		    memcmp(p, key.p, key.n) == 0) {
			*at += key.n + 1;
			return true;
		}
		*at += mc_sent_key(sent, *at).n + 1;
	}
	return false;
}

/* "VALUE key flags bytes[ cas]\r\n" */
struct mc_value_line {
	struct slice key;
	uint64_t bytes;
	size_t n;
	bool is_next; /* the key is the one that was expected */
};

/* The VALUE line at `p`; false: there is none, or not a whole one. `next` are the sent keys from
 * the one on that is most likely its own: then there is no need to look for its end. */
static inline bool mc_value_line(const char *p, const char *end, struct slice next, bool cas,
				 struct mc_value_line *out)
{
	if (end - p < 8 || memcmp(p, "VALUE ", 6) != 0) return false;
	const char *key = p + 6;
	size_t n = mc_same_key(next.p, next.p + next.n, key, end);
	out->is_next = n > 0;
	if (n == 0) n = mc_span(key, end) - key;
	const char *body = n > 0 && key + n < end ? mc_value_numbers(key + n, end, cas, &out->bytes) : NULL;
	if (!body || body - p > MC_REPLY_LINE_MAX) return false;
	out->key = (struct slice){ key, n };
	out->n = body - p;
	return true;
}

/* The VALUE block whose line is at resume->at; PARSE_OK moves over it. */
static inline enum parse_result mc_reply_value(struct slice sent, const char *data, size_t n,
					       const struct mc_value_line *line,
					       struct reply_resume *resume)
{
	uint64_t cursor = resume->left[0];
	if (line->is_next) cursor += line->key.n + 1;
	else if (!mc_sent_find(sent, line->key, &cursor)) return PARSE_FATAL;
	size_t end = resume->base.at + line->n + line->bytes;
	if (n < end + 2 + 5) { /* at the very least END comes behind it */
		resume->base.need = end + 2 + 5;
		return PARSE_NEED;
	}
	if (memcmp(data + end, "\r\n", 2) != 0) return PARSE_FATAL;
	resume->base.at = end + 2;
	resume->left[0] = cursor;
	resume->left[1]++;
	return PARSE_OK;
}

static enum parse_result mc_reply_values(const struct op_info *info, struct slice sent,
					 const char *data, size_t n, struct reply_resume *resume,
					 struct reply *out)
{
	bool cas = info->shape == MC_SHAPE_GETS || info->shape == MC_SHAPE_GATS;
	if (resume->left[0] == 0) resume->left[0] = mc_sent_keys(info->shape, sent);
	/* A number that is cut off makes no whole line. */
	const char *end = data + n;
	while (end > data && (unsigned)end[-1] - '0' <= 9) end--;
	for (;;) {
		size_t at = resume->left[0] < sent.n ? resume->left[0] : sent.n;
		struct slice next = { sent.p + at, sent.n - at };
		struct mc_value_line value;
		if (!mc_value_line(data + resume->base.at, end, next, cas, &value)) break;
		enum parse_result result = mc_reply_value(sent, data, n, &value, resume);
		if (result != PARSE_OK) return result;
	}
	struct mc_reply_line line;
	enum parse_result result =
	    mc_reply_line(data + resume->base.at, n - resume->base.at, &line);
	if (result != PARSE_OK) return result;
	out->n = resume->base.at + line.n;
	out->hits = (uint32_t)resume->left[1];
	if (mc_line_is(&line, SLICE("END"))) {
		out->kind = out->hits ? REPLY_HIT : REPLY_MISS;
		return PARSE_OK;
	}
	/* Once values have been sent, a server can only fail, not refuse. */
	if (out->hits && !mc_line_begins(&line, SLICE("SERVER_ERROR"))) return PARSE_FATAL;
	return mc_reply_error(info, &line, out) ? PARSE_OK : PARSE_FATAL;
}

/* --- stats --------------------------------------------------------------------------------- */

static enum parse_result mc_reply_stats(const struct op_info *info, const char *data, size_t n,
					struct reply_resume *resume, struct reply *out)
{
	for (;;) {
		struct mc_reply_line line;
		size_t at = resume->base.at;
		enum parse_result result = mc_reply_line(data + at, n - at, &line);
		if (result != PARSE_OK) return result;
		resume->base.at += line.n;
		out->n = resume->base.at;
		if (mc_line_begins(&line, SLICE("STAT"))) continue;
		if (mc_line_is(&line, SLICE("END"))) return PARSE_OK;
		return mc_reply_error(info, &line, out) ? PARSE_OK : PARSE_FATAL;
	}
}

/* --- meta commands ------------------------------------------------------------------------- */

static const struct mc_answer meta_answers[MC_SHAPE_MAX][6] = {
	[MC_SHAPE_META_GET] = { ANSWER("VA", REPLY_HIT), ANSWER("HD", REPLY_HIT),
				ANSWER("EN", REPLY_MISS) },
	[MC_SHAPE_META_SET] = { ANSWER("HD", REPLY_HIT), ANSWER("NS", REPLY_MISS),
				ANSWER("EX", REPLY_MISS), ANSWER("NF", REPLY_MISS) },
	[MC_SHAPE_META_DELETE] = { ANSWER("HD", REPLY_HIT), ANSWER("EX", REPLY_MISS),
				   ANSWER("NF", REPLY_MISS) },
	[MC_SHAPE_META_COUNT] = { ANSWER("HD", REPLY_HIT), ANSWER("VA", REPLY_HIT),
				  ANSWER("NS", REPLY_MISS), ANSWER("EX", REPLY_MISS),
				  ANSWER("NF", REPLY_MISS) },
	[MC_SHAPE_META_DEBUG] = { ANSWER("ME", REPLY_HIT), ANSWER("EN", REPLY_MISS) },
};

static enum parse_result mc_reply_meta(const struct op_info *info, const char *data, size_t n,
				       struct reply_resume *resume, struct reply *out)
{
	struct mc_reply_line line;
	enum parse_result result = mc_reply_line(data, n, &line);
	if (result != PARSE_OK) return result;
	out->n = line.n;
	const struct mc_answer *a = meta_answers[info->shape];
	while (a->text.n && !mc_line_begins(&line, a->text)) a++;
	if (!a->text.n) return mc_reply_error(info, &line, out) ? PARSE_OK : PARSE_FATAL;
	out->kind = a->kind;
	out->hits = a->kind == REPLY_HIT;
	if (memcmp(line.p, "VA", 2) != 0) return PARSE_OK;
	uint64_t bytes;
	const char *p = line.end - line.p > 3 ? line.p + 3 : NULL;
	p = p ? mc_digits(p, line.end, INT32_MAX, &bytes) : NULL;
	if (!p || (p < line.end && *p != ' ')) return PARSE_FATAL;
	out->n += bytes + 2;
	if (n < out->n) {
		resume->base.need = out->n;
		return PARSE_NEED;
	}
	return memcmp(data + out->n - 2, "\r\n", 2) == 0 ? PARSE_OK : PARSE_FATAL;
}

enum parse_result mc_parse_reply(const struct op_info *info, struct slice sent, const char *data,
				 size_t n, struct reply_resume *resume, struct reply *reply_out)
{
	if (n < resume->base.need) return PARSE_NEED;
	resume->base.need = 0;
	*reply_out = (struct reply){ .kind = REPLY_HIT };
	if (mc_shape_is_values(info->shape))
		return mc_reply_values(info, sent, data, n, resume, reply_out);
	if (info->shape == MC_SHAPE_STATS) return mc_reply_stats(info, data, n, resume, reply_out);
	if (mc_shape_is_meta(info->shape)) return mc_reply_meta(info, data, n, resume, reply_out);
	return mc_reply_single(info, data, n, reply_out);
}
