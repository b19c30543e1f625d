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

/* Is the key at [p, end) the one at `sent`, among keys that were sent? How long it is; 0: it is
 * another, or cut off. Keys that were sent hold no control characters, and a blank or a line end
 * comes behind each: so one pass finds the end of both and compares them. */
static inline size_t mc_same_key(const char *sent, const char *sent_end, const char *p,
				 const char *end)
{
	const uint64_t ones = 0x0101010101010101u, tops = ones * 0x80;
	size_t i = 0, least = end - p < sent_end - sent ? end - p : sent_end - sent;
	for (; least - i >= 8; i += 8) {
		uint64_t v, w;
		memcpy(&v, sent + i, 8);
		memcpy(&w, p + i, 8);
		v = le64toh(v);
		w = le64toh(w);
		uint64_t stop = (v - ones * 0x21) & ~v & tops;
		if (stop) {
			/* What lies below the lowest bit still belongs to the keys. */
			if ((v ^ w) & (((stop & -stop) >> 7) - 1)) return 0;
			i += __builtin_ctzll(stop) >> 3;
			return p[i] == ' ' ? i : 0;
		}
		if (v != w) return 0;
	}
	for (; i < least && (unsigned char)sent[i] > ' '; i++)
		if (sent[i] != p[i]) return 0;
	return i < least && p[i] == ' ' ? i : 0;
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

enum { MC_DIGITS_FREE = 9 /* so many digits are less than any `max` in use */ };

/* " 123", the same, where a byte that is no digit is known to come: none need be counted or
 * compared before. NULL as `p` is passed on, so that one look tells of several numbers. */
static inline const char *mc_next_number(const char *p, uint64_t max, uint64_t *out)
{
	if (!p || *p != ' ') return NULL;
	const char *start = ++p;
	uint64_t v = 0;
	unsigned digit;
	while ((digit = (unsigned char)*p - '0') <= 9) {
		v = v * 10 + digit;
		p++;
	}
	*out = v;
	if (p - start > MC_DIGITS_FREE) return mc_digits(start, p, max, out);
	return p > start ? p : NULL;
}

/* " flags bytes[ cas]\r\n" of a VALUE line: the end of it; NULL: it is something else. At the end
 * of what may be read, at the latest, stands a byte that is no digit. */
static inline const char *mc_value_numbers(const char *p, const char *end, bool cas,
					   uint64_t *bytes_out)
{
	uint64_t other;
	p = mc_next_number(p, UINT32_MAX, &other);
	p = mc_next_number(p, INT32_MAX, bytes_out);
	if (cas) p = mc_next_number(p, UINT64_MAX, &other);
	return p && end - p >= 2 && memcmp(p, "\r\n", 2) == 0 ? p + 2 : NULL;
}

#endif
