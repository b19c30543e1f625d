/* cmd_log.c - what was decided lately, and by whom. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/follow.h"
#include "agent/ctl/out.h"

enum { LOG_LINES = 20, LOG_LINES_MAX = 100000 };

static void log_print(const struct ctl *c, const char *name, const struct client_node *n)
{
	json_t *doc = json_loadb(n->data, n->n, 0, NULL);
	if (doc == NULL || !json_is_object(doc)) out_note("log/%s: cannot be read", name);
	else if (c->json) out_json_line(json_incref(doc));
	else {
		char time[32];
		const char *pool = out_string(doc, "pool"), *why = out_string(doc, "why");
		const char *server = out_string(doc, "server");
		out_time((uint64_t)json_integer_value(json_object_get(doc, "time")), time);
		out_line("%s  %s  %s%s%s%s%s%s%s", time, out_string(doc, "agent"), pool,
			 *pool != '\0' ? ": " : "", server, *server != '\0' ? " " : "",
			 out_string(doc, "what"), *why != '\0' ? ": " : "", why);
		fflush(stdout);
	}
	json_decref(doc);
}

/* Everything after `last`, or the latest `most` when that is empty; *last moves on. */
static enum ctl_exit log_read(struct ctl *c, enum client_watch watch, uint32_t most, char *last)
{
	struct client_names names;
	enum store_rc rc = client_list(c->client, "log", watch, &names);
	if (rc == STORE_NO_NODE) return CTL_OK;
	uint32_t i = names.count > most ? names.count - most : 0;
	for (; rc == STORE_OK && i < names.count; i++) {
		char path[STORE_PATH_MAX];
		if (strcmp(names.names[i], last) <= 0) continue;
		snprintf(path, sizeof(path), "log/%s", names.names[i]);
		struct client_node n = client_get(c->client, path, CLIENT_ONCE);
		if (n.rc == STORE_OK) log_print(c, names.names[i], &n);
		else if (n.rc != STORE_NO_NODE) rc = n.rc;
		client_node_fini(&n);
		snprintf(last, STORE_PATH_MAX, "%s", names.names[i]);
	}
	client_names_fini(&names);
	return ctl_exit_of(rc, "log");
}

static enum ctl_exit log_run(struct ctl *c, const struct args *a)
{
	char last[STORE_PATH_MAX] = "";
	uint32_t most = LOG_LINES;
	const char *lines = args_option(a, "lines");
	bool follow = args_option(a, "follow") != NULL;
	if (lines != NULL && !args_number("--lines", lines, 0, LOG_LINES_MAX, &most))
		return CTL_USAGE;
	enum ctl_exit e = ctl_open(c);
	follow_begin();
	if (e == CTL_OK) e = log_read(c, follow ? CLIENT_WATCH : CLIENT_ONCE, most, last);
	while (follow && follow_goes_on(c, e) && follow_wait(c))
		e = log_read(c, CLIENT_WATCH, UINT32_MAX, last);
	return e;
}

static const struct ctl_option log_options[] = {
	{ "lines", 'n', "N", "how many of the latest; default 20" },
	{ "follow", 'f', NULL, "go on printing as decisions are made, until Ctrl-C" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_log = {
	.name = "log",
	.operands = "",
	.help = "print the latest decisions",
	.options = log_options,
	.run = log_run,
};
