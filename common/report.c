#include "common/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Length of the UTF-8 character at `s`, 0 when it is broken or a control character. */
static size_t report_char_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (n == 0 || s[0] > 0xf4 || s[0] < 0x20 || s[0] == 0x7f) return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80) return 0;
	/* overlong forms, surrogates, beyond U+10FFFF, and the C1 controls */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) ||
	    (s[0] == 0xc2 && s[1] < 0xa0))
		return 0;
	return n;
}

/* Messages end on terminals and in JSON: neither may be fed what a file's author chose. */
static void report_make_safe(char *text)
{
	for (unsigned char *s = (unsigned char *)text; *s != '\0';) {
		size_t n = report_char_length(s);
		if (n == 0) *s = '?';
		s += n == 0 ? 1 : n;
	}
}

static bool report_key_is_plain(const char *key)
{
	return *key != '\0' && key[strspn(key, "abcdefghijklmnopqrstuvwxyz"
					       "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] == '\0';
}

/* JSON path of `n`, e.g. $.pools.alpha.servers[2]; cut at the end when too long. */
static size_t report_path(const struct node *n, char *buf, size_t cap)
{
	if (n == NULL || n->parent == NULL) return (size_t)snprintf(buf, cap, "$");
	size_t used = report_path(n->parent, buf, cap);
	if (used >= cap) return cap;
	buf += used;
	cap -= used;
	if (n->key == NULL) return used + (size_t)snprintf(buf, cap, "[%u]", n->index);
	if (!report_key_is_plain(n->key))
		return used + (size_t)snprintf(buf, cap, "[\"%s\"]", n->key);
	return used + (size_t)snprintf(buf, cap, ".%s", n->key);
}

/* A path name too long for `where` keeps its end, which tells files apart. */
static void report_file_place(struct err_at *at, const char *label, uint32_t line, uint32_t column)
{
	char place[32] = "";
	if (line > 0) snprintf(place, sizeof(place), ":%u:%u", line, column);
	size_t room = sizeof(at->where) - strlen(place) - 4;
	size_t n = strlen(label);
	bool cut = n > room;
	snprintf(at->where, sizeof(at->where), "%s%.*s%s", cut ? "..." : "", (int)(cut ? room : n),
		 cut ? label + n - room : label, place);
}

bool report_is_full(const struct report *r)
{
	return r->count == REPORT_ITEMS_MAX;
}

static struct report_item *report_new_item(struct report *r, bool warning)
{
	if (!warning) r->error_count++;
	if (report_is_full(r)) {
		r->dropped++;
		return NULL;
	}
	if (r->count == r->capacity) {
		uint32_t capacity = r->capacity == 0 ? 16 : r->capacity * 2;
		struct report_item *items = realloc(r->items, capacity * sizeof(*items));
		if (items == NULL) {
			r->nomem = true;
			return NULL;
		}
		r->items = items;
		r->capacity = capacity;
	}
	struct report_item *item = &r->items[r->count];
	*item = (struct report_item){ .warning = warning, .order = r->count++ };
	return item;
}

static void report_add(struct report *r, bool warning, const struct node *n, enum report_at where,
		       const char *fmt, va_list ap)
{
	struct report_item *item = report_new_item(r, warning);
	if (item == NULL) return;
	if (n != NULL) {
		bool key = where == AT_KEY && n->key != NULL;
		item->line = key ? n->key_line : n->line;
		item->column = key ? n->key_column : n->column;
	}
	if (r->label != NULL) report_file_place(&item->at, r->label, item->line, item->column);
	else report_path(n, item->at.where, sizeof(item->at.where));
	vsnprintf(item->at.why, sizeof(item->at.why), fmt, ap);
	report_make_safe(item->at.where);
	report_make_safe(item->at.why);
}

void report_error(struct report *r, const struct node *n, enum report_at at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	report_add(r, false, n, at, fmt, ap);
	va_end(ap);
}

void report_warning(struct report *r, const struct node *n, enum report_at at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	report_add(r, true, n, at, fmt, ap);
	va_end(ap);
}

void report_error_line(struct report *r, uint32_t line, uint32_t column, const char *fmt, ...)
{
	struct node place = { .line = line, .column = column };
	va_list ap;
	va_start(ap, fmt);
	report_add(r, false, &place, AT_VALUE, fmt, ap);
	va_end(ap);
}

/* --- duplicate keys --------------------------------------------------------------------------- */

static int report_key_cmp(const void *a, const void *b)
{
	const struct node *x = *(const struct node *const *)a;
	const struct node *y = *(const struct node *const *)b;
	int c = strcmp(x->key, y->key);
	return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

/* Sorting, because a map may hold millions of keys. */
void report_duplicate_keys(struct report *r, const struct node *map, const char *except)
{
	if (map->kind != NODE_MAP || map->count < 2) return;
	const struct node **sorted = malloc(map->count * sizeof(struct node *));
	if (sorted == NULL) {
		r->nomem = true;
		return;
	}
	NODE_FOREACH (child, map) sorted[child->index] = child;
	qsort(sorted, map->count, sizeof(struct node *), report_key_cmp);
	for (uint32_t i = 1, first = 0; i < map->count; i++) {
		if (strcmp(sorted[i]->key, sorted[first]->key) != 0) {
			first = i;
			continue;
		}
		if (except != NULL && strcmp(sorted[i]->key, except) == 0) continue;
		report_error(r, sorted[i], AT_KEY, "duplicate key '%.80s', first given at line %u",
			     sorted[i]->key, sorted[first]->key_line);
	}
	free(sorted);
}

void report_duplicate_keys_deep(struct report *r, const struct node *n)
{
	report_duplicate_keys(r, n, NULL);
	NODE_FOREACH (child, n)
		if (child->first != NULL) report_duplicate_keys_deep(r, child);
}

/* --- the end ---------------------------------------------------------------------------------- */

static int report_item_cmp(const void *a, const void *b)
{
	const struct report_item *x = a, *y = b;
	if (x->line != y->line) return x->line < y->line ? -1 : 1;
	if (x->column != y->column) return x->column < y->column ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

void report_sort(struct report *r)
{
	if (r->count > 1) qsort(r->items, r->count, sizeof(*r->items), report_item_cmp);
}

enum err report_outcome(const struct report *r, struct err_at *first_out)
{
	for (uint32_t i = 0; first_out != NULL && i < r->count; i++) {
		if (r->items[i].warning) continue;
		*first_out = r->items[i].at;
		break;
	}
	if (r->nomem) return ERR_NOMEM;
	return r->error_count > 0 ? ERR_INVALID : ERR_NONE;
}

void report_fini(struct report *r)
{
	free(r->items);
	*r = (struct report){ .label = r->label };
}
