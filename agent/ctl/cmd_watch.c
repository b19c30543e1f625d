/* cmd_watch.c - print what changes, as it changes. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/follow.h"
#include "agent/ctl/out.h"
#include "agent/ctl/view.h"
#include "common/clock.h"

/* What was seen last: {POOL: {"spec", "state", "status"}}. */
struct watched {
	struct ctl *ctl;
	json_t *seen;
};

static json_t *watch_value(const struct client_node *n)
{
	if (n->rc != STORE_OK) return json_null();
	json_t *doc = json_loadb(n->data, n->n, 0, NULL);
	return doc != NULL ? doc : json_string("(cannot be read)");
}

static json_t *watch_pool(const struct view *v)
{
	bool there = v->spec_node.rc == STORE_OK;
	return json_pack(
	    "{s:o, s:o, s:o}", "spec",
	    there ? json_pack("{s:i}", "version", (int)v->spec_node.stat.version) : json_null(),
	    "state", watch_value(&v->state_node), "status", watch_value(&v->status_node));
}

static json_t *watch_snapshot(const struct views *views)
{
	json_t *out = json_object();
	for (uint32_t i = 0; i < views->count; i++)
		json_object_set_new(out, views->items[i].name, watch_pool(&views->items[i]));
	return out;
}

/* "epoch 3 -> 4, step 0 -> 1": the keys of an object that changed. */
static void watch_describe(const json_t *old, const json_t *new, struct scratch *out)
{
	const char *key;
	json_t *value;
	if (!json_is_object(new)) {
		char *text = json_dumps(new, JSON_ENCODE_ANY | JSON_COMPACT);
		scratch_printf(out, "%s", text != NULL && !json_is_null(new) ? text : "gone");
		free(text);
		return;
	}
	json_object_foreach ((json_t *)(uintptr_t) new, key, value) {
		const json_t *before = json_object_get(old, key);
		if (before != NULL && json_equal((json_t *)(uintptr_t)before, value)) continue;
		char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		scratch_printf(out, "%s%s %s", out->n > 0 ? ", " : "", key, text);
		free(text);
	}
}

static void watch_tell(struct watched *w, const char *pool, const char *what, json_t *old,
		       json_t *new)
{
	uint64_t ms = clock_wall_us() / 1000;
	if (w->ctl->json) {
		out_json_line(json_pack("{s:I, s:s, s:s, s:O?, s:O?}", "time", (json_int_t)ms,
					"pool", pool, "what", what, "old", old, "new", new));
		return;
	}
	char time[32];
	struct scratch text = { 0 };
	out_time(ms, time);
	watch_describe(old, new, &text);
	out_line("%s  %s  %s: %.*s", time, pool, what, (int)text.n, text.n > 0 ? text.p : "");
	fflush(stdout);
	scratch_fini(&text);
}

static void watch_compare(struct watched *w, json_t *now)
{
	static const char *const parts[] = { "spec", "state", "status" };
	const char *pool;
	json_t *value;
	json_object_foreach (now, pool, value) {
		json_t *before = json_object_get(w->seen, pool);
		for (int i = 0; i < 3; i++) {
			json_t *old = json_object_get(before, parts[i]);
			json_t *new = json_object_get(value, parts[i]);
			bool same = old != NULL ? json_equal(old, new) : json_is_null(new);
			if (!same) watch_tell(w, pool, parts[i], old, new);
		}
	}
	json_object_foreach (w->seen, pool, value)
		if (json_object_get(now, pool) == NULL)
			watch_tell(w, pool, "pool", value, json_null());
}

static enum ctl_exit watch_read(struct watched *w)
{
	struct views views;
	enum ctl_exit e = views_read(w->ctl, NULL, VIEW_WATCH, &views);
	if (e == CTL_OK) {
		json_t *now = watch_snapshot(&views);
		watch_compare(w, now);
		json_decref(w->seen);
		w->seen = now;
	}
	views_fini(&views);
	return e;
}

static enum ctl_exit watch_run(struct ctl *c, const struct args *a)
{
	struct watched w = { .ctl = c, .seen = json_object() };
	(void)a;
	enum ctl_exit e = ctl_open(c);
	follow_begin();
	if (e == CTL_OK) e = watch_read(&w);
	while (follow_goes_on(c, e) && follow_wait(c)) e = watch_read(&w);
	json_decref(w.seen);
	return e;
}

const struct command cmd_watch = {
	.name = "watch",
	.operands = "",
	.help = "print changes of specs, states and status as they happen, until Ctrl-C",
	.more =
	    "First what there is. With --json one object a line: time, pool, what (spec, state,\n"
	    "status, or pool when it is gone), old and new.\n",
	.run = watch_run,
};
