/* edit_text.c - places of nodes in a text, and cutting and pasting there.
 *
 * "Flow" is what is inside [] or {}, all of JSON included; "block" is what hangs on indentation.
 */
#include "agent/ctl/edit_text.h"

#include "common/yaml_emit.h"

#define NOWHERE SIZE_MAX

struct edit_place {
	struct slice text;
	const struct edit *edit;
	struct scratch *out;
};

/* --- where things are ------------------------------------------------------------------------- */

/* Columns count characters. */
static size_t place_offset(struct slice text, uint32_t line, uint32_t column)
{
	size_t at = 0;
	for (; line > 1; line--) {
		const char *end = memchr(text.p + at, '\n', text.n - at);
		if (end == NULL) return NOWHERE;
		at = (size_t)(end - text.p) + 1;
	}
	for (; column > 1 && at < text.n; column--) do
			at++;
		while (at < text.n && ((unsigned char)text.p[at] & 0xc0) == 0x80);
	return column > 1 ? NOWHERE : at;
}

static size_t place_of(struct slice text, const struct node *n)
{
	return place_offset(text, n->line, n->column);
}

static size_t place_of_key(struct slice text, const struct node *n)
{
	return place_offset(text, n->key_line, n->key_column);
}

static size_t line_start(struct slice text, size_t at)
{
	while (at > 0 && text.p[at - 1] != '\n') at--;
	return at;
}

/* Behind the line's newline, or at the text's end. */
static size_t line_end(struct slice text, size_t at)
{
	while (at < text.n && text.p[at] != '\n') at++;
	return at < text.n ? at + 1 : at;
}

/* Are there only these bytes between two places? */
static bool only(struct slice text, size_t from, size_t to, const char *bytes)
{
	for (; from < to; from++)
		if (strchr(bytes, text.p[from]) == NULL) return false;
	return true;
}

static bool is_flow(struct slice text, const struct node *n)
{
	size_t at = place_of(text, n);
	return !node_is_scalar(n) && at < text.n && (text.p[at] == '{' || text.p[at] == '[');
}

static bool in_flow(struct slice text, const struct node *n)
{
	for (; n != NULL; n = n->parent)
		if (is_flow(text, n)) return true;
	return false;
}

static size_t quoted_end(struct slice text, size_t at)
{
	char quote = text.p[at++];
	for (; at < text.n; at++) {
		if (quote == '"' && text.p[at] == '\\') at++;
		else if (text.p[at] == quote) {
			if (quote == '"' || at + 1 >= text.n || text.p[at + 1] != quote)
				return at + 1;
			at++;
		}
	}
	return NOWHERE;
}

/* A plain scalar must stand in the text as it was read: on one line. */
static size_t scalar_end(struct slice text, const struct node *n)
{
	if (n->text == NULL) return NOWHERE;
	size_t at = place_of(text, n), bytes = strlen(n->text);
	if (at >= text.n || bytes == 0) return NOWHERE;
	if (text.p[at] == '"' || text.p[at] == '\'') return quoted_end(text, at);
	if (text.n - at < bytes || memcmp(text.p + at, n->text, bytes) != 0) return NOWHERE;
	return at + bytes;
}

static size_t node_end(struct slice text, const struct node *n)
{
	if (n->kind == NODE_BAD || node_is_scalar(n)) return scalar_end(text, n);
	bool flow = is_flow(text, n);
	size_t at = flow ? place_of(text, n) + 1 : NOWHERE;
	if (n->last != NULL) at = node_end(text, n->last);
	if (at == NOWHERE || !flow) return at;
	while (at < text.n && strchr(" \t\r\n,", text.p[at]) != NULL) at++;
	return at < text.n && (text.p[at] == ']' || text.p[at] == '}') ? at + 1 : NOWHERE;
}

/* Where a child begins: its key, or the value of a list's item. */
static size_t child_start(struct slice text, const struct node *n)
{
	return n->key != NULL ? place_of_key(text, n) : place_of(text, n);
}

/* --- cutting and pasting ---------------------------------------------------------------------- */

static void paste_value(const struct edit_place *p, bool flow)
{
	yaml_emit_inline(p->edit->value, flow ? YAML_FLOW : YAML_BLOCK, p->out);
}

static void put_range(const struct edit_place *p, size_t from, size_t to)
{
	scratch_put(p->out, p->text.p + from, to - from);
}

/* The text up to `from`, and, after what the caller pastes, from `to` on. */
static void put_rest(const struct edit_place *p, size_t to)
{
	put_range(p, to, p->text.n);
}

static bool replace_value(const struct edit_place *p, const struct node *n)
{
	size_t from = place_of(p->text, n), to = node_end(p->text, n);
	if (from == NOWHERE || to == NOWHERE || to < from) return false;
	put_range(p, 0, from);
	paste_value(p, in_flow(p->text, n->parent));
	put_rest(p, to);
	return true;
}

/* `key` NULL: an item of a list. */
static void paste_flow(const struct edit_place *p, const char *key)
{
	if (key != NULL) {
		yaml_emit_key(key, YAML_FLOW, p->out);
		scratch_put(p->out, ": ", 2);
	}
	paste_value(p, true);
}

/* Behind what begins the line, `indent` columns wide; with its newline. */
static void paste_block(const struct edit_place *p, const char *key, unsigned indent)
{
	if (key == NULL) {
		paste_value(p, false);
		scratch_put(p->out, "\n", 1);
		return;
	}
	json_t *entry = json_object();
	struct scratch text = { 0 };
	json_object_set(entry, key, p->edit->value);
	yaml_emit(entry, indent, &text);
	scratch_put(p->out, text.p + indent, text.n - indent); /* the line has its blanks */
	scratch_fini(&text);
	json_decref(entry);
}

/* Into [] or {}: behind the last entry, on a line of its own if that has one. */
static bool add_flow(const struct edit_place *p, const struct node *container, const char *key)
{
	if (container->last == NULL) {
		size_t at = place_of(p->text, container) + 1;
		put_range(p, 0, at);
		paste_flow(p, key);
		put_rest(p, at);
		return true;
	}
	size_t start = child_start(p->text, container->last);
	size_t end = node_end(p->text, container->last);
	if (start == NOWHERE || end == NOWHERE) return false;
	size_t line = line_start(p->text, start);
	put_range(p, 0, end);
	scratch_put(p->out, ",", 1);
	if (only(p->text, line, start, " \t")) {
		scratch_put(p->out, "\n", 1);
		put_range(p, line, start);
	} else scratch_put(p->out, " ", 1);
	paste_flow(p, key);
	put_rest(p, end);
	return true;
}

/* A line below the last entry, which begins as that does: blanks, and "- " for a list. */
static bool add_block(const struct edit_place *p, const struct node *container, const char *key)
{
	const struct node *last = container->last;
	size_t start = last != NULL ? child_start(p->text, last) : NOWHERE;
	size_t end = last != NULL ? node_end(p->text, last) : NOWHERE;
	if (start == NOWHERE || end == NOWHERE) return false;
	size_t line = line_start(p->text, start), next = line_end(p->text, end);
	if (!only(p->text, line, start, key != NULL ? " " : " -")) return false;
	put_range(p, 0, next);
	if (next > 0 && p->text.p[next - 1] != '\n') scratch_put(p->out, "\n", 1);
	put_range(p, line, start);
	paste_block(p, key, (unsigned)(start - line));
	put_rest(p, next);
	return true;
}

static bool add_entry(const struct edit_place *p, const struct node *container, const char *key)
{
	if (is_flow(p->text, container)) return add_flow(p, container, key);
	return add_block(p, container, key);
}

/* With the comma after it, or the one before when it is the last. */
static bool remove_flow(const struct edit_place *p, const struct node *n)
{
	size_t from = child_start(p->text, n), to = node_end(p->text, n);
	const struct node *before = n->parent->first;
	while (before != n && before->next != n) before = before->next;
	if (n->next != NULL) to = child_start(p->text, n->next);
	else if (before != n) from = node_end(p->text, before);
	if (from == NOWHERE || to == NOWHERE || to < from) return false;
	put_range(p, 0, from);
	put_rest(p, to);
	return true;
}

/* Its lines, if it has them for itself. A block without entries would be no container any more. */
static bool remove_block(const struct edit_place *p, const struct node *n)
{
	size_t start = child_start(p->text, n), end = node_end(p->text, n);
	if (start == NOWHERE || end == NOWHERE || n->parent->count == 1) return false;
	size_t line = line_start(p->text, start);
	if (!only(p->text, line, start, n->key != NULL ? " " : " -")) return false;
	put_range(p, 0, line);
	put_rest(p, line_end(p->text, end));
	return true;
}

/* --- one edit --------------------------------------------------------------------------------- */

static const struct node *step_into(const struct node *n, const struct edit_step *step)
{
	if (step->key != NULL) return node_get(n, step->key);
	NODE_FOREACH (child, n)
		if (child->index == step->index) return child;
	return NULL;
}

/* Some map on the way is missing: put the rest of the way there as one value. */
static bool add_way(const struct edit_place *p, const struct node *container, unsigned at)
{
	const struct edit *e = p->edit;
	json_t *value = json_incref(e->value);
	if (e->op == EDIT_APPEND) {
		json_t *list = json_array();
		json_array_append_new(list, value);
		value = list;
	}
	for (unsigned i = e->depth - 1; i > at; i--) {
		json_t *map = json_object();
		json_object_set_new(map, e->path[i].key, value);
		value = map;
	}
	struct edit whole = { .op = EDIT_SET, .value = value };
	struct edit_place there = { p->text, &whole, p->out };
	bool good = e->path[at].key != NULL && add_entry(&there, container, e->path[at].key);
	json_decref(value);
	return good;
}

static bool edit_found(const struct edit_place *p, const struct node *n)
{
	switch (p->edit->op) {
	case EDIT_SET: return replace_value(p, n);
	case EDIT_APPEND: return n->kind == NODE_LIST && add_entry(p, n, NULL);
	case EDIT_REMOVE:
		while (n->key != NULL && n->parent->count == 1 && n->parent->parent != NULL)
			n = n->parent;
		return in_flow(p->text, n->parent) ? remove_flow(p, n) : remove_block(p, n);
	}
	return false;
}

bool edit_text(struct slice text, const struct node *root, const struct edit *e,
	       struct scratch *out)
{
	struct edit_place p = { text, e, out };
	const struct node *at = root;
	scratch_clear(out);
	for (unsigned i = 0; i < e->depth; i++) {
		const struct node *next = step_into(at, &e->path[i]);
		if (next == NULL) return e->op != EDIT_REMOVE && add_way(&p, at, i);
		at = next;
	}
	return edit_found(&p, at);
}
