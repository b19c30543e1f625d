/* inbuf.h - reading from a socket so that each message can be parsed in one piece, where it lies.
 *
 * Most reads go into the worker's read buffer, are parsed there and leave nothing behind. What is
 * left of an incomplete message is kept in a buf of its own: a small rest goes in front of the
 * next read; a large message (its size known, or grown past INBUF_SMALL) is read straight into
 * its own buf, so that its bytes are never moved and can be passed on by reference.
 */
#ifndef TWINRING_PROXY_INBUF_H
#define TWINRING_PROXY_INBUF_H

#include "proxy/core.h"

enum { INBUF_SMALL = 4096, INBUF_LARGE = 16384, INBUF_SPARE = 16384 };

/* Read once. *kept is the rest of last time (or NULL) and is taken; on success the returned buf
 * holds everything unparsed, from data[inbuf_at()] to data[len), and must be given to
 * inbuf_keep(). `need` is how many bytes the message at its start is known to have, or 0.
 * NULL: nothing was read; *got_out is 0 (end of stream) or -1 (errno), and *kept is untouched.
 * *full_out: the read took all it had room for, so that there may be more. */
struct buf *inbuf_read(struct core *core, int fd, struct buf **kept, size_t need, ssize_t *got_out,
		       bool *full_out);

/* Where a read ended only because it was full, the message that was cut in two ends in the spare
 * room behind it: read the rest of it there, so that its bytes need not be moved. `at`: where it
 * begins; `need`: its size as far as it is known. -> bytes read; 0: the rest is to be kept. */
size_t inbuf_read_rest(const struct core *core, int fd, struct buf *b, size_t at, size_t need);

/* Where in `b` that inbuf_read() returned, or that was kept, unparsed bytes begin. */
static inline size_t inbuf_at(const struct core *core, const struct buf *b)
{
	return b == core->rbuf ? core->rbuf_at : 0;
}

/* Keep data[parsed..len) of `b` for next time, in *kept; nothing when all was parsed. `b` is void
 * afterwards unless it was kept or is referenced elsewhere. */
void inbuf_keep(struct core *core, struct buf *b, size_t parsed, size_t need, struct buf **kept);

#endif
