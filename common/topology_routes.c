#include "common/topology_routes.h"

#include "common/topology_check.h"

/* Types of route handles. Each takes one argument at most: "Type|argument", or the object
 * {"type": "Type", ARGUMENT_KEY: "argument"}. */
struct route_type {
	const char *name;
	const char *argument; /* key; NULL: takes none */
	bool required;
	void (*check)(const struct topology *t, const struct node *n, const char *argument,
		      struct report *r);
};

static void route_check_pool(const struct topology *t, const struct node *n, const char *argument,
			     struct report *r)
{
	if (topology_pool(t, slice_of(argument)) == NULL)
		topology_report_no_pool(t, argument, n, r);
}

static const struct route_type route_types[] = {
	{ "PoolRoute", "pool", true, route_check_pool },
};

static const struct route_type *route_type_find(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(route_types) / sizeof(route_types[0]); i++)
		if (slice_eq((struct slice){ name, n }, slice_of(route_types[i].name)))
			return &route_types[i];
	return NULL;
}

static void route_unknown_type(const struct node *n, const char *name, size_t bytes,
			       struct report *r)
{
	report_error(r, n, AT_VALUE, "unknown route type '%.*s': supported is PoolRoute",
		     (int)(bytes < 60 ? bytes : 60), name);
}

static void route_check_argument(const struct topology *t, const struct route_type *type,
				 const struct node *n, const char *argument, struct report *r)
{
	if (argument == NULL && type->required)
		report_error(r, n, AT_VALUE, "%s needs '%s'", type->name, type->argument);
	if (argument != NULL && type->check != NULL) type->check(t, n, argument, r);
}

static void route_check_text(const struct topology *t, const struct node *n, struct report *r)
{
	size_t bytes = strcspn(n->text, "|");
	const struct route_type *type = route_type_find(n->text, bytes);
	if (type == NULL) {
		route_unknown_type(n, n->text, bytes, r);
		return;
	}
	const char *argument = n->text[bytes] == '|' ? n->text + bytes + 1 : NULL;
	if (argument != NULL && type->argument == NULL)
		report_error(r, n, AT_VALUE, "%s takes no argument", type->name);
	else route_check_argument(t, type, n, argument, r);
}

static void route_check_keys(const struct route_type *type, const struct node *n, struct report *r)
{
	NODE_FOREACH (child, n) {
		if (strcmp(child->key, "type") == 0) continue;
		if (type->argument != NULL && strcmp(child->key, type->argument) == 0) continue;
		report_error(r, child, AT_KEY, "unknown key '%.80s' in a %s", child->key,
			     type->name);
	}
}

static void route_check_map(const struct topology *t, const struct node *n, struct report *r)
{
	const struct node *name = node_get(n, "type");
	if (name == NULL) {
		report_error(r, n, AT_VALUE, "the route has no 'type'");
		return;
	}
	if (!settings_expect(name, NODE_STRING, "type", r)) return;
	const struct route_type *type = route_type_find(name->text, strlen(name->text));
	if (type == NULL) {
		route_unknown_type(name, name->text, strlen(name->text), r);
		return;
	}
	route_check_keys(type, n, r);
	const struct node *argument = type->argument != NULL ? node_get(n, type->argument) : NULL;
	if (argument != NULL && !settings_expect(argument, NODE_STRING, type->argument, r)) return;
	route_check_argument(t, type, argument != NULL ? argument : n,
			     argument != NULL ? argument->text : NULL, r);
}

static void route_check(const struct topology *t, const struct node *n, struct report *r)
{
	if (n->kind == NODE_BAD) return;
	if (n->kind == NODE_STRING) route_check_text(t, n, r);
	else if (n->kind == NODE_MAP) route_check_map(t, n, r);
	else
		report_error(r, n, AT_VALUE,
			     "a route must be text like \"PoolRoute|NAME\" or a mapping "
			     "with 'type', not %s",
			     node_kind_name(n));
}

void topology_read_route(struct topology *t, const char *name, const struct node *n,
			 struct report *r)
{
	route_check(t, n, r);
	if (t->routes == NULL) t->routes = json_object();
	json_t *tree = node_to_json(n);
	if (t->routes != NULL && tree != NULL && json_object_set(t->routes, name, tree) != 0)
		r->nomem = true;
	if (t->routes == NULL || tree == NULL) r->nomem = true;
	json_decref(tree);
}

void topology_read_routes(struct topology *t, const struct node *routes, struct report *r)
{
	if (!settings_expect(routes, NODE_MAP, "routes", r)) return;
	if (routes->count > ROUTES_MAX) {
		report_error(r, routes, AT_VALUE, "there may be %d routes at most", ROUTES_MAX);
		return;
	}
	NODE_FOREACH (child, routes) {
		if (topology_check_name(child, AT_KEY, child->key, "route", r))
			topology_read_route(t, child->key, child, r);
	}
}

const struct pool_spec *topology_route_pool(const struct topology *t, const char *name)
{
	const json_t *route = json_object_get(t->routes, name);
	const char *text = json_string_value(route);
	const char *pool = json_string_value(json_object_get(route, "pool"));
	if (text != NULL && strncmp(text, "PoolRoute|", 10) == 0) pool = text + 10;
	return pool != NULL ? topology_pool(t, slice_of(pool)) : NULL;
}
