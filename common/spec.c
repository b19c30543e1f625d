#include "common/spec.h"

#include <limits.h>
#include <stdlib.h>

#include "common/ring_body.h"
#include "common/spec_settings.h"
#include "common/topology_check.h"
#include "common/yaml.h"

#define PIN_HINTS_MAX 20000 /* names compared for "did you mean", in all */

/* --- names of servers, sorted ----------------------------------------------------------------- */

struct server_names {
	const char **names; /* borrowed */
	uint32_t count;
};

static int server_name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* False: no memory. Servers that could not be read have no name. */
static bool server_names_init(struct server_names *s, const struct pool_spec *p)
{
	s->count = 0;
	s->names = malloc((p->server_count + 1) * sizeof(*s->names));
	if (s->names == NULL) return false;
	for (uint32_t i = 0; i < p->server_count; i++)
		if (p->servers[i].ring_name != NULL) s->names[s->count++] = p->servers[i].ring_name;
	qsort(s->names, s->count, sizeof(*s->names), server_name_cmp);
	return true;
}

static bool server_names_have(const struct server_names *s, const char *name)
{
	return bsearch(&name, s->names, s->count, sizeof(*s->names), server_name_cmp) != NULL;
}

/* --- pins ------------------------------------------------------------------------------------- */

static const char *const pin_words[] = { [PIN_OUT] = "out", [PIN_IN] = "in" };

static enum pin pin_read(const struct node *n, struct report *r)
{
	for (unsigned i = PIN_OUT; i <= PIN_IN; i++)
		if (n->kind == NODE_STRING && strcmp(n->text, pin_words[i]) == 0)
			return (enum pin)i;
	if (n->kind != NODE_BAD)
		report_error(r, n, AT_VALUE, "a pin must be 'out' or 'in', not %s%.40s%s",
			     n->kind == NODE_STRING ? "'" : "",
			     n->kind == NODE_STRING ? n->text : node_kind_name(n),
			     n->kind == NODE_STRING ? "'" : "");
	return PIN_NONE;
}

static void pin_report_no_server(const struct server_names *s, const struct node *n,
				 uint32_t *hints_left, struct report *r)
{
	const char *best = NULL;
	unsigned best_distance = UINT_MAX;
	for (uint32_t i = 0; *hints_left > 0 && i < s->count; i++, --*hints_left) {
		unsigned d = settings_distance(n->key, s->names[i]);
		if (d >= best_distance) continue;
		best_distance = d;
		best = s->names[i];
	}
	report_error(r, n, AT_KEY, "'%.80s' is no server of the pool%s%.80s%s", n->key,
		     best != NULL ? " (did you mean '" : "", best != NULL ? best : "",
		     best != NULL ? "'?)" : "");
}

static int spec_pin_cmp(const void *a, const void *b)
{
	return strcmp(((const struct spec_pin *)a)->server, ((const struct spec_pin *)b)->server);
}

static void spec_add_pin(struct spec *s, const char *server, enum pin pin, struct report *r)
{
	char *copy = strdup(server);
	if (copy == NULL) r->nomem = true;
	else s->pins[s->pin_count++] = (struct spec_pin){ copy, pin };
}

static void spec_read_pins(struct spec *s, const struct node *doc, struct report *r)
{
	const struct node *pins = node_get(doc, "pins");
	if (pins == NULL || !settings_expect(pins, NODE_MAP, "pins", r)) return;
	struct server_names servers;
	s->pins = calloc(pins->count + 1, sizeof(*s->pins));
	if (!server_names_init(&servers, s->pool) || s->pins == NULL) {
		r->nomem = true;
		free(servers.names);
		return;
	}
	/* a server that cannot be read may be the one that is meant */
	bool complete = servers.count > 0 && servers.count == s->pool->server_count;
	uint32_t out = 0, hints_left = PIN_HINTS_MAX;
	NODE_FOREACH (child, pins) {
		enum pin pin = pin_read(child, r);
		if (complete && !server_names_have(&servers, child->key))
			pin_report_no_server(&servers, child, &hints_left, r);
		else if (pin != PIN_NONE) spec_add_pin(s, child->key, pin, r);
		if (pin == PIN_OUT) out++;
	}
	if (complete && out >= servers.count)
		report_error(r, pins, AT_KEY, "the pins leave no server in the ring");
	qsort(s->pins, s->pin_count, sizeof(*s->pins), spec_pin_cmp);
	free(servers.names);
}

enum pin spec_pin(const struct spec *s, const char *server)
{
	struct spec_pin key = { .server = (char *)(uintptr_t)server };
	const struct spec_pin *found =
	    s->pin_count > 0 ? bsearch(&key, s->pins, s->pin_count, sizeof(*s->pins), spec_pin_cmp)
			     : NULL;
	return found != NULL ? found->pin : PIN_NONE;
}

/* --- rules across options --------------------------------------------------------------------- */

static bool rule_slices(const struct spec *s)
{
	return s->moving.slices > 1 && s->moving.slices != TRANSITION_SLICES;
}

static bool rule_storage_memcached(const struct spec *s)
{
	return s->mode == MODE_STORAGE && s->pool->protocol == PROTOCOL_MEMCACHED;
}

static bool rule_storage_failover(const struct spec *s)
{
	return s->mode == MODE_STORAGE && s->pool->failover != FAILOVER_ERROR;
}

static bool rule_storage_flush(const struct spec *s)
{
	return s->mode == MODE_STORAGE && s->on_rejoin == REJOIN_FLUSH;
}

static bool rule_failover_self(const struct spec *s)
{
	return s->pool->failover == FAILOVER_POOL &&
	       strcmp(s->pool->failover_pool, s->pool->name) == 0;
}

static bool rule_probe_protocol(const struct spec *s)
{
	return (s->health.probe == PROBE_MEMCACHED && s->pool->protocol != PROTOCOL_MEMCACHED) ||
	       (s->health.probe == PROBE_REDIS && s->pool->protocol != PROTOCOL_REDIS);
}

static bool rule_probe_timeout(const struct spec *s)
{
	return s->health.timeout_ms > s->health.interval_ms;
}

static bool rule_http_path(const struct spec *s)
{
	return s->health.http_path != NULL && s->health.http_path[0] != '/';
}

static bool rule_script_missing(const struct spec *s)
{
	return s->health.probe == PROBE_SCRIPT && s->health.script == NULL;
}

/* Who may write a spec must not choose what runs on the nannies' hosts. */
static bool rule_script_path(const struct spec *s)
{
	const char *script = s->health.script;
	return script != NULL && (script[0] == '.' || strchr(script, '/') != NULL);
}

static bool rule_backoff(const struct spec *s)
{
	return s->ejection.backoff_max_ms < s->ejection.backoff_ms;
}

static const struct spec_rule {
	const char *group; /* NULL: at the top */
	const char *key;
	bool (*broken)(const struct spec *s);
	const char *why;
} spec_rules[] = {
	{ "moving", "slices", rule_slices,
	  "'slices' must be 1, 16, or 0: by the number of agents" },
	{ NULL, "mode", rule_storage_memcached, "mode 'storage' is for Redis pools only" },
	{ NULL, "failover", rule_storage_failover,
	  "with mode 'storage' keys never move on an ejection: 'failover' must be error" },
	{ NULL, "failover", rule_failover_self, "a pool cannot take over from itself" },
	{ NULL, "on_rejoin", rule_storage_flush,
	  "with mode 'storage' no server is ever flushed: 'on_rejoin' must be keep" },
	{ "health", "probe", rule_probe_protocol,
	  "the pool speaks another protocol than the probe" },
	{ "health", "timeout_ms", rule_probe_timeout,
	  "a probe's 'timeout_ms' must not be longer than 'interval_ms'" },
	{ "health", "http_path", rule_http_path, "'http_path' must begin with /" },
	{ "health", "probe", rule_script_missing, "probe 'script' needs the option 'script'" },
	{ "health", "script", rule_script_path,
	  "'script' is the name of a file in the agent's folder of scripts, not a path" },
	{ "ejection", "backoff_max_ms", rule_backoff,
	  "'backoff_max_ms' must not be less than 'backoff_ms'" },
};

/* The option's own place, else its group's, else the whole spec's. */
static const struct node *spec_place_of(const struct node *doc, const char *group, const char *key)
{
	const struct node *at = group != NULL ? node_get(doc, group) : doc;
	if (at == NULL) return doc;
	const struct node *option = node_get(at, key);
	return option != NULL ? option : at;
}

static void spec_check_rules(const struct spec *s, const struct node *doc, struct report *r)
{
	for (size_t i = 0; i < sizeof(spec_rules) / sizeof(spec_rules[0]); i++) {
		const struct spec_rule *rule = &spec_rules[i];
		if (!rule->broken(s)) continue;
		report_error(r, spec_place_of(doc, rule->group, rule->key), AT_VALUE, "%s",
			     rule->why);
	}
}

/* --- servers ---------------------------------------------------------------------------------- */

static void spec_check_servers(const struct spec *s, const struct node *doc, struct report *r)
{
	const struct node *list = node_get(doc, "servers");
	if (list == NULL || s->pool->server_count != list->count) return;
	NODE_FOREACH (n, list) {
		const struct server_spec *server = &s->pool->servers[n->index];
		if (server->ejected)
			report_error(
			    r, n, AT_VALUE,
			    "'ejected' is the coordinator's word: write pins: {%.80s: out}",
			    server->ring_name != NULL ? server->ring_name : "NAME");
		if (server->ring_name != NULL && server->ring_name[0] == '\0')
			report_error(r, n, AT_VALUE, "the server's name is empty");
	}
}

/* What the coordinator makes of it must fit into a znode too. */
static void spec_check_size(const struct spec *s, const struct node *doc, struct report *r)
{
	if (r->error_count > 0) return;
	json_t *pool = pool_spec_to_json(s->pool);
	size_t bytes = json_dumpb(pool, NULL, 0, JSON_COMPACT);
	json_decref(pool);
	if (pool == NULL) r->nomem = true;
	if (bytes > RING_BODY_MAX - RING_BODY_ROOM)
		report_error(r, spec_place_of(doc, NULL, "servers"), AT_KEY,
			     "the servers of one pool must fit into %u KiB of JSON, not %zu",
			     RING_BODY_MAX >> 10, bytes >> 10);
}

/* --- parsing ---------------------------------------------------------------------------------- */

static struct spec *spec_new(const char *label)
{
	struct spec *s = calloc(1, sizeof(*s));
	if (s == NULL) return NULL;
	s->label = strdup(label);
	s->topology = topology_new();
	struct report r = { 0 };
	if (s->label == NULL || s->topology == NULL ||
	    !topology_reserve(s->topology, 1, NULL, &r) ||
	    !settings_defaults(&spec_settings, s, SETTING_NATIVE))
		spec_free(&s);
	else s->pool = &s->topology->pools[0];
	report_fini(&r);
	return s;
}

/* What was not given and depends on other options. */
static void spec_finish(struct spec *s, const struct node *doc)
{
	struct pool_spec *p = &s->topology->pools[0];
	if (s->mode == MODE_STORAGE) {
		if (node_get(doc, "failover") == NULL) p->failover = FAILOVER_ERROR;
		if (node_get(doc, "on_rejoin") == NULL) s->on_rejoin = REJOIN_KEEP;
	}
	/* Without them a token given by one owner of a key could match at the other. */
	if (s->transition == TRANSITION_TWO_RING && p->protocol == PROTOCOL_MEMCACHED &&
	    node_get(doc, "cas_tags") == NULL)
		p->cas_tags = true;
	if (s->health.probe == PROBE_AUTO)
		s->health.probe = p->protocol == PROTOCOL_REDIS ? PROBE_REDIS : PROBE_MEMCACHED;
}

static void spec_keep_places(struct spec *s, const struct node *doc)
{
	static const char *const keys[SPEC_PLACE_MAX] = { [SPEC_AT_SERVERS] = "servers",
							  [SPEC_AT_FAILOVER] = "failover",
							  [SPEC_AT_PROTOCOL] = "protocol" };
	for (unsigned i = 0; i < SPEC_PLACE_MAX; i++) {
		const struct node *at = spec_place_of(doc, NULL, keys[i]);
		s->places[i].line = at != doc ? at->key_line : at->line;
		s->places[i].column = at != doc ? at->key_column : at->column;
	}
}

static void spec_read(struct spec *s, const char *pool_name, const struct node *doc,
		      struct report *r)
{
	if (!settings_expect(doc, NODE_MAP, "the spec", r)) return;
	report_duplicate_keys_deep(r, doc);
	NODE_FOREACH (child, doc) {
		const struct setting *item = settings_find(&spec_settings, child->key);
		if (item != NULL) setting_read(item, s, child, r);
	}
	pool_read_native(&s->topology->pools[0], pool_name, doc, &spec_settings, r);
	spec_finish(s, doc);
	spec_read_pins(s, doc, r);
	spec_check_servers(s, doc, r);
	spec_check_rules(s, doc, r);
	spec_check_size(s, doc, r);
	spec_keep_places(s, doc);
}

static struct node *spec_parse_text(const char *text, size_t n, struct report *r)
{
	if (n <= SPEC_TEXT_MAX) return yaml_parse(text, n, r);
	report_error(r, NULL, AT_VALUE, "a spec may have %u KiB at most, not %zu",
		     SPEC_TEXT_MAX >> 10, (n + 1023) >> 10);
	return NULL;
}

enum err spec_parse(const char *text, size_t n, const char *pool_name, const char *label,
		    struct spec **out, struct config_issues *issues_out)
{
	struct report r = { .label = label };
	struct spec *s = spec_new(label);
	struct node *doc = spec_parse_text(text, n, &r);
	*out = NULL;
	*issues_out = (struct config_issues){ 0 };
	if (s == NULL) r.nomem = true;
	else if (doc != NULL) spec_read(s, pool_name, doc, &r);
	node_free(&doc);

	enum err e = report_outcome(&r, NULL);
	if (!config_issues_take(issues_out, &r)) e = ERR_NOMEM;
	report_fini(&r);
	if (e != ERR_NONE) spec_free(&s);
	*out = s;
	return e;
}

/* --- checks against other pools --------------------------------------------------------------- */

#define SPEC_REPORT(r, s, place, ...) \
	report_error_line(r, (s)->places[place].line, (s)->places[place].column, __VA_ARGS__)

static enum err spec_outcome(struct report *r, struct err_at *where_out)
{
	enum err e = report_outcome(r, where_out);
	report_fini(r);
	return e;
}

static void spec_check_loss(const struct spec *wanted, const char *what, uint64_t lost,
			    uint64_t total, struct report *r)
{
	if (lost * 100 <= total * wanted->max_shrink_percent) return;
	if (wanted->confirm_shrink_to == wanted->pool->server_count) return;
	char confirmed[80] = "";
	if (wanted->confirm_shrink_to != 0)
		snprintf(confirmed, sizeof(confirmed), ", not %u", wanted->confirm_shrink_to);
	SPEC_REPORT(r, wanted, SPEC_AT_SERVERS,
		    "%llu of %llu %s would be lost at once, more than %u %%: if that is meant, add "
		    "confirm_shrink_to: %u%s",
		    (unsigned long long)lost, (unsigned long long)total, what,
		    wanted->max_shrink_percent, wanted->pool->server_count, confirmed);
}

enum err spec_check_shrink(const struct spec *wanted, const struct pool_spec *current,
			   struct err_at *where_out)
{
	struct server_names names;
	if (!server_names_init(&names, wanted->pool)) return ERR_NOMEM;
	uint64_t lost = 0, weight = 0, lost_weight = 0;
	for (uint32_t i = 0; i < current->server_count; i++) {
		const struct server_spec *s = &current->servers[i];
		weight += s->weight;
		if (server_names_have(&names, s->ring_name)) continue;
		lost++;
		lost_weight += s->weight;
	}
	free(names.names);

	struct report r = { .label = wanted->label };
	spec_check_loss(wanted, "servers", lost, current->server_count, &r);
	if (r.error_count == 0)
		spec_check_loss(wanted, "parts of the weight", lost_weight, weight, &r);
	return spec_outcome(&r, where_out);
}

/* The target of `p`'s failover among the pools; NULL when it has none or that is not there. */
static const struct pool_spec *failover_find(const struct spec *wanted, const struct pool_spec *p,
					     const struct pool_spec *const *pools, uint32_t count)
{
	if (p->failover != FAILOVER_POOL) return NULL;
	if (strcmp(p->failover_pool, wanted->pool->name) == 0) return wanted->pool;
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(pools[i]->name, p->failover_pool) == 0) return pools[i];
	return NULL;
}

static void failover_check_forward(const struct spec *wanted, const struct pool_spec *const *pools,
				   uint32_t count, struct report *r)
{
	const struct pool_spec *p = wanted->pool, *target = failover_find(wanted, p, pools, count);
	if (p->failover != FAILOVER_POOL) return;
	if (target == NULL) {
		SPEC_REPORT(r, wanted, SPEC_AT_FAILOVER, "pool '%.80s' does not exist",
			    p->failover_pool);
		return;
	}
	if (target->protocol != p->protocol)
		SPEC_REPORT(r, wanted, SPEC_AT_FAILOVER, "pool '%.80s' speaks %s, not %s",
			    target->name, protocol_name(target->protocol),
			    protocol_name(p->protocol));
	/* a circle without the wanted pool is not its fault, but must not trap us either */
	for (uint32_t steps = 0; target != NULL && target != p && steps <= count; steps++)
		target = failover_find(wanted, target, pools, count);
	if (target == p)
		SPEC_REPORT(r, wanted, SPEC_AT_FAILOVER,
			    "the failover through pool '%.80s' leads back to this one",
			    p->failover_pool);
}

enum err spec_check_failover(const struct spec *wanted, const struct pool_spec *const *pools,
			     uint32_t count, struct err_at *where_out)
{
	struct report r = { .label = wanted->label };
	failover_check_forward(wanted, pools, count, &r);
	for (uint32_t i = 0; i < count; i++) {
		const struct pool_spec *p = pools[i], *self = wanted->pool;
		if (strcmp(p->name, self->name) == 0 || p->protocol == self->protocol) continue;
		if (failover_find(wanted, p, pools, 0) == self)
			SPEC_REPORT(&r, wanted, SPEC_AT_PROTOCOL,
				    "pool '%.80s' has this one as its failover and speaks %s",
				    p->name, protocol_name(p->protocol));
	}
	return spec_outcome(&r, where_out);
}

/* --- out and the end -------------------------------------------------------------------------- */

json_t *spec_to_json(const struct spec *s)
{
	json_t *out = pool_spec_to_json(s->pool), *more = settings_to_json(&spec_settings, s);
	json_t *pins = json_object();
	int failed = json_object_update(out, more);
	for (uint32_t i = 0; i < s->pin_count; i++)
		failed |= json_object_set_new(pins, s->pins[i].server,
					      json_string(pin_words[s->pins[i].pin]));
	failed |= json_object_set_new(out, "pins", pins);
	json_decref(more);
	if (!failed) return out;
	json_decref(out);
	return NULL;
}

void spec_free(struct spec **s)
{
	if (*s == NULL) return;
	for (uint32_t i = 0; i < (*s)->pin_count; i++) free((*s)->pins[i].server);
	free((*s)->pins);
	settings_fini(&spec_settings, *s);
	topology_free(&(*s)->topology);
	free((*s)->label);
	free(*s);
	*s = NULL;
}
