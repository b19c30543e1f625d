/* hash_fns.h - the hash functions behind hash.h's table, plus what only the rings need.
 * Same contract as hash.h. Include this from hash*.c, ring*.c and their tests only.
 */
#ifndef TWINRING_COMMON_HASH_FNS_H
#define TWINRING_COMMON_HASH_FNS_H

#include "common/hash.h"

hash_fn hash_fnv1_32, hash_fnv1a_32, hash_fnv1_64, hash_fnv1a_64; /* hash_fnv.c */
hash_fn hash_crc16, hash_crc32, hash_crc32a;			  /* hash_crc.c */
hash_fn hash_one_at_a_time, hash_jenkins;			  /* hash_jenkins.c */
hash_fn hash_hsieh;						  /* hash_hsieh.c */
hash_fn hash_murmur;						  /* hash_murmur.c */
hash_fn hash_md5;						  /* hash_md5.c */

/* FNV-1a over unsigned bytes from a caller's basis, as Wayfair's libketama does. */
#define HASH_FNV_32_BASIS 2166136261u
uint32_t hash_fnv1a_32_unsigned(uint32_t basis, struct slice key);

/* The MD5 digest as four little-endian words: word i is digest bytes 4i..4i+3. */
void hash_md5_words(struct slice text, uint32_t words_out[4]);

/* A byte as the originals see it: x86 `char`, sign-extended to the accumulator. */
static inline uint32_t hash_signed_byte(char c)
{
	return (uint32_t)(int32_t)(int8_t)c;
}

#endif
