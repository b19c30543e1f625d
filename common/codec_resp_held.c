/* codec_resp_held.c - a read of keys that may not be there, and whether they were, at one moment.
 *
 * A script could do it in one command, but would change what the reply looks like: Lua has neither
 * RESP3's types nor a nil inside an array.
 */
#include "common/codec_resp.h"

void resp_put_held(struct scratch *out, const struct slice *keys, uint32_t key_count,
		   struct slice request)
{
	scratch_puts(out, SLICE("*1\r\n$5\r\nMULTI\r\n"));
	resp_put_head(out, '*', 1 + (uint64_t)key_count);
	resp_put_bulk(out, SLICE("EXISTS"));
	for (uint32_t i = 0; i < key_count; i++) resp_put_bulk(out, keys[i]);
	scratch_puts(out, request);
	scratch_puts(out, SLICE("*1\r\n$4\r\nEXEC\r\n"));
}

static struct slice next_value(struct slice *rest)
{
	struct slice v = resp_value(rest->p, rest->n);
	*rest = (struct slice){ rest->p + v.n, rest->n - v.n };
	return v;
}

static bool is_error(struct slice v)
{
	return v.n == 0 || v.p[0] == '-' || v.p[0] == '!';
}

/* The two results inside EXEC's. */
static bool read_results(struct slice exec, struct resp_held *out)
{
	size_t head;
	uint64_t count;
	if (!resp_array(exec, &head, &count) || count != 2) return false;
	struct slice rest = { exec.p + head, exec.n - head };
	struct slice present = next_value(&rest);
	out->value = rest;
	return resp_integer(present, &out->present) && out->present >= 0;
}

/* What it says is told by the first of the four that is an error: then nothing was read. */
static bool read_held(struct slice reply, struct resp_held *out)
{
	static const char *const good[3] = { "+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n" };
	struct slice rest = reply, refusal = { 0 };
	for (int i = 0; i < 3; i++) {
		struct slice v = next_value(&rest);
		if (slice_eq(v, slice_of(good[i]))) continue;
		/* Behind a MULTI that was refused, the others are commands of their own. */
		if (!is_error(v) && refusal.n == 0) return false;
		if (refusal.n == 0) refusal = v;
	}
	if (refusal.n == 0 && is_error(rest)) refusal = rest;
	*out = (struct resp_held){ .present = -1, .value = refusal };
	return refusal.n > 0 ? is_error(rest) : read_results(rest, out);
}

struct resp_held resp_read_held(struct slice reply)
{
	struct resp_held held = { .present = -1 };
	read_held(reply, &held);
	return held;
}

bool resp_held_is_legal(struct slice reply)
{
	struct resp_held held;
	return read_held(reply, &held);
}
