/* load_mc.c - memcached: every operation in classic commands, or where `meta` says so in meta ones.
 */
#include "tests/e2e/c/load.h"

#include <stdlib.h>
#include <string.h>

#define REALTIME_MS 1000 /* memcached counts in seconds */

static uint64_t exptime(const struct asked *a)
{
	return a->op == OP_SET ? a->aux / REALTIME_MS : 0;
}

static size_t storage(const struct load_options *o, const struct asked *a, const char *verb,
		      const char *key, char *out)
{
	size_t len = value_len(o, a->key[0], a->value[0]);
	size_t n = (size_t)sprintf(out, "%s %s %u %lu %zu", verb, key,
				   value_flags(a->key[0], a->value[0]), exptime(a), len);

	if (a->op == OP_CAS) n += (size_t)sprintf(out + n, " %lu", a->token);
	n += (size_t)sprintf(out + n, "\r\n");
	n += value_write(o, a->key[0], a->value[0], out + n);
	return n + (size_t)sprintf(out + n, "\r\n");
}

static size_t meta_set(const struct load_options *o, const struct asked *a, const char *key,
		       char *out)
{
	size_t len = value_len(o, a->key[0], a->value[0]);
	size_t n = (size_t)sprintf(out, "ms %s %zu F%u T%lu", key, len,
				   value_flags(a->key[0], a->value[0]), exptime(a));

	if (a->op == OP_ADD) n += (size_t)sprintf(out + n, " ME");
	if (a->op == OP_CAS) n += (size_t)sprintf(out + n, " C%lu", a->token);
	n += (size_t)sprintf(out + n, "\r\n");
	n += value_write(o, a->key[0], a->value[0], out + n);
	return n + (size_t)sprintf(out + n, "\r\n");
}

static size_t classic(const struct load_options *o, const struct asked *a, const char *key,
		      char *out)
{
	char name[KEY_BYTES], token[24];
	size_t n;

	switch (a->op) {
	case OP_GET:
	case OP_READALL:
		n = (size_t)sprintf(out, "get");
		for (uint32_t i = 0; i < a->n; i++) {
			key_text(a->key[i], name);
			n += (size_t)sprintf(out + n, " %s", name);
		}
		return n + (size_t)sprintf(out + n, "\r\n");
	case OP_GETS: return (size_t)sprintf(out, "gets %s\r\n", key);
	case OP_SET: return storage(o, a, "set", key, out);
	case OP_ADD: return storage(o, a, "add", key, out);
	case OP_CAS: return storage(o, a, "cas", key, out);
	case OP_DELETE: return (size_t)sprintf(out, "delete %s\r\n", key);
	case OP_INCR: return (size_t)sprintf(out, "incr %s 1\r\n", key);
	case OP_TOUCH: return (size_t)sprintf(out, "touch %s %lu\r\n", key, a->aux / REALTIME_MS);
	case OP_PUSH:
		n = (size_t)snprintf(token, sizeof(token), "%lu,", a->value[0]);
		return (size_t)sprintf(out, "append %s 0 0 %zu\r\n%s\r\n", key, n, token);
	case OP_TOKENS:
	case OP_MAX: break;
	}
	abort();
}

static size_t mc_write(const struct load_options *o, const struct asked *a, char *out)
{
	char key[KEY_BYTES], token[24];
	size_t n;

	key_text(a->key[0], key);
	if (!a->meta || a->n > 1) return classic(o, a, key, out);
	switch (a->op) {
	case OP_GET:
	case OP_READALL: return (size_t)sprintf(out, "mg %s v f\r\n", key);
	case OP_GETS: return (size_t)sprintf(out, "mg %s v f c\r\n", key);
	case OP_SET:
	case OP_ADD:
	case OP_CAS: return meta_set(o, a, key, out);
	case OP_DELETE: return (size_t)sprintf(out, "md %s\r\n", key);
	case OP_INCR: return (size_t)sprintf(out, "ma %s v\r\n", key);
	case OP_TOUCH: return (size_t)sprintf(out, "mg %s T%lu\r\n", key, a->aux / REALTIME_MS);
	case OP_PUSH:
		n = (size_t)snprintf(token, sizeof(token), "%lu,", a->value[0]);
		return (size_t)sprintf(out, "ms %s %zu MA\r\n%s\r\n", key, n, token);
	case OP_TOKENS:
	case OP_MAX: break;
	}
	abort();
}

/* --- replies ------------------------------------------------------------------------------------
 */

static bool is(const char *line, size_t len, const char *text)
{
	return len >= strlen(text) && memcmp(line, text, strlen(text)) == 0;
}

static void value_arrived(const struct load_options *o, const struct asked *a, uint32_t i,
			  uint32_t flags, const char *data, size_t len, struct answer *out)
{
	if (a->op == OP_READALL) {
		tokens_read(a, data, len, out);
		return;
	}
	value_read(o, a, i, data, len, out);
	if (out->result == RESULT_OK && flags != value_flags(a->key[i], out->value[i]))
		answer_corrupt(out, "wrong flags", data, len);
}

/* VALUE blocks in the order of the keys, then END; or an error line anywhere. */
static long retrieval(const struct load_options *o, const struct asked *a, const char *in,
		      size_t len, struct answer *out)
{
	size_t at = 0, line_len, data_len;
	uint32_t i = 0, flags;
	const char *end;
	char name[KEY_BYTES], want[KEY_BYTES];
	unsigned long token = 0;

	while ((end = line_end(in + at, len - at, &line_len)) != NULL) {
		const char *line = in + at;
		size_t n = (size_t)(end - line);

		if (is(line, n, "END")) return (long)(at + line_len);
		if (!is(line, n, "VALUE ")) {
			answer_error(out, RESULT_ERROR, line, n);
			return is(line, n, "SERVER_ERROR") || is(line, n, "ERROR")
				   ? (long)(at + line_len)
				   : -1;
		}
		if (sscanf(line, "VALUE %31s %u %zu %lu", name, &flags, &data_len, &token) < 3)
			return -1;
		if (len - at < line_len + data_len + 2) return 0;
		for (; i < a->n; i++) {
			key_text(a->key[i], want);
			if (strcmp(want, name) == 0) break;
		}
		if (i == a->n) answer_corrupt(out, "VALUE of another key", line, n);
		else value_arrived(o, a, i++, flags, in + at + line_len, data_len, out);
		out->token = token;
		at += line_len + data_len + 2;
	}
	return 0;
}

/* VA <size> <flags>\r\n<data>\r\n */
static long meta_value(const struct load_options *o, const struct asked *a, const char *in,
		       size_t len, size_t line_len, struct answer *out)
{
	size_t data_len = strtoul(in + 3, NULL, 10);
	const char *f = memchr(in, 'f', line_len), *c = memchr(in, 'c', line_len);

	if (len < line_len + data_len + 2) return 0;
	if (c) out->token = strtoull(c + 1, NULL, 10);
	value_arrived(o, a, 0, f ? (uint32_t)strtoul(f + 1, NULL, 10) : 0, in + line_len, data_len,
		      out);
	return (long)(line_len + data_len + 2);
}

/* What one line may mean. `found` goes to aux. */
static const struct {
	const char *text;
	enum load_result result;
	uint64_t found;
} lines[] = {
	{ "STORED", RESULT_OK, 1 },
	{ "DELETED", RESULT_OK, 1 },
	{ "TOUCHED", RESULT_OK, 1 },
	{ "HD", RESULT_OK, 1 },
	{ "NOT_STORED", RESULT_FAIL, 0 },
	{ "NS", RESULT_FAIL, 0 },
	{ "EXISTS", RESULT_FAIL, 1 },
	{ "EX", RESULT_FAIL, 1 },
	{ "NOT_FOUND", RESULT_FAIL, 0 },
	{ "NF", RESULT_FAIL, 0 },
	{ "EN", RESULT_OK, 0 },
	{ "SERVER_ERROR", RESULT_ERROR, 0 },
	{ "CLIENT_ERROR", RESULT_ERROR, 0 },
	{ "ERROR", RESULT_ERROR, 0 },
};

static long mc_parse(const struct load_options *o, const struct asked *a, const char *in,
		     size_t len, struct answer *out)
{
	bool reads = a->op == OP_GET || a->op == OP_GETS || a->op == OP_READALL;
	size_t line_len;
	const char *end;

	if (reads && (!a->meta || a->n > 1)) return retrieval(o, a, in, len, out);
	end = line_end(in, len, &line_len);
	if (!end) return 0;
	if (is(in, line_len, "VA ")) return meta_value(o, a, in, len, line_len, out);
	if (a->op == OP_INCR && *in >= '0' && *in <= '9') {
		out->value[0] = strtoull(in, NULL, 10);
		return (long)line_len;
	}
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		if (!is(in, (size_t)(end - in), lines[i].text)) continue;
		out->result = lines[i].result;
		out->aux = lines[i].found;
		/* Whoever deletes what is not there has deleted it. */
		if (a->op == OP_DELETE && out->result == RESULT_FAIL) out->result = RESULT_OK;
		if (out->result == RESULT_ERROR)
			answer_error(out, RESULT_ERROR, in, (size_t)(end - in));
		return (long)line_len;
	}
	answer_corrupt(out, "no reply of this command", in, (size_t)(end - in));
	return -1;
}

const struct load_protocol load_memcached = { mc_write, mc_parse };
