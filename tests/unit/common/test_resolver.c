#include <check.h>
#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/resolver.h"

static struct event_base *base;
static struct resolver *resolver;

/* What the fake DNS answers: addresses 10.0.0.x, or nothing. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unblock = PTHREAD_COND_INITIALIZER;
static struct {
	uint8_t last[4]; /* 0 ends; none: failure */
	unsigned lookups;
	bool blocked; /* lookups of "slow" hang */
} dns;

static struct {
	unsigned changes;
	uint32_t id;
	char name[NET_NAME_MAX];
	uint32_t unwatch; /* from within the callback */
} seen;

static bool lookup(const char *host, uint16_t port, struct net_addr *addrs, uint32_t max,
		   uint32_t *count_out, const char **why_out)
{
	char text[32];
	uint32_t n = 0;
	pthread_mutex_lock(&lock);
	while (dns.blocked && !strcmp(host, "slow")) pthread_cond_wait(&unblock, &lock);
	while (n < max && n < 4 && dns.last[n]) {
		snprintf(text, sizeof(text), "10.0.0.%u", dns.last[n]);
		if (!net_addr_numeric(text, port, &addrs[n++]))
			abort(); /* a thread may not ck_assert */
	}
	dns.lookups++;
	pthread_mutex_unlock(&lock);
	*count_out = n;
	*why_out = "Name or service not known";
	return n > 0;
}

static void on_change(void *ctx, uint32_t id, const struct net_addr *addr)
{
	ck_assert_ptr_eq(ctx, &seen);
	seen.changes++;
	seen.id = id;
	net_addr_name(addr, seen.name);
	if (seen.unwatch) resolver_unwatch(resolver, seen.unwatch);
}

static void setup(void)
{
	static const struct resolver_config config = {
		.on_change = on_change,
		.ctx = &seen,
		.refresh_ms = 2,
		.retry_ms = 1,
		.lookup = lookup,
	};
	log_level_set(LOG_LEVEL_CRIT);
	memset(&dns, 0, sizeof(dns));
	memset(&seen, 0, sizeof(seen));
	base = event_base_new();
	resolver = resolver_new(base, &config);
}

static void teardown(void)
{
	resolver_free(&resolver);
	resolver_free(&resolver);
	event_base_free(base);
}

static void answer(const char *last)
{
	pthread_mutex_lock(&lock);
	memset(dns.last, 0, sizeof(dns.last));
	memcpy(dns.last, last, strlen(last));
	pthread_mutex_unlock(&lock);
}

static void block(bool on)
{
	pthread_mutex_lock(&lock);
	dns.blocked = on;
	pthread_cond_broadcast(&unblock);
	pthread_mutex_unlock(&lock);
}

static unsigned lookups(void)
{
	pthread_mutex_lock(&lock);
	unsigned n = dns.lookups;
	pthread_mutex_unlock(&lock);
	return n;
}

static void turn(uint64_t end)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
	poll(NULL, 0, 1);
	ck_assert_msg(clock_now_us() < end, "waited in vain");
}

static void wait_changes(unsigned n)
{
	const uint64_t end = clock_now_us() + 5000000;
	while (seen.changes < n) turn(end);
	ck_assert_uint_eq(seen.changes, n);
}

/* Until n more lookups were made and answered. */
static void wait_lookups(unsigned n)
{
	const uint64_t end = clock_now_us() + 5000000;
	unsigned until = lookups() + n;
	while (lookups() < until) turn(end);
	for (int i = 0; i < 3; i++) turn(end);
}

static void must_be(uint32_t id, const char *want)
{
	char name[NET_NAME_MAX];
	const struct net_addr *a = resolver_addr(resolver, id);
	if (!want) {
		ck_assert_ptr_null(a);
		return;
	}
	ck_assert_ptr_nonnull(a);
	net_addr_name(a, name);
	ck_assert_str_eq(name, want);
}

START_TEST(numeric_at_once)
{
	uint32_t a = resolver_watch(resolver, "127.0.0.1", 80);
	uint32_t b = resolver_watch(resolver, "::1", 81);
	uint32_t c = resolver_watch(resolver, "/tmp/x.sock", 0);
	must_be(a, "127.0.0.1:80");
	must_be(b, "[::1]:81");
	must_be(c, "/tmp/x.sock");
	must_be(resolver_watch(resolver, "", 0), NULL);
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(lookups(), 0);
	ck_assert_uint_eq(seen.changes, 0);
	resolver_unwatch(resolver, a);
	must_be(a, NULL);
	resolver_unwatch(resolver, a);
	resolver_unwatch(resolver, 0);
	resolver_unwatch(resolver, 12345);
}
END_TEST

START_TEST(names_are_reported_once_and_when_they_move)
{
	answer("\1\2");
	uint32_t id = resolver_watch(resolver, "cache", 11211);
	must_be(id, NULL);
	wait_changes(1);
	ck_assert_uint_eq(seen.id, id);
	ck_assert_str_eq(seen.name, "10.0.0.1:11211");
	must_be(id, "10.0.0.1:11211");
	wait_lookups(3);
	answer("\3\2\1"); /* rotated: still there */
	wait_lookups(3);
	ck_assert_uint_eq(seen.changes, 1);
	answer("\4\3");
	wait_changes(2);
	ck_assert_str_eq(seen.name, "10.0.0.4:11211");
}
END_TEST

START_TEST(failure_keeps_the_old_address)
{
	answer("\1");
	uint32_t id = resolver_watch(resolver, "cache", 1);
	wait_changes(1);
	answer("");
	wait_lookups(5);
	must_be(id, "10.0.0.1:1");
	answer("\1");
	wait_lookups(3);
	ck_assert_uint_eq(seen.changes, 1);
	answer("\2");
	wait_changes(2);
}
END_TEST

START_TEST(a_name_that_comes_late)
{
	uint32_t id = resolver_watch(resolver, "cache", 1);
	wait_lookups(3);
	must_be(id, NULL);
	answer("\7");
	wait_changes(1);
	must_be(id, "10.0.0.7:1");
}
END_TEST

START_TEST(one_slow_name_does_not_hold_up_others)
{
	answer("\1");
	block(true);
	resolver_watch(resolver, "slow", 1);
	uint32_t fast = resolver_watch(resolver, "fast", 1);
	wait_changes(1);
	ck_assert_uint_eq(seen.id, fast);
	block(false);
	wait_changes(2);
}
END_TEST

START_TEST(answers_to_nobody_are_dropped)
{
	answer("\1");
	block(true);
	uint32_t id = resolver_watch(resolver, "slow", 1);
	resolver_unwatch(resolver, id);
	/* the same id again, for another name: the late answer must not reach it */
	ck_assert_uint_eq(resolver_watch(resolver, "127.0.0.9", 9), id);
	block(false);
	wait_lookups(0);
	const uint64_t end = clock_now_us() + 5000000;
	while (lookups() < 1) turn(end);
	for (int i = 0; i < 5; i++) turn(end);
	ck_assert_uint_eq(seen.changes, 0);
	must_be(id, "127.0.0.9:9");
}
END_TEST

START_TEST(callback_may_unwatch)
{
	answer("\1");
	seen.unwatch = resolver_watch(resolver, "cache", 1);
	wait_changes(1);
	must_be(seen.unwatch, NULL);
}
END_TEST

START_TEST(free_does_not_wait_for_a_hanging_lookup)
{
	answer("\1");
	block(true);
	for (int i = 0; i < 10; i++) resolver_watch(resolver, "slow", 1);
	event_base_loop(base, EVLOOP_NONBLOCK);
	resolver_free(&resolver);
	ck_assert_ptr_null(resolver);
	ck_assert_uint_eq(lookups(), 0);
	block(false);
}
END_TEST

START_TEST(many_watches)
{
	uint32_t ids[100];
	answer("\1");
	for (int i = 0; i < 100; i++) ids[i] = resolver_watch(resolver, "n", (uint16_t)(i + 1));
	wait_changes(100);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(net_addr_port(resolver_addr(resolver, ids[i])), i + 1);
}
END_TEST

START_TEST(the_system_knows_localhost)
{
	static const struct resolver_config config = { .on_change = on_change, .ctx = &seen };
	struct resolver *r = resolver_new(base, &config);
	uint32_t id = resolver_watch(r, "localhost", 80);
	wait_changes(1);
	ck_assert_uint_eq(seen.id, id);
	ck_assert_uint_eq(net_addr_port(resolver_addr(r, id)), 80);
	resolver_free(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("resolver");
	TCase *t = tcase_create("resolver");
	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, numeric_at_once);
	tcase_add_test(t, names_are_reported_once_and_when_they_move);
	tcase_add_test(t, failure_keeps_the_old_address);
	tcase_add_test(t, a_name_that_comes_late);
	tcase_add_test(t, one_slow_name_does_not_hold_up_others);
	tcase_add_test(t, answers_to_nobody_are_dropped);
	tcase_add_test(t, callback_may_unwatch);
	tcase_add_test(t, free_does_not_wait_for_a_hanging_lookup);
	tcase_add_test(t, many_watches);
	tcase_add_test(t, the_system_knows_localhost);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
