#include "common/codec_mc_request.h"

static const struct slice bad_delta = SLICE("CLIENT_ERROR invalid numeric delta argument\r\n");
static const struct slice bad_delete =
    SLICE("CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n");

/* The arguments of a line without a body, at least `least` and at most `most`; false when it was
 * refused. */
static bool mc_key_args(struct mc_request *r, struct mc_args *args, uint32_t least, uint32_t most,
			enum parse_result *refused_out)
{
	mc_args_split(r, args);
	if (args->n < least || args->n > most) {
		*refused_out = mc_refuse(r, PARSE_ERROR, MC_ERROR);
		return false;
	}
	return true;
}

static bool mc_key_check(const struct mc_args *args)
{
	return args->clean && args->v[0].n <= MC_KEY_MAX;
}

/* The line is plain: forward it up to its last argument that counts. */
static enum parse_result mc_forward(struct mc_request *r, const struct mc_args *args,
				    uint32_t count)
{
	return args->n == count ? mc_set_head(r) : mc_cut_head(r, args->v[count - 1]);
}

enum parse_result mc_parse_arith(struct mc_request *r)
{
	struct mc_args args;
	enum parse_result refused;
	uint64_t delta;
	if (!mc_key_args(r, &args, 2, 3, &refused)) return refused;
	mc_args_noreply(r, &args);
	if (!mc_key_check(&args)) return mc_refuse(r, PARSE_ERROR, MC_BAD_FORMAT);
	if (!mc_parse_u64(args.v[1], &delta, &r->plain))
		return mc_refuse(r, PARSE_ERROR, bad_delta);
	mc_set_key(r, args.v[0]);
	if (r->plain) return mc_forward(r, &args, 2);
	struct scratch *out = mc_rebuild(r);
	mc_rebuild_arg(out, args.v[0]);
	mc_rebuild_u64(out, delta);
	return mc_rebuilt(r);
}

enum parse_result mc_parse_touch(struct mc_request *r)
{
	struct mc_args args;
	enum parse_result refused;
	int32_t exptime;
	if (!mc_key_args(r, &args, 2, 3, &refused)) return refused;
	mc_args_noreply(r, &args);
	if (!mc_key_check(&args)) return mc_refuse(r, PARSE_ERROR, MC_BAD_FORMAT);
	if (!mc_parse_exptime(args.v[1], &exptime, &r->plain))
		return mc_refuse(r, PARSE_ERROR, MC_BAD_EXPTIME);
	mc_set_key(r, args.v[0]);
	if (r->plain) return mc_forward(r, &args, 2);
	struct scratch *out = mc_rebuild(r);
	mc_rebuild_arg(out, args.v[0]);
	mc_rebuild_i64(out, exptime);
	return mc_rebuilt(r);
}

/* A key, and after it perhaps a 0 (once a time to wait) and "noreply". */
enum parse_result mc_parse_delete(struct mc_request *r)
{
	struct mc_args args;
	enum parse_result refused;
	if (!mc_key_args(r, &args, 1, 3, &refused)) return refused;
	if (args.n > 1) mc_args_noreply(r, &args);
	bool noreply = r->cmd->flags & CMD_NOREPLY;
	bool zero = args.n > 1 && slice_eq(args.v[1], SLICE("0"));
	if ((args.n == 2 && !zero && !noreply) || (args.n == 3 && !(zero && noreply)))
		return mc_refuse(r, PARSE_ERROR, bad_delete);
	if (!mc_key_check(&args)) return mc_refuse(r, PARSE_ERROR, MC_BAD_FORMAT);
	mc_set_key(r, args.v[0]);
	if (r->plain) return mc_forward(r, &args, 1);
	mc_rebuild_arg(mc_rebuild(r), args.v[0]);
	return mc_rebuilt(r);
}

enum parse_result mc_parse_flush_all(struct mc_request *r)
{
	struct mc_args args;
	enum parse_result refused;
	int32_t delay = 0;
	if (!mc_key_args(r, &args, 0, 2, &refused)) return refused;
	mc_args_noreply(r, &args);
	if (!r->limits->allow_flush) {
		r->cmd->info = &mc_ops[MC_FLUSH_REFUSED];
		return mc_refuse(r, PARSE_OK, r->row->refusal);
	}
	bool delayed = args.n > 0 && !(args.n == 1 && r->cmd->flags & CMD_NOREPLY);
	if (delayed && !mc_parse_exptime(args.v[0], &delay, &r->plain))
		return mc_refuse(r, PARSE_ERROR, MC_BAD_EXPTIME);
	struct scratch *out = mc_rebuild(r);
	if (delayed) mc_rebuild_i64(out, delay);
	return mc_rebuilt(r);
}

enum parse_result mc_parse_verbosity(struct mc_request *r)
{
	struct mc_args args;
	enum parse_result refused;
	uint64_t level;
	if (!mc_key_args(r, &args, 1, 2, &refused)) return refused;
	mc_args_noreply(r, &args);
	if (!mc_parse_u64(args.v[0], &level, &r->plain))
		return mc_refuse(r, PARSE_ERROR, MC_BAD_FORMAT);
	return mc_parse_local(r);
}
