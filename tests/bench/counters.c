/* counters.c - a library for LD_PRELOAD: calls that ought not to happen per request, counted. */
/* The system's headers have reserved names for parameters.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
#include "tests/bench/counters.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { LARGE = 1024 };

static uint64_t unmapped[COUNTER_COUNT]; /* until, or unless, there is a file */
static uint64_t *counts = unmapped;

static void count(enum counter c, uint64_t n)
{
	__atomic_fetch_add(&counts[c], n, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void counters_map(void)
{
	const char *path = getenv("BENCH_COUNTERS");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd < 0 || ftruncate(fd, sizeof(unmapped)) < 0) return;
	void *p = mmap(NULL, sizeof(unmapped), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED) counts = p;
}

/* --- memory ----------------------------------------------------------------------------------- */

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
extern void __libc_free(void *p);

void *malloc(size_t n)
{
	count(COUNTER_allocations, 1);
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	count(COUNTER_allocations, 1);
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	count(COUNTER_allocations, 1);
	return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	count(COUNTER_allocations, 1);
	return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	*p = aligned_alloc(align, n);
	return *p ? 0 : 12; /* ENOMEM */
}

void free(void *p)
{
	if (p) count(COUNTER_frees, 1);
	__libc_free(p);
}

/* --- copies ----------------------------------------------------------------------------------- */

/* Ours, so that it may be called before anything can be looked up. */
static void *copy(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;
	if (n > LARGE) {
		count(COUNTER_large_copies, 1);
		count(COUNTER_large_copied, n);
	}
	if (t <= f)
		for (size_t i = 0; i < n; i++) ((volatile char *)t)[i] = f[i];
	else
		for (size_t i = n; i-- > 0;) ((volatile char *)t)[i] = f[i];
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	return copy(to, from, n);
}

void *memmove(void *to, const void *from, size_t n)
{
	return copy(to, from, n);
}

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room);
void *__memcpy_chk(void *to, const void *from, size_t n, size_t room)
{
	if (n > room) abort();
	return copy(to, from, n);
}

void *__memmove_chk(void *to, const void *from, size_t n, size_t room);
void *__memmove_chk(void *to, const void *from, size_t n, size_t room)
{
	if (n > room) abort();
	return copy(to, from, n);
}

/* --- all others: count and pass on ------------------------------------------------------------ */

#define PASS(counter, type, name, params, args)                       \
	type name params                                              \
	{                                                             \
		static type(*next) params;                            \
		if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name); \
		count(COUNTER_##counter, 1);                          \
		return next args;                                     \
	}

PASS(locks, int, pthread_mutex_lock, (pthread_mutex_t * m), (m))
PASS(locks, int, pthread_mutex_trylock, (pthread_mutex_t * m), (m))
PASS(locks, int, pthread_spin_lock, (pthread_spinlock_t * m), (m))
PASS(locks, int, pthread_rwlock_rdlock, (pthread_rwlock_t * m), (m))
PASS(locks, int, pthread_rwlock_wrlock, (pthread_rwlock_t * m), (m))

PASS(reads, ssize_t, read, (int fd, void *p, size_t n), (fd, p, n))
PASS(reads, ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n))
PASS(reads, ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags))
PASS(reads, ssize_t, recvfrom,
     (int fd, void *restrict p, size_t n, int flags, struct sockaddr *restrict a,
      socklen_t *restrict len),
     (fd, p, n, flags, a, len))
PASS(reads, ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
PASS(writes, ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n))
PASS(writes, ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
PASS(writes, ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags))
PASS(writes, ssize_t, sendto,
     (int fd, const void *p, size_t n, int flags, const struct sockaddr *a, socklen_t len),
     (fd, p, n, flags, a, len))
PASS(writes, ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
PASS(waits, int, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms))
PASS(waits, int, epoll_pwait, (int fd, struct epoll_event *e, int n, int ms, const sigset_t *mask),
     (fd, e, n, ms, mask))
PASS(waits, int, epoll_pwait2,
     (int fd, struct epoll_event *e, int n, const struct timespec *t, const sigset_t *mask),
     (fd, e, n, t, mask))
PASS(waits, int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
PASS(waits, int, select,
     (int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e,
      struct timeval *restrict t),
     (n, r, w, e, t))
PASS(epoll_ctls, int, epoll_ctl, (int fd, int op, int on, struct epoll_event *e), (fd, op, on, e))
PASS(clocks, int, clock_gettime, (clockid_t c, struct timespec *t), (c, t))
PASS(clocks, int, gettimeofday, (struct timeval *restrict t, void *restrict z), (t, z))
PASS(clocks, time_t, time, (time_t * t), (t))
PASS(peer_names, int, getpeername, (int fd, struct sockaddr *restrict a, socklen_t *restrict len),
     (fd, a, len))
PASS(peer_names, int, getsockname, (int fd, struct sockaddr *restrict a, socklen_t *restrict len),
     (fd, a, len))
PASS(pauses, int, nanosleep, (const struct timespec *t, struct timespec *left), (t, left))
PASS(pauses, int, usleep, (useconds_t us), (us))

/* Calls that pass the library's own functions by. All have six arguments or fewer, each a word. */
long syscall(long number, ...)
{
	static long (*next)(long, ...);
	static const struct {
		long number;
		enum counter counter;
	} known[] = { { SYS_read, COUNTER_reads },	    { SYS_recvfrom, COUNTER_reads },
		      { SYS_recvmsg, COUNTER_reads },	    { SYS_write, COUNTER_writes },
		      { SYS_sendto, COUNTER_writes },	    { SYS_sendmsg, COUNTER_writes },
		      { SYS_epoll_ctl, COUNTER_epoll_ctls } };
	long a[6];
	va_list args;
	va_start(args, number);
	for (int i = 0; i < 6; i++) a[i] = va_arg(args, long);
	va_end(args);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].number == number) count(known[i].counter, 1);
	if (!next) *(void **)&next = dlsym(RTLD_NEXT, "syscall");
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
