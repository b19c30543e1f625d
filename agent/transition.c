#include "agent/transition.h"

#include <string.h>

#include "agent/warmth.h"
#include "common/mutation.h"

enum {
	/* What the mover has not brought yet is lost to a cache that leaves DUAL: the hit ratio of
	 * the pool may fall by less than a point then. A quarter or a third of its reads are of
	 * moving keys, so 99 % of these cost a third of a point at most; 95 % would cost 1.6. */
	HIT_ENOUGH_PERCENT = 99,
	HIT_NEWS_MS = 1000, /* proxies tell so often */
};

/* --- sets of slices --------------------------------------------------------------------------- */

typedef const enum phase phases_in[TRANSITION_SLICES];

static int count_in(phases_in p, enum phase in)
{
	int n = 0;
	for (int i = 0; i < TRANSITION_SLICES; i++) n += p[i] == in;
	return n;
}

static bool any_in(phases_in p, enum phase in)
{
	return count_in(p, in) > 0;
}

static void move_all(enum phase p[TRANSITION_SLICES], enum phase from, enum phase to)
{
	for (int i = 0; i < TRANSITION_SLICES; i++)
		if (p[i] == from) p[i] = to;
}

/* The first of them, or with `all` every one. */
static void move_some(enum phase p[TRANSITION_SLICES], enum phase from, enum phase to, bool all)
{
	for (int i = 0; i < TRANSITION_SLICES; i++) {
		if (p[i] != from) continue;
		p[i] = to;
		if (!all) return;
	}
}

/* Have the slices in HOLD never been in DUAL? See the header on rolling. */
static bool hold_is_fresh(const struct transition_facts *f)
{
	if (MUTATED(SHORTABORT)) return true;
	return !f->dirty || (!f->back && any_in(f->phases, PHASE_DUAL));
}

enum phase transition_lead(phases_in p)
{
	static const enum phase order[] = { PHASE_HOLD,	 PHASE_HOLD_R,	PHASE_DUAL,   PHASE_DUAL_R,
					    PHASE_DRAIN, PHASE_DRAIN_R, PHASE_PREPARE };
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (any_in(p, order[i])) return order[i];
	return PHASE_STABLE;
}

/* --- moves ------------------------------------------------------------------------------------ */

bool transition_legal(enum phase from, enum phase to, bool dirty)
{
	static const struct {
		enum phase from, to;
	} moves[] = {
		{ PHASE_STABLE, PHASE_PREPARE }, { PHASE_PREPARE, PHASE_STABLE },
		{ PHASE_PREPARE, PHASE_HOLD },	 { PHASE_HOLD, PHASE_DUAL },
		{ PHASE_DUAL, PHASE_DRAIN },	 { PHASE_DUAL, PHASE_HOLD },
		{ PHASE_DRAIN, PHASE_DUAL },	 { PHASE_DRAIN, PHASE_STABLE },
		{ PHASE_HOLD_R, PHASE_HOLD },	 { PHASE_HOLD_R, PHASE_DUAL_R },
		{ PHASE_DUAL_R, PHASE_HOLD_R },	 { PHASE_DUAL_R, PHASE_DRAIN_R },
		{ PHASE_DRAIN_R, PHASE_DUAL_R }, { PHASE_DRAIN_R, PHASE_STABLE },
	};
	if (from == PHASE_HOLD && to == PHASE_PREPARE) return !dirty;
	if (from == PHASE_HOLD && to == PHASE_HOLD_R) return dirty;
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++)
		if (moves[i].from == from && moves[i].to == to) return true;
	return false;
}

static void choose_step(struct transition_choice *c, const char *why)
{
	c->move = MOVE_STEP;
	c->wait = WAIT_NOTHING;
	c->why = why;
	c->jobs = 0;
}

static void choose_end(struct transition_choice *c, enum transition_move move, const char *why)
{
	choose_step(c, why);
	c->move = move;
}

static void choose_wait(struct transition_choice *c, enum transition_wait wait)
{
	if (c->move == MOVE_NONE && c->wait == WAIT_NOTHING) c->wait = wait;
}

static void ask_again(struct transition_choice *c, uint64_t in_ms)
{
	if (in_ms && (!c->again_ms || in_ms < c->again_ms)) c->again_ms = in_ms;
}

/* true: done. Else it is wanted, and waited for. */
static bool job_done(const struct transition_facts *f, struct transition_choice *c,
		     enum transition_job job, enum transition_wait wait)
{
	if (f->jobs[job] == JOB_DONE) return true;
	c->jobs |= 1u << job;
	choose_wait(c, wait);
	return false;
}

/* --- wishes, trouble -------------------------------------------------------------------------- */

/* Back to the phase just left, for slices that have never been in DUAL. */
static void turn_back(const struct transition_facts *f, struct transition_choice *c)
{
	if (hold_is_fresh(f)) move_all(c->phases, PHASE_HOLD, PHASE_PREPARE);
	c->back = true;
	c->paused = false;
	choose_step(c, f->wish == WISH_ABORT ? "an operator aborts it"
					     : "the old ring is wanted again");
}

/* Redis loses its marks with its memory: after a pause nobody knows how long it was, or what
 * happened meanwhile, DUAL is entered anew. Half-way through the slices only an abort does that. */
static void go_on(const struct transition_facts *f, struct transition_choice *c)
{
	c->paused = false;
	if (f->redis && count_in(f->phases, PHASE_DUAL) == TRANSITION_SLICES)
		move_all(c->phases, PHASE_DUAL, PHASE_HOLD);
	if (f->redis && count_in(f->phases, PHASE_DUAL_R) == TRANSITION_SLICES)
		move_all(c->phases, PHASE_DUAL_R, PHASE_HOLD_R);
	choose_step(c, "an operator lets it go on");
}

static bool decide_wish(const struct transition_facts *f, struct transition_choice *c)
{
	bool soon = f->wish == WISH_RESUME && f->paused && f->redis && !f->acked;
	c->wish_done = f->wish != WISH_NONE && !soon; /* it needs HOLD, which needs everybody */
	if ((f->wish == WISH_ABORT || f->restored) && !f->back) {
		turn_back(f, c);
		return true;
	}
	if (f->wish == WISH_RESUME && f->paused && !soon) {
		go_on(f, c);
		return true;
	}
	if (f->paused || (f->wish != WISH_PAUSE && !f->trouble)) return false;
	c->paused = true;
	choose_step(c, f->wish == WISH_PAUSE ? "an operator pauses it"
					     : "a server is not the one it was");
	return true;
}

/* --- HOLD that takes too long ----------------------------------------------------------------- */

static bool decide_bounce(const struct transition_facts *f, struct transition_choice *c)
{
	if (!any_in(f->phases, PHASE_HOLD)) return false;
	if (f->step_ms < f->hold_max_ms) {
		ask_again(c, f->hold_max_ms - f->step_ms);
		return false;
	}
	/* Who still is in DUAL must not meet somebody who skips the lost already. */
	if (f->lost && !hold_is_fresh(f)) return false;
	/* From HOLD-R there is no such way: before it was HOLD. */
	if (hold_is_fresh(f)) move_all(c->phases, PHASE_HOLD, PHASE_PREPARE);
	else move_all(c->phases, PHASE_HOLD, PHASE_DUAL);
	c->bounced = true;
	choose_step(c, "not everybody has followed in time");
	return true;
}

/* --- lost servers ----------------------------------------------------------------------------- */

/* A source may be skipped only when nobody reads it any more: through HOLD. DRAIN does not read. */
static bool decide_lost(const struct transition_facts *f, struct transition_choice *c)
{
	bool dual = any_in(f->phases, PHASE_DUAL), dual_r = any_in(f->phases, PHASE_DUAL_R);
	bool hold = any_in(f->phases, PHASE_HOLD), hold_r = any_in(f->phases, PHASE_HOLD_R);
	if (!f->newly_lost) return false;
	if (f->roll && (hold || hold_r)) return false; /* soon */
	if (!dual && !dual_r && !hold && !hold_r) return false;
	move_all(c->phases, PHASE_DUAL, PHASE_HOLD);
	move_all(c->phases, PHASE_DUAL_R, PHASE_HOLD_R);
	c->take_lost = true;
	choose_step(c, "a server was ejected: what it alone has is lost");
	return true;
}

/* --- into DUAL, DUAL-R ------------------------------------------------------------------------ */

bool transition_needs_new_mark(phases_in p)
{
	if (any_in(p, PHASE_HOLD_R)) return !any_in(p, PHASE_DUAL_R);
	return !any_in(p, PHASE_DUAL);
}

static bool marked(const struct transition_facts *f, struct transition_choice *c)
{
	return !f->redis || job_done(f, c, JOB_MARK, WAIT_MARK);
}

static void enter_dual(const struct transition_facts *f, struct transition_choice *c,
		       enum phase hold, enum phase dual)
{
	move_all(c->phases, hold, dual);
	c->dirty = true;
	c->new_mark = f->redis && transition_needs_new_mark(f->phases);
}

/* --- out of DUAL, DUAL-R ---------------------------------------------------------------------- */

/* What was counted before this step began says nothing of it: one lucky second then must not end
 * it. */
static bool is_warm(const struct transition_facts *f)
{
	return f->step_ms >= WARMTH_MS && f->hit_percent >= HIT_ENOUGH_PERCENT;
}

/* Storage is moved to the last key. A cache is warm enough when the mover is through, when targets
 * answer as well as sources did, or after dual_max_ms. */
static bool moved(const struct transition_facts *f, struct transition_choice *c)
{
	if (MUTATED(EARLYDRAIN)) return true;
	if (f->storage)
		return job_done(f, c, JOB_MOVE, WAIT_MOVE) && job_done(f, c, JOB_EMPTY, WAIT_EMPTY);
	if (is_warm(f) || f->step_ms >= f->dual_max_ms) return true;
	ask_again(c, f->dual_max_ms - f->step_ms);
	ask_again(c, HIT_NEWS_MS);
	return job_done(f, c, JOB_MOVE, WAIT_MOVE);
}

/* Copies that stay at the sources of a cache would be found, and be out of date, as soon as an
 * ejection gives the keys back to them: long before another transition would scrub. */
static bool drained(const struct transition_facts *f, struct transition_choice *c)
{
	uint64_t patience_ms = f->drain_min_ms + f->dual_max_ms;
	bool late = f->acked_ms >= patience_ms;
	if (f->acked_ms < f->drain_min_ms) {
		ask_again(c, f->drain_min_ms - f->acked_ms);
		choose_wait(c, WAIT_DRAIN);
	}
	bool swept = f->storage || late || job_done(f, c, JOB_SWEEP, WAIT_SWEEP);
	if (!swept) ask_again(c, patience_ms - f->acked_ms);
	return swept && f->acked_ms >= f->drain_min_ms;
}

/* --- forward ---------------------------------------------------------------------------------- */

static bool may_hold(const struct transition_facts *f, struct transition_choice *c)
{
	if (f->paused) return false;
	/* Once the first slice is in DUAL the targets hold what is theirs: not to be scrubbed. */
	if (!f->dirty && !job_done(f, c, JOB_CHECK, WAIT_CHECK)) return false;
	if (!f->dirty && !MUTATED(NOSCRUB) && !job_done(f, c, JOB_SCRUB, WAIT_SCRUB)) return false;
	if (!f->retry_ms) return true;
	ask_again(c, f->retry_ms);
	choose_wait(c, WAIT_RETRY);
	return false;
}

static void forward_prepare(const struct transition_facts *f, struct transition_choice *c)
{
	if (!may_hold(f, c)) return;
	move_some(c->phases, PHASE_PREPARE, PHASE_HOLD, !f->roll);
	choose_step(c, "targets are usable and clean");
}

static void forward_hold(const struct transition_facts *f, struct transition_choice *c)
{
	if (!marked(f, c)) return;
	bool more = any_in(f->phases, PHASE_PREPARE) && f->roll && !f->paused && !f->retry_ms;
	enter_dual(f, c, PHASE_HOLD, PHASE_DUAL);
	if (more) move_some(c->phases, PHASE_PREPARE, PHASE_HOLD, false);
	choose_step(c, "nobody writes by the old ring any more");
}

static void forward_dual(const struct transition_facts *f, struct transition_choice *c)
{
	if (!moved(f, c) || f->paused) return;
	if (MUTATED(NODRAINSTEP)) {
		choose_end(c, MOVE_FINISH, "moved");
		return;
	}
	move_all(c->phases, PHASE_DUAL, PHASE_DRAIN);
	choose_step(c, f->storage || f->jobs[JOB_MOVE] == JOB_DONE ? "all keys are moved"
								   : "the targets are warm");
}

static void decide_forward(const struct transition_facts *f, struct transition_choice *c)
{
	if (any_in(f->phases, PHASE_HOLD)) forward_hold(f, c);
	else if (any_in(f->phases, PHASE_PREPARE)) forward_prepare(f, c);
	else if (any_in(f->phases, PHASE_DUAL)) forward_dual(f, c);
	else if (drained(f, c) && !f->paused)
		choose_end(c, MOVE_FINISH, "the new ring is the ring");
}

/* --- back ------------------------------------------------------------------------------------- */

/* One wave: what is in HOLD-R goes on to DUAL-R, HOLD to HOLD-R, and DUAL to HOLD. */
static bool back_wave(const struct transition_facts *f, struct transition_choice *c)
{
	bool holds = any_in(f->phases, PHASE_HOLD) || any_in(f->phases, PHASE_HOLD_R);
	if (!holds && !any_in(f->phases, PHASE_DUAL)) return false;
	if (any_in(f->phases, PHASE_HOLD_R)) {
		if (!marked(f, c)) return true;
		enter_dual(f, c, PHASE_HOLD_R, PHASE_DUAL_R);
	}
	if (MUTATED(SHORTABORT)) move_all(c->phases, PHASE_HOLD, PHASE_PREPARE);
	move_all(c->phases, PHASE_HOLD, PHASE_HOLD_R);
	if (!f->paused && !f->retry_ms) move_some(c->phases, PHASE_DUAL, PHASE_HOLD, !f->roll);
	if (memcmp(c->phases, f->phases, sizeof(c->phases)) != 0) choose_step(c, "on the way back");
	else if (f->retry_ms) {
		ask_again(c, f->retry_ms);
		choose_wait(c, WAIT_RETRY);
	}
	return true;
}

static void decide_back(const struct transition_facts *f, struct transition_choice *c)
{
	if (any_in(f->phases, PHASE_DRAIN)) {
		if (f->paused) return;
		move_all(c->phases, PHASE_DRAIN, PHASE_DUAL);
		choose_step(c, "on the way back");
		return;
	}
	if (back_wave(f, c)) return;
	if (any_in(f->phases, PHASE_DUAL_R)) {
		if (!moved(f, c) || f->paused) return;
		move_all(c->phases, PHASE_DUAL_R, PHASE_DRAIN_R);
		choose_step(c, "the sources have back what was theirs");
		return;
	}
	if (any_in(f->phases, PHASE_DRAIN_R) && !drained(f, c)) return;
	if (!f->paused) choose_end(c, MOVE_RETURN, "the old ring stays");
}

/* --- all together ----------------------------------------------------------------------------- */

void transition_decide(const struct transition_facts *f, struct transition_choice *out)
{
	*out =
	    (struct transition_choice){ .dirty = f->dirty, .back = f->back, .paused = f->paused };
	memcpy(out->phases, f->phases, sizeof(out->phases));
	if (decide_wish(f, out)) return;
	bool prepared = count_in(f->phases, PHASE_PREPARE) == TRANSITION_SLICES;
	if (f->back && prepared) {
		choose_end(out, MOVE_RETURN, "the old ring stays");
		return;
	}
	if (!f->acked) {
		if (prepared) out->jobs = 1u << JOB_CHECK; /* it changes nothing */
		if (!decide_bounce(f, out)) choose_wait(out, WAIT_AGENTS);
		return;
	}
	if (decide_lost(f, out)) return;
	/* A server that cannot be marked must not keep everybody in HOLD. */
	if (f->redis && f->jobs[JOB_MARK] != JOB_DONE && decide_bounce(f, out)) return;
	if (f->back) decide_back(f, out);
	else decide_forward(f, out);
	if (f->paused && out->move == MOVE_NONE && out->wait != WAIT_MARK) out->wait = WAIT_PAUSED;
}

/* --- words ------------------------------------------------------------------------------------ */

const char *transition_wait_text(enum transition_wait w)
{
	static const char *const texts[TRANSITION_WAIT_MAX] = {
		[WAIT_NOTHING] = "",
		[WAIT_AGENTS] = "agents that have not acknowledged this step",
		[WAIT_PAUSED] = "an operator: it is paused",
		[WAIT_CHECK] = "the targets: not all can be used yet",
		[WAIT_SCRUB] = "old copies to be deleted from the targets",
		[WAIT_RETRY] = "a while, as not everybody followed the last time",
		[WAIT_MARK] = "the servers to take the new mark",
		[WAIT_MOVE] = "keys to be moved",
		[WAIT_EMPTY] = "a last look for keys at the sources",
		[WAIT_DRAIN] = "promises made in the step before to run out",
		[WAIT_SWEEP] = "copies left at the sources to be deleted",
	};
	return w < TRANSITION_WAIT_MAX ? texts[w] : NULL;
}

const char *transition_job_name(enum transition_job j)
{
	static const char *const names[TRANSITION_JOB_MAX] = {
		[JOB_CHECK] = "check", [JOB_SCRUB] = "scrub", [JOB_MARK] = "mark",
		[JOB_MOVE] = "move",   [JOB_EMPTY] = "empty", [JOB_SWEEP] = "sweep",
	};
	return j < TRANSITION_JOB_MAX ? names[j] : NULL;
}
