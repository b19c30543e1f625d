#include "tests/e2e/c/load.h"

#include <stdlib.h>
#include <string.h>

const char load_letters[CLASS_MAX] = {
#define LOAD_CLASS(name, letter, what) letter,
#include "tests/e2e/c/load_ops.def"
};

size_t key_text(load_key key, char out[KEY_BYTES])
{
	return (size_t)snprintf(out, KEY_BYTES, "%c:%u", load_letters[KEY_CLASS(key)],
				KEY_NUMBER(key));
}

uint32_t value_flags(load_key key, uint64_t id)
{
	return KEY_CLASS(key) == CLASS_REGISTER ? (uint32_t)(id & 0xffff) : 0;
}

static size_t filled_len(const struct load_options *o, uint64_t id)
{
	uint64_t h = id * 0x9e3779b97f4a7c15ull >> 20;

	if (o->big && h % 1000 == 0) return o->big;
	return o->size_min + h % (o->size_max - o->size_min + 1);
}

static size_t value_head(load_key key, uint64_t id, char *out, size_t size)
{
	if (KEY_CLASS(key) == CLASS_COUNTER) return (size_t)snprintf(out, size, "%lu", id);
	return (size_t)snprintf(out, size, "%c:%u=%lu=", load_letters[KEY_CLASS(key)],
				KEY_NUMBER(key), id);
}

size_t value_len(const struct load_options *o, load_key key, uint64_t id)
{
	char head[64];
	size_t len = value_head(key, id, head, sizeof(head)), want = filled_len(o, id);

	return KEY_CLASS(key) == CLASS_REGISTER && want > len ? want : len;
}

size_t value_write(const struct load_options *o, load_key key, uint64_t id, char *out)
{
	size_t len = value_len(o, key, id), head = value_head(key, id, out, 64);

	memset(out + head, 'v', len - head);
	return len;
}

void answer_corrupt(struct answer *out, const char *why, const char *data, size_t len)
{
	out->result = RESULT_CORRUPT;
	snprintf(out->why, sizeof(out->why), "%s: %.*s", why, (int)(len < 70 ? len : 70), data);
}

void answer_error(struct answer *out, enum load_result result, const char *line, size_t len)
{
	out->result = result;
	snprintf(out->why, sizeof(out->why), "%.*s", (int)(len < 110 ? len : 110), line);
}

const char *line_end(const char *in, size_t len, size_t *len_out)
{
	const char *end = memchr(in, '\n', len);

	if (!end) return NULL;
	*len_out = (size_t)(end - in) + 1;
	return end > in && end[-1] == '\r' ? end - 1 : end;
}

/* A number that ends at `end` or at a character that is none. */
static uint64_t number(const char *at, const char *end, const char **after)
{
	uint64_t n = 0;

	while (at < end && *at >= '0' && *at <= '9') n = n * 10 + (uint64_t)(*at++ - '0');
	*after = at;
	return n;
}

/* The ID of "KEY=ID=", 0 when it is something else. *after: what follows. */
static uint64_t head_read(load_key key, const char *data, size_t len, const char **after)
{
	char name[KEY_BYTES];
	size_t name_len = key_text(key, name);
	const char *end = data + len;
	uint64_t id;

	if (len < name_len + 3 || memcmp(data, name, name_len) || data[name_len] != '=') return 0;
	id = number(data + name_len + 1, end, after);
	if (*after == end || **after != '=') return 0;
	(*after)++;
	return id;
}

void value_read(const struct load_options *o, const struct asked *a, uint32_t i, const char *data,
		size_t len, struct answer *out)
{
	load_key key = a->key[i];
	const char *at;

	if (KEY_CLASS(key) == CLASS_COUNTER || KEY_CLASS(key) == CLASS_HASH) {
		out->value[i] = number(data, data + len, &at);
		/* memcached leaves blanks behind a number that has become shorter */
		if (at == data) answer_corrupt(out, "no number", data, len);
		return;
	}
	out->value[i] = head_read(key, data, len, &at);
	if (!out->value[i]) answer_corrupt(out, "value of another key", data, len);
	else if (len != value_len(o, key, out->value[i]))
		answer_corrupt(out, "wrong length", data, len);
	else if (at < data + len &&
		 (*at != 'v' || memcmp(at, at + 1, (size_t)(data + len - at) - 1)))
		answer_corrupt(out, "spoilt", data, len);
}

void tokens_read(const struct asked *a, const char *data, size_t len, struct answer *out)
{
	const char *at, *end = data + len;

	if (!head_read(a->key[0], data, len, &at)) {
		answer_corrupt(out, "value of another key", data, len);
		return;
	}
	while (at < end && out->token_count < TOKENS_MAX) {
		uint64_t id = number(at, end, &at);
		if (!id || at == end || *at++ != ',') {
			answer_corrupt(out, "spoilt tokens", data, len);
			return;
		}
		out->tokens[out->token_count++] = id;
	}
	out->aux = 1;
}
