/* list.h - intrusive lists and byte slices.
 *
 * Lists are the BSD queue macros with their _SAFE loops (libbsd). A slice is a borrowed
 * view of bytes: it never owns them, and whoever hands one out says how long they live.
 */
#ifndef TWINRING_COMMON_LIST_H
#define TWINRING_COMMON_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/queue.h>

struct slice {
	const char *p;
	size_t n; /* bytes */
};

/* A slice of a string literal. */
#define SLICE(lit) ((struct slice){ "" lit, sizeof(lit) - 1 })

static inline struct slice slice_of(const char *s)
{
	return (struct slice){ s, strlen(s) };
}

/* Zero `n` bytes, a constant below 1 KiB or so, of what is zeroed for every request. Told to do it
 * at once, compilers take an instruction that needs longer to start than these stores to end. */
static inline void zero_in_pieces(void *p, size_t n)
{
	memset(p, 0, n % 64);
	for (size_t at = n % 64; at < n; at += 64) memset((char *)p + at, 0, 64);
}

/* memcpy() for what is short nearly always: a few moves of fixed sizes, which may overlap. The
 * library's is a call, and what compilers put in its place where they know the most that may come
 * is an instruction whose start costs more than all of this. */
static inline void copy_short(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;
	if (n > 96) {
		memcpy(t, f, n);
	} else if (n > 32) {
		memcpy(t, f, 32);
		if (n > 64) memcpy(t + 32, f + 32, 32);
		memcpy(t + n - 32, f + n - 32, 32);
	} else if (n > 16) {
		memcpy(t, f, 16);
		memcpy(t + n - 16, f + n - 16, 16);
	} else if (n >= 8) {
		memcpy(t, f, 8);
		memcpy(t + n - 8, f + n - 8, 8);
	} else if (n >= 4) {
		memcpy(t, f, 4);
		memcpy(t + n - 4, f + n - 4, 4);
	} else {
		for (size_t i = 0; i < n; i++) t[i] = f[i];
	}
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

#endif
