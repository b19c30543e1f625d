/* giveway.h - long work beside threads that serve.
 *
 * Where threads share a CPU, one that computes keeps it for a slice of 3 to 4 ms, whoever has been
 * woken meanwhile. Whoever builds a large ring beside a thread that has requests to serve therefore
 * asks, every so often, whether somebody waits: a third of a microsecond when nobody does. (A lower
 * priority would not do: by it, work that others wait for starves on a busy machine.)
 *
 * Threads: any. Never needed for correctness.
 */
#ifndef TWINRING_COMMON_GIVEWAY_H
#define TWINRING_COMMON_GIVEWAY_H

#include <sched.h>
#include <stdint.h>

static inline void give_way(void)
{
	sched_yield();
}

/* In a loop: in every n-th round, where n rounds take some 50 us. */
static inline void give_way_each(uint64_t n, uint64_t round)
{
	if (round % n == n - 1) give_way();
}

#endif
