#include "common/config_values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/listen.h"
#include "common/yaml.h"

/* --- addresses -------------------------------------------------------------------------------- */

static bool listen_set(void *field, const struct node *value, char *why, size_t cap)
{
	struct listen_spec parsed;
	const char *reason;
	if (value->kind != NODE_STRING) {
		snprintf(why, cap, "must be an address to listen on, not %s",
			 node_kind_name(value));
		return false;
	}
	if (!listen_spec_parse(value->text, &parsed, &reason)) {
		snprintf(why, cap, "%s", reason);
		return false;
	}
	listen_spec_fini(field);
	*(struct listen_spec *)field = parsed;
	return true;
}

/* The word that switches a default off again. */
static bool listen_set_optional(void *field, const struct node *value, char *why, size_t cap)
{
	if (value->kind != NODE_STRING || strcmp(value->text, "off") != 0)
		return listen_set(field, value, why, cap);
	listen_spec_fini(field);
	return true;
}

static json_t *listen_to_json(const void *field)
{
	const struct listen_spec *l = field;
	if (l->text == NULL) return NULL;
	char *text = listen_spec_text(l);
	json_t *out = text != NULL ? json_string(text) : NULL;
	free(text);
	return out;
}

static void listen_fini(void *field)
{
	listen_spec_fini(field);
}

const struct setting_ops listen_ops = { .set = listen_set,
					.to_json = listen_to_json,
					.fini = listen_fini };
const struct setting_ops optional_listen_ops = { .set = listen_set_optional,
						 .to_json = listen_to_json,
						 .fini = listen_fini };

/* --- log level -------------------------------------------------------------------------------- */

static const struct {
	const char *word;
	uint32_t level; /* on nutcracker's scale */
} log_levels[] = {
	{ "error", 3 }, { "warn", 4 }, { "notice", 5 }, { "info", 6 }, { "debug", 7 },
};

static bool log_level_set(void *field, const struct node *value, char *why, size_t cap)
{
	for (size_t i = 0; i < sizeof(log_levels) / sizeof(log_levels[0]); i++) {
		if (value->kind != NODE_STRING || strcmp(value->text, log_levels[i].word) != 0)
			continue;
		*(uint32_t *)field = log_levels[i].level;
		return true;
	}
	if (value->kind == NODE_INT && strlen(value->text) <= 2) {
		int level = atoi(value->text);
		if (level >= 0 && level <= 11) {
			*(uint32_t *)field = (uint32_t)level;
			return true;
		}
	}
	snprintf(why, cap, "must be error, warn, notice, info, debug or a number from 0 to 11");
	return false;
}

static json_t *log_level_to_json(const void *field)
{
	return json_integer(*(const uint32_t *)field);
}

const struct setting_ops log_level_ops = { .set = log_level_set, .to_json = log_level_to_json };

/* --- files ------------------------------------------------------------------------------------ */

enum err config_read_file(const char *path, char **text_out, size_t *n_out)
{
	FILE *f = fopen(path, "re");
	if (f == NULL) return ERR_IO;
	char *text = NULL;
	size_t n = 0, capacity = 0;
	enum err e = ERR_NONE;
	do {
		capacity = capacity == 0 ? 64 << 10 : capacity * 2;
		char *more = realloc(text, capacity);
		if (more == NULL) {
			e = ERR_NOMEM;
			break;
		}
		text = more;
		n += fread(text + n, 1, capacity - n, f);
	} while (n == capacity && n <= YAML_TEXT_MAX);
	if (ferror(f)) e = ERR_IO;

	int saved = errno;
	fclose(f);
	errno = saved;
	if (e != ERR_NONE) {
		free(text);
		text = NULL;
	}
	*text_out = text;
	*n_out = n;
	return e;
}
