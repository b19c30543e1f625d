#include "common/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/giveway.h"

static const char *const kind_names[] = {
	[NODE_NULL] = "nothing",    [NODE_BOOL] = "true or false",	[NODE_INT] = "a number",
	[NODE_REAL] = "a fraction", [NODE_STRING] = "a string",		[NODE_LIST] = "a list",
	[NODE_MAP] = "a mapping",   [NODE_BAD] = "an unreadable value",
};

const char *node_kind_name(const struct node *n)
{
	return kind_names[n->kind];
}

bool node_is_scalar(const struct node *n)
{
	return n->kind <= NODE_STRING;
}

static size_t node_digits(const char *s)
{
	return strspn(s, "0123456789");
}

/* JSON's number grammar, after the sign and integer part. */
static bool node_is_fraction(const char *s)
{
	if (*s == '.') {
		size_t n = node_digits(s + 1);
		if (n == 0) return false;
		s += 1 + n;
	}
	if (*s == 'e' || *s == 'E') {
		s++;
		if (*s == '+' || *s == '-') s++;
		size_t n = node_digits(s);
		if (n == 0) return false;
		s += n;
	}
	return *s == '\0';
}

enum node_kind node_kind_of_plain(const char *text)
{
	if (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0) return NODE_NULL;
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) return NODE_BOOL;

	const char *s = *text == '-' ? text + 1 : text;
	size_t digits = node_digits(s);
	if (digits == 0) return NODE_STRING;
	if (s[digits] == '\0') return NODE_INT;
	return node_is_fraction(s + digits) ? NODE_REAL : NODE_STRING;
}

struct node *node_new(struct node *parent, enum node_kind kind, const char *key, const char *text)
{
	struct node *n = calloc(1, sizeof(*n));
	if (n == NULL) return NULL;
	n->kind = kind;
	if ((key != NULL && (n->key = strdup(key)) == NULL) ||
	    (text != NULL && (n->text = strdup(text)) == NULL)) {
		node_free(&n);
		return NULL;
	}
	if (parent == NULL) return n;

	n->parent = parent;
	n->from_json = parent->from_json;
	n->index = parent->count++;
	if (parent->last != NULL) parent->last->next = n;
	else parent->first = n;
	parent->last = n;
	return n;
}

void node_free(struct node **n)
{
	if (*n == NULL) return;
	for (struct node *child = (*n)->first; child != NULL;) {
		struct node *next = child->next;
		node_free(&child);
		child = next;
	}
	free((*n)->key);
	free((*n)->text);
	free(*n);
	*n = NULL;
}

const struct node *node_get(const struct node *map, const char *key)
{
	if (map->kind != NODE_MAP) return NULL;
	NODE_FOREACH (child, map)
		if (strcmp(child->key, key) == 0) return child;
	return NULL;
}

/* --- from and to JSON ------------------------------------------------------------------------- */

static struct node *node_scalar_from_json(struct node *parent, const char *key, const json_t *j,
					  struct report *r)
{
	char number[40];
	switch (json_typeof(j)) {
	case JSON_NULL: return node_new(parent, NODE_NULL, key, "null");
	case JSON_TRUE: return node_new(parent, NODE_BOOL, key, "true");
	case JSON_FALSE: return node_new(parent, NODE_BOOL, key, "false");
	case JSON_INTEGER:
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(j));
		return node_new(parent, NODE_INT, key, number);
	case JSON_REAL:
		snprintf(number, sizeof(number), "%.17g", json_real_value(j));
		return node_new(parent, NODE_REAL, key, number);
	case JSON_STRING: break;
	case JSON_OBJECT: return node_new(parent, NODE_MAP, key, NULL);
	case JSON_ARRAY: return node_new(parent, NODE_LIST, key, NULL);
	}
	if (strlen(json_string_value(j)) == json_string_length(j))
		return node_new(parent, NODE_STRING, key, json_string_value(j));

	struct node *bad = node_new(parent, NODE_BAD, key, NULL);
	if (bad != NULL) report_error(r, bad, AT_VALUE, "the text holds a NUL character");
	return bad;
}

static bool node_fill_from_json(struct node *n, const json_t *j, struct report *r, unsigned depth);

static bool node_add_from_json(struct node *parent, const char *key, const json_t *j,
			       struct report *r, unsigned depth)
{
	struct node *n = node_scalar_from_json(parent, key, j, r);
	if (n == NULL) r->nomem = true;
	return n != NULL && node_fill_from_json(n, j, r, depth + 1);
}

static bool node_fill_from_json(struct node *n, const json_t *j, struct report *r, unsigned depth)
{
	if (n->kind != NODE_LIST && n->kind != NODE_MAP) return true;
	if (depth >= NODE_DEPTH_MAX) {
		report_error(r, n, AT_VALUE, "nested deeper than %d levels", NODE_DEPTH_MAX);
		return false;
	}
	for (size_t i = 0; n->kind == NODE_LIST && i < json_array_size(j); i++) {
		if (!node_add_from_json(n, NULL, json_array_get(j, i), r, depth)) return false;
		give_way_each(64, i);
	}
	if (n->kind == NODE_LIST) return true;

	/* jansson's iterator wants a mutable object but changes nothing */
	json_t *object = (json_t *)(uintptr_t)j;
	for (void *it = json_object_iter(object); it != NULL;
	     it = json_object_iter_next(object, it))
		if (!node_add_from_json(n, json_object_iter_key(it), json_object_iter_value(it), r,
					depth))
			return false;
	return true;
}

struct node *node_from_json(const json_t *doc, struct report *r)
{
	struct node *root = node_scalar_from_json(NULL, NULL, doc, r);
	if (root == NULL) {
		r->nomem = true;
		return NULL;
	}
	root->from_json = true;
	if (!node_fill_from_json(root, doc, r, 0)) node_free(&root);
	return root;
}

/* Numbers that jansson cannot hold stay text: the reader then reports a wrong type, not a wrong
 * value. */
static json_t *node_scalar_to_json(const struct node *n)
{
	if (n->kind == NODE_BOOL) return json_boolean(strcmp(n->text, "true") == 0);
	if (n->kind == NODE_REAL) {
		double d = strtod(n->text, NULL);
		return isfinite(d) ? json_real(d) : json_string(n->text);
	}
	if (n->kind == NODE_INT && strlen(n->text) <= 18)
		return json_integer(strtoll(n->text, NULL, 10));
	return n->text != NULL && n->kind != NODE_NULL ? json_string(n->text) : json_null();
}

json_t *node_to_json(const struct node *n)
{
	if (n->kind != NODE_LIST && n->kind != NODE_MAP) return node_scalar_to_json(n);

	json_t *j = n->kind == NODE_LIST ? json_array() : json_object();
	NODE_FOREACH (child, n) {
		json_t *value = node_to_json(child);
		int failed = n->kind == NODE_LIST ? json_array_append_new(j, value)
						  : json_object_set_new(j, child->key, value);
		if (failed) {
			json_decref(j);
			return NULL;
		}
	}
	return j;
}
