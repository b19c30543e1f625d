/* cmd_diff.c - what a spec would change of what is in force. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/compare.h"
#include "agent/ctl/out.h"
#include "agent/ctl/spec_change.h"

static void diff_print_servers(const json_t *diff)
{
	size_t i;
	json_t *s;
	json_array_foreach (json_object_get(diff, "added"), i, s)
		out_line("+ %s %s weight %lld", out_string(s, "server"), out_string(s, "address"),
			 (long long)json_integer_value(json_object_get(s, "weight")));
	json_array_foreach (json_object_get(diff, "removed"), i, s)
		out_line("- %s %s", out_string(s, "server"), out_string(s, "address"));
	json_array_foreach (json_object_get(diff, "reweighted"), i, s)
		out_line("~ %s weight %lld -> %lld", out_string(s, "server"),
			 (long long)json_integer_value(json_object_get(s, "from")),
			 (long long)json_integer_value(json_object_get(s, "to")));
	json_array_foreach (json_object_get(diff, "moved"), i, s)
		out_line("~ %s %s -> %s (its keys stay)", out_string(s, "server"),
			 out_string(s, "from"), out_string(s, "to"));
}

static void diff_print_options(const json_t *diff)
{
	const char *key;
	json_t *pair;
	json_object_foreach (json_object_get(diff, "options"), key, pair) {
		char *from = json_dumps(json_object_get(pair, "from"), JSON_ENCODE_ANY);
		char *to = json_dumps(json_object_get(pair, "to"), JSON_ENCODE_ANY);
		out_line("~ %s: %s -> %s", key, from, to);
		free(from);
		free(to);
	}
}

static void diff_print_keys(const json_t *keys)
{
	static const char *const headings[] = { "SERVER", "NOW", "THEN" };
	struct table t;
	size_t i;
	json_t *s;
	if (json_is_null(keys)) return;
	out_line("%.2f %% of the keys move to another server (%d sampled)",
		 json_real_value(json_object_get(keys, "percent")), COMPARE_SAMPLES);
	table_begin(&t, headings, 3);
	json_array_foreach (json_object_get(keys, "spread"), i, s) {
		table_text(&t, out_string(s, "server"));
		table_printf(&t, "%.2f %%", json_real_value(json_object_get(s, "from")));
		table_printf(&t, "%.2f %%", json_real_value(json_object_get(s, "to")));
	}
	table_print(&t, "");
}

static void diff_print(const struct view *v, const json_t *diff)
{
	if (view_pool(v) == NULL)
		out_note("note: nothing is in force yet (%s: %s)", v->problem.where,
			 v->problem.why);
	if (!compare_differs(diff)) {
		out_line("%s: no difference", v->name);
		return;
	}
	diff_print_servers(diff);
	diff_print_options(diff);
	diff_print_keys(json_object_get(diff, "keys"));
}

static enum ctl_exit diff_views(struct ctl *c, const struct args *a, const struct view *v)
{
	struct spec *spec = NULL;
	struct scratch file = { 0 };
	char label[STORE_PATH_MAX];
	struct slice text = { v->spec_node.data, v->spec_node.n };
	enum ctl_exit e = CTL_OK;
	view_path(v->name, "spec", label);
	if (a->count < 2) e = ctl_exit_of(v->spec_node.rc, label);
	else {
		e = text_read(a->operands[1], &file);
		text = scratch_slice(&file);
	}
	if (e == CTL_OK)
		e = spec_check(c, v, text, a->count < 2 ? label : a->operands[1], &spec, NULL);
	if (e == CTL_OK) {
		json_t *diff = compare_pools(view_pool(v), spec->pool);
		json_object_set_new(diff, "pool", json_string(v->name));
		json_object_set_new(diff, "differs", json_boolean(compare_differs(diff)));
		if (c->json) out_json(json_incref(diff));
		else diff_print(v, diff);
		json_decref(diff);
	}
	spec_free(&spec);
	scratch_fini(&file);
	return e;
}

static enum ctl_exit diff_run(struct ctl *c, const struct args *a)
{
	struct views views;
	enum ctl_exit e = views_read(c, a->operands[0], VIEW_SPEC | VIEW_STATE, &views);
	if (e == CTL_OK) e = diff_views(c, a, views.items);
	views_fini(&views);
	return e;
}

const struct command cmd_diff = {
	.name = "diff",
	.operands = "POOL [FILE]",
	.help = "what the spec, or FILE, would change of what is in force",
	.more = "Servers by name, options, and the share of keys that would move, computed on\n"
		"100,000 sample keys with both rings. Ejections are left out on both sides.\n",
	.least = 1,
	.most = 2,
	.first = OPERAND_POOL,
	.run = diff_run,
};
