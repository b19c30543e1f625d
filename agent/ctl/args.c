/* args.c - the command line, read by the tables of the commands. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/ctl.h"

const struct ctl_option global_options[] = {
	{ "source", 's', "SOURCE",
	  "zk:HOST:PORT[,...][/CHROOT] or file:DIR; else $TWINRING_SOURCE" },
	{ "digest-file", 'd', "FILE", "holds USER:PASSWORD for ZooKeeper; mode 0400 or 0600" },
	{ "run-dir", 0, "DIR", "where proxies have their control sockets; default /run/twinring" },
	{ "timeout", 't', "S", "seconds to wait for the source, for each answer; default 10" },
	{ "json", 'j', NULL, "print JSON" },
	{ "dry-run", 'n', NULL, "check everything, print what would be written, write nothing" },
	{ "help", 'h', NULL, "print help, of one command after its name" },
	{ "version", 'V', NULL, "print the version" },
	{ NULL, 0, NULL, NULL },
};

enum global { G_SOURCE, G_DIGEST, G_RUN_DIR, G_TIMEOUT, G_JSON, G_DRY_RUN, G_HELP, G_VERSION };

enum { TIMEOUT_MAX_S = 86400 };

struct parse {
	struct ctl *c;
	struct args *a;
	int argc, at;
	char **argv;
	char first[32]; /* of two words, until the second comes */
	enum args_want *want;
	bool no_options; /* after "--" */
};

bool args_number(const char *what, const char *text, uint32_t least, uint32_t most,
		 uint32_t *number_out)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || n < least || n > most) {
		ctl_say("%s must be a whole number from %u to %u, not '%s'", what, least, most,
			text);
		return false;
	}
	*number_out = (uint32_t)n;
	return true;
}

const char *args_option(const struct args *a, const char *name)
{
	const struct ctl_option *o = a->command->options;
	for (unsigned i = 0; o != NULL && o[i].name != NULL; i++)
		if (strcmp(o[i].name, name) == 0) return a->values[i];
	return NULL;
}

/* --- options ---------------------------------------------------------------------------------- */

/* Does the word "--name", "--name=value" or "-n" mean this option? */
static bool option_is(const struct ctl_option *o, const char *word)
{
	if (word[1] != '-') return o->letter != 0 && word[1] == o->letter && word[2] == '\0';
	size_t n = strcspn(word + 2, "=");
	return strlen(o->name) == n && strncmp(o->name, word + 2, n) == 0;
}

static int option_find(const struct ctl_option *table, const char *word)
{
	for (int i = 0; table != NULL && table[i].name != NULL; i++)
		if (option_is(&table[i], word)) return i;
	return -1;
}

/* Its value: after '=', or the next word. NULL: said what is wrong. */
static const char *option_value(struct parse *p, const struct ctl_option *o)
{
	const char *word = p->argv[p->at];
	const char *value = word[1] == '-' ? strchr(word, '=') : NULL;
	if (o->arg == NULL && value == NULL) return "";
	if (o->arg == NULL) {
		ctl_say("--%s takes no value", o->name);
		return NULL;
	}
	if (value != NULL) return value + 1;
	if (p->at + 1 < p->argc) return p->argv[++p->at];
	ctl_say("--%s needs a value: %s", o->name, o->arg);
	return NULL;
}

static enum ctl_exit global_set(struct parse *p, enum global g, const char *value)
{
	uint32_t seconds;
	switch (g) {
	case G_SOURCE: p->c->source = value; break;
	case G_DIGEST: p->c->digest_file = value; break;
	case G_RUN_DIR: p->c->run_dir = value; break;
	case G_TIMEOUT:
		if (!args_number("--timeout", value, 1, TIMEOUT_MAX_S, &seconds)) return CTL_USAGE;
		p->c->timeout_ms = seconds * 1000;
		break;
	case G_JSON: p->c->json = true; break;
	case G_DRY_RUN: p->c->dry_run = true; break;
	case G_HELP: *p->want = WANT_HELP; break;
	case G_VERSION: *p->want = WANT_VERSION; break;
	}
	return CTL_OK;
}

static enum ctl_exit parse_option(struct parse *p)
{
	const char *word = p->argv[p->at];
	const struct ctl_option *own = p->a->command != NULL ? p->a->command->options : NULL;
	int i = option_find(own, word);
	if (i >= 0) {
		p->a->values[i] = option_value(p, &own[i]);
		return p->a->values[i] != NULL ? CTL_OK : CTL_USAGE;
	}
	i = option_find(global_options, word);
	if (i >= 0) {
		const char *value = option_value(p, &global_options[i]);
		return value != NULL ? global_set(p, (enum global)i, value) : CTL_USAGE;
	}
	ctl_say("unknown option %s%s", word,
		p->a->command == NULL ? "; a command's own options come after the command" : "");
	return CTL_USAGE;
}

/* --- words ------------------------------------------------------------------------------------ */

static const struct command *command_find(const char *first, const char *second)
{
	char name[80];
	snprintf(name, sizeof(name), "%s%s%s", first, second != NULL ? " " : "",
		 second != NULL ? second : "");
	for (unsigned i = 0; commands[i] != NULL; i++)
		if (strcmp(commands[i]->name, name) == 0) return commands[i];
	return NULL;
}

static bool command_is_group(const char *word)
{
	size_t n = strlen(word);
	for (unsigned i = 0; commands[i] != NULL; i++)
		if (strncmp(commands[i]->name, word, n) == 0 && commands[i]->name[n] == ' ')
			return true;
	return false;
}

static enum ctl_exit parse_command_word(struct parse *p, const char *word)
{
	struct args *a = p->a;
	if (p->first[0] != '\0') {
		a->command = command_find(p->first, word);
		if (a->command != NULL) return CTL_OK;
		ctl_say("unknown command '%s %s': see twinringctl --help", p->first, word);
		return CTL_USAGE;
	}
	a->command = command_find(word, NULL);
	if (a->command != NULL) return CTL_OK;
	if (command_is_group(word)) {
		snprintf(p->first, sizeof(p->first), "%s", word);
		return CTL_OK;
	}
	ctl_say("unknown command '%s': see twinringctl --help", word);
	return CTL_USAGE;
}

static enum ctl_exit parse_word(struct parse *p)
{
	const char *word = p->argv[p->at];
	if (!p->no_options && strcmp(word, "--") == 0) {
		p->no_options = true;
		return CTL_OK;
	}
	if (!p->no_options && word[0] == '-' && word[1] != '\0') return parse_option(p);
	if (p->a->command == NULL) return parse_command_word(p, word);
	if (p->a->count == CTL_OPERANDS_MAX) {
		ctl_say("too many words");
		return CTL_USAGE;
	}
	p->a->operands[p->a->count++] = word;
	return CTL_OK;
}

static enum ctl_exit parse_check(const struct parse *p)
{
	const struct command *command = p->a->command;
	if (command == NULL && p->first[0] != '\0')
		ctl_say("%s what? See twinringctl --help", p->first);
	else if (command == NULL) ctl_say("which command? See twinringctl --help");
	else if (p->a->count < command->least || p->a->count > command->most)
		ctl_say("usage: twinringctl %s %s", command->name, command->operands);
	else if (p->c->dry_run && !command->writes)
		ctl_say("%s writes nothing: --dry-run has no meaning", command->name);
	else return CTL_OK;
	return CTL_USAGE;
}

enum ctl_exit args_parse(int argc, char **argv, struct ctl *c, struct args *a,
			 enum args_want *want_out)
{
	struct parse p = { .c = c, .a = a, .argc = argc, .argv = argv, .want = want_out };
	*a = (struct args){ 0 };
	*want_out = WANT_RUN;
	for (p.at = 1; p.at < argc; p.at++) {
		enum ctl_exit e = parse_word(&p);
		if (e != CTL_OK) return e;
	}
	return *want_out != WANT_RUN ? CTL_OK : parse_check(&p);
}
