/* codec_mc_scan.h - reading keys and numbers of memcached text lines.
 *
 * Pure. What is accepted as a number is what memcached 1.6.18 accepts (strtol without white
 * space); `plain` then says whether the digits are the ones that we would write ourselves, so that
 * the line may be forwarded as it is.
 */
#ifndef TWINRING_COMMON_CODEC_MC_SCAN_H
#define TWINRING_COMMON_CODEC_MC_SCAN_H

#include <endian.h>

#include "common/list.h"

enum { MC_KEY_MAX = 250 };

/* The first byte of [p, end) that cannot be part of a key: space, control character, DEL. */
static inline const char *mc_span(const char *p, const char *end)
{
	const uint64_t ones = 0x0101010101010101u, tops = ones * 0x80;
	while (end - p >= 8) {
		uint64_t v;
		memcpy(&v, p, 8);
		v = le64toh(v);
		uint64_t del = v ^ (ones * 0x7f);
		/* The lowest bit of either test is exact; a borrow only spoils those above it. */
		uint64_t bad = (((v - ones * 0x21) & ~v) | ((del - ones) & ~del)) & tops;
		if (bad) return p + (__builtin_ctzll(bad) >> 3);
		p += 8;
	}
	while (p < end && (unsigned char)*p > 0x20 && *p != 0x7f) p++;
	return p;
}

/* False: not a number, or out of range. Flags beyond 32 bits are cut off, as memcached does, so
 * that the server never sees a number that it might refuse. *plain is only ever cleared. */
bool mc_parse_flags(struct slice s, uint32_t *out, bool *plain);
/* Also cut to 32 bits, as memcached does. */
bool mc_parse_exptime(struct slice s, int32_t *out, bool *plain);
/* The length of a value: 0 to 2^31 - 3, what memcached can hold in an int with its CRLF. */
bool mc_parse_length(struct slice s, uint32_t *out, bool *plain);
bool mc_parse_u64(struct slice s, uint64_t *out, bool *plain);

/* Digits only, no sign, at most `max`; the end of them, or NULL. */
const char *mc_digits(const char *p, const char *end, uint64_t max, uint64_t *out);

#endif
