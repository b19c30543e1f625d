#include "agent/verdict.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agent/verdict_state.h"

/* What the votes say about one server. */
struct tally {
	uint32_t votes; /* of voters who find it bad */
	const char *why;
	bool bad;
	bool good; /* a majority of the voters does not find it bad */
};

struct call {
	struct verdict *v;
	const struct verdict_input *in;
	uint64_t now;
	struct tally *tallies;
	uint32_t voters;
	bool quorum;
	uint64_t next_ms;
};

static __attribute__((format(printf, 4, 5))) void tell(struct verdict *v, enum verdict_what what,
						       const char *server, const char *format, ...)
{
	if (v->event_count == v->event_cap) {
		v->event_cap = v->event_cap ? v->event_cap * 2 : 8;
		v->events = realloc(v->events, v->event_cap * sizeof(v->events[0]));
		if (!v->events) abort();
	}
	struct verdict_event *e = &v->events[v->event_count++];
	e->what = what;
	e->server = server;
	va_list args;
	va_start(args, format);
	vsnprintf(e->why, sizeof(e->why), format, args);
	va_end(args);
}

static void ask_again(struct call *c, uint64_t at_ms)
{
	if (at_ms > c->now && (c->next_ms == 0 || at_ms < c->next_ms)) c->next_ms = at_ms;
}

/* --- votes ------------------------------------------------------------------------------------ */

static bool may_vote(const struct verdict_input *in, const char *nanny)
{
	for (uint32_t i = 0; i < in->nanny_count; i++)
		if (!strcmp(in->nannies[i].id, nanny)) return !in->nannies[i].abstains;
	return false;
}

static bool voted_before(const struct verdict_server *s, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(s->votes[i].nanny, s->votes[n].nanny)) return true;
	return false;
}

static bool suspected(const struct verdict_input *in, const struct verdict_server *s)
{
	uint64_t share = ((uint64_t)in->agents * VERDICT_SUSPECTS_PERCENT + 99) / 100;
	return s->racks >= 2 && s->suspects >= VERDICT_SUSPECTS_MIN && s->suspects >= share;
}

static struct tally tally(const struct call *c, const struct verdict_server *s)
{
	struct tally t = { 0 };
	for (uint32_t i = 0; i < s->vote_count; i++) {
		if (!may_vote(c->in, s->votes[i].nanny) || voted_before(s, i)) continue;
		t.votes++;
		if (!t.why) t.why = s->votes[i].why;
	}
	bool majority = t.votes * 2 > c->voters;
	t.bad = c->quorum && (majority || (t.votes > 0 && suspected(c->in, s)));
	t.good = c->quorum && !t.bad && (c->voters - t.votes) * 2 > c->voters;
	return t;
}

static void tally_all(struct call *c)
{
	for (uint32_t i = 0; i < c->in->nanny_count; i++) c->voters += !c->in->nannies[i].abstains;
	c->quorum = c->voters >= c->in->nanny_count / 2 + 1;
	c->tallies = calloc(c->in->server_count + 1, sizeof(c->tallies[0]));
	if (!c->tallies) abort();
	for (uint32_t i = 0; i < c->in->server_count; i++)
		c->tallies[i] = tally(c, &c->in->servers[i]);
}

/* --- what is remembered ----------------------------------------------------------------------- */

static void forget_past(struct verdict_record *r)
{
	r->level = 0;
	r->count = 0;
	r->until_ms = 0;
	r->quarantined = false;
}

static void clamp(uint64_t *t, uint64_t max)
{
	if (*t > max) *t = max;
}

static void age_record(struct call *c, struct verdict_record *r)
{
	clamp(&r->since_ms, c->now);
	clamp(&r->until_ms, c->now + c->in->settings.backoff_max_ms);
	for (uint32_t i = 0; i < r->count; i++) clamp(&r->times[i], c->now);
	uint32_t old = 0;
	while (old < r->count && c->now - r->times[old] >= VERDICT_HOUR_MS) old++;
	r->count -= old;
	memmove(r->times, r->times + old, r->count * sizeof(r->times[0]));
}

/* The level as it is now: a record in the ring keeps the one it came back with. */
static uint32_t level_now(const struct call *c, const struct verdict_record *r)
{
	uint64_t stable = r->out ? 0 : (c->now - r->since_ms) / VERDICT_STABLE_MS;
	return stable < r->level ? r->level - (uint32_t)stable : 0;
}

static void check_address(struct verdict_record *r, const struct verdict_server *s)
{
	if (!strcmp(r->address, s->address)) return;
	bool known = r->address[0] != '\0';
	free(r->address);
	r->address = strdup(s->address);
	if (!r->address) abort();
	if (known) forget_past(r);
}

/* Records of servers that left the pool go, and so do those that say nothing any more. */
static void refresh_records(struct call *c)
{
	struct verdict *v = c->v;
	for (uint32_t i = 0; i < v->count; i++) v->records[i]->listed = false;
	for (uint32_t i = 0; i < c->in->server_count; i++) {
		const struct verdict_server *s = &c->in->servers[i];
		struct verdict_record *r = verdict_find(v, s->name);
		if (!r) continue;
		r->listed = true;
		check_address(r, s);
	}
	for (uint32_t i = v->count; i-- > 0;) {
		struct verdict_record *r = v->records[i];
		age_record(c, r);
		bool empty = !r->out && r->count == 0 && level_now(c, r) == 0;
		if (!r->listed || empty) verdict_remove(v, i);
	}
	clamp(&v->last_ms, c->now);
}

/* --- changes ---------------------------------------------------------------------------------- */

static struct verdict_record *record_of(struct call *c, const struct verdict_server *s)
{
	struct verdict_record *r = verdict_find(c->v, s->name);
	return r ? r : verdict_add(c->v, s->name, s->address);
}

static uint64_t backoff_ms(const struct ejection_spec *s, uint32_t level)
{
	uint64_t ms = s->backoff_ms;
	while (level-- > 0 && ms < s->backoff_max_ms) ms *= 2;
	return ms < s->backoff_max_ms ? ms : s->backoff_max_ms;
}

static void eject_by_vote(struct call *c, uint32_t i)
{
	const struct verdict_server *s = &c->in->servers[i];
	const struct ejection_spec *set = &c->in->settings;
	const struct tally *t = &c->tallies[i];
	struct verdict_record *r = record_of(c, s);
	uint32_t level = level_now(c, r);
	r->out = true;
	r->pinned = false;
	r->since_ms = c->now;
	r->until_ms = c->now + backoff_ms(set, level);
	r->level = level < 32 ? level + 1 : level;
	if (r->count == VERDICT_TIMES_MAX)
		memmove(r->times, r->times + 1, --r->count * sizeof(r->times[0]));
	r->times[r->count++] = c->now;
	c->v->last_ms = c->now;
	char suspects[48] = "";
	if (t->votes * 2 <= c->voters)
		snprintf(suspects, sizeof(suspects), " and %u agents", s->suspects);
	snprintf(r->why, sizeof(r->why), "%u of %u nannies%s: %s", t->votes, c->voters, suspects,
		 t->why ? t->why : "no reason given");
	tell(c->v, VERDICT_EJECTED, s->name, "%s", r->why);
	uint32_t most = set->quarantine_after;
	if (most > VERDICT_TIMES_MAX - 1) most = VERDICT_TIMES_MAX - 1;
	if (most == 0 || r->count <= most) return;
	r->quarantined = true;
	tell(c->v, VERDICT_QUARANTINED, s->name, "%u ejections within an hour; pin it to let it go",
	     r->count);
}

/* False: it must be flushed first. */
static bool bring_back(struct call *c, const struct verdict_server *s, struct verdict_record *r,
		       const char *why)
{
	if (s->hold) return false;
	r->out = r->pinned = r->quarantined = false;
	r->since_ms = c->now;
	r->until_ms = 0;
	tell(c->v, VERDICT_RETURNED, s->name, "%s", why);
	return true;
}

static void pin_out(struct call *c, const struct verdict_server *s)
{
	struct verdict_record *r = record_of(c, s);
	if (r->pinned) return;
	bool was_out = r->out;
	if (!was_out) {
		r->level = level_now(c, r);
		r->since_ms = c->now;
	}
	r->out = r->pinned = true;
	snprintf(r->why, sizeof(r->why), "an operator pinned it out");
	if (!was_out) tell(c->v, VERDICT_EJECTED, s->name, "%s", r->why);
}

/* True: it is out, and nothing but `hold` keeps it there. */
static bool apply_pin(struct call *c, uint32_t i)
{
	const struct verdict_server *s = &c->in->servers[i];
	struct verdict_record *r = verdict_find(c->v, s->name);
	switch (s->pin) {
	case PIN_OUT: pin_out(c, s); return false;
	case PIN_IN:
		if (!r) return false;
		forget_past(r);
		return r->out && !bring_back(c, s, r, "an operator pinned it in");
	case PIN_NONE: break;
	}
	if (!r || !r->pinned) return false;
	forget_past(r);
	if (c->tallies[i].bad) {
		eject_by_vote(c, i);
		return false;
	}
	return !bring_back(c, s, r, "an operator removed its pin");
}

/* The same. */
static bool apply_return(struct call *c, uint32_t i)
{
	const struct verdict_server *s = &c->in->servers[i];
	struct verdict_record *r = verdict_find(c->v, s->name);
	if (s->pin != PIN_NONE || !r || !r->out || r->pinned || r->quarantined) return false;
	if (!c->tallies[i].good) return false;
	ask_again(c, r->until_ms);
	if (c->now < r->until_ms) return false;
	char why[VERDICT_WHY_MAX];
	snprintf(why, sizeof(why), "%u of %u nannies find it well", c->voters - c->tallies[i].votes,
		 c->voters);
	return !bring_back(c, s, r, why);
}

/* --- ejection --------------------------------------------------------------------------------- */

static bool is_out(const struct call *c, uint32_t i)
{
	const struct verdict_record *r = verdict_find(c->v, c->in->servers[i].name);
	return r && r->out;
}

/* The next to go: most votes, then least weight, then first in the list. -1: none. */
static int64_t candidate(const struct call *c)
{
	int64_t best = -1;
	for (uint32_t i = 0; i < c->in->server_count; i++) {
		const struct verdict_server *s = &c->in->servers[i];
		if (!c->tallies[i].bad || s->pin != PIN_NONE || is_out(c, i)) continue;
		const struct verdict_server *b = best < 0 ? NULL : &c->in->servers[best];
		uint32_t votes = c->tallies[i].votes, most = b ? c->tallies[best].votes : 0;
		if (!b || votes > most || (votes == most && s->weight < b->weight)) best = i;
	}
	return best;
}

static bool fits_cap(const struct call *c, uint32_t next)
{
	uint64_t total = 0, out = 0;
	uint32_t out_count = 0;
	for (uint32_t i = 0; i < c->in->server_count; i++) {
		total += c->in->servers[i].weight;
		if (!is_out(c, i)) continue;
		out += c->in->servers[i].weight;
		out_count++;
	}
	if (out_count + 1 >= c->in->server_count) return false; /* the last one */
	if (out_count == 0) return true;
	return (out + c->in->servers[next].weight) * 100 <= total * c->in->settings.cap_percent;
}

static void set_panic(struct call *c, const char *server)
{
	if (c->v->panic == (server != NULL)) return;
	c->v->panic = server != NULL;
	if (server)
		tell(c->v, VERDICT_PANIC_BEGUN, NULL,
		     "%s is bad, too, but ejecting it would exceed the cap of %u%% of the weight",
		     server, c->in->settings.cap_percent);
	else tell(c->v, VERDICT_PANIC_ENDED, NULL, "no server is kept in by the cap any more");
}

static void eject_the_bad(struct call *c)
{
	int64_t i;
	while ((i = candidate(c)) >= 0) {
		if (!fits_cap(c, (uint32_t)i)) {
			set_panic(c, c->in->servers[i].name);
			return;
		}
		uint64_t free_at = c->v->last_ms + c->in->settings.min_interval_ms;
		if (c->v->last_ms && c->now < free_at) {
			ask_again(c, free_at);
			break;
		}
		eject_by_vote(c, (uint32_t)i);
	}
	set_panic(c, NULL);
}

static void set_blind(struct call *c)
{
	bool blind = c->in->nanny_count > 0 && !c->quorum;
	if (c->v->blind == blind) return;
	c->v->blind = blind;
	tell(c->v, blind ? VERDICT_BLIND_BEGUN : VERDICT_BLIND_ENDED, NULL,
	     "%u of %u nannies have a vote", c->voters, c->in->nanny_count);
}

/* --- all together ----------------------------------------------------------------------------- */

static void report(struct call *c, struct verdict_output *out)
{
	struct verdict *v = c->v;
	for (uint32_t i = 0; i < c->in->server_count; i++) {
		const struct verdict_record *r = verdict_find(v, c->in->servers[i].name);
		if (!r || !r->out) continue;
		struct verdict_status *s = &v->status[i];
		s->out = true;
		s->pinned = r->pinned;
		s->quarantined = r->quarantined;
		s->since_ms = r->since_ms;
		s->until_ms = r->until_ms;
		s->why = r->why;
	}
	*out = (struct verdict_output){ .status = v->status,
					.events = v->events,
					.event_count = v->event_count,
					.next_ms = c->next_ms,
					.panic = v->panic,
					.blind = v->blind };
}

void verdict_decide(struct verdict *v, const struct verdict_input *in, uint64_t now_ms,
		    struct verdict_output *out)
{
	struct call c = { .v = v, .in = in, .now = now_ms };
	v->event_count = 0;
	free(v->status);
	v->status = calloc(in->server_count + 1, sizeof(v->status[0]));
	if (!v->status) abort();
	tally_all(&c);
	refresh_records(&c);
	set_blind(&c);
	/* First what comes back: it makes room under the cap. */
	for (uint32_t i = 0; i < in->server_count; i++)
		v->status[i].returnable = apply_pin(&c, i) || apply_return(&c, i);
	/* Without a quorum the panic stays what it was: nobody knows. */
	if (c.quorum) eject_the_bad(&c);
	report(&c, out);
	free(c.tallies);
}

const char *verdict_what_text(enum verdict_what what)
{
	switch (what) {
	case VERDICT_EJECTED: return "ejected";
	case VERDICT_RETURNED: return "returned";
	case VERDICT_QUARANTINED: return "quarantined";
	case VERDICT_PANIC_BEGUN: return "panic begun";
	case VERDICT_PANIC_ENDED: return "panic ended";
	case VERDICT_BLIND_BEGUN: return "blind begun";
	case VERDICT_BLIND_ENDED: return "blind ended";
	}
	return "?";
}
