/* cmd_pool.c - pools: add, set, show, list, remove. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/assign.h"
#include "agent/ctl/out.h"
#include "agent/ctl/spec_change.h"

enum { ASSIGNS_MAX = CTL_OPERANDS_MAX };

/* --- KEY=VALUE and --from --------------------------------------------------------------------- */

/* What the command line wants of a pool. */
struct wanted {
	struct ctl *ctl;
	const struct args *args;
	struct scratch file; /* of --from */
	const char *version; /* of --if-version, or NULL */
};

static enum ctl_exit wanted_edit(const struct args *a, const struct view *now,
				 struct scratch *text_out)
{
	struct assign *owners = calloc(ASSIGNS_MAX, sizeof(*owners));
	struct edit *edits = calloc(ASSIGNS_MAX, sizeof(*edits));
	enum ctl_exit e = CTL_OK;
	uint32_t n = 0;
	if (owners == NULL || edits == NULL) abort();
	for (unsigned i = 1; i < a->count && e == CTL_OK; i++, n++) {
		struct err_at why;
		if (assign_parse(a->operands[i], &owners[n], &edits[n], &why)) continue;
		ctl_say("%s: %s", why.where, why.why);
		e = CTL_USAGE;
	}
	if (e == CTL_OK) e = spec_change_edits(now, edits, n, text_out);
	for (uint32_t i = 0; i < n; i++) assign_fini(&owners[i]);
	free(owners);
	free(edits);
	return e;
}

static enum ctl_exit wanted_text(void *ctx, const struct view *now, struct scratch *text_out)
{
	struct wanted *w = ctx;
	struct view from = *now;
	if (w->version != NULL) {
		uint32_t version;
		if (!args_number("--if-version", w->version, 0, INT32_MAX, &version))
			return CTL_USAGE;
		if ((int32_t)version != now->spec_node.stat.version) {
			ctl_say("%s: the version is %d, not %u: nothing was changed", now->name,
				now->spec_node.stat.version, version);
			return CTL_CONFLICT;
		}
	}
	if (args_option(w->args, "from") != NULL) {
		from.spec_node.data = w->file.p;
		from.spec_node.n = w->file.n;
	}
	return wanted_edit(w->args, &from, text_out);
}

static enum ctl_exit wanted_read(struct wanted *w)
{
	const char *path = args_option(w->args, "from");
	if (path != NULL) return text_read(path, &w->file);
	if (w->args->count > 1) return CTL_OK;
	ctl_say("usage: twinringctl %s %s", w->args->command->name, w->args->command->operands);
	return CTL_USAGE;
}

/* --- add -------------------------------------------------------------------------------------- */

static enum ctl_exit pool_create(struct ctl *c, const char *pool, struct slice text)
{
	char path[STORE_PATH_MAX];
	bool tombstone;
	view_path(pool, "spec", path);
	if (c->dry_run) {
		spec_show_dry(c, path, text);
		return CTL_OK;
	}
	enum ctl_exit e = spec_create(c, pool, text, &tombstone);
	if (e != CTL_OK) return e;
	if (c->json)
		out_json(json_pack("{s:s, s:i, s:b}", "pool", pool, "version", 0, "written", 1));
	else out_line("%s: added", pool);
	return CTL_OK;
}

static enum ctl_exit pool_add_new(struct ctl *c, const struct args *a, const struct view *none)
{
	struct wanted w = { .ctl = c, .args = a };
	struct scratch text = { 0 };
	const char *from = args_option(a, "from");
	enum ctl_exit e = wanted_read(&w);
	if (e == CTL_OK) e = wanted_text(&w, none, &text);
	if (e == CTL_OK)
		e = spec_check(c, none, scratch_slice(&text), from != NULL ? from : none->name,
			       NULL, NULL);
	if (e == CTL_OK) e = pool_create(c, none->name, scratch_slice(&text));
	else if (e == CTL_REFUSED) ctl_say("%s: refused, nothing was changed", none->name);
	scratch_fini(&text);
	scratch_fini(&w.file);
	return e;
}

static enum ctl_exit pool_add_run(struct ctl *c, const struct args *a)
{
	const char *pool = a->operands[0];
	struct view now = { 0 };
	if (!view_name_ok(pool)) return CTL_REFUSED;
	enum ctl_exit e = ctl_open(c);
	if (e != CTL_OK) return e;
	enum store_rc rc = view_read(c->client, pool, 0, &now);
	if (rc == STORE_OK && now.spec_node.rc == STORE_OK) {
		ctl_say("there is a pool '%s' already: see pool set", pool);
		e = CTL_REFUSED;
	} else if (rc != STORE_OK && rc != STORE_NO_NODE) e = ctl_exit_of(rc, pool);
	else e = pool_add_new(c, a, &now);
	view_fini(&now);
	return e;
}

static const struct ctl_option add_options[] = {
	{ "from", 'f', "FILE", "the spec, YAML or JSON; - for standard input" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_pool_add = {
	.name = "pool add",
	.operands = "NAME [KEY=VALUE]...",
	.help = "make a pool from a spec",
	.more =
	    "With --from the text is kept as it is; KEY=VALUE then changes it as pool set does.\n",
	.least = 1,
	.most = CTL_OPERANDS_MAX,
	.writes = true,
	.options = add_options,
	.run = pool_add_run,
};

/* --- set -------------------------------------------------------------------------------------- */

static enum ctl_exit pool_set_run(struct ctl *c, const struct args *a)
{
	struct wanted w = { .ctl = c, .args = a, .version = args_option(a, "if-version") };
	enum ctl_exit e = wanted_read(&w);
	const char *from = args_option(a, "from");
	struct spec_change change = { a->operands[0], wanted_text, &w, from, "changed" };
	if (e == CTL_OK) e = spec_change(c, &change);
	scratch_fini(&w.file);
	return e;
}

static const struct ctl_option set_options[] = {
	{ "from", 'f', "FILE", "a whole new spec, YAML or JSON; - for standard input" },
	{ "if-version", 'i', "N", "only if the spec still has this version" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_pool_set = {
	.name = "pool set",
	.operands = "NAME [KEY=VALUE]...",
	.help = "change a pool's spec",
	.more =
	    "KEY is an option of the spec, or GROUP.KEY: timeout_ms=200 health.fall=5\n"
	    "pins.s1=out. VALUE is text for options that are text, else JSON. KEY= removes the\n"
	    "key, so that the default holds. Comments and layout of the spec are kept; where\n"
	    "that is not possible, it says so.\n",
	.least = 1,
	.most = CTL_OPERANDS_MAX,
	.first = OPERAND_POOL,
	.writes = true,
	.options = set_options,
	.run = pool_set_run,
};

/* --- show ------------------------------------------------------------------------------------- */

static json_t *pool_show_json(const struct view *v)
{
	json_t *spec = v->spec != NULL ? spec_to_json(v->spec) : json_null();
	json_t *text = json_stringn(v->spec_node.data, v->spec_node.n);
	return json_pack("{s:s, s:i, s:o, s:o, s:o}", "pool", v->name, "version",
			 (int)v->spec_node.stat.version, "text", text ? text : json_null(), "spec",
			 spec, "issues", out_issues_json(&v->issues));
}

static enum ctl_exit pool_show_run(struct ctl *c, const struct args *a)
{
	struct views views;
	enum ctl_exit e = views_read(c, a->operands[0], VIEW_SPEC, &views);
	const struct view *v = views.items;
	if (e == CTL_OK && v->spec_node.rc != STORE_OK) e = ctl_exit_of(v->spec_node.rc, "spec");
	if (e == CTL_OK && c->json) out_json(pool_show_json(v));
	else if (e == CTL_OK && args_option(a, "effective") == NULL)
		out_text((struct slice){ v->spec_node.data, v->spec_node.n });
	else if (e == CTL_OK && v->spec != NULL) out_json(spec_to_json(v->spec));
	else if (e == CTL_OK) {
		out_issues(&v->issues);
		e = CTL_REFUSED;
	}
	views_fini(&views);
	return e;
}

static const struct ctl_option show_options[] = {
	{ "effective", 'e', NULL, "as JSON, with every default spelled out" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_pool_show = {
	.name = "pool show",
	.operands = "NAME",
	.help = "print a pool's spec",
	.least = 1,
	.most = 1,
	.first = OPERAND_POOL,
	.options = show_options,
	.run = pool_show_run,
};

/* --- list ------------------------------------------------------------------------------------- */

static json_t *pool_list_one(const struct view *v)
{
	const struct spec *s = v->spec;
	bool there = v->spec_node.rc == STORE_OK;
	json_t *out = json_pack("{s:s, s:s?, s:s?}", "pool", v->name, "protocol",
				s != NULL ? protocol_name(s->pool->protocol) : NULL, "mode",
				s != NULL ? pool_mode_name(s->mode) : NULL);
	json_object_set_new(out, "servers",
			    s != NULL ? json_integer(s->pool->server_count) : json_null());
	json_object_set_new(out, "version",
			    there ? json_integer(v->spec_node.stat.version) : json_null());
	const char *state = out_string(v->status, "state");
	if (s == NULL) state = there ? "invalid" : "no spec";
	else if (*state == '\0') state = v->state_node.rc == STORE_OK ? "ok" : "new";
	json_object_set_new(out, "state", json_string(state));
	return out;
}

static void pool_list_print(const json_t *list)
{
	static const char *const keys[] = { "pool",    "protocol", "mode",
					    "servers", "version",  "state" };
	static const char *const headings[] = { "POOL",	   "PROTOCOL", "MODE",
						"SERVERS", "VERSION",  "STATE" };
	struct table t;
	size_t i;
	json_t *one;
	table_begin(&t, headings, 6);
	json_array_foreach (list, i, one)
		for (int k = 0; k < 6; k++) table_json(&t, json_object_get(one, keys[k]));
	table_print(&t, "no pools");
}

static enum ctl_exit pool_list_run(struct ctl *c, const struct args *a)
{
	struct views views;
	(void)a;
	enum ctl_exit e = views_read(c, NULL, VIEW_SPEC | VIEW_STATUS, &views);
	json_t *list = json_array();
	for (uint32_t i = 0; i < views.count; i++)
		json_array_append_new(list, pool_list_one(&views.items[i]));
	views_fini(&views);
	if (e == CTL_OK && c->json) out_json(json_incref(list));
	else if (e == CTL_OK) pool_list_print(list);
	json_decref(list);
	return e;
}

const struct command cmd_pool_list = {
	.name = "pool list",
	.operands = "",
	.help = "list the pools",
	.run = pool_list_run,
};

/* --- remove ----------------------------------------------------------------------------------- */

/* Does any other pool fail over to this one? */
static enum ctl_exit remove_check(struct ctl *c, const char *pool)
{
	struct views all;
	enum ctl_exit e = views_read(c, NULL, VIEW_SPEC | VIEW_STATE, &all);
	for (uint32_t i = 0; i < all.count && e == CTL_OK; i++) {
		const struct view *v = &all.items[i];
		const struct pool_spec *both[] = { v->spec != NULL ? v->spec->pool : NULL,
						   view_pool(v) };
		for (int k = 0; k < 2 && e == CTL_OK; k++) {
			const struct pool_spec *p = both[k];
			if (p == NULL || p->failover != FAILOVER_POOL ||
			    strcmp(p->failover_pool, pool) != 0 || strcmp(p->name, pool) == 0)
				continue;
			ctl_say("pool '%s' fails over to '%s': change that first", p->name, pool);
			e = CTL_REFUSED;
		}
	}
	views_fini(&all);
	return e;
}

/* Spec, tombstone, the rest: stopped in between, nothing is lost, and the next run goes on. */
static enum ctl_exit remove_pool(struct ctl *c, const struct view *v)
{
	char path[STORE_PATH_MAX];
	enum store_rc rc = STORE_OK;
	view_path(v->name, "spec", path);
	if (v->spec_node.rc == STORE_OK)
		rc = client_delete(c->client, path, v->spec_node.stat.version);
	if (rc != STORE_OK && rc != STORE_NO_NODE) return ctl_exit_of(rc, path);
	enum ctl_exit e = tombstone_put(c, v->name);
	if (e != CTL_OK) return e;
	view_path(v->name, NULL, path);
	rc = client_delete_tree(c->client, path);
	if (rc != STORE_OK) return ctl_exit_of(rc, path);
	if (c->json) out_json(json_pack("{s:s, s:b}", "pool", v->name, "removed", 1));
	else out_line("%s: removed", v->name);
	return CTL_OK;
}

/* Also what an interrupted removal has left. */
static enum ctl_exit remove_view(struct ctl *c, const char *pool, struct view *v)
{
	char path[STORE_PATH_MAX];
	enum ctl_exit e = view_name_ok(pool) ? ctl_open(c) : CTL_REFUSED;
	if (e != CTL_OK) return e;
	enum store_rc rc = view_read(c->client, pool, 0, v);
	if (rc == STORE_NO_NODE) {
		view_path(pool, NULL, path);
		struct client_node n = client_get(c->client, path, CLIENT_ONCE);
		rc = n.rc;
		client_node_fini(&n);
	}
	if (rc != STORE_NO_NODE) return ctl_exit_of(rc, pool);
	ctl_say("there is no pool '%s'", pool);
	return CTL_REFUSED;
}

static enum ctl_exit pool_remove_run(struct ctl *c, const struct args *a)
{
	struct view v = { 0 };
	const char *pool = a->operands[0];
	enum ctl_exit e = remove_view(c, pool, &v);
	if (e == CTL_OK) e = remove_check(c, pool);
	if (e == CTL_OK && c->dry_run) out_line("%s: would be removed", pool);
	else if (e == CTL_OK && args_option(a, "yes") == NULL) {
		ctl_say("%s: every proxy will stop serving this pool; say --yes", pool);
		e = CTL_REFUSED;
	} else if (e == CTL_OK) e = remove_pool(c, &v);
	view_fini(&v);
	return e;
}

static const struct ctl_option remove_options[] = {
	{ "yes", 'y', NULL, "yes, remove it" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_pool_remove = {
	.name = "pool remove",
	.operands = "NAME",
	.help = "remove a pool from every proxy",
	.least = 1,
	.most = 1,
	.first = OPERAND_POOL,
	.writes = true,
	.options = remove_options,
	.run = pool_remove_run,
};
