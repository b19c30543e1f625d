#include "agent/nanny_impl.h"
#include "common/clock.h"
#include "common/log.h"

/* What all servers look like, at one moment. */
struct survey {
	uint32_t total, bad;
	uint32_t turned; /* bad since not long, or about to be */
};

static struct survey nanny_survey(const struct nanny *n, uint64_t now)
{
	struct survey s = { 0 };
	const struct ward *w;
	const struct charge *c;
	LIST_FOREACH (w, &n->wards, link)
		LIST_FOREACH (c, &w->charges, link) {
			s.total++;
			s.bad += c->bad;
			if (c->bad)
				s.turned += c->turned_us &&
					    now - c->turned_us < n->events.doubt_ms * 1000ull;
			else s.turned += c->run > 0 && c->run + 1 >= w->pool.health.fall;
		}
	return s;
}

/* False: no reason to. */
static bool nanny_find_reason(struct nanny *n, uint64_t now)
{
	struct survey s = nanny_survey(n, now);
	if (n->told) {
		snprintf(n->why, sizeof(n->why), "%s", n->told_why);
		return true;
	}
	if (s.turned >= 2 && s.turned * 2 >= s.total) {
		snprintf(n->why, sizeof(n->why), "%u of %u servers turned bad within %u s",
			 s.turned, s.total, (n->events.doubt_ms + 999) / 1000);
		return true;
	}
	if (s.total >= 2 && s.bad == s.total) {
		snprintf(n->why, sizeof(n->why), "none of %u servers can be reached", s.total);
		return true;
	}
	return false;
}

static void nanny_set_abstains(struct nanny *n, bool abstains)
{
	if (n->abstains == abstains) return;
	n->abstains = abstains;
	if (abstains) log_warn("abstaining: %s", n->why);
	else log_notice("votes again");
	n->events.on_abstain(n->events.ctx, abstains ? n->why : NULL);
}

void nanny_review(struct nanny *n)
{
	uint64_t now = clock_now_us(), rest = n->events.doubt_ms * 1000ull;
	if (nanny_find_reason(n, now)) {
		n->doubted_us = now;
		nanny_set_abstains(n, true);
	} else if (n->abstains && now - n->doubted_us >= rest) {
		nanny_set_abstains(n, false);
	}
	if (n->abstains) io_timer_set(&n->review, rest / 10 + 1);
	else io_timer_stop(&n->review);
}

void nanny_on_review(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	nanny_review(owner);
}

void nanny_doubt(struct nanny *n, bool doubt, const char *why)
{
	n->told = doubt;
	snprintf(n->told_why, sizeof(n->told_why), "%s", why ? why : "told so");
	nanny_review(n);
}

const char *nanny_abstains(const struct nanny *n)
{
	return n->abstains ? n->why : NULL;
}
