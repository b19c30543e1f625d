/* node.h - a parsed document as a tree that remembers where each value stood.
 *
 * Readers of configuration walk nodes, never text: the same checks then serve a YAML file (messages
 * carry file:line:column) and a JSON message (messages carry a JSON path).
 *
 * Threads:   none shared; a tree and a report belong to whoever made them.
 * Ownership: a parent owns its children; node_free frees a whole tree.
 */
#ifndef TWINRING_COMMON_NODE_H
#define TWINRING_COMMON_NODE_H

#include <jansson.h>

#include "common/err.h"
#include "common/list.h"

#define NODE_DEPTH_MAX 64 /* containers inside one another; recursion below is bounded by it */

struct report;

enum node_kind {
	NODE_NULL,
	NODE_BOOL,
	NODE_INT,
	NODE_REAL,
	NODE_STRING,
	NODE_LIST,
	NODE_MAP,
	NODE_BAD, /* already reported: whoever meets it says nothing more */
};

struct node {
	enum node_kind kind;
	struct node *parent; /* NULL for the root                                    */
	struct node *first;  /* children in document order, lists and maps only      */
	struct node *last;
	struct node *next; /* sibling                                              */
	uint32_t count;	   /* children                                             */
	uint32_t index;	   /* among its siblings                                   */
	uint32_t line;	   /* of the value, from 1; 0 when it came from JSON       */
	uint32_t column;   /* in characters, from 1                                */
	uint32_t key_line; /* of the key, when the parent is a map                 */
	uint32_t key_column;
	char *key;	/* NULL unless the parent is a map; never holds NUL     */
	char *text;	/* scalars, as typed without quotes; never holds NUL    */
	bool from_json; /* types are exact: 5 is no string                      */
};

/* What a plain (unquoted) scalar is: null, true/false, a decimal integer, a real, else a string. */
enum node_kind node_kind_of_plain(const char *text);

/* A node of `kind` with copies of key and text (each may be NULL), last child of `parent` unless
 * that is NULL. NULL when out of memory. */
struct node *node_new(struct node *parent, enum node_kind kind, const char *key, const char *text);
void node_free(struct node **n);

/* The child called `key`, or NULL; NULL too when `map` is no map. Linear. */
const struct node *node_get(const struct node *map, const char *key);
#define NODE_FOREACH(child, container) \
	for (const struct node *child = (container)->first; child != NULL; child = child->next)

/* "a list", "a string"...: how messages call it. */
const char *node_kind_name(const struct node *n);
bool node_is_scalar(const struct node *n);

/* From JSON; NULL when out of memory or nested deeper than NODE_DEPTH_MAX. Text with NUL inside
 * becomes NODE_BAD and is reported in `r`. */
struct node *node_from_json(const json_t *doc, struct report *r);
/* To JSON, a new reference; NULL when out of memory. Duplicate keys: the last wins. */
json_t *node_to_json(const struct node *n);

#endif
