#include "tests/bench/lg_watch.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int lg_watch_slurp(int pid, const char *task, const char *name, char *buf, size_t size)
{
	char path[320];
	snprintf(path, sizeof(path), "/proc/%d/task/%s/%s", pid, task, name);
	FILE *f = fopen(path, "re");
	if (!f) return -1;
	size_t n = fread(buf, 1, size - 1, f);
	fclose(f);
	buf[n] = '\0';
	return n > 0 ? 0 : -1;
}

/* A thread may end between readdir() and open(): its share is lost, the rest still counts. */
static void lg_watch_add(int pid, const char *task, struct lg_cpu *cpu)
{
	char buf[1024];
	uint64_t a, b;

	if (lg_watch_slurp(pid, task, "schedstat", buf, sizeof(buf)) == 0 &&
	    sscanf(buf, "%" SCNu64 " %" SCNu64, &a, &b) == 2) {
		cpu->run_ns += a;
		cpu->wait_ns += b;
	}
	if (lg_watch_slurp(pid, task, "stat", buf, sizeof(buf)) != 0) return;
	/* The second field is the thread's name, which may hold blanks and parentheses. */
	char *p = strrchr(buf, ')');
	if (p && sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &a,
			&b) == 2) {
		cpu->user_ticks += a;
		cpu->sys_ticks += b;
	}
}

int lg_watch_read(int pid, struct lg_cpu *cpu_out)
{
	char path[64];
	struct dirent *e;

	memset(cpu_out, 0, sizeof(*cpu_out));
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *d = opendir(path);
	if (!d) return -1;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') lg_watch_add(pid, e->d_name, cpu_out);
	closedir(d);
	return 0;
}
