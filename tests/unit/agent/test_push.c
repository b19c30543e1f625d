#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/push.h"
#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/agent/fake_proxy.h"

static struct io_loop loop;
static char dir[64];
static struct push *push;
static struct err_at at;
static struct io_timer tick;

static struct {
	unsigned changes, health;
	char health_of[32];
} seen;

static const struct push_times fast = { .answer_ms = 300, .retry_ms = 200, .rescan_ms = 100 };

/* --- around ----------------------------------------------------------------------------------- */

static void on_change(void *ctx)
{
	ck_assert_ptr_eq(ctx, &seen);
	seen.changes++;
}

static void on_health(void *ctx, const char *proxy, const json_t *event)
{
	ck_assert_ptr_eq(ctx, &seen);
	ck_assert_str_eq(json_string_value(json_object_get(event, "event")), "health");
	snprintf(seen.health_of, sizeof(seen.health_of), "%s", proxy);
	seen.health++;
}

static const struct push_events events = { on_change, on_health, &seen };

static void on_tick(int fd, short what, void *owner)
{
	(void)fd, (void)what, (void)owner;
	io_timer_set(&tick, 2000);
}

static void setup(void)
{
	strcpy(dir, "/tmp/test_push.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	log_level_set(LOG_LEVEL_CRIT);
	signal(SIGPIPE, SIG_IGN);
	memset(&seen, 0, sizeof(seen));
	ck_assert(io_loop_init(&loop));
	io_timer_init(&tick, &loop, on_tick, NULL);
	io_timer_set(&tick, 1);
}

static void remove_dir(void)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.') unlinkat(dirfd(d), e->d_name, 0);
	if (d) closedir(d);
	rmdir(dir);
}

static void teardown(void)
{
	push_free(&push);
	push_free(&push);
	io_timer_stop(&tick);
	io_loop_fini(&loop);
	remove_dir();
}

static void push_start(const struct push_times *times)
{
	push = push_new_timed(&loop, dir, &events, times, &at);
	ck_assert_ptr_nonnull(push);
}

/* An answer deadline that no slow machine misses, for tests that do not want it to pass. */
static void push_start_patient(void)
{
	push_start(&(struct push_times){ .retry_ms = 200, .rescan_ms = 100 });
}

#define await(condition)                                                           \
	do {                                                                       \
		uint64_t end_us = clock_now_us() + 15000000;                       \
		while (!(condition)) {                                             \
			ck_assert_msg(clock_now_us() < end_us, "no: " #condition); \
			io_loop_turn(&loop);                                       \
		}                                                                  \
	} while (0)

static void pass_ms(uint64_t ms)
{
	uint64_t end_us = clock_now_us() + ms * 1000;
	while (clock_now_us() < end_us) io_loop_turn(&loop);
}

static json_t *topology(const char *lineage, json_int_t version)
{
	return json_pack("{s:s, s:i, s:i, s:I, s:{}}", "lineage", lineage, "epoch", 0, "step", 0,
			 "version", version, "pools");
}

static void give(json_int_t version)
{
	json_t *t = topology("one", version);
	push_topology(push, t);
	json_decref(t);
}

static struct push_proxy the(const char *name)
{
	struct push_proxy list[16];
	uint32_t n = push_list(push, list, 16);
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0) return list[i];
	return (struct push_proxy){ .name = NULL, .state = 99, .error = "not there" };
}

static bool is(const char *name, enum push_state state)
{
	return the(name).state == state;
}

static bool gone(const char *name)
{
	return the(name).name == NULL;
}

/* --- discovery -------------------------------------------------------------------------------- */

START_TEST(finds_all_and_sorts)
{
	struct fake *c = fake_start(&loop, dir, "c", 3), *a = fake_start(&loop, dir, "a", 1), *b;
	struct push_proxy list[3];
	push_start_patient();
	ck_assert(!push_all(push, 0, PUSH_BEHIND)); /* known from the start */
	give(7);
	await(is("a", PUSH_DRAINED) && is("c", PUSH_DRAINED));
	b = fake_start(&loop, dir, "b", 2); /* later, and gets the same */
	await(is("b", PUSH_DRAINED));
	ck_assert_uint_eq(push_list(push, list, 3), 3);
	ck_assert_str_eq(list[0].name, "a");
	ck_assert_str_eq(list[1].name, "b");
	ck_assert_str_eq(list[2].name, "c");
	ck_assert_int_eq(list[1].pid, 2);
	ck_assert_uint_eq(list[1].version, 7);
	ck_assert_uint_eq(list[1].lag_ms, 0);
	ck_assert_str_eq(list[1].error, "");
	ck_assert_uint_eq(push_list(push, list, 1), 3);
	ck_assert(push_all(push, 7, PUSH_DRAINED) && push_all(push, 6, PUSH_APPLIED));
	ck_assert(!push_all(push, 8, PUSH_APPLIED) && push_all(push, 8, PUSH_REFUSED));
	ck_assert_uint_eq(b->applies, 1);
	ck_assert_uint_eq(b->subscriptions, 1);
	ck_assert_uint_gt(seen.changes, 0);
	fake_kill(&a);
	await(gone("a"));
	ck_assert_uint_eq(push_list(push, NULL, 0), 2);
	fake_kill(&b);
	fake_kill(&c);
	await(push_list(push, NULL, 0) == 0);
	ck_assert(push_all(push, 99, PUSH_DRAINED));
}
END_TEST

START_TEST(directory_comes_later_and_is_replaced)
{
	struct fake *f;
	char away[80];
	ck_assert_int_eq(rmdir(dir), 0);
	push_start_patient();
	give(1);
	ck_assert(push_all(push, 1, PUSH_DRAINED));
	pass_ms(50);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	f = fake_start(&loop, dir, "a", 1);
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
	snprintf(away, sizeof(away), "%s.away", dir);
	ck_assert_int_eq(rename(dir, away), 0);
	await(gone("a"));
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	f = fake_start(&loop, dir, "b", 2);
	await(is("b", PUSH_DRAINED));
	fake_kill(&f);
	remove_dir();
	ck_assert_int_eq(rename(away, dir), 0);
}
END_TEST

START_TEST(is_found_at_once)
{
	push_start(&(struct push_times){ .rescan_ms = 60000 });
	give(1);
	pass_ms(20);
	struct fake *f = fake_start(&loop, dir, "a", 1);
	uint64_t begun = clock_now_us();
	await(is("a", PUSH_DRAINED));
	ck_assert_uint_lt(clock_now_us() - begun, 10000000);
	fake_kill(&f);
}
END_TEST

START_TEST(unreadable_directory_acknowledges_nothing)
{
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(symlink(dir, dir), 0); /* ELOOP, for root too */
	push_start_patient();
	give(1);
	ck_assert(!push_all(push, 1, PUSH_APPLIED));
	ck_assert_int_eq(unlink(dir), 0);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	await(push_all(push, 1, PUSH_APPLIED));
}
END_TEST

START_TEST(bad_paths)
{
	char path[128] = "";
	ck_assert_ptr_null(push_new(&loop, path, &events, &at));
	memset(path, 'x', sizeof(path) - 1);
	ck_assert_ptr_null(push_new(&loop, path, &events, &at));
	ck_assert_str_ne(at.why, "");
}
END_TEST

START_TEST(stale_and_foreign_things_do_not_matter)
{
	struct fake *dead = fake_start(&loop, dir, "dead", 1);
	struct fake *unlocked = fake_new(&loop, dir, "unlocked", 2);
	struct fake *agent = fake_start(&loop, dir, "agent", 3);
	char path[128];
	fake_kill(&dead);
	fake_listen(unlocked);
	agent->service = "twinring-agent";
	snprintf(path, sizeof(path), "%s/x.lock", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	push_start_patient();
	give(1);
	await(push_all(push, 1, PUSH_DRAINED));
	pass_ms(150);
	ck_assert_uint_eq(push_list(push, NULL, 0), 0);
	ck_assert_uint_eq(agent->applies + unlocked->accepted, 0);
	fake_kill(&unlocked);
	fake_kill(&agent);
}
END_TEST

/* --- topologies ------------------------------------------------------------------------------- */

START_TEST(drained_by_event)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->undrained = true;
	push_start_patient();
	give(1);
	await(is("a", PUSH_APPLIED));
	ck_assert(push_all(push, 1, PUSH_APPLIED) && !push_all(push, 1, PUSH_DRAINED));
	f->undrained = false;
	fake_event(f, "drained");
	await(is("a", PUSH_DRAINED));
	f->undrained = true;
	give(2);
	await(is("a", PUSH_APPLIED));
	/* The first was drained, and stays so. */
	ck_assert(push_all(push, 1, PUSH_DRAINED) && !push_all(push, 2, PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(refused_until_changed)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	push_start(&(struct push_times){ .rescan_ms = 100 });
	give(1);
	await(is("a", PUSH_DRAINED));
	f->refuses = "no servers";
	give(2);
	await(is("a", PUSH_REFUSED));
	ck_assert_str_eq(the("a").error, "$.pools: no servers");
	ck_assert_uint_eq(the("a").version, 1);
	ck_assert(push_all(push, 1, PUSH_DRAINED) && !push_all(push, 2, PUSH_APPLIED));
	pass_ms(250);
	ck_assert_uint_gt(the("a").lag_ms, 200);
	ck_assert_uint_eq(f->applies, 2); /* a minute is not over */
	f->refuses = NULL;
	give(3);
	await(is("a", PUSH_DRAINED));
	ck_assert_str_eq(the("a").error, "");
	fake_kill(&f);
}
END_TEST

START_TEST(refused_is_asked_again)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->refuses = "no memory for that now";
	push_start_patient();
	give(1);
	await(f->applies == 3);
	ck_assert(is("a", PUSH_REFUSED));
	unsigned changes = seen.changes;
	await(f->applies == 5);
	ck_assert_uint_eq(seen.changes, changes); /* no news */
	f->refuses = NULL;
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(unfinished_is_no_refusal)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->unfinished = true;
	push_start_patient();
	give(1);
	await(the("a").error && strstr(the("a").error, "a worker"));
	ck_assert(is("a", PUSH_BEHIND));
	f->unfinished = false;
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(coalesces_to_the_newest)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->hold = true;
	push_start_patient();
	give(1);
	await(f->applies == 1);
	for (int i = 2; i <= 50; i++) give(i);
	give(3); /* older than the newest */
	pass_ms(30);
	ck_assert_uint_eq(f->applies, 1);
	ck_assert(is("a", PUSH_BEHIND));
	f->hold = false;
	fake_release(f);
	await(is("a", PUSH_DRAINED));
	ck_assert_uint_eq(f->applies, 2);
	ck_assert_int_eq(f->version, 50);
	give(50);
	pass_ms(30);
	ck_assert_uint_eq(f->applies, 2);
	fake_kill(&f);
}
END_TEST

START_TEST(wrong_answers_are_no_acknowledgement)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->other_version = true;
	push_start_patient();
	give(1);
	await(is("a", PUSH_REFUSED));
	ck_assert_ptr_nonnull(strstr(the("a").error, "the answer is about"));
	ck_assert(!push_all(push, 1, PUSH_APPLIED));
	f->other_version = false;
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(another_lineage_starts_anew)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	push_start_patient();
	give(9);
	await(push_all(push, 9, PUSH_DRAINED));
	f->refuses = "another lineage is in force";
	json_t *t = topology("two", 3);
	push_topology(push, t);
	json_decref(t);
	ck_assert(!push_all(push, 3, PUSH_APPLIED)); /* 9 of the other one is not more */
	await(is("a", PUSH_REFUSED));
	ck_assert(!push_all(push, 3, PUSH_APPLIED) && !push_all(push, 3, PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(what_others_push_is_noticed)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	push_start_patient();
	give(5);
	await(is("a", PUSH_DRAINED));
	f->version = 8;
	f->refuses = "lower than that of the topology in force";
	fake_event(f, "drained");
	await(is("a", PUSH_REFUSED));
	ck_assert_uint_eq(the("a").version, 8);
	ck_assert(!push_all(push, 5, PUSH_APPLIED));
	fake_kill(&f);
}
END_TEST

/* A topology whose request is exactly `bytes` long, but for the digits of the id. */
static json_t *sized_topology(size_t bytes)
{
	json_t *t = topology("one", 1);
	char *bare = json_dumps(t, JSON_COMPACT);
	const char *frame =
	    "{\"id\":18446744073709551615,\"method\":\"topology.apply\",\"params\":}\n";
	size_t n = bytes - strlen(frame) - strlen(bare) - strlen(",\"x\":\"\"");
	char *filler = malloc(n);
	memset(filler, 'x', n);
	json_object_set_new(t, "x", json_stringn(filler, n));
	free(filler);
	free(bare);
	return t;
}

START_TEST(four_mebibytes)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	push_start_patient();
	json_t *t = sized_topology(CTLMSG_LINE_MAX);
	push_topology(push, t);
	await(is("a", PUSH_DRAINED));
	ck_assert_uint_gt(f->apply_bytes, CTLMSG_LINE_MAX - 20);
	ck_assert(json_equal(f->topology, t));
	json_decref(t);
	t = sized_topology(CTLMSG_LINE_MAX + 1);
	json_object_set_new(t, "version", json_integer(2));
	push_topology(push, t);
	json_decref(t);
	await(is("a", PUSH_REFUSED));
	ck_assert_ptr_nonnull(strstr(the("a").error, "4 MiB"));
	ck_assert_uint_eq(f->applies, 1);
	give(3);
	await(is("a", PUSH_DRAINED));
	ck_assert_uint_eq(f->accepted, 1);
	fake_kill(&f);
}
END_TEST

/* --- silence ---------------------------------------------------------------------------------- */

START_TEST(mute_from_the_start)
{
	struct fake *f = fake_start(&loop, dir, "a", 5);
	f->mute = true;
	push_start(&fast);
	give(1);
	await(f->accepted == 2);
	ck_assert(is("a", PUSH_SILENT) && !push_all(push, 1, PUSH_BEHIND));
	ck_assert_int_eq(the("a").pid, 5); /* from the lock file */
	ck_assert_str_eq(the("a").error, "no answer to \"hello\" within 300 ms");
	f->mute = false;
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(mute_in_an_apply)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->hold = true;
	push_start(&fast);
	give(1);
	await(is("a", PUSH_SILENT) && f->applies == 1);
	ck_assert_str_eq(the("a").error, "no answer to \"topology.apply\" within 300 ms");
	f->hold = false;
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(stopped_without_a_request)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	push_start(&fast);
	give(1);
	await(is("a", PUSH_DRAINED));
	await(f->hellos == 2); /* asked how it is */
	ck_assert(is("a", PUSH_DRAINED));
	f->mute = true;
	await(is("a", PUSH_SILENT));
	ck_assert(!push_all(push, 1, PUSH_DRAINED));
	f->mute = false;
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(lock_without_a_socket)
{
	struct fake *f = fake_new(&loop, dir, "a", 6);
	fake_take_lock(f);
	push_start_patient();
	give(1);
	ck_assert(is("a", PUSH_SILENT) && !push_all(push, 1, PUSH_APPLIED));
	await(strstr(the("a").error, "No such file"));
	pass_ms(300); /* the back-off has grown */
	fake_listen(f);
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
	await(gone("a"));
}
END_TEST

START_TEST(testing_a_lock_does_not_take_it)
{
	char name[8];
	push_start(&(struct push_times){ .rescan_ms = 1 });
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "p%d", i % 10);
		struct fake *f = fake_start(&loop, dir, name, 1);
		pass_ms(1);
		fake_kill(&f);
		io_loop_turn(&loop);
	}
	await(push_list(push, NULL, 0) == 0);
}
END_TEST

/* --- restarts --------------------------------------------------------------------------------- */

START_TEST(proxy_restarts)
{
	push_start_patient();
	give(4);
	for (int i = 1; i <= 3; i++) {
		struct fake *f = fake_start(&loop, dir, "a", i);
		await(is("a", PUSH_DRAINED) && the("a").pid == i);
		ck_assert_uint_eq(f->applies, 1);
		fake_kill(&f);
	}
	await(gone("a"));
}
END_TEST

START_TEST(agent_restarts)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	push_start_patient();
	give(4);
	await(is("a", PUSH_DRAINED));
	push_free(&push);
	push_start_patient();
	await(is("a", PUSH_BEHIND));
	ck_assert_uint_eq(the("a").version, 4);	     /* from hello, */
	ck_assert(!push_all(push, 4, PUSH_APPLIED)); /* which acknowledges nothing */
	give(4);
	await(is("a", PUSH_DRAINED));
	ck_assert_uint_eq(f->applies, 2);
	fake_kill(&f);
}
END_TEST

START_TEST(connection_lost_and_made_again)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	push_start_patient();
	give(1);
	for (unsigned i = 1; i <= 3; i++) {
		await(is("a", PUSH_DRAINED) && f->accepted == i);
		fake_hang_up(f);
		await(is("a", PUSH_SILENT));
	}
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

START_TEST(two_processes_of_one_name)
{
	struct push_proxy list[2];
	struct fake *old = fake_start(&loop, dir, "a", 1), *now;
	push_start_patient();
	give(1);
	await(is("a", PUSH_DRAINED));
	unlink(old->lock_path);
	now = fake_start(&loop, dir, "a", 2);
	await(push_list(push, list, 2) == 2 && list[0].state == PUSH_DRAINED);
	ck_assert_int_eq(list[0].pid, 2);
	ck_assert_int_eq(list[1].pid, 1);
	/* Both live, both must follow. */
	old->undrained = true;
	give(2);
	await(now->version == 2 && old->version == 2);
	await(push_all(push, 2, PUSH_APPLIED));
	ck_assert(!push_all(push, 2, PUSH_DRAINED));
	fake_kill(&old);
	await(push_list(push, list, 2) == 1);
	ck_assert_int_eq(list[0].pid, 2);
	ck_assert(push_all(push, 2, PUSH_DRAINED));
	fake_kill(&now);
}
END_TEST

/* --- garbage and other versions --------------------------------------------------------------- */

static const struct slice garbage[] = {
	SLICE("\n"),
	SLICE("\0\xff\xfe\n"),
	SLICE("[]\n"),
	SLICE("{}\n"),
	SLICE("{\"id\":1}\n"),
	SLICE("{\"id\":1,\"result\":7}\n"),
	SLICE("{\"id\":77,\"result\":{}}\n"),
	SLICE("{\"id\":\"1\",\"result\":{}}\n"),
	SLICE("{\"id\":1,\"result\":{},\"error\":{}}\n"),
	SLICE("{\"id\":1,\"id\":1,\"result\":{}}\n"),
	SLICE("{\"id\":null,\"error\":{\"code\":\"BUSY\",\"message\":\"too many connections\"}}\n"),
	SLICE("HTTP/1.1 400 Bad Request\r\n\r\n"),
	SLICE("{\"id\":1,\"result\":"), /* no end */
};

START_TEST(garbage_closes)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->raw = garbage[_i].p;
	f->raw_bytes = garbage[_i].n;
	push_start(&fast);
	give(1);
	await(f->accepted == 3);
	ck_assert(is("a", PUSH_SILENT) && f->applies == 0);
	ck_assert_str_ne(the("a").error, "");
	f->raw = NULL;
	await(is("a", PUSH_DRAINED));
	fake_kill(&f);
}
END_TEST

/* Needs root. A socket shows who its owner was when it began to listen. */
START_TEST(other_users_are_no_proxies)
{
	if (geteuid() != 0) return;
	struct fake *f = fake_new(&loop, dir, "a", 1);
	fake_take_lock(f);
	ck_assert_int_eq(chmod(dir, 0777), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	fake_listen(f);
	ck_assert_int_eq(seteuid(0), 0);
	push_start_patient();
	give(1);
	await(f->accepted == 2);
	ck_assert(is("a", PUSH_SILENT) && f->hellos == 0);
	ck_assert_str_eq(the("a").error, "the socket belongs to user 65534");
	fake_kill(&f);
}
END_TEST

START_TEST(endless_line_closes)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	size_t n = CTLMSG_LINE_MAX + 100000;
	char *text = malloc(n);
	memset(text, ' ', n);
	f->raw = text;
	f->raw_bytes = n;
	push_start_patient();
	await(f->accepted == 2);
	ck_assert_ptr_nonnull(strstr(the("a").error, "too long"));
	fake_kill(&f);
	free(text);
}
END_TEST

START_TEST(proxy_of_another_version)
{
	static const char *const lacking[] = { "hello", "topology.apply", "health.subscribe",
					       "lease.renew" };
	static const enum push_state state[] = { PUSH_SILENT, PUSH_REFUSED, PUSH_DRAINED,
						 PUSH_DRAINED };
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->lacks = lacking[_i];
	push_start_patient();
	push_lease(push, 90, UINT64_MAX);
	give(1);
	await(is("a", state[_i]) && f->accepted > 0);
	pass_ms(100);
	ck_assert(is("a", state[_i]));
	if (_i < 2) ck_assert_ptr_nonnull(strstr(the("a").error, "no such method"));
	fake_kill(&f);
}
END_TEST

/* --- leases and health ------------------------------------------------------------------------ */

START_TEST(leases)
{
	struct fake *f = fake_start(&loop, dir, "a", 1), *b = fake_start(&loop, dir, "b", 2);
	b->refuses = "no";
	push_start_patient();
	push_lease(push, 150, UINT64_MAX);
	await(is("a", PUSH_BEHIND));
	pass_ms(100);
	ck_assert_uint_eq(f->leases, 0); /* nothing is known to be in force */
	give(1);
	await(f->leases >= 1);
	uint64_t begun = clock_now_us();
	ck_assert_int_eq(f->lease_ms, 150);
	unsigned before = f->leases;
	await(f->leases == before + 4);
	ck_assert_uint_gt(clock_now_us() - begun, 100000);
	ck_assert_uint_eq(b->leases, 0);  /* what it runs is out of date */
	ck_assert(!push_leased(push, 1)); /* b has none */
	push_lease(push, 0, 0);
	pass_ms(30);
	before = f->leases;
	pass_ms(150);
	ck_assert_uint_eq(f->leases, before);
	fake_kill(&f);
	fake_kill(&b);
}
END_TEST

/* A lease counts from when it was confirmed, is given to who has drained, and runs out. */
START_TEST(leases_run_out)
{
	struct fake *f = fake_start(&loop, dir, "a", 1);
	f->undrained = true;
	push_start_patient();
	give(1);
	await(is("a", PUSH_APPLIED));
	push_lease(push, 60000, clock_boot_us() + 300000);
	pass_ms(50);
	ck_assert(f->leases == 0 && !push_leased(push, 1));
	f->undrained = false;
	fake_event(f, "drained");
	await(push_leased(push, 1));
	ck_assert(f->lease_ms > 0 && f->lease_ms <= 300);
	ck_assert(!push_leased(push, 2));
	f->undrained = true; /* with the next one: but its lease still runs */
	unsigned before = f->leases;
	give(2);
	await(push_leased(push, 2) && f->leases > before);
	await(!push_leased(push, 1));
	before = f->leases;
	push_lease(push, 60000, clock_boot_us() + 300000);
	pass_ms(50);
	ck_assert_uint_eq(f->leases, before); /* it ran out: first it has to drain */
	f->undrained = false;
	fake_event(f, "drained");
	await(push_leased(push, 2));
	f->leaseless = true;
	push_lease(push, 60000, clock_boot_us() + 50000);
	await(!push_leased(push, 2));
	fake_kill(&f);
}
END_TEST

START_TEST(health)
{
	struct fake *f = fake_start(&loop, dir, "h", 1);
	push_start_patient();
	give(1);
	await(is("h", PUSH_DRAINED));
	fake_event(f, "health");
	fake_event(f, "unheard of");
	fake_event(f, "health");
	await(seen.health == 2);
	ck_assert_str_eq(seen.health_of, "h");
	fake_kill(&f);
}
END_TEST

/* --- the real one ----------------------------------------------------------------------------- */

static const char *proxy_binary(void)
{
	static char path[256];
	const char *given = getenv("TWINRING_PROXY_BIN"), *mode = getenv("MODE");
	if (given) return given;
	snprintf(path, sizeof(path), "build/%s/twinring-proxy", mode ? mode : "release");
	return access(path, X_OK) == 0 ? path : NULL;
}

static pid_t proxy_start(const char *binary)
{
	char config[128], text[1024];
	snprintf(config, sizeof(config), "%s/p.yml", dir);
	FILE *f = fopen(config, "w");
	snprintf(text, sizeof(text),
		 "proxy: {threads: 2, control: %s/p.sock}\n"
		 "listeners: [{listen: '127.0.0.1:0', pool: p}]\n"
		 "pools: {p: {protocol: memcached, servers: ['127.0.0.1:1:1 a']}}\n",
		 dir);
	ck_assert(f && fputs(text, f) > 0 && fclose(f) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		dup2(null, 2);
		execl(binary, binary, "-c", config, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void proxy_stop(pid_t pid, int sig)
{
	ck_assert_int_eq(kill(pid, sig), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static void give_real(json_int_t version, const char *server)
{
	json_t *t = topology("one", version);
	json_object_set_new(
	    t, "pools",
	    json_pack("{s:{s:s, s:[s]}}", "p", "protocol", "memcached", "servers", server));
	push_topology(push, t);
	json_decref(t);
}

START_TEST(real_proxy)
{
	const char *binary = proxy_binary();
	if (!binary) return;
	pid_t pid = proxy_start(binary);
	push_start(&(struct push_times){ .answer_ms = 2000, .rescan_ms = 200 });
	push_lease(push, 300, UINT64_MAX);
	give_real(5, "127.0.0.1:1:1 a");
	await(is("p", PUSH_DRAINED) && the("p").pid == pid);
	await(seen.health > 0);
	give_real(6, "nonsense::");
	await(is("p", PUSH_REFUSED));
	ck_assert_str_ne(the("p").error, "");
	ck_assert_uint_eq(the("p").version, 5);
	give_real(7, "127.0.0.1:2:1 b");
	await(push_all(push, 7, PUSH_DRAINED));
	kill(pid, SIGSTOP);
	await(is("p", PUSH_SILENT));
	kill(pid, SIGCONT);
	await(is("p", PUSH_DRAINED));
	proxy_stop(pid, SIGKILL);
	await(gone("p"));
	pid = proxy_start(binary); /* comes back with what it saved */
	await(is("p", PUSH_DRAINED) && the("p").pid == pid);
	push_free(&push);
	push_start_patient();
	give_real(6, "127.0.0.1:1:1 a"); /* an agent that slept */
	await(is("p", PUSH_REFUSED));
	ck_assert_uint_eq(the("p").version, 7);
	give_real(8, "127.0.0.1:1:1 a");
	await(is("p", PUSH_DRAINED));
	proxy_stop(pid, SIGTERM);
	await(gone("p"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("push");
	TCase *t = tcase_create("push");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, finds_all_and_sorts);
	tcase_add_test(t, directory_comes_later_and_is_replaced);
	tcase_add_test(t, is_found_at_once);
	tcase_add_test(t, unreadable_directory_acknowledges_nothing);
	tcase_add_test(t, bad_paths);
	tcase_add_test(t, stale_and_foreign_things_do_not_matter);
	tcase_add_test(t, drained_by_event);
	tcase_add_test(t, refused_until_changed);
	tcase_add_test(t, refused_is_asked_again);
	tcase_add_test(t, unfinished_is_no_refusal);
	tcase_add_test(t, coalesces_to_the_newest);
	tcase_add_test(t, wrong_answers_are_no_acknowledgement);
	tcase_add_test(t, another_lineage_starts_anew);
	tcase_add_test(t, what_others_push_is_noticed);
	tcase_add_test(t, four_mebibytes);
	tcase_add_test(t, mute_from_the_start);
	tcase_add_test(t, mute_in_an_apply);
	tcase_add_test(t, stopped_without_a_request);
	tcase_add_test(t, lock_without_a_socket);
	tcase_add_test(t, testing_a_lock_does_not_take_it);
	tcase_add_test(t, proxy_restarts);
	tcase_add_test(t, agent_restarts);
	tcase_add_test(t, connection_lost_and_made_again);
	tcase_add_test(t, two_processes_of_one_name);
	tcase_add_loop_test(t, garbage_closes, 0, (int)(sizeof(garbage) / sizeof(garbage[0])));
	tcase_add_test(t, other_users_are_no_proxies);
	tcase_add_test(t, endless_line_closes);
	tcase_add_loop_test(t, proxy_of_another_version, 0, 4);
	tcase_add_test(t, leases);
	tcase_add_test(t, leases_run_out);
	tcase_add_test(t, health);
	tcase_add_test(t, real_proxy);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
