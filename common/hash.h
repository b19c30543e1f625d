/* hash.h - the key hashes people already use, bit for bit, and hash tags.
 *
 * The bits are a contract: a fleet that moves to us keeps its data only if every key hashes as it
 * did. The twelve names and results are those of twemproxy 0.5.0 on x86-64, where `char` is signed:
 * bytes from 0x80 up are sign-extended in one_at_a_time, fnv* and the tail of hsieh.
 *
 * Threads:   every call is pure: any thread, no locks, no allocation, no state.
 * Ownership: keys are borrowed for the call only; any bytes, NUL included, any length.
 */
#ifndef TWINRING_COMMON_HASH_H
#define TWINRING_COMMON_HASH_H

#include "common/list.h"

enum hash_kind {
	HASH_FNV1A_64, /* the default of the `hash:` option */
	HASH_ONE_AT_A_TIME,
	HASH_MD5,
	HASH_CRC16,
	HASH_CRC32, /* only 15 bits: with ketama nearly every key lands on one server */
	HASH_CRC32A,
	HASH_FNV1_64,
	HASH_FNV1_32,
	HASH_FNV1A_32,
	HASH_HSIEH,
	HASH_MURMUR,
	HASH_JENKINS,
	HASH_KIND_MAX
};

typedef uint32_t hash_fn(struct slice key);

/* The `hash:` word, case-sensitive. False leaves *kind_out alone. */
bool hash_kind_parse(struct slice name, enum hash_kind *kind_out);

/* Static text; NULL for a value that is no hash kind. */
const char *hash_kind_name(enum hash_kind kind);

/* The function itself, for callers that hash many keys the same way. Never NULL for a valid kind.
 */
hash_fn *hash_kind_fn(enum hash_kind kind);

uint32_t hash_key(enum hash_kind kind, struct slice key);

/* For hash_tag_apply(), when there are a tag and a key. */
struct slice hash_tag_find(struct slice key, const char tag[2]);

/* What to hash of `key`: the bytes between the first tag[0] and the first tag[1] after it, or the
 * whole key when either is missing or nothing lies between. No second attempt is made further on.
 * tag[0] == 0 means no tag; the two bytes may be equal. The result points into `key`. */
static inline struct slice hash_tag_apply(struct slice key, const char tag[2])
{
	return tag[0] == 0 || key.n == 0 ? key : hash_tag_find(key, tag);
}

#endif
