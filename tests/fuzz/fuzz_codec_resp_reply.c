/* Replies of the Redis codec: however the bytes are cut, the same reply comes out, and merging
 * makes a legal reply of whatever was found legal. The first two bytes say which command was sent
 * and how to cut. */
#include <assert.h>
#include <stdlib.h>

#include "common/codec_resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum parse_result read_reply(const struct op_info *info, const uint8_t *data, size_t size,
				    size_t step, struct reply *reply)
{
	struct reply_resume resume = { 0 };
	for (size_t end = step ? 0 : size;; end = end + step < size ? end + step : size) {
		char *copy = malloc(end + 1);
		char *block = copy + 1;
		memcpy(block, data, end);
		enum parse_result r =
		    codec_resp.parse_reply(info, (struct slice){ 0 }, block, end, &resume, reply);
		free(copy);
		assert(r == PARSE_OK || r == PARSE_NEED || r == PARSE_FATAL);
		if (r == PARSE_NEED) assert(resume.base.need == 0 || resume.base.need > end);
		if (r != PARSE_NEED || end == size) return r;
	}
}

struct collect {
	struct merge_sink sink;
	struct scratch out;
};

static void collect_emit(struct merge_sink *s, int part, struct slice bytes)
{
	(void)part;
	scratch_puts(&((struct collect *)s)->out, bytes);
}

/* Twice the same reply, as parts of one request. */
static void check_merge(const struct op_info *info, struct slice reply)
{
	enum { KEYS_MAX = 64 };
	uint16_t part_of_key[KEYS_MAX];
	uint32_t ends[2][KEYS_MAX];
	uint64_t count = 1;
	size_t head;
	resp_array(reply, &head, &count);
	uint32_t keys = count < KEYS_MAX / 2 ? (uint32_t)count * 2 : 2;
	for (uint32_t i = 0; i < keys; i++) part_of_key[i] = i % 3 == 0;
	if (info->route == OP_ALL) keys = 0;
	for (int on_error = ON_ERROR_ERROR; on_error <= ON_ERROR_MISS; on_error++) {
		struct merge_part parts[2] = { { .reply = reply, .ends = ends[0] },
					       { .reply = reply, .ends = ends[1] } };
		struct collect c = { .sink = { collect_emit } };
		codec_resp.merge(info, part_of_key, keys, parts, 2, (enum on_server_error)on_error,
				 &c.sink);
		struct reply out;
		enum parse_result r = read_reply(info, (const uint8_t *)c.out.p, c.out.n, 0, &out);
		assert(r == PARSE_OK && out.n == c.out.n);
		scratch_fini(&c.out);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t ids[] = { RESP_EVAL, RESP_EVAL,	RESP_MGET,	    RESP_GET,
					RESP_DEL,  RESP_EXISTS, RESP_SCRIPT_EXISTS, RESP_MSET,
					RESP_PING, RESP_DBSIZE, RESP_SCRIPT_LOAD,   RESP_TTL };
	if (size < 2 || size > 8192) return 0;
	const struct op_info *info = codec_resp.op(ids[data[0] % (sizeof(ids) / sizeof(ids[0]))]);
	size_t step = 1 + data[1] % 40;
	data += 2;
	size -= 2;
	struct reply whole = { 0 }, cut = { 0 };
	enum parse_result r = read_reply(info, data, size, 0, &whole);
	enum parse_result piecewise = read_reply(info, data, size, step, &cut);
	assert(r == piecewise);
	if (r != PARSE_OK) return 0;
	assert(whole.n == cut.n && whole.n > 0 && whole.n <= size);
	assert(whole.kind == cut.kind && whole.hits == cut.hits);
	assert(whole.unhealthy == cut.unhealthy);
	struct slice reply = { (const char *)data, whole.n };
	assert(resp_value(reply.p, reply.n).n == reply.n);
	if (info->merge != MERGE_NONE) check_merge(info, reply);
	return 0;
}
