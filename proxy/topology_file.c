#include "proxy/topology_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/saved.h"

/* NULL: nothing is kept. The caller frees it. */
static char *topology_file_path(const struct proxy_spec *spec)
{
	char *path = NULL;
	if (spec->saved_topology) return strdup(spec->saved_topology);
	if (spec->control && asprintf(&path, "%s.topology", spec->control) < 0) return NULL;
	return path;
}

void topology_file_save(const struct proxy_spec *spec, const struct topology *t)
{
	struct err_at at = { 0 };
	char *path = topology_file_path(spec);
	json_t *doc = path ? topology_to_json(t) : NULL;
	char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (text && saved_write(path, slice_of(text), &at) != ERR_NONE)
		log_error("the topology is in force, but not saved: %s: %s", at.where, at.why);
	free(text);
	json_decref(doc);
	free(path);
}

struct topology *topology_file_load(const struct proxy_spec *spec)
{
	struct scratch body = { 0 };
	struct err_at at = { 0 };
	struct topology *t = NULL;
	json_error_t ignored;
	char *path = topology_file_path(spec);
	if (!path) return NULL;
	enum err e = saved_read(path, &body, NULL, &at);
	if (at.why[0]) log_warn("saved topology: %s: %s", at.where, at.why);
	json_t *doc = e == ERR_NONE ? json_loadb(body.p, body.n, 0, &ignored) : NULL;
	if (doc && topology_from_json(doc, &t, &at) != ERR_NONE)
		log_warn("saved topology: %s: %s: %s", path, at.where, at.why);
	json_decref(doc);
	scratch_fini(&body);
	free(path);
	return t;
}
