#include "common/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { HEADER_MAX = 64, PATH_BYTES = 4096 };
#define HEADER "twinring-saved 1 %08lx %zu\n"

static enum err saved_fail(const char *path, const char *why, enum err e, struct err_at *where_out)
{
	snprintf(where_out->where, sizeof(where_out->where), "%.159s", path);
	snprintf(where_out->why, sizeof(where_out->why), "%s", why);
	return e;
}

static bool write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR) continue;
		if (done <= 0) return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

/* A rename is only safe on disk once the directory is. */
static void sync_directory_of(const char *path)
{
	char copy[PATH_BYTES];
	snprintf(copy, sizeof(copy), "%s", path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return;
	fsync(fd);
	close(fd);
}

static bool write_new(const char *path, struct slice body)
{
	char header[HEADER_MAX];
	int n = snprintf(header, sizeof(header), HEADER,
			 crc32_z(0, (const unsigned char *)body.p, body.n), body.n);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) return false;
	bool good =
	    write_all(fd, header, (size_t)n) && write_all(fd, body.p, body.n) && fsync(fd) == 0;
	return close(fd) == 0 && good;
}

enum err saved_write(const char *path, struct slice body, struct err_at *where_out)
{
	char fresh[PATH_BYTES], old[PATH_BYTES];
	if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh))
		return saved_fail(path, "the path is too long", ERR_INVALID, where_out);
	snprintf(old, sizeof(old), "%s.old", path);
	if (!write_new(fresh, body)) {
		enum err e = saved_fail(fresh, strerror(errno), ERR_IO, where_out);
		unlink(fresh);
		return e;
	}
	/* Never without a whole file under one of the two names. */
	unlink(old);
	if (link(path, old) != 0 && errno != ENOENT && rename(path, old) != 0)
		return saved_fail(old, strerror(errno), ERR_IO, where_out);
	if (rename(fresh, path) != 0) return saved_fail(path, strerror(errno), ERR_IO, where_out);
	sync_directory_of(path);
	return ERR_NONE;
}

/* The whole file at `path` into *out; false: errno says why, 0: it is damaged. */
static bool read_whole(const char *path, struct scratch *out, uint64_t *age_s_out)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return false;
	scratch_clear(out);
	errno = 0;
	bool good = fstat(fd, &st) == 0 && st.st_size <= SAVED_MAX_BYTES;
	while (good && out->n < (size_t)st.st_size) {
		char *to = scratch_reserve(out, (size_t)st.st_size - out->n + 1);
		ssize_t n = read(fd, to, (size_t)st.st_size - out->n);
		if (n <= 0) break;
		out->n += (size_t)n;
	}
	close(fd);
	if (!good) return false;
	time_t now = time(NULL);
	*age_s_out = now > st.st_mtime ? (uint64_t)(now - st.st_mtime) : 0;
	return true;
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

enum err saved_read(const char *path, struct scratch *body_out, uint64_t *age_s_out,
		    struct err_at *where_out)
{
	static const char *const suffixes[] = { "", ".old" };
	char name[PATH_BYTES];
	uint64_t age_s = 0;
	enum err e = ERR_UNKNOWN_NAME;
	where_out->why[0] = 0;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		if (read_whole(name, body_out, &age_s) && body_out->n > 0 && unwrap(body_out)) {
			if (age_s_out) *age_s_out = age_s;
			return ERR_NONE;
		}
		if (errno == ENOENT) continue;
		e = saved_fail(name, errno ? strerror(errno) : "it is damaged", ERR_INVALID,
			       where_out);
	}
	return e;
}
