#include "agent/options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One table makes the parser and the help. */
struct option_row {
	const char *name;
	char letter;	   /* 0: none */
	const char *value; /* how the help calls its value; NULL: a flag, which has none */
	size_t field;	   /* offset in struct agent_options: bool or const char * */
	const char *help;
};

#define FIELD(name) offsetof(struct agent_options, name)

static const struct option_row rows[] = {
	{ "help", 'h', NULL, FIELD(help), "print this help and exit" },
	{ "version", 'V', NULL, FIELD(version), "print the version and exit" },
	{ "test-conf", 't', NULL, FIELD(test_config),
	  "say whether the configuration is right and exit" },
	{ "dump-config", 0, NULL, FIELD(dump_config),
	  "print the effective configuration and exit" },
	{ "conf-file", 'c', "FILE", FIELD(config_file),
	  "configuration (default: " AGENT_CONFIG_FILE ")" },
	{ "source", 0, "S", FIELD(source), "zk:HOST:PORT,.../CHROOT or file:DIR" },
	{ "id", 0, "ID", FIELD(id), "name of this agent (default: the host's)" },
	{ "role", 0, "ROLE", FIELD(role), "agent or nanny" },
	{ "run-dir", 0, "DIR", FIELD(run_dir), "where proxies have their sockets" },
	{ "state-dir", 0, "DIR", FIELD(state_dir), "where the last good tree is kept" },
	{ "metrics", 0, "ADDR", FIELD(metrics), "address of /metrics (HTTP)" },
	{ "verbose", 'v', "LEVEL", FIELD(log_level),
	  "error, warn, notice, info, debug or 0 to 11" },
	{ "output", 'o', "FILE", FIELD(log_file), "log there (default: standard error)" },
	{ "daemonize", 'd', NULL, FIELD(daemonize), "run in the background" },
	{ "pid-file", 'p', "FILE", FIELD(pid_file), "write the process id there" },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* --- help ------------------------------------------------------------------------------------- */

static void options_usage(FILE *f)
{
	fputs("Usage: twinring-agent [-c FILE] [-d] [-p FILE] [-v LEVEL] [-o FILE] [--source S]\n"
	      "                      [--id ID] [--role ROLE] [--run-dir DIR] [--state-dir DIR]\n"
	      "                      [--metrics ADDR]\n"
	      "       twinring-agent -t | --dump-config | -V | -h\n"
	      "\nOptions:\n",
	      f);
	for (int i = 0; i < ROWS; i++) {
		const struct option_row *r = &rows[i];
		char name[40], letter[8] = "   ";
		if (r->letter) snprintf(letter, sizeof(letter), "-%c,", r->letter);
		snprintf(name, sizeof(name), "--%s%s%s", r->name, r->value ? "=" : "",
			 r->value ? r->value : "");
		fprintf(f, "  %s %-17s  %s\n", letter, name, r->help);
	}
}

bool agent_options_inform(const struct agent_options *o, FILE *out)
{
	if (!o->help && !o->version) return false;
	if (o->version) fputs("twinring-agent-" TWINRING_VERSION "\n", out);
	if (o->help) options_usage(out);
	fflush(out);
	return true;
}

/* --- parsing ---------------------------------------------------------------------------------- */

static void options_set(struct agent_options *o, const struct option_row *row, const char *text)
{
	void *field = (char *)o + row->field;
	if (row->value) *(const char **)field = text;
	else *(bool *)field = true;
}

static void options_bad(int c, char **argv, FILE *messages)
{
	for (int i = 0; i < ROWS && c == ':'; i++) {
		if (optopt != rows[i].letter && optopt != 256 + i) continue;
		fprintf(messages, "twinring-agent: option --%s requires %s\n", rows[i].name,
			rows[i].value);
		return;
	}
	if (optopt > 0 && optopt < 256)
		fprintf(messages, "twinring-agent: invalid option -- '%c'\n", optopt);
	else fprintf(messages, "twinring-agent: invalid option '%s'\n", argv[optind - 1]);
}

/* getopt's own tables: every row is the long option of its index. */
static void options_tables(struct option longs[ROWS + 1], char letters[2 * ROWS + 2])
{
	char *l = letters;
	*l++ = ':'; /* tell a missing argument from an unknown option; print nothing */
	for (int i = 0; i < ROWS; i++) {
		int argument = rows[i].value ? required_argument : no_argument;
		longs[i] = (struct option){ rows[i].name, argument, NULL, 256 + i };
		if (!rows[i].letter) continue;
		*l++ = rows[i].letter;
		if (rows[i].value) *l++ = ':';
	}
	longs[ROWS] = (struct option){ 0 };
	*l = 0;
}

/* The row for what getopt_long() returned; NULL: none. */
static const struct option_row *options_row(int c)
{
	if (c >= 256) return &rows[c - 256];
	for (int i = 0; i < ROWS; i++)
		if (c != '?' && c != ':' && rows[i].letter == c) return &rows[i];
	return NULL;
}

bool agent_options_parse(int argc, char **argv, struct agent_options *out, FILE *messages)
{
	struct option longs[ROWS + 1];
	char letters[2 * ROWS + 2];
	int c;
	bool ok = true;
	*out = (struct agent_options){ 0 };
	options_tables(longs, letters);
	optind = 0; /* start over, should this not be the first time */
	opterr = 0;
	while (ok && (c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct option_row *row = options_row(c);
		ok = row != NULL;
		if (ok) options_set(out, row, optarg);
		else options_bad(c, argv, messages);
	}
	if (ok && optind < argc) {
		fprintf(messages, "twinring-agent: unexpected argument '%s'\n", argv[optind]);
		ok = false;
	}
	if (!ok) options_usage(messages);
	return ok;
}
