#include "tests/bench/lockstep_process.h"

#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOKS = 10000, LOOK_US = 500 };

/* What all threads do: the same state, or '?' when they differ; and how often they have slept. */
struct look {
	char state;
	uint64_t sleeps;
};

static void look_at_thread(const char *path, struct look *l)
{
	static const char sleeps[] = "voluntary_ctxt_switches:";
	char line[256], state = '?';
	FILE *f = fopen(path, "re");
	if (!f) return;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "State:", 6) == 0) sscanf(line + 6, " %c", &state);
		if (strncmp(line, sleeps, sizeof(sleeps) - 1) == 0)
			l->sleeps += strtoull(line + sizeof(sleeps) - 1, NULL, 10);
	}
	fclose(f);
	l->state = l->state == 0 || l->state == state ? state : '?';
}

static struct look look_at(int pid)
{
	struct look l = { 0 };
	char path[320];
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *d = opendir(path);
	if (!d) return l;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.') continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, e->d_name);
		look_at_thread(path, &l);
	}
	closedir(d);
	return l;
}

/* Asleep, and not just for the moment. */
static bool comes_to_rest(int pid)
{
	struct look before = { 0 };
	for (int i = 0; i < LOOKS; i++) {
		struct look now = look_at(pid);
		if (now.state == 'S' && before.state == 'S' && now.sleeps == before.sleeps)
			return true;
		before = now;
		usleep(LOOK_US);
	}
	return false;
}

bool process_stop_asleep(int pid)
{
	if (!comes_to_rest(pid) || kill(pid, SIGSTOP) < 0) return false;
	for (int i = 0; i < LOOKS; i++) {
		if (look_at(pid).state == 'T') return true;
		usleep(LOOK_US);
	}
	return false;
}

void process_continue(int pid)
{
	kill(pid, SIGCONT);
}
