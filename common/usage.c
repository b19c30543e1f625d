#include "common/usage.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void usage_memory(struct usage *out)
{
	unsigned long long size = 0, resident = 0;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/statm", "re");
	if (f) {
		if (fscanf(f, "%llu %llu", &size, &resident) != 2) size = resident = 0;
		fclose(f);
	}
	out->virtual_bytes = size * page;
	out->resident_bytes = resident * page;
	struct mallinfo2 heap = mallinfo2();
	out->heap_bytes = heap.uordblks + heap.hblkhd;
}

static void usage_fds(struct usage *out)
{
	struct rlimit limit;
	DIR *d = opendir("/proc/self/fd");
	out->open_fds = 0;
	if (d) {
		const struct dirent *e;
		while ((e = readdir(d)))
			if (e->d_name[0] != '.') out->open_fds++;
		closedir(d);
		if (out->open_fds) out->open_fds--; /* the directory itself */
	}
	out->max_fds = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

static uint64_t usage_us(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

void usage_read(struct usage *out)
{
	struct rusage r;
	*out = (struct usage){ 0 };
	usage_memory(out);
	usage_fds(out);
	if (getrusage(RUSAGE_SELF, &r) == 0) {
		out->user_us = usage_us(r.ru_utime);
		out->system_us = usage_us(r.ru_stime);
		out->cpu_us = out->user_us + out->system_us;
	}
}
