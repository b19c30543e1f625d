#include "proxy/topology_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json_text.h"
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

enum err topology_file_save(const struct proxy_spec *spec, const struct topology *t,
			    struct err_at *where_out)
{
	char *path = topology_file_path(spec);
	if (!path) return ERR_NONE;
	json_t *doc = topology_to_json(t);
	struct scratch text = { 0 };
	if (doc) json_text_write(doc, JSON_COMPACT | JSON_SORT_KEYS, &text);
	enum err e = doc ? saved_write(path, scratch_slice(&text), where_out) : ERR_NOMEM;
	scratch_fini(&text);
	json_decref(doc);
	free(path);
	return e;
}

void topology_file_confirm(const struct proxy_spec *spec)
{
	char *path = topology_file_path(spec);
	if (path) saved_touch(path);
	free(path);
}

static struct topology *topology_file_read(const char *path, enum saved_generation g,
					   uint64_t *age_s_out)
{
	struct scratch body = { 0 };
	struct err_at at = { 0 };
	struct topology *t = NULL;
	json_error_t ignored;
	enum err e = saved_read(path, g, &body, age_s_out, &at);
	if (e == ERR_NONE) {
		json_t *doc =
		    json_text_read(scratch_slice(&body), JSON_REJECT_DUPLICATES, &ignored);
		snprintf(at.why, sizeof(at.why), "it is no JSON");
		if (doc) e = topology_from_json(doc, &t, &at);
		else e = ERR_INVALID;
		json_decref(doc);
	}
	if (e != ERR_NONE && e != ERR_UNKNOWN_NAME)
		log_warn("saved topology%s: %s: %s", g == SAVED_BEFORE ? ", the one before" : "",
			 at.where, at.why);
	scratch_fini(&body);
	return t;
}

int topology_file_compare(const struct topology *a, const struct topology *b)
{
	uint64_t x[] = { a->epoch, a->step, a->version }, y[] = { b->epoch, b->step, b->version };
	for (size_t i = 0; i < sizeof(x) / sizeof(x[0]); i++)
		if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
	return 0;
}

static bool same_lineage(const struct topology *a, const struct topology *b)
{
	return strcmp(a->lineage ? a->lineage : "", b->lineage ? b->lineage : "") == 0;
}

struct topology *topology_file_load(const struct proxy_spec *spec, uint64_t *age_s_out)
{
	uint64_t old_age_s = 0;
	char *path = topology_file_path(spec);
	*age_s_out = 0;
	if (!path) return NULL;
	struct topology *t = topology_file_read(path, SAVED_NEWEST, age_s_out);
	struct topology *old = topology_file_read(path, SAVED_BEFORE, &old_age_s);
	bool back = t && old && same_lineage(t, old) && topology_file_compare(t, old) < 0;
	if (back) log_warn("saved topology: %s: older than the one before", path);
	if (old && (!t || back)) {
		topology_free(&t);
		t = old;
		old = NULL;
		*age_s_out = old_age_s;
	}
	topology_free(&old);
	free(path);
	return t;
}
