#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "common/codec_mc_scan.h"
#include "common/codec_mc_text.h"

enum { TAG_SHIFT = 48, TOKEN_DIGITS = 20 };

/* The number behind "STAT name ", or 0. */
static uint64_t mc_stat(struct slice stats, const char *name)
{
	uint64_t v = 0;
	char line[32];
	int n = snprintf(line, sizeof(line), "STAT %s ", name);
	const char *p = memmem(stats.p, stats.n, line, (size_t)n);
	if (p) mc_digits(p + n, stats.p + stats.n, UINT64_MAX, &v);
	return v;
}

/* Both come from one clock of the server's, so that their difference is its start, exactly. */
uint16_t mc_tag(struct slice reply, struct slice server)
{
	uint64_t who[2] = { mc_stat(reply, "pid"),
			    mc_stat(reply, "time") - mc_stat(reply, "uptime") };
	if (who[0] == 0) return 0;
	uint64_t seed = XXH3_64bits(server.p, server.n);
	return (uint16_t)(XXH3_64bits_withSeed(who, sizeof(who), seed) % UINT16_MAX + 1);
}

/* The token of a head: behind " C" of a meta command, else the last word of the line. */
static char *mc_token(char *head, size_t n)
{
	char *end = memchr(head, '\r', n);
	if (!end) return NULL;
	bool meta = n > 2 && head[0] == 'm' && head[2] == ' ';
	if (!meta) return end - head > TOKEN_DIGITS ? end - TOKEN_DIGITS : NULL;
	char *p = memchr(head + 3, ' ', end - head - 3);
	while (p && p + 1 + TOKEN_DIGITS < end) {
		if (p[1] == 'C') return p + 2;
		p = memchr(p + 1, ' ', end - p - 1);
	}
	return NULL;
}

void mc_tag_sent(char *head, size_t n, uint16_t tag)
{
	char *token = mc_token(head, n), digits[TOKEN_DIGITS + 1];
	uint64_t v;
	const char *end = token ? token + TOKEN_DIGITS : NULL;
	if (!token || mc_digits(token, end, UINT64_MAX, &v) != end) return;
	v ^= (uint64_t)tag << TAG_SHIFT;
	snprintf(digits, sizeof(digits), "%0*" PRIu64, TOKEN_DIGITS, v);
	memcpy(token, digits, TOKEN_DIGITS);
}

/* VALUE key flags bytes cas */
static void mc_tag_values(struct slice reply, uint16_t tag, struct scratch *out)
{
	const char *p = reply.p, *end = reply.p + reply.n;
	while (end - p > 6 && memcmp(p, "VALUE ", 6) == 0) {
		uint64_t flags, bytes = 0, cas = 0;
		const char *key_end = memchr(p + 6, ' ', end - p - 6);
		const char *q = key_end ? mc_digits(key_end + 1, end, UINT32_MAX, &flags) : NULL;
		q = q ? mc_digits(q + 1, end, INT32_MAX, &bytes) : NULL;
		const char *rest = q ? mc_digits(q + 1, end, UINT64_MAX, &cas) : NULL;
		if (!rest || (uint64_t)(end - rest) < bytes + 4) break;
		scratch_put(out, p, q + 1 - p);
		scratch_put_u64(out, cas ^ (uint64_t)tag << TAG_SHIFT);
		scratch_put(out, rest, bytes + 4);
		p = rest + bytes + 4;
	}
	scratch_put(out, p, end - p);
}

/* The first line's flag c. */
static void mc_tag_meta(struct slice reply, uint16_t tag, struct scratch *out)
{
	const char *end = reply.p + reply.n, *line = memchr(reply.p, '\r', reply.n);
	const char *p = line ? memmem(reply.p, line - reply.p, " c", 2) : NULL, *rest = reply.p;
	uint64_t cas;
	const char *after = p ? mc_digits(p + 2, line, UINT64_MAX, &cas) : NULL;
	if (after && cas) {
		scratch_put(out, reply.p, p + 2 - reply.p);
		scratch_put_u64(out, cas ^ (uint64_t)tag << TAG_SHIFT);
		rest = after;
	}
	scratch_put(out, rest, end - rest);
}

/* All of it was checked when it was received. */
void mc_tag_reply(const struct op_info *info, struct slice reply, uint16_t tag, struct scratch *out)
{
	if (mc_shape_is_meta(info->shape)) mc_tag_meta(reply, tag, out);
	else mc_tag_values(reply, tag, out);
}
