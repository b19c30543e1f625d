/* Local ejection: who leaves the ring, for how long, and what brings a server back. */
#include "proxy/eject.h"

#include <check.h>

#include "common/log.h"

enum { RETRY_MS = 2000, SECOND = 1000000 };

static struct server_spec servers[] = {
	{ .ring_name = "a", .weight = 1 },
	{ .ring_name = "b", .weight = 1 },
};
static struct pool_spec pools[] = {
	{ .name = "ejects",
	  .servers = servers,
	  .server_count = 2,
	  .auto_eject_hosts = true,
	  .server_retry_timeout_ms = RETRY_MS },
	{ .name = "keeps", .server_count = 0, .server_retry_timeout_ms = RETRY_MS },
};
static struct topology topology = { .pools = pools, .pool_count = 2 };
static struct ejections e;

static void setup(void)
{
	log_level_set(0);
	e = (struct ejections){ .worker_count = 2 };
	pools[0].auto_eject_hosts = true;
	for (int i = 0; i < 2; i++) servers[i].ejected = servers[i].held = false;
}

static void teardown(void)
{
	ejections_fini(&e);
	ck_assert(LIST_EMPTY(&e.list));
}

static bool report(const char *server, uint32_t worker, bool failing, uint64_t now_us)
{
	return ejections_report(&e, &pools[0], server, worker, failing, now_us);
}

START_TEST(a_failure_ejects_until_it_is_well)
{
	ck_assert(report("b", 0, true, SECOND));
	ejections_mark(&e, &topology);
	ck_assert(!servers[0].ejected);
	ck_assert(servers[1].ejected);
	ck_assert(!ejections_expire(&e, 3 * SECOND)); /* long enough, but it still fails */
	ck_assert(!report("b", 0, false, 3 * SECOND));
	ck_assert(ejections_expire(&e, 3 * SECOND));
	servers[1].ejected = false;
	ejections_mark(&e, &topology);
	ck_assert(!servers[1].ejected);
}
END_TEST

/* The nannies eject both; only the one that we have ejected gives its keys away at once. */
START_TEST(what_has_moved_is_not_held)
{
	report("b", 0, true, SECOND);
	for (int i = 0; i < 2; i++) servers[i].ejected = servers[i].held = true;
	ejections_mark(&e, &topology);
	ck_assert(servers[0].ejected && servers[0].held);
	ck_assert(servers[1].ejected && !servers[1].held);
}
END_TEST

START_TEST(not_before_the_retry_timeout)
{
	report("a", 0, true, SECOND);
	report("a", 0, false, SECOND + 1); /* well at once */
	ck_assert(!ejections_expire(&e, SECOND + RETRY_MS * 1000 - 1));
	ck_assert(ejections_expire(&e, SECOND + RETRY_MS * 1000));
	ck_assert(!ejections_expire(&e, 100 * (uint64_t)SECOND)); /* only once */
}
END_TEST

START_TEST(every_worker_must_find_it_well)
{
	ck_assert(report("a", 0, true, SECOND));
	ck_assert(!report("a", 1, true, SECOND)); /* no second ejection */
	report("a", 0, false, 2 * SECOND);
	ck_assert(!ejections_expire(&e, 60 * (uint64_t)SECOND));
	report("a", 1, false, 60 * (uint64_t)SECOND);
	ck_assert(ejections_expire(&e, 60 * (uint64_t)SECOND));
}
END_TEST

START_TEST(a_relapse_keeps_it_out)
{
	report("a", 0, true, SECOND);
	report("a", 0, false, 2 * SECOND);
	report("a", 0, true, 2 * SECOND);
	ck_assert(!ejections_expire(&e, 60 * (uint64_t)SECOND));
}
END_TEST

START_TEST(good_news_of_the_well_are_none)
{
	ck_assert(!report("a", 0, false, SECOND));
	ck_assert(LIST_EMPTY(&e.list));
	ejections_mark(&e, &topology);
	ck_assert(!servers[0].ejected);
}
END_TEST

START_TEST(servers_are_told_apart)
{
	ck_assert(report("a", 0, true, SECOND));
	ck_assert(report("b", 0, true, 2 * SECOND));
	report("a", 0, false, 3 * SECOND);
	ck_assert(ejections_expire(&e, 3 * SECOND));
	ejections_mark(&e, &topology);
	ck_assert(!servers[0].ejected);
	ck_assert(servers[1].ejected);
}
END_TEST

START_TEST(only_pools_that_ask_for_it)
{
	ck_assert(!ejections_report(&e, &pools[1], "a", 0, true, SECOND));
	ck_assert(LIST_EMPTY(&e.list));
	/* and no longer, once a reload has turned it off */
	ck_assert(report("a", 0, true, SECOND));
	pools[0].auto_eject_hosts = false;
	ejections_mark(&e, &topology);
	ck_assert(!servers[0].ejected);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("eject");
	TCase *t = tcase_create("eject");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_failure_ejects_until_it_is_well);
	tcase_add_test(t, what_has_moved_is_not_held);
	tcase_add_test(t, not_before_the_retry_timeout);
	tcase_add_test(t, every_worker_must_find_it_well);
	tcase_add_test(t, a_relapse_keeps_it_out);
	tcase_add_test(t, good_news_of_the_well_are_none);
	tcase_add_test(t, servers_are_told_apart);
	tcase_add_test(t, only_pools_that_ask_for_it);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
