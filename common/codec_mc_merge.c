#include "common/codec_mc_scan.h"
#include "common/codec_mc_text.h"

/* --- apart --------------------------------------------------------------------------------- */

void mc_encode_part(const struct command *cmd, const uint32_t *index, uint32_t count,
		    struct scratch *out)
{
	/* A part of the canonical line is not longer than it. */
	char *begin = scratch_reserve(out, cmd->head.n), *p = begin;
	for (uint32_t i = 0; i < cmd->first_key; i++) {
		if (i > 0) *p++ = ' ';
		p = mempcpy(p, cmd->argv[i].p, cmd->argv[i].n);
	}
	for (uint32_t i = 0; i < count; i++) {
		struct slice key = command_key(cmd, index[i]);
		*p++ = ' ';
		p = mempcpy(p, key.p, key.n);
	}
	p = mempcpy(p, "\r\n", 2);
	out->n += p - begin;
}

/* --- together ------------------------------------------------------------------------------ */

/* Bytes of one part that lie behind each other, not emitted yet. */
struct mc_run {
	struct merge_sink *sink;
	int part;
	const char *p;
	size_t n;
};

static void mc_run_flush(struct mc_run *run)
{
	if (run->n) merge_put(run->sink, run->part, (struct slice){ run->p, run->n });
	run->n = 0;
}

static void mc_run_add(struct mc_run *run, int part, struct slice block)
{
	if (run->n && run->part == part && run->p + run->n == block.p) {
		run->n += block.n;
		return;
	}
	mc_run_flush(run);
	run->part = part;
	run->p = block.p;
	run->n = block.n;
}

/* The reply ends with the line END, not with an error behind its values. */
static bool mc_part_ended(struct slice reply)
{
	if (reply.n < 5 || memcmp(reply.p + reply.n - 5, "END\r\n", 5) != 0) return false;
	return reply.n == 5 || reply.p[reply.n - 6] == '\n';
}

/* The last line of a reply that mc_part_ended() is false for: an error. */
static struct slice mc_part_error(struct slice reply)
{
	if (reply.n < 2) return (struct slice){ "", 0 };
	const char *newline = memrchr(reply.p, '\n', reply.n - 1);
	const char *line = newline ? newline + 1 : reply.p;
	return (struct slice){ line, reply.p + reply.n - line };
}

/* One line for a client whose request failed because of this part. */
static void mc_emit_failure(const struct merge_part *parts, uint32_t i, struct merge_sink *sink)
{
	const struct merge_part *part = &parts[i];
	if (part->err == ERR_NONE) {
		merge_put(sink, (int)i, mc_part_error(part->reply));
		return;
	}
	struct scratch line = { 0 };
	mc_put_failure(part->err, part->server, &line);
	merge_put(sink, -1, scratch_slice(&line));
	scratch_fini(&line);
}

/* The part is a failure to be told, under this policy. A server that refuses the request is always
 * heard: that is no outage, and calling it a miss would hide it for ever. */
static bool mc_part_failed(const struct merge_part *part, enum on_server_error on_error)
{
	if (part->err != ERR_NONE) return on_error != ON_ERROR_MISS;
	if (mc_part_ended(part->reply)) return false;
	struct slice error = mc_part_error(part->reply);
	bool outage = error.n > 12 && memcmp(error.p, "SERVER_ERROR", 12) == 0;
	return !outage || on_error != ON_ERROR_MISS;
}

/* A reply that no connection brought, or that was changed since: find out again. */
static void mc_part_measure(const struct op_info *info, struct merge_part *part)
{
	struct reply_resume resume = { .ends = part->ends };
	struct reply unused;
	mc_parse_reply(info, part->sent, part->reply.p, part->reply.n, &resume, &unused);
}

/* The VALUE block for the next key of the part. cursor[0] counts the keys, cursor[1] is where the
 * last block ended. */
static inline bool mc_part_next(struct merge_part *part, struct slice *out)
{
	if (part->err != ERR_NONE) return false;
	uint32_t begin = part->cursor[1], end = part->ends[part->cursor[0]++];
	if (end == 0) return false;
	*out = (struct slice){ part->reply.p + begin, end - begin };
	part->cursor[1] = end;
	return true;
}

static enum reply_kind mc_merge_values(const struct op_info *info, const uint16_t *part_of_key,
				       uint32_t key_count, struct merge_part *parts,
				       uint32_t part_count, struct merge_sink *sink)
{
	for (uint32_t i = 0; i < part_count; i++)
		if (!parts[i].ends_known && parts[i].err == ERR_NONE)
			mc_part_measure(info, &parts[i]);
	struct mc_run run = { .sink = sink };
	bool any = false;
	for (uint32_t i = 0; i < key_count; i++) {
		struct slice block;
		struct merge_part *part = &parts[part_of_key[i]];
		if (!mc_part_next(part, &block)) continue;
		mc_run_add(&run, part_of_key[i], block);
		any = true;
	}
	const struct merge_part *last = any ? &parts[run.part] : NULL;
	if (last && run.p + run.n + 5 == last->reply.p + last->reply.n &&
	    mc_part_ended(last->reply)) {
		run.n += 5; /* its END serves for all */
		mc_run_flush(&run);
	} else {
		mc_run_flush(&run);
		merge_put(sink, -1, SLICE("END\r\n"));
	}
	return any ? REPLY_HIT : REPLY_MISS;
}

enum reply_kind mc_merge(const struct op_info *info, const uint16_t *part_of_key,
			 uint32_t key_count, struct merge_part *parts, uint32_t part_count,
			 enum on_server_error on_error, struct merge_sink *sink)
{
	bool values = info->merge == MERGE_VALUES;
	for (uint32_t i = 0; i < part_count; i++) {
		bool ok = parts[i].err == ERR_NONE && slice_eq(parts[i].reply, SLICE("OK\r\n"));
		if (values ? !mc_part_failed(&parts[i], on_error) : ok) continue;
		mc_emit_failure(parts, i, sink);
		return REPLY_ERROR;
	}
	if (values) return mc_merge_values(info, part_of_key, key_count, parts, part_count, sink);
	merge_put(sink, -1, SLICE("OK\r\n"));
	return REPLY_HIT;
}
