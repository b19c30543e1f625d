/* saved.h - a file that survives crashes: written whole or not at all, two generations,
 * checksummed.
 *
 * The file is one header line ("twinring-saved 1 CRC32 LENGTH") and a body. A new one is written
 * beside it, synced, and renamed over it; the one before stays as PATH.old. Reading takes the
 * newest that is whole.
 *
 * Threads: any; blocks on the disk. Errors: ERR_IO with path and reason in *where_out.
 */
#ifndef TWINRING_COMMON_SAVED_H
#define TWINRING_COMMON_SAVED_H

#include "common/err.h"
#include "common/scratch.h"

enum { SAVED_MAX_BYTES = 64 << 20 };

enum err saved_write(const char *path, struct slice body, struct err_at *where_out);
/* ERR_UNKNOWN_NAME: there is none at all. ERR_INVALID: there is, but none is whole. On success
 * *age_s_out (may be NULL) is how long ago it was written, by the file's own time. When the newest
 * was damaged and the older one was taken, *where_out says so; else its `why` is empty. */
enum err saved_read(const char *path, struct scratch *body_out, uint64_t *age_s_out,
		    struct err_at *where_out);

#endif
