#include "common/hist.h"

uint64_t hist_edge(uint32_t b)
{
	const uint32_t steps = 1u << HIST_STEP_BITS;
	if (b < steps) return b + 1;
	uint32_t shift = (b >> HIST_STEP_BITS) - 1;
	return (uint64_t)(steps + (b & (steps - 1)) + 1) << shift;
}

void hist_merge(struct hist *to, const struct hist *from)
{
	to->sum_us += metric_get(&from->sum_us);
	for (uint32_t b = 0; b < HIST_BUCKETS; b++) to->bucket[b] += metric_get(&from->bucket[b]);
}

uint64_t hist_count(const struct hist *h)
{
	uint64_t n = 0;
	for (uint32_t b = 0; b < HIST_BUCKETS; b++) n += metric_get(&h->bucket[b]);
	return n;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	/* A writer may add between counting and walking: then the walk ends a little early. */
	double want = q * (double)hist_count(h);
	uint64_t seen = 0, last = 0;
	for (uint32_t b = 0; b < HIST_BUCKETS; b++) {
		uint64_t n = metric_get(&h->bucket[b]);
		if (n == 0) continue;
		seen += n;
		last = hist_edge(b) - 1; /* the largest value that falls into b */
		if ((double)seen >= want) break;
	}
	return last;
}
