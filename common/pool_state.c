#include "common/pool_state.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/ring_body.h"
#include "common/settings.h"
#include "common/topology_settings.h"

#define SERVER_NAME_MAX (NAME_BYTES_MAX + 6) /* host:port */

/* --- tables ----------------------------------------------------------------------------------- */

static bool ring_set(void *field, const struct node *value, char *why, size_t cap)
{
	if (value->kind == NODE_STRING && ring_hex_is_valid(value->text)) {
		memcpy(field, value->text, RING_HEX_CHARS + 1);
		return true;
	}
	snprintf(why, cap, "must be a ring's name, %d hexadecimal digits", RING_HEX_CHARS);
	return false;
}

static json_t *ring_to_json(const void *field)
{
	return json_string(field);
}

static const struct setting_ops ring_ops = { .set = ring_set, .to_json = ring_to_json };

/* clang-format off */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define FIELD(name) .offset = offsetof(struct pool_state, name)

static const struct setting state_items[] = {
	{ .key = "lineage", .type = SETTING_NAME, FIELD(lineage), .min = 1, .max = NAME_BYTES_MAX },
	{ .key = "epoch", .type = SETTING_U64, FIELD(epoch), .max = INT64_MAX },
	{ .key = "step", .type = SETTING_U32, FIELD(step), .max = UINT32_MAX },
	{ .key = "ring", .type = SETTING_CUSTOM, FIELD(ring), .ops = &ring_ops },
	{ .key = "ejected", .type = SETTING_READER },
	{ .key = "spec_version", .type = SETTING_U64, FIELD(spec_version), .max = INT64_MAX },
	{ .key = "lease_ms", .type = SETTING_U32, FIELD(lease_ms), .max = NUMBER_MAX },
};
#undef FIELD

static const struct settings state_settings = {
	.title = "state", .items = state_items, .count = COUNT(state_items),
};

#define FIELD(name) .offset = offsetof(struct ejection, name)

static const struct setting ejection_items[] = {
	{ .key = "server", .type = SETTING_NAME, FIELD(server), .min = 1, .max = SERVER_NAME_MAX },
	{ .key = "since", .type = SETTING_U64, FIELD(since_ms), .max = INT64_MAX },
	{ .key = "held", .type = SETTING_BOOL, FIELD(held) },
	{ .key = "returning", .type = SETTING_BOOL, FIELD(returning) },
	{ .key = "why", .type = SETTING_SECRET, FIELD(why), .max = POOL_STATE_BYTES_MAX },
};
#undef FIELD

#define FIELD(name) .offset = offsetof(struct state_transition, name)

static const struct setting transition_items[] = {
	{ .key = "next", .type = SETTING_CUSTOM, FIELD(next), .ops = &ring_ops },
	{ .key = "dirty", .type = SETTING_BOOL, FIELD(dirty) },
	{ .key = "back", .type = SETTING_BOOL, FIELD(back) },
	{ .key = "paused", .type = SETTING_BOOL, FIELD(paused) },
};
#undef FIELD

static const struct settings transition_settings = {
	.title = "transition", .items = transition_items, .count = COUNT(transition_items),
};

static const struct settings ejection_settings = {
	.title = "ejection", .items = ejection_items, .count = COUNT(ejection_items),
};
/* clang-format on */

/* --- in --------------------------------------------------------------------------------------- */

static void ejection_read(struct pool_state *s, const struct node *n, struct report *r)
{
	if (!settings_expect(n, NODE_MAP, "ejection", r)) return;
	struct ejection *e = &s->ejected[s->ejected_count++];
	settings_read(&ejection_settings, e, n, r);
	if (node_get(n, "server") == NULL) report_error(r, n, AT_VALUE, "'server' is missing");
	for (uint32_t i = 0; e->server != NULL && i + 1 < s->ejected_count; i++)
		if (s->ejected[i].server != NULL && strcmp(s->ejected[i].server, e->server) == 0)
			report_error(r, n, AT_VALUE, "'%.80s' is ejected twice", e->server);
}

static void state_read_ejected(struct pool_state *s, const struct node *doc, struct report *r)
{
	const struct node *list = node_get(doc, "ejected");
	if (list == NULL || !settings_expect(list, NODE_LIST, "ejected", r)) return;
	s->ejected = calloc(list->count + 1, sizeof(*s->ejected));
	if (s->ejected == NULL) {
		r->nomem = true;
		return;
	}
	NODE_FOREACH (child, list) ejection_read(s, child, r);
}

static struct state_transition *transition_new(void)
{
	struct state_transition *t = calloc(1, sizeof(*t));
	if (t == NULL || settings_defaults(&transition_rules_settings, &t->rules, SETTING_NATIVE))
		return t;
	free(t);
	return NULL;
}

static void state_read_transition(struct pool_state *s, const struct node *doc, struct report *r)
{
	const struct node *n = node_get(doc, "transition");
	if (n == NULL || n->kind == NODE_NULL) return;
	if (!settings_expect(n, NODE_MAP, "transition", r)) return;
	struct state_transition *t = s->transition = transition_new();
	if (t == NULL) {
		r->nomem = true;
		return;
	}
	if (node_get(n, "next") == NULL) report_error(r, n, AT_VALUE, "'next' is missing");
	settings_read_beside(&transition_rules_settings, &t->rules, n, &transition_settings, r);
	settings_read_beside(&transition_settings, t, n, &transition_rules_settings, r);
	if (strcmp(t->next, s->ring) == 0 && !pool_state_is_returning(s))
		report_error(r, n, AT_VALUE, "'next' is the ring that is in force already");
}

static void state_read(struct pool_state *s, const struct node *doc, struct report *r)
{
	if (!settings_expect(doc, NODE_MAP, "state", r)) return;
	for (size_t i = 0; i < state_settings.count; i++)
		if (node_get(doc, state_items[i].key) == NULL)
			report_error(r, doc, AT_VALUE, "'%s' is missing", state_items[i].key);
	settings_read(&state_settings, s, doc, r);
	state_read_ejected(s, doc, r);
	state_read_transition(s, doc, r);
}

static json_t *state_load(struct slice text, struct report *r)
{
	json_error_t e;
	if (text.n == 0 || text.n > POOL_STATE_BYTES_MAX) {
		report_error(r, NULL, AT_VALUE, "a state has 1 to %d bytes, not %zu",
			     POOL_STATE_BYTES_MAX, text.n);
		return NULL;
	}
	json_t *doc = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (doc == NULL)
		report_error(r, NULL, AT_VALUE, "line %d, column %d: %s", e.line, e.column, e.text);
	return doc;
}

enum err pool_state_parse(struct slice text, struct pool_state *out, struct err_at *where_out)
{
	struct report r = { .unknown_keys = UNKNOWN_IGNORED };
	*out = (struct pool_state){ 0 };
	json_t *doc = state_load(text, &r);
	struct node *root = doc != NULL ? node_from_json(doc, &r) : NULL;
	if (root != NULL) state_read(out, root, &r);
	node_free(&root);
	json_decref(doc);

	if (where_out != NULL) *where_out = (struct err_at){ "$", "" };
	enum err e = report_outcome(&r, where_out);
	report_fini(&r);
	if (e != ERR_NONE) pool_state_fini(out);
	return e;
}

/* --- out -------------------------------------------------------------------------------------- */

enum detail { DETAIL_ALL, DETAIL_SINCE, DETAIL_NAMES, DETAIL_MAX };

static json_t *ejection_to_json(const struct ejection *e, enum detail detail)
{
	json_t *out = json_pack("{s:s}", "server", e->server);
	if (e->held) json_object_set_new(out, "held", json_true());
	if (e->returning) json_object_set_new(out, "returning", json_true());
	if (detail <= DETAIL_SINCE && e->since_ms > 0)
		json_object_set_new(out, "since", json_integer((json_int_t)e->since_ms));
	/* without a reason when it is no UTF-8 */
	if (detail <= DETAIL_ALL && e->why != NULL)
		json_object_set_new(out, "why", json_string(e->why));
	return out;
}

static json_t *transition_to_json(const struct state_transition *t)
{
	json_t *out = settings_to_json(&transition_settings, t);
	json_t *rules = settings_to_json(&transition_rules_settings, &t->rules);
	bool good = out != NULL && rules != NULL && json_object_update(out, rules) == 0;
	json_decref(rules);
	if (good) return out;
	json_decref(out);
	return NULL;
}

/* NULL: no memory, or text that is no UTF-8. */
static json_t *state_to_json(const struct pool_state *s, enum detail detail)
{
	json_t *ejected = json_array(), *out = settings_to_json(&state_settings, s);
	int failed = 0;
	for (uint32_t i = 0; i < s->ejected_count; i++)
		failed |= json_array_append_new(ejected, ejection_to_json(&s->ejected[i], detail));
	failed |= json_object_set_new(out, "ejected", ejected);
	if (s->transition != NULL)
		failed |= json_object_set_new(out, "transition", transition_to_json(s->transition));
	if (!failed) return out;
	json_decref(out);
	return NULL;
}

enum err pool_state_print(const struct pool_state *s, struct scratch *out)
{
	scratch_clear(out);
	for (unsigned detail = DETAIL_ALL; detail < DETAIL_MAX; detail++) {
		json_t *doc = state_to_json(s, (enum detail)detail);
		if (doc == NULL) return ERR_NOMEM;
		char *to = scratch_reserve(out, POOL_STATE_BYTES_MAX);
		size_t n = json_dumpb(doc, to, POOL_STATE_BYTES_MAX, JSON_COMPACT);
		json_decref(doc);
		if (n == 0) return ERR_NOMEM;
		if (n > POOL_STATE_BYTES_MAX) continue;
		out->n = n;
		return ERR_NONE;
	}
	return ERR_INVALID;
}

/* --- order ------------------------------------------------------------------------------------ */

enum pool_state_order pool_state_compare(const struct pool_state *a, const struct pool_state *b)
{
	if (a->lineage == NULL || b->lineage == NULL || strcmp(a->lineage, b->lineage) != 0)
		return POOL_STATE_FOREIGN;
	if (a->epoch != b->epoch) return a->epoch < b->epoch ? POOL_STATE_LOWER : POOL_STATE_HIGHER;
	if (a->step != b->step) return a->step < b->step ? POOL_STATE_LOWER : POOL_STATE_HIGHER;
	return POOL_STATE_EQUAL;
}

/* --- building --------------------------------------------------------------------------------- */

const struct ejection *pool_state_ejection(const struct pool_state *s, const char *server)
{
	for (uint32_t i = 0; i < s->ejected_count; i++)
		if (strcmp(s->ejected[i].server, server) == 0) return &s->ejected[i];
	return NULL;
}

bool pool_state_is_returning(const struct pool_state *s)
{
	for (uint32_t i = 0; i < s->ejected_count; i++)
		if (s->ejected[i].returning) return true;
	return false;
}

bool pool_state_set_lineage(struct pool_state *s, const char *lineage)
{
	char *copy = strdup(lineage);
	if (copy == NULL) return false;
	free(s->lineage);
	s->lineage = copy;
	return true;
}

bool pool_state_eject(struct pool_state *s, const char *server, uint64_t since_ms, const char *why)
{
	if (pool_state_ejection(s, server) != NULL) return true;
	struct ejection *more = realloc(s->ejected, (s->ejected_count + 1) * sizeof(*more));
	if (more == NULL) return false;
	s->ejected = more;

	struct ejection e = { .since_ms = since_ms };
	e.server = strdup(server);
	e.why = why != NULL ? strdup(why) : NULL;
	if (e.server == NULL || (why != NULL && e.why == NULL)) {
		settings_fini(&ejection_settings, &e);
		return false;
	}
	s->ejected[s->ejected_count++] = e;
	return true;
}

void pool_state_restore(struct pool_state *s, const char *server)
{
	const struct ejection *found = pool_state_ejection(s, server);
	if (found == NULL) return;
	uint32_t i = (uint32_t)(found - s->ejected);
	settings_fini(&ejection_settings, &s->ejected[i]);
	memmove(&s->ejected[i], &s->ejected[i + 1], (--s->ejected_count - i) * sizeof(*s->ejected));
}

bool pool_state_begin_transition(struct pool_state *s, const char *next, enum phase phase)
{
	pool_state_end_transition(s);
	s->transition = transition_new();
	if (s->transition == NULL) return false;
	snprintf(s->transition->next, sizeof(s->transition->next), "%s", next);
	transition_set_phase(&s->transition->rules, phase);
	return true;
}

void pool_state_end_transition(struct pool_state *s)
{
	if (s->transition == NULL) return;
	settings_fini(&transition_rules_settings, &s->transition->rules);
	free(s->transition);
	s->transition = NULL;
}

bool pool_state_copy(struct pool_state *to, const struct pool_state *from)
{
	*to = *from;
	bool good = settings_copy(&state_settings, to, from);
	to->transition = NULL;
	to->ejected = NULL;
	to->ejected_count = 0;
	if (good && from->transition != NULL) {
		good = (to->transition = malloc(sizeof(*to->transition))) != NULL;
		if (good) *to->transition = *from->transition;
		good = good && settings_copy(&transition_rules_settings, &to->transition->rules,
					     &from->transition->rules);
	}
	for (uint32_t i = 0; good && i < from->ejected_count; i++) {
		const struct ejection *e = &from->ejected[i];
		good = pool_state_eject(to, e->server, e->since_ms, e->why);
		if (good) to->ejected[i].held = e->held;
		if (good) to->ejected[i].returning = e->returning;
	}
	if (!good) pool_state_fini(to);
	return good;
}

void pool_state_fini(struct pool_state *s)
{
	settings_fini(&state_settings, s);
	for (uint32_t i = 0; i < s->ejected_count; i++)
		settings_fini(&ejection_settings, &s->ejected[i]);
	free(s->ejected);
	pool_state_end_transition(s);
	*s = (struct pool_state){ 0 };
}
