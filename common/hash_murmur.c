/* hash_murmur.c - Austin Appleby's MurmurHash2, 32 bits, read as little-endian. */
#include <endian.h>

#include "common/hash_fns.h"

#define MURMUR_M 0x5bd1e995u

static inline uint32_t load_le(const char *p, size_t n)
{
	uint32_t w = 0;
	memcpy(&w, p, n);
	return le32toh(w);
}

uint32_t hash_murmur(struct slice key)
{
	/* libmemcached's seed, which twemproxy kept */
	uint32_t h = (0xdeadbeefu * (uint32_t)key.n) ^ (uint32_t)key.n;

	for (; key.n >= 4; key.p += 4, key.n -= 4) {
		uint32_t k = load_le(key.p, 4) * MURMUR_M;
		k ^= k >> 24;
		h = (h * MURMUR_M) ^ (k * MURMUR_M);
	}
	if (key.n > 0) h = (h ^ load_le(key.p, key.n)) * MURMUR_M;

	h ^= h >> 13;
	h *= MURMUR_M;
	h ^= h >> 15;
	return h;
}
