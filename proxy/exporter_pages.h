/* exporter_pages.h - the pages behind exporter's HTTP port. Main thread. */
#ifndef TWINRING_PROXY_EXPORTER_PAGES_H
#define TWINRING_PROXY_EXPORTER_PAGES_H

#include "proxy/exporter.h"

struct evhttp;

struct exporter_env {
	const struct stats *stats;
	exporter_process_fn process;
	void *ctx;
};

/* Make `http` answer; `env` is borrowed until evhttp_free(). */
void exporter_pages_setup(struct evhttp *http, struct exporter_env *env);

/* The JSON object of this moment. */
void exporter_json(const struct exporter_env *env, struct scratch *out);

#endif
