/* file_meta.h - what a directory of files does not remember by itself: versions, owners, order.
 *
 * All of it lies in DIR/.twinring: `lock`, which serialises writers of all processes and holds the
 * last modification id; `meta/`, a line for each node; `sessions/`, a file for each process that
 * has the tree open, locked while it lives, so that everybody can see whose ephemeral nodes are to
 * go, whatever became of their owner.
 *
 * A node's line tells which contents (time, size, hash) its version belongs to. Whoever finds other
 * contents counts the version up, so that versions agree between processes and over restarts.
 *
 * Threads: any; between processes by the lock. Ownership: nothing is kept; the caller closes.
 */
#ifndef TWINRING_AGENT_FILE_META_H
#define TWINRING_AGENT_FILE_META_H

#include <limits.h>

#include "agent/store.h"

#define FILE_HIDDEN   ".twinring"
#define FILE_TMP_NAME ".twinring.tmp"

enum { FILE_OWNER_MAX = 48, FILE_DIR_MAX = 2048, FILE_PATH_MAX = PATH_MAX };

struct file_meta {
	int32_t version;
	int64_t mzxid, czxid;
	int64_t mtime_ns;
	uint64_t size, hash;
	uint32_t next;		    /* number of the next sequential child */
	char owner[FILE_OWNER_MAX]; /* session of an ephemeral node, or "" */
};

/* Make DIR/.twinring and what is in it. 0, or an errno. */
int file_hidden_make(const char *dir);

/* The writers' lock: STORE_OK with a descriptor to close, STORE_AWAY when somebody holds it for too
 * long or the directory is gone, STORE_REFUSED when it may not be taken. */
enum store_rc file_lock(const char *dir, int *fd_out);
/* The next modification id: higher than any before, and not below the wall clock's microseconds. */
int64_t file_next_zxid(int lock_fd);

/* False: none, or not readable. */
bool file_meta_read(const char *dir, const char *path, struct file_meta *out);
/* With the lock held. False when it could not be saved. */
bool file_meta_write(const char *dir, const char *path, const struct file_meta *m);
void file_meta_remove(const char *dir, const char *path);
/* Call fn with every path that `owner` owns. */
void file_meta_each_of(const char *dir, const char *owner, void (*fn)(void *ctx, const char *path),
		       void *ctx);

/* Write a file so that it is there whole or not at all; a link's target is replaced, not the link.
 * The mode and, where possible, the owner of an old file are kept. 0, or an errno. */
int file_write(const char *name, struct slice data, int64_t *mtime_ns_out);

#endif
