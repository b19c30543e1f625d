/* disk.h - small files, read whole and written so that a crash leaves the old or the new.
 *
 * Threads: any; blocks on the disk. Errors: false with errno, nothing left behind.
 */
#ifndef TWINRING_COMMON_DISK_H
#define TWINRING_COMMON_DISK_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/scratch.h"

enum { DISK_PATH_MAX = 4096 };

/* The whole file, after what *out holds. errno EFBIG: it has more than `max` bytes. *mtime_out (may
 * be NULL): when it was written, by the file's own time. */
bool disk_read(const char *path, size_t max, struct scratch *out, time_t *mtime_out);

/* Write the parts one after the other to a new file in the place of an old one, and wait until they
 * are on the disk. The mode does not depend on the umask. */
bool disk_write(const char *path, const struct slice *parts, uint32_t count, mode_t mode);
/* A rename is only safe once the directory is on the disk, too. */
void disk_sync_dir_of(const char *path);

/* In one step, by way of PATH.new beside it. */
bool disk_replace(const char *path, struct slice body, mode_t mode);

#endif
