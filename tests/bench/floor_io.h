/* floor_io.h - bytes in and out of one socket, with as few copies and system calls as a multiplexer
 * can do with: small messages are parsed in a shared buffer and copied once, into what is to be
 * sent; a message over FLOOR_BIG is read into a buffer of its own, which is then sent as it is.
 *
 * Threads: one. Ownership: a piece owns its bytes; floor_out_give() takes what was malloc()ed.
 */
#ifndef TESTS_BENCH_FLOOR_IO_H
#define TESTS_BENCH_FLOOR_IO_H

#include <stdbool.h>
#include <stddef.h>

enum {
	FLOOR_READ = 64 << 10, /* bytes of the shared buffer      */
	FLOOR_BIG = 16 << 10,  /* from here on nothing is copied  */
	FLOOR_IOV = 64,
};

struct floor_piece {
	char *p;
	size_t len, cap;
};

struct floor_out {
	struct floor_piece *pieces;
	size_t first, count, room; /* pieces[first..count) wait */
	size_t sent;		   /* of the first              */
	size_t bytes;
};

/* An incomplete message: empty, or malloc()ed. */
struct floor_in {
	char *p;
	size_t len, cap;
};

/* n bytes at p for a new small message. */
char *floor_out_room(struct floor_out *o, size_t n);
void floor_out_give(struct floor_out *o, char *p, size_t n);
/* Send all that waits. 1: all gone. 0: the socket is full. -1: broken. */
int floor_out_send(struct floor_out *o, int fd);
void floor_out_fini(struct floor_out *o);

/* Called with each read's bytes; returns how many of them were whole messages, and the least length
 * of the one that follows. `own`, unless NULL: p may be kept, to be free()d later, if it is one big
 * message and nothing else; then set it. */
typedef size_t (*floor_take_fn)(void *owner, char *p, size_t n, bool *own, size_t *need_out);

/* Read once. 1: there may be more. 0: that was all. -1: the connection is at its end. */
int floor_in_read(struct floor_in *in, int fd, char *shared, floor_take_fn take, void *owner);

void *floor_alloc(void *p, size_t n);

#endif
