/* load.h - load on a pool through several proxies, with a history of every operation.
 *
 * One thread, many connections, each pipelining. Every operation becomes one record: when it was
 * asked, when it was answered, what it wrote or read. harness/history.py reads the records and
 * judges them; nothing is judged here but what no history could excuse, as a value of another key.
 *
 * A value is "KEY=ID=vvvv": IDs are unique, so that a value names the write it is from. Times are
 * CLOCK_MONOTONIC, and no two operations begin at the same one: it is also their order.
 */
#ifndef TESTS_E2E_C_LOAD_H
#define TESTS_E2E_C_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum load_class {
#define LOAD_CLASS(name, letter, what) CLASS_##name,
#include "tests/e2e/c/load_ops.def"
	CLASS_MAX
};

enum load_op {
#define LOAD_OP(name, what) OP_##name,
#include "tests/e2e/c/load_ops.def"
	OP_MAX
};

enum load_result {
#define LOAD_RESULT(name, what) RESULT_##name,
#include "tests/e2e/c/load_ops.def"
	RESULT_MAX
};

extern const char load_letters[CLASS_MAX];

#define KEY_BYTES      32  /* the longest key we make           */
#define MULTI_MAX      5   /* keys of one multi-key request     */
#define TOKENS_MAX     512 /* tokens of one key                 */
#define PUSHES_PER_KEY 60  /* then a key is only read           */
#define BASE_SHIFT     20  /* a counter begins at ID << this    */
#define PRELOADED      1   /* the ID of what was there before   */

/* class in the top 8 bits, number in the others */
typedef uint32_t load_key;
#define KEY(class, number) ((uint32_t)(class) << 24 | (number))
#define KEY_CLASS(key)	   ((enum load_class)((key) >> 24))
#define KEY_NUMBER(key)	   ((key)&0xffffffu)

struct load_options {
	bool redis, refill, preload, meta;
	struct sockaddr_in proxies[16];
	uint32_t proxy_count, conns; /* conns: to each proxy */
	uint32_t depth, rate;	     /* rate: operations/s in all, 0 = as fast as it goes */
	uint32_t keys[CLASS_MAX], mix[CLASS_MAX], mix_total;
	uint32_t reads, deletes, ttls, multi; /* percent, of operations on registers */
	uint32_t size_min, size_max, big;     /* bytes of a value; big: of one in a thousand */
	uint32_t timeout_ms;
	uint64_t seed;
	const char *history;
};

/* One request that has no reply yet. */
struct asked {
	uint64_t begin_ns;
	enum load_op op;
	bool meta;
	uint32_t n; /* keys */
	load_key key[MULTI_MAX];
	uint64_t value[MULTI_MAX];
	uint64_t aux, token; /* token: of a cas */
};

/* What a reply said. */
struct answer {
	enum load_result result;
	uint64_t value[MULTI_MAX];
	uint64_t aux, token;
	uint32_t token_count;
	uint64_t tokens[TOKENS_MAX];
	char why[120]; /* CORRUPT and ERROR: the reply, or what is wrong with it */
};

/* A protocol: how requests look, and what replies mean.
 * parse: bytes of one whole reply at `in`, 0 when it is not all there, -1 when it is nonsense. */
struct load_protocol {
	size_t (*write)(const struct load_options *o, const struct asked *a, char *out);
	long (*parse)(const struct load_options *o, const struct asked *a, const char *in,
		      size_t len, struct answer *out);
};
extern const struct load_protocol load_memcached, load_redis;

/* load_value.c: keys and values */
size_t key_text(load_key key, char out[KEY_BYTES]);
size_t value_len(const struct load_options *o, load_key key, uint64_t id);
size_t value_write(const struct load_options *o, load_key key, uint64_t id, char *out);
uint32_t value_flags(load_key key, uint64_t id);
/* Fills out->value[i], or makes the answer CORRUPT. */
void value_read(const struct load_options *o, const struct asked *a, uint32_t i, const char *data,
		size_t len, struct answer *out);
/* The ID in what was appended to, and its tokens. */
void tokens_read(const struct asked *a, const char *data, size_t len, struct answer *out);
void answer_corrupt(struct answer *out, const char *why, const char *data, size_t len);
void answer_error(struct answer *out, enum load_result result, const char *line, size_t len);
/* A line without its end, or NULL; *len_out counts the end. */
const char *line_end(const char *in, size_t len, size_t *len_out);

/* load_history.c */
struct history;
struct history *history_open(const char *path);
void history_write(struct history *h, const struct asked *a, uint32_t conn, uint64_t end_ns,
		   const struct answer *answer);
uint64_t history_close(struct history *h);

/* load_choose.c: what to ask next */
struct chooser;
struct chooser *chooser_new(const struct load_options *o, uint32_t conns);
/* false: nothing more to preload. */
bool choose_preload(struct chooser *c, struct asked *out);
void choose(struct chooser *c, uint32_t conn, struct asked *out);
/* An answer may call for something: a cas, a refill, the release of a lock. */
void choose_heard(struct chooser *c, uint32_t conn, const struct asked *a,
		  const struct answer *answer);
void chooser_free(struct chooser *c);

/* load_loop.c */
struct load_counts {
	uint64_t ops, hits, misses, errors, lost, corrupt;
	uint64_t longest_ns;
	char problem[200], error[200]; /* the first of each */
};
struct loop;
struct loop *loop_new(const struct load_options *o, struct chooser *c, struct history *h);
bool loop_preload(struct loop *l);
/* Until standard input says stop, or ends. */
void loop_run(struct loop *l);
void loop_counts(const struct loop *l, struct load_counts *out);
void loop_free(struct loop *l);

uint64_t load_now_ns(void);
#endif
