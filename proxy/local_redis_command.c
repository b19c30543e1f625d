/* local_redis_command.c - COMMAND and the HELP of each family, from our own table.
 *
 * What the proxy refuses is left out: clients ask in order to learn what they may use.
 */
#include "proxy/local_redis.h"

static bool is_shown(const struct resp_command *row)
{
	return row->op.route != OP_REFUSED || row->flags & RESP_CONTAINER;
}

/* The next row of the table from *i on that is shown: of `family`, or the verbs if that is NULL. */
static const struct resp_command *next_row(const struct resp_command *family, uint32_t *i)
{
	size_t n = family ? strlen(family->op.name) : 0;
	uint32_t end = family ? RESP_COUNT : RESP_FROM_end;
	if (family && *i < RESP_FROM_end) *i = RESP_FROM_end;
	while (*i < end) {
		const struct resp_command *row = resp_command_at((*i)++);
		if (!is_shown(row)) continue;
		if (!family) return row;
		if (strncmp(row->op.name, family->op.name, n) == 0 && row->op.name[n] == '|')
			return row;
	}
	return NULL;
}

static uint32_t count_rows(const struct resp_command *family)
{
	uint32_t n = 0, i = 0;
	while (next_row(family, &i)) n++;
	return n;
}

/* "get" or "config|get"; NULL when we have none, or refuse it. */
static const struct resp_command *find_shown(struct slice name)
{
	const char *bar = memchr(name.p, '|', name.n);
	struct slice verb = { name.p, bar ? (size_t)(bar - name.p) : name.n };
	const struct resp_command *row = resp_command_find(verb);
	if (row && bar)
		row = resp_subcommand_find(row, (struct slice){ bar + 1, name.n - verb.n - 1 });
	return row && is_shown(row) ? row : NULL;
}

static bool has_movable_keys(const struct resp_command *row)
{
	switch ((enum resp_rule)row->rule) {
	case RULE_SCRIPT:
	case RULE_ZSET:
	case RULE_POP:
	case RULE_CARD:
	case RULE_SORT:
	case RULE_GEO:
	case RULE_STREAMS: return true;
	case RULE_NONE:
	case RULE_RANGE:
	case RULE_PAIRS:
	case RULE_COPY:
	case RULE_FLUSH:
	case RULE_MAX: break;
	}
	return false;
}

/* A set of status replies; `words` ends with NULL. */
static void put_words(struct answer *a, const char *const *words)
{
	uint32_t n = 0;
	while (words[n]) n++;
	put_set(a, n);
	for (uint32_t i = 0; i < n; i++) put_status(a, words[i]);
}

static void put_flags(struct answer *a, const struct resp_command *row)
{
	const char *words[8];
	uint32_t n = 0;
	if (row->op.access == OP_READ) words[n++] = "readonly";
	if (row->op.access == OP_WRITE) words[n++] = "write";
	if (row->flags & RESP_DENYOOM) words[n++] = "denyoom";
	if (row->op.route == OP_LOCAL) words[n++] = "loading";
	if (row->op.route == OP_LOCAL) words[n++] = "stale";
	if (row->flags & RESP_FAST) words[n++] = "fast";
	if (has_movable_keys(row)) words[n++] = "movablekeys";
	words[n] = NULL;
	put_words(a, words);
}

static void put_categories(struct answer *a, const struct resp_command *row)
{
	static const char *const of_group[GROUP_MAX] = {
		[GROUP_BITMAP] = "@bitmap",
		[GROUP_CLUSTER] = NULL,
		[GROUP_CONNECTION] = "@connection",
		[GROUP_GENERIC] = "@keyspace",
		[GROUP_GEO] = "@geo",
		[GROUP_HASH] = "@hash",
		[GROUP_HYPERLOGLOG] = "@hyperloglog",
		[GROUP_LIST] = "@list",
		[GROUP_PUBSUB] = "@pubsub",
		[GROUP_SCRIPTING] = "@scripting",
		[GROUP_SERVER] = NULL,
		[GROUP_SET] = "@set",
		[GROUP_SORTED_SET] = "@sortedset",
		[GROUP_STREAM] = "@stream",
		[GROUP_STRING] = "@string",
		[GROUP_TRANSACTIONS] = "@transaction",
	};
	const char *words[4];
	uint32_t n = 0;
	if (row->op.access == OP_READ) words[n++] = "@read";
	if (row->op.access == OP_WRITE) words[n++] = "@write";
	if (of_group[row->group]) words[n++] = of_group[row->group];
	words[n++] = row->flags & RESP_FAST ? "@fast" : "@slow";
	put_set(a, n);
	for (uint32_t i = 0; i < n; i++) put_status(a, words[i]);
}

/* First, last, step: as redis gives them for keys that lie evenly; else of the first, or nothing.
 */
static void put_positions(struct answer *a, const struct resp_command *row)
{
	bool even = row->rule == RULE_RANGE || row->rule == RULE_PAIRS || row->rule == RULE_COPY;
	bool none = row->rule == RULE_NONE || row->first == 0;
	put_int(a, none ? 0 : row->first);
	put_int(a, none ? 0 : even ? row->last : row->first);
	put_int(a, none ? 0 : even ? row->step : 1);
}

static void put_row_head(struct answer *a, const struct resp_command *row)
{
	put_array(a, 10);
	put_bulk(a, row->op.name);
	put_int(a, row->arity);
	put_flags(a, row);
	put_positions(a, row);
	put_categories(a, row);
	put_set(a, 0); /* tips */
	put_set(a, 0); /* key specifications */
}

static void put_row(struct answer *a, const struct resp_command *row)
{
	put_row_head(a, row);
	if (!(row->flags & RESP_CONTAINER)) {
		put_array(a, 0);
		return;
	}
	put_array(a, count_rows(row));
	const struct resp_command *sub;
	for (uint32_t i = 0; (sub = next_row(row, &i));) {
		put_row_head(a, sub);
		put_array(a, 0);
	}
}

void answer_command(struct answer *a)
{
	const struct resp_command *row;
	put_array(a, count_rows(NULL));
	for (uint32_t i = 0; (row = next_row(NULL, &i));) put_row(a, row);
}

void answer_command_count(struct answer *a)
{
	put_int(a, count_rows(NULL));
}

void answer_command_info(struct answer *a)
{
	if (a->cmd->argc == 2) {
		answer_command(a);
		return;
	}
	put_array(a, a->cmd->argc - 2);
	for (uint32_t i = 2; i < a->cmd->argc; i++) {
		const struct resp_command *row = find_shown(arg(a, i));
		if (row) put_row(a, row);
		else put_nil(a);
	}
}

/* What the command does, redis' own documentation tells; this is what the proxy does with it. */
static const char *summary(const struct resp_command *row)
{
	switch ((enum op_route)row->op.route) {
	case OP_LOCAL: return "Answered by the proxy";
	case OP_KEY: return "Goes to the server of its key";
	case OP_SAME: return "Goes to the server of its keys, if that is one";
	case OP_SPLIT: return "Goes in parts to the servers of its keys";
	case OP_ALL: return "Goes to every server";
	case OP_REFUSED: break; /* a family: some of its subcommands are not */
	}
	return "Depends on the subcommand";
}

static void put_docs(struct answer *a, const struct resp_command *row)
{
	put_bulk(a, row->op.name);
	put_map(a, 2);
	put_bulk(a, "summary");
	put_bulk(a, summary(row));
	put_bulk(a, "group");
	put_bulk(a, resp_group_name(row->group));
}

void answer_command_docs(struct answer *a)
{
	const struct resp_command *row;
	if (a->cmd->argc == 2) {
		put_map(a, count_rows(NULL));
		for (uint32_t i = 0; (row = next_row(NULL, &i));) put_docs(a, row);
		return;
	}
	uint32_t known = 0;
	for (uint32_t i = 2; i < a->cmd->argc; i++) known += find_shown(arg(a, i)) != NULL;
	put_map(a, known);
	for (uint32_t i = 2; i < a->cmd->argc; i++)
		if ((row = find_shown(arg(a, i)))) put_docs(a, row);
}

/* The row of the command that stands in argv[2], which may be one of a family. */
static const struct resp_command *quoted_row(const struct answer *a)
{
	const struct resp_command *row = resp_command_find(arg(a, 2));
	if (!row || !(row->flags & RESP_CONTAINER) || a->cmd->argc < 4) return row;
	return resp_subcommand_find(row, arg(a, 3));
}

static void put_keys(struct answer *a, const struct command *cmd)
{
	if (cmd->info->id == RESP_NOT_ALLOWED) {
		scratch_puts(a->out, cmd->error);
		return;
	}
	if (cmd->key_count == 0) {
		put_error(a, "ERR The command has no key arguments");
		return;
	}
	put_array(a, cmd->key_count);
	for (uint32_t i = 0; i < cmd->key_count; i++) resp_put_bulk(a->out, command_key(cmd, i));
}

void answer_command_getkeys(struct answer *a)
{
	const struct resp_command *row = quoted_row(a);
	struct command cmd = { .argc = a->cmd->argc - 2 };
	if (!row) {
		put_error(a, "ERR Invalid command specified");
	} else if (!resp_arity_fits(row, cmd.argc)) {
		put_error(a, "ERR Invalid number of arguments specified for command");
	} else {
		struct parser p = { 0 };
		memcpy(parser_argv(&p, cmd.argc), a->cmd->argv + 2, cmd.argc * sizeof(*p.argv));
		cmd.argv = p.argv;
		resp_resolve(&p, a->env->limits, &cmd);
		put_keys(a, &cmd);
		parser_fini(&p);
	}
}

/* COMMAND LIST [FILTERBY what value]; in a NULL filter everything matches. */
struct filter {
	struct slice pattern;
	bool all;
};

static bool is_listed(const struct filter *f, const struct resp_command *row)
{
	return f->all || glob_matches(f->pattern, row->op.name);
}

static void put_list(struct answer *a, const struct filter *f)
{
	uint32_t n = 0;
	for (uint32_t pass = 0; pass < 2; pass++) {
		if (pass == 1) put_array(a, n);
		for (uint32_t i = 0; i < RESP_NOT_KNOWN; i++) {
			const struct resp_command *row = resp_command_at(i);
			if (!is_shown(row) || !is_listed(f, row)) continue;
			n++;
			if (pass == 1) put_bulk(a, row->op.name);
		}
	}
}

void answer_command_list(struct answer *a)
{
	uint32_t argc = a->cmd->argc;
	bool filter = argc == 5 && resp_is(arg(a, 2), "filterby");
	if (argc == 2) put_list(a, &(struct filter){ .all = true });
	else if (filter && resp_is(arg(a, 3), "pattern"))
		put_list(a, &(struct filter){ .pattern = arg(a, 4) });
	else if (filter && (resp_is(arg(a, 3), "module") || resp_is(arg(a, 3), "aclcat")))
		put_array(a, 0); /* there are neither modules nor access lists here */
	else put_error(a, "ERR syntax error");
}

/* OBJECT HELP and so on: what of the family works here. */
void answer_help(struct answer *a)
{
	char name[16];
	size_t n = 0;
	for (const char *c = a->cmd->info->name; *c != '|' && n < sizeof(name) - 1; c++)
		name[n++] = *c;
	const struct resp_command *family = resp_command_find((struct slice){ name, n });
	for (size_t i = 0; i < n; i++) name[i] = (char)(name[i] - ('a' - 'A'));
	put_array(a, 1 + count_rows(family));
	scratch_printf(a->out, "+%.*s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n",
		       (int)n, name);
	const struct resp_command *sub;
	for (uint32_t i = 0; (sub = next_row(family, &i));) {
		scratch_puts(a->out, SLICE("+"));
		for (const char *c = resp_subcommand_name(sub); *c; c++) {
			char upper = (char)(*c >= 'a' && *c <= 'z' ? *c - ('a' - 'A') : *c);
			scratch_put(a->out, &upper, 1);
		}
		scratch_puts(a->out, SLICE("\r\n"));
	}
}
