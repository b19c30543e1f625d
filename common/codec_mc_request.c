#include "common/codec_mc_request.h"

#include <inttypes.h>

enum { MC_INDENT_MAX = 100 /* blanks before a read that may be long; memcached's own figure */ };

static const struct slice line_too_long = SLICE("CLIENT_ERROR line too long\r\n");
static const struct slice too_many_keys = SLICE("CLIENT_ERROR too many keys\r\n");

/* --- what every parser uses ---------------------------------------------------------------- */

enum parse_result mc_refuse(struct mc_request *r, enum parse_result how, struct slice text)
{
	r->cmd->consumed = r->line_n;
	r->cmd->error = r->cmd->flags & CMD_NOREPLY ? SLICE("") : text;
	return how;
}

void mc_args_split(struct mc_request *r, struct mc_args *args)
{
	args->n = 0;
	args->clean = true;
	const char *p = r->args;
	while (p < r->end) {
		const char *arg = ++p; /* behind the blank */
		while ((p = mc_span(p, r->end)) < r->end && *p != ' ') {
			args->clean = false;
			p++;
		}
		if (p == arg) {
			r->plain = false;
			continue;
		}
		if (args->n < MC_ARGS_MAX) args->v[args->n] = (struct slice){ arg, p - arg };
		args->n++;
	}
}

void mc_args_noreply(struct mc_request *r, const struct mc_args *args)
{
	if (args->n == 0 || args->n > MC_ARGS_MAX) return;
	if (slice_eq(args->v[args->n - 1], SLICE("noreply"))) r->cmd->flags |= CMD_NOREPLY;
}

void mc_set_key(struct mc_request *r, struct slice key)
{
	struct slice *argv = parser_argv(r->parser, 2);
	argv[0] = r->verb;
	argv[1] = key;
	r->cmd->key = key;
	r->cmd->argv = argv;
	r->cmd->argc = 2;
	r->cmd->first_key = r->cmd->key_step = r->cmd->key_count = 1;
}

enum parse_result mc_set_head(struct mc_request *r)
{
	r->cmd->consumed = r->line_n;
	r->cmd->head = (struct slice){ r->data, r->line_n };
	return PARSE_OK;
}

enum parse_result mc_cut_head(struct mc_request *r, struct slice last)
{
	scratch_clear(&r->parser->tmp);
	scratch_put(&r->parser->tmp, r->data, last.p + last.n - r->data);
	return mc_rebuilt(r);
}

struct scratch *mc_rebuild(struct mc_request *r)
{
	struct scratch *out = &r->parser->tmp;
	scratch_clear(out);
	scratch_puts(out, r->verb);
	return out;
}

void mc_rebuild_arg(struct scratch *out, struct slice arg)
{
	char *p = scratch_reserve(out, arg.n + 1);
	*p = ' ';
	memcpy(p + 1, arg.p, arg.n);
	out->n += arg.n + 1;
}

void mc_rebuild_u64(struct scratch *out, uint64_t v)
{
	scratch_put(out, " ", 1);
	scratch_put_u64(out, v);
}

void mc_put_token(struct scratch *out, uint64_t v)
{
	scratch_printf(out, "%020" PRIu64, v);
}

enum parse_result mc_tagged(struct mc_request *r, enum parse_result result)
{
	if (r->limits->cas_tags) r->cmd->info = &mc_tagged_ops[r->row->info->id];
	return result;
}

void mc_rebuild_i64(struct scratch *out, int64_t v)
{
	scratch_put(out, v < 0 ? " -" : " ", v < 0 ? 2 : 1);
	scratch_put_u64(out, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

enum parse_result mc_rebuilt(struct mc_request *r)
{
	scratch_put(&r->parser->tmp, "\r\n", 2);
	r->cmd->consumed = r->line_n;
	r->cmd->head = scratch_slice(&r->parser->tmp);
	return PARSE_OK;
}

/* --- reads --------------------------------------------------------------------------------- */

/* The keys of a read, from `p` on; `fixed` arguments are in argv already. */
static enum parse_result mc_parse_keys(struct mc_request *r, const char *p, uint32_t fixed)
{
	struct parser *parser = r->parser;
	struct slice *argv = parser_argv(parser, fixed + 1);
	uint32_t cap = parser->argv_cap, argc = fixed;
	const uint64_t most = (uint64_t)fixed + r->limits->args_max;
	while (p < r->end) {
		const char *key = ++p; /* behind the blank */
		p = mc_span(p, r->end);
		size_t n = p - key;
		if (n > MC_KEY_MAX || (p < r->end && *p != ' '))
			return mc_refuse(r, PARSE_ERROR, MC_BAD_FORMAT);
		if (n == 0) {
			r->plain = false;
			continue;
		}
		if (argc == most) return mc_refuse(r, PARSE_ERROR, too_many_keys);
		if (argc == cap) {
			argv = parser_argv(parser, cap + 1);
			cap = parser->argv_cap;
		}
		argv[argc++] = (struct slice){ key, n };
	}
	struct command *cmd = r->cmd;
	cmd->argv = argv;
	cmd->argc = argc;
	cmd->first_key = fixed;
	cmd->key_step = 1;
	cmd->key_count = argc - fixed;
	if (cmd->key_count > 0) cmd->key = argv[fixed];
	return PARSE_OK;
}

/* The line in canonical form; argv must be complete, and its arguments canonical. */
static enum parse_result mc_rebuild_read(struct mc_request *r)
{
	struct scratch *out = mc_rebuild(r);
	for (uint32_t i = 1; i < r->cmd->argc; i++) mc_rebuild_arg(out, r->cmd->argv[i]);
	return mc_rebuilt(r);
}

enum parse_result mc_parse_get(struct mc_request *r)
{
	parser_argv(r->parser, 2)[0] = r->verb;
	enum parse_result result = mc_parse_keys(r, r->args, 1);
	if (result != PARSE_OK) return result;
	if (r->cmd->key_count == 0) return mc_refuse(r, PARSE_ERROR, MC_ERROR);
	return r->plain ? mc_set_head(r) : mc_rebuild_read(r);
}

enum parse_result mc_parse_gets(struct mc_request *r)
{
	return mc_tagged(r, mc_parse_get(r));
}

/* The exptime in canonical form takes the place of the client's in the rebuilt line, and argv must
 * show it there, as parts of this command are made from argv. */
static enum parse_result mc_rebuild_gat(struct mc_request *r, int32_t exptime)
{
	struct scratch *out = mc_rebuild(r);
	size_t at = out->n + 1;
	mc_rebuild_i64(out, exptime);
	size_t n = out->n - at;
	for (uint32_t i = 2; i < r->cmd->argc; i++) mc_rebuild_arg(out, r->cmd->argv[i]);
	enum parse_result result = mc_rebuilt(r);
	r->parser->argv[1] = (struct slice){ r->cmd->head.p + at, n };
	return result;
}

enum parse_result mc_parse_gat(struct mc_request *r)
{
	const char *p = r->args;
	while (p < r->end && *p == ' ') p++;
	if (p - r->args > 1) r->plain = false;
	const char *stop = memchr(p, ' ', r->end - p);
	struct slice arg = { p, (stop ? stop : r->end) - p };
	if (arg.n == 0) return mc_refuse(r, PARSE_ERROR, MC_ERROR);
	int32_t exptime;
	if (!mc_parse_exptime(arg, &exptime, &r->plain))
		return mc_refuse(r, PARSE_ERROR, MC_BAD_EXPTIME);
	struct slice *argv = parser_argv(r->parser, 3);
	argv[0] = r->verb;
	argv[1] = arg;
	enum parse_result result = mc_parse_keys(r, arg.p + arg.n, 2);
	if (result != PARSE_OK) return result;
	/* memcached finds nothing to say against a gat of no keys. */
	if (r->cmd->key_count == 0) return mc_refuse(r, PARSE_ERROR, SLICE("END\r\n"));
	return r->plain ? mc_set_head(r) : mc_rebuild_gat(r, exptime);
}

enum parse_result mc_parse_gats(struct mc_request *r)
{
	return mc_tagged(r, mc_parse_gat(r));
}

/* --- what never reaches a server ----------------------------------------------------------- */

enum parse_result mc_parse_local(struct mc_request *r)
{
	struct mc_args args;
	mc_args_split(r, &args);
	uint32_t kept = args.n < MC_ARGS_MAX ? args.n : MC_ARGS_MAX;
	struct slice *argv = parser_argv(r->parser, kept + 1);
	argv[0] = r->verb;
	memcpy(argv + 1, args.v, kept * sizeof(*argv));
	r->cmd->argv = argv;
	r->cmd->argc = kept + 1;
	r->cmd->consumed = r->line_n;
	return PARSE_OK;
}

enum parse_result mc_parse_quit(struct mc_request *r)
{
	r->cmd->flags |= CMD_CLOSE;
	return mc_parse_local(r);
}

enum parse_result mc_parse_refused(struct mc_request *r)
{
	return mc_refuse(r, PARSE_OK, r->row->refusal);
}

/* --- finding the line ---------------------------------------------------------------------- */

/* Some other protocol, told by its first byte: a memcached line never begins with these. */
static bool mc_is_foreign(char first, struct slice *error_out)
{
	switch ((unsigned char)first) {
	case 0x80: /* memcached's binary protocol; its clients hang unless they see a close */
	case 0x16: /* a TLS hello */ *error_out = SLICE(""); return true;
	case '*': *error_out = SLICE("-ERR this port speaks memcached, not Redis\r\n"); return true;
	}
	return false;
}

/* Only the reads may be long. Decided by what the first MC_LINE_MAX bytes show. */
static bool mc_is_read(const char *data, size_t n)
{
	static const char *const reads[] = { "get ", "gets ", "gat ", "gats " };
	const char *p = data, *end = data + n;
	while (p < end && *p == ' ' && p - data < MC_INDENT_MAX) p++;
	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		size_t len = strlen(reads[i]);
		if ((size_t)(end - p) >= len && memcmp(p, reads[i], len) == 0) return true;
	}
	return false;
}

static bool mc_line_fits(const struct codec_limits *limits, const char *data, size_t n)
{
	if (n <= MC_LINE_MAX) return true;
	if (!mc_is_read(data, MC_LINE_MAX)) return false;
	return n <= MC_GET_LINE_MAX && n <= limits->request_max_bytes;
}

/* No newline yet. */
static enum parse_result mc_line_incomplete(const struct codec_limits *limits, const char *data,
					    size_t n, struct parse_resume *resume,
					    struct command *cmd)
{
	*cmd = (struct command){ .consumed = n };
	if (n > 0 && mc_is_foreign(data[0], &cmd->error)) return PARSE_FATAL;
	/* The newline will be one byte more. */
	if (!mc_line_fits(limits, data, n + 1)) {
		cmd->error = line_too_long;
		return PARSE_FATAL;
	}
	resume->at = n;
	return PARSE_NEED;
}

/* Not a verb: a browser, another protocol, or a mistake. */
static enum parse_result mc_unknown(struct mc_request *r)
{
	struct slice error;
	if (mc_is_foreign(r->data[0], &error)) return mc_refuse(r, PARSE_FATAL, error);
	const char *last = memrchr(r->data, ' ', r->end - r->data);
	if (last && r->end - last > 6 && memcmp(last + 1, "HTTP/", 5) == 0)
		return mc_refuse(r, PARSE_FATAL, SLICE(""));
	return mc_refuse(r, PARSE_ERROR, MC_ERROR);
}

static enum parse_result mc_parse_line(struct mc_request *r)
{
	const char *verb = r->data;
	while (verb < r->end && *verb == ' ') verb++;
	if (verb != r->data) r->plain = false;
	const char *p = verb;
	while (p < r->end && *p != ' ') p++;
	r->verb = (struct slice){ verb, p - verb };
	r->args = p;
	r->row = mc_verb_find(r->verb);
	if (!r->row) return mc_unknown(r);
	r->cmd->info = r->row->info;
	return r->row->parse(r);
}

enum parse_result mc_parse_any(struct parser *p, const struct codec_limits *limits,
			       const char *data, size_t n, struct parse_resume *resume,
			       struct command *cmd, size_t *skip_out)
{
	if (n < resume->need || n == 0) return PARSE_NEED;
	const char *newline = memchr(data + resume->at, '\n', n - resume->at);
	if (!newline) return mc_line_incomplete(limits, data, n, resume, cmd);
	zero_in_pieces(cmd, sizeof(*cmd));
	size_t line_n = newline - data + 1;
	bool crlf = line_n > 1 && newline[-1] == '\r';
	struct mc_request r = {
		.parser = p,
		.limits = limits,
		.data = data,
		.n = n,
		.resume = resume,
		.cmd = cmd,
		.skip_out = skip_out,
		.end = newline - crlf,
		.line_n = line_n,
		.plain = crlf,
	};
	if (mc_line_fits(limits, data, line_n)) return mc_parse_line(&r);
	struct slice error = line_too_long;
	mc_is_foreign(data[0], &error);
	return mc_refuse(&r, PARSE_FATAL, error);
}
