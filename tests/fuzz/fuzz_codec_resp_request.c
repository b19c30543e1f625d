/* Requests of the Redis codec: however the bytes are cut, the same requests come out, and what is
 * forwarded is canonical: read again, it is itself. The first byte says how to cut. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/codec_resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct codec_limits limits = {
	.value_max_bytes = 3000,
	.request_max_bytes = 6000,
	.args_max = 300,
	.allow_flush = true,
};

/* What a stream was read as. */
struct trace {
	struct scratch text;
	enum parse_result last;
};

static void trace_slice(struct trace *t, struct slice s)
{
	scratch_put_u64(&t->text, s.n);
	scratch_put(&t->text, ":", 1);
	scratch_puts(&t->text, s);
}

static void trace_command(struct trace *t, const struct command *cmd)
{
	scratch_put_u64(&t->text, cmd->info->id);
	trace_slice(t, cmd->head);
	trace_slice(t, cmd->key);
	trace_slice(t, cmd->error);
	for (uint32_t i = 0; i < cmd->key_count; i++) trace_slice(t, command_key(cmd, i));
}

/* A part for all keys asks for the same keys. */
static void check_part(const struct command *cmd)
{
	uint32_t *index = malloc(cmd->key_count * sizeof(*index) + 1);
	for (uint32_t i = 0; i < cmd->key_count; i++) index[i] = i;
	struct scratch out = { 0 };
	codec_resp.encode_part(cmd, index, cmd->key_count, &out);
	assert(slice_eq(scratch_slice(&out), cmd->head));
	scratch_fini(&out);
	free(index);
}

static void check_command(const struct command *cmd)
{
	assert(cmd->info->id < codec_resp.op_count);
	if (cmd->info->route == OP_REFUSED) {
		assert(cmd->error.n > 3 && cmd->error.p[0] == '-');
		assert(memchr(cmd->error.p, '\n', cmd->error.n) == cmd->error.p + cmd->error.n - 1);
		return;
	}
	assert(cmd->error.n == 0 && cmd->body.n == 0);
	assert(cmd->key_count == 0 || slice_eq(cmd->key, command_key(cmd, 0)));
	struct parser p = { 0 };
	struct parse_resume resume = { 0 };
	struct command again;
	size_t skip;
	/* An inline request may grow past the limit when it becomes an array; that one is fine. */
	struct codec_limits wide = limits;
	wide.value_max_bytes = wide.request_max_bytes = 1 << 20;
	enum parse_result r =
	    codec_resp.parse_request(&p, &wide, cmd->head.p, cmd->head.n, &resume, &again, &skip);
	assert(r == PARSE_OK && again.info == cmd->info && again.argc == cmd->argc);
	assert(slice_eq(again.head, cmd->head) && again.key_count == cmd->key_count);
	if (cmd->info->route == OP_SPLIT) check_part(cmd);
	parser_fini(&p);
}

/* Read the stream in pieces of `step` bytes (0: at once), each call with a block of exactly the
 * bytes that have come. */
static void read_stream(struct trace *t, const uint8_t *data, size_t size, size_t step)
{
	struct parser p = { 0 };
	struct parse_resume resume = { 0 };
	size_t begin = 0, end = step ? 0 : size, skip;
	for (;;) {
		size_t n = end - begin;
		char *copy = malloc(n + 1);
		char *block = copy + 1; /* not aligned */
		memcpy(block, data + begin, n);
		struct command cmd;
		t->last = codec_resp.parse_request(&p, &limits, block, n, &resume, &cmd, &skip);
		if (t->last == PARSE_OK) {
			assert(cmd.consumed > 0 && cmd.consumed <= n);
			check_command(&cmd);
			trace_command(t, &cmd);
			begin += cmd.consumed;
			resume = (struct parse_resume){ 0 };
		} else if (t->last == PARSE_FATAL) {
			trace_slice(t, cmd.error);
		} else {
			assert(t->last == PARSE_NEED);
			assert(resume.need == 0 || resume.need > n);
			assert(resume.at <= n);
		}
		free(copy);
		if (t->last == PARSE_FATAL || (t->last == PARSE_NEED && end == size)) break;
		if (t->last == PARSE_NEED) end = end + step < size ? end + step : size;
	}
	parser_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 8192) return 0;
	struct trace whole = { 0 }, cut = { 0 };
	read_stream(&whole, data + 1, size - 1, 0);
	read_stream(&cut, data + 1, size - 1, 1 + data[0] % 40 + (size > 1000 ? 100 : 0));
	assert(whole.last == cut.last);
	assert(slice_eq(scratch_slice(&whole.text), scratch_slice(&cut.text)));
	scratch_fini(&whole.text);
	scratch_fini(&cut.text);
	return 0;
}
