/* hash_hsieh.c - Paul Hsieh's SuperFastHash, starting from 0 rather than from the length. */
#include <endian.h>

#include "common/hash_fns.h"

static inline uint32_t load16(const char *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

/* The one to three bytes left over. Only the third of three is sign-extended. */
static uint32_t hsieh_tail(uint32_t h, const char *p, size_t n)
{
	switch (n) {
	case 3:
		h += load16(p);
		h ^= h << 16;
		h ^= hash_signed_byte(p[2]) << 18;
		return h + (h >> 11);
	case 2:
		h += load16(p);
		h ^= h << 11;
		return h + (h >> 17);
	case 1:
		h += (uint8_t)p[0];
		h ^= h << 10;
		return h + (h >> 1);
	}
	return h;
}

uint32_t hash_hsieh(struct slice key)
{
	uint32_t h = 0;
	if (key.n == 0) return h;

	for (; key.n >= 4; key.p += 4, key.n -= 4) {
		h += load16(key.p);
		h = (h << 16) ^ (load16(key.p + 2) << 11) ^ h;
		h += h >> 11;
	}
	h = hsieh_tail(h, key.p, key.n);

	h ^= h << 3;
	h += h >> 5;
	h ^= h << 4;
	h += h >> 17;
	h ^= h << 25;
	h += h >> 6;
	return h;
}
