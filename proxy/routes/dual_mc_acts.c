#include <inttypes.h>

#include "common/mutation.h"
#include "proxy/routes/dual_mc.h"

static struct mc_flow *mc_flow(struct flow *base)
{
	return (struct mc_flow *)base;
}

/* --- composing -------------------------------------------------------------------------------- */

/* "mg KEY", "mg KEY b": a line of ours, begun. */
static struct scratch *mc_line(struct mc_flow *f, struct slice verb)
{
	struct scratch *out = &f->base.core->text;
	scratch_clear(out);
	scratch_puts(out, verb);
	scratch_puts(out, SLICE(" "));
	scratch_puts(out, f->ask.key);
	return out;
}

static void mc_line_key(struct mc_flow *f, struct scratch *out)
{
	if (f->ask.base64) scratch_puts(out, SLICE(" b"));
}

static void mc_line_u64(struct scratch *out, const char *flag, uint64_t v)
{
	scratch_puts(out, slice_of(flag));
	scratch_put_u64(out, v);
}

/* A server's own token, which no other process takes: 20 digits where it is exchanged. */
static void mc_line_cas(struct scratch *out, uint64_t cas)
{
	if (cas >> 48) scratch_printf(out, " C%020" PRIu64, cas);
	else mc_line_u64(out, " C", cas);
}

static void mc_line_token(struct scratch *out, const char *flag, struct slice token)
{
	scratch_puts(out, slice_of(flag));
	scratch_puts(out, token);
}

/* Send the line in core->text, and perhaps a body behind it. */
static void mc_send(struct mc_flow *f, struct dest *d, enum mc_op op, struct slice body,
		    struct buf *in, flow_answer_fn fn)
{
	struct scratch *line = &f->base.core->text;
	scratch_puts(line, SLICE("\r\n"));
	const struct op_info *info = &mc_ops[op];
	if (f->base.pool->spec->cas_tags && mc_tagged_ops[op].name) info = &mc_tagged_ops[op];
	flow_call(&f->base, d, info, scratch_slice(line), body, in, fn);
}

static const struct slice no_body = { "", 0 };

/* Flags that a read of ours asks for: what its reply to the client or a promotion needs. Besides,
 * all that a client's own mg wants to know. */
static void mc_line_wanted(struct mc_flow *f, struct scratch *out, bool value)
{
	const struct mc_flags *flags = &f->ask.flags;
	scratch_puts(out, value ? SLICE(" s v f t c") : SLICE(" s f t c"));
	if (mc_flags_has(flags, 'h')) scratch_puts(out, SLICE(" h"));
	if (mc_flags_has(flags, 'l')) scratch_puts(out, SLICE(" l"));
	mc_line_key(f, out);
}

/* --- answers of servers ----------------------------------------------------------------------- */

/* No answer, or one that says that something is wrong with the server: the client is told, and the
 * flow ends. A mutation is never acknowledged then. */
static bool mc_failed(struct mc_flow *f, const struct answer *a)
{
	if (!a->err && a->kind != REPLY_ERROR) return false;
	if (a->err) flow_fail(&f->base, a->err, a->server);
	else flow_answer(&f->base, a);
	return true;
}

/* What an answer says; its cas with the mark of the process that gave it. */
static void mc_answer_item(const struct answer *a, struct slice bytes, struct mc_item *item)
{
	mc_item_parse(bytes, item);
	item->cas ^= (uint64_t)a->tag << 48;
}

/* False: it failed. */
static bool mc_said(struct mc_flow *f, const struct answer *a, struct mc_item *item)
{
	if (mc_failed(f, a)) return false;
	mc_answer_item(a, a->bytes, item);
	return true;
}

/* --- the client's own command ----------------------------------------------------------------- */

static void mc_on_own(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	if (f->failed) {
		flow_fail(base, f->failed, NULL);
	} else if (a->err || f->sequence->act[f->at] == MC_ACT_END) {
		bool missed = !a->err && a->kind == REPLY_MISS;
		if (missed && f->b_had && f->ask.kind == MC_KIND_DELETE) mc_say_deleted(f);
		else flow_answer(base, a);
	} else {
		f->own_buf = buf_hold(&base->core->bufs, a->buf, a->bytes, &f->own);
		f->own_kind = a->kind;
		mc_flow_next(f);
	}
}

static void mc_own(struct mc_flow *f, struct dest *d)
{
	struct flow *base = &f->base;
	flow_call(base, d, base->parent->info, base->head, base->body, base->in, mc_on_own);
}

/* Whatever the sequence says, a's answer to it is the client's. */
static void mc_leave_to_a(struct mc_flow *f)
{
	struct flow *base = &f->base;
	flow_call(base, base->a, base->parent->info, base->head, base->body, base->in, flow_answer);
}

static void mc_own_a(struct mc_flow *f)
{
	mc_own(f, f->base.a);
}

static void mc_own_b(struct mc_flow *f)
{
	mc_own(f, f->base.b);
}

static void mc_end(struct mc_flow *f)
{
	flow_say(&f->base, f->own_kind, f->own);
}

/* --- deleting --------------------------------------------------------------------------------- */

/* The classic command where it can name the key: servers without meta commands know it too. */
static void mc_delete(struct mc_flow *f, struct dest *d, flow_answer_fn fn)
{
	struct scratch *line = mc_line(f, f->ask.base64 ? SLICE("md") : SLICE("delete"));
	mc_line_key(f, line);
	mc_send(f, d, f->ask.base64 ? MC_MD : MC_DELETE, no_body, NULL, fn);
}

static void mc_on_deleted(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	if (mc_failed(f, a)) return;
	f->b_had |= a->kind == REPLY_HIT;
	mc_flow_next(f);
}

static void mc_on_tried_delete(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	if (a->err) f->failed = a->err;
	else if (a->kind == REPLY_ERROR) f->failed = ERR_MOVING;
	else f->b_had |= a->kind == REPLY_HIT;
	mc_flow_next(f);
}

static void mc_delete_a(struct mc_flow *f)
{
	mc_delete(f, f->base.a, mc_on_deleted);
}

static void mc_delete_b(struct mc_flow *f)
{
	mc_delete(f, f->base.b, mc_on_deleted);
}

static void mc_try_delete_a(struct mc_flow *f)
{
	mc_delete(f, f->base.a, mc_on_tried_delete);
}

static void mc_try_delete_b(struct mc_flow *f)
{
	mc_delete(f, f->base.b, mc_on_tried_delete);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void mc_on_read(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	struct mc_item item;
	if (!mc_said(f, a, &item)) return;
	if (mc_item_is_hit(&item) || (mc_item_is_placeholder(&item) && f->ask.vivify.p))
		mc_say_item(f, &item, a->buf);
	else mc_say_miss(f);
}

static void mc_read(struct mc_flow *f, struct dest *d, bool vivify)
{
	struct slice token;
	struct scratch *line = mc_line(f, SLICE("mg"));
	mc_line_wanted(f, line, f->ask.wants_value);
	if (vivify && f->ask.vivify.p) mc_line_token(line, " N", f->ask.vivify);
	if (vivify && mc_flags_find(&f->ask.flags, 'R', &token)) mc_line_token(line, " R", token);
	mc_send(f, d, MC_MG, no_body, NULL, mc_on_read);
}

static void mc_get_a(struct mc_flow *f)
{
	mc_read(f, f->base.a, true);
}

static void mc_get_b(struct mc_flow *f)
{
	mc_read(f, f->base.b, false);
}

static void mc_on_unleased(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	if (a->err) flow_fail(base, a->err, a->server);
	else mc_say_miss(f);
}

/* Delete the placeholder with this cas, then answer a miss. */
static void mc_unlease(struct mc_flow *f, struct dest *d, uint64_t cas, flow_answer_fn fn)
{
	struct scratch *line = mc_line(f, SLICE("md"));
	mc_line_key(f, line);
	mc_line_cas(line, cas);
	mc_send(f, d, MC_MD, no_body, NULL, fn);
}

static void mc_on_touched(struct flow *base, const struct answer *a, struct dest *d)
{
	struct mc_flow *f = mc_flow(base);
	struct mc_item item;
	if (!mc_said(f, a, &item)) return;
	if (mc_item_is_hit(&item)) mc_say_item(f, &item, a->buf);
	/* It may have been made to last for ever: whoever asks without meta commands would get an
	 * empty value. */
	else if (mc_item_is_placeholder(&item)) mc_unlease(f, d, item.cas, mc_on_unleased);
	else mc_say_miss(f);
}

static void mc_on_touched_a(struct flow *base, const struct answer *a)
{
	mc_on_touched(base, a, base->a);
}

static void mc_on_touched_b(struct flow *base, const struct answer *a)
{
	mc_on_touched(base, a, base->b);
}

static void mc_touch(struct mc_flow *f, struct dest *d, flow_answer_fn fn)
{
	struct scratch *line = mc_line(f, SLICE("mg"));
	mc_line_wanted(f, line, f->ask.wants_value);
	mc_line_token(line, " T", f->ask.exptime);
	mc_send(f, d, MC_MG, no_body, NULL, fn);
}

/* While somebody else promotes it, the value is still at b. */
static void mc_touch_a(struct mc_flow *f)
{
	if (f->foreign && f->is_found) mc_touch(f, f->base.b, mc_on_touched_b);
	else if (f->foreign) mc_say_miss(f);
	else mc_touch(f, f->base.a, mc_on_touched_a);
}

static void mc_touch_b(struct mc_flow *f)
{
	mc_touch(f, f->base.b, mc_on_touched_b);
}

/* --- promoting -------------------------------------------------------------------------------- */

enum { LONG_TTL_S = 30 * 24 * 3600 /* above it memcached takes a number for a date */ };

/* Seconds left, so that the copy ends with the original. */
static void mc_line_ttl(struct scratch *line, int64_t left_s)
{
	if (left_s <= 0) return;
	uint64_t s = (uint64_t)left_s;
	if (s > LONG_TTL_S) s += clock_wall_us() / 1000000;
	mc_line_u64(line, " T", s);
}

static void mc_on_free(struct flow *base, const struct answer *a)
{
	if (a->err) flow_fail(base, a->err, a->server);
	else mc_leave_to_a(mc_flow(base));
}

static void mc_count(const struct mc_flow *f, enum pool_metric m)
{
	dual_count(f->base.pool, f->base.core, m);
}

/* Who answers reads, the new owner or the old one, says how warm the new one is. A touch reads too:
 * it tells the client whether the key is there. */
static void mc_count_read(const struct mc_flow *f, enum pool_metric m)
{
	if (f->ask.kind == MC_KIND_GET || f->ask.kind == MC_KIND_TOUCH) mc_count(f, m);
}

/* Nobody has it. Who is to keep the lease answers; the others give it back first. */
static void mc_absent(struct mc_flow *f)
{
	bool keeps = f->ask.kind == MC_KIND_ADD || f->ask.vivify.p;
	if (f->foreign && f->ask.kind == MC_KIND_CHANGE) mc_flow_retry(f);
	else if (f->leased && !keeps) mc_unlease(f, f->base.a, f->lease, mc_on_unleased);
	else if (!f->leased && !f->ask.vivify.p) mc_say_miss(f);
	else if (f->ask.kind == MC_KIND_GET || f->ask.kind == MC_KIND_TOUCH)
		mc_say_item(f, &f->item, NULL); /* the placeholder: the client may fill it */
	else if (f->ask.op == MC_MS && f->ask.kind == MC_KIND_CHANGE)
		mc_unlease(f, f->base.a, f->lease, mc_on_free); /* servers differ in what N means */
	else if (f->ask.kind == MC_KIND_CHANGE) mc_act(f, MC_ACT_STORE_LEASED);
	else mc_flow_next(f);
}

static void mc_on_filled(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	struct mc_item item;
	bool reads = f->ask.kind == MC_KIND_GET;
	/* What was read at b is true, whatever became of the copy. */
	if (!reads && mc_failed(f, a)) return;
	mc_answer_item(a, a->bytes, &item);
	bool filled = mc_item_is(&item, "HD");
	mc_count(f, filled ? POOL_promoted : POOL_promote_races);
	if (filled) {
		f->at_b = false;
		f->item.cas = f->cas = item.cas;
	}
	if (f->ask.kind == MC_KIND_ADD) mc_say_not_stored(f);
	else if (filled || reads || f->ask.kind == MC_KIND_TOUCH) mc_flow_next(f);
	else mc_flow_retry(f);
}

static void mc_fill(struct mc_flow *f)
{
	struct scratch *line = mc_line(f, SLICE("ms"));
	mc_line_u64(line, " ", f->item.size);
	mc_line_key(f, line);
	mc_line_u64(line, " F", f->item.client);
	mc_line_ttl(line, f->item.ttl);
	if (MUTATED(NOLEASE)) scratch_puts(line, SLICE(" ME"));
	else mc_line_cas(line, f->lease);
	scratch_puts(line, SLICE(" c"));
	mc_send(f, f->base.a, MC_MS, f->item.value, f->held, mc_on_filled);
}

/* b could not be asked: whether there is a value cannot be said. */
static void mc_on_given_up(struct flow *base, const struct answer *a)
{
	(void)a;
	flow_fail(base, mc_flow(base)->failed, base->b->server->spec->ring_name);
}

static void mc_on_source(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	struct mc_item item;
	if (a->err || a->kind == REPLY_ERROR) {
		f->failed = a->err ? a->err : ERR_MOVING;
		if (f->leased) mc_unlease(f, base->a, f->lease, mc_on_given_up);
		else mc_on_given_up(base, a);
		return;
	}
	mc_answer_item(a, a->bytes, &item);
	if (!mc_item_is_hit(&item) || item.stale || item.ttl == 0) {
		mc_absent(f);
		return;
	}
	mc_count_read(f, POOL_moving_misses);
	struct slice bytes;
	f->held = buf_hold(&base->core->bufs, a->buf, a->bytes, &bytes);
	mc_answer_item(a, bytes, &f->item);
	f->is_found = f->at_b = true;
	if (f->leased) mc_fill(f);
	else if (f->ask.kind == MC_KIND_CHANGE) mc_flow_retry(f);
	else mc_flow_next(f);
}

static void mc_on_target(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	struct mc_item item;
	if (!mc_said(f, a, &item)) return;
	if (mc_item_is_hit(&item)) {
		mc_count_read(f, POOL_moving_hits);
		f->is_found = true;
		f->cas = item.cas;
		if (f->ask.kind == MC_KIND_GET) mc_say_item(f, &item, a->buf);
		else if (f->ask.kind == MC_KIND_ADD) mc_say_not_stored(f);
		else mc_flow_next(f);
		return;
	}
	f->leased = item.won || MUTATED(NOLEASE);
	/* Whose owner has had the time of two turns to fill it is dead or slow. The cas is as good
	 * for us: only one of us can replace the placeholder that both saw before they asked b. */
	if (item.leased && f->ask.kind == MC_KIND_CHANGE && f->tries > 0) f->leased = true;
	f->foreign = !f->leased;
	if (f->foreign && f->ask.kind == MC_KIND_ADD) {
		mc_say_not_stored(f);
		return;
	}
	f->lease = item.cas;
	f->item = item;
	f->item.value = f->item.flags = (struct slice){ 0 };
	struct scratch *line = mc_line(f, SLICE("mg"));
	mc_line_wanted(f, line, true);
	mc_send(f, base->b, MC_MG, no_body, NULL, mc_on_source);
}

static void mc_promote(struct mc_flow *f)
{
	struct slice token;
	struct scratch *line = mc_line(f, SLICE("mg"));
	mc_line_wanted(f, line, f->ask.kind == MC_KIND_GET && f->ask.wants_value);
	if (!MUTATED(NOLEASE)) {
		bool own = f->ask.vivify.p && f->ask.kind != MC_KIND_CHANGE;
		if (own) mc_line_token(line, " N", f->ask.vivify);
		else mc_line_u64(line, " N", MC_LEASE_S);
	}
	if (mc_flags_find(&f->ask.flags, 'R', &token)) mc_line_token(line, " R", token);
	mc_send(f, f->base.a, MC_MG, no_body, NULL, mc_on_target);
}

static void mc_say_found(struct mc_flow *f)
{
	mc_say_item(f, &f->item, f->held);
}

/* --- storing under a cas ---------------------------------------------------------------------- */

static void mc_on_stored(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	struct mc_item item;
	if (!mc_said(f, a, &item)) return;
	if (mc_item_is(&item, "HD")) mc_say_done(f, &item);
	else if (f->ask.kind == MC_KIND_CHANGE) mc_flow_retry(f);
	else mc_say_not_stored(f);
}

/* add; and what ma and ms make of a key that is not there, when they are told to. */
static void mc_store_leased(struct mc_flow *f)
{
	struct slice value = f->ask.value;
	struct scratch *line = mc_line(f, SLICE("ms"));
	bool change = f->ask.kind == MC_KIND_CHANGE;
	bool counts = f->ask.op == MC_MA;
	mc_line_u64(line, " ", counts ? f->ask.initial.n : value.n - 2);
	mc_line_key(f, line);
	mc_line_token(line, " F", f->ask.client);
	mc_line_token(line, " T", change ? f->ask.vivify : f->ask.exptime);
	mc_line_cas(line, f->lease);
	scratch_puts(line, SLICE(" c"));
	if (counts) mc_line_token(line, "\r\n", f->ask.initial);
	mc_send(f, f->base.a, MC_MS, value, f->base.in, mc_on_stored);
}

static void mc_on_looked(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	struct mc_item item;
	if (!mc_said(f, a, &item)) return;
	f->cas = item.cas;
	if (mc_item_is_hit(&item)) mc_flow_next(f);
	else if (!f->ask.vivify.p) mc_say_miss(f);
	else if (mc_item_is_placeholder(&item)) mc_flow_retry(f);
	else mc_leave_to_a(f);
}

static void mc_look_a(struct mc_flow *f)
{
	mc_line_wanted(f, mc_line(f, SLICE("mg")), false);
	mc_send(f, f->base.a, MC_MG, no_body, NULL, mc_on_looked);
}

static void mc_on_changed(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	struct mc_item item;
	if (!mc_said(f, a, &item)) return;
	if (!mc_item_is(&item, "HD") && !mc_item_is(&item, "VA")) mc_flow_retry(f);
	else if (f->ask.meta) flow_answer(base, a);
	else mc_say_done(f, &item);
}

static void mc_change_count(struct mc_flow *f)
{
	struct scratch *line = mc_line(f, SLICE("ma"));
	if (f->ask.mode == 'D') scratch_puts(line, SLICE(" MD"));
	mc_line_token(line, " D", f->ask.delta);
	mc_line_cas(line, f->cas);
	scratch_puts(line, SLICE(" v"));
	mc_send(f, f->base.a, MC_MA, no_body, NULL, mc_on_changed);
}

static void mc_change_value(struct mc_flow *f)
{
	struct scratch *line = mc_line(f, SLICE("ms"));
	mc_line_u64(line, " ", f->ask.value.n - 2);
	mc_line_key(f, line);
	if (f->ask.mode == 'R') {
		mc_line_token(line, " F", f->ask.client);
		mc_line_token(line, " T", f->ask.exptime);
	} else {
		scratch_puts(line, f->ask.mode == 'A' ? SLICE(" MA") : SLICE(" MP"));
	}
	mc_line_cas(line, f->cas);
	mc_send(f, f->base.a, MC_MS, f->ask.value, f->base.in, mc_on_changed);
}

/* A meta command says itself what it wants to know; only the cas is ours. */
static void mc_change_meta(struct mc_flow *f)
{
	struct scratch *line = &f->base.core->text;
	scratch_clear(line);
	scratch_puts(line, f->ask.line);
	mc_line_cas(line, f->cas);
	scratch_puts(line, SLICE("\r\n"));
	flow_call(&f->base, f->base.a, f->base.parent->info, scratch_slice(line), f->ask.value,
		  f->base.in, mc_on_changed);
}

static void mc_change_a(struct mc_flow *f)
{
	if (f->ask.meta) mc_change_meta(f);
	else if (f->ask.delta.n) mc_change_count(f);
	else mc_change_value(f);
}

/* The client's token was given by the process behind a: a's own judgement is to be had. */
static void mc_check(struct mc_flow *f, uint16_t tag)
{
	if (tag && f->ask.token >> 48 != tag) mc_say_exists(f);
	else mc_flow_next(f);
}

static void mc_on_checked(struct flow *base, const struct answer *a)
{
	struct mc_flow *f = mc_flow(base);
	if (!mc_failed(f, a)) mc_check(f, a->tag);
}

static void mc_check_a(struct mc_flow *f)
{
	uint16_t tag = dest_tag(f->base.a, f->base.parent);
	if (tag || !f->base.pool->spec->cas_tags) {
		mc_check(f, tag);
		return;
	}
	/* Not connected yet: any answer will tell. */
	mc_line_wanted(f, mc_line(f, SLICE("mg")), false);
	mc_send(f, f->base.a, MC_MG, no_body, NULL, mc_on_checked);
}

static void mc_park(struct mc_flow *f)
{
	flow_park(&f->base, f->park_ms);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void (*const acts[MC_ACT_MAX])(struct mc_flow *f) = {
	[MC_ACT_END] = mc_end,
	[MC_ACT_OWN_A] = mc_own_a,
	[MC_ACT_OWN_B] = mc_own_b,
	[MC_ACT_GET_A] = mc_get_a,
	[MC_ACT_GET_B] = mc_get_b,
	[MC_ACT_TOUCH_A] = mc_touch_a,
	[MC_ACT_TOUCH_B] = mc_touch_b,
	[MC_ACT_PROMOTE] = mc_promote,
	[MC_ACT_SAY_ITEM] = mc_say_found,
	[MC_ACT_STORE_LEASED] = mc_store_leased,
	[MC_ACT_LOOK_A] = mc_look_a,
	[MC_ACT_CHANGE_A] = mc_change_a,
	[MC_ACT_CHECK_A] = mc_check_a,
	[MC_ACT_DELETE_B] = mc_delete_b,
	[MC_ACT_DELETE_A] = mc_delete_a,
	[MC_ACT_TRY_DELETE_B] = mc_try_delete_b,
	[MC_ACT_TRY_DELETE_A] = mc_try_delete_a,
	[MC_ACT_PARK] = mc_park,
	[MC_ACT_SAY_MISS] = mc_say_miss,
	[MC_ACT_SAY_NOT_STORED] = mc_say_not_stored,
	[MC_ACT_SAY_EXISTS] = mc_say_exists,
	[MC_ACT_SAY_ERROR] = mc_say_error,
};

void mc_act(struct mc_flow *f, enum mc_act act)
{
	acts[act](f);
}
