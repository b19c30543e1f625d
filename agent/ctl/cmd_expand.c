/* cmd_expand.c - change the ring of a pool, several servers at once, so that keys move only once.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"
#include "agent/ctl/spec_change.h"
#include "common/pool_text.h"
#include "common/topology_settings.h"

struct ring_change {
	const struct args *args;
	/* One edit of each `width` operands after the pool; says why not. */
	unsigned width;
	enum ctl_exit (*plan)(const struct view *now, const char *const *operands, struct edit *e);
};

static int64_t server_index(const struct view *now, const char *name)
{
	const struct pool_spec *p = now->spec->pool;
	for (uint32_t i = 0; i < p->server_count; i++)
		if (strcmp(p->servers[i].ring_name, name) == 0) return i;
	return -1;
}

static enum ctl_exit server_find(const struct view *now, const char *name, uint32_t *index)
{
	int64_t i = server_index(now, name);
	if (i < 0) ctl_say("pool '%s' has no server '%s'", now->name, name);
	else *index = (uint32_t)i;
	return i < 0 ? CTL_REFUSED : CTL_OK;
}

/* Later items first, so that the places of those that are to go stay right. */
static int edit_later_first(const void *a, const void *b)
{
	const struct edit *x = a, *y = b;
	uint32_t i = x->path[1].index, k = y->path[1].index;
	if (x->op != EDIT_REMOVE || y->op != EDIT_REMOVE) return 0;
	return i == k ? 0 : i < k ? 1 : -1;
}

static enum ctl_exit change_text(void *ctx, const struct view *now, struct scratch *text_out)
{
	const struct ring_change *change = ctx;
	const struct args *a = change->args;
	unsigned count = (a->count - 1) / change->width;
	struct edit edits[CTL_OPERANDS_MAX] = { 0 };
	enum ctl_exit e = CTL_OK;
	if (now->spec == NULL) {
		out_issues(&now->issues);
		ctl_say("%s: the spec is invalid; first correct it with pool set --from",
			now->name);
		return CTL_REFUSED;
	}
	for (unsigned i = 0; e == CTL_OK && i < count; i++)
		e = change->plan(now, &a->operands[1 + i * change->width], &edits[i]);
	if (e == CTL_OK && edits[0].op == EDIT_REMOVE)
		qsort(edits, count, sizeof(edits[0]), edit_later_first);
	if (e == CTL_OK) e = spec_change_edits(now, edits, count, text_out);
	for (unsigned i = 0; i < count; i++) json_decref(edits[i].value);
	return e;
}

static enum ctl_exit change_run(struct ctl *c, struct ring_change *change, const char *what)
{
	const struct args *a = change->args;
	char done[80];
	if ((a->count - 1) % change->width != 0) {
		ctl_say("usage: twinringctl %s %s", a->command->name, a->command->operands);
		return CTL_USAGE;
	}
	snprintf(done, sizeof(done), "%u servers %s", (a->count - 1) / change->width, what);
	struct spec_change s = { a->operands[0], change_text, change, NULL, done };
	return spec_change(c, &s);
}

/* --- expand ------------------------------------------------------------------------------------
 */

static enum ctl_exit expand_plan(const struct view *now, const char *const *operands,
				 struct edit *e)
{
	const char *address = operands[0], *name = operands[1];
	if (server_index(now, name) >= 0) {
		ctl_say("pool '%s' has a server '%s' already", now->name, name);
		return CTL_REFUSED;
	}
	if (strchr(name, ' ') != NULL || *name == '\0') {
		ctl_say("'%s': a server's name holds no blanks here", name);
		return CTL_USAGE;
	}
	*e = (struct edit){ .op = EDIT_APPEND,
			    .path = { { .key = "servers" } },
			    .depth = 1,
			    .value = json_sprintf("%s %s", address, name) };
	return CTL_OK;
}

static enum ctl_exit expand_run(struct ctl *c, const struct args *a)
{
	return change_run(c, &(struct ring_change){ a, 2, expand_plan }, "added");
}

const struct command cmd_expand = {
	.name = "expand",
	.operands = "POOL HOST:PORT[:WEIGHT] NAME...",
	.help = "add servers to a pool; see transition status",
	.more = "An address and a name for each: POOL 10.0.0.4:11211 s4 10.0.0.5:11211 s5\n",
	.least = 3,
	.most = CTL_OPERANDS_MAX - 1,
	.first = OPERAND_POOL,
	.writes = true,
	.run = expand_run,
};

/* --- shrink ------------------------------------------------------------------------------------
 */

static enum ctl_exit shrink_plan(const struct view *now, const char *const *operands,
				 struct edit *e)
{
	uint32_t i = 0;
	enum ctl_exit x = server_find(now, operands[0], &i);
	if (x == CTL_OK && spec_pin(now->spec, operands[0]) != PIN_NONE) {
		ctl_say("server '%s' is pinned: server pin %s %s none", operands[0], now->name,
			operands[0]);
		return CTL_REFUSED;
	}
	*e = (struct edit){ .op = EDIT_REMOVE,
			    .path = { { .key = "servers" }, { .index = i } },
			    .depth = 2 };
	return x;
}

static enum ctl_exit shrink_run(struct ctl *c, const struct args *a)
{
	return change_run(c, &(struct ring_change){ a, 1, shrink_plan }, "removed");
}

const struct command cmd_shrink = {
	.name = "shrink",
	.operands = "POOL NAME...",
	.help = "remove servers from a pool; see transition status",
	.least = 2,
	.most = CTL_OPERANDS_MAX - 1,
	.first = OPERAND_POOL,
	.writes = true,
	.run = shrink_run,
};

/* --- replace, reweight --------------------------------------------------------------------------
 */

/* As text where that will do. */
static json_t *server_value(const struct server_spec *s)
{
	struct scratch text = { 0 };
	json_t *value = pool_text_server(s, &text) ? json_stringn(text.p, text.n)
						   : settings_to_json(&server_settings, s);
	if (json_is_object(value)) {
		json_object_del(value, "ejected");
		json_object_del(value, "held");
	}
	scratch_fini(&text);
	return value;
}

static struct edit server_edit(const struct server_spec *s, uint32_t index)
{
	return (struct edit){ .op = EDIT_SET,
			      .path = { { .key = "servers" }, { .index = index } },
			      .depth = 2,
			      .value = server_value(s) };
}

static enum ctl_exit replace_plan(const struct view *now, const char *const *operands,
				  struct edit *e)
{
	uint32_t i;
	const char *why;
	struct listen_spec l = { 0 };
	enum ctl_exit x = server_find(now, operands[0], &i);
	if (x != CTL_OK) return x;
	struct server_spec s = now->spec->pool->servers[i];
	if (!listen_spec_parse(operands[1], &l, &why) || *l.host == '\0' || l.mode != 0) {
		ctl_say("'%s' is not HOST:PORT", operands[1]);
		x = CTL_USAGE;
	} else {
		s.host = l.host;
		s.port = l.port;
		s.name = s.ring_name; /* the label stays, also where it came from the old address */
		*e = server_edit(&s, i);
	}
	listen_spec_fini(&l);
	return x;
}

static enum ctl_exit replace_run(struct ctl *c, const struct args *a)
{
	return change_run(c, &(struct ring_change){ a, 2, replace_plan }, "replaced");
}

const struct command cmd_replace = {
	.name = "replace",
	.operands = "POOL NAME HOST:PORT...",
	.help = "put other boxes in the place of servers; see transition status",
	.more = "Placement does not change, as it goes by name; what the old box has is moved.\n",
	.least = 3,
	.most = CTL_OPERANDS_MAX - 1,
	.first = OPERAND_POOL,
	.writes = true,
	.run = replace_run,
};

static enum ctl_exit reweight_plan(const struct view *now, const char *const *operands,
				   struct edit *e)
{
	uint32_t i, weight;
	if (!args_number("WEIGHT", operands[1], 1, NUMBER_MAX, &weight)) return CTL_USAGE;
	enum ctl_exit x = server_find(now, operands[0], &i);
	if (x != CTL_OK) return x;
	struct server_spec s = now->spec->pool->servers[i];
	s.weight = weight;
	*e = server_edit(&s, i);
	return CTL_OK;
}

static enum ctl_exit reweight_run(struct ctl *c, const struct args *a)
{
	return change_run(c, &(struct ring_change){ a, 2, reweight_plan }, "reweighted");
}

const struct command cmd_reweight = {
	.name = "reweight",
	.operands = "POOL NAME WEIGHT...",
	.help = "change servers' shares of the keys; see transition status",
	.least = 3,
	.most = CTL_OPERANDS_MAX - 1,
	.first = OPERAND_POOL,
	.writes = true,
	.run = reweight_run,
};
