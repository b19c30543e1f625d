#include "common/yaml_emit.h"

#include <ctype.h>
#include <strings.h>

#include "common/node.h"

enum { EMIT_STEP = 2 };

static const char plain_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				  "_./:- ";

/* YAML 1.1 takes these for booleans or null, our own reader and YAML 1.2 do not. */
static bool emit_is_word(const char *text)
{
	static const char *const words[] = { "y",   "n",    "yes",   "no",  "on",
					     "off", "true", "false", "null" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(text, words[i]) == 0) return true;
	return false;
}

/* Nobody may take it for a number, a date, a key or a comment. */
static bool emit_is_plain(const char *text, size_t n)
{
	if (n == 0 || strspn(text, plain_bytes) != n) return false;
	if (!isalnum((unsigned char)text[0]) && text[0] != '/') return false;
	if (text[n - 1] == ' ' || text[n - 1] == ':') return false;
	if (strstr(text, ": ") != NULL || strstr(text, "  ") != NULL) return false;
	if (isdigit((unsigned char)text[0]) &&
	    text[strspn(text, "0123456789abcdefABCDEFxXoO_.:-")] == '\0')
		return false;
	return !emit_is_word(text) && node_kind_of_plain(text) == NODE_STRING;
}

/* --- in quotes -------------------------------------------------------------------------------- */

/* Characters that YAML takes for breaks, or refuses, unless escaped: 0 when `s` begins none, else
 * its length. The code is in *code_out. */
static size_t emit_escape(const unsigned char *s, unsigned *code_out)
{
	*code_out = s[0];
	if (s[0] < 0x20 || s[0] == 0x7f || s[0] == '"' || s[0] == '\\') return 1;
	*code_out = s[1];
	if (s[0] == 0xc2 && s[1] < 0xa0) return 2;
	if (s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9)) {
		*code_out = 0x2000u | (s[2] & 0x3fu);
		return 3;
	}
	*code_out = 0xfeff;
	return s[0] == 0xef && s[1] == 0xbb && s[2] == 0xbf ? 3 : 0;
}

/* Valid UTF-8, as all texts in JSON are; a NUL within ends it. */
static void emit_quoted(const char *text, struct scratch *out)
{
	scratch_put(out, "\"", 1);
	for (const char *s = text; *s != '\0';) {
		unsigned code;
		size_t n = emit_escape((const unsigned char *)s, &code);
		if (n == 0) scratch_put(out, s, 1);
		else if (code == '"' || code == '\\') scratch_printf(out, "\\%c", (int)code);
		else scratch_printf(out, "\\u%04x", code);
		s += n == 0 ? 1 : n;
	}
	scratch_put(out, "\"", 1);
}

static void emit_flow(const json_t *value, struct scratch *out)
{
	size_t i;
	const char *key, *comma = "";
	json_t *child;
	if (json_is_object(value)) {
		scratch_put(out, "{", 1);
		json_object_foreach ((json_t *)(uintptr_t)value, key, child) {
			scratch_printf(out, "%s", comma);
			emit_quoted(key, out);
			scratch_put(out, ": ", 2);
			emit_flow(child, out);
			comma = ", ";
		}
		scratch_put(out, "}", 1);
	} else if (json_is_array(value)) {
		scratch_put(out, "[", 1);
		json_array_foreach (value, i, child) {
			scratch_printf(out, "%s", comma);
			emit_flow(child, out);
			comma = ", ";
		}
		scratch_put(out, "]", 1);
	} else if (json_is_string(value)) emit_quoted(json_string_value(value), out);
	else {
		size_t n = json_dumpb(value, NULL, 0, JSON_ENCODE_ANY);
		json_dumpb(value, scratch_reserve(out, n), n, JSON_ENCODE_ANY);
		out->n += n;
	}
}

/* --- one line --------------------------------------------------------------------------------- */

static void emit_text(const char *text, enum yaml_style style, struct scratch *out)
{
	if (style == YAML_BLOCK && emit_is_plain(text, strlen(text)))
		scratch_put(out, text, strlen(text));
	else emit_quoted(text, out);
}

void yaml_emit_inline(const json_t *value, enum yaml_style style, struct scratch *out)
{
	if (json_is_string(value)) emit_text(json_string_value(value), style, out);
	else emit_flow(value, out);
}

void yaml_emit_key(const char *key, enum yaml_style style, struct scratch *out)
{
	emit_text(key, style, out);
}

static void emit_list(const json_t *list, unsigned indent, struct scratch *out)
{
	size_t i;
	const json_t *item;
	json_array_foreach (list, i, item) {
		scratch_printf(out, "%*s- ", (int)indent, "");
		yaml_emit_inline(item, YAML_BLOCK, out);
		scratch_put(out, "\n", 1);
	}
}

void yaml_emit(const json_t *doc, unsigned indent, struct scratch *out)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)doc, key, value) {
		scratch_printf(out, "%*s", (int)indent, "");
		yaml_emit_key(key, YAML_BLOCK, out);
		if (json_object_size(value) > 0) {
			scratch_put(out, ":\n", 2);
			yaml_emit(value, indent + EMIT_STEP, out);
		} else if (json_array_size(value) > 0) {
			scratch_put(out, ":\n", 2);
			emit_list(value, indent + EMIT_STEP, out);
		} else {
			scratch_put(out, ": ", 2);
			yaml_emit_inline(value, YAML_BLOCK, out);
			scratch_put(out, "\n", 1);
		}
	}
}
