#include "tests/bench/lockstep_answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct word {
	const char *p;
	size_t n;
};

void lockstep_reserve(struct lockstep_bytes *b, size_t room)
{
	if (b->cap - b->len >= room) return;
	b->cap = 2 * (b->len + room);
	b->p = realloc(b->p, b->cap);
	if (b->p) return;
	fputs("lockstep: out of memory\n", stderr);
	exit(2);
}

static void say(struct lockstep_bytes *out, const char *text)
{
	size_t n = strlen(text);
	lockstep_reserve(out, n);
	memcpy(out->p + out->len, text, n);
	out->len += n;
}

static bool is(struct word w, const char *text)
{
	return w.n == strlen(text) && strncasecmp(w.p, text, w.n) == 0;
}

static void say_value(const struct lg_work *w, struct lockstep_bytes *out, struct word key)
{
	char head[96];
	uint32_t k;
	if (key.n != LG_KEY_LEN || !lg_work_find(w, key.p, &k)) {
		if (w->proto == LG_REDIS) say(out, "$-1\r\n");
		return; /* a miss: the client will say which */
	}
	if (w->proto == LG_REDIS) snprintf(head, sizeof(head), "$%" PRIu32 "\r\n", w->value_size);
	else
		snprintf(head, sizeof(head), "VALUE %.*s 0 %" PRIu32 "\r\n", (int)key.n, key.p,
			 w->value_size);
	say(out, head);
	lockstep_reserve(out, w->value_size + 2);
	out->len = (size_t)(lg_work_value(w, k, out->p + out->len) - out->p);
}

/* The next word of a line, or of length 0. */
static struct word next_word(const char **p, const char *end)
{
	while (*p < end && (**p == ' ' || **p == '\r' || **p == '\n')) (*p)++;
	struct word w = { *p, 0 };
	while (*p < end && **p != ' ' && **p != '\r') (*p)++;
	w.n = (size_t)(*p - w.p);
	return w;
}

static uint32_t answer_memcached(const struct lg_work *w, const char *p, size_t n,
				 struct lockstep_bytes *out)
{
	const char *end = memchr(p, '\n', n);
	struct word verb = next_word(&p, end);
	if (is(verb, "set")) {
		say(out, "STORED\r\n");
		return 1;
	}
	if (!is(verb, "get") && !is(verb, "gets")) {
		say(out, is(verb, "version") ? "VERSION 1.6.18\r\n" : "ERROR\r\n");
		return 0;
	}
	uint32_t keys = 0;
	for (struct word key; (key = next_word(&p, end)).n > 0; keys++) say_value(w, out, key);
	say(out, "END\r\n");
	return keys;
}

/* The next argument of an array of bulk strings. */
static struct word next_bulk(const char **p)
{
	size_t n = strtoul(*p + 1, NULL, 10);
	struct word w = { strchr(*p, '\n') + 1, n };
	*p = w.p + n + 2;
	return w;
}

static uint32_t answer_redis(const struct lg_work *w, const char *p, struct lockstep_bytes *out)
{
	char head[32];
	uint32_t args = (uint32_t)strtoul(p + 1, NULL, 10);
	p = strchr(p, '\n') + 1;
	struct word verb = next_bulk(&p);
	if (is(verb, "SET") || is(verb, "MSET")) {
		say(out, "+OK\r\n");
		return (args - 1) / 2;
	}
	if (!is(verb, "GET") && !is(verb, "MGET")) {
		say(out, "+OK\r\n");
		return 0;
	}
	if (is(verb, "MGET")) {
		snprintf(head, sizeof(head), "*%" PRIu32 "\r\n", args - 1);
		say(out, head);
	}
	for (uint32_t i = 1; i < args; i++) say_value(w, out, next_bulk(&p));
	return args - 1;
}

size_t lockstep_answer(const struct lg_work *w, const struct lockstep_bytes *in,
		       struct lockstep_bytes *out, uint64_t *keys)
{
	enum floor_proto proto = w->proto == LG_REDIS ? FLOOR_REDIS : FLOOR_MEMCACHED;
	floor_frame_fn frame = floor_frame_request(proto);
	size_t at = 0, len, need;

	while (at < in->len && (len = frame(in->p + at, in->len - at, &need)) > 0) {
		*keys += proto == FLOOR_REDIS ? answer_redis(w, in->p + at, out)
					      : answer_memcached(w, in->p + at, len, out);
		at += len;
	}
	return at;
}
