/* scratch.h - a growable byte buffer that is written, read at once, and written over.
 *
 * Threads: one owner. Errors: running out of memory aborts, as nothing sensible is left to do;
 * every caller bounds what it writes.
 */
#ifndef TWINRING_COMMON_SCRATCH_H
#define TWINRING_COMMON_SCRATCH_H

#include "common/list.h"

struct scratch {
	char *p;
	size_t n;   /* bytes written   */
	size_t cap; /* bytes allocated */
};

static inline void scratch_clear(struct scratch *s)
{
	s->n = 0;
}

/* Make room for `more` bytes and return where they go; the caller adds to s->n. Earlier pointers
 * into the buffer are void afterwards. */
char *scratch_reserve(struct scratch *s, size_t more);
void scratch_put(struct scratch *s, const void *p, size_t n);
void scratch_printf(struct scratch *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Decimal digits without printf's cost. */
void scratch_put_u64(struct scratch *s, uint64_t v);
/* Any bytes as text of printable ASCII, others as \xNN, at most about `max` characters. */
void scratch_put_printable(struct scratch *s, struct slice bytes, size_t max);
/* In place: a '?' for each byte that is not printable ASCII. What servers and scripts wrote ends up
 * in JSON, logs and terminals. */
void text_make_printable(char *text);
/* Give memory back when one unusual use has made it larger than `keep` bytes. */
void scratch_trim(struct scratch *s, size_t keep);
void scratch_fini(struct scratch *s);

static inline void scratch_puts(struct scratch *s, struct slice v)
{
	scratch_put(s, v.p, v.n);
}

static inline struct slice scratch_slice(const struct scratch *s)
{
	return (struct slice){ s->p, s->n };
}

#endif
