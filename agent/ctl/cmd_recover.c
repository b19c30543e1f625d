/* cmd_recover.c - after the tree was lost or restored: let it go on from what agents have. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/agents.h"
#include "agent/ctl/out.h"
#include "agent/ctl/view.h"

/* Where a tree has to go on so that every agent follows it. */
struct origin {
	const char *lineage; /* borrowed from the agents' reports, or from the command line */
	json_int_t epoch;    /* the highest that any agent has                              */
};

/* What agents have in force. CTL_REFUSED: nothing, or not the same lineage; said so. */
static enum ctl_exit recover_ask(const json_t *agents, struct origin *o)
{
	size_t i;
	json_t *a;
	bool chosen = o->lineage != NULL, found = false;
	json_array_foreach (agents, i, a) {
		const char *lineage = out_string(a, "lineage");
		json_int_t epoch = json_integer_value(json_object_get(a, "epoch"));
		if (*lineage == '\0') continue;
		if (o->lineage == NULL) o->lineage = lineage;
		if (strcmp(o->lineage, lineage) == 0) {
			found = true;
			if (epoch > o->epoch) o->epoch = epoch;
		} else if (!chosen) {
			ctl_say("agents have different lineages, %s and %s: choose one with "
				"--lineage; those of the other stay as they are",
				o->lineage, lineage);
			return CTL_REFUSED;
		}
	}
	if (!found) ctl_say("no agent has a topology%s in force", chosen ? " of this lineage" : "");
	return found ? CTL_OK : CTL_REFUSED;
}

static enum ctl_exit recover_cluster(struct ctl *c, const struct origin *o)
{
	json_t *doc = json_pack("{s:i, s:s, s:I}", "format", 1, "lineage", o->lineage,
				"epoch_floor", o->epoch);
	char *text = doc != NULL ? json_dumps(doc, JSON_SORT_KEYS) : NULL;
	if (text == NULL) abort();
	struct client_node n = client_get(c->client, "cluster", CLIENT_ONCE);
	enum store_rc rc = n.rc;
	if (!c->dry_run && rc == STORE_NO_NODE)
		rc = client_create(c->client, "cluster", slice_of(text), STORE_PARENTS);
	else if (!c->dry_run && rc == STORE_OK)
		rc = client_put(c->client, "cluster", slice_of(text), n.stat.version, NULL);
	else if (rc == STORE_NO_NODE) rc = STORE_OK;
	client_node_fini(&n);
	free(text);
	json_decref(doc);
	return ctl_exit_of(rc, "cluster");
}

/* A state that nobody can go on from makes room for one that is made of the spec. */
static enum ctl_exit recover_states(struct ctl *c, const struct origin *o, json_t *removed)
{
	struct views views;
	enum ctl_exit e = views_read(c, NULL, VIEW_STATE, &views);
	for (uint32_t i = 0; i < views.count && e == CTL_OK; i++) {
		const struct view *v = &views.items[i];
		char path[STORE_PATH_MAX];
		if (v->state_node.rc != STORE_OK && v->state_node.rc != STORE_TOO_LARGE) continue;
		if (v->has_state && strcmp(v->state.lineage, o->lineage) == 0) continue;
		json_array_append_new(removed, json_string(v->name));
		if (c->dry_run) continue;
		view_path(v->name, "state", path);
		e = ctl_exit_of(client_delete(c->client, path, v->state_node.stat.version), path);
	}
	views_fini(&views);
	return e;
}

static enum ctl_exit recover_run(struct ctl *c, const struct args *a)
{
	struct origin o = { .lineage = args_option(a, "lineage") };
	json_t *agents = NULL, *removed = json_array();
	enum ctl_exit e = ctl_open(c);
	if (e == CTL_OK) e = ctl_exit_of(client_sync(c->client), "sync");
	if (e == CTL_OK) e = agents_read(c, 0, &agents);
	if (e == CTL_OK) e = recover_ask(agents, &o);
	/* In this order: from here on the coordinator makes states of the right lineage only. */
	if (e == CTL_OK) e = recover_cluster(c, &o);
	if (e == CTL_OK) e = recover_states(c, &o, removed);
	if (e == CTL_OK && c->json)
		out_json(json_pack("{s:s, s:I, s:O}", "lineage", o.lineage, "epoch_floor", o.epoch,
				   "states_removed", removed));
	else if (e == CTL_OK)
		out_line("lineage %s; epochs %s after %lld; %zu states %s", o.lineage,
			 c->dry_run ? "would go on" : "go on", (long long)o.epoch,
			 json_array_size(removed), c->dry_run ? "would be removed" : "removed");
	json_decref(removed);
	json_decref(agents);
	return e;
}

static const struct ctl_option recover_options[] = {
	{ "lineage", 'l', "ID", "go on from the agents of this lineage" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_recover = {
	.name = "recover",
	.operands = "",
	.help = "after the tree was lost, restored or broken: go on from what agents have",
	.more =
	    "Agents do not follow a tree that says less than they have in force: they keep that,\n"
	    "and say so (see status). First see to it that the specs are as they should be: from "
	    "a\n"
	    "backup, or with import or pool add. Then this takes the agents' lineage, and their\n"
	    "highest epoch as what has been, and removes states that are broken or of another\n"
	    "lineage; the coordinator makes new ones of the specs, which every agent follows.\n",
	.writes = true,
	.options = recover_options,
	.run = recover_run,
};
