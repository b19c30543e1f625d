/* metric.h - counters that one thread writes and others may read.
 *
 * Each counter belongs to one worker: it adds with a plain load and store (no locked instruction),
 * made relaxed-atomic only so that a reader on another thread sees whole values. Readers sum over
 * workers. Counters only grow; gauges may fall.
 */
#ifndef TWINRING_COMMON_METRIC_H
#define TWINRING_COMMON_METRIC_H

#include <stdint.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metric_info {
	const char *name; /* JSON key; Prometheus name without prefix and suffix */
	enum metric_type type;
	const char *help;
};

static inline void metric_add(uint64_t *m, uint64_t n)
{
	__atomic_store_n(m, *m + n, __ATOMIC_RELAXED);
}

static inline void metric_sub(uint64_t *m, uint64_t n)
{
	__atomic_store_n(m, *m - n, __ATOMIC_RELAXED);
}

static inline void metric_set(uint64_t *m, uint64_t v)
{
	__atomic_store_n(m, v, __ATOMIC_RELAXED);
}

static inline uint64_t metric_get(const uint64_t *m)
{
	return __atomic_load_n(m, __ATOMIC_RELAXED);
}

#endif
