#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/verdict.h"

/* Scenes leave out what does not matter to them. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* Each case is a little play on one pool. In every scene: the time, who finds whom bad ("a:12":
 * nannies 1 and 2 find server a bad), which nannies abstain, the pins ("a" out, "A" in), which
 * servers must be held; then the events that must follow and who must be out afterwards.
 *
 *   +a ejected   -a returned   !a quarantined   P p panic begun, ended   B b blind begun, ended */
struct scene {
	double at_s;
	const char *bad, *abstain, *pins, *events, *out;
	double next_s; /* 0: not looked at; -1: must be none */
	const char *hold, *moved;
};

struct play {
	const char *name;
	uint32_t servers, nannies;
	struct scene scenes[16];
	uint32_t weights[10]; /* 0: 1 */
	struct ejection_spec settings;
	uint32_t suspects, racks, agents; /* of every server that has a vote */
};

#define USUAL                               \
	{                                   \
		20, 10000, 30000, 900000, 3 \
	}
#define FREE                             \
	{                                \
		100, 0, 30000, 900000, 3 \
	}

/* clang-format off */
static const struct play plays[] = {
	{ "one of three ejects nobody, two of three do", 10, 3, {
		{ 0, "a:1", "", "", "", "", -1 },
		{ 1, "a:2", "", "", "", "" },
		{ 2, "a:12", "", "", "+a", "a" },
		{ 3, "a:12", "", "", "", "a" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "a single nanny decides alone", 5, 1, {
		{ 0, "b:1", "", "", "+b", "b" },
		{ 40, "", "", "", "-b", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "of two nannies both must agree, either way", 5, 2, {
		{ 0, "b:1", "", "", "", "" },
		{ 1, "b:12", "", "", "+b", "b" },
		{ 40, "b:1", "", "", "", "b" },
		{ 41, "", "", "", "-b", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "four nannies: three", 5, 4, {
		{ 0, "b:12", "", "", "", "" },
		{ 1, "b:123", "", "", "+b", "b" },
		{ 40, "b:12", "", "", "", "b" },
		{ 41, "b:1", "", "", "-b", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "who abstains or is not registered has no vote", 10, 5, {
		{ 0, "a:129", "", "", "", "" },
		{ 1, "a:123", "3", "", "", "" },
		{ 2, "a:12", "34", "", "+a", "a" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "a vote counts once", 10, 3, {
		{ 0, "a:111", "", "", "", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "no quorum of voters: nothing goes, nothing comes", 10, 3, {
		{ 0, "a:12", "", "", "+a", "a" },
		{ 20, "a:1 b:1", "23", "", "B", "a" },
		{ 60, "", "23", "", "", "a", -1 },
		{ 61, "", "3", "", "b -a", "" },
		{ 70, "b:123", "123", "", "B", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "no nanny at all is not blindness", 3, 0, {
		{ 0, "a:12", "", "", "", "", -1 },
		{ 1, "", "", "a", "+a", "a" },
		{ 2, "", "", "", "-a", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "back only after the back-off", 10, 3, {
		{ 0, "a:12", "", "", "+a", "a" },
		{ 10, "", "", "", "", "a", 30 },
		{ 29.9, "", "", "", "", "a", 30 },
		{ 30, "", "", "", "-a", "", -1 },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "bad for longer than the back-off", 10, 3, {
		{ 0, "a:123", "", "", "+a", "a" },
		{ 31, "a:123", "", "", "", "a", -1 },
		{ 500, "a:12", "", "", "", "a" },
		{ 501, "a:1", "", "", "-a", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "a flapper backs off: 30, 60, 120 s, then quarantine", 10, 1, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 5, "", "", "", "", "a", 30 },
		{ 30, "", "", "", "-a", "" },
		{ 35, "a:1", "", "", "+a", "a" },
		{ 40, "", "", "", "", "a", 95 },
		{ 95, "", "", "", "-a", "" },
		{ 100, "a:1", "", "", "+a", "a" },
		{ 105, "", "", "", "", "a", 220 },
		{ 220, "", "", "", "-a", "" },
		{ 225, "a:1", "", "", "+a !a", "a" },
		{ 900, "", "", "", "", "a", -1 },
		{ 8000, "", "", "", "", "a", -1 },
		{ 8001, "", "", "A", "-a", "" },
		{ 8002, "a:1", "", "", "+a", "a" },
		{ 8003, "", "", "", "", "a", 8032 },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "the back-off decays by one per ten stable minutes", 10, 1, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 30, "", "", "", "-a", "" },
		{ 31, "a:1", "", "", "+a", "a" },
		{ 32, "", "", "", "", "a", 91 },
		{ 91, "", "", "", "-a", "" },
		{ 692, "a:1", "", "", "+a", "a" },
		{ 693, "", "", "", "", "a", 752 },
		{ 752, "", "", "", "-a", "" },
		{ 5000, "a:1", "", "", "+a", "a" },
		{ 5001, "", "", "", "", "a", 5030 },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "the back-off has an upper end", 10, 1, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 30, "", "", "", "-a", "" },
		{ 31, "a:1", "", "", "+a", "a" },
		{ 32, "", "", "", "", "a", 76 },
		{ 76, "", "", "", "-a", "" },
		{ 80, "a:1", "", "", "+a", "a" },
		{ 81, "", "", "", "", "a", 125 },
	}, { 0 }, { 20, 10000, 30000, 45000, 15 }, 0, 0, 0 },
	{ "ejections of more than an hour ago do not lead to quarantine", 10, 1, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 100, "", "", "", "-a", "" },
		{ 1000, "a:1", "", "", "+a", "a" },
		{ 1900, "", "", "", "-a", "" },
		{ 2000, "a:1", "", "", "+a", "a" },
		{ 2900, "", "", "", "-a", "" },
		{ 3700, "a:1", "", "", "+a", "a" },
		{ 4000, "", "", "", "-a", "" },
		{ 4100, "a:1", "", "", "+a !a", "a" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "half of the pool is bad: up to the cap, one per 10 s, then panic", 10, 3, {
		{ 0, "a:123 b:123 c:123 d:123 e:123", "", "", "+a", "a", 10 },
		{ 9.9, "a:123 b:123 c:123 d:123 e:123", "", "", "", "a", 10 },
		{ 10, "a:123 b:123 c:123 d:123 e:123", "", "", "+b P", "a b" },
		{ 20, "a:123 b:123 c:123 d:123 e:123", "", "", "", "a b", -1 },
		{ 25, "a:123 b:1 c:123", "", "", "", "a b", 40 },
		{ 40, "a:123 c:123", "", "", "-b +c p", "a c" },
		{ 50, "", "", "", "-a", "c" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "panic ends when what it kept in recovers", 5, 3, {
		{ 0, "a:123 b:12", "", "", "+a P", "a" },
		{ 20, "a:123", "", "", "p", "a" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "without a quorum a panic stays", 5, 3, {
		{ 0, "a:123 b:12", "", "", "+a P", "a" },
		{ 20, "", "123", "", "B", "a" },
		{ 40, "", "", "", "b -a p", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "the cap is one of weight, though one may always go", 4, 1, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 20, "a:1 b:1", "", "", "P", "a" },
	}, { 7, 1, 1, 1 }, USUAL, 0, 0, 0 },
	{ "the light go first", 10, 1, {
		{ 0, "a:1 b:1 c:1", "", "", "+b", "b", 10 },
		{ 10, "a:1 b:1 c:1", "", "", "+c P", "b c" },
	}, { 2, 1, 1 }, USUAL, 0, 0, 0 },
	{ "most votes go first", 10, 3, {
		{ 0, "a:12 b:123", "", "", "+b", "b", 10 },
		{ 10, "a:12 b:123", "", "", "+a", "a b" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "a pool keeps its last server", 2, 1, {
		{ 0, "a:1 b:1", "", "", "+a P", "a" },
	}, { 0 }, FREE, 0, 0, 0 },
	{ "a pool of one keeps it", 1, 1, {
		{ 0, "a:1", "", "", "P", "" },
		{ 1, "", "", "", "p", "" },
	}, { 0 }, FREE, 0, 0, 0 },
	{ "everything is bad at once", 5, 3, {
		{ 0, "a:123 b:123 c:123 d:123 e:123", "", "", "+a P", "a" },
		{ 100, "a:123 b:123 c:123 d:123 e:123", "", "", "", "a", -1 },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "pinned out at once, whatever the cap says and the nannies find", 3, 3, {
		{ 0, "", "", "ab", "+a +b", "a b", -1 },
		{ 1, "", "123", "ab", "B", "a b" },
		{ 2, "", "123", "b", "-a", "b" },
		{ 3, "", "", "", "b -b", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "what is pinned out fills the cap", 5, 3, {
		{ 0, "", "", "a", "+a", "a" },
		{ 1, "b:123", "", "a", "P", "a" },
		{ 2, "b:123", "", "", "-a +b p", "b" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "unpinned, but bad: it stays out, now by vote", 5, 3, {
		{ 0, "", "", "a", "+a", "a" },
		{ 100, "a:123", "", "", "+a", "a" },
		{ 101, "", "", "", "", "a", 130 },
		{ 130, "", "", "", "-a", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "pinned in: never ejected, and back at once", 5, 3, {
		{ 0, "a:123", "", "A", "", "", -1 },
		{ 1, "a:123", "", "", "+a", "a" },
		{ 2, "a:123", "", "A", "-a", "" },
		{ 3, "a:123", "", "", "", "", 11 },
		{ 11, "a:123", "", "", "+a", "a" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "ejected by vote, then pinned out, then let go", 5, 3, {
		{ 0, "a:123", "", "", "+a", "a" },
		{ 1, "a:123", "", "a", "", "a" },
		{ 2, "", "", "a", "", "a", -1 },
		{ 500, "", "", "a", "", "a" },
		{ 501, "", "", "", "-a", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "quarantine ends with a pin set and removed", 5, 1, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 10, "", "", "", "-a", "" },
		{ 20, "a:1", "", "", "+a !a", "a" },
		{ 100, "", "", "", "", "a" },
		{ 101, "", "", "a", "", "a" },
		{ 102, "", "", "", "-a", "" },
	}, { 0 }, { 20, 0, 1000, 1000, 1 }, 0, 0, 0 },
	{ "another box under the name has no past", 5, 1, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 10, "", "", "", "-a", "" },
		{ 20, "a:1", "", "", "+a !a", "a" },
		{ 21, "a:1", "", "", "", "a", 0, "", "a" },
		{ 22, "", "", "", "-a", "", 0, "", "a" },
	}, { 0 }, { 20, 0, 1000, 1000, 1 }, 0, 0, 0 },
	{ "held until it is flushed", 5, 1, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 30, "", "", "", "", "a=", -1, "a" },
		{ 31, "", "", "A", "", "a=", -1, "a" },
		{ 32, "", "", "", "-a", "" },
		{ 33, "", "", "b", "+b", "b" },
		{ 34, "", "", "", "", "b=", 0, "b" },
		{ 35, "", "", "", "-b", "" },
	}, { 0 }, USUAL, 0, 0, 0 },
	{ "suspected by a third of the agents on two racks: one voter is enough", 10, 3, {
		{ 0, "a:1", "", "", "+a", "a" },
		{ 40, "a:1", "", "", "", "a" },
		{ 41, "", "", "", "-a", "" },
	}, { 0 }, USUAL, 6, 2, 20 },
	{ "suspected on one rack only", 10, 3, { { 0, "a:1", "", "", "", "" } }, { 0 }, USUAL, 20, 1, 20 },
	{ "suspected by too few", 10, 3, { { 0, "a:1", "", "", "", "" } }, { 0 }, USUAL, 6, 2, 21 },
	{ "suspected by four", 10, 3, { { 0, "a:1", "", "", "", "" } }, { 0 }, USUAL, 4, 2, 4 },
	{ "suspected, but nobody may vote", 10, 3, {
		{ 0, "a:1", "23", "", "B", "" } }, { 0 }, USUAL, 20, 2, 20 },
	{ "a clock that was put back delays by the longest back-off at most", 5, 1, {
		{ 9000, "a:1", "", "", "+a", "a" },
		{ 100, "a:1", "", "", "", "a" },
		{ 200, "", "", "", "", "a", 1000 },
		{ 1000, "", "", "", "-a", "" },
		{ 1001, "a:1", "", "", "+a", "a" },
	}, { 0 }, USUAL, 0, 0, 0 },
};
/* clang-format on */

enum { PLAYS = sizeof(plays) / sizeof(plays[0]) };

static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j" };
static const char *const ids[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
static const uint64_t epoch_ms = 1700000000000;

struct stage {
	struct verdict_server servers[10];
	struct verdict_vote votes[10][10];
	struct verdict_nanny nannies[10];
};

static void set_votes(struct stage *st, const char *bad)
{
	for (const char *p = bad; *p; p++) {
		struct verdict_server *s = &st->servers[*p++ - 'a'];
		while (*++p && *p != ' ')
			((struct verdict_vote *)s->votes)[s->vote_count++] =
			    (struct verdict_vote){ ids[*p - '0'], "no answer" };
		if (!*p) break;
	}
}

static struct verdict_input set_stage(const struct play *play, const struct scene *sc,
				      struct stage *st)
{
	memset(st, 0, sizeof(*st));
	for (uint32_t i = 0; i < play->servers; i++) {
		struct verdict_server *s = &st->servers[i];
		bool moved = sc->moved && strchr(sc->moved, names[i][0]);
		s->name = names[i];
		s->address = moved ? "10.0.1.1:11211" : "10.0.0.1:11211";
		s->weight = play->weights[i] ? play->weights[i] : 1;
		s->votes = st->votes[i];
		if (strchr(sc->pins, 'a' + (int)i)) s->pin = PIN_OUT;
		if (strchr(sc->pins, 'A' + (int)i)) s->pin = PIN_IN;
		s->hold = sc->hold && strchr(sc->hold, 'a' + (int)i);
	}
	set_votes(st, sc->bad);
	for (uint32_t i = 0; i < play->servers; i++) {
		if (!st->servers[i].vote_count) continue;
		st->servers[i].suspects = play->suspects;
		st->servers[i].racks = play->racks;
	}
	for (uint32_t i = 0; i < play->nannies; i++)
		st->nannies[i] =
		    (struct verdict_nanny){ ids[i + 1], strchr(sc->abstain, *ids[i + 1]) != NULL };
	return (struct verdict_input){ play->settings, st->servers,   play->servers,
				       st->nannies,    play->nannies, play->agents };
}

static void put(char *to, size_t cap, const char *mark, const char *name)
{
	size_t n = strlen(to);
	snprintf(to + n, cap - n, "%s%s%s", n ? " " : "", mark, name ? name : "");
}

static void check_scene(const struct play *play, const struct scene *sc, const struct stage *st,
			const struct verdict_output *out)
{
	static const char *const marks[] = { "+", "-", "!", "P", "p", "B", "b" };
	char events[200] = "", gone[200] = "";
	for (uint32_t i = 0; i < out->event_count; i++) {
		ck_assert_msg(out->events[i].why[0], "%s: no reason", play->name);
		put(events, sizeof(events), marks[out->events[i].what], out->events[i].server);
	}
	for (uint32_t i = 0; i < play->servers; i++) {
		if (!out->status[i].out) continue;
		put(gone, sizeof(gone), "", st->servers[i].name);
		if (out->status[i].returnable) strcat(gone, "=");
		ck_assert_ptr_nonnull(out->status[i].why);
		ck_assert(out->status[i].why[0]);
	}
	ck_assert_msg(!strcmp(events, sc->events), "%s, at %g: %s, not %s", play->name, sc->at_s,
		      events, sc->events);
	ck_assert_msg(!strcmp(gone, sc->out), "%s, at %g: out: %s, not %s", play->name, sc->at_s,
		      gone, sc->out);
	if (sc->next_s == 0) return;
	double next = out->next_ms ? (double)(out->next_ms - epoch_ms) / 1000 : -1;
	ck_assert_msg(next == sc->next_s, "%s, at %g: next at %g, not %g", play->name, sc->at_s,
		      next, sc->next_s);
}

/* What a coordinator's death does: everything that counts is in the tree. */
static void succeed(struct verdict **v)
{
	json_t *saved = verdict_save(*v);
	char *text = json_dumps(saved, 0);
	json_decref(saved);
	verdict_free(v);
	json_t *read = json_loads(text, 0, NULL);
	free(text);
	*v = verdict_load(read);
	json_decref(read);
}

static void act(const struct play *play, bool successors)
{
	struct verdict *v = verdict_new();
	for (uint32_t i = 0; i < 16; i++) {
		const struct scene *sc = &play->scenes[i];
		if (!sc->bad) break;
		struct stage st;
		struct verdict_output out;
		struct verdict_input in = set_stage(play, sc, &st);
		verdict_decide(v, &in, epoch_ms + (uint64_t)(sc->at_s * 1000 + 0.5), &out);
		check_scene(play, sc, &st, &out);
		if (successors) succeed(&v);
	}
	verdict_free(&v);
	ck_assert_ptr_null(v);
	verdict_free(&v);
}

START_TEST(test_play)
{
	act(&plays[_i], false);
}
END_TEST

START_TEST(test_play_with_successors)
{
	act(&plays[_i], true);
}
END_TEST

/* --- the state in the tree -------------------------------------------------------------------- */

static void decide(struct verdict *v, const struct play *play, const struct scene *sc,
		   struct verdict_output *out)
{
	static struct stage st;
	struct verdict_input in = set_stage(play, sc, &st);
	verdict_decide(v, &in, epoch_ms + (uint64_t)(sc->at_s * 1000), out);
}

static const struct play pool = { .servers = 5, .nannies = 1, .settings = USUAL };

START_TEST(test_saved_form)
{
	struct verdict *v = verdict_new();
	struct verdict_output out;
	decide(v, &pool, &(struct scene){ 0, .bad = "a:1", .abstain = "", .pins = "" }, &out);
	json_t *o = verdict_save(v), *item = json_array_get(json_object_get(o, "ejected"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(item, "server")), "a");
	ck_assert_int_eq(json_integer_value(json_object_get(item, "since")), epoch_ms);
	ck_assert_int_eq(json_integer_value(json_object_get(item, "until")), epoch_ms + 30000);
	ck_assert_int_eq(json_integer_value(json_object_get(item, "level")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(item, "count")), 1);
	ck_assert_str_eq(json_string_value(json_object_get(item, "why")),
			 "1 of 1 nannies: no answer");
	ck_assert(!json_is_true(json_object_get(o, "panic")));
	json_decref(o);
	verdict_free(&v);
}
END_TEST

/* Of a state that only has what people read, the ejection itself must survive. */
START_TEST(test_load_the_least)
{
	json_t *o =
	    json_loads("{\"ejected\": [{\"server\": \"a\"}, {\"since\": 3}, 7, {\"server\": "
		       "\"b\", \"count\": 99, \"level\": -1, \"since\": -5, \"times\": "
		       "[null, -1]}], \"returned\": 5, \"panic\": \"no\"}",
		       0, NULL);
	struct verdict *v = verdict_load(o);
	json_decref(o);
	struct verdict_output out;
	decide(v, &pool, &(struct scene){ 0, "a:1 b:1", "", "", NULL, NULL }, &out);
	ck_assert_uint_eq(out.event_count, 0);
	ck_assert(out.status[0].out && out.status[1].out && !out.status[2].out);
	decide(v, &pool, &(struct scene){ 1, "", "", "", NULL, NULL }, &out);
	ck_assert_uint_eq(out.event_count, 2);
	verdict_free(&v);
	v = verdict_load(NULL);
	decide(v, &pool, &(struct scene){ 1, "", "", "", NULL, NULL }, &out);
	ck_assert_uint_eq(out.event_count, 0);
	verdict_free(&v);
}
END_TEST

START_TEST(test_server_leaves_the_pool)
{
	struct verdict *v = verdict_new();
	struct verdict_output out;
	struct play smaller = pool;
	smaller.servers = 2;
	decide(v, &pool, &(struct scene){ 0, "c:1", "", "", NULL, NULL }, &out);
	ck_assert(out.status[2].out);
	decide(v, &smaller, &(struct scene){ 1, "", "", "", NULL, NULL }, &out);
	ck_assert_uint_eq(out.event_count, 0);
	json_t *o = verdict_save(v);
	ck_assert_uint_eq(json_array_size(json_object_get(o, "ejected")), 0);
	json_decref(o);
	decide(v, &pool, &(struct scene){ 2, "", "", "", NULL, NULL }, &out);
	ck_assert(!out.status[2].out);
	verdict_free(&v);
}
END_TEST

START_TEST(test_memory_ends)
{
	struct verdict *v = verdict_new();
	struct verdict_output out;
	decide(v, &pool, &(struct scene){ 0, "a:1", "", "", NULL, NULL }, &out);
	decide(v, &pool, &(struct scene){ 60, "", "", "", NULL, NULL }, &out);
	json_t *o = verdict_save(v);
	ck_assert_uint_eq(json_array_size(json_object_get(o, "returned")), 1);
	json_decref(o);
	decide(v, &pool, &(struct scene){ 3700, "", "", "", NULL, NULL }, &out);
	o = verdict_save(v);
	ck_assert_uint_eq(json_array_size(json_object_get(o, "returned")), 0);
	json_decref(o);
	verdict_free(&v);
}
END_TEST

/* A server that dies and returns for a day, without mercy from operators or quarantine. */
START_TEST(test_many_ejections)
{
	struct verdict *v = verdict_new();
	struct verdict_output out;
	struct play p = pool;
	p.settings = (struct ejection_spec){ 20, 0, 1, 1, 4000000 };
	for (int i = 0; i < 15; i++) {
		decide(v, &p, &(struct scene){ i * 10, "a:1", "", "", NULL, NULL }, &out);
		ck_assert_uint_eq(out.event_count, 1);
		decide(v, &p, &(struct scene){ i * 10 + 5, "", "", "", NULL, NULL }, &out);
		ck_assert_uint_eq(out.event_count, 1);
	}
	p.settings.quarantine_after = 0;
	decide(v, &p, &(struct scene){ 195, "a:1", "", "", NULL, NULL }, &out);
	ck_assert(out.status[0].out && !out.status[0].quarantined);
	decide(v, &p, &(struct scene){ 196, "", "", "", NULL, NULL }, &out);
	p.settings.quarantine_after = 4000000;
	decide(v, &p, &(struct scene){ 200, "a:1", "", "", NULL, NULL }, &out);
	ck_assert_uint_eq(out.event_count, 2);
	ck_assert(out.status[0].quarantined);
	verdict_free(&v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("verdict");
	TCase *tc = tcase_create("rules");
	tcase_add_loop_test(tc, test_play, 0, PLAYS);
	tcase_add_loop_test(tc, test_play_with_successors, 0, PLAYS);
	suite_add_tcase(s, tc);
	tc = tcase_create("state");
	tcase_add_test(tc, test_saved_form);
	tcase_add_test(tc, test_load_the_least);
	tcase_add_test(tc, test_server_leaves_the_pool);
	tcase_add_test(tc, test_memory_ends);
	tcase_add_test(tc, test_many_ejections);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
