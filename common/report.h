/* report.h - what is wrong with a document, each problem with its place.
 *
 * Validation never stops at the first problem: readers add what they find and go on, and whoever
 * started them asks for the outcome at the end.
 *
 * Threads:   none shared.
 * Ownership: a report owns its items until report_fini; a zeroed struct is an empty report.
 */
#ifndef TWINRING_COMMON_REPORT_H
#define TWINRING_COMMON_REPORT_H

#include "common/node.h"

#define REPORT_ITEMS_MAX 10000 /* kept; the rest is only counted */

struct report_item {
	struct err_at at;
	bool warning;
	uint32_t line, column; /* sort key */
	uint32_t order;
};

/* Keys that no table has: an error in what people write, but in what programs write they are news
 * from a later version. */
enum report_unknown { UNKNOWN_REFUSED, UNKNOWN_IGNORED };

struct report {
	const char *label; /* file name for messages, borrowed; NULL: JSON paths */
	struct report_item *items;
	uint32_t count, capacity;
	uint32_t error_count;
	uint32_t dropped; /* beyond REPORT_ITEMS_MAX */
	enum report_unknown unknown_keys;
	bool nomem; /* something could not be allocated: the outcome is ERR_NOMEM */
};

enum report_at { AT_VALUE, AT_KEY };

/* Text shown to people is made safe first: control characters and broken UTF-8 become '?'.
 * `n` may be NULL: the document as a whole. */
void report_error(struct report *r, const struct node *n, enum report_at at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void report_warning(struct report *r, const struct node *n, enum report_at at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* At a place of the text that no node stands for. */
void report_error_line(struct report *r, uint32_t line, uint32_t column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Every key that occurs twice in this map, but for `except` (may be NULL). */
void report_duplicate_keys(struct report *r, const struct node *map, const char *except);
/* In the maps below it too. */
void report_duplicate_keys_deep(struct report *r, const struct node *n);

/* What is added from now on is only counted. */
bool report_is_full(const struct report *r);

/* Into file order. */
void report_sort(struct report *r);
/* ERR_NONE, ERR_INVALID or ERR_NOMEM; the first error, if any, is copied to *first_out. */
enum err report_outcome(const struct report *r, struct err_at *first_out);
void report_fini(struct report *r);

#endif
