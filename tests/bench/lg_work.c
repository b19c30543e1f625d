#include "tests/bench/lg_work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Slices start at 4096 different offsets; keys that share one differ in their first 16 bytes. */
#define OFFSETS 4096u

/* Above 16 KiB, only 64 bytes of each KiB are compared: enough to find any lost, doubled, swapped
 * or foreign chunk, at a cost that does not make the generator the bottleneck at 4 GB/s. */
#define SAMPLED_ABOVE (16u << 10)
#define SAMPLE_EVERY  1024u
#define SAMPLE_BYTES  64u

static uint32_t gcd(uint32_t a, uint32_t b)
{
	return b ? gcd(b, a % b) : a;
}

/* x with a * x = 1 (mod n), by Euclid; a and n coprime. */
static uint32_t inverse(uint32_t a, uint32_t n)
{
	int64_t r0 = n, r1 = a, x0 = 0, x1 = 1;
	while (r1) {
		int64_t q = r0 / r1, t = r0 - q * r1;
		r0 = r1;
		r1 = t;
		t = x0 - q * x1;
		x0 = x1;
		x1 = t;
	}
	return (uint32_t)(x0 < 0 ? x0 + n : x0);
}

static void lg_work_fill_pattern(char *p, size_t len)
{
	static const char trap[] = "\r\nEND\r\n$5\r\n";
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (char)(x >> 32);
	}
	/* Bytes that look like protocol catch whoever scans values instead of skipping them. */
	for (size_t i = 5; i + sizeof(trap) < len; i += 211) memcpy(p + i, trap, sizeof(trap) - 1);
}

static int lg_work_invert_ids(struct lg_work *w)
{
	for (uint32_t k = 0; k < w->key_count; k++)
		if (w->ids[k] >= w->id_count) w->id_count = w->ids[k] + 1;
	w->key_of = malloc((size_t)w->id_count * sizeof(*w->key_of));
	if (!w->key_of) return -1;
	for (uint32_t i = 0; i < w->id_count; i++) w->key_of[i] = UINT32_MAX;
	for (uint32_t k = 0; k < w->key_count; k++) w->key_of[w->ids[k]] = k;
	return 0;
}

int lg_work_init(struct lg_work *w)
{
	uint32_t n = w->key_count;
	size_t pattern_len = (size_t)w->value_size + OFFSETS;

	w->keys = malloc((size_t)n * LG_KEY_LEN + 1); /* + 1: snprintf's NUL */
	w->pattern = malloc(pattern_len);
	if (!n || !w->keys || !w->pattern || (w->ids && lg_work_invert_ids(w))) return -1;
	for (uint32_t k = 0; k < n; k++)
		snprintf(w->keys + (size_t)k * LG_KEY_LEN, LG_KEY_LEN + 1,
			 "%06" PRIx32 "%010" PRIu32, w->value_size & 0xffffffu,
			 w->ids ? w->ids[k] : k);
	lg_work_fill_pattern(w->pattern, pattern_len);

	/* Near the golden ratio: neighbours in a request are far apart in the key space. */
	w->step = (uint32_t)((double)n * 0.618);
	while (gcd(w->step, n) != 1) w->step++;
	w->step_inverse = inverse(w->step % n, n);

	if (w->proto == LG_MEMCACHED) {
		snprintf(w->head, sizeof(w->head), "VALUE ");
		snprintf(w->tail, sizeof(w->tail), " 0 %" PRIu32 "\r\n", w->value_size);
	} else {
		snprintf(w->tail, sizeof(w->tail), "$%" PRIu32 "\r\n", w->value_size);
	}
	w->head_len = strlen(w->head);
	w->tail_len = strlen(w->tail);
	return 0;
}

void lg_work_fini(struct lg_work *w)
{
	free(w->keys);
	free(w->pattern);
	free(w->ids);
	free(w->key_of);
	w->keys = w->pattern = NULL;
	w->ids = w->key_of = NULL;
}

static const char *lg_work_key(const struct lg_work *w, uint32_t k)
{
	return w->keys + (size_t)k * LG_KEY_LEN;
}

/* The value's bytes after the key. */
static const char *lg_work_slice(const struct lg_work *w, uint32_t k)
{
	return w->pattern + (w->ids ? w->ids[k] : k) % OFFSETS;
}

static uint32_t lg_work_nth(const struct lg_work *w, const struct lg_asked *a, uint32_t i)
{
	return (uint32_t)((a->key + (uint64_t)i * w->step) % w->key_count);
}

static uint32_t lg_work_keys_in(const struct lg_work *w, enum lg_op op)
{
	return op == LG_MGET || op == LG_MSET ? w->keys_per : 1;
}

/* --- requests -----------------------------------------------------------------------------------
 */

size_t lg_work_request_max(const struct lg_work *w, enum lg_op op)
{
	size_t each = LG_KEY_LEN + 24;
	if (op == LG_SET || op == LG_MSET) each += (size_t)w->value_size + 24;
	return LG_REQUEST_SLACK + lg_work_keys_in(w, op) * each;
}

static char *put(char *p, const char *bytes, size_t len)
{
	memcpy(p, bytes, len);
	return p + len;
}
#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

char *lg_work_value(const struct lg_work *w, uint32_t k, char *p)
{
	p = put(p, lg_work_key(w, k), LG_KEY_LEN);
	p = put(p, lg_work_slice(w, k), w->value_size - LG_KEY_LEN);
	return PUT(p, "\r\n");
}

static char *put_memcached(const struct lg_work *w, const struct lg_asked *a, char *p)
{
	if (a->op == LG_SET) {
		p = PUT(p, "set ");
		p = put(p, lg_work_key(w, a->key), LG_KEY_LEN);
		p = PUT(p, " 0");
		p = put(p, w->tail,
			w->tail_len); /* "flags bytes" of a reply is "exptime bytes" here */
		return lg_work_value(w, a->key, p);
	}
	p = PUT(p, "get");
	for (uint32_t i = 0; i < lg_work_keys_in(w, a->op); i++) {
		*p++ = ' ';
		p = put(p, lg_work_key(w, lg_work_nth(w, a, i)), LG_KEY_LEN);
	}
	return PUT(p, "\r\n");
}

static char *put_redis(const struct lg_work *w, const struct lg_asked *a, char *p)
{
	static const char *const verbs[] = {
		[LG_GET] = "$3\r\nGET\r\n",
		[LG_SET] = "$3\r\nSET\r\n",
		[LG_MGET] = "$4\r\nMGET\r\n",
		[LG_MSET] = "$4\r\nMSET\r\n",
	};
	bool writes = a->op == LG_SET || a->op == LG_MSET;
	uint32_t n = lg_work_keys_in(w, a->op);

	p += sprintf(p, "*%" PRIu32 "\r\n%s", 1 + n * (writes ? 2 : 1), verbs[a->op]);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = lg_work_nth(w, a, i);
		p = PUT(p, "$16\r\n");
		p = put(p, lg_work_key(w, k), LG_KEY_LEN);
		p = PUT(p, "\r\n");
		if (!writes) continue;
		p = put(p, w->tail, w->tail_len);
		p = lg_work_value(w, k, p);
	}
	return p;
}

size_t lg_work_request(const struct lg_work *w, const struct lg_asked *a, char *p)
{
	char *end = w->proto == LG_MEMCACHED ? put_memcached(w, a, p) : put_redis(w, a, p);
	return (size_t)(end - p);
}

/* --- replies ------------------------------------------------------------------------------------
 */

/* Is p[0..len) what stands at offset `at` of k's value? */
static bool value_matches(const struct lg_work *w, uint32_t k, uint32_t at, const char *p,
			  size_t len)
{
	if (at < LG_KEY_LEN) {
		size_t n = LG_KEY_LEN - at < len ? LG_KEY_LEN - at : len;
		if (memcmp(p, lg_work_key(w, k) + at, n)) return false;
		p += n;
		len -= n;
		at += (uint32_t)n;
	}
	const char *want = lg_work_slice(w, k) + (at - LG_KEY_LEN);
	if (w->value_size <= SAMPLED_ABOVE || w->check_all) return memcmp(p, want, len) == 0;

	for (size_t i = 0; i < len;) {
		uint32_t in = (uint32_t)((at + i) % SAMPLE_EVERY);
		if (in < SAMPLE_BYTES) {
			size_t n = SAMPLE_BYTES - in < len - i ? SAMPLE_BYTES - in : len - i;
			if (memcmp(p + i, want + i, n)) return false;
		}
		i += SAMPLE_EVERY - in;
	}
	return true;
}

static enum lg_verdict verdict(enum lg_verdict v, char *why_out, const char *text, const char *p,
			       size_t len)
{
	size_t n = (size_t)snprintf(why_out, LG_LINE_MAX, "%s", text);
	/* Printable without quotes or backslashes, so that it may stand in JSON as it is. */
	for (size_t i = 0; i < len && i < 80 && n < LG_LINE_MAX - 1; i++)
		why_out[n++] = p[i] < ' ' || p[i] > '~' || p[i] == '"' || p[i] == '\\' ? '.' : p[i];
	why_out[n] = '\0';
	return v;
}

/* The value being read, then its CRLF. LG_RIGHT: the value (not the reply) is complete. */
static enum lg_verdict value_feed(const struct lg_work *w, struct lg_reply *r, const char *buf,
				  size_t len, size_t *used_out, char *why_out)
{
	size_t left = w->value_size - r->value_at, n = left < len ? left : len;

	*used_out = 0;
	if (n && !value_matches(w, r->key, r->value_at, buf, n)) {
		if (!r->wrong) verdict(LG_WRONG, why_out, "another value: ", buf, n);
		r->wrong = true;
	}
	r->value_at += (uint32_t)n;
	*used_out = n;
	if (r->value_at < w->value_size || len - n < 2) return LG_MORE;
	if (memcmp(buf + n, "\r\n", 2))
		return verdict(LG_BROKEN, why_out, "no CRLF after a value: ", buf + n, len - n);
	*used_out = n + 2;
	r->in_value = false;
	r->values++;
	return LG_RIGHT;
}

static void value_open(struct lg_reply *r, uint32_t key)
{
	r->in_value = true;
	r->key = key;
	r->value_at = 0;
}

bool lg_work_find(const struct lg_work *w, const char *key, uint32_t *k_out)
{
	uint64_t k = 0;
	for (int i = 6; i < LG_KEY_LEN; i++) {
		if (key[i] < '0' || key[i] > '9') return false;
		k = k * 10 + (uint64_t)(key[i] - '0');
	}
	if (w->ids) k = k < w->id_count ? w->key_of[k] : UINT64_MAX;
	if (k >= w->key_count || memcmp(key, lg_work_key(w, (uint32_t)k), LG_KEY_LEN)) return false;
	*k_out = (uint32_t)k;
	return true;
}

/* memcached's values may come in any order (a proxy answers by server): find the key in the
 * request, refuse one that was not asked for or comes twice. */
static bool value_open_asked(const struct lg_work *w, const struct lg_asked *a, struct lg_reply *r,
			     const char *key)
{
	uint32_t k;
	if (!lg_work_find(w, key, &k)) return false;
	uint64_t apart = ((uint64_t)k + w->key_count - a->key) % w->key_count;
	uint64_t i = apart * w->step_inverse % w->key_count;
	if (i >= lg_work_keys_in(w, a->op) || (r->seen[i / 64] >> i % 64 & 1)) return false;
	r->seen[i / 64] |= 1ull << i % 64;
	value_open(r, k);
	return true;
}

static bool starts(const char *line, size_t len, const char *text)
{
	size_t n = strlen(text);
	return len >= n && memcmp(line, text, n) == 0;
}

/* A line outside values, CRLF included. LG_MORE: the reply goes on. */
static enum lg_verdict line_memcached(const struct lg_work *w, const struct lg_asked *a,
				      struct lg_reply *r, const char *line, size_t len,
				      char *why_out)
{
	bool read = a->op == LG_GET || a->op == LG_MGET;

	if (read && len == w->head_len + LG_KEY_LEN + w->tail_len && starts(line, len, w->head) &&
	    memcmp(line + w->head_len + LG_KEY_LEN, w->tail, w->tail_len) == 0) {
		if (value_open_asked(w, a, r, line + w->head_len)) return LG_MORE;
		return verdict(LG_BROKEN, why_out, "a key not asked for: ", line, len);
	}
	if (read && starts(line, len, "END\r\n")) {
		if (r->wrong) return LG_WRONG;
		if (r->values == lg_work_keys_in(w, a->op)) return LG_RIGHT;
		return verdict(LG_WRONG, why_out, "miss", NULL, 0);
	}
	if (!read && starts(line, len, "STORED\r\n")) return LG_RIGHT;
	if (starts(line, len, "ERROR") || starts(line, len, "SERVER_ERROR ") ||
	    starts(line, len, "CLIENT_ERROR "))
		return verdict(LG_WRONG, why_out, "", line, len);
	return verdict(LG_BROKEN, why_out, "unexpected: ", line, len);
}

static enum lg_verdict line_redis(const struct lg_work *w, const struct lg_asked *a,
				  struct lg_reply *r, const char *line, size_t len, char *why_out)
{
	char array[16];

	if (a->op == LG_SET || a->op == LG_MSET) {
		if (len == 5 && starts(line, len, "+OK\r\n")) return LG_RIGHT;
	} else if (a->op == LG_MGET && !r->opened) {
		snprintf(array, sizeof(array), "*%" PRIu32 "\r\n", w->keys_per);
		r->opened = true;
		if (len == strlen(array) && starts(line, len, array)) return LG_MORE;
	} else if (len == w->tail_len && starts(line, len, w->tail)) {
		value_open(r, lg_work_nth(w, a, r->values));
		return LG_MORE;
	} else if (starts(line, len, "$-1\r\n") || (a->op == LG_MGET && line[0] == '-')) {
		r->wrong = true;
		r->values++;
		verdict(LG_WRONG, why_out, "element: ", line, len);
		if (a->op == LG_MGET && r->values < w->keys_per) return LG_MORE;
		return LG_WRONG;
	}
	if (line[0] == '-') return verdict(LG_WRONG, why_out, "", line, len);
	return verdict(LG_BROKEN, why_out, "unexpected: ", line, len);
}

/* Redis has no END: the last value ends the reply. */
static bool reply_complete(const struct lg_work *w, const struct lg_asked *a,
			   const struct lg_reply *r)
{
	return w->proto == LG_REDIS && r->values == lg_work_keys_in(w, a->op);
}

enum lg_verdict lg_work_reply(const struct lg_work *w, const struct lg_asked *a, struct lg_reply *r,
			      const char *buf, size_t len, size_t *used_out, char *why_out)
{
	size_t at = 0, used;
	enum lg_verdict v = LG_MORE;

	while (at < len && v == LG_MORE) {
		if (r->in_value) {
			v = value_feed(w, r, buf + at, len - at, &used, why_out);
			at += used;
			if (v == LG_MORE) break;
			if (v == LG_RIGHT && !reply_complete(w, a, r)) v = LG_MORE;
			else if (v == LG_RIGHT && r->wrong) v = LG_WRONG;
			continue;
		}
		const char *nl = memchr(buf + at, '\n', len - at);
		if (!nl) {
			if (len - at >= LG_LINE_MAX)
				v = verdict(LG_BROKEN, why_out, "endless line: ", buf + at,
					    len - at);
			break;
		}
		size_t line_len = (size_t)(nl - (buf + at)) + 1;
		if (w->proto == LG_MEMCACHED)
			v = line_memcached(w, a, r, buf + at, line_len, why_out);
		else v = line_redis(w, a, r, buf + at, line_len, why_out);
		at += line_len;
	}
	*used_out = at;
	return v;
}
