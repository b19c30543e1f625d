#include "agent/run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"

/* Many files change when a proxy starts; one look is enough. */
enum { SETTLE_US = 2000 };
/* IN_MODIFY: a lock file that was left behind gets the process id of its new holder. */
#define WATCHED                                                                             \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_DELETE_SELF | \
	 IN_MOVE_SELF | IN_ONLYDIR)

struct run_dir {
	char *path;
	int fd; /* inotify; -1: there is only the rescan */
	int wd; /* -1: not watched yet */
	struct io_watch watch;
	struct io_timer timer; /* the next look: soon after an event, else the rescan */
	bool soon;
	uint32_t rescan_ms;
	void (*fn)(void *ctx);
	void *ctx;
};

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);
	return n > k && strcmp(name + n - k, suffix) == 0;
}

/* --- watching --------------------------------------------------------------------------------- */

/* The directory at the path may be another one than before, or be there at last. */
static void run_dir_rewatch(struct run_dir *d)
{
	if (d->fd < 0) return;
	int wd = inotify_add_watch(d->fd, d->path, WATCHED);
	if (d->wd >= 0 && wd != d->wd) inotify_rm_watch(d->fd, d->wd);
	d->wd = wd;
}

static void run_dir_on_timer(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct run_dir *d = owner;
	d->soon = false;
	run_dir_rewatch(d); /* before the look, so that nothing falls between */
	io_timer_set(&d->timer, d->rescan_ms * 1000ULL);
	d->fn(d->ctx);
}

static bool run_dir_concerns(struct run_dir *d, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW) return true;
	if (e->wd != d->wd) return false;
	if (e->mask & IN_IGNORED) d->wd = -1;
	if (e->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) return true;
	return e->len && (has_suffix(e->name, ".sock") || has_suffix(e->name, ".lock"));
}

static void run_dir_on_inotify(int fd, short what, void *owner)
{
	(void)what;
	struct run_dir *d = owner;
	char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;
	bool concerns = false;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
		const struct inotify_event *e;
		for (const char *p = bytes; p < bytes + n; p += sizeof(*e) + e->len) {
			e = (const struct inotify_event *)(const void *)p;
			if (run_dir_concerns(d, e)) concerns = true;
		}
	}
	if (!concerns || d->soon) return;
	d->soon = true;
	io_timer_set(&d->timer, SETTLE_US);
}

/* --- looking ---------------------------------------------------------------------------------- */

bool run_dir_names(const struct run_dir *d, void (*each)(void *ctx, const char *name), void *ctx)
{
	DIR *dir = opendir(d->path);
	struct dirent *entry;
	if (!dir) return errno == ENOENT;
	while (errno = 0, (entry = readdir(dir))) {
		char name[RUN_DIR_NAME_MAX];
		size_t n = strlen(entry->d_name);
		if (!has_suffix(entry->d_name, ".lock") || n - 5 >= sizeof(name)) continue;
		memcpy(name, entry->d_name, n - 5);
		name[n - 5] = 0;
		each(ctx, name);
	}
	int why = errno;
	closedir(dir);
	errno = why;
	return why == 0;
}

static int lock_pid(int fd)
{
	char text[16];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	long pid = strtol(text, NULL, 10);
	return pid > 0 && pid <= INT_MAX ? (int)pid : 0;
}

static enum run_lock lock_test(int fd, int *pid_out)
{
	struct stat st;
	if (fstat(fd, &st) != 0) return RUN_LOCK_UNKNOWN;
	if (!S_ISREG(st.st_mode)) return RUN_LOCK_FREE;
	*pid_out = lock_pid(fd);
	if (flock(fd, LOCK_SH | LOCK_NB) == 0) return RUN_LOCK_FREE; /* let go of by close() */
	return errno == EWOULDBLOCK ? RUN_LOCK_HELD : RUN_LOCK_UNKNOWN;
}

enum run_lock run_dir_lock(const struct run_dir *d, const char *name, int *pid_out)
{
	char path[PATH_MAX];
	*pid_out = 0;
	snprintf(path, sizeof(path), "%s/%s.lock", d->path, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	/* A symbolic link is no proxy's: none would lock through one. */
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ? RUN_LOCK_FREE
									   : RUN_LOCK_UNKNOWN;
	enum run_lock found = lock_test(fd, pid_out);
	int why = errno;
	close(fd);
	errno = why;
	return found;
}

char *run_dir_socket(const struct run_dir *d, const char *name)
{
	char *path;
	if (asprintf(&path, "%s/%s.sock", d->path, name) < 0) abort();
	return path;
}

/* --- life ------------------------------------------------------------------------------------- */

static void run_dir_start_inotify(struct run_dir *d, struct io_loop *l)
{
	d->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (d->fd < 0) {
		log_warn("no inotify (%s): new proxies are found within %u ms", strerror(errno),
			 d->rescan_ms);
		return;
	}
	io_watch_init(&d->watch, l, d->fd, run_dir_on_inotify, d);
	io_watch_set(&d->watch, IO_READ);
}

enum err run_dir_new(struct io_loop *l, const char *path, uint32_t rescan_ms, void (*fn)(void *ctx),
		     void *ctx, struct run_dir **dir_out, struct err_at *where_out)
{
	struct sockaddr_un un;
	if (!path[0] || strlen(path) + sizeof("/x.sock") > sizeof(un.sun_path)) {
		snprintf(where_out->where, sizeof(where_out->where), "%s", path);
		snprintf(where_out->why, sizeof(where_out->why),
			 "%s for the directory of the proxies' sockets",
			 path[0] ? "too long" : "no path");
		return ERR_INVALID;
	}
	struct run_dir *d = calloc(1, sizeof(*d));
	if (!d || !(d->path = strdup(path))) abort();
	d->wd = -1;
	d->rescan_ms = rescan_ms;
	d->fn = fn;
	d->ctx = ctx;
	run_dir_start_inotify(d, l);
	io_timer_init(&d->timer, l, run_dir_on_timer, d);
	io_timer_set(&d->timer, 0);
	*dir_out = d;
	return ERR_NONE;
}

void run_dir_free(struct run_dir **d)
{
	if (!*d) return;
	io_timer_stop(&(*d)->timer);
	if ((*d)->fd >= 0) {
		io_watch_stop(&(*d)->watch);
		close((*d)->fd);
	}
	free((*d)->path);
	free(*d);
	*d = NULL;
}
