/* lg_hist.h - the load generator's own log-linear latency histogram.
 *
 * 64 steps in each power of two: a quantile is at most 1.6 % above the true value. Kept apart from
 * common/hist on purpose: what measures the proxy must not share its mistakes.
 */
#ifndef TESTS_BENCH_LG_HIST_H
#define TESTS_BENCH_LG_HIST_H

#include <stdint.h>

#define LG_HIST_STEP_BITS 6
#define LG_HIST_STEPS	  (1u << LG_HIST_STEP_BITS)
#define LG_HIST_SLOTS	  ((64u - LG_HIST_STEP_BITS + 1) * LG_HIST_STEPS)

struct lg_hist {
	uint64_t count, sum_ns, max_ns;
	uint32_t slots[LG_HIST_SLOTS];
};

void lg_hist_reset(struct lg_hist *h);
void lg_hist_add(struct lg_hist *h, uint64_t ns);

/* Upper edge, in microseconds, of the slot that holds quantile q (0..1); 0 when empty. */
double lg_hist_quantile_us(const struct lg_hist *h, double q);

#endif
