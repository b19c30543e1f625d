/* lg_work.h - what is asked and what must come back: keys, values, request bytes, reply checks.
 *
 * Pure: no I/O, no clock. Key k is 16 bytes: the value size in 6 hex digits, then k in 10 decimal
 * digits, so that data sets of different value sizes never collide on a server. Its value begins
 * with the key; the rest is a slice of one random buffer, at an offset which depends on k. A set
 * always writes the value that is there already, so every value read has one right answer.
 *
 * A request over n keys asks for base, base + step, base + 2 step… modulo the key count; step is
 * coprime with the count. Any key of a reply is thus located in its request without a table.
 */
#ifndef TESTS_BENCH_LG_WORK_H
#define TESTS_BENCH_LG_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LG_KEY_LEN	 16
#define LG_KEYS_PER_MAX	 1024	     /* keys in one mget or mset */
#define LG_VALUE_MAX	 (16u << 20) /* bytes                    */
#define LG_LINE_MAX	 512	     /* longest reply line taken */
#define LG_REQUEST_SLACK 64	     /* bytes of a request besides its keys and values */

enum lg_proto { LG_MEMCACHED, LG_REDIS };
enum lg_op { LG_GET, LG_SET, LG_MGET, LG_MSET };

struct lg_work {
	enum lg_proto proto;
	uint32_t key_count, keys_per; /* keys_per: of one mget or mset */
	uint32_t value_size;
	bool check_all; /* every byte of values over 16 KiB too, see lg_work.c */
	uint32_t *ids;	/* malloc()ed; the numbers in the keys, or NULL: 0, 1, 2…  */

	/* Set by lg_work_init. */
	uint32_t *key_of, id_count; /* the inverse of ids */
	uint32_t step, step_inverse;
	char *keys; /* key_count x LG_KEY_LEN */
	char *pattern;
	char head[32], tail[32]; /* what surrounds the key before a value */
	size_t head_len, tail_len;
};

struct lg_asked {
	uint64_t at_ns; /* when it was sent, or was due to be */
	uint32_t key;	/* the first one                      */
	enum lg_op op;
};

/* How far the reply at the head of a connection's queue has been read. */
struct lg_reply {
	bool opened;	   /* the "*n" of a redis array was seen        */
	bool in_value;	   /* between a value's header and its CRLF     */
	bool wrong;	   /* miss, error or other value for some key   */
	uint32_t values;   /* values or array elements complete         */
	uint32_t key;	   /* of the value being read                   */
	uint32_t value_at; /* bytes of it checked                       */
	uint64_t seen[LG_KEYS_PER_MAX / 64];
};

enum lg_verdict {
	LG_MORE,   /* needs bytes beyond those consumed                      */
	LG_RIGHT,  /* one whole reply, as it should be                       */
	LG_WRONG,  /* one whole reply, well framed: an error, a miss or lies */
	LG_BROKEN, /* framing lost: the connection is of no further use      */
};

int lg_work_init(struct lg_work *w);
void lg_work_fini(struct lg_work *w);

/* Upper bound of a request's length. */
size_t lg_work_request_max(const struct lg_work *w, enum lg_op op);

/* Writes the request at p; returns its length. */
size_t lg_work_request(const struct lg_work *w, const struct lg_asked *a, char *p);

/* Whether these LG_KEY_LEN bytes are one of the keys, and which. */
bool lg_work_find(const struct lg_work *w, const char *key, uint32_t *k_out);

/* Key k's value and CRLF at p, value_size + 2 bytes; returns their end. */
char *lg_work_value(const struct lg_work *w, uint32_t k, char *p);

/* Consumes what it can of buf. `why_out` (LG_LINE_MAX bytes) receives a text with LG_WRONG and
 * LG_BROKEN. `r` must be zeroed before each reply. */
enum lg_verdict lg_work_reply(const struct lg_work *w, const struct lg_asked *a, struct lg_reply *r,
			      const char *buf, size_t len, size_t *used_out, char *why_out);

#endif
