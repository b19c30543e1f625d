#include "agent/ctl/edit.h"

#include <stdlib.h>

#include "agent/ctl/edit_text.h"
#include "common/report.h"
#include "common/yaml.h"
#include "common/yaml_emit.h"

/* --- on the document -------------------------------------------------------------------------- */

static json_t *edit_child(const json_t *parent, const struct edit_step *step)
{
	return step->key != NULL ? json_object_get(parent, step->key)
				 : json_array_get(parent, step->index);
}

static bool edit_is_container(const json_t *j, const struct edit_step *step)
{
	return step->key != NULL ? json_is_object(j)
				 : json_is_array(j) && step->index < json_array_size(j);
}

/* The container that the last step is in; made where maps are missing, when the edit sets. NULL:
 * the way leads through something else, or to nothing. */
static json_t *edit_parent(json_t *doc, const struct edit *e)
{
	json_t *at = doc;
	for (unsigned i = 0; i + 1 < e->depth; i++) {
		json_t *next = edit_child(at, &e->path[i]);
		if ((next == NULL || json_is_null(next)) && e->op != EDIT_REMOVE &&
		    e->path[i].key != NULL && e->path[i + 1].key != NULL) {
			next = json_object();
			json_object_set_new(at, e->path[i].key, next);
		}
		if (next == NULL || !edit_is_container(next, &e->path[i + 1])) return NULL;
		at = next;
	}
	return at;
}

static bool edit_set(json_t *parent, const struct edit_step *step, json_t *value)
{
	if (step->key != NULL) return json_object_set(parent, step->key, value) == 0;
	return json_array_set(parent, step->index, value) == 0;
}

static bool edit_append(json_t *parent, const struct edit_step *step, json_t *value)
{
	json_t *list = edit_child(parent, step);
	if (list != NULL && !json_is_null(list))
		return json_is_array(list) && json_array_append(list, value) == 0;
	list = json_array();
	json_array_append(list, value);
	bool good = edit_set(parent, step, list);
	json_decref(list);
	return good;
}

/* A map that becomes empty goes as well: nothing is left to say in it. */
static void edit_remove(json_t *doc, json_t *parent, const struct edit *e)
{
	const struct edit_step *last = &e->path[e->depth - 1];
	if (last->key == NULL) {
		json_array_remove(parent, last->index);
		return;
	}
	bool removed = json_object_del(parent, last->key) == 0;
	if (!removed || e->depth == 1 || json_object_size(parent) > 0) return;
	struct edit up = *e;
	up.depth--;
	edit_remove(doc, edit_parent(doc, &up), &up);
}

static bool edit_json(json_t *doc, const struct edit *e)
{
	const struct edit_step *last = &e->path[e->depth - 1];
	json_t *parent = edit_parent(doc, e);
	if (parent == NULL) return e->op == EDIT_REMOVE;
	switch (e->op) {
	case EDIT_SET: return edit_set(parent, last, e->value);
	case EDIT_APPEND: return edit_append(parent, last, e->value);
	case EDIT_REMOVE: edit_remove(doc, parent, e); return true;
	}
	return false;
}

/* --- both ------------------------------------------------------------------------------------- */

/* The text as a document; NULL when it cannot be read. An empty one is an empty map. */
static json_t *edit_read(struct slice text, struct node **root_out, struct report *r)
{
	*root_out = NULL;
	if (text.n == 0) return json_object();
	*root_out = yaml_parse(text.p, text.n, r);
	if (*root_out == NULL || r->error_count > 0) return NULL;
	if ((*root_out)->kind == NODE_NULL) return json_object();
	if ((*root_out)->kind != NODE_MAP) {
		report_error(r, *root_out, AT_VALUE, "this must be a mapping, not %s",
			     node_kind_name(*root_out));
		return NULL;
	}
	report_duplicate_keys_deep(r, *root_out);
	return r->error_count == 0 ? node_to_json(*root_out) : NULL;
}

static bool edit_reads_as(const struct scratch *text, const json_t *doc)
{
	struct report r = { .label = "" };
	struct node *root;
	json_t *got = edit_read(scratch_slice(text), &root, &r);
	bool same = got != NULL && json_equal(got, doc);
	json_decref(got);
	node_free(&root);
	report_fini(&r);
	return same;
}

/* As YAML, or as JSON when that is not safe. */
static void edit_rewrite(const json_t *doc, struct scratch *out)
{
	scratch_clear(out);
	yaml_emit(doc, 0, out);
	if (out->n > 0 && edit_reads_as(out, doc)) return;
	char *text = json_dumps(doc, JSON_INDENT(2));
	if (text == NULL) abort();
	scratch_clear(out);
	scratch_printf(out, "%s\n", text);
	free(text);
}

/* One edit of *text, in place. */
static enum err edit_one(struct scratch *text, const struct edit *e, struct report *r,
			 enum edit_kept *kept)
{
	struct scratch edited = { 0 };
	struct node *root;
	json_t *doc = edit_read(scratch_slice(text), &root, r);
	enum err result = ERR_NONE;
	if (doc == NULL) result = ERR_INVALID;
	else if (!edit_json(doc, e)) {
		report_error(r, root, AT_VALUE, "'%s' cannot be set here", e->path[0].key);
		result = ERR_INVALID;
	} else if (!edit_reads_as(text, doc)) {
		bool good = root != NULL && edit_text(scratch_slice(text), root, e, &edited) &&
			    edit_reads_as(&edited, doc);
		if (!good) {
			edit_rewrite(doc, &edited);
			if (text->n > 0) *kept = EDIT_REWRITTEN;
		}
		scratch_clear(text);
		scratch_puts(text, scratch_slice(&edited));
	}
	json_decref(doc);
	node_free(&root);
	scratch_fini(&edited);
	return result;
}

enum err edit_apply(struct slice text, const char *label, const struct edit *edits, uint32_t count,
		    struct scratch *out, enum edit_kept *kept_out, struct config_issues *issues_out)
{
	struct report r = { .label = label };
	enum err e = ERR_NONE;
	*kept_out = EDIT_KEPT;
	*issues_out = (struct config_issues){ 0 };
	scratch_clear(out);
	scratch_puts(out, text);
	for (uint32_t i = 0; i < count && e == ERR_NONE; i++)
		e = edit_one(out, &edits[i], &r, kept_out);
	if (e != ERR_NONE) config_issues_take(issues_out, &r);
	report_fini(&r);
	return e;
}
