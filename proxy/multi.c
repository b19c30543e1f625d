#include "proxy/multi.h"

#include <assert.h>
#include <stdlib.h>

enum { PARTS_MAX = 65535 };

/* What a part's reply stands in until the merge. */
struct multi_hold {
	struct multi *multi;
	struct buf *reply, *sent; /* references, or NULL */
};

/* Lives in one buf, so that splitting allocates nothing when the free lists are warm. */
struct multi {
	struct buf *memory;
	struct core *core;
	struct request *parent;
	uint32_t key_count, part_count, pending, hits;
	struct merge_part *parts;
	struct multi_hold *holds;
	uint32_t *ends; /* of each key's value in its part's reply, grouped by part */
	uint16_t *part_of;
};

/* --- who gets which key ----------------------------------------------------------------------- */

static void *grown(void *p, size_t bytes)
{
	p = realloc(p, bytes);
	if (!p) abort();
	return p;
}

static void multi_reserve_keys(struct multi_scratch *s, uint32_t n)
{
	if (n <= s->key_cap) return;
	s->key_cap = n < 128 ? 128 : n;
	s->located = grown(s->located, s->key_cap * sizeof(*s->located));
	s->index = grown(s->index, s->key_cap * sizeof(*s->index));
	s->part_of = grown(s->part_of, s->key_cap * sizeof(*s->part_of));
}

/* Room for one part more than there are, in a table at most half full. */
static void multi_reserve_parts(struct multi_scratch *s, uint32_t n)
{
	if (n < s->part_cap) return;
	s->part_cap = s->part_cap ? s->part_cap * 2 : 32;
	s->leaves = grown(s->leaves, s->part_cap * sizeof(*s->leaves));
	s->starts = grown(s->starts, (s->part_cap + 1) * sizeof(*s->starts));
	uint32_t old_count = s->slot_count;
	struct multi_slot *old = s->slots;
	s->slot_count = s->part_cap * 2;
	s->slots = calloc(s->slot_count, sizeof(*s->slots));
	if (!s->slots) abort();
	for (uint32_t i = 0; i < old_count; i++) {
		if (old[i].stamp != s->stamp) continue;
		uint32_t at = (uint32_t)((uintptr_t)old[i].leaf >> 4) & (s->slot_count - 1);
		while (s->slots[at].leaf) at = (at + 1) & (s->slot_count - 1);
		s->slots[at] = old[i];
	}
	free(old);
}

static uint16_t multi_new_part(struct multi_scratch *s, const struct route *leaf, uint32_t *count)
{
	uint32_t part = (*count)++;
	s->leaves[part] = leaf;
	s->starts[part + 1] = 0;
	return (uint16_t)part;
}

/* The part for `leaf`, a new one if it has none yet. */
static inline uint16_t multi_part(struct multi_scratch *s, const struct route *leaf,
				  uint32_t *count)
{
	uint32_t at = (uint32_t)((uintptr_t)leaf >> 4) & (s->slot_count - 1);
	while (s->slots[at].stamp == s->stamp) {
		if (s->slots[at].leaf == leaf) return s->slots[at].part;
		at = (at + 1) & (s->slot_count - 1);
	}
	s->slots[at] = (struct multi_slot){ leaf, s->stamp, (uint16_t)*count };
	return multi_new_part(s, leaf, count);
}

static void multi_locate(struct core *core, struct multi_scratch *s, const struct route *root,
			 const struct command *cmd)
{
	if (root->type->locate_keys) {
		root->type->locate_keys(root, cmd, &core->rng, s->located);
		return;
	}
	for (uint32_t i = 0; i < cmd->key_count; i++)
		s->located[i] = route_locate(root, command_key(cmd, i), &core->rng);
}

/* Give each key its part, and count those of part p in starts[p + 1]; returns how many parts there
 * are. */
static uint32_t multi_assign(struct core *core, struct multi_scratch *s, const struct route *root,
			     const struct command *cmd)
{
	uint32_t parts = 0;
	multi_reserve_keys(s, cmd->key_count);
	if (++s->stamp == 0) {
		memset(s->slots, 0, s->slot_count * sizeof(*s->slots));
		s->stamp = 1;
	}
	multi_locate(core, s, root, cmd);
	for (uint32_t i = 0; i < cmd->key_count; i++) {
		multi_reserve_parts(s, parts + 1);
		const struct route *leaf = s->located[i];
		bool alone = leaf->per_key && cmd->info->route == OP_SPLIT;
		uint16_t part =
		    alone ? multi_new_part(s, leaf, &parts) : multi_part(s, leaf, &parts);
		s->part_of[i] = part;
		s->starts[part + 1]++;
	}
	return parts;
}

/* index[starts[p] .. starts[p + 1]) are the keys of part p, in the client's order. */
static void multi_group(struct multi_scratch *s, uint32_t keys, uint32_t parts)
{
	s->starts[0] = 0;
	for (uint32_t p = 0; p < parts; p++) s->starts[p + 1] += s->starts[p];
	for (uint32_t i = 0; i < keys; i++) s->index[s->starts[s->part_of[i]]++] = i;
	/* Filling moved each start to its end, which is the next one's start. */
	memmove(s->starts + 1, s->starts, parts * sizeof(*s->starts));
	s->starts[0] = 0;
}

/* --- the way back ----------------------------------------------------------------------------- */

struct multi_sink {
	struct merge_sink base;
	struct multi *multi;
	struct outq out;
	char *begin; /* what the codec wrote behind `out` */
	size_t chunk;
	int last;	      /* the part whose reply was not held ... */
	struct buf *last_buf; /* ... and lies here                     */
};

/* Count in what the codec has written by itself. */
static void multi_settle(struct multi_sink *s)
{
	outq_add(&s->out, (size_t)(s->base.at - s->begin));
	s->begin = s->base.at;
}

static void multi_emit(struct merge_sink *base, int part, struct slice bytes)
{
	struct multi_sink *s = (struct multi_sink *)base;
	struct buf *in = part < 0 ? NULL : s->multi->holds[part].reply;
	if (!in && part == s->last) in = s->last_buf;
	multi_settle(s);
	outq_put(&s->multi->core->bufs, &s->out, in, bytes, s->chunk);
	s->begin = base->at = outq_room(&s->out, &base->room);
}

static void multi_free(struct multi *m)
{
	for (uint32_t i = 0; i < m->part_count; i++) {
		if (m->holds[i].reply) buf_unref(m->holds[i].reply);
		if (m->holds[i].sent) buf_unref(m->holds[i].sent);
	}
	buf_unref(m->memory);
}

static void multi_finish(struct multi *m, uint32_t last, struct buf *last_buf)
{
	struct request *parent = m->parent;
	struct core *core = m->core;
	if (!(parent->flags & REQ_AWAITED)) {
		multi_free(m);
		request_unqueue(core, parent);
		return;
	}
	const struct server_pool *pool = parent->pool;
	struct multi_sink sink = { .base = { .emit = multi_emit, .short_max = BUF_REF_MIN - 1 },
				   .multi = m,
				   .last = (int)last,
				   .last_buf = last_buf };
	for (uint32_t i = 0; i < m->part_count; i++) sink.chunk += m->parts[i].reply.n;
	sink.chunk += 64;
	if (sink.chunk > BUF_READ) sink.chunk = BUF_READ;
	struct answer a = { .hits = m->hits, .chain = &sink.out };
	a.kind = pool->codec->merge(parent->info, m->part_of, m->key_count, m->parts, m->part_count,
				    pool->spec->on_error, &sink.base);
	multi_settle(&sink);
	multi_free(m);
	parent->multi = NULL;
	parent->flags &= (uint8_t)~REQ_QUEUED;
	request_reply(parent, &a);
	outq_clear(&core->bufs, &sink.out);
}

/* The name is good only during the call: a newer snapshot may take over the destination, and the
 * one that the name lies in go, before the last part is there. */
static void multi_keep_name(struct multi *m, uint32_t i, const char *server)
{
	struct slice kept;
	m->holds[i].reply =
	    buf_hold(&m->core->bufs, NULL, (struct slice){ server, strlen(server) + 1 }, &kept);
	m->parts[i].server = kept.p;
}

/* A part's reply that was put together from pieces, in one piece. */
static struct buf *multi_join(struct core *core, const struct outq *chain, struct slice *out)
{
	struct buf *b = buf_get(&core->bufs, chain->bytes);
	for (const struct seg *s = chain->head; s; s = s->next) {
		memcpy(b->data + b->len, s->buf->data + s->off, s->len);
		b->len += s->len;
	}
	*out = (struct slice){ b->data, b->len };
	return b;
}

static void multi_on_answer(struct frame *f, struct request *req, const struct answer *a)
{
	struct multi_hold *hold = f->owner;
	struct multi *m = hold->multi;
	uint32_t i = (uint32_t)(hold - m->holds);
	struct merge_part *part = &m->parts[i];
	struct core *core = m->core;
	part->err = a->err;
	part->server = a->err ? a->server : NULL;
	part->reply = a->bytes;
	part->sent = req->sent;
	part->ends_known = a->ends_known;
	m->hits += a->hits;
	if (req->sent_buf) hold->sent = buf_ref(req->sent_buf);
	bool last = --m->pending == 0;
	if (a->chain) hold->reply = multi_join(core, a->chain, &part->reply);
	else if (!last && !a->err)
		hold->reply = buf_hold(&core->bufs, a->buf, a->bytes, &part->reply);
	if (!last && part->server) multi_keep_name(m, i, part->server);
	struct buf *buf = a->buf;
	request_drop(core, req);
	if (last) multi_finish(m, i, buf);
}

/* --- the way down ----------------------------------------------------------------------------- */

static struct multi *multi_new(struct core *core, struct request *parent, uint32_t keys,
			       uint32_t parts)
{
	size_t size = sizeof(struct multi) +
		      parts * (sizeof(struct merge_part) + sizeof(struct multi_hold)) +
		      keys * (sizeof(uint32_t) + sizeof(uint16_t));
	struct buf *memory = buf_get(&core->bufs, size);
	memset(memory->data, 0, size);
	struct multi *m = (struct multi *)memory->data;
	m->memory = memory;
	m->core = core;
	m->parent = parent;
	m->key_count = keys;
	m->part_count = m->pending = parts;
	m->parts = (struct merge_part *)(m + 1);
	m->holds = (struct multi_hold *)(m->parts + parts);
	m->ends = (uint32_t *)(m->holds + parts);
	m->part_of = (uint16_t *)(m->ends + keys);
	parent->multi = m;
	parent->flags |= REQ_QUEUED; /* the parts hold it until the last is answered */
	metric_add(&parent->pool->stats->slots[core->index].m[POOL_fragments], parts);
	return m;
}

static struct request *multi_child(struct multi *m, uint32_t part)
{
	struct request *parent = m->parent;
	struct request *child = request_new(m->core, parent->info);
	m->holds[part].multi = m;
	child->bottom = (struct frame){ .reply = multi_on_answer, .owner = &m->holds[part] };
	child->pool = parent->pool;
	child->view = parent->view;
	child->view->refs++;
	child->start_us = parent->start_us;
	child->lane = parent->lane;
	child->resp = parent->resp;
	return child;
}

static void multi_split(struct core *core, struct multi_scratch *s, struct request *req,
			const struct command *cmd, uint32_t parts)
{
	multi_group(s, cmd->key_count, parts);
	struct multi *m = multi_new(core, req, cmd->key_count, parts);
	memcpy(m->part_of, s->part_of, cmd->key_count * sizeof(*m->part_of));
	for (uint32_t p = 0; p < parts; p++) {
		struct request *child = multi_child(m, p);
		const uint32_t *index = s->index + s->starts[p];
		uint32_t count = s->starts[p + 1] - s->starts[p];
		scratch_clear(&core->text);
		req->pool->codec->encode_part(cmd, index, count, &core->text);
		child->head = scratch_slice(&core->text);
		child->key = command_key(cmd, index[0]);
		child->key_count = count;
		child->ends = m->parts[p].ends = m->ends + s->starts[p];
		route_send(s->leaves[p], child);
	}
}

struct multi_leaves {
	const struct route **leaf;
	uint32_t count;
};

static void multi_count_leaf(const struct route *leaf, void *ctx)
{
	struct multi_leaves *l = ctx;
	if (l->leaf) l->leaf[l->count] = leaf;
	l->count++;
}

static void multi_send_all(struct core *core, const struct route *root, struct request *req)
{
	struct multi_leaves leaves = { 0 };
	root->type->each(root, multi_count_leaf, &leaves);
	if (leaves.count == 0 || leaves.count > PARTS_MAX) {
		request_fail_later(core, req, ERR_NO_SERVER, NULL);
		return;
	}
	struct buf *memory = buf_get(&core->bufs, leaves.count * sizeof(*leaves.leaf));
	leaves.leaf = (const struct route **)memory->data;
	leaves.count = 0;
	root->type->each(root, multi_count_leaf, &leaves);
	struct multi *m = multi_new(core, req, 0, leaves.count);
	for (uint32_t p = 0; p < leaves.count; p++) {
		struct request *child = multi_child(m, p);
		child->head = req->head;
		child->body = req->body;
		route_send(leaves.leaf[p], child);
	}
	buf_unref(memory);
}

void multi_send(struct core *core, struct multi_scratch *s, const struct route *root,
		struct request *req, const struct command *cmd)
{
	if (root->type->send_keys && root->type->send_keys(root, req, cmd)) return;
	if (cmd->info->route == OP_ALL) {
		multi_send_all(core, root, req);
		return;
	}
	uint32_t parts = cmd->key_count > 1 ? multi_assign(core, s, root, cmd) : 0;
	if (parts == 0) route_send(root, req);
	else if (parts == 1) route_send(s->leaves[0], req);
	else if (cmd->info->route == OP_SAME || parts > PARTS_MAX)
		request_fail_later(core, req, ERR_CROSS_SLOT, NULL);
	else multi_split(core, s, req, cmd, parts);
}

void multi_scratch_fini(struct multi_scratch *s)
{
	free(s->slots);
	free(s->located);
	free(s->index);
	free(s->part_of);
	free(s->leaves);
	free(s->starts);
	*s = (struct multi_scratch){ 0 };
}
