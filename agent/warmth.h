/* warmth.h - how warm the new servers of pools in transition are: of late, how many reads of moving
 * keys did the new servers answer, and how many only the old ones?
 *
 * Proxies tell their counters about once a second. What counts is by how much they have grown,
 * summed up in two halves of a window, of which the older one is dropped when the newer is full.
 * The times that are passed in must not go back.
 */
#ifndef TWINRING_AGENT_WARMTH_H
#define TWINRING_AGENT_WARMTH_H

#include <stdint.h>

enum {
	WARMTH_HALF_MS = 2500,
	WARMTH_GAP_MS = 2500, /* who was silent for longer begins anew */
	/* No read that counts was answered longer ago than this: a report comes in as one, whenever
	 * in the gap before it the reads were. */
	WARMTH_MS = 2 * WARMTH_HALF_MS + WARMTH_GAP_MS,
	WARMTH_READS_MIN = 100,
};

struct warmth;

struct warmth *warmth_new(void);
void warmth_free(struct warmth **w);
/* A proxy's counters of a pool. The first ones, and those after a gap or lower than the last (it
 * was started anew), are only where counting begins. */
void warmth_note(struct warmth *w, const char *pool, const char *proxy, uint64_t hits,
		 uint64_t misses, uint64_t now_ms);
/* Of the reads that found something, so many percent did at the new servers, rounded down; -1:
 * there were fewer than WARMTH_READS_MIN. */
int warmth_percent(struct warmth *w, const char *pool, uint64_t now_ms);

#endif
