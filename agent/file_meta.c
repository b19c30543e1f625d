#include "agent/file_meta.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/clock.h"

enum { FILE_LOCK_TRIES = 500, FILE_LOCK_PAUSE_US = 1000, FILE_LINE_MAX = STORE_PATH_MAX + 256 };

/* Of the directory it lies in: root's tools work on the agent's files. */
static void file_adopt(int fd, const char *like)
{
	struct stat st;
	if (stat(like, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) != 0)
		return; /* only root may */
}

static int file_make_dir(const char *name, const char *like)
{
	if (mkdir(name, 0750) != 0) return errno == EEXIST ? 0 : errno;
	int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return errno;
	file_adopt(fd, like);
	close(fd);
	return 0;
}

int file_hidden_make(const char *dir)
{
	static const char *const parts[] = { "", "/meta", "/sessions" };
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		char name[FILE_PATH_MAX];
		snprintf(name, sizeof(name), "%s/" FILE_HIDDEN "%s", dir, parts[i]);
		int rc = file_make_dir(name, dir);
		if (rc) return rc;
	}
	return 0;
}

/* --- the lock and its counter --------------------------------------------------------------------
 */

enum store_rc file_lock(const char *dir, int *fd_out)
{
	char name[FILE_PATH_MAX];
	snprintf(name, sizeof(name), "%s/" FILE_HIDDEN "/lock", dir);
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0) return errno == ENOENT ? STORE_AWAY : STORE_REFUSED;
	struct stat st;
	if (fstat(fd, &st) == 0 && st.st_size == 0) file_adopt(fd, dir);
	/* held for a few writes; who holds it for long has been stopped in the middle */
	for (int i = 0; i < FILE_LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			*fd_out = fd;
			return STORE_OK;
		}
		if (errno != EWOULDBLOCK && errno != EINTR) break;
		usleep(FILE_LOCK_PAUSE_US);
	}
	close(fd);
	return STORE_AWAY;
}

int64_t file_next_zxid(int lock_fd)
{
	char text[32] = "";
	if (pread(lock_fd, text, sizeof(text) - 1, 0) < 0) text[0] = '\0';
	int64_t last = strtoll(text, NULL, 10), now = (int64_t)clock_wall_us();
	int64_t next = last >= now ? last + 1 : now;
	int n = snprintf(text, sizeof(text), "%020lld\n", (long long)next);
	/* on a full disk the wall clock still carries it on */
	if (pwrite(lock_fd, text, (size_t)n, 0) != n) return next;
	return next;
}

/* --- a line for each node ------------------------------------------------------------------------
 */

static void file_meta_name(const char *dir, const char *path, char out[FILE_PATH_MAX])
{
	XXH128_hash_t h = XXH3_128bits(path, strlen(path));
	snprintf(out, FILE_PATH_MAX, "%s/" FILE_HIDDEN "/meta/%016llx%016llx", dir,
		 (unsigned long long)h.high64, (unsigned long long)h.low64);
}

/* The whole file, or false. */
static bool file_read_line(const char *name, char line[FILE_LINE_MAX])
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return false;
	ssize_t n = read(fd, line, FILE_LINE_MAX - 1);
	close(fd);
	if (n <= 0 || line[n - 1] != '\n')
		return false; /* torn by a crash: as if there were none */
	line[n - 1] = '\0';
	return true;
}

/* The path in the line, or NULL. */
static const char *file_meta_parse(const char *line, struct file_meta *m)
{
	long long mzxid, czxid, mtime_ns;
	unsigned long long size, hash;
	int path_at = 0;
	if (sscanf(line, "%d %lld %lld %lld %llu %llx %u %47s %n", &m->version, &mzxid, &czxid,
		   &mtime_ns, &size, &hash, &m->next, m->owner, &path_at) != 8 ||
	    !path_at)
		return NULL;
	m->mzxid = mzxid;
	m->czxid = czxid;
	m->mtime_ns = mtime_ns;
	m->size = size;
	m->hash = hash;
	if (strcmp(m->owner, "-") == 0) m->owner[0] = '\0';
	return line[path_at] == '/' ? line + path_at + 1 : NULL;
}

bool file_meta_read(const char *dir, const char *path, struct file_meta *out)
{
	char name[FILE_PATH_MAX], line[FILE_LINE_MAX];
	file_meta_name(dir, path, name);
	if (!file_read_line(name, line)) return false;
	const char *of = file_meta_parse(line, out);
	return of && strcmp(of, path) == 0;
}

bool file_meta_write(const char *dir, const char *path, const struct file_meta *m)
{
	char name[FILE_PATH_MAX], tmp[FILE_PATH_MAX], line[FILE_LINE_MAX];
	file_meta_name(dir, path, name);
	snprintf(tmp, sizeof(tmp), "%s/" FILE_HIDDEN "/tmp", dir);
	int n = snprintf(line, sizeof(line), "%d %lld %lld %lld %llu %llx %u %s /%s\n", m->version,
			 (long long)m->mzxid, (long long)m->czxid, (long long)m->mtime_ns,
			 (unsigned long long)m->size, (unsigned long long)m->hash, m->next,
			 *m->owner ? m->owner : "-", path);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0) return false;
	file_adopt(fd, dir);
	bool ok = write(fd, line, (size_t)n) == n;
	close(fd);
	return ok && rename(tmp, name) == 0;
}

void file_meta_remove(const char *dir, const char *path)
{
	char name[FILE_PATH_MAX];
	file_meta_name(dir, path, name);
	unlink(name);
}

void file_meta_each_of(const char *dir, const char *owner, void (*fn)(void *ctx, const char *path),
		       void *ctx)
{
	char name[FILE_PATH_MAX], line[FILE_LINE_MAX];
	snprintf(name, sizeof(name), "%s/" FILE_HIDDEN "/meta", dir);
	DIR *d = opendir(name);
	if (!d) return;
	for (struct dirent *e; (e = readdir(d));) {
		struct file_meta m;
		snprintf(name, sizeof(name), "%s/" FILE_HIDDEN "/meta/%s", dir, e->d_name);
		const char *path = NULL;
		if (e->d_name[0] != '.' && file_read_line(name, line))
			path = file_meta_parse(line, &m);
		if (path && strcmp(m.owner, owner) == 0) fn(ctx, path);
	}
	closedir(d);
}

/* --- contents ------------------------------------------------------------------------------------
 */

static int file_fill(int fd, struct slice data, const char *old, const char *dir,
		     int64_t *mtime_ns_out)
{
	struct stat st;
	if (stat(old, &st) == 0) {
		if (fchmod(fd, st.st_mode & 07777) != 0) return errno;
		file_adopt(fd, old);
	} else {
		file_adopt(fd, dir);
	}
	for (size_t at = 0; at < data.n;) {
		ssize_t n = write(fd, data.p + at, data.n - at);
		if (n < 0 && errno != EINTR) return errno;
		if (n > 0) at += (size_t)n;
	}
	if (fsync(fd) != 0 || fstat(fd, &st) != 0) return errno;
	*mtime_ns_out = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return 0;
}

static void file_sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return;
	fsync(fd);
	close(fd);
}

int file_write(const char *name, struct slice data, int64_t *mtime_ns_out)
{
	char real[PATH_MAX], dir[FILE_PATH_MAX], tmp[FILE_PATH_MAX + sizeof(FILE_TMP_NAME)];
	if (realpath(name, real)) name = real;
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(name, '/') - name), name);
	/* one name is enough: there is one writer, and what a crash leaves is overwritten */
	snprintf(tmp, sizeof(tmp), "%s/" FILE_TMP_NAME, dir);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0) return errno;
	int rc = file_fill(fd, data, name, dir, mtime_ns_out);
	close(fd);
	if (rc == 0 && rename(tmp, name) != 0) rc = errno;
	if (rc) unlink(tmp);
	else file_sync_dir(dir);
	return rc;
}
