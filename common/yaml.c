#include "common/yaml.h"

#include <stdlib.h>
#include <yaml.h>

/* The tree under construction. */
struct yaml_build {
	struct report *report;
	yaml_parser_t parser;
	struct node *root;
	struct node *open; /* innermost unclosed list or map                         */
	uint32_t count;	   /* nodes made */
	unsigned depth;	   /* of `open`, 0 when none                                 */
	char *key;	   /* of the map entry whose value comes next, owned, or NULL */
	yaml_mark_t key_mark;
	unsigned skip; /* containers open inside a complex key, whose content is ignored */
	bool stop;     /* nothing after this can be understood                          */
};

/* libyaml counts from 0. */
static void yaml_error_at(struct yaml_build *b, yaml_mark_t at, const char *why)
{
	report_error_line(b->report, (uint32_t)at.line + 1, (uint32_t)at.column + 1, "%s", why);
}

static void yaml_out_of_memory(struct yaml_build *b)
{
	b->report->nomem = true;
	b->stop = true;
}

static struct node *yaml_add(struct yaml_build *b, enum node_kind kind, const char *text,
			     yaml_mark_t at)
{
	if (++b->count > YAML_NODES_MAX) {
		yaml_error_at(b, at, "more values in one file than we read");
		b->stop = true;
		return NULL;
	}
	struct node *n = node_new(b->open, kind, b->key, text);
	if (n == NULL) {
		yaml_out_of_memory(b);
		return NULL;
	}
	n->line = (uint32_t)at.line + 1;
	n->column = (uint32_t)at.column + 1;
	n->key_line = (uint32_t)b->key_mark.line + 1;
	n->key_column = (uint32_t)b->key_mark.column + 1;
	free(b->key);
	b->key = NULL;
	if (b->open == NULL) b->root = n;
	return n;
}

static bool yaml_wants_key(const struct yaml_build *b)
{
	return b->open != NULL && b->open->kind == NODE_MAP && b->key == NULL;
}

static void yaml_take_key(struct yaml_build *b, const char *text, yaml_mark_t at)
{
	b->key = strdup(text);
	b->key_mark = at;
	if (b->key == NULL) yaml_out_of_memory(b);
}

/* False, with the reason reported, when the node uses what we refuse. */
static bool yaml_is_simple(struct yaml_build *b, const unsigned char *anchor,
			   const unsigned char *tag, yaml_mark_t at)
{
	if (anchor != NULL)
		yaml_error_at(b, at, "anchors ('&name') are not supported: write the value out");
	if (tag != NULL)
		yaml_error_at(b, at, "tags ('!name') are not supported: write the value without");
	return anchor == NULL && tag == NULL;
}

static void yaml_on_scalar(struct yaml_build *b, const yaml_event_t *e)
{
	const char *text = (const char *)e->data.scalar.value;
	/* "!" alone marks a scalar as a string, as quotes do: still a tag */
	bool good = yaml_is_simple(b, e->data.scalar.anchor, e->data.scalar.tag, e->start_mark);

	if (strlen(text) != e->data.scalar.length) {
		yaml_error_at(b, e->start_mark, "the text holds a NUL character");
		good = false;
	}
	if (yaml_wants_key(b)) {
		yaml_take_key(b, text, e->start_mark);
		return;
	}
	enum node_kind kind = NODE_STRING;
	if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) kind = node_kind_of_plain(text);
	yaml_add(b, good ? kind : NODE_BAD, text, e->start_mark);
}

static void yaml_on_alias(struct yaml_build *b, const yaml_event_t *e)
{
	yaml_error_at(b, e->start_mark, "aliases ('*name') are not supported: write the value out");
	if (yaml_wants_key(b)) yaml_take_key(b, "*", e->start_mark);
	else yaml_add(b, NODE_BAD, NULL, e->start_mark);
}

/* Nothing of the rest is read: libyaml's own time grows with the square of the depth. */
static void yaml_too_deep(struct yaml_build *b, yaml_mark_t at)
{
	yaml_error_at(b, at, "nested deeper than 64 levels");
	b->stop = true;
}

static void yaml_on_open(struct yaml_build *b, enum node_kind kind, const yaml_event_t *e)
{
	const unsigned char *anchor, *tag;
	if (kind == NODE_MAP) {
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
	} else {
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
	}
	if (yaml_wants_key(b)) {
		yaml_error_at(b, e->start_mark, "a key must be plain text, not a list or mapping");
		b->skip = 1;
		return;
	}
	if (b->depth == NODE_DEPTH_MAX) {
		yaml_too_deep(b, e->start_mark);
		return;
	}
	yaml_is_simple(b, anchor, tag, e->start_mark);
	struct node *n = yaml_add(b, kind, NULL, e->start_mark);
	if (n == NULL) return;
	b->open = n;
	b->depth++;
}

static void yaml_on_close(struct yaml_build *b)
{
	b->open = b->open->parent;
	b->depth--;
}

static void yaml_on_document(struct yaml_build *b, const yaml_event_t *e)
{
	if (b->root == NULL) return;
	yaml_error_at(b, e->start_mark, "a second document starts here: only one is allowed");
	b->stop = true;
}

/* Inside a complex key only the nesting matters; at its end a placeholder key stands for it. */
static void yaml_skip(struct yaml_build *b, const yaml_event_t *e)
{
	if (e->type == YAML_MAPPING_START_EVENT || e->type == YAML_SEQUENCE_START_EVENT) b->skip++;
	if (e->type == YAML_MAPPING_END_EVENT || e->type == YAML_SEQUENCE_END_EVENT) b->skip--;
	if (b->depth + b->skip > NODE_DEPTH_MAX) yaml_too_deep(b, e->start_mark);
	if (b->skip == 0) yaml_take_key(b, "?", e->start_mark);
}

static void yaml_on_event(struct yaml_build *b, const yaml_event_t *e)
{
	if (b->skip > 0) {
		yaml_skip(b, e);
		return;
	}
	switch (e->type) {
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_END_EVENT: break;
	case YAML_STREAM_END_EVENT: b->stop = true; break;
	case YAML_DOCUMENT_START_EVENT: yaml_on_document(b, e); break;
	case YAML_ALIAS_EVENT: yaml_on_alias(b, e); break;
	case YAML_SCALAR_EVENT: yaml_on_scalar(b, e); break;
	case YAML_SEQUENCE_START_EVENT: yaml_on_open(b, NODE_LIST, e); break;
	case YAML_MAPPING_START_EVENT: yaml_on_open(b, NODE_MAP, e); break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT: yaml_on_close(b); break;
	}
}

static void yaml_syntax_error(struct yaml_build *b)
{
	const yaml_parser_t *p = &b->parser;
	const char *problem = p->problem != NULL ? p->problem : "the text cannot be read";
	switch (p->error) {
	case YAML_MEMORY_ERROR: yaml_out_of_memory(b); return;
	case YAML_READER_ERROR:
		/* the reader knows bytes only: the mark is where the parser had come to */
		report_error_line(b->report, (uint32_t)p->mark.line + 1,
				  (uint32_t)p->mark.column + 1, "%s (byte %zu of the file)",
				  problem, p->problem_offset);
		return;
	case YAML_NO_ERROR:
	case YAML_SCANNER_ERROR:
	case YAML_PARSER_ERROR:
	case YAML_COMPOSER_ERROR:
	case YAML_WRITER_ERROR:
	case YAML_EMITTER_ERROR: break;
	}
	report_error_line(b->report, (uint32_t)p->problem_mark.line + 1,
			  (uint32_t)p->problem_mark.column + 1, "%s%s%s", problem,
			  p->context != NULL ? " " : "", p->context != NULL ? p->context : "");
}

/* False when the text cannot be read to its end. */
static bool yaml_build_tree(struct yaml_build *b)
{
	yaml_event_t event;
	while (!b->stop) {
		if (!yaml_parser_parse(&b->parser, &event)) {
			yaml_syntax_error(b);
			return false;
		}
		bool end = event.type == YAML_STREAM_END_EVENT;
		yaml_on_event(b, &event);
		yaml_event_delete(&event);
		if (end) return true;
	}
	return false;
}

struct node *yaml_parse(const char *text, size_t n, struct report *r)
{
	struct yaml_build b = { .report = r };
	if (n > YAML_TEXT_MAX) {
		report_error(r, NULL, AT_VALUE, "the file is larger than 16 MiB");
		return NULL;
	}
	if (!yaml_parser_initialize(&b.parser)) {
		r->nomem = true;
		return NULL;
	}
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, n);
	bool whole = yaml_build_tree(&b);
	yaml_parser_delete(&b.parser);
	free(b.key);
	if (whole && b.root == NULL) report_error(r, NULL, AT_VALUE, "the file is empty");
	if (!whole) node_free(&b.root);
	return b.root;
}
