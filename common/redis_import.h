/* redis_import.h - how one key moves from one Redis server to another: three scripts.
 *
 *   dump     at the source: the value and when it expires
 *   restore  at the target: put it there, unless the key was moved before in this epoch, or is
 * there unlink   at the source: only after restore was answered
 *
 * Each script runs whole or not at all, refuses when the epoch key of its server is not the mark it
 * was sent with, and may be repeated. A command that was left in the socket of a dead proxy, and is
 * executed at any later time, thus does nothing. The mark of a key lives as long as the epoch: a
 * value dumped before the key was deleted at the target does not come back. So, at the end of a
 * transition, the epoch key has to go before the marks do.
 *
 * Values go as DUMP gives them, so every type keeps all it has. Expiry is an absolute time: time in
 * transit does not lengthen a life. Servers: 5.0 or newer.
 *
 * Pure. The agent's mover and the proxy's imports both use it.
 */
#ifndef TWINRING_COMMON_REDIS_IMPORT_H
#define TWINRING_COMMON_REDIS_IMPORT_H

#include "common/codec_resp.h"

/* Keys of ours on each server of a pool in transition; no proxy and no mover moves them. */
#define REDIS_IMPORT_PREFIX "twinring:"
#define REDIS_EPOCH_KEY	    "twinring:epoch"  /* string: the mark imports are made under      */
#define REDIS_MOVED_PREFIX  "twinring:moved:" /* + mark: hash, its fields the keys moved here */

static inline bool redis_import_is_ours(struct slice key)
{
	return key.n >= sizeof(REDIS_IMPORT_PREFIX) - 1 &&
	       memcmp(key.p, REDIS_IMPORT_PREFIX, sizeof(REDIS_IMPORT_PREFIX) - 1) == 0;
}

enum redis_import_step { IMPORT_DUMP, IMPORT_RESTORE, IMPORT_UNLINK };

/* What to take the reply for, in talk_ask() or a request. */
const struct op_info *redis_import_op(enum redis_import_step step);

struct redis_dump {
	struct slice value; /* with the CRLF behind it, as it lies in the reply */
	int64_t expire_ms;  /* wall clock; < 0: never */
};

/* Each appends one request to `out`. max_bytes: more (by MEMORY USAGE, with its samples) is not
 * dumped; 0: no limit. */
void redis_import_put_dump(struct scratch *out, struct slice key, const char *mark,
			   uint64_t max_bytes);
/* All but the end, which is dump->value. With an empty one ("\r\n"): only set the mark, so that no
 * late restore brings the key. */
void redis_import_put_restore(struct scratch *out, struct slice key, const char *mark,
			      const struct redis_dump *dump);
void redis_import_put_unlink(struct scratch *out, struct slice key, const char *mark);

enum redis_import_result {
	IMPORT_OK,	/* dump: *dump_out is set; restore, unlink: done or not needed       */
	IMPORT_ABSENT,	/* dump: the source has no such key (any more)                       */
	IMPORT_BIG,	/* dump: over the limit                                              */
	IMPORT_REFUSED, /* the server's epoch key is not this mark                           */
	IMPORT_FAILED,	/* the server's own error: out of memory, a payload it cannot read...*/
};

/* `reply`: whole and legal. *dump_out points into it. */
enum redis_import_result redis_import_read(enum redis_import_step step, struct slice reply,
					   struct redis_dump *dump_out);
/* restore, unlink: did it change anything? */
bool redis_import_did(struct slice reply);

#endif
