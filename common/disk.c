#include "common/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The errno of before, which says what is wrong. */
static bool disk_fail(int fd)
{
	int saved = errno;
	if (fd >= 0) close(fd);
	errno = saved;
	return false;
}

bool disk_read(const char *path, size_t max, struct scratch *out, time_t *mtime_out)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) != 0) return disk_fail(fd);
	size_t size = (size_t)st.st_size, start = out->n;
	bool regular = S_ISREG(st.st_mode);
	errno = regular ? EFBIG : EINVAL;
	if (!regular || size > max) return disk_fail(fd);
	while (out->n - start < size) {
		char *to = scratch_reserve(out, size - (out->n - start));
		ssize_t n = read(fd, to, size - (out->n - start));
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return disk_fail(fd);
		if (n == 0) break;
		out->n += (size_t)n;
	}
	close(fd);
	if (mtime_out) *mtime_out = st.st_mtime;
	return true;
}

static bool disk_write_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t done = write(fd, s.p, s.n);
		if (done < 0 && errno == EINTR) continue;
		if (done <= 0) return false;
		s.p += done;
		s.n -= (size_t)done;
	}
	return true;
}

bool disk_write(const char *path, const struct slice *parts, uint32_t count, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) return false;
	bool good = fchmod(fd, mode) == 0;
	for (uint32_t i = 0; i < count; i++) good = good && disk_write_all(fd, parts[i]);
	good = good && fsync(fd) == 0;
	if (!good) disk_fail(fd);
	else good = close(fd) == 0;
	if (good) return true;
	int saved = errno;
	unlink(path);
	errno = saved;
	return false;
}

void disk_sync_dir_of(const char *path)
{
	char copy[DISK_PATH_MAX];
	snprintf(copy, sizeof(copy), "%s", path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return;
	fsync(fd);
	close(fd);
}

bool disk_replace(const char *path, struct slice body, mode_t mode)
{
	char fresh[DISK_PATH_MAX];
	errno = ENAMETOOLONG;
	if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh)) return false;
	if (!disk_write(fresh, &body, 1, mode)) return false;
	if (rename(fresh, path) != 0) {
		int saved = errno;
		unlink(fresh);
		errno = saved;
		return false;
	}
	disk_sync_dir_of(path);
	return true;
}
