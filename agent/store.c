#include "agent/store_impl.h"

#include <stdlib.h>

const char *store_rc_text(enum store_rc rc)
{
	switch (rc) {
	case STORE_OK: return "ok";
	case STORE_NO_NODE: return "no such node";
	case STORE_NODE_EXISTS: return "the node exists already";
	case STORE_BAD_VERSION: return "somebody else has changed it";
	case STORE_NOT_EMPTY: return "the node has children";
	case STORE_AWAY: return "no connection";
	case STORE_REFUSED: return "no permission";
	case STORE_TOO_LARGE: return "too large";
	case STORE_INVALID: return "invalid argument";
	}
	return "unknown error";
}

/* --- calls ---------------------------------------------------------------------------------------
 */

static void store_call_tell(const struct store_call *c)
{
	switch (c->op) {
	case STORE_GET:
		c->fn.data(c->ctx, c->rc, (struct slice){ c->data ? c->data : "", c->data_bytes },
			   &c->stat);
		return;
	case STORE_LIST:
		c->fn.list(c->ctx, c->rc, (const char *const *)c->names, c->name_count);
		return;
	case STORE_PUT:
	case STORE_CREATE:
	case STORE_DELETE:
	case STORE_SYNC: c->fn.done(c->ctx, c->rc, &c->stat, c->made); return;
	}
}

static void store_call_free(struct store_call *c)
{
	for (uint32_t i = 0; i < c->name_count; i++) free(c->names[i]);
	free(c->names);
	free(c->input);
	free(c->data);
	free(c->made);
	free(c);
}

void store_run_finished(struct store *s)
{
	/* what callbacks start now waits for the next turn */
	struct store_calls now = TAILQ_HEAD_INITIALIZER(now);
	TAILQ_CONCAT(&now, &s->finished, entry);
	struct store_call *c;
	while ((c = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, c, entry);
		store_call_tell(c);
		store_call_free(c);
	}
}

static void store_on_later(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	store_run_finished(owner);
}

void store_init(struct store *s, const struct store_ops *ops, struct io_loop *l,
		const struct store_events *events)
{
	s->ops = ops;
	s->events = *events;
	TAILQ_INIT(&s->pending);
	TAILQ_INIT(&s->finished);
	io_timer_init(&s->later, l, store_on_later, s);
}

struct store_call *store_call_new(struct store *s, enum store_op op, const char *path)
{
	struct store_call *c = calloc(1, sizeof(*c));
	if (!c) abort();
	c->op = op;
	memcpy(c->path, path, strlen(path) + 1);
	c->version = STORE_ANY_VERSION;
	TAILQ_INSERT_TAIL(&s->pending, c, entry);
	return c;
}

void store_call_finish(struct store *s, struct store_call *c, enum store_rc rc)
{
	c->rc = rc;
	TAILQ_REMOVE(&s->pending, c, entry);
	TAILQ_INSERT_TAIL(&s->finished, c, entry);
	if (!io_timer_armed(&s->later)) io_timer_set(&s->later, 0);
}

void store_call_run(struct store *s, struct store_call *c, enum store_rc rc)
{
	store_call_finish(s, c, rc);
	store_run_finished(s);
}

static int store_name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void store_names_sort(struct store_call *c)
{
	if (c->name_count) qsort(c->names, c->name_count, sizeof(*c->names), store_name_order);
}

void store_calls_fail(struct store *s)
{
	struct store_call *c;
	while ((c = TAILQ_FIRST(&s->pending))) store_call_finish(s, c, STORE_AWAY);
	store_run_finished(s);
}

void store_free(struct store **s)
{
	if (!*s) return;
	store_calls_fail(*s);
	(*s)->ops->free(*s);
	/* what the last callbacks have begun */
	store_calls_fail(*s);
	io_timer_stop(&(*s)->later);
	free(*s);
	*s = NULL;
}

/* --- what callers ask ----------------------------------------------------------------------------
 */

bool store_path_ok(const char *path)
{
	if (!*path) return true;
	if (strlen(path) >= STORE_PATH_MAX) return false;
	for (const char *p = path;; p++) {
		if (*p == '/' || *p == '.' || *p == '\0') return false; /* at the start of a name */
		for (; *p && *p != '/'; p++) {
			if ((unsigned char)*p < 0x20 || *p == 0x7f) return false;
		}
		if (!*p) return true;
	}
}

/* A call with what all have in common; an impossible one is finished already: NULL. */
static struct store_call *store_ask(struct store *s, enum store_op op, const char *path,
				    struct store_call what)
{
	if (*path == '/') path++;
	bool writes = op == STORE_PUT || op == STORE_CREATE || op == STORE_DELETE;
	bool ok = store_path_ok(path) && (*path || !writes);
	struct store_call *c = store_call_new(s, op, ok ? path : "");
	c->watch = what.watch;
	c->flags = what.flags;
	c->version = what.version;
	c->fn = what.fn;
	c->ctx = what.ctx;
	if (!ok) {
		store_call_finish(s, c, STORE_INVALID);
		return NULL;
	}
	if (what.input_bytes > STORE_DATA_MAX) {
		store_call_finish(s, c, STORE_TOO_LARGE);
		return NULL;
	}
	c->input = malloc(what.input_bytes + 1);
	if (!c->input) abort();
	if (what.input_bytes) memcpy(c->input, what.input, what.input_bytes);
	c->input_bytes = what.input_bytes;
	return c;
}

static void store_start(struct store *s, struct store_call *c)
{
	if (c) s->ops->start(s, c);
}

void store_get(struct store *s, const char *path, bool watch, store_data_fn fn, void *ctx)
{
	struct store_call what = { .watch = watch, .fn.data = fn, .ctx = ctx };
	store_start(s, store_ask(s, STORE_GET, path, what));
}

void store_list(struct store *s, const char *path, bool watch, store_list_fn fn, void *ctx)
{
	struct store_call what = { .watch = watch, .fn.list = fn, .ctx = ctx };
	store_start(s, store_ask(s, STORE_LIST, path, what));
}

void store_put(struct store *s, const char *path, struct slice data, int32_t version,
	       store_done_fn fn, void *ctx)
{
	struct store_call what = { .version = version, .fn.done = fn, .ctx = ctx };
	what.input = (char *)data.p;
	what.input_bytes = data.n;
	store_start(s, store_ask(s, STORE_PUT, path, what));
}

void store_create(struct store *s, const char *path, struct slice data, uint32_t flags,
		  store_done_fn fn, void *ctx)
{
	struct store_call what = { .flags = flags, .fn.done = fn, .ctx = ctx };
	what.input = (char *)data.p;
	what.input_bytes = data.n;
	store_start(s, store_ask(s, STORE_CREATE, path, what));
}

void store_delete(struct store *s, const char *path, int32_t version, store_done_fn fn, void *ctx)
{
	struct store_call what = { .version = version, .fn.done = fn, .ctx = ctx };
	store_start(s, store_ask(s, STORE_DELETE, path, what));
}

void store_sync(struct store *s, store_done_fn fn, void *ctx)
{
	struct store_call what = { .fn.done = fn, .ctx = ctx };
	store_start(s, store_ask(s, STORE_SYNC, "", what));
}
