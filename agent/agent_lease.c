/* agent_lease.c - what this agent may promise its proxies: that what they run is current.
 *
 * A session that seems to live says nothing of the sort: it may resume after an outage of any
 * length. So a promise rests on a question to the store (sync), asked when our registration was
 * there for all to see, and on the tree as it was read after the answer. It counts from when the
 * question was asked. Whoever does not hear from us for as long can be sure that our proxies have
 * noticed, too.
 *
 * While no pool is in transition nothing depends on it, and the question alone has to do.
 */
#include <stdio.h>

#include "agent/agent_priv.h"
#include "common/clock.h"

enum { LEASE_MS = 60000, LEASE_PARTS = 4, REGISTER_POLL_MS = 20 };

/* The shortest of all pools in transition; 0: none is, or none has any. */
static uint32_t lease_of_transitions(const struct agent *a)
{
	uint32_t ms = 0;
	for (uint32_t i = 0; i < reader_pool_count(a->reader); i++) {
		const struct pool_state *s = &reader_pool(a->reader, i)->state;
		if (!s->transition || !s->lease_ms) continue;
		if (!ms || s->lease_ms < ms) ms = s->lease_ms;
	}
	return ms;
}

static bool lease_registered(const struct agent *a)
{
	char path[STORE_PATH_MAX];
	snprintf(path, sizeof(path), "live/%.255s", a->config->id);
	if (!keeper_has(a->keeper, path)) return false;
	snprintf(path, sizeof(path), "agents/%.255s", a->config->id);
	return keeper_has(a->keeper, path);
}

/* Is what we know of every pool what the tree says? */
static bool lease_follows(const struct agent *a)
{
	for (uint32_t i = 0; i < reader_pool_count(a->reader); i++)
		if (reader_pool(a->reader, i)->problem) return false;
	return true;
}

void agent_lease(struct agent *a)
{
	uint32_t ms = lease_of_transitions(a);
	if (!a->connected || !a->synced_us) return;
	if (!ms) {
		if (reader_current(a->reader))
			push_lease(a->push, LEASE_MS, a->asked_us + LEASE_MS * 1000ull);
		return;
	}
	if (!reader_current(a->reader) || reader_began_us(a->reader) < a->synced_us ||
	    !lease_follows(a))
		return;
	push_lease(a->push, ms, a->asked_us + ms * 1000ull);
}

static void lease_on_synced(void *ctx, enum store_rc rc, const struct store_stat *stat,
			    const char *path)
{
	(void)stat;
	(void)path;
	struct agent *a = ctx;
	a->asking = false;
	agent_check_age(a);
	if (rc != STORE_OK) return;
	a->asked_us = a->asking_us;
	a->synced_us = clock_now_us();
	if (lease_of_transitions(a)) reader_poke(a->reader);
	agent_lease(a);
}

void agent_confirm(struct agent *a)
{
	uint32_t ms = lease_of_transitions(a);
	uint32_t every_ms = a->config->confirm_ms;
	if (ms && ms / LEASE_PARTS < every_ms) every_ms = ms / LEASE_PARTS;
	bool registered = lease_registered(a);
	if (a->connected && !registered && every_ms > REGISTER_POLL_MS) every_ms = REGISTER_POLL_MS;
	io_timer_set(&a->confirm, every_ms * 1000ull);
	if (!a->connected || a->asking || !registered) return;
	a->asking = true;
	a->asking_us = clock_boot_us(); /* a host may sleep */
	store_sync(a->store, lease_on_synced, a);
}

void agent_on_confirm(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	agent_confirm(owner);
}
