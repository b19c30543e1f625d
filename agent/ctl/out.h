/* out.h - what the operator sees: tables for people, JSON for programs.
 *
 * Text from the tree is shown without control characters, as it may come from anybody.
 *
 * Threads: one. Out of memory aborts.
 */
#ifndef TWINRING_AGENT_CTL_OUT_H
#define TWINRING_AGENT_CTL_OUT_H

#include <jansson.h>
#include <stdio.h>

#include "agent/ctl/ctl.h"
#include "common/config.h"
#include "common/scratch.h"

enum { TABLE_COLUMNS_MAX = 10 };

/* Cells in columns as wide as they need. A zeroed one is empty; end it with table_print(). */
struct table {
	unsigned columns, count; /* count: of cells, the headings' included */
	unsigned capacity;
	char **cells;
};

/* The first row, which names the columns; then row after row, cell by cell. NULL shows as "-". */
void table_begin(struct table *t, const char *const *headings, unsigned columns);
void table_text(struct table *t, const char *text);
void table_printf(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A string or a number, or "-". */
void table_json(struct table *t, const json_t *value);
/* Print, and end it. Nothing but the headings: print `none` instead. */
void table_print(struct table *t, const char *none);

/* A line on stdout. */
void out_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A note on stderr, with nothing before it. */
void out_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One JSON document, indented; steals `doc`. */
void out_json(json_t *doc);
/* On one line, for streams of them; steals `doc`. */
void out_json_line(json_t *doc);
/* As it is. */
void out_text(struct slice text);

/* Errors and warnings as "place: error: why" on stderr. */
void out_issues(const struct config_issues *issues);
json_t *out_issues_json(const struct config_issues *issues);
void out_problem(const struct err_at *at);

/* What must be there, else "" or 0. */
const char *out_string(const json_t *object, const char *key);
/* From milliseconds since 1970, as "2024-01-31 12:00:00"; "-" for 0. */
void out_time(uint64_t ms, char text_out[32]);

#endif
