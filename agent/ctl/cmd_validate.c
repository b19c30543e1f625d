/* cmd_validate.c - every problem of a spec or a configuration, with line and column. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/ctl/out.h"
#include "agent/ctl/spec_change.h"
#include "common/config_nutcracker.h"
#include "common/report.h"
#include "common/yaml.h"

/* A proxy's configuration has pools in it, a spec is one. */
static bool text_is_config(struct slice text)
{
	struct report r = { .label = "" };
	struct node *root = yaml_parse(text.p, text.n, &r);
	bool config = root != NULL && root->kind == NODE_MAP &&
		      (node_get(root, "pools") != NULL || config_is_nutcracker(root));
	node_free(&root);
	report_fini(&r);
	return config;
}

/* "dir/alpha.yml" is likely the pool alpha's. */
static char *name_of_file(const char *path)
{
	const char *base = strrchr(path, '/');
	base = base != NULL ? base + 1 : path;
	size_t n = strcspn(base, ".");
	char *name = n > 0 && *base != '-' ? strndup(base, n) : strdup("pool");
	if (name == NULL) abort();
	return name;
}

/* A spec in a file; against the tree when --pool says which one it is for. */
static enum ctl_exit validate_spec(struct ctl *c, const struct args *a, struct slice text,
				   struct config_issues *issues)
{
	const char *pool = args_option(a, "pool");
	struct view now = { 0 };
	enum ctl_exit e = CTL_OK;
	if (pool != NULL && !view_name_ok(pool)) return CTL_REFUSED;
	if (pool != NULL) e = ctl_open(c);
	if (e == CTL_OK && pool != NULL) {
		enum store_rc rc = view_read(c->client, pool, VIEW_SPEC | VIEW_STATE, &now);
		if (rc != STORE_NO_NODE) e = ctl_exit_of(rc, pool);
	} else now.name = name_of_file(a->operands[0]);
	if (e == CTL_OK) e = spec_check(c, &now, text, a->operands[0], NULL, issues);
	view_fini(&now);
	return e;
}

static enum ctl_exit validate_file(struct ctl *c, const struct args *a,
				   struct config_issues *issues)
{
	struct scratch text = { 0 };
	enum ctl_exit e = text_read(a->operands[0], &text);
	if (e == CTL_OK && text_is_config(scratch_slice(&text))) {
		struct config *config;
		enum err parsed = config_parse(text.p, text.n, a->operands[0], &config, issues);
		e = parsed == ERR_NONE ? CTL_OK : CTL_REFUSED;
		config_free(&config);
	} else if (e == CTL_OK) e = validate_spec(c, a, scratch_slice(&text), issues);
	scratch_fini(&text);
	return e;
}

static enum ctl_exit validate_pool(struct ctl *c, const char *pool, struct config_issues *issues)
{
	struct views views;
	char path[STORE_PATH_MAX];
	enum ctl_exit e = views_read(c, pool, VIEW_SPEC | VIEW_STATE, &views);
	if (e == CTL_OK) {
		const struct view *v = views.items;
		struct slice text = { v->spec_node.data, v->spec_node.n };
		view_path(pool, "spec", path);
		e = ctl_exit_of(v->spec_node.rc, path);
		if (e == CTL_OK) e = spec_check(c, v, text, path, NULL, issues);
	}
	views_fini(&views);
	return e;
}

static enum ctl_exit validate_run(struct ctl *c, const struct args *a)
{
	const char *what = a->operands[0];
	struct config_issues issues = { 0 };
	bool file = strcmp(what, "-") == 0 || access(what, F_OK) == 0 ||
		    args_option(a, "pool") != NULL || strchr(what, '/') != NULL;
	enum ctl_exit e = file ? validate_file(c, a, &issues) : validate_pool(c, what, &issues);
	bool checked = e == CTL_OK || issues.count > 0;
	if (checked && c->json)
		out_json(json_pack("{s:b, s:o}", "valid", e == CTL_OK, "issues",
				   out_issues_json(&issues)));
	else out_issues(&issues);
	if (checked && !c->json) out_line("%s: %s", what, e == CTL_OK ? "valid" : "invalid");
	config_issues_fini(&issues);
	return e;
}

static const struct ctl_option validate_options[] = {
	{ "pool", 'p', "POOL", "check a file as the next spec of this pool of the tree" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_validate = {
	.name = "validate",
	.operands = "FILE|POOL",
	.help = "check a spec: a file, or a pool of the tree",
	.more =
	    "A file may also be a proxy's configuration or a nutcracker.yml. With --pool it is\n"
	    "also checked against the tree: how many servers would be lost at once, and whether\n"
	    "its failover leads anywhere.\n",
	.least = 1,
	.most = 1,
	.first = OPERAND_FILE,
	.options = validate_options,
	.run = validate_run,
};
