#include "agent/ctl/walk.h"

#include "agent/ctl/out.h"
#include "common/transition.h"

static json_t *lost_json(const struct transition_rules *r)
{
	json_t *out = json_array();
	for (uint32_t i = 0; i < r->lost_count; i++)
		json_array_append_new(out, json_string(r->lost[i]));
	return out;
}

/* {"dual": 3, "hold": 1, ...} */
static json_t *slices_json(const struct transition_rules *r)
{
	json_t *out = json_object();
	for (int i = 0; i < TRANSITION_SLICES; i++) {
		const char *name = phase_name(r->phases[i]);
		json_int_t n = json_integer_value(json_object_get(out, name));
		json_object_set_new(out, name, json_integer(n + 1));
	}
	return out;
}

json_t *walk_json(const struct view *v)
{
	const struct state_transition *t = v->has_state ? v->state.transition : NULL;
	if (!t) return json_pack("{s:s, s:s}", "pool", v->name, "phase", "stable");
	json_t *told = json_object_get(v->status, "transition");
	bool fresh =
	    json_integer_value(json_object_get(v->status, "epoch")) == (json_int_t)v->state.epoch &&
	    json_integer_value(json_object_get(v->status, "step")) == v->state.step;
	bool whole = transition_is_whole(&t->rules);
	json_t *out =
	    json_pack("{s:s, s:I, s:I, s:s, s:s, s:b, s:s, s:s, s:s, s:o}", "pool", v->name,
		      "epoch", (json_int_t)v->state.epoch, "step", (json_int_t)v->state.step,
		      "phase", whole ? phase_name(t->rules.phases[0]) : "rolling", "goal",
		      t->back ? "back" : "forward", "paused", t->paused, "mode",
		      t->rules.storage ? "storage" : "cache", "from", v->state.ring, "to", t->next,
		      "lost", lost_json(&t->rules));
	if (!whole) json_object_set_new(out, "slices", slices_json(&t->rules));
	json_t *blocked = fresh ? json_object_get(told, "blocked_on") : NULL;
	json_t *job = fresh ? json_object_get(told, "job") : NULL;
	json_t *hits = fresh ? json_object_get(told, "hit_percent") : NULL;
	json_object_set_new(out, "hit_percent", hits ? json_incref(hits) : json_null());
	json_object_set_new(out, "blocked_on", blocked ? json_incref(blocked) : json_array());
	json_object_set_new(out, "job", job ? json_incref(job) : json_null());
	return out;
}

static void print_job(const char *pool, const json_t *job)
{
	static const char *const figures[] = { "scanned", "moved", "deleted", "left",
					       "rate",	  "eta_s", "errors" };
	char text[300];
	int n = snprintf(text, sizeof(text), "%s", out_string(job, "kind"));
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		const json_t *v = json_object_get(job, figures[i]);
		if (json_is_number(v) && json_number_value(v) > 0)
			n += snprintf(text + n, sizeof(text) - (size_t)n, ", %s %.0f", figures[i],
				      json_number_value(v));
	}
	out_line("%s: %s", pool, text);
}

static void print_one(const json_t *w)
{
	const char *pool = out_string(w, "pool"), *name;
	json_t *e, *job = json_object_get(w, "job");
	size_t i;
	if (strcmp(out_string(w, "phase"), "stable") == 0) return;
	out_line("%s: transition %lld.%lld, %s, %s%s", pool,
		 (long long)json_integer_value(json_object_get(w, "epoch")),
		 (long long)json_integer_value(json_object_get(w, "step")), out_string(w, "phase"),
		 out_string(w, "goal"),
		 json_is_true(json_object_get(w, "paused")) ? ", paused" : "");
	json_object_foreach (json_object_get(w, "slices"), name, e)
		out_line("%s: %lld of %d slices in %s", pool, (long long)json_integer_value(e),
			 TRANSITION_SLICES, name);
	if (json_is_integer(json_object_get(w, "hit_percent")))
		out_line("%s: hits %lld %%", pool,
			 (long long)json_integer_value(json_object_get(w, "hit_percent")));
	json_array_foreach (json_object_get(w, "lost"), i, e)
		out_line("%s: server %s is lost", pool, json_string_value(e));
	json_array_foreach (json_object_get(w, "blocked_on"), i, e)
		if (json_is_string(e)) out_line("%s: waits for %s", pool, json_string_value(e));
	if (json_is_object(job)) print_job(pool, job);
}

void walk_print(const json_t *all)
{
	size_t i;
	json_t *w;
	unsigned moving = 0;
	json_array_foreach (all, i, w) {
		moving += strcmp(out_string(w, "phase"), "stable") != 0;
		print_one(w);
	}
	if (!moving) out_line("no pool is in transition");
}
