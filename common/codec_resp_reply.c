/* codec_resp_reply.c - replies, RESP2 and RESP3.
 *
 * A reply is walked value by value with a stack of how many values each level still wants. The
 * stack is kept in reply_resume, so a reply that comes in many pieces is walked once.
 */
#include "common/codec_resp.h"

/* One value, or the head of one that holds others. */
struct item {
	size_t end;	   /* where it ends                                  */
	uint64_t children; /* values that follow inside                      */
	uint8_t type;	   /* enum resp_reply; 0: an error or an attribute   */
	bool error;
	bool attribute; /* belongs to the value behind it                    */
};

/* More than this is no server's reply: it bounds cursors and sums. */
enum { REPLY_BYTES_MAX = INT32_MAX };

static inline bool is_digit(char c)
{
	return (unsigned)(c - '0') < 10;
}

/* "-12345": digits in canonical form, at most 19. */
static bool is_integer(struct slice s)
{
	if (s.n && s.p[0] == '-') s = (struct slice){ s.p + 1, s.n - 1 };
	if (s.n == 0 || s.n > 19 || (s.p[0] == '0' && s.n > 1)) return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_digit(s.p[i])) return false;
	return true;
}

static bool is_big_number(struct slice s)
{
	if (s.n && (s.p[0] == '-' || s.p[0] == '+')) s = (struct slice){ s.p + 1, s.n - 1 };
	for (size_t i = 0; i < s.n; i++)
		if (!is_digit(s.p[i])) return false;
	return s.n > 0;
}

/* 1.5e-7, inf, -inf, nan. Clients parse it; here only its bytes matter. */
static bool is_double(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!s.p[i] || !strchr("0123456789+-.eEinfa", s.p[i])) return false;
	return s.n > 0;
}

static bool is_boolean(struct slice s)
{
	return s.n == 1 && (s.p[0] == 't' || s.p[0] == 'f');
}

/* The line behind the type byte at data[at]. */
static enum parse_result read_line(const char *data, size_t n, size_t at, struct slice *line_out,
				   size_t *end_out)
{
	const char *p = data + at + 1;
	size_t have = n - at - 1;
	const char *cr = memchr(p, '\r', have < RESP_LINE_MAX ? have : RESP_LINE_MAX);
	size_t len = cr ? (size_t)(cr - p) : have;
	if (!cr && have >= RESP_LINE_MAX) return PARSE_FATAL;
	if (memchr(p, '\n', len)) return PARSE_FATAL;
	if (!cr || len + 1 == have) return PARSE_NEED;
	if (cr[1] != '\n') return PARSE_FATAL;
	*line_out = (struct slice){ p, len };
	*end_out = at + 1 + len + 2;
	return PARSE_OK;
}

/* The length or count behind the type byte. -1 is told as UINT64_MAX. */
static inline enum parse_result read_length(const char *data, size_t n, size_t at,
					    uint64_t *value_out, size_t *end_out)
{
	size_t i = at + 1;
	bool nil = i < n && data[i] == '-';
	if (nil) i++;
	size_t begin = i;
	uint64_t v = 0;
	while (i < n && is_digit(data[i])) {
		if (i - begin >= 10 || (v == 0 && i > begin)) return PARSE_FATAL;
		v = v * 10 + (unsigned)(data[i++] - '0');
	}
	if (nil && i > begin && v != 1) return PARSE_FATAL;
	if (i == n) return PARSE_NEED;
	if (i == begin || data[i] != '\r' || v > REPLY_BYTES_MAX) return PARSE_FATAL;
	if (i + 1 == n) return PARSE_NEED;
	if (data[i + 1] != '\n') return PARSE_FATAL;
	*value_out = nil ? UINT64_MAX : v;
	*end_out = i + 2;
	return PARSE_OK;
}

/* $3\r\nabc\r\n and its kin = and ! */
static enum parse_result read_bulk(const char *data, size_t n, size_t at, struct item *item,
				   size_t *need)
{
	uint64_t len;
	size_t i;
	char type = data[at];
	enum parse_result r = read_length(data, n, at, &len, &i);
	if (r != PARSE_OK) return r;
	item->type = type == '!' ? 0 : REPLY_T_BULK;
	item->error = type == '!';
	item->end = i;
	if (len == UINT64_MAX) {
		item->type = REPLY_T_NIL;
		return type == '$' ? PARSE_OK : PARSE_FATAL;
	}
	/* "txt:" stands before the text proper */
	if (type == '=' && (len < 4 || (n > i + 3 && data[i + 3] != ':'))) return PARSE_FATAL;
	if (i + len < n && data[i + len] != '\r') return PARSE_FATAL;
	if (i + len + 2 > n) {
		*need = i + len + 2;
		return PARSE_NEED;
	}
	if (data[i + len + 1] != '\n') return PARSE_FATAL;
	item->end = i + len + 2;
	return PARSE_OK;
}

static enum parse_result read_aggregate(const char *data, size_t n, size_t at, struct item *item)
{
	char type = data[at];
	uint64_t count;
	enum parse_result r = read_length(data, n, at, &count, &item->end);
	if (r != PARSE_OK) return r;
	item->type = REPLY_T_MANY;
	if (count == UINT64_MAX) {
		item->type = REPLY_T_NIL;
		return type == '*' ? PARSE_OK : PARSE_FATAL;
	}
	item->attribute = type == '|';
	if (item->attribute) item->type = 0;
	item->children = type == '%' || type == '|' ? count * 2 : count;
	return PARSE_OK;
}

static enum parse_result read_simple(const char *data, size_t n, size_t at, struct item *item)
{
	struct slice line;
	enum parse_result r = read_line(data, n, at, &line, &item->end);
	if (r != PARSE_OK) return r;
	bool good = true;
	item->type = REPLY_T_NUM;
	switch (data[at]) {
	case '+': item->type = REPLY_T_STATUS; break;
	case '-':
		item->type = 0;
		item->error = true;
		break;
	case ':':
		item->type = REPLY_T_INT;
		good = is_integer(line);
		break;
	case '_':
		item->type = REPLY_T_NIL;
		good = line.n == 0;
		break;
	case ',': good = is_double(line); break;
	case '#': good = is_boolean(line); break;
	case '(': good = is_big_number(line); break;
	}
	return good ? PARSE_OK : PARSE_FATAL;
}

/* "$3\r\nabc\r\n": of at most 99 bytes and all here, as most values are. False: read_bulk() is to
 * say what it is. */
static inline bool read_short_bulk(const char *data, size_t n, size_t at, struct item *item)
{
	uint64_t len;
	if (data[at] != '$') return false;
	size_t took = resp_short_number(data + at + 1, n - at - 1, &len);
	if (took == 0) return false;
	size_t end = at + 1 + took + len;
	if (n < end + 2 || data[end] != '\r' || data[end + 1] != '\n') return false;
	item->type = REPLY_T_BULK;
	item->end = end + 2;
	return true;
}

/* Pushes ('>') are FATAL as any unknown type: nobody subscribes on a connection that is shared. */
static inline enum parse_result read_item(const char *data, size_t n, size_t at, struct item *item,
					  size_t *need)
{
	*item = (struct item){ 0 };
	if (at >= n) return PARSE_NEED;
	if (read_short_bulk(data, n, at, item)) return PARSE_OK;
	switch (data[at]) {
	case '$':
	case '=':
	case '!': return read_bulk(data, n, at, item, need);
	case '*':
	case '~':
	case '%':
	case '|': return read_aggregate(data, n, at, item);
	case '+':
	case '-':
	case ':':
	case '_':
	case ',':
	case '#':
	case '(': return read_simple(data, n, at, item);
	}
	return PARSE_FATAL;
}

/* Push a level. False: too deep. */
static bool descend(struct reply_resume *resume, uint64_t children)
{
	if (children == 0) return true;
	if (resume->depth == REPLY_DEPTH_MAX) return false;
	resume->left[resume->depth++] = children;
	return true;
}

/* Tell where an element of the reply ends. Only of arrays that hold nothing but plain values, as
 * those do which are merged. */
static inline void tell_end(struct reply_resume *resume, const struct item *item)
{
	if (item->children || item->attribute || resume->passed == resume->ends_room)
		resume->ends = NULL;
	else resume->ends[resume->passed++] = (uint32_t)item->end;
}

/* Walk on to the end of the value that *resume is in. base.left counts the values found directly
 * inside it. *top is set when its head is passed in this call. */
static enum parse_result walk(const char *data, size_t n, struct reply_resume *resume,
			      struct item *top)
{
	size_t at = resume->base.at;
	enum parse_result r = PARSE_OK;
	resume->base.need = 0;
	while (resume->depth) {
		struct item item;
		uint64_t *left = &resume->left[resume->depth - 1];
		if (*left == 0) {
			resume->depth--;
			continue;
		}
		r = read_item(data, n, at, &item, &resume->base.need);
		if (r != PARSE_OK) break;
		at = item.end;
		if (resume->depth == 1) {
			resume->base.left = 0; /* what an attribute in front may have counted */
			*top = item;
			if (item.attribute) resume->ends = NULL;
		} else if (resume->depth == 2) {
			resume->base.left += item.type && item.type != REPLY_T_NIL;
			if (resume->ends) tell_end(resume, &item);
		}
		/* An attribute is no value of its own: the level wants as many as before. */
		if (!item.attribute) --*left;
		if (!descend(resume, item.children)) return PARSE_FATAL;
	}
	resume->base.at = at;
	return r;
}

/* Most replies are one value that is all here and holds no others. False: walk_one() is to say. */
static inline bool read_lone(const char *data, size_t n, struct reply_resume *resume,
			     struct item *top)
{
	size_t need;
	if (resume->depth || read_item(data, n, 0, top, &need) != PARSE_OK || top->children ||
	    top->attribute)
		return false;
	resume->base.at = top->end;
	return true;
}

/* `values` of them, one behind the other. */
static enum parse_result walk_some(const char *data, size_t n, struct reply_resume *resume,
				   uint64_t values, struct item *top)
{
	if (resume->depth == 0) {
		resume->depth = 1;
		resume->left[0] = values;
	}
	return walk(data, n, resume, top);
}

static enum parse_result walk_one(const char *data, size_t n, struct reply_resume *resume,
				  struct item *top)
{
	return walk_some(data, n, resume, 1, top);
}

struct slice resp_value(const char *data, size_t n)
{
	struct item top;
	size_t need = 0;
	if (read_item(data, n, 0, &top, &need) == PARSE_OK && !top.attribute && !top.children)
		return (struct slice){ data, top.end };
	struct reply_resume resume = { 0 };
	if (walk_one(data, n, &resume, &top) != PARSE_OK) return (struct slice){ data, 0 };
	return (struct slice){ data, resume.base.at };
}

/* Past the attributes in front of a value that is known to be whole. */
static size_t skip_attributes(const char *data, size_t n)
{
	size_t at = 0, need = 0;
	while (at < n && data[at] == '|') {
		struct item item;
		if (read_item(data, n, at, &item, &need) != PARSE_OK) return n;
		at = item.end;
		for (uint64_t i = 0; i < item.children; i++) at += resp_value(data + at, n - at).n;
	}
	return at;
}

bool resp_integer(struct slice reply, int64_t *value_out)
{
	size_t at = skip_attributes(reply.p, reply.n);
	if (at >= reply.n || reply.p[at] != ':') return false;
	const char *p = reply.p + at + 1;
	bool negative = *p == '-';
	uint64_t v = 0;
	for (p += negative; is_digit(*p); p++) {
		unsigned digit = (unsigned)(*p - '0');
		if (v > ((uint64_t)INT64_MAX - digit) / 10) return false;
		v = v * 10 + digit;
	}
	*value_out = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

bool resp_array(struct slice reply, size_t *head_out, uint64_t *count_out)
{
	size_t at = skip_attributes(reply.p, reply.n), need = 0;
	struct item item;
	if (at >= reply.n || reply.p[at] != '*') return false;
	if (read_item(reply.p, reply.n, at, &item, &need) != PARSE_OK) return false;
	*head_out = item.end;
	*count_out = item.children;
	return item.type == REPLY_T_MANY;
}

bool resp_is_nil(struct slice value)
{
	size_t at = skip_attributes(value.p, value.n);
	if (at + 2 >= value.n) return false;
	return value.p[at] == '_' ||
	       ((value.p[at] == '$' || value.p[at] == '*') && value.p[at + 1] == '-');
}

static bool starts_with(struct slice s, const char *word)
{
	size_t n = strlen(word);
	return s.n >= n && memcmp(s.p, word, n) == 0;
}

/* Errors that say that the server cannot serve, whatever it is asked. */
static bool is_unhealthy(struct slice error)
{
	static const char *const words[] = {
		"LOADING ",    "READONLY ",    "MISCONF ",
		"MASTERDOWN ", "CLUSTERDOWN ", "NOAUTH ",
		"WRONGPASS ",  "DENIED ",      "ERR max number of clients reached",
	};
	const char *line = error.p + 1;
	if (error.p[0] == '!') line = (const char *)memchr(error.p, '\n', error.n) + 1;
	struct slice text = { line, error.n - (size_t)(line - error.p) };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (starts_with(text, words[i])) return true;
	return false;
}

/* Does this say that there is no such key, or that there was nothing to do? */
static bool is_miss(const struct resp_command *row, const struct item *top, struct slice reply)
{
	if (top->type == REPLY_T_NIL) return true;
	if (top->type == REPLY_T_MANY) return top->children == 0;
	if (row->op.merge == MERGE_SUM) return starts_with(reply, ":0");
	switch ((enum resp_miss)row->miss) {
	case MISS_ZERO: return starts_with(reply, ":0");
	case MISS_GONE: return starts_with(reply, ":-2");
	case MISS_UNTYPED: return starts_with(reply, "+none");
	case MISS_BLANK: return starts_with(reply, "$0");
	case MISS_NO:
	case MISS_NIL:
	case MISS_EMPTY:
	case MISS_NIL_ARRAY:
	case MISS_EACH:
	case MISS_MAX: break;
	}
	return false;
}

static void judge(const struct resp_command *row, const struct item *top, struct slice value,
		  uint64_t found, struct reply *out)
{
	if (top->error && row->flags & RESP_OPTIONAL) {
		out->kind = REPLY_MISS;
		return;
	}
	if (top->error) {
		out->kind = REPLY_ERROR;
		out->unhealthy = is_unhealthy(value);
		return;
	}
	int64_t sum = 1;
	if (row->op.merge == MERGE_ARRAY) sum = (int64_t)found;
	if (row->op.merge == MERGE_SUM && !resp_integer(value, &sum)) sum = 1;
	out->kind = sum == 0 || is_miss(row, top, value) ? REPLY_MISS : REPLY_HIT;
	if (out->kind == REPLY_HIT && row->op.access == OP_READ)
		out->hits = (uint32_t)(sum < 0 ? 0 : sum < UINT32_MAX ? sum : UINT32_MAX);
}

/* Is this the number of values that were asked for? What was sent begins with "*N\r\n", the verb
 * being one of the N. */
static bool count_fits(struct slice sent, const struct item *top)
{
	uint64_t asked;
	size_t end;
	if (sent.n == 0 || top->type != REPLY_T_MANY) return true;
	return read_length(sent.p, sent.n, 0, &asked, &end) == PARSE_OK &&
	       top->children == asked - 1;
}

static enum parse_result parse_held(const char *data, size_t n, struct reply_resume *resume,
				    struct reply *reply_out)
{
	struct item top;
	enum parse_result r = walk_some(data, n, resume, 4, &top);
	if (r != PARSE_OK) return r;
	struct slice whole = { data, resume->base.at };
	if (!resp_held_is_legal(whole)) return PARSE_FATAL;
	struct resp_held held = resp_read_held(whole);
	*reply_out = (struct reply){ .n = whole.n, .kind = REPLY_HIT };
	if (held.present < 0) reply_out->kind = REPLY_ERROR;
	return PARSE_OK;
}

/* What most replies are: OK, or one short value. False: nothing is said about it. */
static inline bool parse_usual(const struct op_info *info, const char *data, size_t n,
			       struct reply *out)
{
	static const struct slice ok = SLICE("+OK\r\n");
	struct item item = { .type = REPLY_T_STATUS, .end = ok.n };
	if (n < ok.n || (info->merge != MERGE_NONE && info->merge != MERGE_OK)) return false;
	if (memcmp(data, ok.p, ok.n) != 0 &&
	    (resp_command_of(info)->miss == MISS_BLANK || !read_short_bulk(data, n, 0, &item)))
		return false;
	if (!(info->shape & item.type)) return false;
	*out = (struct reply){ .n = item.end, .kind = REPLY_HIT, .hits = info->access == OP_READ };
	return true;
}

enum parse_result resp_parse_reply(const struct op_info *info, struct slice sent, const char *data,
				   size_t n, struct reply_resume *resume, struct reply *reply_out)
{
	const struct resp_command *row = resp_command_of(info);
	struct item top;
	if (parse_usual(info, data, n, reply_out)) return PARSE_OK;
	if (info->shape == REPLY_T_HELD) return parse_held(data, n, resume, reply_out);
	if (!read_lone(data, n, resume, &top)) {
		top = (struct item){ 0 };
		enum parse_result r = walk_one(data, n, resume, &top);
		if (r != PARSE_OK) return r;
	}
	size_t end = resume->base.at, need = 0, at = 0;
	if (data[0] == '|') at = skip_attributes(data, end);
	/* Not passed in this call: the reply came in pieces. */
	if (top.end == 0) read_item(data, end, at, &top, &need);
	struct slice value = { data + at, end - at };
	if (!top.error) {
		bool pong = info->shape == REPLY_T_PONG && starts_with(value, "+PONG\r\n");
		if (!pong && !(info->shape & top.type)) return PARSE_FATAL;
		if (info->merge == MERGE_ARRAY && !count_fits(sent, &top)) return PARSE_FATAL;
	}
	*reply_out = (struct reply){ .n = end };
	judge(row, &top, value, resume->base.left, reply_out);
	return PARSE_OK;
}
