/* hist.h - log-linear latency histogram: 16 linear steps per power of two, so that any value is
 * known to within 6.25 %. Values are microseconds, 0 .. 2^26 (67 s); larger ones count as that.
 *
 * Threads: as metric.h: one writer, readers sum. The idea is that of HdrHistogram (Tene).
 */
#ifndef TWINRING_COMMON_HIST_H
#define TWINRING_COMMON_HIST_H

#include <stdint.h>

#include "common/metric.h"

enum { HIST_STEP_BITS = 4, HIST_MAX_BITS = 26 };
enum { HIST_BUCKETS = (HIST_MAX_BITS - HIST_STEP_BITS + 1) << HIST_STEP_BITS };

struct hist {
	uint64_t sum_us;
	uint64_t bucket[HIST_BUCKETS];
};

static inline uint32_t hist_bucket(uint64_t us)
{
	if (us < (1u << HIST_STEP_BITS)) return (uint32_t)us;
	if (us >> HIST_MAX_BITS) return HIST_BUCKETS - 1;
	uint32_t shift = 63u - (uint32_t)__builtin_clzll(us) - HIST_STEP_BITS;
	return ((shift + 1) << HIST_STEP_BITS) +
	       (uint32_t)((us >> shift) & ((1u << HIST_STEP_BITS) - 1));
}

static inline void hist_record(struct hist *h, uint64_t us)
{
	metric_add(&h->sum_us, us);
	metric_add(&h->bucket[hist_bucket(us)], 1);
}

/* The smallest value of bucket `b` + 1, in microseconds: its exclusive upper edge. */
uint64_t hist_edge(uint32_t b);
/* Add `from`, which another thread may be writing, to `to`, which is ours. */
void hist_merge(struct hist *to, const struct hist *from);
uint64_t hist_count(const struct hist *h);
/* The value below which a share q (0..1) of the recorded values lies; 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
