/* codec_resp_command.c - which command it is, and what is said about those that go nowhere. */
#include "common/codec_resp.h"

#include <stdarg.h>
#include <stdio.h>

struct slice resp_error(struct parser *p, const char *format, ...)
{
	char text[RESP_ERROR_MAX];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text) - 2, format, args);
	va_end(args);
	size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) - 3 ? (size_t)n : sizeof(text) - 3;
	/* The text may quote what the client sent; a line end in it would end the reply early. */
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\r' || text[i] == '\n') text[i] = ' ';
	memcpy(text + len, "\r\n", 2);
	size_t begin = p->tmp.n;
	scratch_put(&p->tmp, text, len + 2);
	return (struct slice){ p->tmp.p + begin, len + 2 };
}

enum parse_result resp_fatal(struct parser *p, struct command *cmd, const char *text)
{
	cmd->info = &resp_command_at(RESP_NOT_KNOWN)->op;
	cmd->error = resp_error(p, "-ERR Protocol error: %s", text);
	return PARSE_FATAL;
}

static void mark_refused(struct command *cmd, enum resp_id id, struct slice error)
{
	cmd->info = &resp_command_at(id)->op;
	cmd->error = error;
	cmd->key = (struct slice){ 0 };
	cmd->key_count = 0;
}

void resp_refuse(struct parser *p, struct command *cmd, const char *format, ...)
{
	char text[RESP_ERROR_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	mark_refused(cmd, RESP_NOT_ALLOWED, resp_error(p, "-ERR %s", text));
}

void resp_unsupported(struct parser *p, struct command *cmd, const char *what, const char *why)
{
	resp_refuse(p, cmd, "%s is not supported by this proxy: %s", what, why);
}

/* As much of `s` as a C string would show, at most `most` bytes. */
static int shown(struct slice s, size_t most)
{
	return (int)strnlen(s.p, s.n < most ? s.n : most);
}

/* redis' own words: clients look for them to see what a server can do. */
static void refuse_unknown(struct parser *p, struct command *cmd)
{
	enum { SHOWN_MAX = 128 };
	char args[2 * SHOWN_MAX];
	size_t n = 0;
	for (uint32_t i = 1; i < cmd->argc && n < SHOWN_MAX; i++) {
		struct slice a = cmd->argv[i];
		n += (size_t)snprintf(args + n, sizeof(args) - n, "'%.*s' ",
				      shown(a, SHOWN_MAX - n), a.p);
	}
	struct slice verb = cmd->argv[0];
	struct slice error = resp_error(p,
					"-ERR unknown command '%.*s', with args beginning with: "
					"%.*s",
					shown(verb, SHOWN_MAX), verb.p, (int)n, args);
	mark_refused(cmd, RESP_NOT_KNOWN, error);
}

static void refuse_subcommand(struct parser *p, struct command *cmd,
			      const struct resp_command *family)
{
	char name[16];
	size_t n = 0;
	for (const char *c = family->op.name; *c && n < sizeof(name) - 1; c++)
		name[n++] = (char)(*c - ('a' - 'A'));
	name[n] = 0;
	struct slice sub = cmd->argv[1];
	struct slice error = resp_error(p, "-ERR unknown subcommand '%.*s'. Try %s HELP.",
					shown(sub, 128), sub.p, name);
	mark_refused(cmd, RESP_NOT_KNOWN, error);
}

/* Unlike resp_refuse() this keeps the row, so that each has its own count in the metrics. */
static void refuse_row(struct parser *p, struct command *cmd, const struct resp_command *row)
{
	char name[40];
	snprintf(name, sizeof(name), "%s", row->op.name);
	char *bar = strchr(name, '|');
	if (bar) *bar = ' ';
	mark_refused(cmd, row->op.id,
		     resp_error(p, "-ERR '%s' is not supported by this proxy: %s", name,
				resp_why_text(row->why)));
}

void resp_resolve(struct parser *p, const struct codec_limits *limits, struct command *cmd)
{
	const struct resp_command *row = resp_command_recall(p, cmd->argv[0]);
	if (!row) {
		refuse_unknown(p, cmd);
		return;
	}
	if (row->flags & RESP_CONTAINER && cmd->argc >= 2) {
		const struct resp_command *family = row;
		row = resp_subcommand_find(family, cmd->argv[1]);
		if (!row) {
			refuse_subcommand(p, cmd, family);
			return;
		}
	}
	if (!resp_arity_fits(row, cmd->argc)) {
		resp_refuse(p, cmd, "wrong number of arguments for '%s' command", row->op.name);
		return;
	}
	cmd->info = &row->op;
	if (row->op.route == OP_REFUSED) refuse_row(p, cmd, row);
	else resp_find_keys(p, limits, row, cmd);
}
