#include "common/codec_mc_text.h"

static const struct op_info *mc_op(uint32_t id)
{
	return id < MC_OP_COUNT ? &mc_ops[id] : NULL;
}

void mc_put_failure(enum err e, const char *server, struct scratch *out)
{
	scratch_puts(out, SLICE("SERVER_ERROR "));
	scratch_puts(out, slice_of(err_text(e)));
	if (server) {
		scratch_puts(out, SLICE(" (server "));
		scratch_puts(out, slice_of(server));
		scratch_puts(out, SLICE(")"));
	}
	scratch_puts(out, SLICE("\r\n"));
}

static void mc_encode_failure(const struct op_info *info, enum err e, const char *server,
			      enum on_server_error on_error, uint32_t key_count,
			      struct scratch *out)
{
	(void)key_count;
	/* What may be out of date may as well not be there. */
	bool miss = (on_error == ON_ERROR_MISS || e == ERR_STALE) && info->access == OP_READ;
	if (miss && mc_shape_is_values(info->shape)) scratch_puts(out, SLICE("END\r\n"));
	else if (miss && mc_shape_is_meta(info->shape)) scratch_puts(out, SLICE("EN\r\n"));
	else mc_put_failure(e, server, out);
}

/* A memcached connection is ready at once, unless it must be known who is behind it. */
static const struct op_info *mc_handshake(const struct pool_spec *pool, const char *name,
					  uint8_t resp, uint32_t n, struct scratch *out)
{
	(void)name, (void)resp;
	if (!pool->cas_tags || n > 0) return NULL;
	scratch_puts(out, SLICE("stats\r\n"));
	return &mc_ops[MC_INCARNATION];
}

static const struct op_info *mc_probe(struct scratch *out)
{
	scratch_puts(out, SLICE("version\r\n"));
	return &mc_ops[MC_PROBE];
}

const struct codec codec_mc_text = {
	.protocol = PROTOCOL_MEMCACHED,
	.name = "memcached",
	.op_count = MC_OP_COUNT,
	.op = mc_op,
	.parse_request = mc_parse_request,
	.encode_part = mc_encode_part,
	.parse_reply = mc_parse_reply,
	.merge = mc_merge,
	.encode_failure = mc_encode_failure,
	.handshake = mc_handshake,
	.tag = mc_tag,
	.tag_sent = mc_tag_sent,
	.tag_reply = mc_tag_reply,
	.probe = mc_probe,
};
