/* cmd_server.c - servers of a pool: add, remove, reweight, move, and the operator's verdicts. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"
#include "agent/ctl/spec_change.h"
#include "common/pool_text.h"
#include "common/topology_settings.h"

enum { SERVER_EDITS_MAX = 3 };

/* What one command wants done to one server. */
struct server_change {
	const struct args *args;
	/* Fill in edits, with values that are then released; says why not. */
	enum ctl_exit (*plan)(const struct args *a, const struct view *now, struct edit *edits,
			      uint32_t *count);
};

/* Place in the list of servers; -1 when it is not there. */
static int64_t server_index(const struct view *now, const char *name)
{
	const struct pool_spec *p = now->spec->pool;
	for (uint32_t i = 0; i < p->server_count; i++)
		if (strcmp(p->servers[i].ring_name, name) == 0) return i;
	return -1;
}

static enum ctl_exit server_find(const struct args *a, const struct view *now, uint32_t *index)
{
	int64_t i = server_index(now, a->operands[1]);
	if (i < 0) ctl_say("pool '%s' has no server '%s'", now->name, a->operands[1]);
	else *index = (uint32_t)i;
	return i < 0 ? CTL_REFUSED : CTL_OK;
}

static enum ctl_exit server_text(void *ctx, const struct view *now, struct scratch *text_out)
{
	const struct server_change *change = ctx;
	struct edit edits[SERVER_EDITS_MAX] = { 0 };
	uint32_t count = 0;
	if (now->spec == NULL) {
		out_issues(&now->issues);
		ctl_say("%s: the spec is invalid; first correct it with pool set --from",
			now->name);
		return CTL_REFUSED;
	}
	enum ctl_exit e = change->plan(change->args, now, edits, &count);
	if (e == CTL_OK) e = spec_change_edits(now, edits, count, text_out);
	for (uint32_t i = 0; i < SERVER_EDITS_MAX; i++) json_decref(edits[i].value);
	return e;
}

static enum ctl_exit server_run(struct ctl *c, const struct args *a,
				enum ctl_exit (*plan)(const struct args *, const struct view *,
						      struct edit *, uint32_t *),
				const char *server, const char *what)
{
	struct server_change one = { a, plan };
	char done[400];
	snprintf(done, sizeof(done), "%s %s", server, what);
	struct spec_change change = { a->operands[0], server_text, &one, NULL, done };
	return spec_change(c, &change);
}

/* The server `s` as an edit of item `index`: text as before, or a mapping where only that will do.
 */
static struct edit server_edit(const struct server_spec *s, uint32_t index)
{
	struct scratch text = { 0 };
	struct edit e = { .op = EDIT_SET,
			  .path = { { .key = "servers" }, { .index = index } },
			  .depth = 2 };
	if (pool_text_server(s, &text)) e.value = json_stringn(text.p, text.n);
	else {
		e.value = settings_to_json(&server_settings, s);
		json_object_del(e.value, "ejected");
		json_object_del(e.value, "held");
	}
	scratch_fini(&text);
	return e;
}

static struct edit pin_edit(enum edit_op op, const char *server, const char *value)
{
	return (struct edit){ .op = op,
			      .path = { { .key = "pins" }, { .key = server } },
			      .depth = 2,
			      .value = value != NULL ? json_string(value) : NULL };
}

/* --- add and remove --------------------------------------------------------------------------- */

static enum ctl_exit add_plan(const struct args *a, const struct view *now, struct edit *edits,
			      uint32_t *count)
{
	const char *address = a->operands[1], *name = a->operands[2];
	if (server_index(now, name) >= 0) {
		ctl_say("pool '%s' has a server '%s' already", now->name, name);
		return CTL_REFUSED;
	}
	if (strchr(name, ' ') != NULL || *name == '\0') {
		ctl_say("'%s': a server's name holds no blanks here", name);
		return CTL_USAGE;
	}
	edits[(*count)++] = (struct edit){ .op = EDIT_APPEND,
					   .path = { { .key = "servers" } },
					   .depth = 1,
					   .value = json_sprintf("%s %s", address, name) };
	return CTL_OK;
}

static enum ctl_exit add_run(struct ctl *c, const struct args *a)
{
	return server_run(c, a, add_plan, a->operands[2], "added");
}

const struct command cmd_server_add = {
	.name = "server add",
	.operands = "POOL HOST:PORT[:WEIGHT] NAME",
	.help = "add a server to a pool",
	.more = "NAME is its label in the ring: keys follow the name, so that its address may "
		"change.\n",
	.least = 3,
	.most = 3,
	.first = OPERAND_POOL,
	.writes = true,
	.run = add_run,
};

static enum ctl_exit remove_plan(const struct args *a, const struct view *now, struct edit *edits,
				 uint32_t *count)
{
	uint32_t i;
	enum ctl_exit e = server_find(a, now, &i);
	if (e != CTL_OK) return e;
	edits[(*count)++] = (struct edit){ .op = EDIT_REMOVE,
					   .path = { { .key = "servers" }, { .index = i } },
					   .depth = 2 };
	if (spec_pin(now->spec, a->operands[1]) != PIN_NONE)
		edits[(*count)++] = pin_edit(EDIT_REMOVE, a->operands[1], NULL);
	return CTL_OK;
}

static enum ctl_exit remove_run(struct ctl *c, const struct args *a)
{
	return server_run(c, a, remove_plan, a->operands[1], "removed");
}

const struct command cmd_server_remove = {
	.name = "server remove",
	.operands = "POOL NAME",
	.help = "remove a server from a pool",
	.least = 2,
	.most = 2,
	.first = OPERAND_POOL,
	.writes = true,
	.run = remove_run,
};

/* --- weight and address ----------------------------------------------------------------------- */

static enum ctl_exit reweight_plan(const struct args *a, const struct view *now, struct edit *edits,
				   uint32_t *count)
{
	uint32_t i, weight;
	if (!args_number("WEIGHT", a->operands[2], 1, NUMBER_MAX, &weight)) return CTL_USAGE;
	enum ctl_exit e = server_find(a, now, &i);
	if (e != CTL_OK) return e;
	struct server_spec s = now->spec->pool->servers[i];
	s.weight = weight;
	edits[(*count)++] = server_edit(&s, i);
	return CTL_OK;
}

static enum ctl_exit reweight_run(struct ctl *c, const struct args *a)
{
	return server_run(c, a, reweight_plan, a->operands[1], "reweighted");
}

const struct command cmd_server_reweight = {
	.name = "server reweight",
	.operands = "POOL NAME WEIGHT",
	.help = "change a server's share of the keys",
	.least = 3,
	.most = 3,
	.first = OPERAND_POOL,
	.writes = true,
	.run = reweight_run,
};

/* "host:port", "[v6]:port" or "/path"; false: said so. The caller frees *host_out. */
static bool address_parse(const char *text, char **host_out, uint16_t *port_out)
{
	struct listen_spec l = { 0 };
	const char *why;
	bool good = listen_spec_parse(text, &l, &why) && *l.host != '\0' && l.mode == 0;
	if (good) {
		*host_out = strdup(l.host);
		*port_out = l.port;
	} else ctl_say("'%s' is not HOST:PORT", text);
	listen_spec_fini(&l);
	return good;
}

static enum ctl_exit move_plan(const struct args *a, const struct view *now, struct edit *edits,
			       uint32_t *count)
{
	uint32_t i;
	char *host = NULL;
	enum ctl_exit e = server_find(a, now, &i);
	if (e != CTL_OK) return e;
	struct server_spec s = now->spec->pool->servers[i];
	if (!address_parse(a->operands[2], &host, &s.port)) return CTL_USAGE;
	s.host = host;
	s.name = s.ring_name; /* the label stays, also where it came from the old address */
	edits[(*count)++] = server_edit(&s, i);
	free(host);
	return CTL_OK;
}

static enum ctl_exit move_run(struct ctl *c, const struct args *a)
{
	return server_run(c, a, move_plan, a->operands[1], "moved");
}

const struct command cmd_server_move = {
	.name = "server move",
	.operands = "POOL NAME HOST:PORT",
	.help = "give a server another address; its keys stay its own",
	.least = 3,
	.most = 3,
	.first = OPERAND_POOL,
	.writes = true,
	.run = move_run,
};

/* --- pins ------------------------------------------------------------------------------------- */

static enum ctl_exit eject_plan(const struct args *a, const struct view *now, struct edit *edits,
				uint32_t *count)
{
	uint32_t i;
	edits[(*count)++] = pin_edit(EDIT_SET, a->operands[1], "out");
	return server_find(a, now, &i);
}

static enum ctl_exit pin_plan(const struct args *a, const struct view *now, struct edit *edits,
			      uint32_t *count)
{
	uint32_t i;
	edits[(*count)++] = pin_edit(EDIT_SET, a->operands[1], "in");
	return server_find(a, now, &i);
}

static enum ctl_exit restore_plan(const struct args *a, const struct view *now, struct edit *edits,
				  uint32_t *count)
{
	uint32_t i;
	if (spec_pin(now->spec, a->operands[1]) != PIN_NONE)
		edits[(*count)++] = pin_edit(EDIT_REMOVE, a->operands[1], NULL);
	return server_find(a, now, &i);
}

static enum ctl_exit eject_run(struct ctl *c, const struct args *a)
{
	return server_run(c, a, eject_plan, a->operands[1], "pinned out: ejected by hand");
}

static enum ctl_exit pin_run(struct ctl *c, const struct args *a)
{
	return server_run(c, a, pin_plan, a->operands[1], "pinned in: never ejected");
}

static enum ctl_exit restore_run(struct ctl *c, const struct args *a)
{
	return server_run(c, a, restore_plan, a->operands[1], "left to the nannies");
}

const struct command cmd_server_eject = {
	.name = "server eject",
	.operands = "POOL NAME",
	.help = "take a server out of the ring by hand",
	.least = 2,
	.most = 2,
	.first = OPERAND_POOL,
	.writes = true,
	.run = eject_run,
};

const struct command cmd_server_restore = {
	.name = "server restore",
	.operands = "POOL NAME",
	.help = "take back an eject or a pin: the nannies decide again",
	.least = 2,
	.most = 2,
	.first = OPERAND_POOL,
	.writes = true,
	.run = restore_run,
};

const struct command cmd_server_pin = {
	.name = "server pin",
	.operands = "POOL NAME",
	.help = "keep a server in the ring, whatever the nannies find",
	.least = 2,
	.most = 2,
	.first = OPERAND_POOL,
	.writes = true,
	.run = pin_run,
};
