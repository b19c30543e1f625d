/* clock_shift.c - the wall clock as the tests want it: loaded before the program under test, adds
 * the microseconds in the file CLOCK_SHIFT_FILE (8 bytes, native order) to every reading.
 *
 * The monotonic clock stays as it is: a step of the real wall clock does not move it either.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift_us;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("CLOCK_SHIFT_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	real_clock_gettime =
	    (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	if (fd < 0 || !real_clock_gettime) abort();
	shift_us = mmap(NULL, sizeof(*shift_us), PROT_READ, MAP_SHARED, fd, 0);
	if (shift_us == MAP_FAILED) abort();
	close(fd);
}

static int is_wall(clockid_t id)
{
	return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (!real_clock_gettime) begin();
	int rc = real_clock_gettime(id, ts);
	if (rc != 0 || !is_wall(id)) return rc;
	int64_t ns = (int64_t)ts->tv_nsec + *shift_us % 1000000 * 1000;
	ts->tv_sec += *shift_us / 1000000;
	if (ns < 0) ns += 1000000000, ts->tv_sec--;
	if (ns >= 1000000000) ns -= 1000000000, ts->tv_sec++;
	ts->tv_nsec = ns;
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;
	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &ts) != 0) return -1;
	*tv = (struct timeval){ ts.tv_sec, ts.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *out)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (out) *out = ts.tv_sec;
	return ts.tv_sec;
}
