/* codec_resp_inline.c - requests as a human types them: SET greeting "hello world".
 *
 * Words are split as redis splits them and written to parser->tmp as an array, so that servers
 * only ever see arrays.
 */
#include "common/codec_resp.h"

#include <strings.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char unescape(char c)
{
	static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
	const char *at = c ? strchr(from, c) : NULL;
	return at ? to[at - from] : c;
}

/* A quoted run at *at; bytes go to out[*n..]. False: it does not end, or a word goes on directly
 * behind the closing quote. */
static bool read_quoted(struct slice line, size_t *at, char *out, size_t *n)
{
	char quote = line.p[*at];
	for (size_t i = *at + 1; i < line.n; i++) {
		char c = line.p[i];
		if (c == quote) {
			*at = i + 1;
			return i + 1 == line.n || resp_is_blank(line.p[i + 1]);
		}
		if (c == '\\' && i + 1 < line.n) {
			int high = -1, low = -1;
			char next = line.p[i + 1];
			if (quote == '"' && next == 'x' && i + 3 < line.n) {
				high = hex_digit(line.p[i + 2]);
				low = hex_digit(line.p[i + 3]);
			}
			if (high >= 0 && low >= 0) {
				c = (char)(high * 16 + low);
				i += 3;
			} else if (quote == '"') {
				c = unescape(next);
				i++;
			} else if (next == '\'') {
				c = next;
				i++;
			}
		}
		out[(*n)++] = c;
	}
	return false;
}

/* Split into p->argv, the decoded bytes into `out`, which has room for the whole line. */
static bool split_words(struct parser *p, struct slice line, char *out, uint32_t *count_out)
{
	uint32_t count = 0;
	size_t n = 0;
	for (size_t i = 0;; count++) {
		while (i < line.n && resp_is_blank(line.p[i])) i++;
		if (i == line.n) break;
		size_t begin = n;
		while (i < line.n && !resp_is_blank(line.p[i])) {
			if (line.p[i] == '"' || line.p[i] == '\'') {
				if (!read_quoted(line, &i, out, &n)) return false;
			} else {
				out[n++] = line.p[i++];
			}
		}
		parser_argv(p, count + 1)[count] = (struct slice){ out + begin, n - begin };
	}
	*count_out = count;
	return true;
}

/* Write the words as an array at the end of p->tmp and point argv at them there. */
static struct slice encode_words(struct parser *p, uint32_t count)
{
	struct scratch *tmp = &p->tmp;
	size_t begin = tmp->n;
	resp_put_head(tmp, '*', count);
	for (uint32_t i = 0; i < count; i++) {
		resp_put_bulk(tmp, p->argv[i]);
		p->argv[i].p = tmp->p + tmp->n - 2 - p->argv[i].n;
	}
	return (struct slice){ tmp->p + begin, tmp->n - begin };
}

/* A browser, or a page that makes a browser talk to us: what follows would be read as commands. */
static bool is_http(const struct slice *argv, uint32_t argc)
{
	if (resp_is(argv[0], "post") || resp_is(argv[0], "host:")) return true;
	return argc >= 3 && argv[2].n >= 5 && strncasecmp(argv[2].p, "http/", 5) == 0;
}

/* Bytes that no line begins with, but other protocols do: TLS, memcached's binary one. Those
 * would wait for ever for an answer. */
static bool is_foreign(char c)
{
	return (c > 0 && c < ' ' && !resp_is_blank(c)) || c == 0 || c & 0x80 || c == 0x7f;
}

enum parse_result resp_parse_inline(struct parser *p, const struct codec_limits *limits,
				    const char *data, size_t at, size_t n, struct command *cmd)
{
	if (is_foreign(data[at])) return resp_fatal(p, cmd, "this is not RESP");
	size_t most = n - at < RESP_INLINE_MAX ? n - at : RESP_INLINE_MAX;
	const char *end = memchr(data + at, '\n', most);
	if (!end && most < RESP_INLINE_MAX) return PARSE_NEED;
	if (!end) return resp_fatal(p, cmd, "too big inline request");
	struct slice line = { data + at, (size_t)(end - (data + at)) };
	cmd->consumed = (size_t)(end + 1 - data);
	if (line.n && line.p[line.n - 1] == '\r') line.n--;
	if (memchr(line.p, 0, line.n)) return resp_fatal(p, cmd, "NUL in inline request");
	/* Decoded words, then the array: a word of one byte grows by "$1\r\n" and "\r\n". Nothing
	 * may move once argv points at it, so an error must fit behind as well. */
	char *words = scratch_reserve(&p->tmp, line.n + 7 * (line.n + 2) + 32 + RESP_ERROR_MAX);
	uint32_t count = 0;
	if (!split_words(p, line, words, &count))
		return resp_fatal(p, cmd, "unbalanced quotes in request");
	p->tmp.n = line.n;
	if (count > limits->args_max) return resp_fatal(p, cmd, "invalid multibulk length");
	if (count && is_http(p->argv, count)) return resp_fatal(p, cmd, "this is not HTTP");
	cmd->head = encode_words(p, count);
	cmd->argv = p->argv;
	cmd->argc = count;
	return PARSE_OK;
}
