/* cmd_transition.c - a pool on its way from one ring to another: how it goes, and what shall become
 * of it.
 *
 * A wish is a node of its own, which says which transition it means: the coordinator grants it, or
 * drops it when that one is over. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"
#include "agent/ctl/walk.h"

/* --- status ------------------------------------------------------------------------------------
 */

static enum ctl_exit status_run(struct ctl *c, const struct args *a)
{
	struct views views;
	json_t *all = json_array();
	enum ctl_exit e =
	    views_read(c, a->count > 0 ? a->operands[0] : NULL, VIEW_STATE | VIEW_STATUS, &views);
	for (uint32_t i = 0; i < views.count; i++)
		json_array_append_new(all, walk_json(&views.items[i]));
	if (e == CTL_OK && c->json) out_json(json_incref(all));
	else if (e == CTL_OK) walk_print(all);
	json_decref(all);
	views_fini(&views);
	return e;
}

const struct command cmd_transition_status = {
	.name = "transition status",
	.operands = "[POOL]",
	.help = "which pools are on their way to another ring, how far, and what they wait for",
	.most = 1,
	.first = OPERAND_POOL,
	.run = status_run,
};

/* --- wishes ------------------------------------------------------------------------------------
 */

static enum ctl_exit wish_write(struct ctl *c, const struct view *v, const char *wish)
{
	char path[STORE_PATH_MAX], text[100];
	snprintf(text, sizeof(text), "{\"epoch\":%llu,\"wish\":\"%s\"}",
		 (unsigned long long)v->state.epoch, wish);
	view_path(v->name, "wish", path);
	if (c->dry_run) {
		out_line("would write %s: %s", path, text);
		return CTL_OK;
	}
	enum store_rc rc = client_create(c->client, path, slice_of(text), STORE_PARENTS);
	if (rc == STORE_NODE_EXISTS)
		rc = client_put(c->client, path, slice_of(text), STORE_ANY_VERSION, NULL);
	if (rc == STORE_NO_NODE) /* the last wish was just granted */
		rc = client_create(c->client, path, slice_of(text), STORE_PARENTS);
	if (rc != STORE_OK) return ctl_exit_of(rc, path);
	if (c->json)
		out_json(json_pack("{s:s, s:s, s:I}", "pool", v->name, "wish", wish, "epoch",
				   (json_int_t)v->state.epoch));
	else
		out_line("%s: asked to %s transition %llu", v->name, wish,
			 (unsigned long long)v->state.epoch);
	return CTL_OK;
}

static enum ctl_exit wish_run(struct ctl *c, const struct args *a, const char *wish)
{
	struct views views;
	enum ctl_exit e = views_read(c, a->operands[0], VIEW_STATE, &views);
	if (e == CTL_OK && (!views.items->has_state || !views.items->state.transition)) {
		ctl_say("%s: there is no transition", a->operands[0]);
		e = CTL_REFUSED;
	}
	if (e == CTL_OK) e = wish_write(c, views.items, wish);
	views_fini(&views);
	return e;
}

static enum ctl_exit pause_run(struct ctl *c, const struct args *a)
{
	return wish_run(c, a, "pause");
}

static enum ctl_exit resume_run(struct ctl *c, const struct args *a)
{
	return wish_run(c, a, "resume");
}

static enum ctl_exit abort_run(struct ctl *c, const struct args *a)
{
	return wish_run(c, a, "abort");
}

const struct command cmd_transition_pause = {
	.name = "transition pause",
	.operands = "POOL",
	.help = "stay in the phase that it is in",
	.more = "Except in hold, when writes of moving keys wait: that is left first. The mover\n"
		"rests, too.\n",
	.least = 1,
	.most = 1,
	.first = OPERAND_POOL,
	.writes = true,
	.run = pause_run,
};

const struct command cmd_transition_resume = {
	.name = "transition resume",
	.operands = "POOL",
	.help = "go on after a pause, the coordinator's own included",
	.more = "A transition pauses by itself when a server is started anew while keys move.\n",
	.least = 1,
	.most = 1,
	.first = OPERAND_POOL,
	.writes = true,
	.run = resume_run,
};

const struct command cmd_transition_abort = {
	.name = "transition abort",
	.operands = "POOL",
	.help = "go back to the old ring, without losing anything",
	.more = "The spec stays as it is and is not tried again before it is written again. To\n"
		"write the old servers back into the spec aborts, too.\n",
	.least = 1,
	.most = 1,
	.first = OPERAND_POOL,
	.writes = true,
	.run = abort_run,
};
