#include "tests/bench/lockstep_counters.h"

#include <stdio.h>

bool counters_read(const char *path, struct counters *out)
{
	FILE *f = fopen(path, "re");
	if (!f) return false;
	size_t n = fread(out->n, sizeof(out->n[0]), COUNTER_COUNT, f);
	fclose(f);
	return n == COUNTER_COUNT;
}

void counters_print(const struct counters *before, const struct counters *after)
{
	static const char *const names[] = {
#define X(name) #name,
		COUNTERS(X)
#undef X
	};
	printf(",\"counters\":{");
	for (int i = 0; i < COUNTER_COUNT; i++)
		printf("%s\"%s\":%llu", i ? "," : "", names[i],
		       (unsigned long long)(after->n[i] - before->n[i]));
	printf("}");
}
