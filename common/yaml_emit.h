/* yaml_emit.h - JSON as YAML that people like to read.
 *
 * Block style; texts without quotes where every reader of YAML 1.1 and 1.2 takes them for texts.
 * What it writes, yaml_parse reads back to an equal document.
 *
 * Pure. Threads: none shared. Out of memory aborts.
 */
#ifndef TWINRING_COMMON_YAML_EMIT_H
#define TWINRING_COMMON_YAML_EMIT_H

#include <jansson.h>

#include "common/scratch.h"

/* Append `doc`, an object, as block mappings; `indent` blanks before each key of it. */
void yaml_emit(const json_t *doc, unsigned indent, struct scratch *out);

enum yaml_style {
	YAML_BLOCK, /* texts need no quotes where they are plainly texts */
	YAML_FLOW,  /* as JSON                                           */
};

/* Append one value on one line; containers always as JSON. */
void yaml_emit_inline(const json_t *value, enum yaml_style style, struct scratch *out);
/* The same for a key of a mapping. */
void yaml_emit_key(const char *key, enum yaml_style style, struct scratch *out);

#endif
