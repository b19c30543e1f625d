/* Any bytes as a server's reply. The input: one byte that picks the operation, one for the step,
 * the line that was sent, a newline, and then the reply. How a reply arrives must not matter; what
 * is accepted must be one reply that merging gives back unchanged. */
#include <stdio.h>
#include <stdlib.h>

#include "common/codec_mc_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const struct codec *const mc = &codec_mc_text;

#define MUST(x)                                                         \
	do {                                                            \
		if (!(x)) {                                             \
			fprintf(stderr, "line %d: %s\n", __LINE__, #x); \
			abort();                                        \
		}                                                       \
	} while (0)

static enum parse_result parse(const struct op_info *info, struct slice sent, const char *p,
			       size_t n, struct reply_resume *resume, struct reply *reply)
{
	char *data = malloc(n ? n : 1);
	memcpy(data, p, n);
	enum parse_result result = mc->parse_reply(info, sent, data, n, resume, reply);
	free(data);
	return result;
}

static void in_pieces(const struct op_info *info, struct slice sent, const char *p, size_t n,
		      size_t step, enum parse_result want, const struct reply *whole)
{
	struct reply_resume resume = { 0 };
	struct reply reply;
	for (size_t at = step < n ? step : n;; at = at + step < n ? at + step : n) {
		enum parse_result result = parse(info, sent, p, at, &resume, &reply);
		if (result == PARSE_NEED) {
			MUST(resume.base.need == 0 || resume.base.need > at);
			MUST(at < n || want == PARSE_NEED);
			if (at == n) return;
			continue;
		}
		MUST(result == want);
		if (result != PARSE_OK) return;
		MUST(reply.n == whole->n && reply.kind == whole->kind && reply.hits == whole->hits);
		MUST(reply.close == whole->close && reply.unhealthy == whole->unhealthy);
		return;
	}
}

struct collect {
	struct merge_sink sink;
	struct scratch out;
};

static void collect_emit(struct merge_sink *sink, int part, struct slice bytes)
{
	(void)part;
	scratch_puts(&((struct collect *)sink)->out, bytes);
}

/* A single part merges to itself, or to its error. */
static void merges(const struct op_info *info, struct slice sent, const char *p,
		   const struct reply *whole)
{
	struct parser parser = { 0 };
	struct parse_resume resume = { 0 };
	struct codec_limits limits = { 1 << 20, 1 << 21, 10000, .allow_flush = true };
	struct command cmd;
	size_t skip;
	if (mc->parse_request(&parser, &limits, sent.p, sent.n, &resume, &cmd, &skip) != PARSE_OK ||
	    cmd.info != info || cmd.head.p != sent.p) {
		parser_fini(&parser);
		return;
	}
	uint16_t *part_of_key = calloc(cmd.key_count, sizeof(*part_of_key));
	uint32_t *ends = calloc(cmd.key_count, sizeof(*ends));
	struct merge_part part = { .reply = { p, whole->n }, .sent = sent, .ends = ends };
	struct collect c = { .sink.emit = collect_emit };
	enum reply_kind kind =
	    mc->merge(info, part_of_key, cmd.key_count, &part, 1, ON_ERROR_ERROR, &c.sink);
	MUST(kind == whole->kind);
	MUST(c.out.n <= whole->n);
	MUST(memcmp(c.out.p, p + whole->n - c.out.n, c.out.n) == 0);
	MUST(kind == REPLY_ERROR || c.out.n == whole->n);
	scratch_fini(&c.out);
	free(ends);
	free(part_of_key);
	parser_fini(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n < 3) return 0;
	const struct op_info *info = mc->op(bytes[0] % mc->op_count);
	size_t step = 1 + bytes[1] % 16;
	const char *line = (const char *)bytes + 2, *end = (const char *)bytes + n;
	const char *newline = memchr(line, '\n', (size_t)(end - line));
	if (!newline || info->shape == MC_SHAPE_NONE) return 0;
	struct slice sent = { line, (size_t)(newline + 1 - line) };
	const char *p = newline + 1;
	struct reply_resume resume = { 0 };
	struct reply reply;
	enum parse_result result = parse(info, sent, p, (size_t)(end - p), &resume, &reply);
	MUST(result == PARSE_OK || result == PARSE_NEED || result == PARSE_FATAL);
	if (result == PARSE_OK) MUST(reply.n > 0 && reply.n <= (size_t)(end - p));
	in_pieces(info, sent, p, (size_t)(end - p), step, result, &reply);
	if (result == PARSE_OK && info->merge == MERGE_VALUES) merges(info, sent, p, &reply);
	return 0;
}
