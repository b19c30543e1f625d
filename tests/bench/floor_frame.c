#include "tests/bench/floor_frame.h"

#include <stdint.h>
#include <string.h>

/* Length of the line at p, its LF included, or 0. */
static size_t line_length(const char *p, size_t n)
{
	const char *nl = memchr(p, '\n', n);
	return nl ? (size_t)(nl - p) + 1 : 0;
}

static size_t incomplete(size_t need, size_t *need_out)
{
	*need_out = need;
	return 0;
}

static size_t number(const char *p)
{
	size_t v = 0;
	while (*p >= '0' && *p <= '9') v = v * 10 + (size_t)(*p++ - '0');
	return v;
}

/* The number behind the line's `skip`th space. */
static size_t field(const char *line, size_t n, int skip)
{
	for (size_t i = 0; i < n; i++)
		if (line[i] == ' ' && --skip == 0) return number(line + i + 1);
	return 0;
}

static size_t request_memcached(const char *p, size_t n, size_t *need_out)
{
	size_t len = line_length(p, n);
	if (!len) return incomplete(n + 1, need_out);
	if (memcmp(p, "set ", 4) != 0) return len;
	len += field(p, len, 4) + 2;
	return len <= n ? len : incomplete(len, need_out);
}

static size_t reply_memcached(const char *p, size_t n, size_t *need_out)
{
	size_t at = 0;
	for (;;) {
		size_t len = line_length(p + at, n - at);
		if (!len) return incomplete(n + 1, need_out);
		if (p[at] != 'V' || p[at + 1] != 'A') return at + len;
		at += len + field(p + at, len, 3) + 2;
		if (at >= n) return incomplete(at + 5, need_out); /* at least "END\r\n" follows */
	}
}

/* One RESP value that holds no arrays in arrays: no request does, nor any reply asked for here. */
static size_t frame_redis(const char *p, size_t n, size_t *need_out)
{
	size_t at = 0;
	for (size_t left = 1; left > 0; left--) {
		if (at >= n) return incomplete(at + 1, need_out);
		size_t len = line_length(p + at, n - at);
		if (!len) return incomplete(n + 1, need_out);
		const char *line = p + at;
		at += len;
		if (line[0] == '*' && line[1] != '-') left += number(line + 1);
		if (line[0] == '$' && line[1] != '-') at += number(line + 1) + 2;
	}
	return at <= n ? at : incomplete(at, need_out);
}

floor_frame_fn floor_frame_request(enum floor_proto proto)
{
	return proto == FLOOR_REDIS ? frame_redis : request_memcached;
}

floor_frame_fn floor_frame_reply(enum floor_proto proto)
{
	return proto == FLOOR_REDIS ? frame_redis : reply_memcached;
}
