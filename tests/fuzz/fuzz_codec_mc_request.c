/* Any bytes as a client's stream: what the codec makes of them must not depend on how they arrive,
 * and what it would send to a server must read back as the same single request. */
#include <stdio.h>
#include <stdlib.h>

#include "common/codec_mc_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const struct codec *const mc = &codec_mc_text;

#define MUST(x)                                                         \
	do {                                                            \
		if (!(x)) {                                             \
			fprintf(stderr, "line %d: %s\n", __LINE__, #x); \
			abort();                                        \
		}                                                       \
	} while (0)

static const struct codec_limits limits = {
	.value_max_bytes = 6000,
	.request_max_bytes = 8192,
	.args_max = 50,
	.allow_flush = true,
	.meta_commands = true,
};

struct attempt {
	bool long_way; /* by mc_parse_any() */
	struct parser parser;
	struct parse_resume resume;
	struct command cmd;
	size_t skip;
	enum parse_result result;
};

/* In a block of exactly its size, so that reading past n is seen. */
static void attempt_parse(struct attempt *a, const char *p, size_t n)
{
	char *data = malloc(n ? n : 1);
	memcpy(data, p, n);
	a->skip = 0;
	a->result = (a->long_way ? mc_parse_any : mc->parse_request)(&a->parser, &limits, data, n,
								     &a->resume, &a->cmd, &a->skip);
	/* What points into the block is checked by its content later: move it to the original. */
	struct slice *slices[] = { &a->cmd.key, &a->cmd.head, &a->cmd.body };
	if (a->result != PARSE_OK) slices[0] = slices[1] = slices[2] = NULL;
	for (size_t i = 0; i < 3; i++)
		if (slices[i] && slices[i]->p >= data && slices[i]->p < data + n)
			slices[i]->p = p + (slices[i]->p - data);
	free(data);
}

static bool slice_is(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static void attempts_same(const struct attempt *a, const struct attempt *b)
{
	MUST(a->result == b->result);
	MUST(a->cmd.info == b->cmd.info);
	MUST(a->cmd.flags == b->cmd.flags);
	MUST(a->skip == b->skip);
	MUST(slice_is(a->cmd.error, b->cmd.error));
	if (a->result != PARSE_FATAL) MUST(a->cmd.consumed == b->cmd.consumed);
	if (a->result != PARSE_OK) return;
	MUST(slice_is(a->cmd.key, b->cmd.key));
	MUST(slice_is(a->cmd.head, b->cmd.head));
	MUST(slice_is(a->cmd.body, b->cmd.body));
	MUST(a->cmd.key_count == b->cmd.key_count);
}

/* Bit by bit, in steps that the input itself chooses. */
static void in_pieces(const struct attempt *whole, const char *p, size_t n, size_t step)
{
	struct attempt a = { 0 };
	for (size_t at = step < n ? step : n;; at = at + step < n ? at + step : n) {
		attempt_parse(&a, p, at);
		if (a.result != PARSE_NEED) {
			attempts_same(whole, &a);
			break;
		}
		MUST(a.resume.need == 0 || a.resume.need > at);
		if (at == n) {
			MUST(whole->result == PARSE_NEED);
			break;
		}
	}
	parser_fini(&a.parser);
}

/* What goes to the server is canonical: parsing it again changes nothing. */
static void reads_back(const struct attempt *whole)
{
	const struct command *cmd = &whole->cmd;
	if (cmd->info->route != OP_KEY && cmd->info->route != OP_SPLIT) return;
	size_t n = cmd->head.n + cmd->body.n;
	char *sent = malloc(n);
	memcpy(sent, cmd->head.p, cmd->head.n);
	if (cmd->body.n) memcpy(sent + cmd->head.n, cmd->body.p, cmd->body.n);
	struct attempt again = { 0 };
	attempt_parse(&again, sent, n);
	MUST(again.result == PARSE_OK);
	MUST(again.cmd.info == cmd->info);
	MUST(again.cmd.consumed == n);
	MUST(again.cmd.flags == 0);
	/* Meta commands are always written anew; the others only when they need it. */
	if (mc_shape_is_meta(cmd->info->shape)) MUST(slice_is(again.cmd.head, cmd->head));
	else MUST(again.cmd.head.p == sent);
	MUST(slice_is(again.cmd.key, cmd->key));
	MUST(again.cmd.key_count == cmd->key_count);
	parser_fini(&again.parser);
	free(sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n < 1) return 0;
	size_t step = 1 + bytes[0] % 16;
	const char *p = (const char *)bytes + 1, *end = (const char *)bytes + n;
	while (p < end) {
		struct attempt whole = { 0 };
		attempt_parse(&whole, p, (size_t)(end - p));
		struct attempt other = { .long_way = true };
		attempt_parse(&other, p, (size_t)(end - p));
		attempts_same(&whole, &other);
		parser_fini(&other.parser);
		in_pieces(&whole, p, (size_t)(end - p), step);
		if (whole.result == PARSE_OK) reads_back(&whole);
		size_t taken = whole.cmd.consumed + whole.skip;
		bool on = whole.result != PARSE_NEED && whole.result != PARSE_FATAL;
		if (on) MUST(whole.cmd.consumed > 0 && whole.cmd.consumed <= (size_t)(end - p));
		parser_fini(&whole.parser);
		if (!on || taken >= (size_t)(end - p)) break;
		p += taken;
	}
	return 0;
}
