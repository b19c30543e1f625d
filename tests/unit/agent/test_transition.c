/* What a coordinator may do next, in every state that can be reached and with every fact: each
 * slice makes legal moves only, nobody is ever two steps apart, and it ends.
 *
 * The tests keep what the state does not say: which slices really have been in DUAL, and in which
 * phases proxies may still be. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/transition.h"
#include "agent/warmth.h"

enum {
	SLICES = TRANSITION_SLICES,
	LONG_MS = 1000000,
	WORLDS_MAX = 1 << 16,
	STEPS_MAX = 120,
	ROLLING_STRIDE = 31
};

/* All that there is to a transition at one moment. */
struct world {
	unsigned char phases[SLICES];
	unsigned char near[SLICES]; /* phases that some proxy may be in, as bits */
	unsigned short entered;	    /* slices that have been in DUAL or DUAL-R   */
	unsigned char dirty, back, paused, lost;
};

struct setup {
	bool storage, redis, roll;
};

/* --- the table of the protocol, once more -------------------------------------------------------
 */

static bool adjacent(enum phase x, enum phase y)
{
	static const char *const pairs[] = { "prepare hold",  "hold dual",     "dual drain",
					     "hold hold-r",   "hold-r dual-r", "dual-r drain-r",
					     "stable prepare" };
	char one[40], two[40];
	snprintf(one, sizeof(one), "%s %s", phase_name(x), phase_name(y));
	snprintf(two, sizeof(two), "%s %s", phase_name(y), phase_name(x));
	if (x == y) return true;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (strcmp(pairs[i], one) == 0 || strcmp(pairs[i], two) == 0) return true;
	return false;
}

static struct transition_facts facts_of(const struct world *w, const struct setup *s)
{
	struct transition_facts f = { .dirty = w->dirty,
				      .back = w->back,
				      .paused = w->paused,
				      .lost = w->lost,
				      .storage = s->storage,
				      .redis = s->redis,
				      .roll = s->roll,
				      .hold_max_ms = 2000,
				      .dual_max_ms = 600000,
				      .drain_min_ms = 5000,
				      .hit_percent = -1 };
	for (int i = 0; i < SLICES; i++) f.phases[i] = (enum phase)w->phases[i];
	return f;
}

static struct world first_world(void)
{
	struct world w = { 0 };
	for (int i = 0; i < SLICES; i++) {
		w.phases[i] = PHASE_PREPARE;
		w.near[i] = 1 << PHASE_PREPARE | 1 << PHASE_STABLE;
	}
	return w;
}

static void show(const struct world *w, const struct transition_choice *c, char out[600])
{
	int n = snprintf(out, 600, "entered %04x dirty %d back %d paused %d lost %d:", w->entered,
			 w->dirty, w->back, w->paused, w->lost);
	for (int i = 0; i < SLICES && n < 500; i++)
		n += snprintf(out + n, 600 - (size_t)n, " %s>%s",
			      phase_name((enum phase)w->phases[i]),
			      c->move == MOVE_STEP ? phase_name(c->phases[i]) : "end");
}

#define FINE(condition)                                                        \
	do {                                                                   \
		char text[600];                                                \
		if (!(condition)) {                                            \
			show(w, c, text);                                      \
			ck_abort_msg("%s: %s (%s)", #condition, text, c->why); \
		}                                                              \
	} while (0)

/* --- one choice ---------------------------------------------------------------------------------
 */

static void check_slice(const struct world *w, const struct transition_facts *f,
			const struct transition_choice *c, int i, enum phase to)
{
	enum phase from = (enum phase)w->phases[i];
	bool been = (w->entered >> i & 1) != 0;
	FINE(from == to || transition_legal(from, to, been));
	if (from == PHASE_HOLD && to == PHASE_PREPARE) FINE(!been);
	/* Everybody who may still be somewhere can meet everybody; STABLE routes as PREPARE. */
	enum phase met = from == PHASE_PREPARE && to == PHASE_STABLE ? PHASE_PREPARE : to;
	for (unsigned p = 0; p < PHASE_MAX; p++)
		if (!f->acked && (w->near[i] >> p & 1)) FINE(adjacent((enum phase)p, met));
	if (to == PHASE_HOLD && i == 0 && from == PHASE_PREPARE && !w->entered)
		FINE(f->acked && f->jobs[JOB_CHECK] == JOB_DONE && f->jobs[JOB_SCRUB] == JOB_DONE);
	bool enters = (to == PHASE_DUAL && from == PHASE_HOLD) ||
		      (to == PHASE_DUAL_R && from == PHASE_HOLD_R);
	if (enters && f->redis && !c->bounced) FINE(f->jobs[JOB_MARK] == JOB_DONE);
	if (to == PHASE_DRAIN && from == PHASE_DUAL && f->storage)
		FINE(f->jobs[JOB_MOVE] == JOB_DONE && f->jobs[JOB_EMPTY] == JOB_DONE);
	if (to == PHASE_DRAIN_R && from == PHASE_DUAL_R && f->storage)
		FINE(f->jobs[JOB_MOVE] == JOB_DONE && f->jobs[JOB_EMPTY] == JOB_DONE);
	if (from == PHASE_PREPARE && to == PHASE_HOLD) FINE(!f->paused && !f->retry_ms);
}

static void check_choice(const struct world *w, const struct transition_facts *f,
			 const struct transition_choice *c)
{
	int holds = 0, holds_r = 0, were = 0;
	for (int i = 0; i < SLICES; i++) {
		enum phase to = c->move == MOVE_STEP ? c->phases[i] : PHASE_STABLE;
		check_slice(w, f, c, i, to);
		holds += to == PHASE_HOLD;
		holds_r += to == PHASE_HOLD_R;
		were += f->phases[i] == PHASE_HOLD || f->phases[i] == PHASE_HOLD_R;
	}
	/* DUAL entered anew after a pause takes all at once, and what comes after that, too. */
	bool again = (f->wish == WISH_RESUME && f->redis) || were > 2;
	if (c->move == MOVE_STEP && f->roll && !c->take_lost && !w->lost && !again)
		FINE(holds <= 1 && holds_r <= 1);
	if (c->move == MOVE_FINISH)
		for (int i = 0; i < SLICES; i++) FINE(w->phases[i] == PHASE_DRAIN);
	if (c->move == MOVE_RETURN)
		for (int i = 0; i < SLICES; i++)
			FINE(w->phases[i] == PHASE_PREPARE || w->phases[i] == PHASE_DRAIN_R);
	if (c->move == MOVE_FINISH) FINE(f->acked_ms >= f->drain_min_ms && f->acked && !f->paused);
	/* Nobody skips a lost server while somebody reads it. */
	if (c->take_lost) {
		FINE(f->acked);
		for (int i = 0; i < SLICES; i++)
			FINE(c->phases[i] != PHASE_DUAL && c->phases[i] != PHASE_DUAL_R);
	}
	if (c->new_mark) FINE(f->redis && f->jobs[JOB_MARK] == JOB_DONE);
}

static struct world after(const struct world *was, const struct transition_facts *f,
			  const struct transition_choice *c)
{
	struct world w = *was;
	w.dirty = c->dirty;
	w.back = c->back;
	w.paused = c->paused;
	w.lost |= c->take_lost;
	for (int i = 0; i < SLICES; i++) {
		enum phase to = c->phases[i];
		if (f->acked) w.near[i] = (unsigned char)(1 << was->phases[i]);
		w.near[i] |= (unsigned char)(1 << to);
		w.phases[i] = (unsigned char)to;
		if (to == PHASE_DUAL || to == PHASE_DUAL_R) w.entered |= (unsigned short)(1 << i);
	}
	if (w.dirty != (w.entered != 0)) ck_abort_msg("dirty %d, entered %04x", w.dirty, w.entered);
	return w;
}

/* --- every state, every fact ---------------------------------------------------------------------
 */

struct places {
	struct world *worlds;
	unsigned count, done;
	unsigned *table; /* of numbers from 1 */
};

static void places_add(struct places *p, const struct world *w)
{
	unsigned h = 2166136261u;
	for (size_t i = 0; i < sizeof(*w); i++) h = (h ^ ((const unsigned char *)w)[i]) * 16777619u;
	for (h %= WORLDS_MAX; p->table[h]; h = (h + 1) % WORLDS_MAX)
		if (memcmp(&p->worlds[p->table[h] - 1], w, sizeof(*w)) == 0) return;
	if (p->count >= WORLDS_MAX / 2) ck_abort_msg("more states than thought");
	p->worlds[p->count++] = *w;
	p->table[h] = p->count;
}

/* The n-th combination of facts; false beyond the last. */
static bool facts_vary(struct transition_facts *f, unsigned n)
{
	static const enum transition_wish wishes[] = { WISH_NONE, WISH_PAUSE, WISH_RESUME,
						       WISH_ABORT };
	f->acked = n & 1, n >>= 1;
	f->newly_lost = n & 1, n >>= 1;
	f->step_ms = n & 1 ? LONG_MS : 0, n >>= 1;
	f->acked_ms = n & 1 && f->acked ? LONG_MS : 0, n >>= 1;
	f->retry_ms = n & 1 ? 5000 : 0, n >>= 1;
	for (int j = 0; j < TRANSITION_JOB_MAX; j++, n >>= 1)
		f->jobs[j] = n & 1 ? JOB_DONE : JOB_RUNS;
	unsigned who = n % 6;
	f->wish = who < 4 ? wishes[who] : WISH_NONE;
	f->trouble = who == 4;
	f->restored = who == 5;
	return n < 6;
}

static void explore(const struct setup *s)
{
	struct places p = { .worlds = calloc(WORLDS_MAX, sizeof(struct world)),
			    .table = calloc(WORLDS_MAX, sizeof(unsigned)) };
	struct world start = first_world();
	unsigned long choices = 0;
	places_add(&p, &start);
	for (; p.done < p.count; p.done++) {
		struct world w = p.worlds[p.done];
		struct transition_facts f = facts_of(&w, s);
		/* Rolling has so many states that each sees a part of the combinations only. */
		unsigned stride = s->roll ? ROLLING_STRIDE : 1;
		for (unsigned n = p.done % stride; facts_vary(&f, n); n += stride) {
			struct transition_choice c;
			transition_decide(&f, &c);
			choices++;
			if (c.move == MOVE_NONE) {
				if (c.wait == WAIT_NOTHING) ck_abort_msg("waits for what?");
				continue;
			}
			check_choice(&w, &f, &c);
			if (c.move != MOVE_STEP) continue;
			struct world next = after(&w, &f, &c);
			places_add(&p, &next);
		}
	}
	ck_assert_uint_gt(p.count, 20);
	printf("%s %s %s: %u states, %lu choices\n", s->storage ? "storage" : "cache",
	       s->redis ? "redis" : "memcached", s->roll ? "rolling" : "whole", p.count, choices);
	free(p.worlds);
	free(p.table);
}

static const struct setup setups[] = {
	{ false, false, false }, { false, true, false }, { true, true, false },
	{ false, false, true },	 { false, true, true },	 { true, true, true },
};
enum { SETUPS = sizeof(setups) / sizeof(setups[0]) };

START_TEST(no_choice_breaks_a_rule)
{
	explore(&setups[_i]);
}
END_TEST

/* --- it ends
 * --------------------------------------------------------------------------------------- */

static void all_well(struct transition_facts *f)
{
	f->acked = true;
	f->step_ms = 100;
	f->acked_ms = LONG_MS;
	for (int j = 0; j < TRANSITION_JOB_MAX; j++) f->jobs[j] = JOB_DONE;
	f->wish = f->paused ? WISH_RESUME : WISH_NONE;
}

/* Let all go well from here on. Returns how it ended. */
static enum transition_move run_on(struct world w, const struct setup *s, int *steps_out)
{
	for (*steps_out = 1; *steps_out < STEPS_MAX; ++*steps_out) {
		struct transition_choice c;
		struct transition_facts f = facts_of(&w, s);
		all_well(&f);
		transition_decide(&f, &c);
		ck_assert_msg(c.move != MOVE_NONE, "stuck: %s", transition_wait_text(c.wait));
		check_choice(&w, &f, &c);
		if (c.move != MOVE_STEP) return c.move;
		w = after(&w, &f, &c);
	}
	return MOVE_NONE;
}

START_TEST(all_well_it_ends_in_the_new_ring)
{
	int steps;
	ck_assert_int_eq(run_on(first_world(), &setups[_i], &steps), MOVE_FINISH);
	/* slices: 16 into HOLD, each DUAL with the next one's HOLD, then DRAIN, and the end */
	ck_assert_int_eq(steps, setups[_i].roll ? 19 : 4);
}
END_TEST

/* Aborted at every step of the way. */
START_TEST(aborted_anywhere_it_ends_in_the_old_ring)
{
	const struct setup *s = &setups[_i];
	for (int at = 0; at < 19; at++) {
		struct world w = first_world();
		struct transition_choice c;
		int steps;
		enum transition_move end = MOVE_STEP;
		for (int k = 0; k < at && end == MOVE_STEP; k++) {
			struct transition_facts f = facts_of(&w, s);
			all_well(&f);
			transition_decide(&f, &c);
			end = c.move;
			if (end == MOVE_STEP) w = after(&w, &f, &c);
		}
		if (end != MOVE_STEP) break;
		struct transition_facts f = facts_of(&w, s);
		f.wish = WISH_ABORT;
		transition_decide(&f, &c);
		ck_assert(c.back && c.wish_done && c.move == MOVE_STEP);
		check_choice(&w, &f, &c);
		w = after(&w, &f, &c);
		ck_assert_int_eq(run_on(w, s, &steps), MOVE_RETURN);
	}
}
END_TEST

/* --- single rules
 * ------------------------------------------------------------------------------------ */

static const struct setup cache = { false, false, false }, storage = { true, true, false };

static struct transition_facts facts_in(enum phase p, const struct setup *s)
{
	struct world w = first_world();
	bool dirty = p != PHASE_PREPARE && p != PHASE_HOLD;
	for (int i = 0; i < SLICES; i++) w.phases[i] = (unsigned char)p;
	w.dirty = dirty;
	w.back = p == PHASE_HOLD_R || p == PHASE_DUAL_R || p == PHASE_DRAIN_R;
	return facts_of(&w, s);
}

static struct transition_choice decide(const struct transition_facts *f)
{
	struct transition_choice c;
	transition_decide(f, &c);
	return c;
}

START_TEST(prepare_checks_at_once_and_scrubs_when_all_are_there)
{
	struct transition_facts f = facts_in(PHASE_PREPARE, &cache);
	struct transition_choice c = decide(&f);
	ck_assert_int_eq(c.wait, WAIT_AGENTS);
	ck_assert_uint_eq(c.jobs, 1u << JOB_CHECK);
	f.acked = true;
	f.jobs[JOB_CHECK] = JOB_DONE;
	c = decide(&f);
	ck_assert_int_eq(c.wait, WAIT_SCRUB);
	ck_assert_uint_eq(c.jobs, 1u << JOB_SCRUB);
	f.jobs[JOB_SCRUB] = JOB_DONE;
	c = decide(&f);
	ck_assert(c.move == MOVE_STEP && c.phases[15] == PHASE_HOLD && !c.dirty);
}
END_TEST

START_TEST(prepare_waits_for_the_silent_but_not_when_aborted)
{
	struct transition_facts f = facts_in(PHASE_PREPARE, &cache);
	f.step_ms = LONG_MS;
	for (int j = 0; j < TRANSITION_JOB_MAX; j++) f.jobs[j] = JOB_DONE;
	ck_assert_int_eq(decide(&f).wait, WAIT_AGENTS);
	f.back = true;
	ck_assert_int_eq(decide(&f).move, MOVE_RETURN);
}
END_TEST

START_TEST(hold_that_takes_too_long_ends_where_it_began)
{
	struct transition_facts f = facts_in(PHASE_HOLD, &cache);
	f.step_ms = 1999;
	ck_assert(decide(&f).wait == WAIT_AGENTS && decide(&f).again_ms == 1);
	f.step_ms = 2000;
	struct transition_choice c = decide(&f);
	ck_assert(c.bounced && c.phases[3] == PHASE_PREPARE && !c.back);
	f.dirty = f.back = true;
	c = decide(&f);
	ck_assert(c.bounced && c.phases[3] == PHASE_DUAL && c.back);
	f.lost = true;
	ck_assert_int_eq(decide(&f).wait, WAIT_AGENTS);
	f = facts_in(PHASE_HOLD_R, &cache);
	f.step_ms = LONG_MS;
	ck_assert_int_eq(decide(&f).wait, WAIT_AGENTS);
}
END_TEST

START_TEST(redis_marks_before_dual_and_does_not_hold_for_ever_for_it)
{
	struct transition_facts f = facts_in(PHASE_HOLD, &storage);
	f.acked = true;
	struct transition_choice c = decide(&f);
	ck_assert(c.wait == WAIT_MARK && c.jobs == 1u << JOB_MARK);
	f.step_ms = LONG_MS;
	ck_assert(decide(&f).bounced);
	f.jobs[JOB_MARK] = JOB_DONE;
	c = decide(&f);
	ck_assert(c.new_mark && c.dirty && c.phases[0] == PHASE_DUAL);
	f = facts_in(PHASE_HOLD, &cache);
	f.acked = true;
	c = decide(&f);
	ck_assert(!c.new_mark && c.phases[0] == PHASE_DUAL);
}
END_TEST

START_TEST(storage_leaves_dual_only_when_nothing_is_left)
{
	struct transition_facts f = facts_in(PHASE_DUAL, &storage);
	f.acked = true;
	f.step_ms = LONG_MS * 100ull;
	f.hit_percent = 100;
	ck_assert_int_eq(decide(&f).wait, WAIT_MOVE);
	f.jobs[JOB_MOVE] = JOB_FAILED;
	ck_assert_int_eq(decide(&f).wait, WAIT_MOVE);
	f.jobs[JOB_MOVE] = JOB_DONE;
	ck_assert_int_eq(decide(&f).wait, WAIT_EMPTY);
	f.jobs[JOB_EMPTY] = JOB_FAILED;
	ck_assert_int_eq(decide(&f).wait, WAIT_EMPTY);
	f.jobs[JOB_EMPTY] = JOB_DONE;
	ck_assert_int_eq(decide(&f).phases[0], PHASE_DRAIN);
}
END_TEST

START_TEST(a_cache_leaves_dual_when_it_is_warm_or_time_is_up)
{
	struct transition_facts f = facts_in(PHASE_DUAL, &cache);
	f.acked = true;
	ck_assert(decide(&f).wait == WAIT_MOVE && decide(&f).again_ms == 1000);
	f.step_ms = 599900;
	ck_assert_uint_eq(decide(&f).again_ms, 100);
	f.hit_percent = 98;
	ck_assert_int_eq(decide(&f).move, MOVE_NONE);
	f.hit_percent = 99;
	ck_assert_int_eq(decide(&f).phases[0], PHASE_DRAIN);
	f.hit_percent = -1;
	f.step_ms = 600000;
	ck_assert_int_eq(decide(&f).phases[0], PHASE_DRAIN);
	f.step_ms = 0;
	f.jobs[JOB_MOVE] = JOB_DONE;
	ck_assert_int_eq(decide(&f).phases[0], PHASE_DRAIN);
}
END_TEST

/* What is counted reaches back that far, and may be of the step before. */
START_TEST(a_cache_is_not_warm_by_reads_before_this_step)
{
	struct transition_facts f = facts_in(PHASE_DUAL, &cache);
	f.acked = true;
	f.hit_percent = 100;
	f.step_ms = WARMTH_MS - 1;
	ck_assert(decide(&f).wait == WAIT_MOVE && decide(&f).jobs == 1u << JOB_MOVE);
	f.step_ms = WARMTH_MS;
	ck_assert_int_eq(decide(&f).phases[0], PHASE_DRAIN);
	f.acked = false;
	ck_assert_int_eq(decide(&f).wait, WAIT_AGENTS);
}
END_TEST

START_TEST(drain_lasts_its_time_after_the_last_one_is_there)
{
	struct transition_facts f = facts_in(PHASE_DRAIN, &cache);
	f.step_ms = LONG_MS;
	ck_assert_int_eq(decide(&f).wait, WAIT_AGENTS);
	f.acked = true;
	f.acked_ms = 4000;
	ck_assert(decide(&f).wait == WAIT_DRAIN && decide(&f).again_ms == 1000);
	ck_assert_uint_eq(decide(&f).jobs, 1u << JOB_SWEEP);
	f.acked_ms = 5000;
	ck_assert_int_eq(decide(&f).wait, WAIT_SWEEP);
	f.jobs[JOB_SWEEP] = JOB_DONE;
	ck_assert_int_eq(decide(&f).move, MOVE_FINISH);
	/* Sources that cannot be swept do not keep it for ever; a store has nothing to sweep. */
	f.jobs[JOB_SWEEP] = JOB_FAILED;
	f.acked_ms = 5000 + f.dual_max_ms;
	ck_assert_int_eq(decide(&f).move, MOVE_FINISH);
	f.acked_ms = 5000;
	f.storage = true;
	ck_assert_int_eq(decide(&f).move, MOVE_FINISH);
	f = facts_in(PHASE_DRAIN_R, &cache);
	f.acked = true;
	f.acked_ms = 4999;
	ck_assert_int_eq(decide(&f).wait, WAIT_DRAIN);
	f.acked_ms = 5000;
	f.jobs[JOB_SWEEP] = JOB_DONE;
	ck_assert_int_eq(decide(&f).move, MOVE_RETURN);
}
END_TEST

START_TEST(a_pause_holds_everywhere_but_in_hold)
{
	static const enum phase phases[] = { PHASE_PREPARE, PHASE_DUAL, PHASE_DRAIN, PHASE_DUAL_R,
					     PHASE_DRAIN_R };
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		struct transition_facts f = facts_in(phases[i], &cache);
		all_well(&f);
		f.wish = WISH_PAUSE;
		struct transition_choice c = decide(&f);
		ck_assert(c.move == MOVE_STEP && c.paused && c.phases[0] == phases[i]);
		f.paused = true;
		f.wish = WISH_NONE;
		c = decide(&f);
		ck_assert(c.move == MOVE_NONE && c.wait == WAIT_PAUSED);
		f.wish = WISH_RESUME;
		ck_assert(!decide(&f).paused && decide(&f).wish_done);
	}
	struct transition_facts f = facts_in(PHASE_HOLD, &cache);
	all_well(&f);
	f.paused = true;
	f.wish = WISH_NONE;
	ck_assert_int_eq(decide(&f).phases[0], PHASE_DUAL);
	f = facts_in(PHASE_HOLD_R, &cache);
	all_well(&f);
	f.paused = true;
	f.wish = WISH_NONE;
	ck_assert_int_eq(decide(&f).phases[0], PHASE_DUAL_R);
}
END_TEST

START_TEST(trouble_pauses_once)
{
	struct transition_facts f = facts_in(PHASE_DUAL, &storage);
	f.acked = f.trouble = true;
	ck_assert(decide(&f).paused && decide(&f).move == MOVE_STEP);
	f.paused = true;
	ck_assert_int_eq(decide(&f).move, MOVE_NONE);
	f.wish = WISH_RESUME; /* the mark may be gone: DUAL is entered anew */
	ck_assert(!decide(&f).paused && decide(&f).phases[0] == PHASE_HOLD);
}
END_TEST

START_TEST(lost_servers_are_taken_through_hold)
{
	struct transition_facts f = facts_in(PHASE_DUAL, &cache);
	f.newly_lost = true;
	ck_assert(!decide(&f).take_lost);
	f.acked = true;
	ck_assert(decide(&f).take_lost && decide(&f).phases[0] == PHASE_HOLD);
	f = facts_in(PHASE_DRAIN, &cache);
	f.acked = f.newly_lost = true;
	ck_assert(!decide(&f).take_lost);
	f = facts_in(PHASE_DUAL_R, &cache);
	f.acked = f.newly_lost = true;
	ck_assert(decide(&f).take_lost && decide(&f).phases[0] == PHASE_HOLD_R);
}
END_TEST

START_TEST(everything_has_a_name)
{
	for (int i = 0; i < TRANSITION_WAIT_MAX; i++)
		ck_assert(transition_wait_text((enum transition_wait)i) &&
			  (i == 0 || transition_wait_text((enum transition_wait)i)[0]));
	for (int i = 0; i < TRANSITION_JOB_MAX; i++)
		ck_assert_ptr_nonnull(transition_job_name((enum transition_job)i));
	ck_assert_ptr_null(transition_wait_text(TRANSITION_WAIT_MAX));
	ck_assert_ptr_null(transition_job_name(TRANSITION_JOB_MAX));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transition");
	TCase *t = tcase_create("rules");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, no_choice_breaks_a_rule, 0, SETUPS);
	tcase_add_loop_test(t, all_well_it_ends_in_the_new_ring, 0, SETUPS);
	tcase_add_loop_test(t, aborted_anywhere_it_ends_in_the_old_ring, 0, SETUPS);
	tcase_add_test(t, prepare_checks_at_once_and_scrubs_when_all_are_there);
	tcase_add_test(t, prepare_waits_for_the_silent_but_not_when_aborted);
	tcase_add_test(t, hold_that_takes_too_long_ends_where_it_began);
	tcase_add_test(t, redis_marks_before_dual_and_does_not_hold_for_ever_for_it);
	tcase_add_test(t, storage_leaves_dual_only_when_nothing_is_left);
	tcase_add_test(t, a_cache_leaves_dual_when_it_is_warm_or_time_is_up);
	tcase_add_test(t, a_cache_is_not_warm_by_reads_before_this_step);
	tcase_add_test(t, drain_lasts_its_time_after_the_last_one_is_there);
	tcase_add_test(t, a_pause_holds_everywhere_but_in_hold);
	tcase_add_test(t, trouble_pauses_once);
	tcase_add_test(t, lost_servers_are_taken_through_hold);
	tcase_add_test(t, everything_has_a_name);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
