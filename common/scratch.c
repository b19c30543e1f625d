#include "common/scratch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

char *scratch_reserve(struct scratch *s, size_t more)
{
	if (s->cap - s->n < more) {
		size_t cap = s->cap ? s->cap : 256;
		while (cap - s->n < more) cap *= 2;
		char *p = realloc(s->p, cap);
		if (!p) abort();
		s->p = p;
		s->cap = cap;
	}
	return s->p + s->n;
}

void scratch_put(struct scratch *s, const void *p, size_t n)
{
	if (n == 0) return;
	memcpy(scratch_reserve(s, n), p, n);
	s->n += n;
}

void scratch_printf(struct scratch *s, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	char *p = scratch_reserve(s, 128);
	int n = vsnprintf(p, s->cap - s->n, format, args);
	if (n > 0 && (size_t)n >= s->cap - s->n) {
		p = scratch_reserve(s, (size_t)n + 1);
		vsnprintf(p, s->cap - s->n, format, again);
	}
	if (n > 0) s->n += (size_t)n;
	va_end(again);
	va_end(args);
}

void scratch_put_u64(struct scratch *s, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);
	do digits[--at] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	scratch_put(s, digits + at, sizeof(digits) - at);
}

static bool is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

void scratch_put_printable(struct scratch *s, struct slice bytes, size_t max)
{
	size_t end = s->n + max;
	for (size_t i = 0; i < bytes.n && s->n < end; i++) {
		char c = bytes.p[i];
		if (is_printable(c) && c != '\\') scratch_put(s, &c, 1);
		else scratch_printf(s, "\\x%02x", (unsigned char)c);
	}
}

void text_make_printable(char *text)
{
	for (; *text; text++)
		if (!is_printable(*text)) *text = '?';
}

void scratch_trim(struct scratch *s, size_t keep)
{
	if (s->cap <= keep) return;
	free(s->p);
	*s = (struct scratch){ 0 };
}

void scratch_fini(struct scratch *s)
{
	free(s->p);
	*s = (struct scratch){ 0 };
}
