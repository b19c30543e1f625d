#include "common/pool_text.h"

#include <stdlib.h>

#include "common/topology_check.h"

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
