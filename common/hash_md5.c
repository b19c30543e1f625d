/* hash_md5.c - MD5 (RFC 1321) for key placement, not for security.
 *
 * Ours rather than libcrypto's because `hash: md5` runs per request: EVP needs a context allocated
 * per call or per thread, costs more than the digest of a short key, and is refused in FIPS mode,
 * where a ring must still route as before.
 */
#include <endian.h>

#include "common/hash_fns.h"

enum { MD5_BLOCK = 64, MD5_LENGTH_AT = 56 };

static inline uint32_t rotate(uint32_t x, unsigned bits)
{
	return x << bits | x >> (32 - bits);
}

/* The four round functions, with x selecting, combining or crossing y and z. */
#define MD5_F(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define MD5_G(x, y, z) (((x) & (z)) | ((y) & ~(z)))
#define MD5_H(x, y, z) ((x) ^ (y) ^ (z))
#define MD5_I(x, y, z) ((y) ^ ((x) | ~(z)))

#define MD5_STEP(fn, a, b, c, d, i, bits, sine) \
	a = (b) + rotate((a) + fn(b, c, d) + w[i] + (sine), bits)

/* Four steps: message words i0..i3, additive constants k0..k3. */
#define MD5_FOUR(fn, r0, r1, r2, r3, i0, i1, i2, i3, k0, k1, k2, k3) \
	do {                                                         \
		MD5_STEP(fn, a, b, c, d, i0, r0, k0);                \
		MD5_STEP(fn, d, a, b, c, i1, r1, k1);                \
		MD5_STEP(fn, c, d, a, b, i2, r2, k2);                \
		MD5_STEP(fn, b, c, d, a, i3, r3, k3);                \
	} while (0)
#define MD5_ROUND1(...) MD5_FOUR(MD5_F, 7, 12, 17, 22, __VA_ARGS__)
#define MD5_ROUND2(...) MD5_FOUR(MD5_G, 5, 9, 14, 20, __VA_ARGS__)
#define MD5_ROUND3(...) MD5_FOUR(MD5_H, 4, 11, 16, 23, __VA_ARGS__)
#define MD5_ROUND4(...) MD5_FOUR(MD5_I, 6, 10, 15, 21, __VA_ARGS__)

static void md5_block(uint32_t state[4], const void *block)
{
	uint32_t w[16];
	memcpy(w, block, sizeof(w));
	for (int i = 0; i < 16; i++) w[i] = le32toh(w[i]);

	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
	/* clang-format off */
	MD5_ROUND1( 0,  1,  2,  3, 0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee);
	MD5_ROUND1( 4,  5,  6,  7, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501);
	MD5_ROUND1( 8,  9, 10, 11, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be);
	MD5_ROUND1(12, 13, 14, 15, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821);
	MD5_ROUND2( 1,  6, 11,  0, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa);
	MD5_ROUND2( 5, 10, 15,  4, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8);
	MD5_ROUND2( 9, 14,  3,  8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed);
	MD5_ROUND2(13,  2,  7, 12, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a);
	MD5_ROUND3( 5,  8, 11, 14, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c);
	MD5_ROUND3( 1,  4,  7, 10, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70);
	MD5_ROUND3(13,  0,  3,  6, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05);
	MD5_ROUND3( 9, 12, 15,  2, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665);
	MD5_ROUND4( 0,  7, 14,  5, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039);
	MD5_ROUND4(12,  3, 10,  1, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1);
	MD5_ROUND4( 8, 15,  6, 13, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1);
	MD5_ROUND4( 4, 11,  2,  9, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391);
	/* clang-format on */
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

void hash_md5_words(struct slice text, uint32_t words_out[4])
{
	uint32_t state[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 };
	const uint64_t bits = htole64((uint64_t)text.n * 8);

	for (; text.n >= MD5_BLOCK; text.p += MD5_BLOCK, text.n -= MD5_BLOCK)
		md5_block(state, text.p);

	/* The rest, a 0x80 byte, zeros, and the bit count ending the last block. */
	char tail[2 * MD5_BLOCK] = { 0 };
	const size_t tail_blocks = text.n < MD5_LENGTH_AT ? 1 : 2;
	if (text.n > 0) memcpy(tail, text.p, text.n);
	tail[text.n] = (char)0x80;
	memcpy(tail + tail_blocks * MD5_BLOCK - sizeof(bits), &bits, sizeof(bits));
	for (size_t i = 0; i < tail_blocks; i++) md5_block(state, tail + i * MD5_BLOCK);

	memcpy(words_out, state, sizeof(state));
}

uint32_t hash_md5(struct slice key)
{
	uint32_t words[4];
	hash_md5_words(key, words);
	return words[0];
}
