#include "tests/e2e/c/load.h"

#include <stdlib.h>
#include <string.h>

/* Little-endian, as harness/history.py has it: "<QQQQIHBB". */
struct record {
	uint64_t begin_ns, end_ns; /* end_ns: 0 = never */
	uint64_t value, aux;
	uint32_t key;
	uint16_t conn;
	uint8_t op, result;
};
_Static_assert(sizeof(struct record) == 40, "a record has no gaps");

struct history {
	FILE *file;
	uint64_t count;
};

struct history *history_open(const char *path)
{
	struct history *h = calloc(1, sizeof(*h));

	h->file = fopen(path, "wb");
	if (!h->file) {
		perror(path);
		exit(1);
	}
	setvbuf(h->file, NULL, _IOFBF, 1 << 20);
	return h;
}

static void history_put(struct history *h, const struct record *r)
{
	if (fwrite(r, sizeof(*r), 1, h->file) != 1) {
		perror("history");
		exit(1);
	}
	h->count++;
}

static void history_tokens(struct history *h, struct record *r, const struct answer *answer)
{
	for (uint32_t i = 0; i < answer->token_count; i += 4) {
		uint64_t four[4] = { 0 };
		uint32_t n = answer->token_count - i < 4 ? answer->token_count - i : 4;

		memcpy(four, answer->tokens + i, n * sizeof(*four));
		r->begin_ns = four[0];
		r->end_ns = four[1];
		r->value = four[2];
		r->aux = four[3];
		r->op = OP_TOKENS;
		history_put(h, r);
	}
}

/* Which operations say in their reply what they read or made, and which carry what they asked. */
static const bool value_is_in_reply[OP_MAX] = {
	[OP_GET] = true, [OP_GETS] = true, [OP_INCR] = true
};
static const bool aux_was_asked[OP_MAX] = { [OP_SET] = true, [OP_CAS] = true, [OP_TOUCH] = true };

static uint64_t value_of(const struct asked *a, uint32_t i, const struct answer *answer)
{
	if (a->op == OP_READALL) return answer->token_count;
	return value_is_in_reply[a->op] ? answer->value[i] : a->value[i];
}

/* A part of a request for several keys may have been refused, and the others done. */
static enum load_result result_of(const struct asked *a, const struct answer *answer)
{
	return a->n > 1 && answer->result == RESULT_TRYAGAIN ? RESULT_ERROR : answer->result;
}

void history_write(struct history *h, const struct asked *a, uint32_t conn, uint64_t end_ns,
		   const struct answer *answer)
{
	for (uint32_t i = 0; i < a->n; i++) {
		struct record r = {
			.begin_ns = a->begin_ns,
			.end_ns = answer->result == RESULT_LOST ? 0 : end_ns,
			.value = value_of(a, i, answer),
			.aux = aux_was_asked[a->op] ? a->aux : answer->aux,
			.key = a->key[i],
			.conn = (uint16_t)conn,
			.op = (uint8_t)a->op,
			.result = (uint8_t)result_of(a, answer),
		};
		history_put(h, &r);
		if (a->op == OP_READALL && answer->result == RESULT_OK)
			history_tokens(h, &r, answer);
	}
}

uint64_t history_close(struct history *h)
{
	uint64_t count = h->count;

	if (fclose(h->file)) {
		perror("history");
		exit(1);
	}
	free(h);
	return count;
}
