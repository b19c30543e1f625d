#include "common/codec_mc_request.h"

static const struct slice too_large = SLICE("SERVER_ERROR object too large for cache\r\n");

/* key flags exptime bytes [cas], checked */
struct mc_store {
	struct slice key;
	uint32_t flags;
	int32_t exptime;
	uint32_t bytes;
	uint64_t cas;
	struct slice last; /* the argument before "noreply"; empty: nothing follows */
};

enum parse_result mc_refuse_body(struct mc_request *r, uint32_t bytes, struct slice text)
{
	*r->skip_out = (size_t)bytes + 2;
	return mc_refuse(r, PARSE_SKIP, text);
}

/* Nobody can say how long the body is. Without even the four arguments that a body needs there is
 * none (someone typing `set`); otherwise what follows may be anything. An empty or blank key
 * shifts the arguments, which is how values come to be executed. */
static enum parse_result mc_refuse_length(struct mc_request *r, const struct mc_args *args,
					  uint32_t least, struct slice text)
{
	return mc_refuse(r, args->n < least ? PARSE_ERROR : PARSE_FATAL, text);
}

static bool mc_store_check(struct mc_request *r, const struct mc_args *args, bool cas,
			   struct mc_store *s)
{
	s->key = args->v[0];
	return args->clean && s->key.n <= MC_KEY_MAX &&
	       mc_parse_flags(args->v[1], &s->flags, &r->plain) &&
	       mc_parse_exptime(args->v[2], &s->exptime, &r->plain) &&
	       (!cas || mc_parse_u64(args->v[4], &s->cas, &r->plain));
}

static bool mc_store_fits(const struct mc_request *r, const struct mc_store *s)
{
	return s->bytes <= r->limits->value_max_bytes &&
	       r->line_n + s->bytes + 2 <= r->limits->request_max_bytes;
}

static void mc_store_rebuild(struct mc_request *r, const struct mc_store *s, bool cas)
{
	struct scratch *out = mc_rebuild(r);
	mc_rebuild_arg(out, s->key);
	mc_rebuild_u64(out, s->flags);
	mc_rebuild_i64(out, s->exptime);
	mc_rebuild_u64(out, s->bytes);
	if (cas && r->limits->cas_tags) {
		scratch_puts(out, SLICE(" "));
		mc_put_token(out, s->cas);
	} else if (cas) mc_rebuild_u64(out, s->cas);
	mc_rebuilt(r);
}

/* Line and body; as one run if that is what they are and copying them is cheap. */
static enum parse_result mc_store_forward(struct mc_request *r, const struct mc_store *s, bool cas,
					  struct slice body)
{
	if (!r->plain) mc_store_rebuild(r, s, cas);
	else if (s->last.n) mc_cut_head(r, s->last);
	else mc_set_head(r);
	r->cmd->consumed = r->line_n + body.n;
	if (r->cmd->head.p == r->data && body.n < MC_BODY_APART) r->cmd->head.n += body.n;
	else r->cmd->body = body;
	return PARSE_OK;
}

/* The line is good: wait for the body and hand both out. */
static enum parse_result mc_store_body(struct mc_request *r, const struct mc_store *s, bool cas)
{
	struct slice body = { r->data + r->line_n, (size_t)s->bytes + 2 };
	size_t total = r->line_n + body.n;
	if (r->n < total) {
		r->resume->need = total;
		r->resume->at = r->line_n - 1;
		return PARSE_NEED;
	}
	if (memcmp(body.p + s->bytes, "\r\n", 2) != 0) {
		r->line_n = total;
		return mc_refuse(r, PARSE_ERROR, MC_BAD_CHUNK);
	}
	mc_set_key(r, s->key);
	return mc_store_forward(r, s, cas, body);
}

enum parse_result mc_parse_store(struct mc_request *r)
{
	struct mc_args args;
	struct mc_store s;
	bool cas = r->row->info->id == MC_CAS;
	uint32_t least = cas ? 5 : 4;
	mc_args_split(r, &args);
	if (args.n < least || args.n > least + 1) return mc_refuse_length(r, &args, 3, MC_ERROR);
	mc_args_noreply(r, &args);
	s.last = args.n > least ? args.v[least - 1] : SLICE("");
	if (!mc_parse_length(args.v[3], &s.bytes, &r->plain))
		return mc_refuse_length(r, &args, 0, MC_BAD_FORMAT);
	if (!mc_store_check(r, &args, cas, &s)) return mc_refuse_body(r, s.bytes, MC_BAD_FORMAT);
	if (!mc_store_fits(r, &s)) return mc_refuse_body(r, s.bytes, too_large);
	return mc_store_body(r, &s, cas);
}

enum parse_result mc_parse_cas(struct mc_request *r)
{
	if (r->limits->cas_tags) r->plain = false; /* the token is made 20 digits wide */
	return mc_tagged(r, mc_parse_store(r));
}

enum parse_result mc_parse_meta_refused(struct mc_request *r)
{
	r->cmd->info = &mc_ops[MC_META_REFUSED];
	return mc_parse_refused(r);
}

/* ms KEY BYTES flags*: not supported, but its body is still no command. */
enum parse_result mc_parse_meta_set_refused(struct mc_request *r)
{
	struct mc_args args;
	uint32_t bytes;
	bool plain = false;
	r->cmd->info = &mc_ops[MC_META_REFUSED];
	mc_args_split(r, &args);
	if (args.n >= 2 && mc_parse_length(args.v[1], &bytes, &plain))
		return mc_refuse_body(r, bytes, r->row->refusal);
	return mc_refuse_length(r, &args, 1, r->row->refusal);
}
