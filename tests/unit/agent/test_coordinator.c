/* From specs and votes to states, and from states to topologies: coordinator, reader and what they
 * stand on, against a directory of files. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/coordinator.h"
#include "agent/election.h"
#include "agent/keeper.h"
#include "agent/reader.h"
#include "tests/unit/agent/rig.h"

#define SPEC                                                                                    \
	"servers: [\"127.0.0.1:1:1 a\", \"127.0.0.1:2:1 b\", \"127.0.0.1:3:1 c\"]\non_rejoin: " \
	"keep\n"

static char dir[64], cache[80];
static struct io_loop loop;
static struct rig rig; /* ours; the coordinator and the reader use it too */
static struct coordinator *coordinator;
static struct reader *reader;
static struct keeper *keeper;
static uint32_t ring_grace_ms = 3600000;
static struct coordinator_view followed; /* what the coordinator is told of its own agent */
static unsigned topologies, decisions;
static json_t *topology;
static char last_decision[400];

static void on_session(void *ctx, enum store_session s)
{
	(void)ctx;
	rig.sessions[s]++;
}

static void on_change(void *ctx, const char *path)
{
	(void)ctx;
	if (coordinator) coordinator_changed(coordinator, path);
	if (reader) reader_changed(reader, path);
}

static void on_decision(void *ctx, const char *what, const char *pool, const char *server,
			const char *why)
{
	(void)ctx;
	decisions++;
	snprintf(last_decision, sizeof(last_decision), "%s %s %s: %s", pool, what,
		 server ? server : "-", why ? why : "");
}

static bool in_force(void *ctx, const char *pool, struct coordinator_view *out)
{
	(void)ctx;
	(void)pool;
	*out = followed;
	return followed.epoch > 0;
}

static void on_topology(void *ctx, const json_t *doc, uint64_t version, bool confirmed)
{
	(void)ctx;
	(void)version;
	(void)confirmed;
	topologies++;
	json_decref(topology);
	topology = json_deep_copy(doc);
}

static void on_read(void *ctx)
{
	(void)ctx;
}

static void start(void)
{
	struct store_events events = { on_session, on_change, NULL };
	struct coordinator_events told = { on_decision, in_force, NULL, NULL };
	struct reader_events read = { on_topology, on_read, NULL };
	struct err_at at;
	rig = (struct rig){ .loop = &loop };
	ck_assert_int_eq(store_file_new(&loop, dir, &events, &rig.store, &at), ERR_NONE);
	ck_assert(rig_wait(&loop, &rig.sessions[STORE_NEW_SESSION], 1));
	rig_create(&rig, "cluster", "{\"format\":1,\"lineage\":\"L\"}", 0);
	rig_create(&rig, "pools", "", 0);
	rig_create(&rig, "agents/me", "{}", STORE_PARENTS);
	coordinator = coordinator_new(&loop, rig.store, "me", ring_grace_ms, &told);
	coordinator_session(coordinator, STORE_NEW_SESSION);
	coordinator_elect(coordinator, true);
	reader = reader_new(&loop, rig.store, cache, 60000, &read);
	reader_poke(reader);
	keeper = keeper_new(&loop, rig.store);
	keeper_session(keeper, STORE_NEW_SESSION);
}

static void stop(void)
{
	store_free(&rig.store);
	coordinator_free(&coordinator);
	reader_free(&reader);
	keeper_free(&keeper);
	json_decref(topology);
	topology = NULL;
	topologies = decisions = 0;
	followed = (struct coordinator_view){ 0 };
}

static void setup(void)
{
	ck_assert(io_loop_init(&loop));
	snprintf(dir, sizeof(dir), "/tmp/twinring-plane-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(cache, sizeof(cache), "%.63s.cache", dir);
	start();
}

static void teardown(void)
{
	char command[300];
	stop();
	io_loop_fini(&loop);
	snprintf(command, sizeof(command), "rm -rf %s %s %s.old", dir, cache, cache);
	ck_assert_int_eq(system(command), 0);
}

/* Turn the loop until `path` holds `text` somewhere. */
static void await(const char *path, const char *text)
{
	struct answer a = { 0 };
	for (int i = 0; i < 400; i++) {
		a = rig_get(&rig, path, false);
		if (a.rc == STORE_OK && strstr(a.data, text)) return;
		rig_pass(&loop, 10);
	}
	ck_abort_msg("%s has no %s: %s", path, text, a.data);
}

static void await_topologies(unsigned n)
{
	ck_assert_msg(rig_wait(&loop, &topologies, n), "%u topologies", topologies);
}

static bool server_is_ejected(const char *name)
{
	json_t *servers =
	    json_object_get(json_object_get(json_object_get(topology, "pools"), "p"), "servers");
	json_t *s;
	size_t i;
	json_array_foreach (servers, i, s) {
		if (strcmp(json_string_value(json_object_get(s, "name")), name) == 0)
			return json_is_true(json_object_get(s, "ejected"));
	}
	return false;
}

START_TEST(a_spec_becomes_a_state_and_a_topology)
{
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await("pools/p/state", "\"epoch\":1");
	await("pools/p/state", "\"lineage\":\"L\"");
	await_topologies(1);
	ck_assert_uint_eq(json_array_size(json_object_get(
			      json_object_get(json_object_get(topology, "pools"), "p"), "servers")),
			  3);
	await("pools/p/status", "\"waiting\"");
	await("pools/p/status", "\"blocked_on\":[\"me\"]");
	keeper_set(keeper, "pools/p/barrier/1.0/me", SLICE("{}"), true);
	await("pools/p/status", "\"ok\"");
}
END_TEST

START_TEST(a_refused_spec_changes_nothing_but_the_status)
{
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await_topologies(1);
	rig_put(&rig, "pools/p/spec", SPEC "tiemout_ms: 5\n", STORE_ANY_VERSION);
	await("pools/p/status", "\"rejected\"");
	await("pools/p/status", "spec:3:1");
	await("pools/p/state", "\"epoch\":1");
	rig_put(&rig, "pools/p/spec", SPEC "timeout_ms: 5\n", STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":2");
	await("pools/p/status", "\"rejected\":null");
	await_topologies(2);
}
END_TEST

START_TEST(a_pool_that_shrinks_too_much_needs_a_word)
{
	const char *less = "servers: [\"127.0.0.1:1:1 a\"]\non_rejoin: keep\n";
	char confirmed[200];
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await_topologies(1);
	rig_put(&rig, "pools/p/spec", less, STORE_ANY_VERSION);
	await("pools/p/status", "\"rejected\":{");
	snprintf(confirmed, sizeof(confirmed), "%sconfirm_shrink_to: 1\n", less);
	rig_put(&rig, "pools/p/spec", confirmed, STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":2");
}
END_TEST

START_TEST(votes_eject_and_their_end_returns)
{
	rig_create(&rig, "pools/p/spec", SPEC "ejection: {backoff_ms: 50}\n", STORE_PARENTS);
	await_topologies(1);
	keeper_set(keeper, "lock/nanny/n1", SLICE("{\"abstains\":null}"), true);
	keeper_set(keeper, "pools/p/votes/b/n1", SLICE("{\"why\":\"it burns\"}"), true);
	await("pools/p/state", "it burns");
	await_topologies(2);
	ck_assert(server_is_ejected("b"));
	ck_assert(strstr(last_decision, "p ejected b") == last_decision);
	keeper_unset(keeper, "pools/p/votes/b/n1");
	await("pools/p/state", "\"ejected\":[]");
	await_topologies(3);
	ck_assert(!server_is_ejected("b"));
}
END_TEST

START_TEST(an_ejected_server_is_held_until_nobody_asks_it)
{
	char path[STORE_PATH_MAX];
	rig_create(&rig, "agents/slow", "{}", STORE_PARENTS);
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await_topologies(1);
	keeper_set(keeper, "lock/nanny/n1", SLICE("{\"abstains\":null}"), true);
	keeper_set(keeper, "pools/p/votes/b/n1", SLICE("{\"why\":\"it burns\"}"), true);
	await("pools/p/state", "it burns");
	rig_pass(&loop, 300);
	await("pools/p/state", "\"held\":true");
	ck_assert(server_is_ejected("b"));
	snprintf(path, sizeof(path), "pools/p/barrier/2.0/slow");
	rig_create(&rig, path, "{}", STORE_PARENTS);
	rig_create(&rig, "pools/p/barrier/2.0/me", "{}", STORE_PARENTS);
	await("pools/p/state", "\"step\":1");
	struct answer a = rig_get(&rig, "pools/p/state", false);
	ck_assert_ptr_null(strstr(a.data, "held"));
}
END_TEST

START_TEST(a_nanny_that_abstains_has_no_vote)
{
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await_topologies(1);
	keeper_set(keeper, "lock/nanny/n1", SLICE("{\"abstains\":\"cut off\"}"), true);
	keeper_set(keeper, "pools/p/votes/b/n1", SLICE("{}"), true);
	rig_pass(&loop, 300);
	await("pools/p/state", "\"ejected\":[]");
}
END_TEST

START_TEST(a_broken_or_deleted_state_changes_nothing)
{
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await_topologies(1);
	ck_assert_ptr_null(reader_alarm(reader));
	coordinator_elect(coordinator, false);
	rig_put(&rig, "pools/p/state", "{", STORE_ANY_VERSION);
	rig_pass(&loop, 200);
	ck_assert_uint_eq(topologies, 1);
	ck_assert_ptr_nonnull(reader_problem(reader));
	ck_assert_ptr_nonnull(reader_alarm(reader));
	rig_delete(&rig, "pools/p/state", STORE_ANY_VERSION);
	rig_pass(&loop, 200);
	ck_assert_uint_eq(topologies, 1);
	ck_assert_uint_eq(reader_pool_count(reader), 1);
	rig_create(&rig, "removed/p", "", STORE_PARENTS);
	for (int i = 0; i < 100 && reader_pool_count(reader) > 0; i++) rig_pass(&loop, 10);
	ck_assert_uint_eq(reader_pool_count(reader), 0);
}
END_TEST

START_TEST(a_successor_goes_on_from_the_tree_alone)
{
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await_topologies(1);
	stop();
	start();
	/* From the cache at once, then confirmed: the same topology is not told twice. */
	await_topologies(1);
	await("pools/p/state", "\"epoch\":1");
	rig_put(&rig, "pools/p/spec", SPEC "timeout_ms: 77\n", STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":2");
	await_topologies(2);
}
END_TEST

START_TEST(a_broken_state_is_reported_and_waits_for_an_operator)
{
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await_topologies(1);
	await("pools/p/status", "\"problem\":null");
	rig_put(&rig, "pools/p/state", "{\"lineage\":", STORE_ANY_VERSION);
	await("pools/p/status", "\"broken\"");
	await("pools/p/status", "\"where\":\"state");
	ck_assert_msg(strstr(last_decision, "p state broken -: state") == last_decision, "%s",
		      last_decision);
	rig_put(&rig, "pools/p/spec", SPEC "timeout_ms: 5\n", STORE_ANY_VERSION);
	rig_pass(&loop, 200);
	ck_assert_str_eq(rig_get(&rig, "pools/p/state", false).data, "{\"lineage\":");
	rig_delete(&rig, "pools/p/state", STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":2");
	await("pools/p/status", "\"problem\":null");
	await_topologies(2);
}
END_TEST

START_TEST(a_state_of_another_lineage_is_reported)
{
	char other[4096];
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await("pools/p/status", "\"epoch\":1");
	struct answer a = rig_get(&rig, "pools/p/state", false);
	snprintf(other, sizeof(other), "%s", a.data);
	char *at = strstr(other, "\"L\"");
	ck_assert_ptr_nonnull(at);
	at[1] = 'M';
	rig_put(&rig, "pools/p/state", other, STORE_ANY_VERSION);
	await("pools/p/status", "another lineage");
	rig_put(&rig, "pools/p/state", a.data, STORE_ANY_VERSION);
	await("pools/p/status", "\"waiting\"");
	ck_assert(strstr(last_decision, "p state whole") == last_decision);
}
END_TEST

START_TEST(what_our_own_agent_does_not_follow_is_reported)
{
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await("pools/p/status", "\"waiting\"");
	followed = (struct coordinator_view){ "L", 7, "is older than what is in force" };
	coordinator_changed(coordinator, "pools/p/state");
	rig_pass(&loop, 300);
	/* It reads the tree a moment before or after us: that is no trouble. */
	ck_assert_ptr_null(strstr(rig_get(&rig, "pools/p/status", false).data, "broken"));
	await("pools/p/status", "is older than");
	/* The next edit goes beyond what is in force. */
	rig_put(&rig, "pools/p/spec", SPEC "timeout_ms: 5\n", STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":8");
	followed = (struct coordinator_view){ "L", 8, NULL };
	coordinator_changed(coordinator, "pools/p/state");
	await("pools/p/status", "\"problem\":null");
	/* Another lineage counts its epochs by itself. */
	followed = (struct coordinator_view){ "M", 70, NULL };
	rig_put(&rig, "pools/p/spec", SPEC "timeout_ms: 6\n", STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":9");
}
END_TEST

/* Turn the loop until so many ring bodies are there. */
static void await_rings(uint32_t count)
{
	struct answer a = { 0 };
	for (int i = 0; i < 400; i++) {
		a = rig_list(&rig, "pools/p/rings", false);
		if (a.rc == STORE_OK && a.name_count == count) return;
		rig_pass(&loop, 10);
	}
	ck_abort_msg("%u ring bodies, not %u", a.name_count, count);
}

static void ring_of_state(char out[65])
{
	struct answer a = rig_get(&rig, "pools/p/state", false);
	const char *at = strstr(a.data, "\"ring\":\"");
	ck_assert_ptr_nonnull(at);
	snprintf(out, 65, "%.64s", at + strlen("\"ring\":\""));
}

static void restart_with_grace(uint32_t ms)
{
	stop();
	ring_grace_ms = ms;
	start();
	ring_grace_ms = 3600000;
}

START_TEST(ring_bodies_go_when_nobody_has_named_them_for_long)
{
	char first[65], now[65], path[STORE_PATH_MAX];
	restart_with_grace(700);
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await("pools/p/state", "\"epoch\":1");
	ring_of_state(first);
	rig_put(&rig, "pools/p/spec", SPEC "timeout_ms: 5\n", STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":2");
	rig_put(&rig, "pools/p/spec", SPEC "timeout_ms: 6\n", STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":3");
	await_rings(3);
	/* The first is used again before its time is over: then its time begins anew. */
	rig_pass(&loop, 400);
	rig_put(&rig, "pools/p/spec", SPEC, STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":4");
	ring_of_state(now);
	ck_assert_str_eq(first, now);
	rig_pass(&loop, 100);
	rig_put(&rig, "pools/p/spec", SPEC "timeout_ms: 7\n", STORE_ANY_VERSION);
	await("pools/p/state", "\"epoch\":5");
	await_rings(3); /* the second is gone */
	snprintf(path, sizeof(path), "pools/p/rings/%s", first);
	ck_assert_int_eq(rig_get(&rig, path, false).rc, STORE_OK);
	await_rings(1);
	ring_of_state(now);
	snprintf(path, sizeof(path), "pools/p/rings/%s", now);
	ck_assert_int_eq(rig_get(&rig, path, false).rc, STORE_OK);
}
END_TEST

START_TEST(a_ring_that_the_state_names_anywhere_stays)
{
	static const char other[] =
	    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char state[4096], with_other[8192], path[STORE_PATH_MAX];
	restart_with_grace(300);
	rig_create(&rig, "pools/p/spec", SPEC, STORE_PARENTS);
	await("pools/p/state", "\"epoch\":1");
	struct answer a = rig_get(&rig, "pools/p/state", false);
	snprintf(state, sizeof(state), "%s", a.data);
	char *end = strrchr(state, '}');
	ck_assert_ptr_nonnull(end);
	snprintf(with_other, sizeof(with_other), "%.*s,\"whatever\":\"%s\"}", (int)(end - state),
		 state, other);
	ck_assert_int_eq(rig_put(&rig, "pools/p/state", with_other, STORE_ANY_VERSION).rc,
			 STORE_OK);
	snprintf(path, sizeof(path), "pools/p/rings/%s", other);
	ck_assert_int_eq(rig_create(&rig, path, "to be", 0).rc, STORE_OK);
	rig_pass(&loop, 900);
	ck_assert_int_eq(rig_get(&rig, path, false).rc, STORE_OK);
	rig_put(&rig, "pools/p/state", state, STORE_ANY_VERSION);
	await_rings(1);
	ck_assert_int_eq(rig_get(&rig, path, false).rc, STORE_NO_NODE);
}
END_TEST

static void on_elected(void *ctx, bool elected)
{
	*(bool *)ctx = elected;
}

START_TEST(one_is_elected_and_another_follows)
{
	bool first = false, second = false;
	struct election *a = election_new(&loop, rig.store, "lock/test", "a", on_elected, &first);
	election_session(a, STORE_NEW_SESSION);
	for (int i = 0; i < 100 && !first; i++) rig_pass(&loop, 10);
	ck_assert(first);
	struct election *b = election_new(&loop, rig.store, "lock/test", "b", on_elected, &second);
	election_session(b, STORE_NEW_SESSION);
	rig_pass(&loop, 100);
	ck_assert(!second && election_won(a));
	struct answer nodes = rig_list(&rig, "lock/test", false);
	ck_assert_uint_eq(nodes.name_count, 2);
	char path[STORE_PATH_MAX];
	snprintf(path, sizeof(path), "lock/test/%s", nodes.names[0]);
	rig_delete(&rig, path, STORE_ANY_VERSION);
	for (int i = 0; i < 100 && !second; i++) {
		election_changed(b, path);
		rig_pass(&loop, 10);
	}
	ck_assert(second);
	store_free(&rig.store);
	election_free(&a);
	election_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("coordinator");
	TCase *t = tcase_create("coordinator");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_spec_becomes_a_state_and_a_topology);
	tcase_add_test(t, a_refused_spec_changes_nothing_but_the_status);
	tcase_add_test(t, a_pool_that_shrinks_too_much_needs_a_word);
	tcase_add_test(t, votes_eject_and_their_end_returns);
	tcase_add_test(t, an_ejected_server_is_held_until_nobody_asks_it);
	tcase_add_test(t, a_nanny_that_abstains_has_no_vote);
	tcase_add_test(t, a_broken_or_deleted_state_changes_nothing);
	tcase_add_test(t, a_broken_state_is_reported_and_waits_for_an_operator);
	tcase_add_test(t, a_state_of_another_lineage_is_reported);
	tcase_add_test(t, what_our_own_agent_does_not_follow_is_reported);
	tcase_add_test(t, ring_bodies_go_when_nobody_has_named_them_for_long);
	tcase_add_test(t, a_ring_that_the_state_names_anywhere_stays);
	tcase_add_test(t, a_successor_goes_on_from_the_tree_alone);
	tcase_add_test(t, one_is_elected_and_another_follows);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
