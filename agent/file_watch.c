#include "agent/file_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/log.h"

enum {
	FILE_WATCH_MASK = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY |
			  IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR,
	/* of the directory that the tree lies in, only whether the tree is another one now */
	FILE_WATCH_PARENT = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR,
};

/* What happens beside the tree, and what a store does for itself, is nobody's business. */
static bool file_watch_cares(const struct file_watch *w, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW || !e->len) return true;
	const char *base = strrchr(w->dir, '/');
	base = base ? base + 1 : w->dir;
	if (e->wd == w->parent_wd) return strcmp(e->name, base) == 0;
	return strncmp(e->name, FILE_HIDDEN, sizeof(FILE_HIDDEN) - 1) != 0;
}

static void file_watch_on_read(int fd, short what, void *owner)
{
	(void)what;
	struct file_watch *w = owner;
	char buffer[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool cares = false;
	for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
		for (char *p = buffer; p < buffer + n;) {
			const struct inotify_event *e = (const struct inotify_event *)p;
			cares |= file_watch_cares(w, e);
			p += sizeof(*e) + e->len;
		}
	}
	if (cares) w->on_event(w->ctx);
}

bool file_watch_init(struct file_watch *w, struct io_loop *l, const char *dir,
		     void (*on_event)(void *ctx), void *ctx)
{
	*w = (struct file_watch){ .dir = dir, .on_event = on_event, .ctx = ctx, .parent_wd = -1 };
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0) return false;
	io_watch_init(&w->watch, l, w->fd, file_watch_on_read, w);
	io_watch_set(&w->watch, IO_READ);
	return true;
}

void file_watch_fini(struct file_watch *w)
{
	if (w->fd < 0) return;
	io_watch_stop(&w->watch);
	close(w->fd);
	free(w->wds);
	free(w->old);
	w->fd = -1;
}

static int file_watch_dir(struct file_watch *w, const char *name, uint32_t mask)
{
	int wd = inotify_add_watch(w->fd, name, mask);
	if (wd < 0) {
		/* what is not there yet is noticed from above; else the caller's slow look does */
		if (errno == ENOSPC || errno == ENOMEM)
			log_warn("%s: cannot be watched: %s", name, strerror(errno));
		return -1;
	}
	if (w->count == w->room) {
		w->room = w->room ? 2 * w->room : 64;
		w->wds = realloc(w->wds, w->room * sizeof(*w->wds));
		if (!w->wds) abort();
	}
	w->wds[w->count++] = wd;
	return wd;
}

void file_watch_add(struct file_watch *w, const char *path)
{
	char name[FILE_PATH_MAX];
	const char *slash = strrchr(w->dir, '/');
	snprintf(name, sizeof(name), "%.*s", slash ? (int)(slash - w->dir) : 1,
		 slash ? w->dir : ".");
	w->parent_wd = file_watch_dir(w, *name ? name : "/", FILE_WATCH_PARENT);
	int n = snprintf(name, sizeof(name), "%s/%s", w->dir, path);
	for (char *p = name + strlen(w->dir); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		file_watch_dir(w, name, FILE_WATCH_MASK);
		*p = '/';
	}
	if (n > 0 && *path)
		file_watch_dir(w, name, FILE_WATCH_MASK); /* nothing, when it is a file */
}

/* --- rounds --------------------------------------------------------------------------------------
 */

static int file_watch_order(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return (x > y) - (x < y);
}

void file_watch_begin(struct file_watch *w)
{
	int *wds = w->old;
	size_t room = w->old_room;
	w->old = w->wds;
	w->old_count = w->count;
	w->old_room = w->room;
	w->wds = wds;
	w->count = 0;
	w->room = room;
}

void file_watch_end(struct file_watch *w)
{
	if (w->count) qsort(w->wds, w->count, sizeof(*w->wds), file_watch_order);
	if (w->old_count) qsort(w->old, w->old_count, sizeof(*w->old), file_watch_order);
	size_t kept = 0;
	for (size_t i = 0; i < w->count; i++) {
		if (!kept || w->wds[i] != w->wds[kept - 1]) w->wds[kept++] = w->wds[i];
	}
	w->count = kept;
	for (size_t i = 0, at = 0; i < w->old_count; i++) {
		while (at < w->count && w->wds[at] < w->old[i]) at++;
		if (i && w->old[i] == w->old[i - 1]) continue;
		if (at == w->count || w->wds[at] != w->old[i])
			inotify_rm_watch(w->fd, w->old[i]); /* may be gone with its directory */
	}
}
