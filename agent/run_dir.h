/* run_dir.h - the directory where proxies live: NAME.sock to talk to, NAME.lock held for life.
 *
 * Watched with inotify, and looked at every few seconds all the same: it may not exist yet, may be
 * replaced, and the end of a lock is no event. Every *.lock in it is taken for a proxy's, so the
 * agent's own must be elsewhere.
 *
 * Threads: the loop's. run_dir_names() and run_dir_lock() read the disk, briefly.
 */
#ifndef TWINRING_AGENT_RUN_DIR_H
#define TWINRING_AGENT_RUN_DIR_H

#include "common/err.h"
#include "common/io.h"

enum { RUN_DIR_RESCAN_MS = 2000, RUN_DIR_NAME_MAX = 256 };

struct run_dir;

enum run_lock {
	RUN_LOCK_FREE, /* no file, or nobody holds it: what else is there of that name is stale */
	RUN_LOCK_HELD,
	RUN_LOCK_UNKNOWN, /* it cannot be told; errno says why */
};

/* fn: something may have changed; from the loop, at least every rescan_ms. ERR_INVALID: the path
 * leaves no room for sockets. */
enum err run_dir_new(struct io_loop *l, const char *path, uint32_t rescan_ms, void (*fn)(void *ctx),
		     void *ctx, struct run_dir **dir_out, struct err_at *where_out);

/* Call `each` for every NAME of a NAME.lock, in no order. false: the directory cannot be read
 * (errno says why), so nothing is known; a missing one is just empty. */
bool run_dir_names(const struct run_dir *d, void (*each)(void *ctx, const char *name), void *ctx);

/* Tests without taking it, but for a moment in shared mode: lock_file_take() knows about that.
 * *pid_out: what the file says, 0 when it does not. */
enum run_lock run_dir_lock(const struct run_dir *d, const char *name, int *pid_out);

/* "DIR/NAME.sock"; the caller frees it. */
char *run_dir_socket(const struct run_dir *d, const char *name);

/* Sets *d to NULL; NULL is a no-op. */
void run_dir_free(struct run_dir **d);

#endif
