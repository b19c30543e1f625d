#include "common/codec_mc_meta.h"
#include "common/codec_mc_request.h"

enum { MC_OPAQUE_MAX = 32 };

#define BAD_OPAQUE SLICE("CLIENT_ERROR opaque token too long\r\n")
#define BAD_KEY	   SLICE("CLIENT_ERROR error decoding key\r\n")
#define BAD_MODE_N SLICE("CLIENT_ERROR incorrect length for M token\r\n")
#define TOO_LARGE  SLICE("SERVER_ERROR object too large for cache\r\n")

/* Which flags a command takes: letters alone, with a number, with a signed number. M and O besides,
 * where `modes` says so. What else a client sends, no server ever sees. */
struct mc_meta_verb {
	const char *plain, *numbers, *times, *modes;
	const char *bad_mode, *bad_flag, *bad_token, *twice;
};

#define FLAG	"CLIENT_ERROR invalid flag\r\n"
#define TWICE	"CLIENT_ERROR duplicate flag\r\n"
#define EITHER	"CLIENT_ERROR invalid or duplicate flag\r\n"
#define TOKEN	"CLIENT_ERROR bad token in command line format\r\n"
#define MS_MODE "CLIENT_ERROR invalid mode for ms M token\r\n"
#define MA_MODE "CLIENT_ERROR invalid mode for ma M token\r\n"

static const struct mc_meta_verb meta_verbs[MC_OP_COUNT] = {
	[MC_MG] = { "bcfhklqstv", "", "NRT", "", "", FLAG, TOKEN, TWICE },
	[MC_MS] = { "bckqI", "CF", "NT", "EAPRS", MS_MODE, FLAG, TOKEN, TWICE },
	[MC_MD] = { "bkqI", "C", "T", "", "", EITHER, EITHER, EITHER },
	[MC_MA] = { "bckqtv", "CDJ", "NT", "ID+-", MA_MODE, EITHER, EITHER, EITHER },
	[MC_ME] = { "b", "", "", "", "", EITHER, EITHER, EITHER },
};

/* --- base64 ----------------------------------------------------------------------------------- */

static int mc_base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Append what the text stands for; false: it is not whole, or not base64. */
static bool mc_base64(struct slice text, struct scratch *out)
{
	if (text.n == 0 || text.n % 4 != 0) return false;
	for (size_t i = 0; i < text.n; i += 4) {
		const char *p = text.p + i;
		bool last = i + 4 == text.n;
		size_t pad = last && p[3] == '=' ? 1 + (p[2] == '=') : 0;
		uint32_t bits = 0;
		for (size_t k = 0; k < 4; k++) {
			int digit = k >= 4 - pad ? 0 : mc_base64_digit(p[k]);
			if (digit < 0) return false;
			bits = bits << 6 | (uint32_t)digit;
		}
		char bytes[3] = { (char)(bits >> 16), (char)(bits >> 8), (char)bits };
		scratch_put(out, bytes, 3 - pad);
	}
	return true;
}

/* --- the line --------------------------------------------------------------------------------- */

struct mc_meta_line {
	const struct mc_meta_verb *verb;
	struct slice key;
	uint32_t bytes; /* ms */
	struct mc_flags flags;
	struct slice error; /* what is wrong with it; n 0: nothing */
};

static bool mc_is_number(struct slice token, uint64_t max)
{
	uint64_t v;
	return mc_digits(token.p, token.p + token.n, max, &v) == token.p + token.n;
}

static bool mc_is_time(struct slice token)
{
	bool minus = token.n > 0 && token.p[0] == '-';
	return mc_is_number((struct slice){ token.p + minus, token.n - minus }, INT32_MAX);
}

static struct slice mc_check_flag(const struct mc_meta_verb *verb, struct slice flag)
{
	char letter = flag.p[0];
	struct slice token = { flag.p + 1, flag.n - 1 };
	uint64_t max = letter == 'F' ? UINT32_MAX : UINT64_MAX;
	struct slice bad = letter == 'F' ? MC_BAD_FORMAT : slice_of(verb->bad_token);
	if (strchr(verb->numbers, letter)) return mc_is_number(token, max) ? SLICE("") : bad;
	if (strchr(verb->times, letter)) return mc_is_time(token) ? SLICE("") : bad;
	if (letter == 'O') return token.n > MC_OPAQUE_MAX ? BAD_OPAQUE : SLICE("");
	if (letter == 'M' && verb->modes[0]) {
		if (token.n != 1) return BAD_MODE_N;
		return strchr(verb->modes, token.p[0]) ? SLICE("") : slice_of(verb->bad_mode);
	}
	return strchr(verb->plain, letter) && token.n == 0 ? SLICE("") : slice_of(verb->bad_flag);
}

static struct slice mc_check_flags(const struct mc_meta_line *line)
{
	const struct mc_flags *f = &line->flags;
	for (uint32_t i = 0; i < f->n; i++) {
		for (uint32_t k = 0; k < i; k++)
			if (f->v[k].p[0] == f->v[i].p[0]) return slice_of(line->verb->twice);
		struct slice error = mc_check_flag(line->verb, f->v[i]);
		if (error.n) return error;
	}
	return SLICE("");
}

/* The next word of what is left, moving over it. */
static struct slice mc_next_word(struct slice *rest)
{
	const char *p = rest->p, *end = rest->p + rest->n;
	while (p < end && *p == ' ') p++;
	const char *word = p;
	while (p < end && *p != ' ') p++;
	*rest = (struct slice){ p, end - p };
	return (struct slice){ word, p - word };
}

static bool mc_is_clean(struct slice text)
{
	const char *p = text.p, *end = text.p + text.n;
	while ((p = mc_span(p, end)) < end)
		if (*p++ != ' ') return false;
	return true;
}

/* Key and flags. */
static void mc_meta_check(struct mc_request *r, struct mc_meta_line *line, struct slice rest)
{
	if (!mc_is_clean((struct slice){ r->args, r->end - r->args }) || line->key.n > MC_KEY_MAX)
		line->error = MC_BAD_FORMAT;
	else if (!mc_flags_split(rest, &line->flags)) line->error = MC_BAD_FORMAT;
	else line->error = mc_check_flags(line);
}

/* The line as servers get it: without q, which is ours to keep, as a reply must come. Behind it in
 * the same memory, the key that the line only encodes. */
static bool mc_meta_rebuild(struct mc_request *r, const struct mc_meta_line *line)
{
	struct scratch *out = mc_rebuild(r);
	struct command *cmd = r->cmd;
	size_t key_at = out->n + 1;
	mc_rebuild_arg(out, line->key);
	size_t key_n = line->key.n;
	if (r->row->info->id == MC_MS) mc_rebuild_u64(out, line->bytes);
	for (uint32_t i = 0; i < line->flags.n; i++) {
		struct slice flag = line->flags.v[i];
		uint64_t token = 0;
		if (flag.p[0] == 'q') {
			cmd->flags |= CMD_QUIET;
		} else if (flag.p[0] == 'C' && r->limits->cas_tags) {
			mc_digits(flag.p + 1, flag.p + flag.n, UINT64_MAX, &token);
			scratch_puts(out, SLICE(" C"));
			mc_put_token(out, token);
		} else {
			mc_rebuild_arg(out, flag);
		}
	}
	scratch_put(out, "\r\n", 2);
	size_t head_n = out->n;
	if (mc_flags_has(&line->flags, 'b')) {
		key_at = out->n;
		if (!mc_base64(line->key, out)) return false;
		key_n = out->n - key_at;
	}
	mc_set_key(r, (struct slice){ out->p + key_at, key_n });
	cmd->consumed = r->line_n;
	cmd->head = (struct slice){ out->p, head_n };
	return true;
}

/* Tokens and all: the row's twin where the pool marks them. */
static void mc_meta_tagged(struct mc_request *r, const struct mc_meta_line *line)
{
	const struct op_info *info = r->row->info;
	bool reads = info->id == MC_MG;
	if (!r->limits->cas_tags || !mc_client_tagged_ops[info->id].name) return;
	if (!reads || mc_flags_has(&line->flags, 'c'))
		r->cmd->info = &mc_client_tagged_ops[info->id];
}

static enum parse_result mc_meta_forward(struct mc_request *r, const struct mc_meta_line *line)
{
	if (!mc_meta_rebuild(r, line)) return mc_refuse(r, PARSE_ERROR, BAD_KEY);
	mc_meta_tagged(r, line);
	return PARSE_OK;
}

enum parse_result mc_parse_meta(struct mc_request *r)
{
	struct slice rest = { r->args, r->end - r->args };
	struct mc_meta_line line = { .verb = &meta_verbs[r->row->info->id] };
	if (!r->limits->meta_commands) return mc_parse_meta_refused(r);
	line.key = mc_next_word(&rest);
	bool debug = r->row->info->id == MC_ME;
	if (line.key.n == 0) return mc_refuse(r, PARSE_ERROR, debug ? MC_BAD_FORMAT : MC_ERROR);
	mc_meta_check(r, &line, rest);
	if (line.error.n) return mc_refuse(r, PARSE_ERROR, line.error);
	return mc_meta_forward(r, &line);
}

static enum parse_result mc_meta_body(struct mc_request *r, const struct mc_meta_line *line)
{
	struct slice body = { r->data + r->line_n, (size_t)line->bytes + 2 };
	size_t total = r->line_n + body.n;
	if (r->n < total) {
		r->resume->need = total;
		r->resume->at = r->line_n - 1;
		return PARSE_NEED;
	}
	size_t line_n = r->line_n;
	r->line_n = total;
	if (memcmp(body.p + line->bytes, "\r\n", 2) != 0)
		return mc_refuse(r, PARSE_ERROR, MC_BAD_CHUNK);
	enum parse_result result = mc_meta_forward(r, line);
	r->line_n = line_n;
	if (result == PARSE_OK) r->cmd->body = body;
	return result;
}

/* ms KEY BYTES flags*: whatever is wrong with it, its body is no command. */
enum parse_result mc_parse_meta_set(struct mc_request *r)
{
	struct slice rest = { r->args, r->end - r->args };
	struct mc_meta_line line = { .verb = &meta_verbs[MC_MS] };
	bool plain = false;
	if (!r->limits->meta_commands) return mc_parse_meta_set_refused(r);
	line.key = mc_next_word(&rest);
	struct slice bytes = mc_next_word(&rest);
	if (line.key.n == 0) return mc_refuse(r, PARSE_ERROR, MC_ERROR);
	if (bytes.n == 0) return mc_refuse(r, PARSE_ERROR, MC_BAD_FORMAT);
	if (!mc_parse_length(bytes, &line.bytes, &plain))
		return mc_refuse(r, PARSE_FATAL, MC_BAD_FORMAT);
	mc_meta_check(r, &line, rest);
	if (!line.error.n && (line.bytes > r->limits->value_max_bytes ||
			      r->line_n + line.bytes + 2 > r->limits->request_max_bytes))
		line.error = TOO_LARGE;
	if (line.error.n) return mc_refuse_body(r, line.bytes, line.error);
	return mc_meta_body(r, &line);
}

enum parse_result mc_parse_noop(struct mc_request *r)
{
	return r->limits->meta_commands ? mc_parse_local(r) : mc_parse_meta_refused(r);
}
