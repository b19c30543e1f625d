/* cmd_export.c - what is in force, as configuration for others. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"
#include "agent/ctl/view.h"
#include "agent/output_text.h"
#include "common/pool_text.h"
#include "common/yaml_emit.h"

struct export
{
	struct ctl *ctl;
	const struct views *views;
	struct scratch *out;
	uint32_t port;
};

/* The pool in force, with the servers that its state ejects marked: texts are the view's. */
static struct pool_spec export_pool(const struct view *v)
{
	struct pool_spec p = *view_pool(v);
	p.servers = calloc(p.server_count + 1, sizeof(*p.servers));
	if (p.servers == NULL) abort();
	for (uint32_t i = 0; i < p.server_count; i++) {
		p.servers[i] = view_pool(v)->servers[i];
		const struct ejection *e = pool_state_ejection(&v->state, p.servers[i].ring_name);
		p.servers[i].ejected = e != NULL;
		p.servers[i].held = e != NULL && e->held;
	}
	return p;
}

static enum ctl_exit export_refuse(const char *pool, const char *why)
{
	ctl_say("pool '%s': %s", pool, why);
	return CTL_REFUSED;
}

/* --- formats ---------------------------------------------------------------------------------- */

/* Where pool `i` is to listen, which the tree does not know: the operator edits it. */
static void export_listen(const struct export *x, uint32_t i, char out[32])
{
	snprintf(out, 32, "127.0.0.1:%u", (x->port + i) & 0xffff);
}

static enum ctl_exit export_native(struct export *x)
{
	json_t *pools = json_object(), *listeners = json_array();
	for (uint32_t i = 0; i < x->views->count; i++) {
		char listen[32];
		struct pool_spec p = export_pool(&x->views->items[i]);
		export_listen(x, i, listen);
		json_object_set_new(pools, p.name, pool_text_native(&p));
		json_array_append_new(listeners,
				      json_pack("{s:s, s:s}", "listen", listen, "pool", p.name));
		free(p.servers);
	}
	json_t *doc = json_pack("{s:o, s:o}", "listeners", listeners, "pools", pools);
	if (x->ctl->json) out_json(json_incref(doc));
	else yaml_emit(doc, 0, x->out);
	json_decref(doc);
	return CTL_OK;
}

static enum ctl_exit export_nutcracker(struct export *x)
{
	enum ctl_exit e = CTL_OK;
	for (uint32_t i = 0; i < x->views->count && e == CTL_OK; i++) {
		char listen[32], why[200];
		struct pool_spec p = export_pool(&x->views->items[i]);
		export_listen(x, i, listen);
		if (!output_nutcracker(&p, listen, x->out, why, sizeof(why)))
			e = export_refuse(p.name, why);
		free(p.servers);
	}
	return e;
}

/* libketama's ring is made of addresses, in its own way: would it find a key where we do? */
static void export_compare_ketama(const struct pool_spec *p)
{
	bool same = p->distribution == RING_KETAMA_RJ || p->distribution == RING_KETAMA_WAYFAIR_LIB;
	for (uint32_t i = 0; i < p->server_count; i++) same &= p->servers[i].name == NULL;
	if (!same)
		out_note("pool %s: warning: libketama will spread keys otherwise than this pool",
			 p->name);
}

static enum ctl_exit export_ketama(struct export *x)
{
	char why[200];
	enum ctl_exit e = CTL_OK;
	if (x->views->count != 1) {
		ctl_say("a ketama.servers holds one pool: name it");
		return CTL_USAGE;
	}
	struct pool_spec p = export_pool(&x->views->items[0]);
	if (!output_ketama(&p, x->out, why, sizeof(why))) e = export_refuse(p.name, why);
	else export_compare_ketama(&p);
	free(p.servers);
	return e;
}

static const struct {
	const char *name;
	enum ctl_exit (*run)(struct export *x);
} formats[] = {
	{ "native", export_native },
	{ "nutcracker", export_nutcracker },
	{ "ketama", export_ketama },
};

/* --- the command ------------------------------------------------------------------------------ */

static enum ctl_exit export_check(const struct views *views)
{
	for (uint32_t i = 0; i < views->count; i++) {
		const struct view *v = &views->items[i];
		if (view_pool(v) != NULL) continue;
		ctl_say("pool '%s' is not in force: %s: %s", v->name, v->problem.where,
			v->problem.why);
		return CTL_REFUSED;
	}
	return CTL_OK;
}

static enum ctl_exit export_run(struct ctl *c, const struct args *a)
{
	const char *format = args_option(a, "format");
	size_t i = 0, n = sizeof(formats) / sizeof(formats[0]);
	while (format != NULL && i < n && strcmp(formats[i].name, format) != 0) i++;
	if (i == n) {
		ctl_say("--format is native, nutcracker or ketama, not '%s'", format);
		return CTL_USAGE;
	}
	struct views views;
	struct scratch text = { 0 };
	struct export x = { c, &views, &text, 0 };
	const char *port = args_option(a, "port");
	if (!args_number("--port", port != NULL ? port : "22121", 1, 65535, &x.port))
		return CTL_USAGE;
	enum ctl_exit e = views_read(c, a->count > 0 ? a->operands[0] : NULL, VIEW_STATE, &views);
	if (e == CTL_OK) e = export_check(&views);
	if (e == CTL_OK) e = formats[i].run(&x);
	if (e == CTL_OK && text.n > 0 && c->json)
		out_json(json_pack("{s:s, s:o}", "format", formats[i].name, "text",
				   json_stringn(text.p, text.n)));
	else if (e == CTL_OK && text.n > 0) out_text(scratch_slice(&text));
	scratch_fini(&text);
	views_fini(&views);
	return e;
}

static const struct ctl_option export_options[] = {
	{ "format", 'f', "FORMAT", "native (default), nutcracker or ketama" },
	{ "port", 'p', "N", "the first pool listens there, the next one above; default 22121" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_export = {
	.name = "export",
	.operands = "[POOL]",
	.help = "print what is in force as configuration: native, nutcracker.yml, ketama.servers",
	.more = "Servers that are ejected are marked in native; in the others they are left out,\n"
		"unless their keys stay theirs (failover: error or pool:NAME). A pool that the\n"
		"other program could not have is refused. Passwords are part of it.\n",
	.most = 1,
	.first = OPERAND_POOL,
	.options = export_options,
	.run = export_run,
};
