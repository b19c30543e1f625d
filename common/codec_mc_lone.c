/* codec_mc_lone.c - what most clients send most of the time, told by one look at each byte: one
 * key, all of it here, to the byte what we would write. Of anything else nothing is said:
 * mc_parse_any() is to say what it is.
 */
#include "common/codec_mc_request.h"

/* Where the key ends that begins at `key`; NULL: it is none, or the bytes end with it. */
static inline const char *lone_key_end(const char *key, const char *end)
{
	const char *p = mc_span(key, end);
	return p > key && p - key <= MC_KEY_MAX && p < end ? p : NULL;
}

/* " 123" in canonical form and at most `max`, which has ten digits: the end of it. */
static inline const char *lone_number(const char *p, const char *end, uint64_t max, uint64_t *out)
{
	if (!p || p == end || *p != ' ') return NULL;
	const char *start = ++p;
	uint64_t v = 0;
	unsigned digit;
	while (p < end && (digit = (unsigned char)*p - '0') <= 9) {
		v = v * 10 + digit;
		p++;
	}
	*out = v;
	size_t digits = p - start;
	if (digits == 0 || digits > 10 || v > max) return NULL;
	return *start == '0' && digits > 1 ? NULL : p;
}

static inline bool lone_is_line_end(const char *p, const char *end)
{
	return end - p >= 2 && p[0] == '\r' && p[1] == '\n';
}

/* A command of this verb, which `data` begins with, and key; `end` is where it ends. */
static inline void lone_command(struct parser *p, enum mc_op id, const char *data, size_t verb_n,
				struct slice key, const char *end, struct command *cmd)
{
	struct slice *argv = parser_argv(p, 2);
	argv[0] = (struct slice){ data, verb_n };
	argv[1] = key;
	zero_in_pieces(cmd, sizeof(*cmd));
	cmd->info = &mc_ops[id];
	cmd->argv = argv;
	cmd->argc = 2;
	cmd->first_key = cmd->key_step = cmd->key_count = 1;
	cmd->key = key;
	cmd->consumed = end - data;
	cmd->head = (struct slice){ data, cmd->consumed };
}

/* "get KEY\r\n" */
static inline bool lone_get(struct parser *p, const char *data, size_t n, struct command *cmd)
{
	const char *key = data + 4, *end = lone_key_end(key, data + n);
	if (!end || !lone_is_line_end(end, data + n)) return false;
	lone_command(p, MC_GET, data, 3, (struct slice){ key, end - key }, end + 2, cmd);
	return true;
}

/* "set KEY flags exptime bytes\r\n" and so many bytes */
static inline bool lone_set(struct parser *p, const struct codec_limits *limits, const char *data,
			    size_t n, struct command *cmd)
{
	uint64_t flags, exptime, bytes;
	const char *key = data + 4, *end = data + n, *key_end = lone_key_end(key, end);
	const char *at = lone_number(key_end, end, UINT32_MAX, &flags);
	at = lone_number(at, end, INT32_MAX, &exptime);
	at = lone_number(at, end, INT32_MAX - 2, &bytes);
	if (!at || !lone_is_line_end(at, end) || bytes > limits->value_max_bytes) return false;
	const char *body = at + 2;
	if ((size_t)(end - body) < bytes + 2 || !lone_is_line_end(body + bytes, end)) return false;
	if ((size_t)(body - data) + bytes + 2 > limits->request_max_bytes) return false;
	lone_command(p, MC_SET, data, 3, (struct slice){ key, key_end - key }, body + bytes + 2,
		     cmd);
	if (bytes + 2 >= MC_BODY_APART) {
		cmd->head.n = body - data;
		cmd->body = (struct slice){ body, bytes + 2 };
	}
	return true;
}

enum parse_result mc_parse_request(struct parser *p, const struct codec_limits *limits,
				   const char *data, size_t n, struct parse_resume *resume,
				   struct command *cmd, size_t *skip_out)
{
	bool lone = false;
	if (n > 4 && memcmp(data, "get ", 4) == 0) lone = lone_get(p, data, n, cmd);
	else if (n > 4 && memcmp(data, "set ", 4) == 0) lone = lone_set(p, limits, data, n, cmd);
	return lone ? PARSE_OK : mc_parse_any(p, limits, data, n, resume, cmd, skip_out);
}
