#include "proxy/options.h"

#include <getopt.h>
#include <string.h>

#include "proxy/stats.h"

enum option_kind { FLAG, NUMBER, PORT, STRING, FILE_NAME };

/* One table makes the parser and the help. */
struct option_row {
	const char *name;
	char letter; /* 0: none, and unknown to nutcracker */
	enum option_kind kind;
	size_t field; /* offset in struct options */
	uint32_t min, max;
	const char *help;
	const char *nutcracker_default;
	const char *our_default;
};

#define FIELD(name) offsetof(struct options, name)

static const struct option_row rows[] = {
	{ "help", 'h', FLAG, FIELD(help), 0, 0, "this help", NULL, NULL },
	{ "version", 'V', FLAG, FIELD(version), 0, 0, "show version and exit", NULL, NULL },
	{ "test-conf", 't', FLAG, FIELD(test_config), 0, 0,
	  "test configuration for syntax errors and exit", NULL, NULL },
	{ "daemonize", 'd', FLAG, FIELD(daemonize), 0, 0, "run as a daemon", NULL, NULL },
	{ "describe-stats", 'D', FLAG, FIELD(describe_stats), 0, 0,
	  "print stats description and exit", NULL, NULL },
	{ "verbose", 'v', NUMBER, FIELD(log_level), 0, 11, "set logging level (min: 0, max: 11)",
	  "5", "5" },
	{ "output", 'o', FILE_NAME, FIELD(log_file), 0, 0, "set logging file", "stderr", "stderr" },
	{ "conf-file", 'c', FILE_NAME, FIELD(config_file), 0, 0, "set configuration file",
	  "conf/nutcracker.yml", "/etc/twinring/proxy.yml" },
	{ "stats-port", 's', PORT, FIELD(stats_port), 1, 65535, "set stats monitoring port",
	  "22222", "off" },
	{ "stats-addr", 'a', STRING, FIELD(stats_addr), 0, 0, "set stats monitoring ip", "0.0.0.0",
	  "127.0.0.1" },
	{ "stats-interval", 'i', NUMBER, FIELD(stats_interval_ms), 0, INT32_MAX,
	  "set stats aggregation interval in msec", "30000 msec", NULL },
	{ "pid-file", 'p', FILE_NAME, FIELD(pid_file), 0, 0, "set pid file", "off", "off" },
	{ "mbuf-size", 'm', NUMBER, FIELD(mbuf_size), OPTION_MBUF_MIN, OPTION_MBUF_MAX,
	  "set size of mbuf chunk in bytes (ignored)", "16384 bytes", NULL },
	{ "threads", 0, NUMBER, FIELD(threads), 0, 1024, "set number of workers", NULL,
	  "one per core" },
	{ "control", 0, FILE_NAME, FIELD(control), 0, 0, "set control socket", NULL, "off" },
	{ "metrics", 0, STRING, FIELD(metrics), 0, 0, "set address of /metrics (HTTP)", NULL,
	  "off" },
	{ "where", 0, STRING, FIELD(where_pool), 0, 0, "print which server owns each KEY and exit",
	  NULL, NULL },
	{ "dump-config", 0, FLAG, FIELD(dump_config), 0, 0,
	  "print the effective configuration and exit", NULL, NULL },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const char *options_program(const struct options *o)
{
	return o->nutcracker ? "nutcracker" : "twinring-proxy";
}

/* nutcracker does not know the rows without a letter. */
static bool options_has(const struct options *o, const struct option_row *row)
{
	return row->letter || !o->nutcracker;
}

/* --- defaults --------------------------------------------------------------------------------- */

static bool options_named_nutcracker(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	return argv0 && strcmp(slash ? slash + 1 : argv0, "nutcracker") == 0;
}

static void options_defaults(struct options *o, bool nutcracker)
{
	*o = (struct options){
		.nutcracker = nutcracker,
		.config_file = "/etc/twinring/proxy.yml",
		.log_level = OPTION_UNSET,
		.stats_port = OPTION_UNSET,
		.stats_interval_ms = OPTION_UNSET,
		.threads = OPTION_UNSET,
		.mbuf_size = 16384,
	};
	if (!nutcracker) return;
	o->config_file = "conf/nutcracker.yml";
	o->log_level = 5;
	o->stats_addr = "0.0.0.0";
	o->stats_port = 22222;
	o->stats_interval_ms = 30000;
}

/* --- help ------------------------------------------------------------------------------------- */

static void options_usage(const struct options *o, FILE *f)
{
	if (o->nutcracker) {
		fputs("Usage: nutcracker [-?hVdDt] [-v verbosity level] [-o output file]\n"
		      "                  [-c conf file] [-s stats port] [-a stats addr]\n"
		      "                  [-i stats interval] [-p pid file] [-m mbuf size]\n",
		      f);
	} else {
		fputs("Usage: twinring-proxy [-hVdDt] [-c file] [-v level] [-o file] [-p file]\n"
		      "                      [-s port] [-a addr] [-i ms] [--threads N]\n"
		      "                      [--control path] [--metrics addr] [--dump-config]\n"
		      "                      [--where pool [key...]]\n",
		      f);
	}
	fputs("\nOptions:\n", f);
	for (int i = 0; i < ROWS; i++) {
		static const char *const values[] = { "", "=N", "=N", "=S", "=S" };
		char name[64];
		if (!options_has(o, &rows[i])) continue;
		const char *value =
		    o->nutcracker ? rows[i].nutcracker_default : rows[i].our_default;
		snprintf(name, sizeof(name), "--%s%s", rows[i].name, values[rows[i].kind]);
		fprintf(f, rows[i].letter ? "  -%c, " : "      ", rows[i].letter);
		fprintf(f, "%-19s: %s", name, rows[i].help);
		if (value) fprintf(f, " (default: %s)", value);
		fputs("\n", f);
	}
	fputs("\n", f);
}

static void options_version(const struct options *o, FILE *f)
{
	/* Scripts look for the name and number that they know. */
	if (o->nutcracker)
		fputs("This is nutcracker-0.5.0 (twinring-proxy-" TWINRING_VERSION ")\n"
		      "async event backend: epoll\n\n",
		      f);
	else fputs("twinring-proxy-" TWINRING_VERSION "\n", f);
}

bool options_inform(const struct options *o)
{
	FILE *f = o->nutcracker ? stderr : stdout;
	if (!o->help && !o->version && !o->describe_stats) return false;
	if (o->nutcracker || o->version) options_version(o, f);
	if (o->help) options_usage(o, f);
	if (o->describe_stats) {
		struct scratch text = { 0 };
		stats_render_description(&text);
		fwrite(text.p, 1, text.n, f);
		scratch_fini(&text);
	}
	fflush(f);
	return true;
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* Decimal digits only; false when anything else, or too large for 32 bits. */
static bool options_number(const char *text, uint32_t *out)
{
	uint64_t n = 0;
	if (!*text) return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9') return false;
		n = n * 10 + (uint64_t)(*text - '0');
		if (n >= UINT32_MAX) return false;
	}
	*out = (uint32_t)n;
	return true;
}

static bool options_set_number(const struct options *o, const struct option_row *row,
			       const char *text, uint32_t *field, FILE *messages)
{
	uint32_t n;
	const char *program = options_program(o);
	if (!options_number(text, &n)) {
		fprintf(messages, "%s: option --%s requires a number, not '%s'\n", program,
			row->name, text);
		return false;
	}
	/* nutcracker -v 99 is as much as -v 11 */
	if (o->nutcracker && row->letter == 'v' && n > row->max) n = row->max;
	if (n < row->min || n > row->max) {
		fprintf(messages, "%s: option --%s must be between %u and %u, not %s\n", program,
			row->name, row->min, row->max, text);
		return false;
	}
	*field = n;
	return true;
}

static bool options_set(struct options *o, const struct option_row *row, const char *text,
			FILE *messages)
{
	char *field = (char *)o + row->field;
	switch (row->kind) {
	case FLAG: *(bool *)(void *)field = true; return true;
	case NUMBER:
	case PORT: return options_set_number(o, row, text, (uint32_t *)(void *)field, messages);
	case STRING:
	case FILE_NAME: *(const char **)(void *)field = text; return true;
	}
	return false;
}

static bool options_bad(const struct options *o, int c, char **argv, FILE *messages)
{
	static const char *const wants[] = { "nothing", "a number", "a number", "a string",
					     "a file name" };
	const char *program = options_program(o);
	for (int i = 0; i < ROWS && c == ':'; i++) {
		if (optopt != rows[i].letter && optopt != 256 + i) continue;
		fprintf(messages, "%s: option --%s requires %s\n", program, rows[i].name,
			wants[rows[i].kind]);
		return false;
	}
	if (optopt > 0 && optopt < 256)
		fprintf(messages, "%s: invalid option -- '%c'\n", program, optopt);
	else fprintf(messages, "%s: invalid option '%s'\n", program, argv[optind - 1]);
	return false;
}

static bool options_operands(struct options *o, int argc, char **argv, FILE *messages)
{
	if (o->where_pool) {
		o->where_keys = argv + optind;
		o->where_key_count = (uint32_t)(argc - optind);
		return true;
	}
	if (optind == argc || o->nutcracker) return true; /* nutcracker ignores them */
	fprintf(messages, "%s: unexpected argument '%s'\n", options_program(o), argv[optind]);
	return false;
}

/* getopt's own tables: every row is the long option of its index. */
static void options_tables(const struct options *o, struct option longs[ROWS + 1],
			   char letters[2 * ROWS + 2])
{
	char *l = letters;
	int n = 0;
	*l++ = ':'; /* tell a missing argument from an unknown option; print nothing */
	for (int i = 0; i < ROWS; i++) {
		if (!options_has(o, &rows[i])) continue;
		int argument = rows[i].kind == FLAG ? no_argument : required_argument;
		longs[n++] = (struct option){ rows[i].name, argument, NULL, 256 + i };
		if (!rows[i].letter) continue;
		*l++ = rows[i].letter;
		if (argument == required_argument) *l++ = ':';
	}
	longs[n] = (struct option){ 0 };
	*l = 0;
}

bool options_parse(int argc, char **argv, struct options *out, FILE *messages)
{
	struct option longs[ROWS + 1];
	char letters[2 * ROWS + 2];
	int c;
	bool ok = true;
	options_defaults(out, options_named_nutcracker(argv[0]));
	options_tables(out, longs, letters);
	optind = 0; /* start over, should this not be the first time */
	opterr = 0;
	while (ok && (c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		int i = c >= 256 ? c - 256 : 0;
		while (c < 256 && i < ROWS && rows[i].letter != c) i++;
		if (c == '?' || c == ':' || i == ROWS) ok = options_bad(out, c, argv, messages);
		else ok = options_set(out, &rows[i], optarg, messages);
	}
	ok = ok && options_operands(out, argc, argv, messages);
	if (!ok) options_usage(out, messages);
	return ok;
}

bool options_stats_listen(const struct options *o, char *text, size_t size)
{
	const char *addr = o->stats_addr ? o->stats_addr : "127.0.0.1";
	unsigned port = o->stats_port != OPTION_UNSET ? o->stats_port : 22222;
	if (!o->stats_addr && o->stats_port == OPTION_UNSET) return false;
	if (addr[0] == '/') snprintf(text, size, "%s", addr);
	else if (strchr(addr, ':') && addr[0] != '[') snprintf(text, size, "[%s]:%u", addr, port);
	else snprintf(text, size, "%s:%u", addr, port);
	return true;
}
