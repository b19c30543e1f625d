/* load_redis.c - Redis: RESP2, one command per kind of key. */
#include "tests/e2e/c/load.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* "GET %s": words are split at blanks; a word longer than this is written by value_arg. */
static size_t command(char *out, const char *format, ...)
{
	char line[256], *word, *rest = line;
	int words = 1;
	size_t n;
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	for (const char *p = line; *p; p++) words += *p == ' ';
	n = (size_t)sprintf(out, "*%d\r\n", words);
	while ((word = strsep(&rest, " ")) != NULL)
		n += (size_t)sprintf(out + n, "$%zu\r\n%s\r\n", strlen(word), word);
	return n;
}

static size_t value_arg(const struct load_options *o, load_key key, uint64_t id, char *out)
{
	size_t n = (size_t)sprintf(out, "$%zu\r\n", value_len(o, key, id));

	n += value_write(o, key, id, out + n);
	return n + (size_t)sprintf(out + n, "\r\n");
}

static size_t arg(char *out, const char *text)
{
	return (size_t)sprintf(out, "$%zu\r\n%s\r\n", strlen(text), text);
}

/* SET k v [NX] [PX ms], or MSET k v k v */
static size_t set(const struct load_options *o, const struct asked *a, char *out)
{
	bool nx = a->op == OP_ADD, px = a->aux && a->n == 1;
	size_t n = (size_t)sprintf(out, "*%u\r\n", 1 + 2 * a->n + (nx ? 1 : 0) + (px ? 2 : 0));
	char text[KEY_BYTES];

	n += arg(out + n, a->n > 1 ? "MSET" : "SET");
	for (uint32_t i = 0; i < a->n; i++) {
		key_text(a->key[i], text);
		n += arg(out + n, text);
		n += value_arg(o, a->key[i], a->value[i], out + n);
	}
	if (nx) n += arg(out + n, "NX");
	if (px) {
		snprintf(text, sizeof(text), "%lu", a->aux);
		n += arg(out + n, "PX");
		n += arg(out + n, text);
	}
	return n;
}

static size_t get(const struct asked *a, char *out)
{
	char line[256], key[KEY_BYTES];
	size_t n = (size_t)sprintf(line, "%s", a->n > 1 ? "MGET" : "GET");

	for (uint32_t i = 0; i < a->n; i++) {
		key_text(a->key[i], key);
		n += (size_t)sprintf(line + n, " %s", key);
	}
	return command(out, "%s", line);
}

/* By class: how a token is put in, and how all are read. %s: key, %lu: token. */
static const struct {
	const char *push, *readall;
} collections[CLASS_MAX] = {
	[CLASS_APPEND] = { "APPEND %s %lu,", "GET %s" },
	[CLASS_LIST] = { "LPUSH %s t%lu", "LRANGE %s 0 -1" },
	[CLASS_SET] = { "SADD %s t%lu", "SMEMBERS %s" },
	[CLASS_ZSET] = { "ZADD %s 1 t%lu", "ZRANGE %s 0 -1" },
	[CLASS_STREAM] = { "XADD %s * t t%lu", "XRANGE %s - +" },
};

static size_t redis_write(const struct load_options *o, const struct asked *a, char *out)
{
	enum load_class class = KEY_CLASS(a->key[0]);
	char key[KEY_BYTES], line[128];

	key_text(a->key[0], key);
	switch (a->op) {
	case OP_GET: return class == CLASS_HASH ? command(out, "HGET %s n", key) : get(a, out);
	case OP_SET:
		if (class == CLASS_HASH) return command(out, "HSET %s n %lu", key, a->value[0]);
		return set(o, a, out);
	case OP_ADD: return set(o, a, out);
	case OP_DELETE: return command(out, "DEL %s", key);
	case OP_INCR: return command(out, class == CLASS_HASH ? "HINCRBY %s n 1" : "INCR %s", key);
	case OP_TOUCH: return command(out, "PEXPIRE %s %lu", key, a->aux);
	case OP_PUSH:
		snprintf(line, sizeof(line), collections[class].push, key, a->value[0]);
		return command(out, "%s", line);
	case OP_READALL: return command(out, collections[class].readall, key);
	case OP_GETS:
	case OP_CAS:
	case OP_TOKENS:
	case OP_MAX: break;
	}
	abort();
}

/* --- replies ------------------------------------------------------------------------------------
 */

/* Bulk strings "t123" are tokens, wherever they stand; else values of the keys in their order. */
struct reader {
	const struct load_options *o;
	const struct asked *a;
	struct answer *out;
	uint32_t strings;
};

static void string_arrived(struct reader *r, const char *data, size_t len)
{
	if (r->a->op == OP_READALL) {
		if (KEY_CLASS(r->a->key[0]) == CLASS_APPEND) tokens_read(r->a, data, len, r->out);
		else if (len > 1 && *data == 't' && r->out->token_count < TOKENS_MAX)
			r->out->tokens[r->out->token_count++] = strtoull(data + 1, NULL, 10);
		r->out->aux = 1;
	} else if (r->a->op == OP_GET && r->strings < r->a->n) {
		value_read(r->o, r->a, r->strings++, data, len, r->out);
	}
}

static long element(struct reader *r, const char *in, size_t len)
{
	size_t line_len;
	const char *end = line_end(in, len, &line_len);
	long n, at, got;

	if (!end) return 0;
	n = strtol(in + 1, NULL, 10);
	switch (*in) {
	case '$':
		if (n < 0) {
			r->strings++;
			return (long)line_len;
		}
		if (len < line_len + (size_t)n + 2) return 0;
		string_arrived(r, in + line_len, (size_t)n);
		return (long)line_len + n + 2;
	case '*':
		at = (long)line_len;
		for (long i = 0; i < n; i++, at += got)
			if ((got = element(r, in + at, len - (size_t)at)) <= 0) return got;
		return at;
	case ':':
		r->out->aux = (uint64_t)n;
		if (r->a->op == OP_INCR) r->out->value[0] = (uint64_t)n;
		return (long)line_len;
	case '+': return (long)line_len;
	case '-':
		answer_error(r->out, strncmp(in, "-TRYAGAIN", 9) ? RESULT_ERROR : RESULT_TRYAGAIN,
			     in, (size_t)(end - in));
		return (long)line_len;
	}
	answer_corrupt(r->out, "no RESP", in, (size_t)(end - in));
	return -1;
}

static long redis_parse(const struct load_options *o, const struct asked *a, const char *in,
			size_t len, struct answer *out)
{
	struct reader r = { .o = o, .a = a, .out = out };
	long n = element(&r, in, len);

	/* SET NX says nil when it did nothing; a `t` of a stream is its field's name. */
	if (n > 0 && a->op == OP_ADD && *in == '$') out->result = RESULT_FAIL;
	return n;
}

const struct load_protocol load_redis = { redis_write, redis_parse };
