#include "proxy/routes/dual_mc.h"

/* --- without a value -------------------------------------------------------------------------- */

/* What one server says when it does nothing. */
struct mc_refusals {
	struct slice miss, not_stored, exists, deleted, done;
};

#define TEXT(lit)                    \
	{                            \
		lit, sizeof(lit) - 1 \
	}
#define NONE          \
	{             \
		"", 0 \
	}
/* clang-format off */
#define READS     { TEXT("END\r\n"), NONE, NONE, NONE, NONE }
#define STORES    { TEXT("NOT_STORED\r\n"), TEXT("NOT_STORED\r\n"), TEXT("EXISTS\r\n"), NONE,      \
		    TEXT("STORED\r\n") }
#define FINDS     { TEXT("NOT_FOUND\r\n"), NONE, NONE, TEXT("DELETED\r\n"), NONE }
#define META(m)   { TEXT(m), TEXT("NS"), TEXT("EX"), TEXT("HD"), TEXT("HD") }

static const struct mc_refusals refusals[MC_OP_COUNT] = {
	[MC_GET] = READS, [MC_GETS] = READS, [MC_GAT] = READS, [MC_GATS] = READS,
	[MC_SET] = STORES, [MC_ADD] = STORES, [MC_REPLACE] = STORES,
	[MC_APPEND] = STORES, [MC_PREPEND] = STORES, [MC_CAS] = STORES,
	[MC_INCR] = FINDS, [MC_DECR] = FINDS, [MC_DELETE] = FINDS, [MC_TOUCH] = FINDS,
	[MC_MG] = META("EN"), [MC_MS] = META("NS"), [MC_MD] = META("NF"), [MC_MA] = META("NF"),
	[MC_ME] = META("EN"),
};
/* clang-format on */

/* What a reply repeats of the request, " kKEY", " Oopaque" and " b". false: not of these. */
static bool mc_put_echo(const struct mc_flow *f, struct slice flag, struct scratch *out)
{
	if (!memchr("kOb", flag.p[0], 3)) return false;
	scratch_puts(out, flag.p[0] == 'k' ? SLICE(" k") : SLICE(" "));
	scratch_puts(out, flag.p[0] == 'k' ? f->ask.key : flag);
	return true;
}

/* In the order of the client's flags; and of a mutation its new cas. */
static void mc_put_flags(struct mc_flow *f, uint64_t cas, struct scratch *out)
{
	for (uint32_t i = 0; i < f->ask.flags.n; i++) {
		struct slice flag = f->ask.flags.v[i];
		if (mc_put_echo(f, flag, out) || flag.p[0] != 'c' || f->ask.op != MC_MS) continue;
		scratch_puts(out, SLICE(" c"));
		scratch_put_u64(out, cas);
	}
}

static void mc_say(struct mc_flow *f, enum reply_kind kind, struct slice text, uint64_t cas)
{
	if (!f->ask.meta) {
		flow_say(&f->base, kind, text);
		return;
	}
	struct scratch *out = &f->base.core->text;
	scratch_clear(out);
	scratch_puts(out, text);
	mc_put_flags(f, cas, out);
	scratch_puts(out, SLICE("\r\n"));
	flow_say(&f->base, kind, scratch_slice(out));
}

void mc_say_miss(struct mc_flow *f)
{
	mc_say(f, REPLY_MISS, refusals[f->ask.op].miss, 0);
}

void mc_say_not_stored(struct mc_flow *f)
{
	mc_say(f, REPLY_MISS, refusals[f->ask.op].not_stored, 0);
}

void mc_say_exists(struct mc_flow *f)
{
	mc_say(f, REPLY_MISS, refusals[f->ask.op].exists, 0);
}

void mc_say_deleted(struct mc_flow *f)
{
	mc_say(f, REPLY_HIT, refusals[f->ask.op].deleted, 0);
}

void mc_say_error(struct mc_flow *f)
{
	flow_fail(&f->base, f->failed ? f->failed : f->refusal, NULL);
}

/* ma made the key, and the client wants to see what is there now. */
static void mc_say_initial(struct mc_flow *f, uint64_t cas)
{
	struct scratch *out = &f->base.core->text;
	scratch_clear(out);
	scratch_puts(out, SLICE("VA "));
	scratch_put_u64(out, f->ask.initial.n);
	for (uint32_t i = 0; i < f->ask.flags.n; i++) {
		char letter = f->ask.flags.v[i].p[0];
		if (letter == 'c') {
			scratch_puts(out, SLICE(" c"));
			scratch_put_u64(out, cas);
		} else if (letter == 't') {
			bool ever = slice_eq(f->ask.vivify, SLICE("0"));
			scratch_puts(out, SLICE(" t"));
			scratch_puts(out, ever ? SLICE("-1") : f->ask.vivify);
		}
	}
	mc_put_flags(f, cas, out);
	scratch_puts(out, SLICE("\r\n"));
	scratch_puts(out, f->ask.initial);
	scratch_puts(out, SLICE("\r\n"));
	flow_say(&f->base, REPLY_HIT, scratch_slice(out));
}

void mc_say_done(struct mc_flow *f, const struct mc_item *item)
{
	if (f->ask.op == MC_INCR || f->ask.op == MC_DECR)
		flow_say(&f->base, REPLY_HIT, item->value);
	else if (f->ask.op == MC_MA && f->ask.wants_value) mc_say_initial(f, item->cas);
	else mc_say(f, REPLY_HIT, refusals[f->ask.op].done, item->cas);
}

/* --- with a value ----------------------------------------------------------------------------- */

/* VALUE key flags bytes [cas] */
static void mc_put_classic(struct mc_flow *f, const struct mc_item *item, struct scratch *out)
{
	scratch_puts(out, SLICE("VALUE "));
	scratch_puts(out, f->ask.key);
	scratch_puts(out, SLICE(" "));
	scratch_put_u64(out, item->client);
	scratch_puts(out, SLICE(" "));
	scratch_put_u64(out, item->size);
	if (f->ask.wants_cas) {
		scratch_puts(out, SLICE(" "));
		scratch_put_u64(out, item->cas);
	}
	scratch_puts(out, SLICE("\r\n"));
}

/* One flag that the client asked for: as the server answered it, or our own part. */
static void mc_put_meta_flag(struct mc_flow *f, const struct mc_item *item,
			     const struct mc_flags *said, struct slice flag, struct scratch *out)
{
	struct slice token;
	if (mc_put_echo(f, flag, out)) return;
	switch (flag.p[0]) {
	case 'c':
		scratch_puts(out, SLICE(" c"));
		scratch_put_u64(out, item->cas);
		break;
	case 'f':
	case 'h':
	case 'l':
	case 's':
	case 't':
		if (!mc_flags_find(said, flag.p[0], &token)) break;
		scratch_put(out, (char[]){ ' ', flag.p[0] }, 2);
		scratch_puts(out, token);
		break;
	default: break;
	}
}

/* HD flags*, VA size flags* */
static void mc_put_meta(struct mc_flow *f, const struct mc_item *item, struct scratch *out)
{
	struct mc_flags said;
	mc_flags_split(item->flags, &said);
	scratch_puts(out, f->ask.wants_value ? SLICE("VA ") : SLICE("HD"));
	if (f->ask.wants_value) scratch_put_u64(out, item->size);
	for (uint32_t i = 0; i < f->ask.flags.n; i++)
		mc_put_meta_flag(f, item, &said, f->ask.flags.v[i], out);
	/* Of a value that is to be made anew. Our own leases are none of the client's business,
	 * except where it has asked for one. */
	if (item->won) scratch_puts(out, SLICE(" W"));
	if (item->stale) scratch_puts(out, SLICE(" X"));
	if (item->leased) scratch_puts(out, SLICE(" Z"));
	scratch_puts(out, SLICE("\r\n"));
}

void mc_say_item(struct mc_flow *f, const struct mc_item *item, struct buf *in)
{
	struct core *core = f->base.core;
	struct scratch *head = &core->text;
	if (f->ask.op == MC_TOUCH) {
		flow_say(&f->base, REPLY_HIT, SLICE("TOUCHED\r\n"));
		return;
	}
	scratch_clear(head);
	if (f->ask.meta) mc_put_meta(f, item, head);
	else mc_put_classic(f, item, head);
	struct slice value = f->ask.wants_value ? item->value : (struct slice){ 0 };
	if (f->ask.wants_value && value.n == 0) value = SLICE("\r\n");
	struct outq out = { 0 };
	size_t chunk = head->n + (value.n < BUF_REF_MIN ? value.n : 0) + 8;
	outq_put(&core->bufs, &out, NULL, scratch_slice(head), chunk);
	outq_put(&core->bufs, &out, in, value, chunk);
	if (!f->ask.meta) outq_put(&core->bufs, &out, NULL, SLICE("END\r\n"), chunk);
	struct answer a = { .kind = REPLY_HIT, .hits = 1, .chain = &out };
	flow_answer(&f->base, &a);
	outq_clear(&core->bufs, &out);
}
