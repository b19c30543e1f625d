/* codec_resp_merge.c - requests taken apart, replies put together, failures told. */
#include "common/codec_resp.h"

void resp_put_head(struct scratch *out, char type, uint64_t n)
{
	char *p = scratch_reserve(out, 24);
	*p = type;
	out->n++;
	scratch_put_u64(out, n);
	scratch_put(out, "\r\n", 2);
}

void resp_put_bulk(struct scratch *out, struct slice s)
{
	resp_put_head(out, '$', s.n);
	scratch_puts(out, s);
	scratch_put(out, "\r\n", 2);
}

/* --- one part of a request */

/* An argument with the "$3\r\n" before it and the line end behind. The request was canonical, so
 * both are where they must be. */
static struct slice whole_argument(struct slice s)
{
	size_t head = 4;
	for (size_t n = s.n; n >= 10; n /= 10) head++;
	return (struct slice){ s.p - head, head + s.n + 2 };
}

void resp_encode_part(const struct command *cmd, const uint32_t *index, uint32_t count,
		      struct scratch *out)
{
	uint32_t step = cmd->key_step;
	resp_put_head(out, '*', 1 + (uint64_t)count * step);
	/* A part of the request is not longer than it. */
	char *begin = scratch_reserve(out, cmd->head.n), *p = begin;
	struct slice verb = whole_argument(cmd->argv[0]);
	p = mempcpy(p, verb.p, verb.n);
	for (uint32_t i = 0; i < count; i++) {
		/* What belongs to a key stands right behind it: MSET's value. */
		const struct slice *key = &cmd->argv[cmd->first_key + index[i] * step];
		struct slice first = whole_argument(key[0]);
		const char *end = key[step - 1].p + key[step - 1].n + 2;
		p = mempcpy(p, first.p, (size_t)(end - first.p));
	}
	out->n += (size_t)(p - begin);
}

/* --- failures */

static const char *const miss_texts[MISS_MAX] = {
	[MISS_NIL] = "$-1\r\n",	      [MISS_ZERO] = ":0\r\n",	   [MISS_GONE] = ":-2\r\n",
	[MISS_UNTYPED] = "+none\r\n", [MISS_BLANK] = "$0\r\n\r\n", [MISS_EMPTY] = "*0\r\n",
	[MISS_NIL_ARRAY] = "*-1\r\n", [MISS_EACH] = "$-1\r\n",
};

/* Is the server at fault, so that a miss is a fair answer? Not when the client asked for what
 * cannot be done, or for more than we hold. */
static bool may_miss(enum err e)
{
	return e != ERR_CROSS_SLOT && e != ERR_REPLY_TOO_LARGE && e != ERR_INVALID &&
	       e != ERR_MOVING && e != ERR_FENCED && e != ERR_STALE;
}

static const char *error_code(enum err e)
{
	static const char *const codes[ERR_MAX] = { [ERR_CROSS_SLOT] = "CROSSSLOT",
						    [ERR_MOVING] = "TRYAGAIN",
						    [ERR_FENCED] = "TRYAGAIN",
						    [ERR_STALE] = "TRYAGAIN" };
	return codes[e] ? codes[e] : "ERR";
}

/* Nor when the key is on its way: it may well be there. */
static bool part_may_miss(const struct merge_part *part)
{
	struct slice tryagain = SLICE("-TRYAGAIN ");
	if (part->err) return may_miss(part->err);
	return part->reply.n < tryagain.n || memcmp(part->reply.p, tryagain.p, tryagain.n) != 0;
}

static void put_failure(enum err e, const char *server, struct scratch *out)
{
	const char *code = error_code(e);
	if (server) scratch_printf(out, "-%s %s (server %s)\r\n", code, err_text(e), server);
	else scratch_printf(out, "-%s %s\r\n", code, err_text(e));
}

void resp_encode_failure(const struct op_info *info, enum err e, const char *server,
			 enum on_server_error on_error, uint32_t key_count, struct scratch *out)
{
	const struct resp_command *row = resp_command_of(info);
	const char *miss = info->access == OP_READ && may_miss(e) ? miss_texts[row->miss] : NULL;
	if (on_error != ON_ERROR_MISS || !miss) {
		put_failure(e, server, out);
		return;
	}
	if (row->miss == MISS_EACH) resp_put_head(out, '*', key_count);
	uint32_t times = row->miss == MISS_EACH ? key_count : 1;
	for (uint32_t i = 0; i < times; i++) scratch_put(out, miss, strlen(miss));
}

/* --- replies put together */

struct merger {
	const struct op_info *info;
	struct merge_part *parts;
	uint32_t part_count;
	enum on_server_error on_error;
	struct merge_sink *sink;
	struct scratch tmp;
};

static bool is_error(struct slice reply)
{
	return reply.p[0] == '-' || reply.p[0] == '!';
}

static bool has_failed(const struct merge_part *part)
{
	return part->err != ERR_NONE || is_error(part->reply);
}

static void emit(struct merger *m, int part, struct slice bytes)
{
	if (bytes.n) merge_put(m->sink, part, bytes);
}

static void emit_tmp(struct merger *m)
{
	emit(m, -1, scratch_slice(&m->tmp));
	scratch_clear(&m->tmp);
}

/* Why a part failed, as a whole error reply: the server's words or ours. */
static void emit_error(struct merger *m, uint32_t i)
{
	const struct merge_part *part = &m->parts[i];
	if (part->err == ERR_NONE) {
		emit(m, (int)i, part->reply);
		return;
	}
	put_failure(part->err, part->server, &m->tmp);
	emit_tmp(m);
}

/* The first part that failed, or part_count. */
static uint32_t first_failed(const struct merger *m)
{
	uint32_t i = 0;
	while (i < m->part_count && !has_failed(&m->parts[i])) i++;
	return i;
}

static enum reply_kind fail(struct merger *m, uint32_t part)
{
	emit_error(m, part);
	return REPLY_ERROR;
}

/* What no server should have said. */
static enum reply_kind desync(struct merger *m, uint32_t part)
{
	m->parts[part].err = ERR_DESYNC;
	return fail(m, part);
}

/* The next element of an array. cursor[0] is its offset, cursor[1] the number of elements from it
 * on. */
static struct slice next_element(struct merge_part *part)
{
	if (part->cursor[1] == 0) return (struct slice){ 0 };
	part->cursor[1]--;
	struct slice v =
	    resp_value(part->reply.p + part->cursor[0], part->reply.n - part->cursor[0]);
	part->cursor[0] += (uint32_t)v.n;
	return v;
}

/* Where each element ends, of a reply that no connection brought or that is not plain. */
static void measure(const struct merge_part *part, size_t at, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		at += resp_value(part->reply.p + at, part->reply.n - at).n;
		part->ends[i] = (uint32_t)at;
	}
}

/* The element for the next key of the part. cursor[0] is its offset, cursor[1] counts the keys. */
static inline struct slice next_key_element(struct merge_part *part)
{
	uint32_t begin = part->cursor[0], end = part->ends[part->cursor[1]++];
	part->cursor[0] = end;
	return (struct slice){ part->reply.p + begin, end - begin };
}

/* An array of as many elements as this part has keys? Else the part has failed: its elements
 * could belong to other keys. */
static void open_array_part(struct merge_part *part, uint32_t keys)
{
	size_t head;
	uint64_t count;
	part->cursor[1] = 0;
	if (has_failed(part)) return;
	if (!resp_array(part->reply, &head, &count) || count != keys) {
		part->err = ERR_DESYNC;
		return;
	}
	part->cursor[0] = (uint32_t)head;
	if (!part->ends_known) measure(part, head, keys);
}

static void open_array_parts(struct merger *m, const uint16_t *part_of_key, uint32_t key_count)
{
	for (uint32_t i = 0; i < m->part_count; i++) m->parts[i].cursor[1] = 0;
	for (uint32_t k = 0; k < key_count; k++) m->parts[part_of_key[k]].cursor[1]++;
	for (uint32_t i = 0; i < m->part_count; i++)
		open_array_part(&m->parts[i], m->parts[i].cursor[1]);
}

/* MGET. The failure of one server is the failure of its keys only; but if there is nothing else
 * to tell, it is told once. */
static enum reply_kind merge_array(struct merger *m, const uint16_t *part_of_key,
				   uint32_t key_count)
{
	bool miss = m->on_error == ON_ERROR_MISS && m->info->access == OP_READ;
	uint32_t failed = 0;
	bool found = false;
	open_array_parts(m, part_of_key, key_count);
	for (uint32_t i = 0; i < m->part_count; i++) failed += has_failed(&m->parts[i]);
	if (failed == m->part_count && !miss) return fail(m, 0);

	resp_put_head(&m->tmp, '*', key_count);
	emit_tmp(m);
	struct slice run = { 0 }; /* elements of one part that lie side by side */
	uint32_t run_part = 0;
	for (uint32_t k = 0; k < key_count; k++) {
		uint32_t i = part_of_key[k];
		if (run.n && (i != run_part || has_failed(&m->parts[i]))) {
			emit(m, (int)run_part, run);
			run = (struct slice){ 0 };
		}
		if (!has_failed(&m->parts[i])) {
			struct slice v = next_key_element(&m->parts[i]);
			found = found || !resp_is_nil(v);
			if (run.n == 0) run.p = v.p;
			run.n += v.n;
			run_part = i;
		} else if (miss && part_may_miss(&m->parts[i])) {
			emit(m, -1, SLICE("$-1\r\n"));
		} else {
			emit_error(m, i);
		}
	}
	emit(m, (int)run_part, run);
	return found ? REPLY_HIT : REPLY_MISS;
}

static enum reply_kind merge_sum(struct merger *m, uint32_t key_count)
{
	/* With no keys (DBSIZE) a missing part would make a wrong total, not a miss. */
	bool miss = m->on_error == ON_ERROR_MISS && m->info->access == OP_READ && key_count;
	int64_t sum = 0;
	for (uint32_t i = 0; i < m->part_count; i++) {
		int64_t v;
		if (has_failed(&m->parts[i])) {
			if (!miss || !part_may_miss(&m->parts[i])) return fail(m, i);
		} else if (!resp_integer(m->parts[i].reply, &v) ||
			   __builtin_add_overflow(sum, v, &sum)) {
			return desync(m, i);
		}
	}
	scratch_printf(&m->tmp, ":%lld\r\n", (long long)sum);
	emit_tmp(m);
	return sum ? REPLY_HIT : REPLY_MISS;
}

/* SCRIPT EXISTS: a script is there when every server has it. */
static enum reply_kind merge_all_have(struct merger *m)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < m->part_count; i++) {
		size_t head;
		uint64_t n;
		if (!resp_array(m->parts[i].reply, &head, &n) || (i > 0 && n != count))
			return desync(m, i);
		count = n;
		m->parts[i].cursor[0] = (uint32_t)head;
		m->parts[i].cursor[1] = (uint32_t)n;
	}
	resp_put_head(&m->tmp, '*', count);
	for (uint64_t k = 0; k < count; k++) {
		bool all = true;
		for (uint32_t i = 0; i < m->part_count; i++) {
			int64_t v;
			all &= resp_integer(next_element(&m->parts[i]), &v) && v != 0;
		}
		scratch_put(&m->tmp, all ? ":1\r\n" : ":0\r\n", 4);
	}
	emit_tmp(m);
	return REPLY_HIT;
}

/* MSET, FLUSHALL, SCRIPT LOAD: what all of them said, or the first error. */
static enum reply_kind merge_ok(struct merger *m)
{
	uint32_t failed = first_failed(m);
	if (failed < m->part_count) return fail(m, failed);
	if (m->info->id == RESP_SCRIPT_EXISTS) return merge_all_have(m);
	for (uint32_t i = 1; i < m->part_count; i++)
		if (!slice_eq(m->parts[i].reply, m->parts[0].reply)) return desync(m, i);
	emit(m, 0, m->parts[0].reply);
	return REPLY_HIT;
}

enum reply_kind resp_merge(const struct op_info *info, const uint16_t *part_of_key,
			   uint32_t key_count, struct merge_part *parts, uint32_t part_count,
			   enum on_server_error on_error, struct merge_sink *sink)
{
	struct merger m = { info, parts, part_count, on_error, sink, { 0 } };
	enum reply_kind kind = REPLY_ERROR;
	switch ((enum op_merge)info->merge) {
	case MERGE_ARRAY: kind = merge_array(&m, part_of_key, key_count); break;
	case MERGE_SUM: kind = merge_sum(&m, key_count); break;
	case MERGE_OK: kind = merge_ok(&m); break;
	case MERGE_NONE:
	case MERGE_VALUES: break; /* no command of this protocol */
	}
	scratch_fini(&m.tmp);
	return kind;
}
