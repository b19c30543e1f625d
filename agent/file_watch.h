/* file_watch.h - hears of changes at paths below a directory, whichever way they are made: written
 * in place, replaced by rename, or by swapping a symbolic link to a directory.
 *
 * For that it watches every directory on the way to each path, and the one that the tree itself
 * lies in. It only says that something has changed somewhere; the caller looks.
 *
 * Threads: the loop's. Ownership: embedded; file_watch_fini() frees.
 */
#ifndef TWINRING_AGENT_FILE_WATCH_H
#define TWINRING_AGENT_FILE_WATCH_H

#include "agent/file_meta.h"

struct file_watch {
	const char *dir; /* borrowed */
	int fd;		 /* inotify */
	struct io_watch watch;
	int parent_wd;
	int *wds; /* those in use, in any order, some of them twice */
	size_t count, room;
	int *old; /* of the round before: removed when they are not used again */
	size_t old_count, old_room;
	void (*on_event)(void *ctx);
	void *ctx;
};

/* False, with errno, when the system has no more of them. */
bool file_watch_init(struct file_watch *w, struct io_loop *l, const char *dir,
		     void (*on_event)(void *ctx), void *ctx);
void file_watch_fini(struct file_watch *w);
/* Watch the way to `path`. Look at it after this, not before. */
void file_watch_add(struct file_watch *w, const char *path);
/* Begin a round: paths that are not added until the end of it are forgotten. */
void file_watch_begin(struct file_watch *w);
void file_watch_end(struct file_watch *w);

#endif
