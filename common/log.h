/* log.h - one line per event, to stderr or a file.
 *
 *	[2024-01-31 12:00:00.123] warn destination: 10.0.0.1:11211: Connection refused
 *
 * The component is the name of the source file. Control characters are escaped, so that what a
 * client sent cannot forge a line. A line is written with one write(2) of at most LOG_LINE_MAX
 * bytes, and is dropped (and counted) rather than blocking the thread when nobody reads the pipe.
 *
 * Threads: any, at any time. The log is the one thing in a process that is global on purpose.
 * Errors:  logging itself never fails; opening returns why, with errno set.
 */
#ifndef TWINRING_COMMON_LOG_H
#define TWINRING_COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* twemproxy's scale; 0 to 7 are syslog's. */
enum log_level {
	LOG_LEVEL_EMERG,
	LOG_LEVEL_ALERT,
	LOG_LEVEL_CRIT,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_VERB,
	LOG_LEVEL_VVERB,
	LOG_LEVEL_VVVERB,
	LOG_LEVEL_PVERB,
	LOG_LEVEL_MAX = LOG_LEVEL_PVERB
};

/* PIPE_BUF: a longer write to a pipe could be torn apart by another process's. */
enum { LOG_LINE_MAX = 4096 };
/* One call site writes so many lines a second; the rest are counted and summed up in one line.
 * Levels from DEBUG on are not limited: whoever turns them on wants them all. */
enum { LOG_SITE_LINES_PER_S = 10 };

/* Log to the file `path` (appended to), or to stderr when NULL. Until then: stderr, NOTICE.
 * Levels are clamped to 0..11. On error the log stays where it was. */
enum err log_open(const char *path, int level);
/* Open the same path again, after it was renamed. On error the old file stays in use. */
enum err log_reopen(void);
/* Write what is still to be said about suppressed repeats; main calls it about once a second. */
void log_flush(void);
/* Flush, go back to stderr and close the file. */
void log_close(void);

void log_level_set(int level);
/* Returns the level that is in force now. */
int log_level_add(int delta);
int log_level_get(void);

/* One place in the source that logs; guarded by the log's own lock. */
struct log_site {
	const char *file; /* base name, with ".c" */
	int level;
	uint32_t lines;	     /* in the current second */
	uint32_t suppressed; /* not yet told of       */
	uint64_t second;     /* monotonic             */
	struct log_site *next_noisy;
};

void log_write(struct log_site *site, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

extern int log_level_now; /* private: read it through log_on() */

static inline bool log_on(int level)
{
	return level <= __atomic_load_n(&log_level_now, __ATOMIC_RELAXED);
}

#define log_at(lvl, ...)                                                                \
	do {                                                                            \
		if (log_on(lvl)) {                                                      \
			static struct log_site log_site_here = { .file = __FILE_NAME__, \
								 .level = (lvl) };      \
			log_write(&log_site_here, __VA_ARGS__);                         \
		}                                                                       \
	} while (0)

#define log_crit(...)	log_at(LOG_LEVEL_CRIT, __VA_ARGS__)
#define log_error(...)	log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)	log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...) log_at(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)	log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
