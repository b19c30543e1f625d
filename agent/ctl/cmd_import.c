/* cmd_import.c - pools of a nutcracker.yml (or of a native configuration) into the tree. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"
#include "agent/ctl/spec_change.h"
#include "common/config.h"
#include "common/pool_text.h"
#include "common/yaml_emit.h"

/* One pool on its way into the tree. */
struct import {
	char *name;
	struct scratch text;
	bool same; /* the tree has it already, just so */
	bool made;
	bool tombstone; /* there was one before */
};

struct imports {
	struct import *items;
	uint32_t count;
};

static void imports_fini(struct imports *all)
{
	for (uint32_t i = 0; i < all->count; i++) {
		free(all->items[i].name);
		scratch_fini(&all->items[i].text);
	}
	free(all->items);
}

/* The spec must be read back as the pool that it was made of, names in the ring and all. */
static bool import_is_faithful(const struct import *in, const struct pool_spec *pool)
{
	struct spec *spec;
	struct config_issues issues;
	bool same = false;
	spec_parse(in->text.p, in->text.n, in->name, in->name, &spec, &issues);
	if (spec != NULL) {
		json_t *a = pool_spec_to_json(pool), *b = pool_spec_to_json(spec->pool);
		/* Tokens of cas are tagged where rings change by steps: a pool here can grow. */
		json_object_del(a, "cas_tags");
		json_object_del(b, "cas_tags");
		same = a != NULL && b != NULL && json_equal(a, b);
		json_decref(a);
		json_decref(b);
	} else out_issues(&issues);
	config_issues_fini(&issues);
	spec_free(&spec);
	return same;
}

static enum ctl_exit import_make(struct import *in, const struct pool_spec *pool,
				 const char *prefix)
{
	json_t *doc = pool_text_native(pool);
	if (doc == NULL || asprintf(&in->name, "%s%s", prefix, pool->name) < 0) abort();
	if (pool->failover == FAILOVER_POOL)
		json_object_set_new(doc, "failover",
				    json_sprintf("pool:%s%s", prefix, pool->failover_pool));
	yaml_emit(doc, 0, &in->text);
	json_decref(doc);
	if (!view_name_ok(in->name)) return CTL_REFUSED;
	if (pool->failover == FAILOVER_POOL || import_is_faithful(in, pool)) return CTL_OK;
	ctl_say("pool '%s' cannot be written as a spec that means the same", pool->name);
	return CTL_REFUSED;
}

/* Is there room for it in the tree? */
static enum ctl_exit import_check(struct ctl *c, struct import *in)
{
	struct view now;
	enum store_rc rc = view_read(c->client, in->name, VIEW_SPEC | VIEW_STATE, &now);
	enum ctl_exit e = rc == STORE_NO_NODE ? CTL_OK : ctl_exit_of(rc, in->name);
	if (e == CTL_OK && now.spec_node.rc == STORE_OK) {
		in->same = slice_eq(scratch_slice(&in->text),
				    (struct slice){ now.spec_node.data, now.spec_node.n });
		if (!in->same) {
			ctl_say("there is a pool '%s' already, and it is another one", in->name);
			e = CTL_REFUSED;
		}
	}
	view_fini(&now);
	return e;
}

static enum ctl_exit import_write(struct ctl *c, struct import *in)
{
	enum ctl_exit e = spec_create(c, in->name, scratch_slice(&in->text), &in->tombstone);
	in->made = e == CTL_OK;
	return e;
}

/* All or none: what was made before the failure goes again. */
static void imports_undo(struct ctl *c, const struct imports *all)
{
	for (uint32_t i = 0; i < all->count; i++)
		if (all->items[i].made)
			spec_uncreate(c, all->items[i].name, all->items[i].tombstone);
}

static enum ctl_exit imports_write(struct ctl *c, struct imports *all)
{
	enum ctl_exit e = ctl_open(c);
	for (uint32_t i = 0; i < all->count && e == CTL_OK; i++)
		e = import_check(c, &all->items[i]);
	for (uint32_t i = 0; i < all->count && e == CTL_OK; i++)
		if (!all->items[i].same && !c->dry_run) e = import_write(c, &all->items[i]);
	if (e != CTL_OK) imports_undo(c, all);
	return e;
}

static void imports_print(const struct ctl *c, const struct imports *all)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < all->count; i++) {
		const struct import *in = &all->items[i];
		if (c->json)
			json_array_append_new(list,
					      json_pack("{s:s, s:b, s:o}", "pool", in->name,
							"written", in->made, "text",
							json_stringn(in->text.p, in->text.n)));
		else if (c->dry_run) {
			char path[STORE_PATH_MAX];
			view_path(in->name, "spec", path);
			spec_show_dry(c, path, scratch_slice(&in->text));
		} else out_line("%s: %s", in->name, in->same ? "is there already" : "added");
	}
	if (c->json) out_json(list);
	else json_decref(list);
}

static enum ctl_exit import_config(struct ctl *c, const struct args *a, const struct config *config)
{
	const char *prefix = args_option(a, "prefix");
	struct imports all = { .count = config->topology->pool_count };
	enum ctl_exit e = CTL_OK;
	all.items = calloc(all.count + 1, sizeof(*all.items));
	if (all.items == NULL) abort();
	for (uint32_t i = 0; i < all.count && e == CTL_OK; i++)
		e = import_make(&all.items[i], &config->topology->pools[i],
				prefix != NULL ? prefix : "");
	if (e == CTL_OK && (c->source != NULL || !c->dry_run)) e = imports_write(c, &all);
	if (e == CTL_OK) imports_print(c, &all);
	for (uint32_t i = 0; i < config->listener_count && e == CTL_OK && !c->json; i++)
		if (config->listeners[i].pool != NULL)
			out_note("note: listening at %s for %s%s stays a matter of each proxy's "
				 "own configuration",
				 config->listeners[i].listen.text, prefix != NULL ? prefix : "",
				 config->listeners[i].pool);
	imports_fini(&all);
	return e;
}

static enum ctl_exit import_run(struct ctl *c, const struct args *a)
{
	struct config *config = NULL;
	struct config_issues issues;
	struct scratch text = { 0 };
	enum ctl_exit e = text_read(a->operands[0], &text);
	if (e != CTL_OK) return e;
	enum err parsed = config_parse(text.p, text.n, a->operands[0], &config, &issues);
	out_issues(&issues);
	config_issues_fini(&issues);
	scratch_fini(&text);
	e = parsed == ERR_NONE ? import_config(c, a, config) : CTL_REFUSED;
	config_free(&config);
	return e;
}

static const struct ctl_option import_options[] = {
	{ "prefix", 'p', "P", "put before the name of each pool" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_import = {
	.name = "import",
	.operands = "FILE",
	.help = "make a pool of each pool of a nutcracker.yml",
	.more =
	    "Every server keeps its name in the ring, so that no key moves. All pools are made\n"
	    "or none; a pool that is there already, just so, is left alone. A proxy's native\n"
	    "configuration is taken as well.\n",
	.least = 1,
	.most = 1,
	.first = OPERAND_FILE,
	.writes = true,
	.options = import_options,
	.run = import_run,
};
