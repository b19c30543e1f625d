/* main.c - twinring-agent: read the command line and the configuration, then follow the tree. */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/options.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/memory.h"

struct program {
	struct io_loop loop;
	int signal_fd;
	struct io_watch signals;
	struct io_timer watchdog;
	bool stopped;
};

static void print_issues(const struct config_issues *issues)
{
	for (uint32_t i = 0; i < issues->count; i++) {
		const struct config_issue *it = &issues->items[i];
		fprintf(stderr, "%s: %s: %s\n", it->at.where, it->warning ? "warning" : "error",
			it->at.why);
	}
}

static struct agent_config *load(const struct agent_options *o)
{
	struct agent_config *c = NULL;
	struct config_issues issues = { 0 };
	enum err e = agent_config_load(o, &c, &issues);
	print_issues(&issues);
	if (e != ERR_NONE && issues.error_count == 0) fprintf(stderr, "%s\n", err_text(e));
	config_issues_fini(&issues);
	return c;
}

static int dump_config(const struct agent_config *c)
{
	json_t *doc = agent_config_to_json(c);
	if (!doc) return 1;
	json_dumpf(doc, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(doc);
	return 0;
}

/* --- signals
 * ---------------------------------------------------------------------------------------- */

static void program_on_signal(int fd, short what, void *owner)
{
	(void)what;
	struct program *p = owner;
	struct signalfd_siginfo info;
	if (read(fd, &info, sizeof(info)) != sizeof(info)) return;
	switch (info.ssi_signo) {
	case SIGHUP:
	case SIGUSR1: log_reopen(); break;
	case SIGTTIN: log_notice("log level is %d", log_level_add(1)); break;
	case SIGTTOU: log_notice("log level is %d", log_level_add(-1)); break;
	default: p->stopped = true;
	}
}

/* Before any thread starts, so that all inherit the mask. */
static bool program_init_signals(struct program *p)
{
	static const int handled[] = { SIGHUP, SIGUSR1, SIGTTIN, SIGTTOU, SIGTERM, SIGINT };
	p->signal_fd = daemon_take_signals(handled, sizeof(handled) / sizeof(handled[0]));
	if (p->signal_fd < 0) return false;
	io_watch_init(&p->signals, &p->loop, p->signal_fd, program_on_signal, p);
	io_watch_set(&p->signals, IO_READ);
	return true;
}

static void program_on_watchdog(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct program *p = owner;
	uint64_t us = daemon_watchdog_us();
	if (!us) return;
	daemon_notify("WATCHDOG=1");
	io_timer_set(&p->watchdog, us / 2);
}

/* --- life
 * --------------------------------------------------------------------------------------------- */

static int fail(const struct err_at *at)
{
	fprintf(stderr, "%s%s%s\n", at->where, at->where[0] ? ": " : "", at->why);
	return 1;
}

/* What a script that started us must know. */
static void print_ready(const struct agent *agent, const struct agent_config *c)
{
	char name[NET_NAME_MAX];
	bool metrics = agent_metrics_name(agent, name);
	json_t *line = json_pack("{s:s, s:i, s:s?}", "id", c->id, "pid", (int)getpid(), "metrics",
				 metrics ? name : NULL);
	fputs("ready ", stdout);
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static int run(struct program *p, const struct agent_options *o, const struct agent_config *c,
	       int *ready_fd)
{
	struct err_at at = { 0 };
	struct agent *agent = NULL;
	enum err e = agent_new(&p->loop, c, &agent, &at);
	if (e != ERR_NONE) {
		if (!at.why[0]) snprintf(at.why, sizeof(at.why), "%s", err_text(e));
		return fail(&at);
	}
	log_notice("twinring-agent " TWINRING_VERSION " %s follows %s", c->id, c->source.text);
	daemon_notify("READY=1");
	if (o->daemonize) daemon_ready(ready_fd);
	else print_ready(agent, c);
	program_on_watchdog(-1, 0, p);
	while (!p->stopped) io_loop_turn(&p->loop);
	daemon_notify("STOPPING=1");
	agent_free(&agent);
	return 0;
}

static int serve(const struct agent_options *o, const struct agent_config *c)
{
	struct program p = { .signal_fd = -1 };
	struct lock_file pid_file = LOCK_FILE_NONE;
	struct err_at at = { 0 };
	int ready_fd = -1;
	if (log_open(c->log_file, (int)c->log_level) != ERR_NONE) {
		perror(c->log_file);
		return 1;
	}
	if (o->daemonize && daemon_detach(&ready_fd, &at) != ERR_NONE) return fail(&at);
	if (o->pid_file && (lock_file_take(o->pid_file, &pid_file, &at) != ERR_NONE ||
			    lock_file_write_pid(&pid_file, &at) != ERR_NONE))
		return fail(&at);
	daemon_raise_nofile();
	curl_global_init(CURL_GLOBAL_DEFAULT);
	int status = 1;
	if (io_loop_init(&p.loop) && program_init_signals(&p)) {
		io_timer_init(&p.watchdog, &p.loop, program_on_watchdog, &p);
		status = run(&p, o, c, &ready_fd);
		io_timer_stop(&p.watchdog);
		io_watch_stop(&p.signals);
		close(p.signal_fd);
	}
	io_loop_fini(&p.loop);
	curl_global_cleanup();
	lock_file_release(&pid_file);
	log_close();
	return status;
}

int main(int argc, char **argv)
{
	memory_abort_when_out();
	struct agent_options o;
	if (!agent_options_parse(argc, argv, &o, stderr)) return 1;
	if (agent_options_inform(&o, stdout)) return 0;
	struct agent_config *c = load(&o);
	if (!c) return 1;
	int status = 0;
	if (o.dump_config) status = dump_config(c);
	else if (!o.test_config) status = serve(&o, c);
	agent_config_free(&c);
	return status;
}
