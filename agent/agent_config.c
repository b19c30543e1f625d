#include "agent/agent_config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/agent_config_settings.h"
#include "agent/agent_config_values.h"
#include "common/config_values.h"
#include "common/yaml.h"

#define POOL_MARK "{pool}"

/* --- webhooks and outputs --------------------------------------------------------------------- */

static void webhook_read(struct webhook_spec *w, const struct node *n, struct report *r)
{
	if (!settings_defaults(&webhook_settings, w, SETTING_NATIVE)) r->nomem = true;
	if (!settings_expect(n, NODE_MAP, "webhook", r)) return;
	settings_read(&webhook_settings, w, n, r);
	if (node_get(n, "url") == NULL) report_error(r, n, AT_VALUE, "the webhook has no 'url'");
}

static void output_check_mark(const struct node *n, const char *key, const char *text,
			      struct report *r)
{
	if (text == NULL || strstr(text, POOL_MARK) != NULL) return;
	const struct node *at = node_get(n, key);
	report_error(r, at != NULL ? at : n, AT_VALUE,
		     "'%s' of all pools must hold " POOL_MARK ", which stands for a pool's name",
		     key);
}

static void output_read(struct output_spec *o, const struct node *n, struct report *r)
{
	if (!settings_defaults(&output_settings, o, SETTING_NATIVE)) r->nomem = true;
	if (!settings_expect(n, NODE_MAP, "output", r)) return;
	settings_read(&output_settings, o, n, r);
	if (node_get(n, "ketama") == NULL && node_get(n, "nutcracker") == NULL)
		report_error(r, n, AT_VALUE, "the output has neither 'ketama' nor 'nutcracker'");
	if (o->pool == NULL || strcmp(o->pool, "*") != 0) return;
	output_check_mark(n, "ketama", o->ketama, r);
	if (o->nutcracker != NULL) output_check_mark(n, "listen", o->listen, r);
}

/* NULL: no such list, or reported. */
static const struct node *config_list(const struct node *doc, const char *key, uint32_t max,
				      struct report *r)
{
	const struct node *list = node_get(doc, key);
	if (list == NULL || !settings_expect(list, NODE_LIST, key, r)) return NULL;
	if (list->count <= max) return list->count > 0 ? list : NULL;
	report_error(r, list, AT_VALUE, "there may be %u %s at most, not %u", max, key,
		     list->count);
	return NULL;
}

static void config_read_webhooks(struct agent_config *c, const struct node *doc, struct report *r)
{
	const struct node *list = config_list(doc, "webhooks", WEBHOOKS_MAX, r);
	if (list == NULL) return;
	c->webhooks = calloc(list->count, sizeof(*c->webhooks));
	if (c->webhooks == NULL) {
		r->nomem = true;
		return;
	}
	c->webhook_count = list->count;
	NODE_FOREACH (child, list) webhook_read(&c->webhooks[child->index], child, r);
}

static void config_read_outputs(struct agent_config *c, const struct node *doc, struct report *r)
{
	const struct node *list = config_list(doc, "outputs", OUTPUTS_MAX, r);
	if (list == NULL) return;
	c->outputs = calloc(list->count, sizeof(*c->outputs));
	if (c->outputs == NULL) {
		r->nomem = true;
		return;
	}
	c->output_count = list->count;
	NODE_FOREACH (child, list) output_read(&c->outputs[child->index], child, r);
}

/* Two writers of one file would replace each other's for ever. */
static void config_check_paths(const struct agent_config *c, const struct node *doc,
			       struct report *r)
{
	static const char *const keys[] = { "ketama", "nutcracker" };
	const struct node *list = node_get(doc, "outputs"), *seen[2 * OUTPUTS_MAX];
	uint32_t n = 0;
	if (c->output_count == 0) return;
	NODE_FOREACH (output, list) {
		for (int k = 0; k < 2; k++) {
			const struct node *path = node_get(output, keys[k]);
			if (path == NULL || path->text == NULL) continue;
			for (uint32_t i = 0; i < n; i++)
				if (strcmp(seen[i]->text, path->text) == 0)
					report_error(r, path, AT_VALUE,
						     "'%.80s' is written by another output",
						     path->text);
			seen[n++] = path;
		}
	}
}

/* --- the command line before the file --------------------------------------------------------- */

static const struct {
	size_t field; /* of struct agent_options */
	const char *key, *option;
} overrides[] = {
	{ offsetof(struct agent_options, source), "source", "--source" },
	{ offsetof(struct agent_options, id), "id", "--id" },
	{ offsetof(struct agent_options, run_dir), "run_dir", "--run-dir" },
	{ offsetof(struct agent_options, state_dir), "state_dir", "--state-dir" },
	{ offsetof(struct agent_options, metrics), "metrics", "--metrics" },
	{ offsetof(struct agent_options, log_level), "log_level", "--verbose" },
	{ offsetof(struct agent_options, log_file), "log_file", "--output" },
};

static void config_override_one(struct agent_config *c, const char *text, const char *key,
				const char *option, struct report *r)
{
	/* the text is argv's; nothing below writes to it */
	struct node value = { .kind = node_kind_of_plain(text), .text = (char *)(uintptr_t)text };
	const char *file = r->label;
	r->label = option;
	setting_read(settings_find(&agent_settings, key), c, &value, r);
	r->label = file;
}

static void config_override_role(struct agent_config *c, const char *role, struct report *r)
{
	const char *file = r->label;
	if (role == NULL) return;
	c->nanny = strcmp(role, "nanny") == 0;
	r->label = "--role";
	if (!c->nanny && strcmp(role, "agent") != 0)
		report_error(r, NULL, AT_VALUE, "must be agent or nanny, not '%.60s'", role);
	r->label = file;
}

static void config_override(struct agent_config *c, const struct agent_options *o, struct report *r)
{
	for (size_t i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++) {
		const char *text =
		    *(const char *const *)(const void *)((const char *)o + overrides[i].field);
		if (text != NULL)
			config_override_one(c, text, overrides[i].key, overrides[i].option, r);
	}
	config_override_role(c, o->role, r);
}

/* --- the whole -------------------------------------------------------------------------------- */

static bool config_fill(char **field, const char *text)
{
	if (*field == NULL) *field = strdup(text);
	return *field != NULL;
}

/* What nobody said, as far as the system knows. */
static void config_complete(struct agent_config *c, const struct node *doc,
			    const struct agent_options *o, struct report *r)
{
	char host[256] = "";
	if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') strcpy(host, "localhost");
	const char *fault = c->id == NULL ? agent_id_fault(host) : NULL;
	if (fault != NULL && (doc == NULL || node_get(doc, "id") == NULL))
		report_error(r, doc, AT_VALUE, "'id' is missing, and the host's name '%.60s' %s",
			     host, fault);
	if (!config_fill(&c->id, host) || !config_fill(&c->host, host)) r->nomem = true;
	bool said = o->source != NULL || (doc != NULL && node_get(doc, "source") != NULL);
	if (!said)
		report_error(r, doc, AT_VALUE,
			     "'source' is missing: zk:HOST:PORT,.../CHROOT or file:DIR");
	if (c->digest.text != NULL && c->source.text != NULL && c->source.kind != AGENT_SOURCE_ZK)
		report_warning(r, doc != NULL ? node_get(doc, "digest_file") : NULL, AT_KEY,
			       "'digest_file' is for ZooKeeper, and ignored");
}

/* doc: NULL when there is no file. */
static void config_read(struct agent_config *c, const struct node *doc,
			const struct agent_options *o, struct report *r)
{
	if (doc != NULL && doc->kind == NODE_NULL) doc = NULL; /* nothing but comments */
	if (doc != NULL && !settings_expect(doc, NODE_MAP, "the file", r)) return;
	if (doc != NULL) {
		report_duplicate_keys_deep(r, doc);
		settings_read(&agent_settings, c, doc, r);
		config_read_webhooks(c, doc, r);
		config_read_outputs(c, doc, r);
		config_check_paths(c, doc, r);
	}
	config_override(c, o, r);
	config_complete(c, doc, o, r);
}

static struct agent_config *config_new(void)
{
	struct agent_config *c = calloc(1, sizeof(*c));
	if (c != NULL && !settings_defaults(&agent_settings, c, SETTING_NATIVE))
		agent_config_free(&c);
	return c;
}

enum err agent_config_parse(const char *text, size_t n, const char *label,
			    const struct agent_options *o, struct agent_config **config_out,
			    struct config_issues *issues_out)
{
	struct report r = { .label = label };
	struct agent_config *c = config_new();
	struct node *doc = text != NULL ? yaml_parse(text, n, &r) : NULL;
	*config_out = NULL;
	*issues_out = (struct config_issues){ 0 };
	if (c == NULL) r.nomem = true;
	else if (doc != NULL || text == NULL) config_read(c, doc, o, &r);
	node_free(&doc);

	enum err e = report_outcome(&r, NULL);
	if (!config_issues_take(issues_out, &r)) e = ERR_NOMEM;
	report_fini(&r);
	if (e != ERR_NONE) agent_config_free(&c);
	*config_out = c;
	return e;
}

enum err agent_config_load(const struct agent_options *o, struct agent_config **config_out,
			   struct config_issues *issues_out)
{
	const char *path = o->config_file != NULL ? o->config_file : AGENT_CONFIG_FILE;
	char *text = NULL;
	size_t n = 0;
	enum err e = config_read_file(path, &text, &n);
	bool none = e == ERR_IO && errno == ENOENT && o->config_file == NULL;
	if (e == ERR_NONE || none) {
		e = agent_config_parse(text, n, path, o, config_out, issues_out);
		free(text);
		return e;
	}
	struct report r = { .label = path };
	report_error(&r, NULL, AT_VALUE, "cannot be read: %s",
		     e == ERR_IO ? strerror(errno) : err_text(e));
	*config_out = NULL;
	*issues_out = (struct config_issues){ 0 };
	if (!config_issues_take(issues_out, &r)) e = ERR_NOMEM;
	report_fini(&r);
	return e;
}

/* --- out and the end -------------------------------------------------------------------------- */

json_t *agent_config_to_json(const struct agent_config *c)
{
	json_t *out = settings_to_json(&agent_settings, c);
	json_t *webhooks = json_array(), *outputs = json_array();
	for (uint32_t i = 0; i < c->webhook_count; i++)
		json_array_append_new(webhooks,
				      settings_to_json(&webhook_settings, &c->webhooks[i]));
	for (uint32_t i = 0; i < c->output_count; i++)
		json_array_append_new(outputs, settings_to_json(&output_settings, &c->outputs[i]));
	json_object_set_new(out, "webhooks", webhooks);
	json_object_set_new(out, "outputs", outputs);
	return out;
}

void agent_config_free(struct agent_config **c)
{
	if (*c == NULL) return;
	for (uint32_t i = 0; i < (*c)->webhook_count; i++)
		settings_fini(&webhook_settings, &(*c)->webhooks[i]);
	for (uint32_t i = 0; i < (*c)->output_count; i++)
		settings_fini(&output_settings, &(*c)->outputs[i]);
	free((*c)->webhooks);
	free((*c)->outputs);
	settings_fini(&agent_settings, *c);
	free(*c);
	*c = NULL;
}
