#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/child.h"
#include "agent/probe_impl.h"

struct script {
	struct probe *probe;
	struct child *child;
	char line[PROBE_WHY_MAX]; /* the first that it prints */
	size_t n;
	bool line_ended;
};

static void script_on_output(void *ctx, const char *data, size_t n)
{
	struct script *s = ctx;
	for (size_t i = 0; i < n && !s->line_ended; i++) {
		s->line_ended = data[i] == '\n';
		if (!s->line_ended && s->n < sizeof(s->line) - 1) s->line[s->n++] = data[i];
	}
}

static void script_on_exit(void *ctx, int status)
{
	struct script *s = ctx;
	char *how = s->line;
	char code[48];
	s->child = NULL;
	if (s->n == 0) {
		how = code;
		if (WIFSIGNALED(status))
			snprintf(code, sizeof(code), "the script died of signal %d",
				 WTERMSIG(status));
		else snprintf(code, sizeof(code), "the script exited with %d", WEXITSTATUS(status));
	}
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	probe_finish(s->probe, good ? PROBE_GOOD : PROBE_ILL, "%s", how);
}

static void script_start(struct probe *p)
{
	const struct probe_target *t = &p->target;
	char port[8];
	snprintf(port, sizeof(port), "%u", t->port);
	char *argv[] = { (char *)t->script,
			 (char *)t->host,
			 port,
			 (char *)(t->pool ? t->pool : ""),
			 (char *)(t->server ? t->server : ""),
			 NULL };
	struct script *s = calloc(1, sizeof(*s));
	if (!s) abort();
	p->doing = "script";
	p->own = s;
	s->probe = p;
	struct child_events events = { script_on_output, script_on_exit, s };
	int e = child_start(p->loop, argv, &events, &s->child);
	if (e) probe_finish(p, PROBE_UNKNOWN, "%s: %s", t->script, strerror(e));
}

static void script_stop(struct probe *p)
{
	struct script *s = p->own;
	child_forget(&s->child);
	free(s);
}

const struct probe_ops probe_script_ops = { false, script_start, script_stop };
