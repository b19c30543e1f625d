#include "common/ctlmsg.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json_text.h"

static json_t *ctlmsg_must(json_t *j)
{
	if (!j) abort(); /* messages are small, or were made from what is in memory already */
	return j;
}

static enum err ctlmsg_invalid(struct err_at *where_out, const char *where, const char *why)
{
	snprintf(where_out->where, sizeof(where_out->where), "%s", where);
	snprintf(where_out->why, sizeof(where_out->why), "%s", why);
	return ERR_INVALID;
}

enum err ctlmsg_parse(struct slice line, struct ctlmsg *out, struct err_at *where_out)
{
	json_error_t e;
	*out = (struct ctlmsg){ .id = json_null() };
	out->doc = json_text_read(line, JSON_REJECT_DUPLICATES, &e);
	if (!out->doc) {
		snprintf(where_out->where, sizeof(where_out->where), "column %d", e.column);
		snprintf(where_out->why, sizeof(where_out->why), "%s", e.text);
		return ERR_INVALID;
	}
	if (!json_is_object(out->doc)) return ctlmsg_invalid(where_out, "$", "not an object");
	const json_t *id = json_object_get(out->doc, "id");
	if (id && !json_is_integer(id) && !json_is_string(id) && !json_is_null(id))
		return ctlmsg_invalid(where_out, "$.id", "not a number or a string");
	if (id) out->id = id;
	const char *key;
	json_t *value;
	json_object_foreach (out->doc, key, value) {
		if (strcmp(key, "id") && strcmp(key, "method") && strcmp(key, "params"))
			return ctlmsg_invalid(where_out, "$",
					      "only id, method and params are expected");
	}
	out->method = json_string_value(json_object_get(out->doc, "method"));
	if (!out->method) return ctlmsg_invalid(where_out, "$.method", "not a string");
	json_t *params = json_object_get(out->doc, "params");
	if (params && !json_is_object(params) && !json_is_null(params))
		return ctlmsg_invalid(where_out, "$.params", "not an object");
	out->params = json_is_object(params) ? json_incref(params) : ctlmsg_must(json_object());
	return ERR_NONE;
}

void ctlmsg_fini(struct ctlmsg *m)
{
	json_decref(m->params);
	json_decref(m->doc);
	*m = (struct ctlmsg){ 0 };
}

/* A copy of the id: the message it is from may go first. */
static json_t *ctlmsg_id(const json_t *id)
{
	return ctlmsg_must(json_deep_copy(id ? id : json_null()));
}

json_t *ctlmsg_result(const json_t *id, json_t *result)
{
	return ctlmsg_must(json_pack("{s:o, s:o}", "id", ctlmsg_id(id), "result",
				     result ? result : json_object()));
}

json_t *ctlmsg_error(const json_t *id, const char *code, const struct err_at *at)
{
	/* Reasons may quote what was sent: '?' for what is not UTF-8. */
	json_t *why = json_string(at->why), *where = json_string(at->where);
	if (!why) why = json_string("?");
	if (!where) where = json_string("?");
	json_t *error = ctlmsg_must(json_pack("{s:s, s:o}", "code", code, "message", why));
	if (at->where[0]) json_object_set_new(error, "where", where);
	else json_decref(where);
	return ctlmsg_must(json_pack("{s:o, s:o}", "id", ctlmsg_id(id), "error", error));
}

const char *ctlmsg_code(enum err e)
{
	static const char *const codes[ERR_MAX] = {
#define CODE(name, text) [name] = &#name[4], /* without "ERR_" */
		ERR_TABLE(CODE)
#undef CODE
	};
	return (unsigned)e < ERR_MAX ? codes[e] : "UNKNOWN";
}

json_t *ctlmsg_protocol(void)
{
	return ctlmsg_must(json_pack("[i, i]", CTLMSG_PROTOCOL_MIN, CTLMSG_PROTOCOL_MAX));
}

uint32_t ctlmsg_agree(const json_t *theirs, char *why_out, size_t size)
{
	if (!theirs) return 1;
	const json_t *low = json_array_get(theirs, 0), *high = json_array_get(theirs, 1);
	json_int_t min = json_integer_value(low), max = json_integer_value(high);
	if (!json_is_integer(low) || !json_is_integer(high) || min < 1 || max < min) {
		snprintf(why_out, size, "versions of the control protocol: not [LOWEST, HIGHEST]");
		return 0;
	}
	json_int_t best = max < CTLMSG_PROTOCOL_MAX ? max : CTLMSG_PROTOCOL_MAX;
	if (best >= min && best >= CTLMSG_PROTOCOL_MIN) return (uint32_t)best;
	snprintf(why_out, size, "speaks versions %lld to %lld of the control protocol, we %d to %d",
		 (long long)min, (long long)max, CTLMSG_PROTOCOL_MIN, CTLMSG_PROTOCOL_MAX);
	return 0;
}

void ctlmsg_put(const json_t *message, struct scratch *out)
{
	json_text_write(message, JSON_COMPACT | JSON_ENCODE_ANY, out);
	scratch_puts(out, SLICE("\n"));
}
