/* hash_jenkins.c - Bob Jenkins' one-at-a-time and lookup3 (the little-endian form). */
#include <endian.h>

#include "common/hash_fns.h"

uint32_t hash_one_at_a_time(struct slice key)
{
	uint32_t h = 0;
	for (size_t i = 0; i < key.n; i++) {
		h += hash_signed_byte(key.p[i]);
		h += h << 10;
		h ^= h >> 6;
	}
	h += h << 3;
	h ^= h >> 11;
	h += h << 15;
	return h;
}

struct jenkins_state {
	uint32_t a, b, c;
};

static inline uint32_t rotate(uint32_t x, unsigned bits)
{
	return x << bits | x >> (32 - bits);
}

/* Up to 12 bytes as three little-endian words, zero-padded. */
static inline void jenkins_absorb(struct jenkins_state *s, const char *p, size_t n)
{
	uint32_t w[3] = { 0, 0, 0 };
	memcpy(w, p, n);
	s->a += le32toh(w[0]);
	s->b += le32toh(w[1]);
	s->c += le32toh(w[2]);
}

static inline void jenkins_mix(struct jenkins_state *s)
{
	uint32_t a = s->a, b = s->b, c = s->c;
	/* clang-format off */
	a -= c; a ^= rotate(c, 4);  c += b;
	b -= a; b ^= rotate(a, 6);  a += c;
	c -= b; c ^= rotate(b, 8);  b += a;
	a -= c; a ^= rotate(c, 16); c += b;
	b -= a; b ^= rotate(a, 19); a += c;
	c -= b; c ^= rotate(b, 4);  b += a;
	/* clang-format on */
	*s = (struct jenkins_state){ a, b, c };
}

static inline uint32_t jenkins_final(const struct jenkins_state *s)
{
	uint32_t a = s->a, b = s->b, c = s->c;
	/* clang-format off */
	c ^= b; c -= rotate(b, 14);
	a ^= c; a -= rotate(c, 11);
	b ^= a; b -= rotate(a, 25);
	c ^= b; c -= rotate(b, 16);
	a ^= c; a -= rotate(c, 4);
	b ^= a; b -= rotate(a, 14);
	c ^= b; c -= rotate(b, 24);
	/* clang-format on */
	return c;
}

uint32_t hash_jenkins(struct slice key)
{
	enum { BLOCK = 12, INITVAL = 13 };
	const uint32_t start = 0xdeadbeef + (uint32_t)key.n + INITVAL;
	struct jenkins_state s = { start, start, start };
	if (key.n == 0) return s.c; /* the empty key is not finalised */

	/* The last block, full or not, goes through the final step instead of the mix. */
	for (; key.n > BLOCK; key.p += BLOCK, key.n -= BLOCK) {
		jenkins_absorb(&s, key.p, BLOCK);
		jenkins_mix(&s);
	}
	jenkins_absorb(&s, key.p, key.n);
	return jenkins_final(&s);
}
