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

/* Where the first key of a read that was sent begins. */
static size_t mc_sent_keys(unsigned shape, struct slice sent)
{
	bool exptime = shape == MC_SHAPE_GAT || shape == MC_SHAPE_GATS;
	const char *p = sent.p, *end = sent.p + sent.n;
	for (int skip = exptime ? 2 : 1; skip > 0; skip--) {
		p = mc_span(p, end);
		if (p < end) p++;
	}
	return p - sent.p;
}

/* The keys that were sent, from one on. */
struct mc_sent {
	const char *p, *end;
	uint32_t passed; /* how many come before it */
};

/* Find `key` among them, and move behind it. A server answers in the order it was asked in, and
 * leaves out what it has not. */
static bool mc_sent_find(struct mc_sent *sent, struct slice key)
{
	while (sent->p < sent->end) {
		struct slice next = { sent->p, mc_span(sent->p, sent->end) - sent->p };
		sent->p += next.n + 1;
		sent->passed++;
		if (slice_eq(next, key)) return true;
	}
	return false;
}

/* Is the key at [p, end) the one at `sent`, among keys that were sent? How long it is; 0: it is
 * another, or cut off. Keys that were sent hold no control characters, and a blank or a line end
 * comes behind each: so one pass finds the end of both and compares them. */
static inline size_t mc_same_key(const char *sent, const char *sent_end, const char *p,
				 const char *end)
{
	const uint64_t ones = 0x0101010101010101u, tops = ones * 0x80;
	size_t i = 0, least = end - p < sent_end - sent ? end - p : sent_end - sent;
	for (; least - i >= 8; i += 8) {
		uint64_t v, w;
		memcpy(&v, sent + i, 8);
		memcpy(&w, p + i, 8);
		v = le64toh(v);
		w = le64toh(w);
		uint64_t stop = (v - ones * 0x21) & ~v & tops;
		if (stop) {
			/* What lies below the lowest bit still belongs to the keys. */
			if ((v ^ w) & (((stop & -stop) >> 7) - 1)) return 0;
			i += __builtin_ctzll(stop) >> 3;
			return p[i] == ' ' ? i : 0;
		}
		if (v != w) return 0;
	}
	for (; i < least && (unsigned char)sent[i] > ' '; i++)
		if (sent[i] != p[i]) return 0;
	return i < least && p[i] == ' ' ? i : 0;
}

enum { MC_DIGITS_FREE = 9 /* so many digits are less than any `max` in use */ };

/* " 123", read without a look at where the bytes end: the last of them is known to be neither digit
 * nor blank. NULL as `p` is passed on, so that one look tells of several numbers. */
static inline const char *mc_next_number(const char *p, uint64_t max, uint64_t *out)
{
	if (!p || *p != ' ') return NULL;
	const char *start = ++p;
	uint64_t v = 0;
	unsigned digit;
	while ((digit = (unsigned char)*p - '0') <= 9) {
		v = v * 10 + digit;
		p++;
	}
	*out = v;
	if (p - start > MC_DIGITS_FREE) return mc_digits(start, p, max, out);
	return p > start ? p : NULL;
}

/* " flags bytes[ cas]\r\n": the end of it; NULL: it is something else. */
static inline const char *mc_value_numbers(const char *p, const char *end, bool cas,
					   uint64_t *bytes_out)
{
	uint64_t other;
	p = mc_next_number(p, UINT32_MAX, &other);
	p = mc_next_number(p, INT32_MAX, bytes_out);
	if (cas) p = mc_next_number(p, UINT64_MAX, &other);
	return p && end - p >= 2 && memcmp(p, "\r\n", 2) == 0 ? p + 2 : NULL;
}

/* Do the bytes end in what may go on as a number of a VALUE line? */
static inline bool mc_may_be_cut(const char *data, const char *end)
{
	return end > data && ((unsigned)end[-1] - '0' <= 9 || end[-1] == ' ');
}

/* "VALUE key flags bytes[ cas]\r\n" */
struct mc_value_line {
	struct slice key;
	uint64_t bytes;
	size_t n;
	bool is_next; /* the key is the one that was expected */
};

/* The VALUE line at `p`; false: there is none, or not a whole one. Bytes up to `end` must not be
 * mc_may_be_cut(). The next key that was sent is
 * most likely its own: then there is no need to look for its end. */
static inline bool mc_value_line(const char *p, const char *end, const struct mc_sent *sent,
				 bool cas, struct mc_value_line *out)
{
	if (end - p < 8 || memcmp(p, "VALUE ", 6) != 0) return false;
	const char *key = p + 6;
	size_t n = mc_same_key(sent->p, sent->end, key, end);
	out->is_next = n > 0;
	if (n == 0) n = mc_span(key, end) - key;
	if (n == 0 || key + n == end) return false;
	const char *body = mc_value_numbers(key + n, end, cas, &out->bytes);
	if (!body || body - p > MC_REPLY_LINE_MAX) return false;
	out->key = (struct slice){ key, n };
	out->n = body - p;
	return true;
}

/* The VALUE block whose line is at resume->at; PARSE_OK moves over it. */
static inline enum parse_result mc_reply_value(const char *data, size_t n,
					       const struct mc_value_line *line,
					       struct mc_sent *sent, struct reply_resume *resume)
{
	if (line->is_next) {
		sent->p += line->key.n + 1;
		sent->passed++;
	} else if (!mc_sent_find(sent, line->key)) {
		return PARSE_FATAL;
	}
	size_t end = resume->base.at + line->n + line->bytes;
	if (n < end + 2 + 5) { /* at the very least END comes behind it */
		resume->base.need = end + 2 + 5;
		return PARSE_NEED;
	}
	if (memcmp(data + end, "\r\n", 2) != 0) return PARSE_FATAL;
	resume->base.at = end + 2;
	resume->left[1]++;
	if (resume->ends) resume->ends[sent->passed - 1] = (uint32_t)(end + 2);
	return PARSE_OK;
}

/* All VALUE blocks that are here whole. resume->left[0] is the place of the next key in `sent`,
 * left[1] the number of values. */
static enum parse_result mc_reply_blocks(const struct op_info *info, struct slice sent,
					 const char *data, size_t n, struct reply_resume *resume)
{
	bool cas = info->shape == MC_SHAPE_GETS || info->shape == MC_SHAPE_GATS;
	if (resume->left[0] == 0) resume->left[0] = mc_sent_keys(info->shape, sent);
	struct mc_sent next = { sent.p + resume->left[0], sent.p + sent.n, resume->passed };
	/* A line that is cut off among its numbers is not whole. */
	const char *end = data + n;
	while (mc_may_be_cut(data, end)) end--;
	struct mc_value_line line;
	while (mc_value_line(data + resume->base.at, end, &next, cas, &line)) {
		enum parse_result result = mc_reply_value(data, n, &line, &next, resume);
		if (result != PARSE_OK) return result;
		resume->left[0] = next.p - sent.p;
		resume->passed = next.passed;
	}
	return PARSE_OK;
}

static enum parse_result mc_reply_values(const struct op_info *info, struct slice sent,
					 const char *data, size_t n, struct reply_resume *resume,
					 struct reply *out)
{
	struct mc_reply_line line;
	enum parse_result result = mc_reply_blocks(info, sent, data, n, resume);
	if (result != PARSE_OK) return result;
	result = mc_reply_line(data + resume->base.at, n - resume->base.at, &line);
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

/* Any reply. */
static __attribute__((noinline)) enum parse_result
mc_reply_any(const struct op_info *info, struct slice sent, const char *data, size_t n,
	     struct reply_resume *resume, struct reply *reply_out)
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

/* --- what most replies are ------------------------------------------------------------------ */

/* The value of the first key of a get, and END, all here: what most replies are, and one look at
 * each byte tells it. False: nothing is said about it. */
static inline bool mc_reply_lone(struct slice sent, const char *data, size_t n, struct reply *out)
{
	static const struct slice verb = SLICE("get "), last = SLICE("\r\nEND\r\n");
	if (sent.n < verb.n || memcmp(sent.p, verb.p, verb.n) != 0) return false;
	struct mc_sent next = { sent.p + verb.n, sent.p + sent.n, 0 };
	struct mc_value_line line;
	const char *end = data + n;
	if (mc_may_be_cut(data, end) || !mc_value_line(data, end, &next, false, &line) ||
	    !line.is_next)
		return false;
	const char *body = data + line.n;
	if ((size_t)(end - body) < line.bytes + last.n ||
	    memcmp(body + line.bytes, last.p, last.n) != 0)
		return false;
	*out = (struct reply){ .n = line.n + line.bytes + last.n, .kind = REPLY_HIT, .hits = 1 };
	return true;
}

static inline bool mc_reply_stored(const char *data, size_t n, struct reply *out)
{
	static const struct slice stored = SLICE("STORED\r\n");
	if (n < stored.n || memcmp(data, stored.p, stored.n) != 0) return false;
	*out = (struct reply){ .n = stored.n, .kind = REPLY_HIT };
	return true;
}

enum parse_result mc_parse_reply(const struct op_info *info, struct slice sent, const char *data,
				 size_t n, struct reply_resume *resume, struct reply *reply_out)
{
	/* Nobody asks where its value ends, as it is not a part of anything. */
	bool lone = resume->left[0] == 0 && !resume->ends;
	if (lone && info->shape == MC_SHAPE_GET && mc_reply_lone(sent, data, n, reply_out))
		return PARSE_OK;
	if (info->shape == MC_SHAPE_STORE && mc_reply_stored(data, n, reply_out)) return PARSE_OK;
	return mc_reply_any(info, sent, data, n, resume, reply_out);
}
