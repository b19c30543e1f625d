#include "common/config_nutcracker.h"

#include <stdlib.h>
#include <sys/un.h>

#include "common/config_settings.h"
#include "common/topology_check.h"

/* One pool being read. */
struct nutcracker_pool {
	struct pool_spec *pool;
	struct listener_spec *listener;
	const struct node **servers; /* in file order, borrowed nodes */
	uint32_t server_count, server_capacity;
	bool servers_refused; /* and reported: how many there are means nothing */
	struct report *report;
};

/* --- which form is it ------------------------------------------------------------------------- */

static bool nutcracker_has(const struct node *map, const char *key)
{
	const struct node *value = node_get(map, key);
	return value != NULL && value->kind != NODE_MAP;
}

bool config_is_nutcracker(const struct node *doc)
{
	bool native = false, attempt = false;
	if (doc->kind != NODE_MAP) return false;
	NODE_FOREACH (child, doc) {
		bool listens = nutcracker_has(child, "listen"),
		     serves = nutcracker_has(child, "servers");
		/* a pool may be called `pools` or `proxy`: its content decides */
		if (listens && serves) return true;
		if (listens || serves) attempt = true;
		if (settings_find(&config_settings, child->key) != NULL) native = true;
	}
	return attempt && !native;
}

/* --- values: always the text as typed ----------------------------------------------------------
 */

static void nutcracker_number_value(struct nutcracker_pool *np, const struct setting *s,
				    uint32_t *field, const struct node *n)
{
	uint32_t number;
	bool wrapped;
	if (!nutcracker_number(n->text, strlen(n->text), &number, &wrapped)) {
		report_error(
		    np->report, n, AT_VALUE,
		    "'%s' must be a whole number from %lld to %d, in decimal digits, not '%.40s'",
		    s->alias, (long long)s->min, NUMBER_MAX, n->text);
		return;
	}
	if (wrapped)
		report_warning(np->report, n, AT_VALUE,
			       "'%s: %.40s' does not fit: nutcracker takes it as %u", s->alias,
			       n->text, number);
	if (number < s->min) {
		report_error(np->report, n, AT_VALUE, "'%s' cannot be %u", s->alias, number);
		return;
	}
	if (number > s->max) {
		report_warning(np->report, n, AT_VALUE, "'%s' is lowered to %lld", s->alias,
			       (long long)s->max);
		number = (uint32_t)s->max;
	}
	*field = number;
}

static void nutcracker_bool_value(struct nutcracker_pool *np, const struct setting *s, bool *field,
				  const struct node *n)
{
	bool yes = strcmp(n->text, "true") == 0;
	if (yes || strcmp(n->text, "false") == 0) *field = yes;
	else
		report_error(np->report, n, AT_VALUE, "'%s' must be true or false, not '%.40s'",
			     s->alias, n->text);
}

static void nutcracker_redis_value(struct nutcracker_pool *np, const struct setting *s,
				   const struct node *n)
{
	bool redis = false;
	nutcracker_bool_value(np, s, &redis, n);
	np->pool->protocol = redis ? PROTOCOL_REDIS : PROTOCOL_MEMCACHED;
}

/* nutcracker reads as much of the mode as is octal. */
static void nutcracker_listen_path(struct nutcracker_pool *np, const struct node *n)
{
	struct listen_spec *l = &np->listener->listen;
	const char *space = strrchr(n->text, ' ');
	size_t bytes = space != NULL ? (size_t)(space - n->text) : strlen(n->text);
	if (space != NULL) {
		char *end;
		unsigned long mode = strtoul(space + 1, &end, 8);
		if (mode > 0777)
			report_error(np->report, n, AT_VALUE, "the mode of '%.80s' is above 0777",
				     n->text);
		else if (*end != '\0' || end == space + 1)
			report_warning(np->report, n, AT_VALUE,
				       "'%.40s' is no octal mode: taken as %lo", space + 1, mode);
		l->mode = (uint32_t)mode;
	}
	if (bytes >= sizeof(((struct sockaddr_un *)0)->sun_path))
		report_error(np->report, n, AT_VALUE,
			     "a unix socket's path may have 107 bytes at most");
	l->host = strndup(n->text, bytes);
}

/* From the right, so that an IPv6 address needs no brackets. */
static void nutcracker_listen_tcp(struct nutcracker_pool *np, const struct node *n)
{
	struct listen_spec *l = &np->listener->listen;
	const char *colon = strrchr(n->text, ':');
	uint32_t port = 0;
	bool wrapped;
	if (colon == NULL || !nutcracker_number(colon + 1, strlen(colon + 1), &port, &wrapped) ||
	    port < 1 || port > PORT_MAX) {
		report_error(np->report, n, AT_VALUE,
			     "'%.80s' is not host:port, with a port from 1 to 65535, or /path mode",
			     n->text);
		return;
	}
	if (wrapped)
		report_warning(np->report, n, AT_VALUE,
			       "the port does not fit: nutcracker takes it as %u", port);
	struct slice host = { n->text, (size_t)(colon - n->text) };
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
		host.p++;
		host.n -= 2;
	}
	/* glibc resolves "*" to every address */
	if (slice_eq(host, SLICE("*"))) host.n = 0;
	/* nutcracker resolves the host at once, and no resolver takes these */
	if (host.n > NAME_BYTES_MAX || strcspn(host.p, " []*") < host.n)
		report_error(np->report, n, AT_VALUE, "'%.80s' has no host that could be resolved",
			     n->text);
	l->port = (uint16_t)port;
	l->host = strndup(host.p, host.n);
}

static void nutcracker_listen_value(struct nutcracker_pool *np, const struct node *n)
{
	struct listen_spec *l = &np->listener->listen;
	listen_spec_fini(l);
	if (n->text[strcspn(n->text, "\n\r\t\x7f")] != '\0') {
		report_error(np->report, n, AT_VALUE, "'listen' holds a control character");
		return;
	}
	if (n->text[0] == '/') nutcracker_listen_path(np, n);
	else nutcracker_listen_tcp(np, n);
	l->text = strdup(n->text);
	if (l->text == NULL) np->report->nomem = true;
}

static void nutcracker_server_value(struct nutcracker_pool *np, const struct node *n)
{
	if (np->server_count == np->server_capacity) {
		uint32_t capacity = np->server_capacity == 0 ? 16 : np->server_capacity * 2;
		const struct node **more = realloc(np->servers, capacity * sizeof(*more));
		if (more == NULL) {
			np->report->nomem = true;
			return;
		}
		np->servers = more;
		np->server_capacity = capacity;
	}
	np->servers[np->server_count++] = n;
}

/* --- directives ------------------------------------------------------------------------------- */

/* One value of a directive. */
static void nutcracker_value(struct nutcracker_pool *np, const struct setting *s, void *object,
			     const struct node *n)
{
	void *field = (char *)object + s->offset;
	/* everything is text to nutcracker, quoted or not; messages use its words */
	struct node text = *n;
	struct setting renamed = *s;
	text.kind = NODE_STRING;
	renamed.key = s->alias;
	if (strcmp(s->alias, "redis") == 0) nutcracker_redis_value(np, s, n);
	else if (strcmp(s->alias, "servers") == 0) nutcracker_server_value(np, n);
	else if (strcmp(s->alias, "listen") == 0) nutcracker_listen_value(np, n);
	else if (s->type == SETTING_U32) nutcracker_number_value(np, s, field, n);
	else if (s->type == SETTING_BOOL) nutcracker_bool_value(np, s, field, n);
	else setting_read(&renamed, object, &text, np->report);
}

static void nutcracker_values(struct nutcracker_pool *np, const struct setting *s, void *object,
			      const struct node *n)
{
	bool many = strcmp(s->alias, "servers") == 0;
	if (n->kind == NODE_BAD) {
		if (many) np->servers_refused = true;
		return;
	}
	if (node_is_scalar(n)) {
		nutcracker_value(np, s, object, n);
		return;
	}
	/* a list is the same key given several times: right for servers, and else if it has one */
	if (n->kind == NODE_MAP || (!many && n->count != 1)) {
		if (many) np->servers_refused = true;
		report_error(np->report, n, AT_VALUE, "'%s' must be %s, not %s", s->alias,
			     many ? "a list of host:port:weight" : "one value", node_kind_name(n));
		return;
	}
	NODE_FOREACH (child, n) {
		if (node_is_scalar(child)) {
			nutcracker_value(np, s, object, child);
			continue;
		}
		if (many) np->servers_refused = true;
		if (child->kind == NODE_BAD) continue;
		report_error(np->report, child, AT_VALUE, "'%s' must hold plain values, not %s",
			     s->alias, node_kind_name(child));
	}
}

static const char *nutcracker_nearest(const char *word)
{
	static const struct settings *const tables[] = { &pool_settings, &pool_auth_settings,
							 &listener_settings };
	const char *best = NULL;
	unsigned best_distance = UINT32_MAX;
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (size_t i = 0; i < tables[t]->count; i++) {
			const char *alias = tables[t]->items[i].alias;
			unsigned d = alias != NULL ? settings_distance(word, alias) : UINT32_MAX;
			if (d >= best_distance) continue;
			best_distance = d;
			best = alias;
		}
	}
	return best;
}

static void nutcracker_directive(struct nutcracker_pool *np, const struct node *n)
{
	const struct setting *s = settings_find_alias(&pool_settings, n->key);
	if (s != NULL) {
		nutcracker_values(np, s, np->pool, n);
		return;
	}
	s = settings_find_alias(&listener_settings, n->key);
	if (s != NULL) {
		nutcracker_values(np, s, np->listener, n);
		return;
	}
	const char *near = nutcracker_nearest(n->key);
	report_error(np->report, n, AT_KEY, "unknown key '%.80s'%s%s%s", n->key,
		     near != NULL ? " (did you mean '" : "", near != NULL ? near : "",
		     near != NULL ? "'?)" : "");
}

/* --- pools ------------------------------------------------------------------------------------ */

static void nutcracker_pool_finish(struct nutcracker_pool *np, const struct node *n)
{
	struct pool_spec *p = np->pool;
	if (node_get(n, "listen") == NULL)
		report_error(np->report, n, AT_KEY, "pool '%.60s' has no 'listen'", n->key);
	if (p->redis_db != 0 && p->protocol == PROTOCOL_MEMCACHED) {
		report_warning(np->report, n, AT_KEY,
			       "pool '%.60s' is no Redis pool: redis_db is ignored", n->key);
		p->redis_db = 0;
	}
	np->listener->protocol = p->protocol;
	np->listener->pool = strdup(n->key);
	if (np->listener->pool == NULL) np->report->nomem = true;
	if (node_get(n, "servers") == NULL)
		report_error(np->report, n, AT_KEY, "pool '%.60s' has no 'servers'", n->key);
	else if (!np->servers_refused)
		pool_read_servers(p, n, np->servers, np->server_count, server_read_nutcracker,
				  np->report);
	pool_finish(p, n, np->report);
}

/* `servers` may be given again and again, one text each, but as a list only once. */
static void nutcracker_check_duplicates(const struct node *n, struct report *r)
{
	const struct node *list = NULL;
	report_duplicate_keys(r, n, "servers");
	NODE_FOREACH (child, n) {
		if (child->kind != NODE_LIST || strcmp(child->key, "servers") != 0) continue;
		if (list != NULL)
			report_error(r, child, AT_KEY,
				     "duplicate key 'servers', first given at line %u",
				     list->key_line);
		list = child;
	}
}

static void nutcracker_pool_read(struct pool_spec *p, struct listener_spec *l, const struct node *n,
				 struct report *r)
{
	struct nutcracker_pool np = { .pool = p, .listener = l, .report = r };
	if (!pool_init(p, n->key, n, SETTING_NUTCRACKER, r) ||
	    !settings_defaults(&listener_settings, l, SETTING_NUTCRACKER)) {
		r->nomem = true;
		return;
	}
	if (!settings_expect(n, NODE_MAP, n->key, r)) return;
	nutcracker_check_duplicates(n, r);
	NODE_FOREACH (child, n) nutcracker_directive(&np, child);
	nutcracker_pool_finish(&np, n);
	free(np.servers);
}

void config_read_nutcracker(struct config *c, const struct node *doc, struct report *r)
{
	c->syntax = CONFIG_NUTCRACKER;
	report_duplicate_keys(r, doc, NULL);
	if (!topology_reserve(c->topology, doc->count, doc, r)) return;
	c->listeners = calloc(doc->count, sizeof(*c->listeners));
	if (c->listeners == NULL) {
		r->nomem = true;
		return;
	}
	c->listener_count = doc->count;
	NODE_FOREACH (child, doc)
		nutcracker_pool_read(&c->topology->pools[child->index], &c->listeners[child->index],
				     child, r);
}
