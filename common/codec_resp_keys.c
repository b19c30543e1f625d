/* codec_resp_keys.c - the rules by which keys are found among arguments.
 *
 * Options are read in the order and with the meaning that the server reads them: a key that we
 * overlook would be read on the wrong server, and nobody would be told. What the server would
 * refuse anyway is refused here with its own text.
 */
#include "common/codec_resp.h"

#include <stdio.h>

struct finder {
	struct parser *p;
	const struct codec_limits *limits;
	const struct resp_command *row;
	struct command *cmd;
};

static bool syntax_error(struct finder *f)
{
	resp_refuse(f->p, f->cmd, "syntax error");
	return false;
}

static bool unsupported_option(struct finder *f, const char *option, const char *why)
{
	char what[64];
	snprintf(what, sizeof(what), "'%s' with %s", f->row->op.name, option);
	resp_unsupported(f->p, f->cmd, what, why);
	return false;
}

/* Keys that lie evenly among the arguments. */
static void keys_at(struct command *cmd, uint32_t first, uint32_t step, uint32_t count)
{
	cmd->first_key = first;
	cmd->key_step = step;
	cmd->key_count = count;
	if (count) cmd->key = cmd->argv[first];
}

/* Keys that do not: listed behind the arguments, where command_key() finds them. `extra` is one
 * more argument's index; 0: none. It comes first when it stands first, as a destination does. */
static void keys_listed(struct finder *f, uint32_t first, uint32_t count, uint32_t extra)
{
	struct command *cmd = f->cmd;
	uint32_t argc = cmd->argc, n = argc;
	struct slice *argv = parser_argv(f->p, argc + count + 1);
	if (extra && extra < first) argv[n++] = argv[extra];
	memcpy(argv + n, argv + first, count * sizeof(*argv));
	n += count;
	if (extra > first) argv[n++] = argv[extra];
	cmd->argv = argv;
	keys_at(cmd, argc, 1, n - argc);
}

static bool key_and_store(struct finder *f, uint32_t store)
{
	if (store) keys_listed(f, (uint32_t)f->row->first, 1, store);
	else keys_at(f->cmd, (uint32_t)f->row->first, 1, 1);
	return true;
}

static bool rule_none(struct finder *f)
{
	(void)f;
	return true;
}

static bool rule_range(struct finder *f)
{
	const struct resp_command *row = f->row;
	uint32_t last = row->last >= 0 ? (uint32_t)row->last : f->cmd->argc - (uint32_t)-row->last;
	uint32_t first = (uint32_t)row->first, step = (uint32_t)row->step;
	keys_at(f->cmd, first, step, (last - first) / step + 1);
	return true;
}

static bool rule_pairs(struct finder *f)
{
	if (f->cmd->argc % 2 == 0) {
		resp_refuse(f->p, f->cmd, "wrong number of arguments for '%s' command",
			    f->row->op.name);
		return false;
	}
	return rule_range(f);
}

/* What is wrong with a number of keys, as the commands of each family say it; %s is the command. */
struct count_texts {
	const char *no_number, *negative, *zero, *too_many;
};

static const char not_integer[] = "value is not an integer or out of range";
static const char more_than_args[] = "Number of keys can't be greater than number of args";

/* A script without keys could touch any key, and would find those of whichever server ran it. */
static const struct count_texts script_texts = {
	not_integer,
	"Number of keys can't be negative",
	"'%s' without keys is not supported by this proxy: keys tell which server runs it",
	more_than_args,
};
static const struct count_texts zset_texts = {
	not_integer,
	"at least 1 input key is needed for '%s' command",
	"at least 1 input key is needed for '%s' command",
	"syntax error",
};
static const struct count_texts pop_texts = {
	"numkeys should be greater than 0",
	"numkeys should be greater than 0",
	"numkeys should be greater than 0",
	"syntax error",
};
static const struct count_texts card_texts = {
	"numkeys should be greater than 0",
	"numkeys should be greater than 0",
	"numkeys should be greater than 0",
	more_than_args,
};

static bool counted(struct finder *f, const struct count_texts *texts)
{
	const char *wrong = NULL;
	uint32_t at = (uint32_t)f->row->last;
	struct slice s = f->cmd->argv[at];
	bool negative = s.n > 1 && s.p[0] == '-';
	uint64_t count;
	if (negative) s = (struct slice){ s.p + 1, s.n - 1 };
	if (!resp_count(s, INT32_MAX, &count)) wrong = texts->no_number;
	else if (negative) wrong = texts->negative;
	else if (count == 0) wrong = texts->zero;
	else if (count > f->cmd->argc - at - 1) wrong = texts->too_many;
	if (wrong) {
		resp_refuse(f->p, f->cmd, wrong, f->row->op.name);
		return false;
	}
	if (f->row->first) keys_listed(f, at + 1, (uint32_t)count, (uint32_t)f->row->first);
	else keys_at(f->cmd, at + 1, 1, (uint32_t)count);
	return true;
}

static bool rule_script(struct finder *f)
{
	return counted(f, &script_texts);
}

static bool rule_zset(struct finder *f)
{
	return counted(f, &zset_texts);
}

static bool rule_pop(struct finder *f)
{
	return counted(f, &pop_texts);
}

static bool rule_card(struct finder *f)
{
	return counted(f, &card_texts);
}

/* An option and how many arguments follow it. */
struct keyword {
	const char *name;
	uint8_t args;
	uint8_t what; /* the rule's own */
};

/* The option at argv[i], if its arguments are there too. */
static const struct keyword *keyword_at(const struct command *cmd, uint32_t i,
					const struct keyword *options)
{
	for (; options->name; options++)
		if (resp_is(cmd->argv[i], options->name))
			return cmd->argc - i - 1 >= options->args ? options : NULL;
	return NULL;
}

enum { PLAIN, STORE, PATTERN_BY, PATTERN_GET };

/* clang-format off */
static const struct keyword sort_options[] = {
	{ "asc",   0, PLAIN },
	{ "desc",  0, PLAIN },
	{ "alpha", 0, PLAIN },
	{ "limit", 2, PLAIN },
	{ "store", 1, STORE },
	{ "by",    1, PATTERN_BY },
	{ "get",   1, PATTERN_GET },
	{ NULL,    0, PLAIN },
};
/* clang-format on */

static bool rule_sort(struct finder *f)
{
	static const char elsewhere[] = "the pattern's keys may live on other servers";
	struct command *cmd = f->cmd;
	uint32_t store = 0;
	const struct keyword *o;
	for (uint32_t i = (uint32_t)f->row->last; i < cmd->argc; i += 1u + o->args) {
		o = keyword_at(cmd, i, sort_options);
		if (!o || (o->what == STORE && f->row->op.access == OP_READ))
			return syntax_error(f);
		if (o->what == STORE) store = i + 1;
		/* Without a '*', BY means: do not sort. GET # is the element itself. */
		if (o->what == PATTERN_BY && memchr(cmd->argv[i + 1].p, '*', cmd->argv[i + 1].n))
			return unsupported_option(f, "BY", elsewhere);
		if (o->what == PATTERN_GET && !resp_is(cmd->argv[i + 1], "#"))
			return unsupported_option(f, "GET", elsewhere);
	}
	return key_and_store(f, store);
}

/* clang-format off */
static const struct keyword geo_options[] = {
	{ "withcoord", 0, PLAIN },
	{ "withdist",  0, PLAIN },
	{ "withhash",  0, PLAIN },
	{ "asc",       0, PLAIN },
	{ "desc",      0, PLAIN },
	{ "any",       0, PLAIN },
	{ "count",     1, PLAIN },
	{ "store",     1, STORE },
	{ "storedist", 1, STORE },
	{ NULL,        0, PLAIN },
};
/* clang-format on */

static bool rule_geo(struct finder *f)
{
	uint32_t store = 0;
	const struct keyword *o;
	for (uint32_t i = (uint32_t)f->row->last; i < f->cmd->argc; i += 1u + o->args) {
		o = keyword_at(f->cmd, i, geo_options);
		if (!o) return syntax_error(f);
		if (o->what == STORE) store = i + 1;
	}
	return key_and_store(f, store);
}

enum { STREAMS = 1, BLOCK, GROUP };

/* clang-format off */
static const struct keyword stream_options[] = {
	{ "streams", 0, STREAMS },
	{ "block",   1, BLOCK },
	{ "count",   1, PLAIN },
	{ "group",   2, GROUP },
	{ "noack",   0, GROUP },
	{ NULL,      0, PLAIN },
};
/* clang-format on */

static bool rule_streams(struct finder *f)
{
	struct command *cmd = f->cmd;
	bool group = false, may_group = f->row->op.id == RESP_XREADGROUP;
	const struct keyword *o = NULL;
	uint32_t i = (uint32_t)f->row->last;
	for (; i < cmd->argc; i += 1u + o->args) {
		o = keyword_at(cmd, i, stream_options);
		if (!o || (o->what == GROUP && !may_group)) return syntax_error(f);
		if (o->what == BLOCK)
			return unsupported_option(f, "BLOCK", resp_why_text(WHY_BLOCKING));
		if (o->what == STREAMS) break;
		group |= o->args == 2;
	}
	uint32_t left = i < cmd->argc ? cmd->argc - i - 1 : 0;
	if (left % 2) {
		resp_refuse(f->p, cmd,
			    "Unbalanced XREAD list of streams: for each stream key an ID or '$' "
			    "must be specified.");
		return false;
	}
	if (left == 0) return syntax_error(f);
	if (may_group && !group) {
		resp_refuse(f->p, cmd, "Missing GROUP option for XREADGROUP");
		return false;
	}
	keys_at(cmd, i + 1, 1, left / 2);
	return true;
}

static bool rule_copy(struct finder *f)
{
	/* clang-format off */
	static const struct keyword options[] = {
		{ "replace", 0, PLAIN },
		{ "db",      1, STORE },
		{ NULL,      0, PLAIN },
	};
	/* clang-format on */
	const struct keyword *o;
	for (uint32_t i = (uint32_t)f->row->last + 1; i < f->cmd->argc; i += 1u + o->args) {
		o = keyword_at(f->cmd, i, options);
		if (!o) return syntax_error(f);
		if (o->what == STORE)
			return unsupported_option(f, "DB", resp_why_text(WHY_DATABASE));
	}
	return rule_range(f);
}

static bool rule_flush(struct finder *f)
{
	const struct command *cmd = f->cmd;
	if (cmd->argc > 2 ||
	    (cmd->argc == 2 && !resp_is(cmd->argv[1], "async") && !resp_is(cmd->argv[1], "sync")))
		return syntax_error(f);
	if (f->limits->allow_flush) return true;
	char what[24];
	snprintf(what, sizeof(what), "'%s'", f->row->op.name);
	resp_unsupported(f->p, f->cmd, what, "allow_flush is off for this pool");
	return false;
}

static bool (*const rules[RULE_MAX])(struct finder *f) = {
	[RULE_NONE] = rule_none,       [RULE_RANGE] = rule_range, [RULE_PAIRS] = rule_pairs,
	[RULE_SCRIPT] = rule_script,   [RULE_ZSET] = rule_zset,	  [RULE_POP] = rule_pop,
	[RULE_CARD] = rule_card,       [RULE_SORT] = rule_sort,	  [RULE_GEO] = rule_geo,
	[RULE_STREAMS] = rule_streams, [RULE_COPY] = rule_copy,	  [RULE_FLUSH] = rule_flush,
};

bool resp_find_keys(struct parser *p, const struct codec_limits *limits,
		    const struct resp_command *row, struct command *cmd)
{
	if (row->rule == RULE_RANGE && row->first == row->last) {
		keys_at(cmd, (uint32_t)row->first, 1, 1);
		return true;
	}
	struct finder f = { p, limits, row, cmd };
	return rules[row->rule](&f);
}

bool resp_count(struct slice s, uint64_t max, uint64_t *value_out)
{
	if (s.n == 0 || s.n > 19 || (s.n > 1 && s.p[0] == '0')) return false;
	uint64_t v = 0;
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned)(s.p[i] - '0') > 9) return false;
		v = v * 10 + (unsigned)(s.p[i] - '0');
	}
	*value_out = v;
	return v <= max;
}
