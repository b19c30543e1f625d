/* The loop over real descriptors: who is told of what, when, and how often. */
#include "common/io.h"

#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

enum { PEERS = 4 };

static struct io_loop loop;
static struct peer {
	struct io_watch watch;
	int theirs;
	short what; /* of the last call */
	int calls;
	void (*then)(struct peer *p);
} peers[PEERS];

static void peer_on_event(int fd, short what, void *owner)
{
	struct peer *p = owner;
	ck_assert_int_eq(fd, io_watch_fd(&p->watch));
	p->what = what;
	p->calls++;
	if (p->then) p->then(p);
}

static void setup(void)
{
	memset(peers, 0, sizeof(peers));
	ck_assert(io_loop_init(&loop));
	for (int i = 0; i < PEERS; i++) {
		int pair[2];
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		io_watch_init(&peers[i].watch, &loop, pair[0], peer_on_event, &peers[i]);
		peers[i].theirs = pair[1];
	}
}

static void teardown(void)
{
	for (int i = 0; i < PEERS; i++) {
		io_watch_stop(&peers[i].watch);
		close(io_watch_fd(&peers[i].watch));
		if (peers[i].theirs >= 0) close(peers[i].theirs);
	}
	io_loop_fini(&loop);
}

static void they_send(struct peer *p, const char *text)
{
	ck_assert_int_eq(write(p->theirs, text, strlen(text)), (ssize_t)strlen(text));
}

static void ignore(int fd, short what, void *owner)
{
	(void)fd, (void)what, (void)owner;
}

/* A turn, even if nothing happens. */
static void turn(void)
{
	struct io_timer now;
	io_timer_init(&now, &loop, ignore, NULL);
	io_timer_set(&now, 0);
	io_loop_turn(&loop);
	io_timer_stop(&now);
}

static void turns(int n)
{
	while (n-- > 0) turn();
}

/* --- watches ---------------------------------------------------------------------------------- */

START_TEST(what_is_not_read_is_told_again)
{
	io_watch_set(&peers[0].watch, IO_READ);
	turns(2);
	ck_assert_int_eq(peers[0].calls, 0);
	they_send(&peers[0], "a");
	turns(3);
	ck_assert_int_eq(peers[0].calls, 3);
	ck_assert_int_eq(peers[0].what, IO_READ);
}
END_TEST

START_TEST(an_edge_is_told_once)
{
	struct peer *p = &peers[0];
	io_watch_set(&p->watch, IO_READ | IO_EDGE);
	they_send(p, "a");
	turns(3);
	ck_assert_int_eq(p->calls, 1);
	ck_assert_int_eq(p->what, IO_READ);
	they_send(p, "b");
	turns(3);
	ck_assert_int_eq(p->calls, 2);
	io_watch_again(&p->watch);
	turns(3);
	ck_assert_int_eq(p->calls, 3);
	io_watch_set(&p->watch, IO_NONE);
	turns(3);
	ck_assert_int_eq(p->calls, 3);
	io_watch_set(&p->watch, IO_READ | IO_EDGE); /* both are still there */
	turns(3);
	ck_assert_int_eq(p->calls, 4);
	io_watch_set(&p->watch, IO_READ | IO_WRITE | IO_EDGE);
	turns(3);
	ck_assert_int_eq(p->calls, 5);
	ck_assert_int_eq(p->what, IO_READ | IO_WRITE);
}
END_TEST

START_TEST(nothing_to_read_is_not_told_again)
{
	io_watch_set(&peers[0].watch, IO_READ | IO_EDGE);
	io_watch_again(&peers[0].watch);
	turns(2);
	ck_assert_int_eq(peers[0].calls, 0);
}
END_TEST

START_TEST(an_end_is_told_with_what_precedes_it)
{
	struct peer *p = &peers[0];
	io_watch_set(&p->watch, IO_READ | IO_EDGE);
	they_send(p, "a");
	shutdown(p->theirs, SHUT_WR);
	turns(3);
	ck_assert_int_eq(p->calls, 1);
	ck_assert_int_eq(p->what, IO_READ | IO_END);
}
END_TEST

START_TEST(only_edges_are_told_of_an_end)
{
	io_watch_set(&peers[0].watch, IO_READ);
	shutdown(peers[0].theirs, SHUT_WR);
	turns(2);
	ck_assert_int_eq(peers[0].calls, 2);
	ck_assert_int_eq(peers[0].what, IO_READ);
	io_watch_set(&peers[1].watch, IO_WRITE | IO_READ);
	close(peers[1].theirs);
	peers[1].theirs = -1;
	turn();
	ck_assert_int_eq(peers[1].what, IO_READ | IO_WRITE);
}
END_TEST

/* A connection of loopback, as a client has it, reset by the other end after a last word. */
START_TEST(a_reset_is_an_end)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr *at = (struct sockaddr *)&a;
	socklen_t len = sizeof(a);
	struct linger reset = { .l_onoff = 1 };
	bool pending;
	int l = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(l, at, len), 0);
	ck_assert_int_eq(listen(l, 1), 0);
	ck_assert_int_eq(getsockname(l, at, &len), 0);
	int fd = io_connect(at, len, true, &pending);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	ck_assert_int_eq(poll(&p, 1, 5000), 1);
	ck_assert_int_eq(io_connect_result(fd), 0);
	int theirs = accept(l, NULL, NULL);
	struct peer tcp = { .theirs = theirs };
	io_watch_init(&tcp.watch, &loop, fd, peer_on_event, &tcp);
	ck_assert_int_eq(write(theirs, "a", 1), 1);
	setsockopt(theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(theirs);
	io_watch_set(&tcp.watch, IO_READ | IO_EDGE);
	turns(3);
	ck_assert_int_eq(tcp.calls, 1);
	ck_assert_int_eq(tcp.what, IO_READ | IO_END);
	io_watch_stop(&tcp.watch);
	io_close(fd);
	close(l);
}
END_TEST

static void stop_all(struct peer *p)
{
	(void)p;
	for (int i = 0; i < PEERS; i++) io_watch_stop(&peers[i].watch);
}

START_TEST(who_was_stopped_in_this_turn_hears_nothing)
{
	int calls = 0;
	for (int i = 0; i < PEERS; i++) {
		peers[i].then = stop_all;
		io_watch_set(&peers[i].watch, IO_READ);
		they_send(&peers[i], "a");
	}
	turns(2);
	for (int i = 0; i < PEERS; i++) calls += peers[i].calls;
	ck_assert_int_eq(calls, 1);
}
END_TEST

/* Owners may free what they stopped: their memory is not looked at again in this turn. */
static struct io_watch *freed[PEERS];

static void free_others(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	for (int i = 0; i < PEERS; i++) {
		if (!freed[i] || freed[i] == owner) continue;
		if (i % 2) io_watch_set(freed[i], IO_NONE); /* before it is stopped, as well */
		io_watch_stop(freed[i]);
		for (size_t b = 0; b < sizeof(*freed[i]); b++)
			((volatile unsigned char *)freed[i])[b] = 0xff;
		free(freed[i]);
		freed[i] = NULL;
	}
}

START_TEST(a_watch_may_be_freed_once_it_was_stopped)
{
	int left = 0;
	for (int i = 0; i < PEERS; i++) {
		freed[i] = malloc(sizeof(*freed[i]));
		io_watch_init(freed[i], &loop, io_watch_fd(&peers[i].watch), free_others, freed[i]);
		io_watch_set(freed[i], IO_READ);
		they_send(&peers[i], "a");
	}
	turns(2);
	for (int i = 0; i < PEERS; i++) {
		if (!freed[i]) continue;
		left++;
		io_watch_stop(freed[i]);
		free(freed[i]);
	}
	ck_assert_int_eq(left, 1);
}
END_TEST

static void want_no_more(struct peer *p)
{
	(void)p;
	for (int i = 0; i < PEERS; i++) io_watch_set(&peers[i].watch, IO_NONE);
}

START_TEST(who_wants_no_more_in_this_turn_hears_nothing)
{
	int calls = 0;
	for (int i = 0; i < PEERS; i++) {
		peers[i].then = want_no_more;
		io_watch_set(&peers[i].watch, IO_READ | IO_EDGE);
		they_send(&peers[i], "a");
	}
	turns(2);
	for (int i = 0; i < PEERS; i++) calls += peers[i].calls;
	ck_assert_int_eq(calls, 1);
}
END_TEST

/* A library closed the descriptor behind our back, and opened another of the same number. */
START_TEST(a_number_used_twice_is_watched_again)
{
	struct peer *p = &peers[0];
	int fd = io_watch_fd(&p->watch), pair[2];
	io_watch_set(&p->watch, IO_READ);
	close(fd);
	close(p->theirs);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	ck_assert(pair[0] == fd || pair[1] == fd);
	p->theirs = pair[0] == fd ? pair[1] : pair[0];
	io_watch_set(&p->watch, IO_READ | IO_WRITE);
	io_watch_set(&p->watch, IO_READ);
	they_send(p, "a");
	turn();
	ck_assert_int_eq(p->calls, 1);
}
END_TEST

START_TEST(the_newest_watch_of_a_descriptor_is_told)
{
	struct peer *p = &peers[0], newer = { .theirs = p->theirs };
	io_watch_set(&p->watch, IO_READ);
	io_watch_init(&newer.watch, &loop, io_watch_fd(&p->watch), peer_on_event, &newer);
	io_watch_set(&newer.watch, IO_READ);
	they_send(p, "a");
	turn();
	ck_assert_int_eq(p->calls, 0);
	ck_assert_int_eq(newer.calls, 1);
}
END_TEST

/* --- timers ----------------------------------------------------------------------------------- */

static char fired[64];

static void timer_on(int fd, short what, void *owner)
{
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(what, 0);
	strcat(fired, owner);
}

START_TEST(timers_fire_once_in_order_and_not_early)
{
	static const uint64_t us[] = { 3000, 1000, 2000, 1000, 900000000 };
	static char names[][2] = { "a", "b", "c", "d", "e" };
	struct io_timer timers[5];
	fired[0] = 0;
	uint64_t start = clock_now_us();
	for (int i = 0; i < 5; i++) {
		io_timer_init(&timers[i], &loop, timer_on, names[i]);
		io_timer_set(&timers[i], us[i]);
		ck_assert(io_timer_armed(&timers[i]));
	}
	while (io_timer_armed(&timers[0])) io_loop_turn(&loop);
	ck_assert_uint_ge(clock_now_us() - start, 3000);
	ck_assert_str_eq(fired, "bdca");
	ck_assert(!io_timer_armed(&timers[1]));
	ck_assert(io_timer_armed(&timers[4]));
	io_timer_stop(&timers[4]);
	ck_assert(!io_timer_armed(&timers[4]));
	io_timer_stop(&timers[4]);
}
END_TEST

START_TEST(a_timer_is_put_off_brought_forward_and_stopped)
{
	struct io_timer late, soon, never;
	fired[0] = 0;
	io_timer_init(&late, &loop, timer_on, "l");
	io_timer_init(&soon, &loop, timer_on, "s");
	io_timer_init(&never, &loop, timer_on, "n");
	io_timer_set(&late, 500);
	io_timer_set(&soon, 900000000);
	io_timer_set(&never, 700);
	io_timer_set(&late, 3000);
	io_timer_set(&soon, 1000);
	io_timer_stop(&never);
	while (io_timer_armed(&late)) io_loop_turn(&loop);
	ck_assert_str_eq(fired, "sl");
}
END_TEST

static struct io_timer again;

static void again_on(int fd, short what, void *owner)
{
	(void)fd, (void)what, (void)owner;
	strcat(fired, "x");
	io_timer_set(&again, 0);
}

START_TEST(a_timer_of_0_fires_once_a_turn)
{
	fired[0] = 0;
	io_timer_init(&again, &loop, again_on, NULL);
	io_timer_set(&again, 0);
	for (int i = 0; i < 3; i++) io_loop_turn(&loop);
	ck_assert_str_eq(fired, "xxx");
	io_timer_stop(&again);
}
END_TEST

/* --- with a base of libevent's ---------------------------------------------------------------- */

static void base_on(evutil_socket_t fd, short what, void *owner)
{
	(void)fd, (void)what;
	strcat(fired, owner);
}

START_TEST(a_base_turns_with_the_loop)
{
	struct io_timer timer;
	struct event_base *base = io_loop_base(&loop);
	ck_assert_ptr_eq(io_loop_base(&loop), base);
	fired[0] = 0;
	struct event *theirs = evtimer_new(base, base_on, "e");
	struct timeval tv = { .tv_usec = 3000 };
	io_timer_init(&timer, &loop, timer_on, "t");
	io_timer_set(&timer, 1000);
	evtimer_add(theirs, &tv);
	io_watch_set(&peers[0].watch, IO_READ | IO_EDGE);
	they_send(&peers[0], "a");
	while (!strchr(fired, 'e')) io_loop_turn(&loop);
	ck_assert_str_eq(fired, "te");
	ck_assert_int_eq(peers[0].calls, 1);
	event_free(theirs);
}
END_TEST

/* --- reads and writes ------------------------------------------------------------------------- */

START_TEST(reads_and_writes_are_as_the_system_calls)
{
	char got[8];
	int ours = io_watch_fd(&peers[0].watch);
	struct iovec iov[2] = { { "ab", 2 }, { "cde", 3 } };
	ck_assert_int_eq(io_read(ours, got, sizeof(got)), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(io_writev(ours, iov, 1), 2);
	ck_assert_int_eq(io_writev(ours, iov, 2), 5);
	ck_assert_int_eq(io_read(peers[0].theirs, got, sizeof(got)), 7);
	ck_assert_int_eq(memcmp(got, "ababcde", 7), 0);
	close(peers[0].theirs);
	peers[0].theirs = -1;
	ck_assert_int_eq(io_read(ours, got, sizeof(got)), 0);
	ck_assert_int_eq(io_writev(ours, iov, 1), -1); /* and no signal */
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_int_eq(io_writev(ours, iov, 2), -1);
	ck_assert_int_eq(errno, EPIPE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("io");
	TCase *t = tcase_create("io");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_is_not_read_is_told_again);
	tcase_add_test(t, an_edge_is_told_once);
	tcase_add_test(t, nothing_to_read_is_not_told_again);
	tcase_add_test(t, an_end_is_told_with_what_precedes_it);
	tcase_add_test(t, only_edges_are_told_of_an_end);
	tcase_add_test(t, a_reset_is_an_end);
	tcase_add_test(t, who_was_stopped_in_this_turn_hears_nothing);
	tcase_add_test(t, a_watch_may_be_freed_once_it_was_stopped);
	tcase_add_test(t, who_wants_no_more_in_this_turn_hears_nothing);
	tcase_add_test(t, a_number_used_twice_is_watched_again);
	tcase_add_test(t, the_newest_watch_of_a_descriptor_is_told);
	tcase_add_test(t, timers_fire_once_in_order_and_not_early);
	tcase_add_test(t, a_timer_is_put_off_brought_forward_and_stopped);
	tcase_add_test(t, a_timer_of_0_fires_once_a_turn);
	tcase_add_test(t, a_base_turns_with_the_loop);
	tcase_add_test(t, reads_and_writes_are_as_the_system_calls);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
