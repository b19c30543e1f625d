/* counters.h - what counters.so counts in a proxy that was started with it (LD_PRELOAD), in a file
 * named by BENCH_COUNTERS which both map: an array of uint64_t in the order of COUNTERS.
 *
 * Only calls across libraries are seen: what libc does within itself is not.
 */
#ifndef TESTS_BENCH_COUNTERS_H
#define TESTS_BENCH_COUNTERS_H

#define COUNTERS(X)                                                                 \
	X(allocations)	/* malloc, calloc, realloc, aligned                    */   \
	X(frees)	/* of anything but NULL                                */   \
	X(locks)	/* mutexes, spinlocks and rwlocks taken                */   \
	X(large_copies) /* memcpy, memmove of more than 1 KiB              */       \
	X(large_copied) /* bytes of these                                  */       \
	X(reads)	/* read, readv, recv, recvfrom, recvmsg                */   \
	X(writes)	/* write, writev, send, sendto, sendmsg                */   \
	X(waits)	/* epoll_wait, epoll_pwait, poll, select               */   \
	X(epoll_ctls)                                                               \
	X(clocks)     /* clock_gettime, gettimeofday, time: most enter no kernel */ \
	X(peer_names) /* getpeername, getsockname                            */     \
	X(pauses)     /* nanosleep, usleep                                   */

enum counter {
#define X(name) COUNTER_##name,
	COUNTERS(X)
#undef X
	    COUNTER_COUNT
};

#endif
