#include "common/prom.h"

#include <stdarg.h>

/* --- text ------------------------------------------------------------------------------------- */

/* Length of the UTF-8 character at p (1..4), or 0. Overlong forms and surrogates pass: names come
 * through a YAML or JSON parser that refuses them. */
static size_t prom_utf8_length(const unsigned char *p)
{
	size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : 4;
	if (n == 4 && (*p & 0xf8) != 0xf0) return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80) return 0;
	return n;
}

void prom_put_escaped(struct scratch *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p;) {
		size_t n = prom_utf8_length(p);
		if (n == 0) {
			scratch_puts(out, SLICE("?"));
			n = 1;
		} else if (*p == '"' || *p == '\\') {
			scratch_printf(out, "\\%c", *p);
		} else if (*p == '\n') {
			scratch_puts(out, SLICE("\\n"));
		} else if (*p < 0x20) {
			scratch_puts(out, SLICE("?")); /* Prometheus has no escape for it */
		} else {
			scratch_put(out, p, n);
		}
		p += n;
	}
}

/* --- lines --------------------------------------------------------------------------------------
 */

void prom_series(struct scratch *out, const char *name, const char *suffix, ...)
{
	va_list args;
	const char *label, *before = "{";
	scratch_puts(out, slice_of(name));
	scratch_puts(out, slice_of(suffix));
	va_start(args, suffix);
	while ((label = va_arg(args, const char *))) {
		scratch_printf(out, "%s%s=\"", before, label);
		prom_put_escaped(out, va_arg(args, const char *));
		scratch_puts(out, SLICE("\""));
		before = ",";
	}
	va_end(args);
	scratch_puts(out, *before == ',' ? SLICE("} ") : SLICE(" "));
}

void prom_value(struct scratch *out, uint64_t v)
{
	scratch_put_u64(out, v);
	scratch_puts(out, SLICE("\n"));
}

void prom_seconds(struct scratch *out, uint64_t us)
{
	scratch_printf(out, "%lu.%06lu\n", (unsigned long)(us / 1000000),
		       (unsigned long)(us % 1000000));
}

void prom_head(struct scratch *out, const char *name, const char *type, const char *help)
{
	scratch_printf(out, "# HELP %s ", name);
	prom_put_escaped(out, help);
	scratch_printf(out, "\n# TYPE %s %s\n", name, type);
}
