#include "tests/bench/lg_hist.h"

#include <string.h>

void lg_hist_reset(struct lg_hist *h)
{
	memset(h, 0, sizeof(*h));
}

static unsigned lg_hist_slot(uint64_t ns)
{
	if (ns < LG_HIST_STEPS) return (unsigned)ns;
	unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - LG_HIST_STEP_BITS;
	return (shift + 1) * LG_HIST_STEPS + (unsigned)(ns >> shift) - LG_HIST_STEPS;
}

static uint64_t lg_hist_upper_ns(unsigned slot)
{
	if (slot < LG_HIST_STEPS) return slot;
	unsigned shift = slot / LG_HIST_STEPS - 1;
	return ((uint64_t)(slot % LG_HIST_STEPS + LG_HIST_STEPS + 1) << shift) - 1;
}

void lg_hist_add(struct lg_hist *h, uint64_t ns)
{
	h->count++;
	h->sum_ns += ns;
	if (ns > h->max_ns) h->max_ns = ns;
	h->slots[lg_hist_slot(ns)]++;
}

double lg_hist_quantile_us(const struct lg_hist *h, double q)
{
	uint64_t rank = (uint64_t)(q * (double)h->count), seen = 0;

	if (h->count == 0) return 0;
	if (rank >= h->count) rank = h->count - 1;
	for (unsigned i = 0; i < LG_HIST_SLOTS; i++) {
		seen += h->slots[i];
		if (seen <= rank) continue;
		uint64_t ns = lg_hist_upper_ns(i);
		return (double)(ns < h->max_ns ? ns : h->max_ns) / 1e3;
	}
	return (double)h->max_ns / 1e3;
}
