#include "common/json_text.h"

#include <stdlib.h>

#include "common/giveway.h"

/* jansson asks for about a KiB at a time. */
static size_t json_text_feed(void *to, size_t room, void *from)
{
	struct slice *left = from;
	size_t n = left->n < room ? left->n : room;
	memcpy(to, left->p, n);
	left->p += n;
	left->n -= n;
	if (left->n > 0) give_way(); /* a short message costs nothing */
	return n;
}

json_t *json_text_read(struct slice text, size_t flags, json_error_t *e_out)
{
	return json_load_callback(json_text_feed, &text, flags, e_out);
}

struct json_sink {
	struct scratch *out;
	uint64_t tokens;
};

static int json_text_put(const char *bytes, size_t n, void *to)
{
	struct json_sink *sink = to;
	scratch_put(sink->out, bytes, n);
	give_way_each(1024, sink->tokens++);
	return 0;
}

void json_text_write(const json_t *value, size_t flags, struct scratch *out)
{
	struct json_sink sink = { .out = out };
	if (json_dump_callback(value, json_text_put, &sink, flags)) abort();
}
