/* lockstep_counters.h - a proxy's counters (counters.h), read and printed. */
#ifndef TESTS_BENCH_LOCKSTEP_COUNTERS_H
#define TESTS_BENCH_LOCKSTEP_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/counters.h"

struct counters {
	uint64_t n[COUNTER_COUNT];
};

bool counters_read(const char *path, struct counters *out);
/* ,"counters":{"name":difference,...} */
void counters_print(const struct counters *before, const struct counters *after);

#endif
