/* prom.h - lines of the Prometheus text format 0.0.4.
 *
 * Threads: as the buffer's.
 */
#ifndef TWINRING_COMMON_PROM_H
#define TWINRING_COMMON_PROM_H

#include "common/scratch.h"

/* Append `text` with what JSON or a Prometheus label must not contain escaped, without quotes.
 * Bytes that are not UTF-8 become '?'. */
void prom_put_escaped(struct scratch *out, const char *text);

/* The HELP and TYPE lines. */
void prom_head(struct scratch *out, const char *name, const char *type, const char *help);
/* Name, suffix, then labels as pairs of name and value up to a NULL, then a space. */
void prom_series(struct scratch *out, const char *name, const char *suffix, ...);
/* What comes behind it. */
void prom_value(struct scratch *out, uint64_t v);
void prom_seconds(struct scratch *out, uint64_t us);

#endif
