/* main.c - twinring-proxy: read the command line and the configuration, then serve. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/net.h"
#include "proxy/exporter.h"
#include "proxy/proxy.h"
#include "proxy/where.h"

static void print_issues(const struct config_issues *issues)
{
	for (uint32_t i = 0; i < issues->count; i++) {
		const struct config_issue *it = &issues->items[i];
		fprintf(stderr, "%s: %s: %s\n", it->at.where, it->warning ? "warning" : "error",
			it->at.why);
	}
}

static struct config *load(const struct options *o)
{
	struct config *c = NULL;
	struct config_issues issues = { 0 };
	struct err_at at = { 0 };
	enum err e = config_load(o->config_file, &c, &issues);
	print_issues(&issues);
	if (e != ERR_NONE && issues.error_count == 0)
		fprintf(stderr, "%s: %s\n", o->config_file, err_text(e));
	config_issues_fini(&issues);
	if (e == ERR_NONE && !proxy_override(o, c, &at)) {
		fprintf(stderr, "%s: %s\n", at.where, at.why);
		config_free(&c);
	}
	return c;
}

static int test_config(const struct options *o)
{
	struct config *c = load(o);
	fprintf(stderr, "%sconfiguration file '%s' syntax is %s\n",
		o->nutcracker ? "nutcracker: " : "", o->config_file, c ? "ok" : "invalid");
	int status = c ? 0 : 1;
	config_free(&c);
	return status;
}

static int dump_config(const struct config *c)
{
	json_t *doc = config_to_json(c);
	if (!doc) return 1;
	json_dumpf(doc, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(doc);
	return 0;
}

/* --- the ready line: what a script that started us must know ---------------------------------- */

static json_t *bound_name(int fd)
{
	char name[NET_NAME_MAX];
	if (fd < 0) return json_null();
	net_local_name(fd, name);
	return json_string(name);
}

static void print_ready(const struct proxy *p)
{
	json_t *listeners = json_object();
	for (uint32_t i = 0; i < p->listeners.count; i++) {
		const struct listener *l = p->listeners.by_number[i];
		if (l) json_object_set_new(listeners, l->spec.listen.text, bound_name(l->fd));
	}
	const char *control = p->config->proxy.control;
	json_t *line =
	    json_pack("{s:o, s:o, s:o, s:o, s:i}", "listeners", listeners, "stats",
		      bound_name(exporter_fd(p->exporter, EXPORTER_JSON)), "metrics",
		      bound_name(exporter_fd(p->exporter, EXPORTER_HTTP)), "control",
		      control ? json_string(control) : json_null(), "pid", (int)getpid());
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
	if (!text) {
		log_crit("out of memory");
		exit(1);
	}
	printf("ready %s\n", text);
	fflush(stdout);
	free(text);
	json_decref(line);
}

struct start {
	const struct options *options;
	int ready_fd;
	struct lock_file pid_file;
};

static void on_ready(struct proxy *p, void *ctx)
{
	struct start *start = ctx;
	log_notice("twinring-proxy " TWINRING_VERSION " serves with %u threads", p->worker_count);
	if (start->options->daemonize) daemon_ready(&start->ready_fd);
	else if (!start->options->nutcracker) print_ready(p);
}

static int fail(const struct err_at *at)
{
	fprintf(stderr, "%s%s%s\n", at->where, at->where[0] ? ": " : "", at->why);
	return 1;
}

static int serve(const struct options *o, struct config *c)
{
	struct start start = { .options = o, .ready_fd = -1, .pid_file = LOCK_FILE_NONE };
	struct err_at at = { 0 };
	if (log_open(c->proxy.log_file, (int)c->proxy.log_level) != ERR_NONE) {
		perror(c->proxy.log_file);
		return 1;
	}
	if (o->daemonize && daemon_detach(&start.ready_fd, &at) != ERR_NONE) return fail(&at);
	if (o->pid_file && (lock_file_take(o->pid_file, &start.pid_file, &at) != ERR_NONE ||
			    lock_file_write_pid(&start.pid_file, &at) != ERR_NONE))
		return fail(&at);
	daemon_raise_nofile();
	struct proxy p;
	int status = 0;
	enum err e = proxy_init(&p, o, c, &at);
	if (e == ERR_NONE) {
		proxy_run(&p, on_ready, &start);
	} else {
		if (!at.why[0]) snprintf(at.why, sizeof(at.why), "%s", err_text(e));
		status = fail(&at);
	}
	proxy_fini(&p);
	lock_file_release(&start.pid_file);
	log_close();
	return status;
}

int main(int argc, char **argv)
{
	memory_abort_when_out();
	struct options o;
	if (!options_parse(argc, argv, &o, stderr)) return 1;
	if (options_inform(&o)) return 0;
	if (o.test_config) return test_config(&o);
	struct config *c = load(&o);
	if (!c) return 1;
	int status;
	if (o.dump_config) status = dump_config(c);
	else if (o.where_pool) status = where_print(c->topology, &o);
	else return serve(&o, c); /* takes c */
	config_free(&c);
	return status;
}
