/* moderate.h - how long a worker pauses before it looks for more, as a network card moderates its
 * interrupts: when much is in flight and a turn brought little, a short pause lets more arrive, and
 * each system call does more. It lowers the cost of a request and, under load, its latency too;
 * at light load it never happens.
 */
#ifndef TWINRING_PROXY_MODERATE_H
#define TWINRING_PROXY_MODERATE_H

#include <stdint.h>

enum {
	MODERATE_IN_FLIGHT = 12, /* under less load than this a reply is never held up            */
	MODERATE_REPLIES = 16,	 /* a turn that brought so many was worth its system calls        */
	MODERATE_DEPTH = 2,	/* requests in flight per client for which the pause is as set... */
	MODERATE_TIMES_MAX = 4, /* ...and how often as long it gets, in proportion to more       */
};

/* -> us, 0: none. us: the setting `moderation_us`; replies: of this turn. Where clients pipeline,
 * replies for one of them leave together, so that a longer pause saves writes; and the more is in
 * flight, the longer each of it takes anyway. Where each client awaits one reply, a longer pause
 * saves no write and costs throughput. */
static inline uint32_t moderate_pause_us(uint32_t us, uint32_t in_flight, uint32_t clients,
					 uint32_t replies)
{
	uint64_t depth = in_flight / (clients ? clients : 1);
	uint64_t most = MODERATE_DEPTH * MODERATE_TIMES_MAX;
	if (in_flight < MODERATE_IN_FLIGHT || replies >= MODERATE_REPLIES) return 0;
	if (depth < MODERATE_DEPTH) depth = MODERATE_DEPTH;
	if (depth > most) depth = most;
	return (uint32_t)(us * depth / MODERATE_DEPTH);
}

#endif
