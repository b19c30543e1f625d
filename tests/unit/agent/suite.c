#include "tests/unit/agent/suite.h"

#include <stdio.h>
#include <stdlib.h>

static suite_open_fn suite_open;
static struct io_loop loop;
static struct rig rig, other; /* two sessions in one tree */

static void suite_start(struct rig *r)
{
	*r = (struct rig){ .loop = &loop };
	suite_open(r);
	ck_assert(rig_wait(&loop, &r->sessions[STORE_NEW_SESSION], 1));
}

static void setup(void)
{
	ck_assert(io_loop_init(&loop));
	suite_start(&rig);
	suite_start(&other);
}

static void teardown(void)
{
	store_free(&rig.store);
	store_free(&other.store);
	io_loop_fini(&loop);
}

START_TEST(test_create_and_read)
{
	struct answer made = rig_create(&rig, "a", "one", 0);
	ck_assert_int_eq(made.rc, STORE_OK);
	ck_assert_str_eq(made.path, "a");
	struct answer a = rig_get(&other, "/a", false);
	ck_assert_int_eq(a.rc, STORE_OK);
	ck_assert_str_eq(a.data, "one");
	ck_assert_int_eq(a.stat.version, 0);
	ck_assert(a.stat.mzxid == made.stat.mzxid && a.stat.mzxid == a.stat.czxid);
	ck_assert(!a.stat.mine);
	ck_assert_int_eq(rig_create(&other, "a", "two", 0).rc, STORE_NODE_EXISTS);
	ck_assert_int_eq(rig_create(&rig, "x/y", "", 0).rc, STORE_NO_NODE);
	ck_assert_int_eq(rig_get(&rig, "x", false).rc, STORE_NO_NODE);
	ck_assert_int_eq(rig_list(&rig, "x", false).rc, STORE_NO_NODE);
	ck_assert_int_eq(rig_put(&rig, "x", "", STORE_ANY_VERSION).rc, STORE_NO_NODE);
	ck_assert_int_eq(rig_delete(&rig, "x", STORE_ANY_VERSION).rc, STORE_NO_NODE);
	ck_assert_int_eq(rig_sync(&rig).rc, STORE_OK);
}
END_TEST

START_TEST(test_compare_and_set)
{
	struct answer made = rig_create(&rig, "a", "", 0);
	struct answer put = rig_put(&rig, "a", "1", 0);
	ck_assert_int_eq(put.rc, STORE_OK);
	ck_assert_int_eq(put.stat.version, 1);
	ck_assert(put.stat.mzxid > made.stat.mzxid);
	ck_assert(put.stat.czxid == made.stat.czxid);
	ck_assert_int_eq(rig_put(&other, "a", "2", 0).rc, STORE_BAD_VERSION);
	ck_assert_int_eq(rig_put(&other, "a", "2", 1).rc, STORE_OK);
	ck_assert_int_eq(rig_put(&rig, "a", "2", 1).rc, STORE_BAD_VERSION);
	ck_assert_int_eq(rig_put(&rig, "a", "2", STORE_ANY_VERSION).stat.version, 3);
	ck_assert_int_eq(rig_delete(&rig, "a", 2).rc, STORE_BAD_VERSION);
	ck_assert_int_eq(rig_delete(&rig, "a", 3).rc, STORE_OK);
	ck_assert_int_eq(rig_get(&other, "a", false).rc, STORE_NO_NODE);
	struct answer again = rig_create(&other, "a", "", 0);
	ck_assert_int_eq(again.stat.version, 0);
	ck_assert(again.stat.mzxid > put.stat.mzxid);
}
END_TEST

START_TEST(test_children)
{
	ck_assert_int_eq(rig_create(&rig, "p", "data", 0).rc, STORE_OK);
	ck_assert_int_eq(rig_create(&rig, "p/b", "", 0).rc, STORE_OK);
	ck_assert_int_eq(rig_create(&rig, "p/c", "text", 0).rc, STORE_OK);
	ck_assert_int_eq(rig_create(&rig, "p/a/deep/er", "x", STORE_PARENTS).rc, STORE_OK);
	struct answer a = rig_list(&other, "p", false);
	ck_assert_int_eq(a.rc, STORE_OK);
	ck_assert_uint_eq(a.name_count, 3);
	ck_assert_str_eq(a.names[0], "a");
	ck_assert_str_eq(a.names[1], "b");
	ck_assert_str_eq(a.names[2], "c");
	a = rig_get(&other, "p", false);
	ck_assert_str_eq(a.data, "data");
	ck_assert_uint_eq(a.stat.children, 3);
	ck_assert_int_eq(a.stat.version, 0);
	ck_assert_uint_eq(rig_list(&rig, "", false).name_count, 1);
	ck_assert_uint_eq(rig_list(&rig, "p/c", false).name_count, 0);
	ck_assert_uint_eq(rig_get(&rig, "p/a", false).bytes, 0);
	ck_assert_int_eq(rig_put(&rig, "p/a", "inner", 0).rc, STORE_OK);
	ck_assert_str_eq(rig_get(&rig, "p/a", false).data, "inner");
	ck_assert_int_eq(rig_delete(&rig, "p", STORE_ANY_VERSION).rc, STORE_NOT_EMPTY);
	ck_assert_int_eq(rig_delete(&rig, "p/a", STORE_ANY_VERSION).rc, STORE_NOT_EMPTY);
	ck_assert_int_eq(rig_delete(&rig, "p/a/deep/er", 0).rc, STORE_OK);
	ck_assert_int_eq(rig_delete(&rig, "p/a/deep", 0).rc, STORE_OK);
	ck_assert_int_eq(rig_delete(&rig, "p/a", 1).rc, STORE_OK);
	ck_assert_uint_eq(rig_list(&rig, "p", false).name_count, 2);
	ck_assert_int_eq(rig_create(&rig, "p/b", "", STORE_PARENTS).rc, STORE_NODE_EXISTS);
}
END_TEST

START_TEST(test_ephemeral)
{
	ck_assert_int_eq(rig_create(&rig, "live", "", 0).rc, STORE_OK);
	struct answer a = rig_create(&rig, "live/me", "{}", STORE_EPHEMERAL);
	ck_assert_int_eq(a.rc, STORE_OK);
	ck_assert(a.stat.mine);
	ck_assert(rig_get(&rig, "live/me", false).stat.mine);
	ck_assert(!rig_get(&other, "live/me", true).stat.mine);
	ck_assert_int_eq(rig_create(&other, "live/me", "{}", STORE_EPHEMERAL).rc,
			 STORE_NODE_EXISTS);
	ck_assert(rig_put(&rig, "live/me", "{1}", 0).stat.mine);
	ck_assert_int_eq(rig_create(&rig, "live/me/too", "", 0).rc, STORE_INVALID);
	ck_assert(rig_wait(&loop, &other.changes, 1)); /* the put */
	ck_assert_int_eq(rig_get(&other, "live/me", true).rc, STORE_OK);
	store_free(&rig.store);
	ck_assert_ptr_null(rig.store);
	ck_assert(rig_wait(&loop, &other.changes, 2));
	ck_assert_str_eq(other.changed, "live/me");
	ck_assert_int_eq(rig_get(&other, "live/me", false).rc, STORE_NO_NODE);
	ck_assert_uint_eq(rig_list(&other, "live", false).name_count, 0);
}
END_TEST

START_TEST(test_sequential)
{
	struct answer a =
	    rig_create(&rig, "lock/n-", "a", STORE_SEQUENTIAL | STORE_EPHEMERAL | STORE_PARENTS);
	struct answer b = rig_create(&other, "lock/n-", "b", STORE_SEQUENTIAL | STORE_EPHEMERAL);
	ck_assert_int_eq(a.rc, STORE_OK);
	ck_assert_int_eq(b.rc, STORE_OK);
	ck_assert_uint_eq(strlen(a.path), strlen("lock/n-0000000000"));
	ck_assert_str_lt(a.path, b.path);
	ck_assert_int_eq(rig_delete(&other, b.path, 0).rc, STORE_OK);
	struct answer c = rig_create(&rig, "lock/n-", "c", STORE_SEQUENTIAL);
	ck_assert_str_gt(c.path, b.path); /* numbers do not come back */
	ck_assert(!rig_get(&rig, c.path, false).stat.mine);
	ck_assert(rig_get(&rig, a.path, false).stat.mine);
}
END_TEST

START_TEST(test_watch_once)
{
	rig_create(&rig, "a", "0", 0);
	rig_get(&rig, "a", true);
	rig_put(&other, "a", "1", STORE_ANY_VERSION);
	ck_assert(rig_wait(&loop, &rig.changes, 1));
	ck_assert_str_eq(rig.changed, "a");
	rig_put(&other, "a", "2", STORE_ANY_VERSION);
	rig_pass(&loop, 100);
	ck_assert_uint_eq(rig.changes, 1); /* nobody asked again */
	ck_assert_str_eq(rig_get(&rig, "a", true).data, "2");
	rig_put(&other, "a", "3", STORE_ANY_VERSION);
	ck_assert(rig_wait(&loop, &rig.changes, 2));
	ck_assert_str_eq(rig_get(&rig, "a", true).data, "3");
	rig_delete(&other, "a", STORE_ANY_VERSION);
	ck_assert(rig_wait(&loop, &rig.changes, 3));
	ck_assert_uint_eq(other.changes, 0);
}
END_TEST

START_TEST(test_watch_children)
{
	rig_create(&rig, "d", "", 0);
	rig_list(&rig, "d", true);
	rig_create(&other, "d/x", "1", 0);
	ck_assert(rig_wait(&loop, &rig.changes, 1));
	ck_assert_str_eq(rig.changed, "d");
	ck_assert_uint_eq(rig_list(&rig, "d", true).name_count, 1);
	rig_put(&other, "d/x", "2", STORE_ANY_VERSION); /* the same names */
	rig_pass(&loop, 100);
	ck_assert_uint_eq(rig.changes, 1);
	rig_delete(&other, "d/x", STORE_ANY_VERSION);
	ck_assert(rig_wait(&loop, &rig.changes, 2));
}
END_TEST

START_TEST(test_watch_missing)
{
	ck_assert_int_eq(rig_get(&rig, "later", true).rc, STORE_NO_NODE);
	rig_create(&other, "later", "1", 0);
	ck_assert(rig_wait(&loop, &rig.changes, 1));
	ck_assert_str_eq(rig.changed, "later");
	ck_assert_int_eq(rig_list(&rig, "q/r", true).rc, STORE_NO_NODE);
	rig_create(&other, "q/r", "1", STORE_PARENTS);
	ck_assert(rig_wait(&loop, &rig.changes, 2));
	ck_assert_str_eq(rig.changed, "q/r");
}
END_TEST

static struct {
	unsigned reads, events;
	char last[16];
	int64_t mzxid;
} follow;

static void follow_on_data(void *ctx, enum store_rc rc, struct slice data,
			   const struct store_stat *stat)
{
	(void)ctx;
	ck_assert_int_eq(rc, STORE_OK);
	ck_assert(stat->mzxid >= follow.mzxid);
	follow.mzxid = stat->mzxid;
	follow.reads++;
	snprintf(follow.last, sizeof(follow.last), "%.*s", (int)data.n, data.p);
}

/* 1,000 quick writes, with somebody who reads again at every event. */
START_TEST(test_burst)
{
	memset(&follow, 0, sizeof(follow));
	rig_create(&rig, "a", "-", 0);
	store_get(rig.store, "a", true, follow_on_data, NULL);
	ck_assert(rig_wait(&loop, &follow.reads, 1));
	static struct answer puts;
	memset(&puts, 0, sizeof(puts));
	for (int i = 0; i < 1000; i++) {
		char text[16];
		snprintf(text, sizeof(text), "%d", i);
		store_put(other.store, "a", slice_of(text), STORE_ANY_VERSION, rig_on_done, &puts);
	}
	unsigned seen = rig.changes;
	while (strcmp(follow.last, "999") != 0) {
		ck_assert(rig_wait(&loop, &rig.changes, seen + 1));
		seen = rig.changes;
		store_get(rig.store, "a", true, follow_on_data, NULL);
		ck_assert(rig_wait(&loop, &follow.reads, follow.reads + 1));
		if (seen == 1) rig_pass(&loop, 20); /* a slow reader misses events, not the end */
	}
	ck_assert(rig_wait(&loop, &puts.calls, 1000));
	ck_assert_uint_le(rig.changes, 1000);
	ck_assert_int_eq(puts.rc, STORE_OK);
}
END_TEST

START_TEST(test_limits)
{
	static char big[STORE_DATA_MAX + 1];
	memset(big, 'x', sizeof(big));
	struct answer a = { 0 };
	store_create(rig.store, "big", (struct slice){ big, sizeof(big) }, 0, rig_on_done, &a);
	ck_assert_uint_eq(a.calls, 0);
	ck_assert(rig_wait(&loop, &a.calls, 1));
	ck_assert_int_eq(a.rc, STORE_TOO_LARGE);
	ck_assert_int_eq(rig_get(&rig, "big", false).rc, STORE_NO_NODE);
	store_create(rig.store, "big", (struct slice){ big, STORE_DATA_MAX }, 0, rig_on_done, &a);
	ck_assert(rig_wait(&loop, &a.calls, 2));
	ck_assert_int_eq(a.rc, STORE_OK);
	ck_assert_uint_eq(rig_get(&rig, "big", false).bytes, STORE_DATA_MAX);
	store_put(rig.store, "big", (struct slice){ big, sizeof(big) }, 0, rig_on_done, &a);
	ck_assert(rig_wait(&loop, &a.calls, 3));
	ck_assert_int_eq(a.rc, STORE_TOO_LARGE);
	ck_assert_uint_eq(rig.sessions[STORE_LOST], 0);
	static const char binary[] = { 'a', 0, (char)0xff, '\n', 0 };
	store_put(rig.store, "big", (struct slice){ binary, 5 }, 0, rig_on_done, &a);
	ck_assert(rig_wait(&loop, &a.calls, 4));
	a = rig_get(&rig, "big", false);
	ck_assert_uint_eq(a.bytes, 5);
}
END_TEST

START_TEST(test_paths)
{
	static const char *const bad[] = { "a//b", "a/",   "//a", ".a",	  "a/..",
					   "..",   "a/.b", "\n",  "a\tb", "\x7f" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_int_eq(rig_create(&rig, bad[i], "", STORE_PARENTS).rc, STORE_INVALID);
		ck_assert_int_eq(rig_get(&rig, bad[i], true).rc, STORE_INVALID);
	}
	char deep[STORE_PATH_MAX + 1];
	memset(deep, 'a', sizeof(deep));
	deep[STORE_PATH_MAX] = '\0';
	ck_assert_int_eq(rig_get(&rig, deep, false).rc, STORE_INVALID);
	ck_assert_int_eq(rig_delete(&rig, "", STORE_ANY_VERSION).rc, STORE_INVALID);
	ck_assert_int_eq(rig_create(&rig, "/", "", 0).rc, STORE_INVALID);
	ck_assert_int_eq(rig_get(&rig, "", false).rc, STORE_OK);
	ck_assert_int_eq(rig_create(&rig, "10.0.0.1:11211 b", "v", 0).rc, STORE_OK);
	ck_assert_str_eq(rig_list(&rig, "/", false).names[0], "10.0.0.1:11211 b");
}
END_TEST

START_TEST(test_free_ends_calls)
{
	struct answer a = { 0 };
	for (int i = 0; i < 10; i++) store_create(rig.store, "a", SLICE(""), 0, rig_on_done, &a);
	store_get(rig.store, "a", true, rig_on_data, &a);
	store_list(rig.store, "", true, rig_on_list, &a);
	store_sync(rig.store, rig_on_done, &a);
	ck_assert_uint_eq(a.calls, 0);
	store_free(&rig.store);
	ck_assert_uint_eq(a.calls, 13);
	rig_pass(&loop, 50);
	ck_assert_uint_eq(a.calls, 13);
	store_free(&rig.store); /* NULL: nothing */
}
END_TEST

void suite_add(TCase *tc, suite_open_fn open)
{
	suite_open = open;
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_create_and_read);
	tcase_add_test(tc, test_compare_and_set);
	tcase_add_test(tc, test_children);
	tcase_add_test(tc, test_ephemeral);
	tcase_add_test(tc, test_sequential);
	tcase_add_test(tc, test_watch_once);
	tcase_add_test(tc, test_watch_children);
	tcase_add_test(tc, test_watch_missing);
	tcase_add_test(tc, test_burst);
	tcase_add_test(tc, test_limits);
	tcase_add_test(tc, test_paths);
	tcase_add_test(tc, test_free_ends_calls);
}
