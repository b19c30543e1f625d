#include "agent/ctl/out.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

/* --- text ------------------------------------------------------------------------------------- */

/* A terminal obeys control characters: C0, DEL and the C1 range in UTF-8. */
static void out_make_safe(char *text)
{
	for (unsigned char *s = (unsigned char *)text; *s != '\0'; s++) {
		if ((*s < 0x20 && *s != '\n') || *s == 0x7f) *s = '?';
		if (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0) s[0] = s[1] = '?';
	}
}

static void out_vprint(FILE *to, const char *before, const char *format, va_list ap)
{
	char *text = NULL;
	if (vasprintf(&text, format, ap) < 0) abort();
	out_make_safe(text);
	fprintf(to, "%s%s\n", before, text);
	free(text);
}

void out_line(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	out_vprint(stdout, "", format, ap);
	va_end(ap);
}

void out_note(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	out_vprint(stderr, "", format, ap);
	va_end(ap);
}

void ctl_say(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	out_vprint(stderr, "twinringctl: ", format, ap);
	va_end(ap);
}

void out_text(struct slice text)
{
	fwrite(text.p, 1, text.n, stdout);
	if (text.n > 0 && text.p[text.n - 1] != '\n') putchar('\n');
}

void out_json(json_t *doc)
{
	json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(doc);
}

void out_json_line(json_t *doc)
{
	json_dumpf(doc, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(doc);
}

const char *out_string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

void out_time(uint64_t ms, char text_out[32])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	if (ms == 0 || localtime_r(&s, &tm) == NULL ||
	    strftime(text_out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(text_out, 32, "-");
}

/* --- problems --------------------------------------------------------------------------------- */

void out_issues(const struct config_issues *issues)
{
	for (uint32_t i = 0; i < issues->count; i++) {
		const struct config_issue *it = &issues->items[i];
		out_note("%s: %s: %s", it->at.where, it->warning ? "warning" : "error", it->at.why);
	}
}

json_t *out_issues_json(const struct config_issues *issues)
{
	json_t *out = json_array();
	for (uint32_t i = 0; i < issues->count; i++) {
		const struct config_issue *it = &issues->items[i];
		json_array_append_new(out, json_pack("{s:s, s:s, s:s}", "where", it->at.where,
						     "severity", it->warning ? "warning" : "error",
						     "why", it->at.why));
	}
	return out;
}

void out_problem(const struct err_at *at)
{
	out_note("%s: error: %s", at->where, at->why);
}

/* --- tables ----------------------------------------------------------------------------------- */

static void table_add(struct table *t, char *cell)
{
	if (t->count == t->capacity) {
		t->capacity = t->capacity == 0 ? 64 : t->capacity * 2;
		char **more = realloc(t->cells, t->capacity * sizeof(*more));
		if (more == NULL) abort();
		t->cells = more;
	}
	out_make_safe(cell);
	for (char *s = cell; *s != '\0'; s++)
		if (*s == '\n') *s = ' ';
	t->cells[t->count++] = cell;
}

void table_text(struct table *t, const char *text)
{
	char *copy = strdup(text != NULL && *text != '\0' ? text : "-");
	if (copy == NULL) abort();
	table_add(t, copy);
}

void table_printf(struct table *t, const char *format, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0) abort();
	va_end(ap);
	table_text(t, text);
	free(text);
}

void table_json(struct table *t, const json_t *value)
{
	if (json_is_integer(value)) table_printf(t, "%lld", (long long)json_integer_value(value));
	else table_text(t, json_string_value(value));
}

void table_begin(struct table *t, const char *const *headings, unsigned columns)
{
	*t = (struct table){ .columns = columns };
	for (unsigned i = 0; i < columns; i++) table_text(t, headings[i]);
}

/* In characters, as far as UTF-8 tells. */
static unsigned table_width(const char *cell)
{
	unsigned n = 0;
	for (; *cell != '\0'; cell++) n += ((unsigned char)*cell & 0xc0) != 0x80;
	return n;
}

static void table_put(const struct table *t)
{
	unsigned width[TABLE_COLUMNS_MAX] = { 0 };
	for (unsigned i = 0; i < t->count; i++) {
		unsigned n = table_width(t->cells[i]), column = i % t->columns;
		if (n > width[column]) width[column] = n;
	}
	for (unsigned i = 0; i < t->count; i++) {
		unsigned column = i % t->columns;
		bool last = column + 1 == t->columns;
		unsigned blanks = last ? 0 : width[column] - table_width(t->cells[i]) + 2;
		printf("%s%*s%s", t->cells[i], (int)blanks, "", last ? "\n" : "");
	}
}

void table_print(struct table *t, const char *none)
{
	if (t->count <= t->columns) printf("%s\n", none);
	else table_put(t);
	for (unsigned i = 0; i < t->count; i++) free(t->cells[i]);
	free(t->cells);
	*t = (struct table){ 0 };
}
