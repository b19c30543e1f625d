/* hash_crc.c - checksums used as key hashes. */
#include <zlib.h>

#include "common/hash_fns.h"

/* One step of polynomial 0x1021, most significant bit first, for the byte (hi << 4 | lo). The
 * step is linear over xor, so two 16-entry tables give what a 256-entry one would. */
static const uint16_t crc16_hi[16] = {
	0x0000, 0x1231, 0x2462, 0x3653, 0x48c4, 0x5af5, 0x6ca6, 0x7e97,
	0x9188, 0x83b9, 0xb5ea, 0xa7db, 0xd94c, 0xcb7d, 0xfd2e, 0xef1f,
};
static const uint16_t crc16_lo[16] = {
	0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
	0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
};

/* The accumulator is never cut to 16 bits: older bytes stay in the upper half, as in twemproxy. */
uint32_t hash_crc16(struct slice key)
{
	uint32_t h = 0;
	for (size_t i = 0; i < key.n; i++) {
		uint8_t step = (uint8_t)(h >> 8) ^ (uint8_t)key.p[i];
		h = (h << 8) ^ crc16_hi[step >> 4] ^ crc16_lo[step & 15];
	}
	return h;
}

uint32_t hash_crc32a(struct slice key)
{
	/* zlib takes NULL for "give me the initial value", which is also the empty key's hash */
	return (uint32_t)crc32_z(0, (const unsigned char *)key.p, key.n);
}

/* The 15 bits libmemcached keeps. */
uint32_t hash_crc32(struct slice key)
{
	return (hash_crc32a(key) >> 16) & 0x7fff;
}
