#include <check.h>

#include "agent/epoch_mark.h"
#include "common/log.h"
#include "tests/unit/agent/mover_rig.h"

static struct io_loop loop;
static struct real servers[RIG_SERVERS];
static struct rig_pool from, to;
static struct rig_client admin[3]; /* of no name: they are closed like others */

static struct {
	int calls;
	bool ok;
	char why[200];
} answer;

static void on_done(void *ctx, bool ok, const char *why)
{
	ck_assert_ptr_eq(ctx, &answer);
	answer.calls++;
	answer.ok = ok;
	snprintf(answer.why, sizeof(answer.why), "%s", why);
}

static void on_tick(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	io_timer_set(owner, 5000);
}

static bool run(const struct epoch_mark_plan *plan)
{
	struct io_timer tick;
	uint64_t end = clock_now_us() + 20000000;
	memset(&answer, 0, sizeof(answer));
	ck_assert_ptr_nonnull(epoch_mark_start(&loop, plan, on_done, &answer));
	ck_assert_int_eq(answer.calls, 0);
	io_timer_init(&tick, &loop, on_tick, &tick);
	io_timer_set(&tick, 0);
	while (!answer.calls && clock_now_us() < end) io_loop_turn(&loop);
	io_timer_stop(&tick);
	ck_assert_int_eq(answer.calls, 1);
	ck_assert_int_eq(answer.ok, answer.why[0] == '\0');
	return answer.ok;
}

static struct epoch_mark_plan plan_of(enum epoch_errand errand, const char *mark)
{
	return (struct epoch_mark_plan){
		.errand = errand, .from = &from.spec, .to = &to.spec, .mark = mark
	};
}

static bool write_mark(const char *mark)
{
	struct epoch_mark_plan plan = plan_of(EPOCH_WRITE, mark);
	return run(&plan);
}

static void connect_admin(void)
{
	for (int i = 0; i < 3; i++) {
		rig_hang_up(&admin[i]);
		rig_connect(&admin[i], servers[i].port);
	}
}

static void setup(void)
{
	log_level_set(LOG_LEVEL_CRIT);
	signal(SIGPIPE, SIG_IGN);
	ck_assert(io_loop_init(&loop));
	for (int i = 0; i < 3; i++) real_redis(&servers[i], "");
	rig_pool_init(&from, PROTOCOL_REDIS, servers, (const int[]){ 0, 1 }, 2);
	rig_pool_init(&to, PROTOCOL_REDIS, servers, (const int[]){ 1, 2 }, 2);
	connect_admin();
}

static void teardown(void)
{
	for (int i = 0; i < 3; i++) rig_hang_up(&admin[i]);
	rig_pool_fini(&from);
	rig_pool_fini(&to);
	for (int i = 0; i < RIG_SERVERS; i++) real_stop(&servers[i]);
	io_loop_fini(&loop);
}

static const char *mark_of(int i)
{
	static char value[64];
	fprintf(admin[i].out, "GET twinring:epoch\r\n");
	const char *v = rig_bulk(&admin[i], value, sizeof(value));
	return v ? v : "";
}

static const char *say(struct rig_client *c, const char *command)
{
	static char line[200];
	fprintf(c->out, "%s\r\n", command);
	return rig_ask(c, line, sizeof(line));
}

START_TEST(all_nodes_get_the_mark)
{
	ck_assert(write_mark("7.3"));
	for (int i = 0; i < 3; i++) ck_assert_str_eq(mark_of(i), "7.3");
	ck_assert(write_mark("7.3")); /* again */
	ck_assert(write_mark("7.12"));
	for (int i = 0; i < 3; i++) ck_assert_str_eq(mark_of(i), "7.12");
	ck_assert(write_mark("8.1"));
	ck_assert(!write_mark("7.13")); /* who comes late */
	ck_assert_ptr_nonnull(strstr(answer.why, ": twinring:epoch: -EPOCH is 8.1"));
	for (int i = 0; i < 3; i++) ck_assert_str_eq(mark_of(i), "8.1");
	ck_assert_str_eq(say(&admin[2], "DEL twinring:epoch"), ":1");
	ck_assert_str_eq(say(&admin[2], "LPUSH twinring:epoch x"), ":1");
	ck_assert(!write_mark("9.1"));
	ck_assert_ptr_nonnull(strstr(answer.why, "c2: twinring:epoch: -WRONGTYPE"));
}
END_TEST

START_TEST(connections_of_others_are_closed)
{
	struct rig_client live, dead, nameless;
	const char *spared[] = { "twinring-1-a", "twinring-2-b" };
	rig_connect(&live, servers[1].port);
	rig_connect(&dead, servers[1].port);
	rig_connect(&nameless, servers[2].port);
	ck_assert_str_eq(say(&live, "CLIENT SETNAME twinring-2-b"), "+OK");
	ck_assert_str_eq(say(&dead, "CLIENT SETNAME twinring-2"), "+OK");
	ck_assert_str_eq(say(&nameless, "PING"), "+PONG");
	struct epoch_mark_plan plan = plan_of(EPOCH_WRITE_AND_KILL, "7.3");
	plan.spared = spared;
	plan.spared_count = 2;
	ck_assert(run(&plan));
	ck_assert_str_eq(say(&live, "PING"), "+PONG");
	ck_assert_str_eq(say(&dead, "PING"), "(nothing)");
	ck_assert_str_eq(say(&nameless, "PING"), "(nothing)");
	connect_admin();
	for (int i = 0; i < 3; i++) ck_assert_str_eq(mark_of(i), "7.3");
	rig_hang_up(&live);
	rig_hang_up(&dead);
	rig_hang_up(&nameless);
}
END_TEST

/* What was sent before the errand is done has been carried out by then, or never is. */
START_TEST(a_stalled_node)
{
	struct rig_client dead, backlog;
	char line[64];
	rig_connect(&dead, servers[1].port);
	ck_assert_str_eq(say(&dead, "CLIENT SETNAME twinring-dead"), "+OK");
	kill(servers[1].pid, SIGSTOP);
	fprintf(dead.out, "SET zombie 1\r\n");
	fflush(dead.out);
	struct epoch_mark_plan plan = plan_of(EPOCH_WRITE_AND_KILL, "7.3");
	plan.timeout_ms = 300;
	ck_assert(!run(&plan));
	ck_assert_ptr_nonnull(strstr(answer.why, "c1: "));
	rig_connect(&backlog, servers[1].port); /* not accepted yet, and says nothing yet */
	kill(servers[1].pid, SIGCONT);
	plan.timeout_ms = 5000;
	ck_assert(run(&plan));
	ck_assert_str_eq(say(&backlog, "PING"), "(nothing)");
	fprintf(dead.out, "SET zombie 2\r\n");
	fflush(dead.out);
	while (rig_line(&dead, line, sizeof(line))) ck_assert_str_eq(line, "+OK");
	connect_admin();
	ck_assert_str_eq(mark_of(1), "7.3");
	fprintf(admin[1].out, "GET zombie\r\n");
	const char *left = rig_bulk(&admin[1], line, sizeof(line));
	if (left) ck_assert_str_eq(left, "1");
	rig_hang_up(&dead);
	rig_hang_up(&backlog);
}
END_TEST

START_TEST(marks_are_cleaned)
{
	ck_assert(write_mark("7.3"));
	char command[100];
	for (int i = 0; i < 3; i++) {
		ck_assert_str_eq(say(&admin[i], "HSET twinring:moved:7.1 a 1"), ":1");
		ck_assert_str_eq(say(&admin[i], "HSET twinring:moved:7.3 a 1 b 1"), ":2");
		for (int k = 0; k < 3000; k++) {
			snprintf(command, sizeof(command), "SET other:%d x", k);
			ck_assert_str_eq(say(&admin[i], command), "+OK");
		}
	}
	struct epoch_mark_plan plan = plan_of(EPOCH_CLEAN, "7.2");
	ck_assert(!run(&plan));
	ck_assert_ptr_nonnull(strstr(answer.why, ": EVAL: -EPOCH is 7.3"));
	for (int i = 0; i < 3; i++) ck_assert_str_eq(say(&admin[i], "DBSIZE"), ":3003");
	plan.mark = "7.3";
	ck_assert(run(&plan));
	for (int i = 0; i < 3; i++) ck_assert_str_eq(say(&admin[i], "DBSIZE"), ":3000");
	ck_assert(run(&plan)); /* again */
}
END_TEST

START_TEST(nodes_that_are_down)
{
	real_stop(&servers[2]);
	struct epoch_mark_plan plan = plan_of(EPOCH_WRITE, "7.3");
	plan.timeout_ms = 300;
	ck_assert(!run(&plan));
	ck_assert_str_eq(answer.why, "c2: connect: Connection refused");
	const char *lost[] = { "c2" };
	plan.lost = lost;
	plan.lost_count = 1;
	ck_assert(run(&plan));
	struct epoch_mark *e = epoch_mark_start(&loop, &plan, on_done, &answer);
	epoch_mark_cancel(&e);
	ck_assert_ptr_null(e);
	epoch_mark_cancel(&e);
	ck_assert_int_eq(answer.calls, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("epoch_mark");
	TCase *t = tcase_create("redis");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, all_nodes_get_the_mark);
	tcase_add_test(t, connections_of_others_are_closed);
	tcase_add_test(t, a_stalled_node);
	tcase_add_test(t, marks_are_cleaned);
	tcase_add_test(t, nodes_that_are_down);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
