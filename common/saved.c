#include "common/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "common/disk.h"

enum { HEADER_MAX = 64 };
#define HEADER "twinring-saved 1 %08lx %zu\n"

static enum err saved_fail(const char *path, const char *why, enum err e, struct err_at *where_out)
{
	snprintf(where_out->where, sizeof(where_out->where), "%.159s", path);
	snprintf(where_out->why, sizeof(where_out->why), "%s", why);
	return e;
}

static bool write_new(const char *path, struct slice body)
{
	char header[HEADER_MAX];
	int n = snprintf(header, sizeof(header), HEADER,
			 crc32_z(0, (const unsigned char *)body.p, body.n), body.n);
	struct slice parts[] = { { header, (size_t)n }, body };
	return disk_write(path, parts, 2, 0600);
}

enum err saved_write(const char *path, struct slice body, struct err_at *where_out)
{
	char fresh[DISK_PATH_MAX], old[DISK_PATH_MAX];
	if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh))
		return saved_fail(path, "the path is too long", ERR_INVALID, where_out);
	snprintf(old, sizeof(old), "%s.old", path);
	if (!write_new(fresh, body)) return saved_fail(fresh, strerror(errno), ERR_IO, where_out);
	/* Never without a whole file under one of the two names. */
	unlink(old);
	if (link(path, old) != 0 && errno != ENOENT && rename(path, old) != 0)
		return saved_fail(old, strerror(errno), ERR_IO, where_out);
	if (rename(fresh, path) != 0) return saved_fail(path, strerror(errno), ERR_IO, where_out);
	disk_sync_dir_of(path);
	return ERR_NONE;
}

/* Check the header and cut it off. */
static bool unwrap(struct scratch *file)
{
	unsigned long crc;
	size_t length;
	char header[HEADER_MAX];
	const char *end = memchr(file->p, '\n', file->n < HEADER_MAX ? file->n : HEADER_MAX - 1);
	if (!end) return false;
	size_t n = (size_t)(end - file->p) + 1;
	memcpy(header, file->p, n);
	header[n - 1] = 0;
	if (sscanf(header, "twinring-saved 1 %8lx %zu", &crc, &length) != 2) return false;
	if (length != file->n - n) return false;
	if (crc32_z(0, (const unsigned char *)file->p + n, length) != crc) return false;
	memmove(file->p, file->p + n, length);
	file->n = length;
	return true;
}

enum err saved_read(const char *path, enum saved_generation g, struct scratch *body_out,
		    uint64_t *age_s_out, struct err_at *where_out)
{
	static const char *const suffixes[SAVED_GENERATIONS] = { "", ".old" };
	char name[DISK_PATH_MAX];
	time_t written = 0, now = time(NULL);
	snprintf(name, sizeof(name), "%s%s", path, suffixes[g]);
	scratch_clear(body_out);
	if (!disk_read(name, SAVED_MAX_BYTES, body_out, &written))
		return saved_fail(name, strerror(errno),
				  errno == ENOENT ? ERR_UNKNOWN_NAME : ERR_INVALID, where_out);
	if (body_out->n == 0 || !unwrap(body_out))
		return saved_fail(name, "it is damaged", ERR_INVALID, where_out);
	if (age_s_out) *age_s_out = (uint64_t)(now > written ? now - written : written - now);
	return ERR_NONE;
}

void saved_touch(const char *path)
{
	utimensat(AT_FDCWD, path, NULL, 0);
}
