/* Messages between threads: none lost, each sender's in order, whatever the owner is doing. */
#include "common/mailbox.h"

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

enum { SENDERS = 4, LETTERS = 5000 };

static struct io_loop loop;
static struct mailbox box;
static uint32_t next_of[SENDERS];
static uint32_t delivered;
static int answers_left;

static void on_mail(void *owner, const struct mail *m)
{
	ck_assert_ptr_eq(owner, &box);
	ck_assert_uint_eq(m->number, next_of[m->kind]++);
	delivered++;
	if (answers_left > 0) {
		answers_left--;
		mailbox_post(&box, &(struct mail){ .kind = 1, .number = next_of[1] });
	}
}

static void setup(void)
{
	memset(next_of, 0, sizeof(next_of));
	delivered = 0;
	answers_left = 0;
	ck_assert(io_loop_init(&loop));
	ck_assert(mailbox_init(&box, &loop, on_mail, &box));
}

static void teardown(void)
{
	io_loop_fini(&loop);
}

START_TEST(all_of_it_arrives)
{
	struct mail got = { .kind = 2, .fd = 7, .number = 0, .id = UINT64_MAX, .p = &got };
	mailbox_post(&box, &got);
	got.number = 1; /* a copy was taken */
	mailbox_post(&box, &got);
	ck_assert_uint_eq(delivered, 0); /* never inline */
	io_loop_turn(&loop);
	ck_assert_uint_eq(delivered, 2);
	mailbox_fini(&box);
}
END_TEST

/* A handler that posts to its own box is not starved, and does not starve the loop. */
START_TEST(a_handler_may_post)
{
	answers_left = 10;
	mailbox_post(&box, &(struct mail){ .kind = 0 });
	int turns = 0;
	while (delivered < 11) {
		io_loop_turn(&loop);
		turns++;
	}
	ck_assert_int_eq(turns, 11);
	mailbox_fini(&box);
}
END_TEST

static void *send_letters(void *arg)
{
	int sender = *(int *)arg;
	for (uint32_t i = 0; i < LETTERS; i++) {
		mailbox_post(&box, &(struct mail){ .kind = sender, .number = i });
		if (i % 512 == 0) usleep(100); /* let the owner fall asleep now and then */
	}
	return NULL;
}

START_TEST(threads_do_not_lose_any)
{
	pthread_t thread[SENDERS];
	int number[SENDERS];
	for (int i = 0; i < SENDERS; i++) {
		number[i] = i;
		ck_assert_int_eq(pthread_create(&thread[i], NULL, send_letters, &number[i]), 0);
	}
	while (delivered < SENDERS * LETTERS) io_loop_turn(&loop);
	for (int i = 0; i < SENDERS; i++) {
		pthread_join(thread[i], NULL);
		ck_assert_uint_eq(next_of[i], LETTERS);
	}
	mailbox_fini(&box);
}
END_TEST

START_TEST(what_is_left_is_delivered_at_the_end)
{
	for (uint32_t i = 0; i < 3; i++)
		mailbox_post(&box, &(struct mail){ .kind = 3, .number = i });
	mailbox_fini(&box);
	ck_assert_uint_eq(delivered, 3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mailbox");
	TCase *t = tcase_create("mailbox");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, all_of_it_arrives);
	tcase_add_test(t, a_handler_may_post);
	tcase_add_test(t, threads_do_not_lose_any);
	tcase_add_test(t, what_is_left_is_delivered_at_the_end);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
