/* saved.h - a file that survives crashes: written whole or not at all, two generations,
 * checksummed.
 *
 * The file is one header line ("twinring-saved 1 CRC32 LENGTH") and a body. A new one is written
 * beside it, synced, and renamed over it; the one before stays as PATH.old. Who reads decides
 * whether what a whole file says is any good, and takes the other one if not.
 *
 * Threads: any; blocks on the disk. Errors: ERR_IO with path and reason in *where_out.
 */
#ifndef TWINRING_COMMON_SAVED_H
#define TWINRING_COMMON_SAVED_H

#include "common/err.h"
#include "common/scratch.h"

enum { SAVED_MAX_BYTES = 64 << 20 };

enum saved_generation { SAVED_NEWEST, SAVED_BEFORE, SAVED_GENERATIONS };

enum err saved_write(const char *path, struct slice body, struct err_at *where_out);
/* ERR_UNKNOWN_NAME: there is no such file. ERR_INVALID: there is, but it is not whole. On success
 * *age_s_out (may be NULL) is how far the file's own time is from now, in the past or, when a clock
 * was set, in the future. */
enum err saved_read(const char *path, enum saved_generation g, struct scratch *body_out,
		    uint64_t *age_s_out, struct err_at *where_out);
/* What was written last is as good as if it were written now: only the file's time changes. */
void saved_touch(const char *path);

#endif
