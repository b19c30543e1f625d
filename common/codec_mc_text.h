/* codec_mc_text.h - what the files of the memcached text codec share.
 *
 *   codec_mc_text     the vtable, failures, probe
 *   codec_mc_ops      tables: operations, verbs
 *   codec_mc_lone     a plain get or set, in one pass
 *   codec_mc_request  any other: its line and verb; reads; local and refused verbs
 *   codec_mc_store    set and its kin: a line and a body
 *   codec_mc_key      incr, decr, delete, touch, flush_all, verbosity: a line of few arguments
 *   codec_mc_reply    one reply
 *   codec_mc_meta     lines of meta commands; what their replies say
 *   codec_mc_tags     cas tokens that name who gave them
 *   codec_mc_merge    taking multi-key requests apart, putting replies together
 *   codec_mc_scan     keys and numbers
 *
 * Outside, only proxy/local_mc.c needs this header (enum mc_local).
 *
 * The model is memcached 1.6.18: where it answers a line by itself, so do we, byte for byte. Three
 * deliberate exceptions, all of which keep the bytes of one request from being read as another:
 *   - The body of a refused storage command is skipped. When its length cannot be known (wrong
 *     number of arguments, length not a number), the answer is followed by a close.
 *   - Control characters, NUL and DEL are refused wherever they could reach a server.
 *   - Lines over 2 KiB (reads: 1 MiB) are refused and the connection closed, however they arrive.
 * Administration (flush_all where the pool forbids it, shutdown, slabs, watch ...) is answered
 * "CLIENT_ERROR VERB not allowed", the words of a memcached that runs with flush_all disabled.
 */
#ifndef TWINRING_COMMON_CODEC_MC_TEXT_H
#define TWINRING_COMMON_CODEC_MC_TEXT_H

#include "common/codec.h"

enum mc_op {
	MC_GET,
	MC_GETS,
	MC_GAT,
	MC_GATS,
	MC_SET,
	MC_ADD,
	MC_REPLACE,
	MC_APPEND,
	MC_PREPEND,
	MC_CAS,
	MC_INCR,
	MC_DECR,
	MC_DELETE,
	MC_TOUCH,
	MC_MG,
	MC_MS,
	MC_MD,
	MC_MA,
	MC_ME,
	MC_MN,
	MC_VERSION,
	MC_VERBOSITY,
	MC_STATS,
	MC_QUIT,
	MC_FLUSH_ALL,
	MC_FLUSH_REFUSED,
	MC_ADMIN_REFUSED,
	MC_META_REFUSED,
	MC_PROBE,
	MC_INCARNATION,
	MC_OP_COUNT
};

/* Which replies are legal. */
enum mc_shape {
	MC_SHAPE_NONE,
	MC_SHAPE_GET,
	MC_SHAPE_GETS,
	MC_SHAPE_GAT,
	MC_SHAPE_GATS,
	MC_SHAPE_STORE,
	MC_SHAPE_CAS,
	MC_SHAPE_COUNT,
	MC_SHAPE_DELETE,
	MC_SHAPE_TOUCH,
	MC_SHAPE_META_GET,
	MC_SHAPE_META_SET,
	MC_SHAPE_META_DELETE,
	MC_SHAPE_META_COUNT,
	MC_SHAPE_META_DEBUG,
	MC_SHAPE_OK,
	MC_SHAPE_VERSION,
	MC_SHAPE_STATS,
	MC_SHAPE_MAX
};

static inline bool mc_shape_is_values(unsigned shape)
{
	return shape >= MC_SHAPE_GET && shape <= MC_SHAPE_GATS;
}

static inline bool mc_shape_is_meta(unsigned shape)
{
	return shape >= MC_SHAPE_META_GET && shape <= MC_SHAPE_META_DEBUG;
}

enum mc_local {
	MC_LOCAL_NONE,
	MC_LOCAL_VERSION,
	MC_LOCAL_VERBOSITY,
	MC_LOCAL_STATS,
	MC_LOCAL_QUIT,
	MC_LOCAL_NOOP
};

extern const struct op_info mc_ops[MC_OP_COUNT];
/* The same for pools with cas_tags, of those that carry tokens; the others are zero. Of meta
 * commands: as the proxy itself sends them. */
extern const struct op_info mc_tagged_ops[MC_OP_COUNT];
/* Of meta commands: as clients send them. */
extern const struct op_info mc_client_tagged_ops[MC_OP_COUNT];

enum parse_result mc_parse_request(struct parser *p, const struct codec_limits *limits,
				   const char *data, size_t n, struct parse_resume *resume,
				   struct command *cmd, size_t *skip_out);
enum parse_result mc_parse_reply(const struct op_info *info, struct slice sent, const char *data,
				 size_t n, struct reply_resume *resume, struct reply *reply_out);
void mc_encode_part(const struct command *cmd, const uint32_t *index, uint32_t count,
		    struct scratch *out);
enum reply_kind mc_merge(const struct op_info *info, const uint16_t *part_of_key,
			 uint32_t key_count, struct merge_part *parts, uint32_t part_count,
			 enum on_server_error on_error, struct merge_sink *sink);
uint16_t mc_tag(struct slice reply, struct slice server);
void mc_tag_sent(char *head, size_t n, uint16_t tag);
void mc_tag_reply(const struct op_info *info, struct slice reply, uint16_t tag,
		  struct scratch *out);
/* Append "SERVER_ERROR text (server NAME)". */
void mc_put_failure(enum err e, const char *server, struct scratch *out);

#endif
