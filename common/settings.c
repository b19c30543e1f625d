#include "common/settings.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#define WORD_MAX 32 /* longer words are no misspelt keys */

static void *setting_field(const struct setting *s, void *object)
{
	return (char *)object + s->offset;
}

static const void *setting_field_const(const struct setting *s, const void *object)
{
	return (const char *)object + s->offset;
}

static bool setting_owns_text(const struct setting *s)
{
	return s->type == SETTING_NAME || s->type == SETTING_SECRET;
}

/* --- finding keys ----------------------------------------------------------------------------- */

const struct setting *settings_find(const struct settings *s, const char *key)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->items[i].key, key) == 0) return &s->items[i];
	return NULL;
}

const struct setting *settings_find_alias(const struct settings *s, const char *alias)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct setting *item = &s->items[i];
		if (item->alias != NULL && strcmp(item->alias, alias) == 0) return item;
		if (item->type != SETTING_GROUP) continue;
		const struct setting *inner = settings_find_alias(item->group, alias);
		if (inner != NULL) return inner;
	}
	return NULL;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;
	return m < c ? m : c;
}

unsigned settings_distance(const char *a, const char *b)
{
	size_t n = strnlen(a, WORD_MAX + 1), m = strnlen(b, WORD_MAX + 1);
	if (n > WORD_MAX || m > WORD_MAX) return UINT_MAX;

	unsigned d[WORD_MAX + 1][WORD_MAX + 1];
	for (size_t i = 0; i <= n; i++) d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= m; j++) d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		for (size_t j = 1; j <= m; j++) {
			unsigned change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, change);
			bool swapped =
			    i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
			if (swapped && d[i - 2][j - 2] + 1 < d[i][j]) d[i][j] = d[i - 2][j - 2] + 1;
		}
	}
	/* a third of the word at most, so that short words do not match everything */
	size_t longer = n > m ? n : m;
	return d[n][m] <= (longer + 2) / 3 ? d[n][m] : UINT_MAX;
}

const char *settings_nearest_key(const struct settings *s, const char *word)
{
	const struct setting *alias = settings_find_alias(s, word);
	if (alias != NULL && settings_find(s, alias->key) != NULL) return alias->key;

	const char *best = NULL;
	unsigned best_distance = UINT_MAX;
	for (size_t i = 0; i < s->count; i++) {
		unsigned d = settings_distance(word, s->items[i].key);
		if (d < best_distance) {
			best_distance = d;
			best = s->items[i].key;
		}
	}
	return best;
}

/* --- reading one value ------------------------------------------------------------------------ */

bool settings_expect(const struct node *n, enum node_kind kind, const char *what, struct report *r)
{
	if (n->kind == kind) return true;
	if (n->kind == NODE_BAD) return false;
	struct node wanted = { .kind = kind };
	report_error(r, n, AT_VALUE, "'%s' must be %s, not %s", what, node_kind_name(&wanted),
		     node_kind_name(n));
	return false;
}

bool settings_parse_bytes(const char *text, uint64_t *bytes_out)
{
	if (!isdigit((unsigned char)*text)) return false;
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (errno != 0) return false;

	unsigned shift = 0;
	switch (*end) {
	case 'k':
	case 'K': shift = 10; break;
	case 'm':
	case 'M': shift = 20; break;
	case 'g':
	case 'G': shift = 30; break;
	case '\0': break;
	default: return false;
	}
	if (shift > 0 && end[1] != '\0') return false;
	if (n > UINT64_MAX >> shift) return false;
	*bytes_out = (uint64_t)n << shift;
	return true;
}

/* The shortest exact spelling of a size. */
static const char *setting_bytes_text(uint64_t n, char *buf, size_t cap)
{
	static const char units[] = { 'g', 'm', 'k' };
	for (unsigned i = 0; i < 3; i++) {
		unsigned shift = 30 - 10 * i;
		if (n == 0 || n % (UINT64_C(1) << shift) != 0) continue;
		snprintf(buf, cap, "%llu%c", (unsigned long long)(n >> shift), units[i]);
		return buf;
	}
	snprintf(buf, cap, "%llu", (unsigned long long)n);
	return buf;
}

static bool setting_is_bytes(const struct setting *s)
{
	return s->type == SETTING_BYTES32 || s->type == SETTING_BYTES64;
}

/* "from 1 to 65535" in the option's own way of writing numbers. */
static const char *setting_range(const struct setting *s, char *buf, size_t cap)
{
	char low[32], high[32];
	if (setting_is_bytes(s)) {
		snprintf(buf, cap, "from %s to %s",
			 setting_bytes_text((uint64_t)s->min, low, sizeof(low)),
			 setting_bytes_text((uint64_t)s->max, high, sizeof(high)));
	} else {
		snprintf(buf, cap, "from %lld to %lld", (long long)s->min, (long long)s->max);
	}
	return buf;
}

static bool setting_parse_number(const struct setting *s, const struct node *value,
				 uint64_t *number_out)
{
	if (setting_is_bytes(s) && (value->kind == NODE_STRING || value->kind == NODE_INT))
		return settings_parse_bytes(value->text, number_out);
	if (value->kind != NODE_INT) return false;

	/* 010 is eight to some readers and ten to others: neither */
	const char *text = value->text;
	if (*text == '-' || (text[0] == '0' && text[1] != '\0')) return false;
	errno = 0;
	*number_out = strtoull(text, NULL, 10);
	return errno == 0;
}

static void setting_read_number(const struct setting *s, void *field, const struct node *value,
				struct report *r)
{
	uint64_t number;
	char range[80];
	if (!setting_parse_number(s, value, &number) || number < (uint64_t)s->min ||
	    number > (uint64_t)s->max) {
		bool quoted = value->kind == NODE_STRING;
		report_error(
		    r, value, AT_VALUE, "'%s' must be a whole number %s, not %s%.40s%s", s->key,
		    setting_range(s, range, sizeof(range)), quoted ? "the text '" : "",
		    node_is_scalar(value) && value->kind != NODE_NULL ? value->text
								      : node_kind_name(value),
		    quoted ? "'" : "");
		return;
	}
	if (s->type == SETTING_U16) *(uint16_t *)field = (uint16_t)number;
	else if (s->type == SETTING_U32 || s->type == SETTING_BYTES32)
		*(uint32_t *)field = (uint32_t)number;
	else *(uint64_t *)field = number;
}

static void setting_read_bool(const struct setting *s, void *field, const struct node *value,
			      struct report *r)
{
	if (!settings_expect(value, NODE_BOOL, s->key, r)) return;
	*(bool *)field = strcmp(value->text, "true") == 0;
}

static bool setting_has_control(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++)
		if (*p < 0x20 || *p == 0x7f) return true;
	return false;
}

static void setting_read_text(const struct setting *s, void *field, const struct node *value,
			      struct report *r)
{
	/* an unquoted 12345 or true in a file is the text that it looks like */
	bool usable = value->kind == NODE_STRING ||
		      (!value->from_json && value->kind != NODE_NULL && node_is_scalar(value));
	if (!usable) {
		settings_expect(value, NODE_STRING, s->key, r);
		return;
	}
	size_t n = strlen(value->text);
	if (n < (size_t)s->min || n > (size_t)s->max) {
		report_error(r, value, AT_VALUE, "'%s' must have %lld to %lld bytes, not %zu",
			     s->key, (long long)s->min, (long long)s->max, n);
		return;
	}
	if (s->type == SETTING_NAME && setting_has_control(value->text)) {
		report_error(r, value, AT_VALUE, "'%s' holds a control character", s->key);
		return;
	}
	char *copy = strdup(value->text);
	if (copy == NULL) {
		r->nomem = true;
		return;
	}
	free(*(char **)field);
	*(char **)field = copy;
}

/* All words, separated by commas, as far as they fit. */
static const char *setting_words(const struct setting *s, char *buf, size_t cap)
{
	const char *word;
	size_t used = 0;
	buf[0] = '\0';
	for (unsigned i = 0; (word = s->words(i)) != NULL && used < cap; i++)
		used += (size_t)snprintf(buf + used, cap - used, "%s%s", i > 0 ? ", " : "", word);
	return buf;
}

static void setting_read_enum(const struct setting *s, void *field, const struct node *value,
			      struct report *r)
{
	if (!settings_expect(value, NODE_STRING, s->key, r)) return;
	const char *word, *best = NULL;
	unsigned best_distance = UINT_MAX;
	for (unsigned i = 0; (word = s->words(i)) != NULL; i++) {
		if (strcmp(word, value->text) == 0) {
			*(unsigned *)field = i;
			return;
		}
		unsigned d = settings_distance(value->text, word);
		if (d < best_distance) {
			best_distance = d;
			best = word;
		}
	}
	char words[200];
	if (best != NULL)
		report_error(r, value, AT_VALUE, "unknown %s '%.60s' (did you mean '%s'?)", s->key,
			     value->text, best);
	else
		report_error(r, value, AT_VALUE, "unknown %s '%.40s': one of %s", s->key,
			     value->text, setting_words(s, words, sizeof(words)));
}

static void setting_read_custom(const struct setting *s, void *field, const struct node *value,
				struct report *r)
{
	char why[200];
	if (s->ops->set(field, value, why, sizeof(why))) return;
	report_error(r, value, AT_VALUE, "'%s' %s", s->key, why);
}

void setting_read(const struct setting *s, void *object, const struct node *value, struct report *r)
{
	void *field = setting_field(s, object);
	if (value->kind == NODE_BAD) return;
	switch (s->type) {
	case SETTING_BOOL: setting_read_bool(s, field, value, r); break;
	case SETTING_U16:
	case SETTING_U32:
	case SETTING_U64:
	case SETTING_BYTES32:
	case SETTING_BYTES64: setting_read_number(s, field, value, r); break;
	case SETTING_NAME:
	case SETTING_SECRET: setting_read_text(s, field, value, r); break;
	case SETTING_ENUM: setting_read_enum(s, field, value, r); break;
	case SETTING_CUSTOM: setting_read_custom(s, field, value, r); break;
	case SETTING_GROUP:
		if (settings_expect(value, NODE_MAP, s->key, r))
			settings_read(s->group, object, value, r);
		break;
	case SETTING_READER: break;
	}
}

/* NULL when nothing is near; `other` may be NULL. */
static const char *settings_nearest_of(const struct settings *s, const struct settings *other,
				       const char *word)
{
	const char *a = settings_nearest_key(s, word);
	const char *b = other != NULL ? settings_nearest_key(other, word) : NULL;
	if (a == NULL || b == NULL) return a != NULL ? a : b;
	return settings_distance(word, a) <= settings_distance(word, b) ? a : b;
}

static void settings_report_unknown(const struct settings *s, const struct settings *other,
				    const struct node *n, struct report *r)
{
	if (r->unknown_keys == UNKNOWN_IGNORED) return;
	/* a file may hold a million of them, and the hint is what costs */
	const char *near = report_is_full(r) ? NULL : settings_nearest_of(s, other, n->key);
	if (near != NULL)
		report_error(r, n, AT_KEY, "unknown key '%.80s' (did you mean '%s'?)", n->key,
			     near);
	else report_error(r, n, AT_KEY, "unknown key '%.80s' in %s", n->key, s->title);
}

void settings_read_beside(const struct settings *s, void *object, const struct node *map,
			  const struct settings *other, struct report *r)
{
	NODE_FOREACH (child, map) {
		const struct setting *item = settings_find(s, child->key);
		if (item != NULL) setting_read(item, object, child, r);
		else if (other == NULL || settings_find(other, child->key) == NULL)
			settings_report_unknown(s, other, child, r);
	}
}

void settings_read(const struct settings *s, void *object, const struct node *map, struct report *r)
{
	settings_read_beside(s, object, map, NULL, r);
}

/* --- defaults, copies, the end ---------------------------------------------------------------- */

static bool setting_default(const struct setting *s, void *object, enum setting_dialect d)
{
	const char *text = s->def;
	if (d == SETTING_NUTCRACKER && s->alias_def != NULL) text = s->alias_def;
	if (s->type == SETTING_GROUP) return settings_defaults(s->group, object, d);
	if (text == NULL || text[0] == '(') return true;

	/* the text belongs to the table; nothing below writes to it */
	struct node value = { .kind = node_kind_of_plain(text), .text = (char *)(uintptr_t)text };
	struct report r = { .label = "defaults" };
	setting_read(s, object, &value, &r);
	bool good = report_outcome(&r, NULL) == ERR_NONE;
	report_fini(&r);
	return good;
}

bool settings_defaults(const struct settings *s, void *object, enum setting_dialect d)
{
	for (size_t i = 0; i < s->count; i++)
		if (!setting_default(&s->items[i], object, d)) return false;
	return true;
}

/* Two passes, so that settings_fini never frees a text of `from`. */
bool settings_copy(const struct settings *s, void *object, const void *from)
{
	bool good = true;
	for (size_t i = 0; i < s->count; i++) {
		const struct setting *item = &s->items[i];
		void *field = setting_field(item, object);
		const void *source = setting_field_const(item, from);
		if (item->type == SETTING_GROUP && !settings_copy(item->group, object, from))
			good = false;
		if (item->type == SETTING_CUSTOM && item->ops->copy != NULL &&
		    !item->ops->copy(field, source))
			good = false;
		if (!setting_owns_text(item)) continue;
		const char *text = *(char *const *)source;
		char *copy = text != NULL ? strdup(text) : NULL;
		if (text != NULL && copy == NULL) good = false;
		*(char **)field = copy;
	}
	return good;
}

void settings_fini(const struct settings *s, void *object)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct setting *item = &s->items[i];
		void *field = setting_field(item, object);
		if (item->type == SETTING_GROUP) settings_fini(item->group, object);
		if (item->type == SETTING_CUSTOM && item->ops->fini != NULL) item->ops->fini(field);
		if (!setting_owns_text(item)) continue;
		free(*(char **)field);
		*(char **)field = NULL;
	}
}

/* --- out -------------------------------------------------------------------------------------- */

/* NULL: nothing to write for this option. */
static json_t *setting_to_json(const struct setting *s, const void *object)
{
	const void *field = setting_field_const(s, object);
	const char *text;
	switch (s->type) {
	case SETTING_BOOL: return json_boolean(*(const bool *)field);
	case SETTING_U16: return json_integer(*(const uint16_t *)field);
	case SETTING_U32:
	case SETTING_BYTES32: return json_integer(*(const uint32_t *)field);
	case SETTING_U64:
	case SETTING_BYTES64: return json_integer((json_int_t) * (const uint64_t *)field);
	case SETTING_NAME:
	case SETTING_SECRET:
		text = *(char *const *)field;
		return text != NULL ? json_string(text) : NULL;
	case SETTING_ENUM: return json_string(s->words(*(const unsigned *)field));
	case SETTING_CUSTOM: return s->ops->to_json(field);
	case SETTING_GROUP: return settings_to_json(s->group, object);
	case SETTING_READER: break;
	}
	return NULL;
}

json_t *settings_to_json(const struct settings *s, const void *object)
{
	json_t *out = json_object();
	if (out == NULL) return NULL;
	for (size_t i = 0; i < s->count; i++) {
		json_t *value = setting_to_json(&s->items[i], object);
		bool empty_group =
		    s->items[i].type == SETTING_GROUP && json_object_size(value) == 0;
		if (value == NULL || empty_group) json_decref(value);
		else json_object_set_new(out, s->items[i].key, value);
	}
	return out;
}

static void setting_document_type(const struct setting *s, FILE *out)
{
	char text[200];
	switch (s->type) {
	case SETTING_BOOL: fputs("true, false", out); break;
	case SETTING_U16:
	case SETTING_U32:
	case SETTING_U64:
	case SETTING_BYTES32:
	case SETTING_BYTES64: fputs(setting_range(s, text, sizeof(text)), out); break;
	case SETTING_NAME:
	case SETTING_SECRET: fprintf(out, "text, up to %lld bytes", (long long)s->max); break;
	case SETTING_ENUM: fputs(setting_words(s, text, sizeof(text)), out); break;
	case SETTING_CUSTOM:
	case SETTING_READER: fputs(s->unit, out); return;
	case SETTING_GROUP: fprintf(out, "mapping: see *%s*", s->group->title); return;
	}
	if (s->unit != NULL && *s->unit != '\0') fprintf(out, " (%s)", s->unit);
}

static void setting_document_default(const struct setting *s, FILE *out)
{
	const char *def = s->def != NULL ? s->def : "none";
	if (def[0] == '(') fprintf(out, "%.*s", (int)strlen(def) - 2, def + 1);
	else fputs(def, out);
}

static void setting_document_alias(const struct setting *s, FILE *out)
{
	fputs(" | ", out);
	if (s->alias != NULL) fprintf(out, "`%s`", s->alias);
	if (s->alias_def != NULL) fprintf(out, ", default %s", s->alias_def);
}

void settings_document(const struct settings *s, enum settings_columns columns, FILE *out)
{
	bool aliases = columns == SETTINGS_WITH_ALIASES;
	fprintf(out, "## %s\n\n%s\n\n", s->title, s->intro);
	fprintf(out, "| option | values | default |%s meaning |\n",
		aliases ? " in nutcracker.yml |" : "");
	fprintf(out, "|---|---|---|%s---|\n", aliases ? "---|" : "");
	for (size_t i = 0; i < s->count; i++) {
		const struct setting *item = &s->items[i];
		fprintf(out, "| `%s` | ", item->key);
		setting_document_type(item, out);
		fputs(" | ", out);
		setting_document_default(item, out);
		if (aliases) setting_document_alias(item, out);
		fprintf(out, " | %s |\n", item->help);
	}
	fputc('\n', out);
}
