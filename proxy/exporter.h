/* exporter.h - shows the stats: JSON to whoever connects (twemproxy's way), and HTTP with
 * /metrics, /healthz, /readyz and /stats.
 *
 * Threads:   runs on the base it was given, main's; never blocks it. A reader that is slow or many
 *            costs bounded memory and is cut off after a while.
 * Ownership: borrows base, stats and ctx until exporter_free().
 */
#ifndef TWINRING_PROXY_EXPORTER_H
#define TWINRING_PROXY_EXPORTER_H

#include "common/config.h"
#include "proxy/stats.h"

struct event_base;
struct exporter;

enum {
	EXPORTER_JSON_CONNECTIONS = 64,	   /* one more, and the oldest has to go     */
	EXPORTER_JSON_DEADLINE_MS = 10000, /* to read the whole object               */
};

typedef void (*exporter_process_fn)(void *ctx, struct stats_process *out);

struct exporter *exporter_new(struct event_base *base, const struct stats *stats,
			      exporter_process_fn process, void *ctx);

enum exporter_port { EXPORTER_JSON, EXPORTER_HTTP, EXPORTER_MAX };

/* Listen there, and no longer where it did before. NULL, or one with text NULL: nowhere. The same
 * text as before changes nothing. On error all stays as it was. */
enum err exporter_listen(struct exporter *s, enum exporter_port which,
			 const struct listen_spec *spec, struct err_at *where_out);
/* The listening descriptor, for its address; -1: off. Borrowed. */
int exporter_fd(const struct exporter *s, enum exporter_port which);

/* Stops listening and drops all readers; sets *s to NULL, NULL is a no-op. */
void exporter_free(struct exporter **s);

#endif
