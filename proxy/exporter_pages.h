/* exporter_pages.h - the pages behind exporter's HTTP port. Main thread. */
#ifndef TWINRING_PROXY_EXPORTER_PAGES_H
#define TWINRING_PROXY_EXPORTER_PAGES_H

#include "common/http_pages.h"
#include "proxy/exporter.h"

struct exporter_env {
	const struct stats *stats;
	exporter_process_fn process;
	void *ctx;
};

/* Their ctx is a struct exporter_env. */
extern const struct http_page_row exporter_pages[];

/* The JSON object of this moment. */
void exporter_json(const struct exporter_env *env, struct scratch *out);

#endif
