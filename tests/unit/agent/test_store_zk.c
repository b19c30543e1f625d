#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/zk_handle.h"
#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/agent/suite.h"
#include "tests/unit/agent/zk_server.h"

enum { SESSION_MS = 2000 };

static struct zk_server server;
static unsigned trees;

static void open_for(struct rig *r, const char *chroot, const char *digest, uint32_t session_ms)
{
	struct store_events events = rig_events;
	struct err_at at;
	events.ctx = r;
	char where[192];
	snprintf(where, sizeof(where), "zk:127.0.0.1:%d%s", server.port, chroot);
	ck_assert_int_eq(store_zk_new(r->loop, where, digest, session_ms, &events, &r->store, &at),
			 ERR_NONE);
}

static void open_at(struct rig *r, const char *chroot, const char *digest)
{
	open_for(r, chroot, digest, SESSION_MS);
}

/* The first of a test's two sessions finds no chroot. */
static void suite_open_zk(struct rig *r)
{
	char chroot[64];
	snprintf(chroot, sizeof(chroot), "/twinring/%d/%u", (int)getpid(), trees++ / 2);
	open_at(r, chroot, NULL);
}

static struct io_loop loop;
static struct rig rig;

static void setup(void)
{
	ck_assert(io_loop_init(&loop));
	rig = (struct rig){ .loop = &loop };
}

static void teardown(void)
{
	store_free(&rig.store);
	io_loop_fini(&loop);
}

static void connect_at(const char *chroot)
{
	open_at(&rig, chroot, NULL);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_NEW_SESSION], 1));
}

START_TEST(test_arguments)
{
	static const char *const bad[] = { "",	     "zk:", "localhost", "zk:h:1,",  "zk:h:1,,h:2",
					   ":2181",  "h:",  "h:x",	 "h:1/a//b", "h:1/../x",
					   "h:1,h/x" };
	struct err_at at;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_msg(store_zk_new(&loop, bad[i], NULL, SESSION_MS, &rig_events, &rig.store,
					   &at) == ERR_INVALID,
			      "%s", bad[i]);
		ck_assert_ptr_null(rig.store);
	}
	ck_assert_int_eq(
	    store_zk_new(&loop, "h:1", "nocolon", SESSION_MS, &rig_events, &rig.store, &at),
	    ERR_INVALID);
}
END_TEST

/* Nobody there: calls fail, the store waits, and connects when a server comes. */
START_TEST(test_nobody_there)
{
	zk_server_kill(&server);
	open_at(&rig, "/nobody/there", NULL);
	ck_assert_int_eq(rig_get(&rig, "a", true).rc, STORE_AWAY);
	rig_pass(&loop, 200);
	ck_assert_int_eq(rig_create(&rig, "a", "", 0).rc, STORE_AWAY);
	ck_assert_uint_eq(rig.sessions[STORE_NEW_SESSION], 0);
	ck_assert_uint_eq(rig.sessions[STORE_LOST], 0); /* it never had any */
	zk_server_start(&server);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_NEW_SESSION], 1));
	ck_assert_int_eq(rig_create(&rig, "a", "", 0).rc, STORE_OK);
}
END_TEST

/* One server of three: it takes connections and serves nobody. */
START_TEST(test_no_quorum)
{
	struct zk_server alone;
	struct err_at at;
	struct store_events events = rig_events;
	char where[64];
	zk_server_init(&alone, 3);
	zk_server_run(&alone);
	events.ctx = &rig;
	snprintf(where, sizeof(where), "zk:127.0.0.1:%d/x", alone.port);
	ck_assert_int_eq(store_zk_new(&loop, where, NULL, SESSION_MS, &events, &rig.store, &at),
			 ERR_NONE);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(rig_get(&rig, "a", true).rc, STORE_AWAY);
		rig_pass(&loop, 150);
	}
	ck_assert_uint_eq(rig.sessions[STORE_NEW_SESSION] + rig.sessions[STORE_LOST], 0);
	store_free(&rig.store);
	zk_server_fini(&alone);
}
END_TEST

START_TEST(test_unknown_host)
{
	struct store_events events = rig_events;
	struct err_at at;
	events.ctx = &rig;
	ck_assert_int_eq(store_zk_new(&loop, "no-such-host.invalid:2181", NULL, SESSION_MS, &events,
				      &rig.store, &at),
			 ERR_NONE);
	rig_pass(&loop, 500);
	ck_assert_int_eq(rig_sync(&rig).rc, STORE_AWAY);
}
END_TEST

START_TEST(test_server_restart)
{
	connect_at("/restart");
	rig_create(&rig, "a", "1", 0);
	rig_create(&rig, "eph", "1", STORE_EPHEMERAL);
	rig_get(&rig, "a", true);
	struct answer a = { 0 };
	for (int i = 0; i < 100; i++)
		store_put(rig.store, "a", SLICE("2"), STORE_ANY_VERSION, rig_on_done, &a);
	zk_server_kill(&server);
	for (int i = 0; i < 100; i++)
		store_put(rig.store, "a", SLICE("3"), STORE_ANY_VERSION, rig_on_done, &a);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_LOST], 1));
	ck_assert(rig_wait(&loop, &a.calls, 200));
	ck_assert_int_eq(a.rc, STORE_AWAY); /* of the last one */
	ck_assert_int_eq(rig_get(&rig, "a", true).rc, STORE_AWAY);
	zk_server_start(&server);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_CONNECTED], 1));
	ck_assert_uint_eq(rig.sessions[STORE_NEW_SESSION], 1);
	ck_assert_uint_eq(rig.sessions[STORE_LOST], 1);
	ck_assert(rig_get(&rig, "eph", false).stat.mine);
	ck_assert_int_eq(rig_get(&rig, "a", true).rc, STORE_OK);
	ck_assert_uint_eq(a.calls, 200);
}
END_TEST

/* A second client with our session's id and password, that closes. */
static void steal_session(clientid_t id)
{
	char host[64];
	snprintf(host, sizeof(host), "127.0.0.1:%d", server.port);
	zhandle_t *zh = zookeeper_init2(host, NULL, SESSION_MS, &id, NULL, 0, zk_log);
	ck_assert_ptr_nonnull(zh);
	for (int i = 0; i < 200 && zoo_state(zh) != ZOO_CONNECTED_STATE; i++) usleep(10000);
	zookeeper_close(zh);
}

/* The rig's session ends and it gets another one. Its own client may take the session back before
 * the thief has closed it; then once more. */
static void expire(void)
{
	unsigned before = rig.sessions[STORE_NEW_SESSION];
	uint64_t end = clock_now_us() + RIG_WAIT_MS * 2000ull;
	for (unsigned round = 0; rig.sessions[STORE_NEW_SESSION] == before; round++) {
		clientid_t id;
		ck_assert_uint_lt(clock_now_us(), end);
		bool live = store_zk_session(rig.store, &id.client_id, id.passwd);
		if (live && round % 300 == 0) steal_session(id);
		rig_pass(&loop, 10);
	}
}

START_TEST(test_session_expired)
{
	connect_at("/expired");
	rig_create(&rig, "live", "", 0);
	rig_create(&rig, "live/me", "1", STORE_EPHEMERAL);
	rig_get(&rig, "live", true);
	struct answer a = { 0 };
	for (int i = 0; i < 10; i++)
		store_put(rig.store, "live", SLICE(""), STORE_ANY_VERSION, rig_on_done, &a);
	expire();
	ck_assert(rig_wait(&loop, &a.calls, 10));
	ck_assert_uint_eq(a.calls, 10);
	ck_assert_uint_ge(rig.sessions[STORE_LOST], 1);
	ck_assert_int_eq(rig_get(&rig, "live/me", false).rc, STORE_NO_NODE);
	ck_assert(rig_create(&rig, "live/me", "2", STORE_EPHEMERAL).stat.mine);
}
END_TEST

/* The ensemble was wiped. Servers turn away whoever has seen later transactions than they have, for
 * ever, without a word: only a new handle gets in, and has to make the chroot again. */
START_TEST(test_wiped)
{
	open_for(&rig, "/wiped/tree", NULL, 600);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_NEW_SESSION], 1));
	rig_create(&rig, "a", "1", 0);
	zk_server_kill(&server);
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s/version-2", server.dir);
	ck_assert_int_eq(system(command), 0);
	zk_server_start(&server);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_NEW_SESSION], 2));
	ck_assert_int_eq(rig_get(&rig, "a", false).rc, STORE_NO_NODE);
	ck_assert_int_eq(rig_create(&rig, "a", "1", 0).rc, STORE_OK);
}
END_TEST

START_TEST(test_digest)
{
	struct rig stranger = { .loop = &loop }, friend = { .loop = &loop };
	open_at(&rig, "/digest/tree", "agent:secret");
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_NEW_SESSION], 1));
	ck_assert_int_eq(rig_create(&rig, "a/b", "1", STORE_PARENTS).rc, STORE_OK);
	open_at(&stranger, "/digest/tree", "agent:guess");
	ck_assert(rig_wait(&loop, &stranger.sessions[STORE_NEW_SESSION], 1));
	ck_assert_int_eq(rig_get(&stranger, "a/b", false).rc, STORE_REFUSED);
	ck_assert_int_eq(rig_list(&stranger, "a", false).rc, STORE_REFUSED);
	ck_assert_int_eq(rig_put(&stranger, "a/b", "2", STORE_ANY_VERSION).rc, STORE_REFUSED);
	ck_assert_int_eq(rig_create(&stranger, "a/c", "", 0).rc, STORE_REFUSED);
	ck_assert_int_eq(rig_create(&stranger, "x/y", "", STORE_PARENTS).rc, STORE_REFUSED);
	ck_assert_int_eq(rig_delete(&stranger, "a/b", STORE_ANY_VERSION).rc, STORE_REFUSED);
	open_at(&friend, "/digest/tree", "agent:secret");
	ck_assert(rig_wait(&loop, &friend.sessions[STORE_NEW_SESSION], 1));
	ck_assert_int_eq(rig_put(&friend, "a/b", "2", 0).rc, STORE_OK);
	/* the digest is given again with the next session */
	expire();
	ck_assert_str_eq(rig_get(&rig, "a/b", false).data, "2");
	store_free(&stranger.store);
	store_free(&friend.store);
}
END_TEST

/* Two stores at once on nothing but a root; what one makes the other's watch sees. */
START_TEST(test_without_chroot)
{
	connect_at("/");
	ck_assert_int_eq(rig_list(&rig, "", true).rc, STORE_OK);
	ck_assert_int_eq(rig_create(&rig, "top/x", "", STORE_PARENTS).rc, STORE_OK);
	ck_assert(rig_wait(&loop, &rig.changes, 1));
	ck_assert_str_eq(rig.changed, "");
	ck_assert_int_eq(rig_get(&rig, "/top/x", true).rc, STORE_OK);
	rig_delete(&rig, "top/x", 0);
	ck_assert(rig_wait(&loop, &rig.changes, 2));
	ck_assert_str_eq(rig.changed, "top/x");
}
END_TEST

int main(void)
{
	log_level_set(LOG_LEVEL_ALERT);
	zk_server_init(&server, 1);
	zk_server_start(&server);
	Suite *s = suite_create("store_zk");
	TCase *shared = tcase_create("shared");
	suite_add(shared, suite_open_zk);
	suite_add_tcase(s, shared);
	TCase *own = tcase_create("sessions");
	tcase_add_checked_fixture(own, setup, teardown);
	tcase_set_timeout(own, 60);
	tcase_add_test(own, test_arguments);
	tcase_add_test(own, test_unknown_host);
	tcase_add_test(own, test_no_quorum);
	tcase_add_test(own, test_digest);
	tcase_add_test(own, test_without_chroot);
	tcase_add_test(own, test_session_expired);
	tcase_add_test(own, test_nobody_there);
	tcase_add_test(own, test_server_restart);
	tcase_add_test(own, test_wiped);
	suite_add_tcase(s, own);
	SRunner *r = srunner_create(s);
	/* the server belongs to this process, and some tests restart it */
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	zk_server_fini(&server);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
