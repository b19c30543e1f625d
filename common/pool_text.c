#include "common/pool_text.h"

#include <stdlib.h>

#include "common/topology_check.h"
#include "common/yaml_emit.h"

enum { KETAMA_ADDRESS_MAX = 21 }; /* libketama cuts, or worse, what is longer */

/* --- servers ---------------------------------------------------------------------------------- */

static void text_address(const struct server_spec *s, struct scratch *out)
{
	bool v6 = s->port != 0 && strchr(s->host, ':') != NULL;
	scratch_printf(out, v6 ? "[%s]" : "%s", s->host);
	if (s->port != 0) scratch_printf(out, ":%u", s->port);
}

bool pool_text_server(const struct server_spec *s, struct scratch *out)
{
	if (strchr(s->host, ' ') != NULL || (s->port == 0 && strchr(s->host, ':') != NULL) ||
	    (s->name != NULL && (strchr(s->name, ' ') != NULL || *s->name == '\0')))
		return false;
	text_address(s, out);
	scratch_printf(out, ":%u", s->weight);
	if (s->name != NULL) scratch_printf(out, " %s", s->name);
	return true;
}

/* Does it have keys of its own? */
static bool text_owns(const struct pool_spec *p, const struct server_spec *s)
{
	return !s->ejected || p->failover != FAILOVER_RING;
}

/* --- native ----------------------------------------------------------------------------------- */

static json_t *native_server(const struct server_spec *s)
{
	struct scratch text = { 0 };
	bool plain = !s->ejected && pool_text_server(s, &text);
	json_t *out = plain ? json_stringn(text.p, text.n) : settings_to_json(&server_settings, s);
	if (!plain && !s->ejected) json_object_del(out, "ejected");
	scratch_fini(&text);
	return out;
}

/* What a pool of this protocol, distribution and so on would have if nothing else were said. */
static json_t *native_defaults(const struct pool_spec *p)
{
	struct report r = { 0 };
	struct pool_spec plain = { 0 };
	struct node at = { .kind = NODE_MAP };
	json_t *out = NULL;
	if (pool_init(&plain, p->name, &at, SETTING_NATIVE, &r)) {
		plain.protocol = p->protocol;
		plain.distribution = p->distribution;
		pool_finish(&plain, &at, &r);
		out = settings_to_json(&pool_settings, &plain);
		/* these always say what they are */
		json_object_del(out, "protocol");
		json_object_del(out, "distribution");
		json_object_del(out, "hash");
	}
	settings_fini(&pool_settings, &plain);
	free(plain.name);
	report_fini(&r);
	return out;
}

json_t *pool_text_native(const struct pool_spec *p)
{
	json_t *out = settings_to_json(&pool_settings, p), *defaults = native_defaults(p);
	json_t *servers = json_array();
	const char *key;
	json_t *value;
	json_object_foreach (defaults, key, value)
		if (json_equal(value, json_object_get(out, key))) json_object_del(out, key);
	for (uint32_t i = 0; i < p->server_count; i++)
		json_array_append_new(servers, native_server(&p->servers[i]));
	bool good = defaults != NULL && json_array_size(servers) == p->server_count &&
		    json_object_set(out, "servers", servers) == 0;
	json_decref(servers);
	json_decref(defaults);
	if (good) return out;
	json_decref(out);
	return NULL;
}

/* --- nutcracker ------------------------------------------------------------------------------- */

static const char *nutcracker_obstacle(const struct pool_spec *p)
{
	if (p->distribution != RING_KETAMA && p->distribution != RING_MODULA &&
	    p->distribution != RING_RANDOM)
		return "nutcracker does not have this distribution";
	if (p->auth_user != NULL) return "nutcracker knows no user, only a password";
	for (uint32_t i = 0; i < p->server_count; i++)
		if (strchr(p->servers[i].host, ':') != NULL && p->servers[i].port != 0)
			return "nutcracker reads no IPv6 address in brackets";
	return NULL;
}

static json_t *nutcracker_servers(const struct pool_spec *p)
{
	json_t *out = json_array();
	for (uint32_t i = 0; i < p->server_count; i++) {
		struct scratch text = { 0 };
		if (text_owns(p, &p->servers[i]) && pool_text_server(&p->servers[i], &text))
			json_array_append_new(out, json_stringn(text.p, text.n));
		scratch_fini(&text);
	}
	return out;
}

bool pool_text_nutcracker(const struct pool_spec *p, const char *listen, struct scratch *out,
			  const char **why_out)
{
	json_t *options = settings_to_json(&pool_settings, p), *doc = json_object();
	json_t *pool = json_object(), *servers = nutcracker_servers(p);
	json_object_set_new(pool, "listen", json_string(listen));
	for (size_t i = 0; i < pool_settings.count; i++) {
		const struct setting *s = &pool_settings.items[i];
		json_t *value = json_object_get(options, s->key);
		if (s->alias != NULL && value != NULL && s->type != SETTING_READER)
			json_object_set(pool, s->alias, value);
	}
	json_object_set_new(pool, "redis", json_boolean(p->protocol == PROTOCOL_REDIS));
	if (p->protocol != PROTOCOL_REDIS) json_object_del(pool, "redis_db");
	if (p->auth_password != NULL)
		json_object_set_new(pool, "redis_auth", json_string(p->auth_password));
	/* nutcracker has no word for "never" but silence */
	if (p->timeout_ms == 0) json_object_del(pool, "timeout");
	*why_out = nutcracker_obstacle(p);
	uint32_t owners = 0;
	for (uint32_t i = 0; i < p->server_count; i++) owners += text_owns(p, &p->servers[i]);
	if (json_array_size(servers) != owners)
		*why_out = "nutcracker has no way to write the name or path of a server";
	json_object_set_new(pool, "servers", servers);
	json_object_set_new(doc, p->name, pool);
	yaml_emit(doc, 0, out);
	json_decref(doc);
	json_decref(options);
	return *why_out == NULL;
}

/* --- libketama -------------------------------------------------------------------------------- */

bool pool_text_ketama(const struct pool_spec *p, struct scratch *out, const char **why_out)
{
	*why_out = NULL;
	if (p->distribution != RING_KETAMA_RJ && p->distribution != RING_KETAMA_WAYFAIR_LIB)
		*why_out = "libketama spreads keys otherwise than this pool's distribution";
	for (uint32_t i = 0; i < p->server_count; i++) {
		const struct server_spec *s = &p->servers[i];
		if (!text_owns(p, s)) continue;
		size_t start = out->n;
		text_address(s, out);
		if (out->n - start > KETAMA_ADDRESS_MAX)
			*why_out = "libketama takes addresses of at most 21 characters";
		struct ring_server plain = { .host = s->host, .port = s->port };
		char name[512];
		ring_server_name(&plain, name, sizeof(name));
		if (s->name != NULL && strcmp(s->name, name) != 0)
			*why_out = "libketama knows no names: its ring is made of addresses";
		scratch_printf(out, "\t%u\n", s->weight);
	}
	return *why_out == NULL;
}
