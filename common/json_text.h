/* json_text.h - long JSON, read and written beside threads that serve: giveway.h.
 *
 * Threads: any. Errors: as jansson's own json_loadb() and json_dumps(); no memory aborts.
 */
#ifndef TWINRING_COMMON_JSON_TEXT_H
#define TWINRING_COMMON_JSON_TEXT_H

#include <jansson.h>

#include "common/scratch.h"

/* NULL: *e_out says why. The caller owns the value. */
json_t *json_text_read(struct slice text, size_t flags, json_error_t *e_out);
/* Appends to `out`. */
void json_text_write(const json_t *value, size_t flags, struct scratch *out);

#endif
