#include "agent/ctl/spec_change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"
#include "common/clock.h"
#include "common/yaml.h"

enum { CHANGE_ROUNDS = 5 };

enum ctl_exit text_read(const char *path, struct scratch *out)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	if (f == NULL) {
		ctl_say("%s: %s", path, strerror(errno));
		return CTL_FAILED;
	}
	size_t n = 1;
	scratch_clear(out);
	/* more than any parser takes, so that it refuses with its own words */
	while (n > 0 && out->n <= YAML_TEXT_MAX) {
		n = fread(scratch_reserve(out, 65536), 1, 65536, f);
		out->n += n;
	}
	bool failed = ferror(f) != 0;
	if (failed) ctl_say("%s: %s", path, strerror(errno));
	if (f != stdin) fclose(f);
	return failed ? CTL_FAILED : CTL_OK;
}

/* --- checks against the tree ------------------------------------------------------------------ */

static void issues_add(struct config_issues *issues, const struct err_at *at)
{
	struct config_issue *more =
	    realloc(issues->items, (issues->count + 1) * sizeof(*issues->items));
	if (more == NULL) abort();
	issues->items = more;
	more[issues->count++] = (struct config_issue){ .at = *at };
	issues->error_count++;
}

/* The pools beside this one: as they are wanted, or else as they are. */
static enum ctl_exit check_failover(struct ctl *c, const struct spec *wanted,
				    struct config_issues *issues)
{
	struct views all;
	struct err_at at;
	enum ctl_exit e = views_read(c, NULL, VIEW_SPEC | VIEW_STATE, &all);
	const struct pool_spec **pools = calloc(all.count + 1, sizeof(struct pool_spec *));
	uint32_t count = 0;
	if (pools == NULL) abort();
	for (uint32_t i = 0; i < all.count; i++) {
		const struct view *v = &all.items[i];
		const struct pool_spec *p = v->spec != NULL ? v->spec->pool : view_pool(v);
		if (p != NULL) pools[count++] = p;
	}
	if (e == CTL_OK && spec_check_failover(wanted, pools, count, &at) != ERR_NONE)
		issues_add(issues, &at);
	free(pools);
	views_fini(&all);
	return e;
}

static void check_shrink(const struct view *now, const struct spec *wanted,
			 struct config_issues *issues)
{
	struct err_at at;
	const struct pool_spec *current = view_pool(now);
	if (current == NULL && now->spec != NULL) current = now->spec->pool;
	if (current != NULL && spec_check_shrink(wanted, current, &at) != ERR_NONE)
		issues_add(issues, &at);
}

enum ctl_exit spec_check(struct ctl *c, const struct view *now, struct slice text,
			 const char *label, struct spec **spec_out,
			 struct config_issues *issues_out)
{
	struct spec *spec;
	struct config_issues issues;
	enum ctl_exit e = CTL_OK;
	if (spec_parse(text.p, text.n, now->name, label, &spec, &issues) == ERR_NOMEM) abort();
	if (spec != NULL) check_shrink(now, spec, &issues);
	if (spec != NULL && c->client != NULL) e = check_failover(c, spec, &issues);
	if (e == CTL_OK && issues.error_count > 0) e = CTL_REFUSED;
	if (issues_out != NULL) *issues_out = issues;
	else {
		out_issues(&issues);
		config_issues_fini(&issues);
	}
	if (spec_out != NULL && e == CTL_OK) *spec_out = spec;
	else spec_free(&spec);
	return e;
}

/* --- writing ---------------------------------------------------------------------------------- */

void spec_show_dry(const struct ctl *c, const char *path, struct slice text)
{
	if (c->json) {
		out_json(json_pack("{s:s, s:o, s:b}", "path", path, "text",
				   json_stringn(text.p, text.n), "written", 0));
		return;
	}
	out_note("would write %s:", path);
	out_text(text);
}

static enum ctl_exit change_write(struct ctl *c, const struct view *now, struct slice text,
				  const char *done, bool *again)
{
	char path[STORE_PATH_MAX];
	struct store_stat stat;
	view_path(now->name, "spec", path);
	if (c->dry_run) {
		spec_show_dry(c, path, text);
		return CTL_OK;
	}
	enum store_rc rc = client_put(c->client, path, text, now->spec_node.stat.version, &stat);
	*again = rc == STORE_BAD_VERSION;
	if (*again) return CTL_CONFLICT;
	if (rc == STORE_AWAY)
		ctl_say("%s: the connection was lost: whether it was written is not known", path);
	if (rc != STORE_OK) return ctl_exit_of(rc, path);
	if (c->json)
		out_json(json_pack("{s:s, s:i, s:b}", "pool", now->name, "version",
				   (int)stat.version, "written", 1));
	else out_line("%s: %s (version %d)", now->name, done, stat.version);
	return CTL_OK;
}

/* --- making and undoing ----------------------------------------------------------------------- */

static void tombstone_path(const char *pool, char path_out[STORE_PATH_MAX])
{
	snprintf(path_out, STORE_PATH_MAX, "removed/%s", pool);
}

enum ctl_exit tombstone_put(struct ctl *c, const char *pool)
{
	char path[STORE_PATH_MAX], text[64];
	tombstone_path(pool, path);
	snprintf(text, sizeof(text), "{\"time\": %llu}\n",
		 (unsigned long long)clock_wall_us() / 1000);
	enum store_rc rc = client_create(c->client, path, slice_of(text), STORE_PARENTS);
	return rc == STORE_NODE_EXISTS ? CTL_OK : ctl_exit_of(rc, path);
}

/* The tombstone goes first: without a spec it means nothing, but with one it would hide the pool.
 */
enum ctl_exit spec_create(struct ctl *c, const char *pool, struct slice text, bool *tombstone)
{
	char path[STORE_PATH_MAX];
	tombstone_path(pool, path);
	enum store_rc rc = client_delete(c->client, path, STORE_ANY_VERSION);
	*tombstone = rc == STORE_OK;
	if (rc != STORE_OK && rc != STORE_NO_NODE) return ctl_exit_of(rc, path);
	view_path(pool, "spec", path);
	rc = client_create(c->client, path, text, STORE_PARENTS);
	if (rc == STORE_AWAY)
		ctl_say("%s: the connection was lost: whether it was written is not known", path);
	else if (rc != STORE_OK && *tombstone) tombstone_put(c, pool);
	return ctl_exit_of(rc, path);
}

void spec_uncreate(struct ctl *c, const char *pool, bool tombstone)
{
	char path[STORE_PATH_MAX];
	view_path(pool, "spec", path);
	enum store_rc rc = client_delete(c->client, path, 0);
	ctl_say("%s: %s", path, rc == STORE_OK ? "taken back" : store_rc_text(rc));
	if (rc != STORE_OK) return;
	view_path(pool, NULL, path);
	client_delete(c->client, path, STORE_ANY_VERSION); /* stays when there is more in it */
	if (tombstone) tombstone_put(c, pool);
}

/* --- changing --------------------------------------------------------------------------------- */

/* *again: somebody else was faster. */
static enum ctl_exit change_once(struct ctl *c, const struct view *now,
				 const struct spec_change *change, bool *again)
{
	struct scratch text = { 0 };
	struct slice old = { now->spec_node.data, now->spec_node.n };
	char path[STORE_PATH_MAX];
	view_path(now->name, "spec", path);
	enum ctl_exit e = change->fn(change->ctx, now, &text);
	bool same = e == CTL_OK && slice_eq(scratch_slice(&text), old);
	if (e == CTL_OK && !same)
		e = spec_check(c, now, scratch_slice(&text),
			       change->label != NULL ? change->label : path, NULL, NULL);
	if (same && c->json)
		out_json(json_pack("{s:s, s:i, s:b}", "pool", now->name, "version",
				   (int)now->spec_node.stat.version, "written", 0));
	else if (same) out_line("%s: nothing to change", now->name);
	else if (e == CTL_OK) e = change_write(c, now, scratch_slice(&text), change->done, again);
	else if (e == CTL_REFUSED) ctl_say("%s: refused, nothing was changed", now->name);
	scratch_fini(&text);
	return e;
}

enum ctl_exit spec_change(struct ctl *c, const struct spec_change *change)
{
	enum ctl_exit e = CTL_CONFLICT;
	bool again = true;
	for (int round = 0; round < CHANGE_ROUNDS && again; round++) {
		struct views views;
		again = false;
		e = views_read(c, change->pool, VIEW_SPEC | VIEW_STATE, &views);
		const struct view *now = views.items;
		if (e == CTL_OK && now->spec_node.rc != STORE_OK) {
			char path[STORE_PATH_MAX];
			view_path(change->pool, "spec", path);
			e = ctl_exit_of(now->spec_node.rc, path);
		}
		if (e == CTL_OK) e = change_once(c, now, change, &again);
		views_fini(&views);
	}
	if (again)
		ctl_say("%s: changed by somebody else each time; nothing was written",
			change->pool);
	return e;
}

enum ctl_exit spec_change_edits(const struct view *now, const struct edit *edits, uint32_t count,
				struct scratch *text_out)
{
	char label[STORE_PATH_MAX];
	enum edit_kept kept;
	struct config_issues issues;
	struct slice text = { now->spec_node.data, now->spec_node.n };
	view_path(now->name, "spec", label);
	enum err e = edit_apply(text, label, edits, count, text_out, &kept, &issues);
	out_issues(&issues);
	config_issues_fini(&issues);
	if (e == ERR_NONE && kept == EDIT_REWRITTEN)
		out_note("note: the text of %s is written anew; its comments and layout are lost",
			 label);
	return e == ERR_NONE ? CTL_OK : CTL_REFUSED;
}
