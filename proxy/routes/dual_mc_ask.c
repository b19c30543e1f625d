#include "common/codec_mc_scan.h"
#include "proxy/routes/dual_mc.h"

enum { WORDS_MAX = 6 }; /* verb key flags exptime bytes cas */

/* The words at the start of the line; returns how many, and in *rest_out what is behind `most`. */
static uint32_t mc_words(struct slice line, struct slice *v, uint32_t most, struct slice *rest_out)
{
	const char *p = line.p, *end = line.p + line.n;
	uint32_t n = 0;
	while (p < end && n < most) {
		const char *word = p;
		p = memchr(p, ' ', end - p);
		if (!p) p = end;
		if (p > word) v[n++] = (struct slice){ word, p - word };
		if (p < end) p++;
	}
	*rest_out = (struct slice){ p, end - p };
	return n;
}

/* How the words of a classic command are laid out, and what they make of it. */
struct mc_classic {
	uint8_t kind; /* enum mc_kind */
	char mode;
	uint8_t key, client, exptime, delta, token; /* place of the word; 0: none */
	bool wants_cas, wants_value;
};

/* clang-format off */
static const struct mc_classic classics[MC_OP_COUNT] = {
	[MC_GET]     = { MC_KIND_GET,    0,   1, 0, 0, 0, 0, false, true },
	[MC_GETS]    = { MC_KIND_GET,    0,   1, 0, 0, 0, 0, true,  true },
	[MC_GAT]     = { MC_KIND_TOUCH,  0,   2, 0, 1, 0, 0, false, true },
	[MC_GATS]    = { MC_KIND_TOUCH,  0,   2, 0, 1, 0, 0, true,  true },
	[MC_TOUCH]   = { MC_KIND_TOUCH,  0,   1, 0, 2, 0, 0, false, false },
	[MC_SET]     = { MC_KIND_SET,    'S', 1, 2, 3, 0, 0, false, false },
	[MC_ADD]     = { MC_KIND_ADD,    'E', 1, 2, 3, 0, 0, false, false },
	[MC_REPLACE] = { MC_KIND_CHANGE, 'R', 1, 2, 3, 0, 0, false, false },
	[MC_APPEND]  = { MC_KIND_CHANGE, 'A', 1, 0, 0, 0, 0, false, false },
	[MC_PREPEND] = { MC_KIND_CHANGE, 'P', 1, 0, 0, 0, 0, false, false },
	[MC_CAS]     = { MC_KIND_CAS,    'S', 1, 2, 3, 0, 5, false, false },
	[MC_INCR]    = { MC_KIND_CHANGE, 'I', 1, 0, 0, 2, 0, false, false },
	[MC_DECR]    = { MC_KIND_CHANGE, 'D', 1, 0, 0, 2, 0, false, false },
	[MC_DELETE]  = { MC_KIND_DELETE, 0,   1, 0, 0, 0, 0, false, false },
};
/* clang-format on */

static void mc_ask_token(struct mc_ask *ask, struct slice digits)
{
	mc_digits(digits.p, digits.p + digits.n, UINT64_MAX, &ask->token);
}

static void mc_ask_classic(struct mc_ask *ask)
{
	struct slice word[WORDS_MAX] = { { 0 } }, rest;
	const struct mc_classic *c = &classics[ask->op];
	mc_words(ask->line, word, WORDS_MAX, &rest);
	ask->kind = c->kind;
	ask->mode = c->mode;
	ask->key = word[c->key];
	ask->wants_cas = c->wants_cas;
	ask->wants_value = c->wants_value;
	if (c->client) ask->client = word[c->client];
	if (c->exptime) ask->exptime = word[c->exptime];
	if (c->delta) ask->delta = word[c->delta];
	if (c->token) mc_ask_token(ask, word[c->token]);
}

static enum mc_kind mc_meta_kind(const struct mc_ask *ask, bool touches, bool compares)
{
	switch (ask->op) {
	case MC_MG: return touches ? MC_KIND_TOUCH : MC_KIND_GET;
	case MC_ME: return MC_KIND_DEBUG;
	case MC_MD: return compares ? MC_KIND_CAS : MC_KIND_DELETE;
	case MC_MA: return compares ? MC_KIND_CAS : MC_KIND_CHANGE;
	default: break;
	}
	if (compares) return MC_KIND_CAS;
	switch (ask->mode) {
	case 'E': return MC_KIND_ADD;
	case 'A':
	case 'P':
	case 'R': return MC_KIND_CHANGE;
	default: return MC_KIND_SET;
	}
}

static void mc_ask_meta(struct mc_ask *ask)
{
	struct slice word[3] = { { 0 } }, rest, token;
	mc_words(ask->line, word, ask->op == MC_MS ? 3 : 2, &rest);
	ask->key = word[1];
	mc_flags_split(rest, &ask->flags);
	const struct mc_flags *flags = &ask->flags;
	ask->base64 = mc_flags_has(flags, 'b');
	ask->wants_cas = mc_flags_has(flags, 'c');
	ask->wants_value = mc_flags_has(flags, 'v');
	ask->mode = ask->op == MC_MA ? 'I' : 'S';
	if (mc_flags_find(flags, 'M', &token) && token.n) ask->mode = token.p[0] & ~0x20;
	if (mc_flags_find(flags, 'F', &token)) ask->client = token;
	bool touches = mc_flags_find(flags, 'T', &token);
	if (touches) ask->exptime = token;
	if (mc_flags_find(flags, 'C', &token)) mc_ask_token(ask, token);
	if (mc_flags_find(flags, 'N', &token)) ask->vivify = token;
	if (mc_flags_find(flags, 'J', &token)) ask->initial = token;
	ask->kind = mc_meta_kind(ask, touches, mc_flags_has(flags, 'C'));
}

/* The bytes were checked when they were parsed. */
void mc_ask_parse(const struct op_info *info, struct slice head, struct slice body,
		  struct mc_ask *out)
{
	*out = (struct mc_ask){
		.op = info->id, .client = SLICE("0"), .exptime = SLICE("0"), .initial = SLICE("0")
	};
	const char *end = memchr(head.p, '\r', head.n);
	size_t line_n = end ? (size_t)(end - head.p) : head.n;
	out->line = (struct slice){ head.p, line_n };
	out->meta = info->id == MC_MG || info->id == MC_MS || info->id == MC_MD ||
		    info->id == MC_MA || info->id == MC_ME;
	out->value = body;
	if (head.n > line_n + 2)
		out->value = (struct slice){ head.p + line_n + 2, head.n - line_n - 2 };
	if (out->meta) mc_ask_meta(out);
	else mc_ask_classic(out);
}
