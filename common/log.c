#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

int log_level_now = LOG_LEVEL_NOTICE;

/* The process's log. Everything but the level is guarded by `lock`. */
static struct {
	pthread_mutex_t lock;
	int fd;
	char *path;		/* NULL: stderr                                          */
	bool socket;		/* fd is one, so that send(2) can be told not to block   */
	bool journald;		/* stderr is the journal's: lines start with a priority  */
	uint32_t dropped;	/* lines that could not be written                       */
	struct log_site *noisy; /* sites with something suppressed                       */
} the_log = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO };

static const char *const level_names[LOG_LEVEL_MAX + 1] = {
	"emerg", "alert", "crit", "error", "warn",   "notice",
	"info",	 "debug", "verb", "vverb", "vvverb", "pverb",
};

/* --- lines ------------------------------------------------------------------------------------ */

struct line {
	size_t n;
	char bytes[LOG_LINE_MAX];
};

static void line_start(struct line *l, const struct log_site *site, bool journald)
{
	uint64_t wall_us = clock_wall_us();
	time_t seconds = (time_t)(wall_us / 1000000);
	struct tm tm;
	localtime_r(&seconds, &tm);
	l->n = 0;
	if (journald) {
		int priority = site->level < LOG_LEVEL_DEBUG ? site->level : LOG_LEVEL_DEBUG;
		l->n += (size_t)snprintf(l->bytes, sizeof(l->bytes), "<%d>", priority);
	}
	l->n += strftime(l->bytes + l->n, 32, "[%Y-%m-%d %H:%M:%S", &tm);
	int file = (int)strcspn(site->file, ".");
	l->n += (size_t)snprintf(l->bytes + l->n, 128,
				 ".%03u] %s %.*s: ", (unsigned)(wall_us / 1000 % 1000),
				 level_names[site->level], file < 64 ? file : 64, site->file);
}

/* Append text, escaping whatever could end or hide a line; what does not fit is cut off. */
static void line_add(struct line *l, const char *text)
{
	size_t room = sizeof(l->bytes) - 8; /* for one escape, "..." and the newline */
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (l->n >= room) {
			memcpy(l->bytes + l->n, "...", 3);
			l->n += 3;
			return;
		}
		if (*p >= 0x20 && *p != 0x7f) l->bytes[l->n++] = (char)*p;
		else l->n += (size_t)snprintf(l->bytes + l->n, 5, "\\x%02x", *p);
	}
}

/* With the lock held. One write, or none when it would block: a log that is not read must never
 * stop a worker. */
static bool line_write(struct line *l)
{
	l->bytes[l->n++] = '\n';
	ssize_t n;
	if (the_log.socket) {
		n = send(the_log.fd, l->bytes, l->n, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		/* POLLOUT on a pipe means room for PIPE_BUF bytes, and no line is longer. */
		struct pollfd p = { .fd = the_log.fd, .events = POLLOUT };
		if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) return false;
		n = write(the_log.fd, l->bytes, l->n);
	}
	return n >= 0;
}

static void log_put(struct line *l)
{
	if (the_log.dropped) {
		static const struct log_site here = { .file = __FILE_NAME__,
						      .level = LOG_LEVEL_WARN };
		struct line note;
		char text[80];
		snprintf(text, sizeof(text), "%u lines lost: the log could not be written",
			 the_log.dropped);
		line_start(&note, &here, the_log.journald);
		line_add(&note, text);
		if (line_write(&note)) the_log.dropped = 0;
	}
	if (the_log.dropped || !line_write(l)) the_log.dropped++;
}

/* --- repeats ---------------------------------------------------------------------------------- */

static void site_tell(struct log_site *site)
{
	struct line l;
	char text[64];
	snprintf(text, sizeof(text), "%u more like this suppressed", site->suppressed);
	site->suppressed = 0;
	line_start(&l, site, the_log.journald);
	line_add(&l, text);
	log_put(&l);
}

/* Sum up the sites whose second is over; all of them when `second` is UINT64_MAX. */
static void sites_tell(uint64_t second)
{
	for (struct log_site **at = &the_log.noisy; *at;) {
		struct log_site *site = *at;
		if (site->second >= second) {
			at = &site->next_noisy;
			continue;
		}
		*at = site->next_noisy;
		site_tell(site);
	}
}

static bool site_admit(struct log_site *site, uint64_t second)
{
	if (site->level >= LOG_LEVEL_DEBUG) return true;
	if (site->second != second) {
		site->second = second;
		site->lines = 0;
	}
	if (site->lines++ < LOG_SITE_LINES_PER_S) return true;
	if (site->suppressed++ == 0) {
		site->next_noisy = the_log.noisy;
		the_log.noisy = site;
	}
	return false;
}

void log_write(struct log_site *site, const char *format, ...)
{
	int saved = errno;
	uint64_t second = clock_now_us() / 1000000;
	pthread_mutex_lock(&the_log.lock);
	sites_tell(second);
	bool admitted = site_admit(site, second);
	bool journald = the_log.journald;
	pthread_mutex_unlock(&the_log.lock);
	if (admitted) {
		char text[LOG_LINE_MAX];
		struct line l;
		va_list args;
		va_start(args, format);
		errno = saved; /* for %m */
		vsnprintf(text, sizeof(text), format, args);
		va_end(args);
		line_start(&l, site, journald);
		line_add(&l, text);
		pthread_mutex_lock(&the_log.lock);
		log_put(&l);
		pthread_mutex_unlock(&the_log.lock);
	}
	errno = saved;
}

void log_flush(void)
{
	pthread_mutex_lock(&the_log.lock);
	sites_tell(clock_now_us() / 1000000);
	pthread_mutex_unlock(&the_log.lock);
}

/* --- where it goes ---------------------------------------------------------------------------- */

static int log_open_file(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

/* systemd names the journal's socket as device:inode, so that a stderr which was redirected
 * since is told apart. */
static bool log_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2) return false;
	if (fstat(STDERR_FILENO, &st) != 0) return false;
	return st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

/* With the lock held: take `fd` and `path` (owned) in place of what was there. */
static void log_point_at(int fd, char *path)
{
	struct stat st;
	if (the_log.path) {
		close(the_log.fd);
		free(the_log.path);
	}
	the_log.fd = fd;
	the_log.path = path;
	the_log.socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	the_log.journald = !path && log_stderr_is_journal();
}

enum err log_open(const char *path, int level)
{
	int fd = STDERR_FILENO;
	char *copy = NULL;
	if (path) {
		fd = log_open_file(path);
		if (fd < 0) return ERR_IO;
		copy = strdup(path);
		if (!copy) {
			close(fd);
			return ERR_NOMEM;
		}
	}
	pthread_mutex_lock(&the_log.lock);
	log_point_at(fd, copy);
	pthread_mutex_unlock(&the_log.lock);
	log_level_set(level);
	return ERR_NONE;
}

enum err log_reopen(void)
{
	enum err e = ERR_NONE;
	pthread_mutex_lock(&the_log.lock);
	if (the_log.path) {
		int fd = log_open_file(the_log.path);
		if (fd < 0) {
			e = ERR_IO;
		} else {
			close(the_log.fd);
			the_log.fd = fd;
		}
	}
	pthread_mutex_unlock(&the_log.lock);
	return e;
}

void log_close(void)
{
	pthread_mutex_lock(&the_log.lock);
	sites_tell(UINT64_MAX);
	log_point_at(STDERR_FILENO, NULL);
	pthread_mutex_unlock(&the_log.lock);
}

static int log_level_clamp(int level)
{
	if (level < 0) return 0;
	return level > LOG_LEVEL_MAX ? LOG_LEVEL_MAX : level;
}

void log_level_set(int level)
{
	__atomic_store_n(&log_level_now, log_level_clamp(level), __ATOMIC_RELAXED);
}

int log_level_add(int delta)
{
	pthread_mutex_lock(&the_log.lock);
	int level = log_level_clamp(log_level_get() + delta);
	log_level_set(level);
	pthread_mutex_unlock(&the_log.lock);
	return level;
}

int log_level_get(void)
{
	return __atomic_load_n(&log_level_now, __ATOMIC_RELAXED);
}
