#include "agent/file_session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/file_node.h"
#include "common/log.h"

static void file_session_name(const char *dir, const char *id, char out[FILE_PATH_MAX])
{
	snprintf(out, FILE_PATH_MAX, "%s/" FILE_HIDDEN "/sessions/%s", dir, id);
}

int file_session_open(struct file_session *s, const char *dir)
{
	*s = (struct file_session){ .fd = -1 };
	int rc = file_hidden_make(dir);
	if (rc) return rc;
	int lock;
	/* a session that others see is locked already */
	enum store_rc held = file_lock(dir, &lock);
	if (held != STORE_OK) return held == STORE_REFUSED ? EACCES : EBUSY;
	char name[FILE_PATH_MAX];
	snprintf(s->id, sizeof(s->id), "%d-%08x%08x", (int)getpid(), arc4random(), arc4random());
	file_session_name(dir, s->id, name);
	s->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (s->fd < 0 || flock(s->fd, LOCK_EX | LOCK_NB) != 0) rc = errno;
	if (rc) {
		if (s->fd >= 0) close(s->fd);
		*s = (struct file_session){ .fd = -1 };
	}
	close(lock);
	return rc;
}

bool file_session_there(const struct file_session *s, const char *dir)
{
	char name[FILE_PATH_MAX];
	struct stat mine, now;
	if (s->fd < 0) return false;
	file_session_name(dir, s->id, name);
	return stat(name, &now) == 0 && fstat(s->fd, &mine) == 0 && now.st_ino == mine.st_ino &&
	       now.st_dev == mine.st_dev;
}

/* --- what a session leaves -----------------------------------------------------------------------
 */

struct file_purge {
	const char *dir;
	int lock_fd;
};

static void file_purge_one(void *ctx, const char *path)
{
	const struct file_purge *p = ctx;
	enum store_rc rc = file_delete_locked(p->dir, path, STORE_ANY_VERSION, p->lock_fd);
	/* somebody's hands were quicker; only the line was left */
	if (rc == STORE_NO_NODE) file_meta_remove(p->dir, path);
	if (rc != STORE_OK && rc != STORE_NO_NODE)
		log_warn("%s/%s: cannot be removed: %s", p->dir, path, store_rc_text(rc));
}

static void file_session_purge(const char *dir, const char *id, int lock_fd)
{
	char name[FILE_PATH_MAX];
	file_meta_each_of(dir, id, file_purge_one, &(struct file_purge){ dir, lock_fd });
	file_session_name(dir, id, name);
	unlink(name);
}

void file_session_close(struct file_session *s, const char *dir)
{
	int lock;
	if (s->fd < 0) return;
	if (file_session_there(s, dir) && file_lock(dir, &lock) == STORE_OK) {
		file_session_purge(dir, s->id, lock);
		close(lock);
	}
	close(s->fd);
	*s = (struct file_session){ .fd = -1 };
}

static bool file_session_dead(const char *dir, const char *id)
{
	char name[FILE_PATH_MAX];
	file_session_name(dir, id, name);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return false;
	bool dead = flock(fd, LOCK_EX | LOCK_NB) == 0;
	close(fd);
	return dead;
}

void file_session_sweep(const struct file_session *s, const char *dir)
{
	char name[FILE_PATH_MAX];
	file_session_name(dir, "", name);
	DIR *d = opendir(name);
	if (!d) return;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.' || strcmp(e->d_name, s->id) == 0) continue;
		int lock;
		if (!file_session_dead(dir, e->d_name)) continue;
		if (file_lock(dir, &lock) != STORE_OK) break;
		/* again: it may have been just about to take its own lock */
		if (file_session_dead(dir, e->d_name)) file_session_purge(dir, e->d_name, lock);
		close(lock);
	}
	closedir(d);
}
