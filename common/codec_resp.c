#include "common/codec_resp.h"

static const struct op_info *resp_op(uint32_t id)
{
	return &resp_command_at(id)->op;
}

static const struct op_info *hello(const struct pool_spec *pool, struct scratch *out)
{
	bool auth = pool->auth_password != NULL;
	resp_put_head(out, '*', auth ? 5 : 2);
	resp_put_bulk(out, SLICE("HELLO"));
	resp_put_bulk(out, SLICE("3"));
	if (auth) {
		resp_put_bulk(out, SLICE("AUTH"));
		resp_put_bulk(out, pool->auth_user ? slice_of(pool->auth_user) : SLICE("default"));
		resp_put_bulk(out, slice_of(pool->auth_password));
	}
	return resp_op(RESP_HELLO);
}

static const struct op_info *auth(const struct pool_spec *pool, struct scratch *out)
{
	resp_put_head(out, '*', pool->auth_user ? 3 : 2);
	resp_put_bulk(out, SLICE("AUTH"));
	if (pool->auth_user) resp_put_bulk(out, slice_of(pool->auth_user));
	resp_put_bulk(out, slice_of(pool->auth_password));
	return resp_op(RESP_AUTH);
}

static const struct op_info *select_db(const struct pool_spec *pool, struct scratch *out)
{
	struct scratch digits = { 0 };
	scratch_put_u64(&digits, pool->redis_db);
	resp_put_head(out, '*', 2);
	resp_put_bulk(out, SLICE("SELECT"));
	resp_put_bulk(out, scratch_slice(&digits));
	scratch_fini(&digits);
	return resp_op(RESP_SELECT);
}

static const struct op_info *set_name(const char *name, struct scratch *out)
{
	resp_put_head(out, '*', 3);
	resp_put_bulk(out, SLICE("CLIENT"));
	resp_put_bulk(out, SLICE("SETNAME"));
	resp_put_bulk(out, slice_of(name));
	return resp_op(RESP_SETNAME);
}

/* AUTH must come before SELECT: the other way round SELECT fails, and data would go to database 0.
 * HELLO carries the password itself. */
static const struct op_info *resp_handshake(const struct pool_spec *pool, const char *name,
					    uint8_t resp, uint32_t n, struct scratch *out)
{
	bool first = resp == 3 || pool->auth_password;
	if (n == 0 && first) return resp == 3 ? hello(pool, out) : auth(pool, out);
	n -= first;
	if (n == 0 && name) return set_name(name, out);
	if (n == (name != NULL) && pool->redis_db != 0) return select_db(pool, out);
	return NULL;
}

static const struct op_info *resp_probe(struct scratch *out)
{
	resp_put_head(out, '*', 1);
	resp_put_bulk(out, SLICE("PING"));
	return resp_op(RESP_PING);
}

const struct codec codec_resp = {
	.protocol = PROTOCOL_REDIS,
	.name = "redis",
	.op_count = RESP_COUNT,
	.op = resp_op,
	.parse_request = resp_parse_request,
	.encode_part = resp_encode_part,
	.parse_reply = resp_parse_reply,
	.merge = resp_merge,
	.encode_failure = resp_encode_failure,
	.handshake = resp_handshake,
	.probe = resp_probe,
};
