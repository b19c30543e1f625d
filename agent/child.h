/* child.h - a program that we run, in a process group of its own: what it prints and its end come
 * from the loop. No shell, standard input from /dev/null, our environment.
 *
 * Threads:   the loop's; nothing blocks but child_free().
 * Ownership: a child frees itself after on_exit, or later when nobody wants to know any more.
 */
#ifndef TWINRING_AGENT_CHILD_H
#define TWINRING_AGENT_CHILD_H

#include <stddef.h>

#include "common/io.h"

struct child;

struct child_events {
	void (*on_output)(void *ctx, const char *data, size_t n); /* both streams */
	/* status: as waitpid() gives it. The child is void afterwards, its descendants killed. */
	void (*on_exit)(void *ctx, int status);
	void *ctx;
};

/* argv[0] is a path. 0, or an errno; the events come later, never from within this. */
int child_start(struct io_loop *l, char *const argv[], const struct child_events *events,
		struct child **child_out);

/* End its whole group; on_exit follows. */
void child_kill(struct child *c);
/* End it, hear no more of it; the loop clears up. Sets *c to NULL; NULL is a no-op. */
void child_forget(struct child **c);
/* The same for when the loop ends: waits until it is gone, a second at most. */
void child_free(struct child **c);

#endif
