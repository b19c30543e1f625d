#include "common/codec_mc_meta.h"

#include "common/codec_mc_scan.h"

bool mc_flags_split(struct slice text, struct mc_flags *out)
{
	const char *p = text.p, *end = text.p + text.n;
	out->n = 0;
	while (p < end) {
		const char *flag = p;
		p = memchr(p, ' ', end - p);
		if (!p) p = end;
		if (p > flag) {
			if (out->n == MC_META_FLAGS_MAX) return false;
			out->v[out->n++] = (struct slice){ flag, p - flag };
		}
		if (p < end) p++;
	}
	return true;
}

const struct slice *mc_flags_find(const struct mc_flags *f, char letter, struct slice *room)
{
	for (uint32_t i = 0; i < f->n; i++) {
		if (f->v[i].p[0] != letter) continue;
		*room = (struct slice){ f->v[i].p + 1, f->v[i].n - 1 };
		return room;
	}
	return NULL;
}

static void mc_item_flag(struct mc_item *out, struct slice flag)
{
	uint64_t v = 0;
	const char *token = flag.p + 1, *end = flag.p + flag.n;
	bool number = mc_digits(token, end, UINT64_MAX, &v) == end;
	switch (flag.p[0]) {
	case 'W': out->won = true; break;
	case 'Z': out->leased = true; break;
	case 'X': out->stale = true; break;
	case 'c': out->cas = v; break;
	case 'f': out->client = (uint32_t)v; break;
	case 's': out->size = v; break;
	case 't': out->ttl = number ? (int64_t)v : -1; break;
	default: break;
	}
}

/* The reply was checked when it was received. */
void mc_item_parse(struct slice reply, struct mc_item *out)
{
	struct mc_flags flags;
	*out = (struct mc_item){ .ttl = -1 };
	const char *end = reply.n ? memchr(reply.p, '\r', reply.n) : NULL;
	if (!end || end - reply.p < 2 || (end - reply.p > 2 && reply.p[2] != ' ')) return;
	memcpy(out->code, reply.p, 2);
	const char *p = reply.p + 2;
	uint64_t size = 0;
	bool value = mc_item_is(out, "VA");
	if (value) p = mc_digits(p + 1, end, UINT32_MAX, &size);
	if (!p) return;
	out->flags = (struct slice){ p, end - p };
	mc_flags_split(out->flags, &flags);
	for (uint32_t i = 0; i < flags.n; i++) mc_item_flag(out, flags.v[i]);
	if (!value) return;
	out->size = size;
	out->value = (struct slice){ end + 2, size + 2 };
}
