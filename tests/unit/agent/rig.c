#include "tests/unit/agent/rig.h"

#include <check.h>
#include <stdio.h>

#include "common/clock.h"

static void rig_on_session(void *ctx, enum store_session s)
{
	struct rig *r = ctx;
	r->sessions[s]++;
	r->session = s;
}

static void rig_on_change(void *ctx, const char *path)
{
	struct rig *r = ctx;
	r->changes++;
	snprintf(r->changed, sizeof(r->changed), "%s", path);
}

const struct store_events rig_events = { rig_on_session, rig_on_change, NULL };

static void rig_on_tick(int fd, short what, void *owner)
{
	(void)fd, (void)what, (void)owner;
}

bool rig_wait(struct io_loop *l, const unsigned *flag, unsigned least)
{
	uint64_t end = clock_now_us() + RIG_WAIT_MS * 1000ull;
	struct io_timer tick;
	io_timer_init(&tick, l, rig_on_tick, NULL);
	while (*flag < least && clock_now_us() < end) {
		io_timer_set(&tick, 50000);
		io_loop_turn(l);
	}
	io_timer_stop(&tick);
	return *flag >= least;
}

void rig_pass(struct io_loop *l, unsigned ms)
{
	uint64_t end = clock_now_us() + ms * 1000ull;
	struct io_timer tick;
	io_timer_init(&tick, l, rig_on_tick, NULL);
	for (uint64_t now; (now = clock_now_us()) < end;) {
		io_timer_set(&tick, end - now);
		io_loop_turn(l);
	}
	io_timer_stop(&tick);
}

void rig_on_data(void *answer, enum store_rc rc, struct slice data, const struct store_stat *stat)
{
	struct answer *a = answer;
	a->calls++;
	a->rc = rc;
	a->stat = *stat;
	a->bytes = data.n;
	snprintf(a->data, sizeof(a->data), "%.*s", (int)data.n, data.p);
}

void rig_on_list(void *answer, enum store_rc rc, const char *const *names, uint32_t count)
{
	struct answer *a = answer;
	a->calls++;
	a->rc = rc;
	a->name_count = count;
	for (uint32_t i = 0; i < count && i < RIG_NAMES; i++)
		snprintf(a->names[i], sizeof(a->names[i]), "%s", names[i]);
}

void rig_on_done(void *answer, enum store_rc rc, const struct store_stat *stat, const char *path)
{
	struct answer *a = answer;
	a->calls++;
	a->rc = rc;
	a->stat = *stat;
	if (path) snprintf(a->path, sizeof(a->path), "%s", path);
}

static struct answer rig_finish(struct rig *r, struct answer *a)
{
	ck_assert_msg(a->calls == 0, "answered from within the call");
	ck_assert_msg(rig_wait(r->loop, &a->calls, 1), "no answer");
	ck_assert_uint_eq(a->calls, 1);
	return *a;
}

struct answer rig_get(struct rig *r, const char *path, bool watch)
{
	struct answer a = { 0 };
	store_get(r->store, path, watch, rig_on_data, &a);
	return rig_finish(r, &a);
}

struct answer rig_list(struct rig *r, const char *path, bool watch)
{
	struct answer a = { 0 };
	store_list(r->store, path, watch, rig_on_list, &a);
	return rig_finish(r, &a);
}

struct answer rig_put(struct rig *r, const char *path, const char *data, int32_t version)
{
	struct answer a = { 0 };
	store_put(r->store, path, slice_of(data), version, rig_on_done, &a);
	return rig_finish(r, &a);
}

struct answer rig_create(struct rig *r, const char *path, const char *data, uint32_t flags)
{
	struct answer a = { 0 };
	store_create(r->store, path, slice_of(data), flags, rig_on_done, &a);
	return rig_finish(r, &a);
}

struct answer rig_delete(struct rig *r, const char *path, int32_t version)
{
	struct answer a = { 0 };
	store_delete(r->store, path, version, rig_on_done, &a);
	return rig_finish(r, &a);
}

struct answer rig_sync(struct rig *r)
{
	struct answer a = { 0 };
	store_sync(r->store, rig_on_done, &a);
	return rig_finish(r, &a);
}
