#include "agent/ctl/assign.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/spec_settings.h"
#include "common/topology_settings.h"

static const struct setting *assign_lookup(const char *key)
{
	const struct setting *s = settings_find(&spec_settings, key);
	return s != NULL ? s : settings_find(&pool_settings, key);
}

/* "health.fall" or "timeout_ms". NULL when there is none, as for the servers under `pins`. */
static const struct setting *assign_setting(const char *key, const char *inner)
{
	const struct setting *s = assign_lookup(key);
	if (s == NULL || inner == NULL) return s;
	return s->group != NULL ? settings_find(s->group, inner) : NULL;
}

static bool assign_has_secret(const struct setting *s)
{
	for (size_t i = 0; s->type == SETTING_GROUP && i < s->group->count; i++)
		if (s->group->items[i].type == SETTING_SECRET) return true;
	return s->type == SETTING_SECRET;
}

static bool assign_is_text(const struct setting *s)
{
	return s != NULL &&
	       (s->type == SETTING_NAME || s->type == SETTING_ENUM || s->type == SETTING_CUSTOM ||
		s->type == SETTING_BYTES32 || s->type == SETTING_BYTES64);
}

/* Text in quotes is JSON; a size in digits is a number, all else of a text option is the text. */
static json_t *assign_value(const struct setting *s, const char *text)
{
	bool sized = s != NULL && (s->type == SETTING_BYTES32 || s->type == SETTING_BYTES64);
	bool as_json = !assign_is_text(s) || text[0] == '"' ||
		       (sized && text[strspn(text, "0123456789")] == '\0');
	json_t *value = NULL;
	if (as_json) value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	return value != NULL ? value : json_string(text);
}

static bool assign_refuse(struct err_at *at, const char *text, const char *why)
{
	snprintf(at->where, sizeof(at->where), "%.*s", (int)strcspn(text, "="), text);
	snprintf(at->why, sizeof(at->why), "%s", why);
	return false;
}

bool assign_parse(const char *text, struct assign *owner_out, struct edit *edit_out,
		  struct err_at *why_out)
{
	size_t n = strcspn(text, "=");
	*owner_out = (struct assign){ 0 };
	if (n == 0 || text[n] == '\0') return assign_refuse(why_out, text, "write KEY=VALUE");
	char *key = strndup(text, n);
	if (key == NULL) abort();
	owner_out->key = key;
	char *inner = strchr(key, '.');
	if (inner != NULL) *inner++ = '\0';

	const struct setting *s = assign_setting(key, inner);
	if (s != NULL && assign_has_secret(s))
		return assign_refuse(why_out, text,
				     "a secret must not be on a command line, where others "
				     "see it: use --from");
	*edit_out = (struct edit){ .op = text[n + 1] == '\0' ? EDIT_REMOVE : EDIT_SET,
				   .path = { { .key = key }, { .key = inner } },
				   .depth = inner != NULL ? 2 : 1 };
	if (edit_out->op == EDIT_REMOVE) return true;
	owner_out->value = edit_out->value = assign_value(s, text + n + 1);
	return owner_out->value != NULL || assign_refuse(why_out, text, "the value is no UTF-8");
}

void assign_fini(struct assign *a)
{
	free(a->key);
	json_decref(a->value);
	*a = (struct assign){ 0 };
}
