#include "common/transition.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "common/topology_settings.h"

static const char *const phase_names[PHASE_MAX] = {
	[PHASE_STABLE] = "stable", [PHASE_PREPARE] = "prepare", [PHASE_HOLD] = "hold",
	[PHASE_DUAL] = "dual",	   [PHASE_DRAIN] = "drain",	[PHASE_HOLD_R] = "hold-r",
	[PHASE_DUAL_R] = "dual-r", [PHASE_DRAIN_R] = "drain-r",
};

const char *phase_name(enum phase p)
{
	return (unsigned)p < PHASE_MAX ? phase_names[p] : NULL;
}

enum phase transition_phase(const struct transition_rules *t, struct slice routed)
{
	return t->phases[XXH3_64bits(routed.p, routed.n) >> 60];
}

bool transition_is_whole(const struct transition_rules *t)
{
	for (int i = 1; i < TRANSITION_SLICES; i++)
		if (t->phases[i] != t->phases[0]) return false;
	return true;
}

void transition_set_phase(struct transition_rules *t, enum phase p)
{
	for (int i = 0; i < TRANSITION_SLICES; i++) t->phases[i] = p;
}

bool transition_is_lost(const struct transition_rules *t, const char *server)
{
	for (uint32_t i = 0; i < t->lost_count; i++)
		if (strcmp(t->lost[i], server) == 0) return true;
	return false;
}

/* --- phases: one word, or one for each slice ---------------------------------------------------
 */

static bool phase_read(const struct node *n, enum phase *out, char *why, size_t cap)
{
	const char *text = n->kind == NODE_STRING ? n->text : "";
	for (unsigned p = 0; p < PHASE_MAX; p++) {
		if (strcmp(text, phase_names[p]) != 0) continue;
		*out = (enum phase)p;
		return true;
	}
	snprintf(why, cap, "must be a phase such as prepare, hold, dual or drain");
	return false;
}

static struct transition_rules *rules_of(void *phases)
{
	return (struct transition_rules *)(void *)((char *)phases -
						   offsetof(struct transition_rules, phases));
}

static const struct transition_rules *rules_of_const(const void *phases)
{
	return (const struct transition_rules *)(const void *)((const char *)phases -
							       offsetof(struct transition_rules,
									phases));
}

static bool phase_set(void *field, const struct node *value, char *why, size_t cap)
{
	enum phase p;
	if (!phase_read(value, &p, why, cap)) return false;
	transition_set_phase(rules_of(field), p);
	return true;
}

static json_t *phase_to_json(const void *field)
{
	const struct transition_rules *t = rules_of_const(field);
	return transition_is_whole(t) ? json_string(phase_name(t->phases[0])) : NULL;
}

static bool slices_set(void *field, const struct node *value, char *why, size_t cap)
{
	enum phase phases[TRANSITION_SLICES];
	if (value->kind == NODE_NULL) return true;
	if (value->kind != NODE_LIST || value->count != TRANSITION_SLICES) {
		snprintf(why, cap, "must be a list of %d phases", TRANSITION_SLICES);
		return false;
	}
	NODE_FOREACH (child, value)
		if (!phase_read(child, &phases[child->index], why, cap)) return false;
	memcpy(rules_of(field)->phases, phases, sizeof(phases));
	return true;
}

static json_t *slices_to_json(const void *field)
{
	const struct transition_rules *t = rules_of_const(field);
	json_t *list = transition_is_whole(t) ? NULL : json_array();
	for (int i = 0; list && i < TRANSITION_SLICES; i++)
		json_array_append_new(list, json_string(phase_name(t->phases[i])));
	return list;
}

static const struct setting_ops phase_ops = { .set = phase_set, .to_json = phase_to_json };
static const struct setting_ops slices_ops = { .set = slices_set, .to_json = slices_to_json };

/* --- mode ------------------------------------------------------------------------------------- */

static bool mode_set(void *field, const struct node *value, char *why, size_t cap)
{
	const char *text = value->kind == NODE_STRING ? value->text : "";
	bool storage = strcmp(text, "storage") == 0;
	if (!storage && strcmp(text, "cache") != 0) {
		snprintf(why, cap, "must be cache or storage");
		return false;
	}
	*(bool *)field = storage;
	return true;
}

static json_t *mode_to_json(const void *field)
{
	return json_string(*(const bool *)field ? "storage" : "cache");
}

static const struct setting_ops mode_ops = { .set = mode_set, .to_json = mode_to_json };

/* --- lost servers: two fields, written as one list ---------------------------------------------
 */

static struct transition_rules *lost_owner(void *field)
{
	return (struct transition_rules *)(void *)((char *)field -
						   offsetof(struct transition_rules, lost));
}

static const struct transition_rules *lost_owner_const(const void *field)
{
	return (
	    const struct transition_rules *)(const void *)((const char *)field -
							   offsetof(struct transition_rules, lost));
}

static void lost_fini(void *field)
{
	struct transition_rules *t = lost_owner(field);
	for (uint32_t i = 0; i < t->lost_count; i++) free(t->lost[i]);
	free(t->lost);
	t->lost = NULL;
	t->lost_count = 0;
}

static bool lost_reserve(struct transition_rules *t, uint32_t count)
{
	t->lost = calloc(count + 1, sizeof(*t->lost));
	t->lost_count = 0;
	return t->lost != NULL;
}

static bool lost_add(struct transition_rules *t, const char *name)
{
	char *copy = strdup(name);
	if (!copy) return false;
	t->lost[t->lost_count++] = copy;
	return true;
}

static bool lost_set(void *field, const struct node *value, char *why, size_t cap)
{
	struct transition_rules *t = lost_owner(field);
	bool good = value->kind == NODE_LIST;
	if (good)
		NODE_FOREACH (child, value) good &= child->kind == NODE_STRING;
	if (!good) {
		snprintf(why, cap, "must be a list of servers' names");
		return false;
	}
	lost_fini(field);
	good = lost_reserve(t, value->count);
	NODE_FOREACH (child, value) good = good && lost_add(t, child->text);
	if (!good) snprintf(why, cap, "%s", err_text(ERR_NOMEM));
	return good;
}

static json_t *lost_to_json(const void *field)
{
	const struct transition_rules *t = lost_owner_const(field);
	json_t *list = t->lost_count ? json_array() : NULL;
	for (uint32_t i = 0; list && i < t->lost_count; i++)
		json_array_append_new(list, json_string(t->lost[i]));
	return list;
}

static bool lost_copy(void *field, const void *from)
{
	const struct transition_rules *f = lost_owner_const(from);
	struct transition_rules *t = lost_owner(field);
	bool good = lost_reserve(t, f->lost_count);
	for (uint32_t i = 0; good && i < f->lost_count; i++) good = lost_add(t, f->lost[i]);
	return good;
}

static const struct setting_ops lost_ops = {
	.set = lost_set, .to_json = lost_to_json, .fini = lost_fini, .copy = lost_copy
};

/* --- the table -------------------------------------------------------------------------------- */

/* clang-format off */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FIELD(name) .offset = offsetof(struct transition_rules, name)

static const struct setting rules_items[] = {
	{ .key = "phase", .type = SETTING_CUSTOM, FIELD(phases), .ops = &phase_ops },
	{ .key = "slices", .type = SETTING_CUSTOM, FIELD(phases), .ops = &slices_ops },
	{ .key = "mode", .type = SETTING_CUSTOM, FIELD(storage), .ops = &mode_ops },
	{ .key = "promote", .type = SETTING_BOOL, FIELD(promote), .def = "false" },
	{ .key = "mark", .type = SETTING_NAME, FIELD(mark), .max = 40 },
	{ .key = "lost", .type = SETTING_CUSTOM, FIELD(lost), .ops = &lost_ops },
	{ .key = "hold_park_ms", .type = SETTING_U32, FIELD(hold_park_ms), .max = 60000,
	  .def = "250" },
	{ .key = "move_max_bytes", .type = SETTING_U64, FIELD(move_max_bytes), .max = INT64_MAX,
	  .def = "67108864" },
};
#undef FIELD

const struct settings transition_rules_settings = {
	.title = "transition", .items = rules_items, .count = COUNT(rules_items),
};
/* clang-format on */
