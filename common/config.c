#include "common/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/config_nutcracker.h"
#include "common/config_settings.h"
#include "common/config_values.h"
#include "common/topology_check.h"
#include "common/topology_routes.h"
#include "common/yaml.h"

#define DEFAULT_ROUTE "default" /* the name of the top-level `route` */

/* --- native form ------------------------------------------------------------------------------ */

static void config_read_routes(struct config *c, const struct node *doc, struct report *r)
{
	const struct node *routes = node_get(doc, "routes"), *route = node_get(doc, "route");
	if (routes != NULL) topology_read_routes(c->topology, routes, r);
	if (route == NULL) return;
	if (routes != NULL && node_get(routes, DEFAULT_ROUTE) != NULL)
		report_error(r, route, AT_KEY,
			     "'route' and the route '" DEFAULT_ROUTE "' are the same");
	topology_read_route(c->topology, DEFAULT_ROUTE, route, r);
}

static void listener_check_pool(const struct config *c, struct listener_spec *l,
				const struct node *n, struct report *r)
{
	const struct pool_spec *p = topology_pool(c->topology, slice_of(l->pool));
	const struct node *protocol = node_get(n, "protocol");
	/* Without pools of its own the proxy waits for the agent to name them. */
	if (p == NULL && c->topology->pool_count == 0 && c->proxy.control != NULL) return;
	if (p == NULL) {
		topology_report_no_pool(c->topology, l->pool, node_get(n, "pool"), r);
		return;
	}
	if (protocol != NULL && l->protocol != p->protocol)
		report_error(r, protocol, AT_VALUE, "pool '%.60s' speaks %s", l->pool,
			     protocol_name(p->protocol));
	l->protocol = p->protocol;
}

static void listener_check_route(const struct config *c, struct listener_spec *l,
				 const struct node *n, struct report *r)
{
	const struct node *at = node_get(n, "route"), *protocol = node_get(n, "protocol");
	if (json_object_get(c->topology->routes, l->route) == NULL) {
		report_error(r, at != NULL ? at : n, AT_VALUE, "route '%.80s' is not defined",
			     l->route);
		return;
	}
	const struct pool_spec *p = topology_route_pool(c->topology, l->route);
	if (p == NULL && protocol == NULL)
		report_error(r, n, AT_VALUE,
			     "the route leads to no pool: 'protocol' must be given");
	if (p != NULL && protocol != NULL && l->protocol != p->protocol)
		report_error(r, protocol, AT_VALUE,
			     "the route leads to pool '%.60s', which speaks %s", p->name,
			     protocol_name(p->protocol));
	if (p != NULL) l->protocol = p->protocol;
}

static void listener_read(const struct config *c, struct listener_spec *l, const struct node *n,
			  struct report *r)
{
	if (!settings_defaults(&listener_settings, l, SETTING_NATIVE)) r->nomem = true;
	if (!settings_expect(n, NODE_MAP, "listener", r)) return;
	settings_read(&listener_settings, l, n, r);
	if (node_get(n, "listen") == NULL)
		report_error(r, n, AT_VALUE, "the listener has no 'listen'");

	const struct node *pool = node_get(n, "pool"), *route = node_get(n, "route");
	if (pool != NULL && route != NULL)
		report_error(r, route, AT_KEY, "a listener has a pool or a route, not both");
	if (pool == NULL && route == NULL) {
		if (json_object_get(c->topology->routes, DEFAULT_ROUTE) == NULL) {
			report_error(r, n, AT_VALUE, "the listener has neither 'pool' nor 'route'");
			return;
		}
		l->route = strdup(DEFAULT_ROUTE);
		if (l->route == NULL) r->nomem = true;
	}
	if (l->pool != NULL) listener_check_pool(c, l, n, r);
	if (l->route != NULL) listener_check_route(c, l, n, r);
}

static void config_read_listeners(struct config *c, const struct node *doc, struct report *r)
{
	const struct node *list = node_get(doc, "listeners");
	if (list == NULL) {
		report_error(r, doc, AT_VALUE, "'listeners' is missing");
		return;
	}
	if (!settings_expect(list, NODE_LIST, "listeners", r)) return;
	if (list->count == 0 || list->count > LISTENERS_MAX) {
		report_error(r, list, AT_VALUE, "there must be 1 to %d listeners, not %u",
			     LISTENERS_MAX, list->count);
		return;
	}
	c->listeners = calloc(list->count, sizeof(*c->listeners));
	if (c->listeners == NULL) {
		r->nomem = true;
		return;
	}
	c->listener_count = list->count;
	NODE_FOREACH (child, list) listener_read(c, &c->listeners[child->index], child, r);
}

/* One message instead of one for every line of a file that is something else. */
static bool config_is_native(const struct node *doc)
{
	NODE_FOREACH (child, doc)
		if (settings_find(&config_settings, child->key) != NULL) return true;
	return false;
}

static void config_read_native(struct config *c, const struct node *doc, struct report *r)
{
	c->syntax = CONFIG_NATIVE;
	if (!settings_expect(doc, NODE_MAP, "the file", r)) return;
	if (!config_is_native(doc)) {
		report_error(r, doc, AT_VALUE,
			     "this is neither our own form (with 'listeners' and "
			     "'pools') nor a nutcracker.yml (pools with 'listen' and "
			     "'servers')");
		return;
	}
	report_duplicate_keys_deep(r, doc);
	settings_read(&config_settings, c, doc, r);
	const struct node *proxy = node_get(doc, "proxy");
	if (proxy != NULL && settings_expect(proxy, NODE_MAP, "proxy", r))
		settings_read(&proxy_settings, &c->proxy, proxy, r);
	const struct node *pools = node_get(doc, "pools");
	if (pools != NULL || c->proxy.control == NULL)
		topology_read_pools(c->topology, doc, pools, r);
	config_read_routes(c, doc, r);
	config_read_listeners(c, doc, r);
}

/* --- both forms ------------------------------------------------------------------------------- */

static const struct node *config_listen_node(const struct config *c, const struct node *doc,
					     uint32_t index)
{
	const struct node *n = c->syntax == CONFIG_NATIVE ? node_get(doc, "listeners") : doc;
	n = n->first;
	while (n->index != index) n = n->next;
	const struct node *listen = node_get(n, "listen");
	return listen != NULL ? listen : n;
}

/* A listener's address and its place, for sorting. */
struct listen_place {
	const struct listen_spec *at;
	uint32_t index;
};

static int listen_place_cmp(const void *a, const void *b)
{
	const struct listen_place *x = a, *y = b;
	int c = strcmp(x->at->host, y->at->host);
	if (c == 0) c = (x->at->port > y->at->port) - (x->at->port < y->at->port);
	return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

/* By spelling of the host: the kernel finds the rest, such as a name and its address. Port 0 too: a
 * listener is known by its text, over reloads and to whoever reads the ready line. */
static void config_check_addresses(const struct config *c, const struct node *doc, struct report *r)
{
	struct listen_place *places = malloc((c->listener_count + 1) * sizeof(*places));
	if (places == NULL) {
		r->nomem = true;
		return;
	}
	uint32_t n = 0;
	for (uint32_t i = 0; i < c->listener_count; i++) {
		const struct listen_spec *l = &c->listeners[i].listen;
		if (l->host != NULL) places[n++] = (struct listen_place){ l, i };
	}
	qsort(places, n, sizeof(*places), listen_place_cmp);
	for (uint32_t i = 1; i < n; i++) {
		const struct listen_spec *a = places[i - 1].at, *b = places[i].at;
		if (strcmp(a->host, b->host) != 0 || a->port != b->port) continue;
		report_error(r, config_listen_node(c, doc, places[i].index), AT_VALUE,
			     "two listeners have the address '%.80s'", b->text);
	}
	free(places);
}

static struct config *config_new(void)
{
	struct config *c = calloc(1, sizeof(*c));
	if (c == NULL) return NULL;
	c->topology = topology_new();
	if (c->topology == NULL || !settings_defaults(&proxy_settings, &c->proxy, SETTING_NATIVE))
		config_free(&c);
	return c;
}

static void config_read(struct config *c, const struct node *doc, struct report *r)
{
	if (config_is_nutcracker(doc)) config_read_nutcracker(c, doc, r);
	else config_read_native(c, doc, r);
	config_check_addresses(c, doc, r);
}

bool config_issues_take(struct config_issues *issues, struct report *r)
{
	report_sort(r);
	if (r->dropped > 0)
		report_error(r, NULL, AT_VALUE, "%u more problems are not shown", r->dropped);
	issues->items = calloc(r->count + 1, sizeof(*issues->items));
	if (issues->items == NULL) return false;
	for (uint32_t i = 0; i < r->count; i++)
		issues->items[i] = (struct config_issue){ r->items[i].warning, r->items[i].at };
	issues->count = r->count;
	issues->error_count = r->error_count;
	return true;
}

enum err config_parse(const char *text, size_t n, const char *label, struct config **config_out,
		      struct config_issues *issues_out)
{
	struct report r = { .label = label };
	struct config *c = config_new();
	struct node *doc = yaml_parse(text, n, &r);
	*config_out = NULL;
	*issues_out = (struct config_issues){ 0 };
	if (c == NULL) r.nomem = true;
	else if (doc != NULL) config_read(c, doc, &r);
	node_free(&doc);

	enum err e = report_outcome(&r, NULL);
	if (!config_issues_take(issues_out, &r)) e = ERR_NOMEM;
	report_fini(&r);
	if (e != ERR_NONE) config_free(&c);
	*config_out = c;
	return e;
}

/* --- files ------------------------------------------------------------------------------------ */

enum err config_load(const char *path, struct config **config_out, struct config_issues *issues_out)
{
	char *text;
	size_t n;
	enum err e = config_read_file(path, &text, &n);
	if (e == ERR_NONE) {
		e = config_parse(text, n, path, config_out, issues_out);
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

json_t *config_to_json(const struct config *c)
{
	json_t *topology = topology_to_json(c->topology), *listeners = json_array();
	json_t *out = json_object(), *routes = json_object_get(topology, "routes");
	for (uint32_t i = 0; i < c->listener_count; i++)
		json_array_append_new(listeners,
				      settings_to_json(&listener_settings, &c->listeners[i]));
	json_object_set_new(out, "proxy", settings_to_json(&proxy_settings, &c->proxy));
	json_object_set_new(out, "listeners", listeners);
	/* Without pools, the agent names them. */
	if (c->topology->pool_count > 0)
		json_object_set(out, "pools", json_object_get(topology, "pools"));
	if (routes != NULL) json_object_set(out, "routes", routes);
	json_decref(topology);
	return out;
}

void config_free(struct config **c)
{
	if (*c == NULL) return;
	for (uint32_t i = 0; i < (*c)->listener_count; i++)
		settings_fini(&listener_settings, &(*c)->listeners[i]);
	free((*c)->listeners);
	settings_fini(&proxy_settings, &(*c)->proxy);
	topology_free(&(*c)->topology);
	free(*c);
	*c = NULL;
}

void config_issues_fini(struct config_issues *issues)
{
	free(issues->items);
	*issues = (struct config_issues){ 0 };
}
