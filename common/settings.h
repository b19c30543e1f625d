/* settings.h - one table per kind of object describes every option it has; from the table come the
 * defaults, the parser, the checks, the JSON dump, deep copies and the documentation.
 *
 * An object is a plain struct whose fields the table names by offset. Strings in it are owned
 * (heap) and freed by settings_fini.
 *
 * Threads: tables are const; every call touches only its arguments.
 * Errors:  bad input is reported, never fatal: the field keeps its value and reading goes on.
 */
#ifndef TWINRING_COMMON_SETTINGS_H
#define TWINRING_COMMON_SETTINGS_H

#include <stdio.h>

#include "common/report.h"

enum setting_type {
	SETTING_BOOL,	 /* bool                                                       */
	SETTING_U16,	 /* uint16_t */
	SETTING_U32,	 /* uint32_t                                                   */
	SETTING_U64,	 /* uint64_t                                                   */
	SETTING_BYTES32, /* uint32_t; "64k" "8m" "1g" are understood                   */
	SETTING_BYTES64, /* uint64_t                                                   */
	SETTING_NAME,	 /* char *, owned or NULL; no control characters               */
	SETTING_SECRET,	 /* char *, owned or NULL; any characters                      */
	SETTING_ENUM,	 /* unsigned-sized enum; words from `words`                    */
	SETTING_CUSTOM,	 /* by `ops`                                                   */
	SETTING_GROUP,	 /* a nested mapping whose options, from `group`, live in the
			  * same struct                                                */
	SETTING_READER,	 /* read by the object's own code (servers); only documented here */
};

/* Words of an enum; the value is the index. Returns NULL beyond the last. */
typedef const char *(*setting_word_fn)(unsigned value);

struct setting_ops {
	/* False: `why` (of `cap` bytes) says why not. The field is left alone then. */
	bool (*set)(void *field, const struct node *value, char *why, size_t cap);
	json_t *(*to_json)(const void *field); /* a new reference; NULL: leave it out */
	void (*fini)(void *field);	       /* NULL: nothing owned, plain bytes    */
	/* `field` is a byte copy of `from`: give it what it needs of its own, so that `fini` is
	 * right even after false, which means no memory. NULL: plain bytes. */
	bool (*copy)(void *field, const void *from);
};

struct settings;

struct setting {
	const char *key;
	enum setting_type type;
	size_t offset;	       /* of the field in the object                                 */
	int64_t min, max;      /* numbers: value; texts: length in bytes                     */
	const char *def;       /* as one would type it; NULL: none (zero); "(prose)": computed
				* after reading by the object's own code                     */
	const char *unit;      /* "ms", "bytes"...; "" when none                             */
	const char *alias;     /* the same option in nutcracker.yml, or NULL                 */
	const char *alias_def; /* its default there when it differs, or NULL               */
	const char *help;
	setting_word_fn words;
	const struct setting_ops *ops;
	const struct settings *group;
};

struct settings {
	const char *title; /* of the documentation's section, and how messages call it */
	const char *intro; /* one paragraph                                            */
	const struct setting *items;
	size_t count;
};

/* Whose defaults. */
enum setting_dialect { SETTING_NATIVE, SETTING_NUTCRACKER };

/* Fill the fields; `object` is zeroed or fresh. False when out of memory. */
bool settings_defaults(const struct settings *s, void *object, enum setting_dialect d);

/* Read every key of `map`: unknown keys, wrong types and impossible values are reported. */
void settings_read(const struct settings *s, void *object, const struct node *map,
		   struct report *r);

/* The same for a map whose keys two tables share: those that `other` has are passed over, for
 * whoever reads it with that. */
void settings_read_beside(const struct settings *s, void *object, const struct node *map,
			  const struct settings *other, struct report *r);

/* One option from its value. */
void setting_read(const struct setting *s, void *object, const struct node *value,
		  struct report *r);

/* NULL when there is none. */
const struct setting *settings_find(const struct settings *s, const char *key);
const struct setting *settings_find_alias(const struct settings *s, const char *alias);

/* For hints: how many single-character edits (insert, delete, change, swap neighbours) make `b` of
 * `a`, or UINT_MAX when too many for a slip of the fingers. */
unsigned settings_distance(const char *a, const char *b);
/* The key that `word` may have meant; NULL when nothing is near. */
const char *settings_nearest_key(const struct settings *s, const char *word);

/* True when `n` has the wanted kind; else the difference is reported as "`what` must be ...". */
bool settings_expect(const struct node *n, enum node_kind kind, const char *what, struct report *r);

/* All of an object's options, as a new JSON object; NULL when out of memory. */
json_t *settings_to_json(const struct settings *s, const void *object);

/* `object` is a byte copy of `from`: give it texts of its own. False when out of memory;
 * settings_fini is right either way. A SETTING_CUSTOM that owns something needs its `copy`. */
bool settings_copy(const struct settings *s, void *object, const void *from);
void settings_fini(const struct settings *s, void *object);

/* The section of the manual, in Markdown; with a column for nutcracker.yml's names, or without. */
enum settings_columns { SETTINGS_PLAIN, SETTINGS_WITH_ALIASES };
void settings_document(const struct settings *s, enum settings_columns columns, FILE *out);

/* "64k", "8M", "1g" or plain digits. False when it is no size or does not fit. */
bool settings_parse_bytes(const char *text, uint64_t *bytes_out);

#endif
