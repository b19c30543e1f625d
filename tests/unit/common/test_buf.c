/* Buffers and the queues made of them: sizes, references, what is copied and what is not. */
#include "common/buf.h"

#include <check.h>
#include <stdlib.h>

static struct buf_pool pool;

static void setup(void)
{
	buf_pool_init(&pool);
}

static void teardown(void)
{
	buf_pool_fini(&pool);
	ck_assert_uint_eq(pool.bytes, 0); /* every test gives all back */
}

static struct buf *buf_with(const char *text)
{
	struct buf *b = buf_get(&pool, strlen(text));
	memcpy(b->data, text, strlen(text));
	b->len = (uint32_t)strlen(text);
	return b;
}

/* What would be written, in one piece. */
static char *outq_text(const struct outq *q)
{
	struct iovec iov[64];
	int n = outq_iov(q, iov, 64);
	char *text = calloc(1, q->bytes + 1);
	size_t at = 0;
	for (int i = 0; i < n; i++) {
		memcpy(text + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	ck_assert_uint_eq(at, q->bytes);
	return text;
}

static void outq_holds(const struct outq *q, const char *want)
{
	char *text = outq_text(q);
	ck_assert_str_eq(text, want);
	free(text);
}

/* --- bufs ------------------------------------------------------------------------------------- */

START_TEST(short_copies_of_every_length)
{
	for (size_t n = 0; n < 200; n++) {
		char *from = malloc(n ? n : 1), to[202]; /* no byte more, for sanitizers to see */
		memset(to, 'x', sizeof(to));
		for (size_t i = 0; i < n; i++) from[i] = (char)(i * 7 + n);
		copy_short(to + 1, from, n);
		ck_assert_mem_eq(to + 1, from, n);
		ck_assert(to[0] == 'x' && to[n + 1] == 'x');
		free(from);
	}
}
END_TEST

START_TEST(room_is_what_was_asked_for)
{
	static const size_t sizes[] = { 0,	 1,	  448,	  449, BUF_READ, BUF_READ + 1,
					1 << 20, 2 << 20, 5000000 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf *b = buf_get(&pool, sizes[i]);
		ck_assert_uint_ge(buf_room(b), sizes[i]);
		ck_assert_uint_eq(b->len, 0);
		ck_assert_uint_eq(b->refs, 1);
		memset(b->data, 'x', b->cap);
		buf_unref(b);
	}
}
END_TEST

START_TEST(named_sizes_fill_their_class)
{
	struct buf *small = buf_get(&pool, BUF_SMALL), *read = buf_get(&pool, BUF_READ);
	/* one byte more takes the next size: neither name wastes a class */
	ck_assert_uint_lt(small->cap, 512);
	ck_assert_uint_lt(read->cap, 81920);
	ck_assert_uint_eq(pool.bytes, 512 + 81920);
	buf_unref(small);
	buf_unref(read);
}
END_TEST

START_TEST(the_last_reference_returns_it)
{
	struct buf *b = buf_with("hello");
	ck_assert_ptr_eq(buf_ref(b), b);
	buf_unref(b);
	ck_assert_int_eq(memcmp(b->data, "hello", 5), 0);
	b->note[1] = 7;
	buf_unref(b);
	struct buf *again = buf_get(&pool, 5);
#ifndef POOL_MALLOC
	ck_assert_ptr_eq(again, b);
#endif
	ck_assert_uint_eq(again->len, 0);
	ck_assert_uint_eq(again->note[1], 0);
	buf_unref(again);
}
END_TEST

static void grow_keeps(size_t from, size_t to, bool shared)
{
	struct buf *b = buf_get(&pool, from);
	for (uint32_t i = 0; i < b->cap; i++) b->data[i] = (char)(i * 7);
	b->len = b->cap;
	b->note[2] = 42;
	uint32_t len = b->len;
	struct buf *other = shared ? buf_ref(b) : NULL;
	struct buf *grown = buf_grow(b, to);
	ck_assert_uint_ge(grown->cap, to);
	ck_assert_uint_eq(grown->len, len);
	ck_assert_uint_eq(grown->note[2], 42);
	ck_assert_uint_eq(grown->refs, 1);
	bool same = true;
	for (uint32_t i = 0; i < len; i++) same = same && grown->data[i] == (char)(i * 7);
	ck_assert(same);
	if (shared) {
		ck_assert_ptr_ne(grown, other);
		ck_assert_uint_eq(other->refs, 1);
		ck_assert_int_eq(other->data[len - 1], (char)((len - 1) * 7));
		buf_unref(other);
	}
	buf_unref(grown);
}

START_TEST(growing_keeps_bytes_and_note)
{
	grow_keeps(100, 5000, false);
	grow_keeps(100, 5000, true);
	grow_keeps(900000, 3000000, false);
	grow_keeps(2000000, 4000000, false); /* in place, if malloc can */
	grow_keeps(2000000, 4000000, true);
}
END_TEST

START_TEST(a_small_part_is_held_by_copy)
{
	struct buf *b = buf_get(&pool, BUF_READ);
	memset(b->data, 'v', 60000);
	b->len = 60000;
	struct slice held;

	struct buf *small = buf_hold(&pool, b, (struct slice){ b->data + 10, 100 }, &held);
	ck_assert_ptr_ne(small, b);
	ck_assert_uint_eq(held.n, 100);
	ck_assert_ptr_eq(held.p, small->data);
	buf_unref(small);

	struct buf *large = buf_hold(&pool, b, (struct slice){ b->data + 10, 50000 }, &held);
	ck_assert_ptr_eq(large, b);
	ck_assert_ptr_eq(held.p, b->data + 10);
	ck_assert_uint_eq(b->refs, 2);
	buf_unref(large);

	/* many bytes, but few of those it would keep alive */
	struct buf *part = buf_hold(&pool, b, (struct slice){ b->data, 9000 }, &held);
	ck_assert_ptr_ne(part, b);
	buf_unref(part);

	struct buf *stranger = buf_hold(&pool, NULL, SLICE("elsewhere"), &held);
	ck_assert_int_eq(memcmp(held.p, "elsewhere", 9), 0);
	buf_unref(stranger);
	buf_unref(b);
}
END_TEST

START_TEST(trimming_gives_idle_ones_back)
{
#ifndef POOL_MALLOC
	enum { MANY = 1000 };
	struct buf *b[MANY];
	for (int i = 0; i < MANY; i++) b[i] = buf_get(&pool, BUF_SMALL);
	for (int i = 0; i < MANY; i++) buf_unref(b[i]);
	size_t burst = pool.bytes;
	ck_assert_uint_ge(burst, MANY * 512);
	buf_pool_trim(&pool); /* they were in use since the last time */
	ck_assert_uint_eq(pool.bytes, burst);
	buf_pool_trim(&pool);
	ck_assert_uint_lt(pool.bytes, burst * 6 / 10);
	for (int i = 0; i < 30; i++) buf_pool_trim(&pool);
	ck_assert_uint_gt(pool.bytes, 0); /* a few stay, for the next one who asks */
	ck_assert_uint_le(pool.bytes, 100 * 512);
#endif
}
END_TEST

/* --- queues ----------------------------------------------------------------------------------- */

START_TEST(small_copies_share_a_chunk)
{
	struct outq q = { 0 };
	const char *at = outq_copy(&pool, &q, "one ", 4, BUF_SMALL);
	ck_assert_int_eq(memcmp(at, "one ", 4), 0);
	outq_copy(&pool, &q, "two ", 4, BUF_SMALL);
	at = outq_copy(&pool, &q, "three", 5, BUF_SMALL);
	ck_assert_int_eq(memcmp(at, "three", 5), 0);
	struct iovec iov[4];
	ck_assert_int_eq(outq_iov(&q, iov, 4), 1);
	outq_holds(&q, "one two three");
	outq_clear(&pool, &q);
	ck_assert_uint_eq(q.bytes, 0);
	ck_assert_ptr_null(q.head);
}
END_TEST

START_TEST(a_full_chunk_is_followed_by_another)
{
	struct outq q = { 0 };
	char piece[300];
	memset(piece, 'p', sizeof(piece));
	for (int i = 0; i < 10; i++) outq_copy(&pool, &q, piece, sizeof(piece), BUF_SMALL);
	struct iovec iov[16];
	ck_assert_uint_eq(q.bytes, 3000);
	ck_assert_int_eq(outq_iov(&q, iov, 16), 10);
	ck_assert_int_eq(outq_iov(&q, iov, 3), 3); /* no more than asked for */
	/* more than a chunk still lies in one piece */
	const char *at = outq_copy(&pool, &q, piece, sizeof(piece), 64);
	ck_assert_int_eq(memcmp(at, piece, sizeof(piece)), 0);
	outq_clear(&pool, &q);
}
END_TEST

START_TEST(large_pieces_are_referenced)
{
	struct outq q = { 0 };
	struct buf *b = buf_get(&pool, 20000);
	memset(b->data, 'b', 20000);
	b->len = 20000;
	outq_copy(&pool, &q, "<", 1, BUF_SMALL);
	outq_put(&pool, &q, b, (struct slice){ b->data + 5, BUF_REF_MIN }, BUF_SMALL);
	outq_put(&pool, &q, b, (struct slice){ b->data, BUF_REF_MIN - 1 }, BUF_SMALL);
	outq_put(&pool, &q, NULL, SLICE(">"), BUF_SMALL);
	outq_put(&pool, &q, NULL, (struct slice){ NULL, 0 }, BUF_SMALL);
	ck_assert_uint_eq(b->refs, 2);
	ck_assert_uint_eq(q.bytes, 2 + BUF_REF_MIN + BUF_REF_MIN - 1);
	struct iovec iov[8];
	ck_assert_int_ge(outq_iov(&q, iov, 8), 3);
	ck_assert_ptr_eq(iov[1].iov_base, b->data + 5);
	outq_consume(&pool, &q, 1 + BUF_REF_MIN);
	ck_assert_uint_eq(b->refs, 1); /* written: let go at once */
	outq_clear(&pool, &q);
	buf_unref(b);
}
END_TEST

START_TEST(what_lies_together_is_one_piece)
{
	struct outq q = { 0 };
	struct buf *b = buf_with("onetwothree");
	outq_ref(&pool, &q, b, (struct slice){ b->data, 3 });
	outq_ref(&pool, &q, b, (struct slice){ b->data + 3, 3 });
	ck_assert_uint_eq(b->refs, 2);
	struct iovec iov[4];
	ck_assert_int_eq(outq_iov(&q, iov, 4), 1);
	outq_ref(&pool, &q, b, (struct slice){ b->data + 8, 3 }); /* not behind them */
	ck_assert_int_eq(outq_iov(&q, iov, 4), 2);
	outq_holds(&q, "onetworee");
	outq_clear(&pool, &q);
	ck_assert_uint_eq(b->refs, 1);
	buf_unref(b);
}
END_TEST

/* What a queue that has to wait keeps of a large buf is copied, in its place, and the buf let go;
 * what is a good part of its buf stays. */
START_TEST(a_settled_queue_pins_nothing)
{
	struct outq q = { 0 };
	struct buf *large = buf_get(&pool, BUF_READ), *fair = buf_with("fair");
	memcpy(large->data, "first second", 12);
	large->len = BUF_READ;
	outq_settle(&pool, &q, BUF_SMALL); /* nothing there */
	outq_copy(&pool, &q, "own ", 4, BUF_SMALL);
	outq_ref(&pool, &q, large, (struct slice){ large->data, 6 });
	outq_ref(&pool, &q, fair, (struct slice){ fair->data, fair->cap });
	q.tail->len = 4;
	q.bytes -= fair->cap - 4;
	outq_ref(&pool, &q, large, (struct slice){ large->data + 6, 6 });
	outq_holds(&q, "own first fairsecond");
	outq_consume(&pool, &q, 6);
	outq_settle(&pool, &q, BUF_SMALL);
	ck_assert_uint_eq(large->refs, 1);
	ck_assert_uint_eq(fair->refs, 2);
	outq_holds(&q, "rst fairsecond");
	ck_assert_uint_eq(q.bytes, 14);
	outq_copy(&pool, &q, "!", 1, BUF_SMALL);
	outq_holds(&q, "rst fairsecond!");
	outq_clear(&pool, &q);
	ck_assert_uint_eq(fair->refs, 1);
	buf_unref(fair);
	buf_unref(large);
}
END_TEST

START_TEST(what_pins_does_so_wherever_it_goes)
{
	struct outq to = { 0 }, from = { 0 };
	struct buf *large = buf_get(&pool, BUF_READ);
	large->len = BUF_READ;
	memset(large->data, 'l', BUF_READ);
	outq_copy(&pool, &to, "a", 1, BUF_SMALL);
	outq_ref(&pool, &from, large,
		 (struct slice){ large->data, 10 }); /* small: goes as a copy */
	outq_ref(&pool, &from, large, (struct slice){ large->data + 20, 2000 });
	outq_move(&pool, &to, &from, BUF_SMALL);
	ck_assert_uint_eq(large->refs, 2);
	outq_settle(&pool, &to, BUF_SMALL);
	ck_assert_uint_eq(large->refs, 1);
	ck_assert_uint_eq(to.bytes, 2011);
	outq_clear(&pool, &to);
	buf_unref(large);
}
END_TEST

START_TEST(nothing_is_appended_to_a_foreign_buf)
{
	struct outq q = { 0 };
	struct buf *b = buf_with("shared");
	outq_ref(&pool, &q, b, (struct slice){ b->data, 6 });
	outq_copy(&pool, &q, "+own", 4, BUF_SMALL);
	ck_assert_uint_eq(b->len, 6);
	outq_holds(&q, "shared+own");
	outq_clear(&pool, &q);
	buf_unref(b);
}
END_TEST

/* At every place, and in every two steps. */
START_TEST(consuming_stops_anywhere)
{
	for (size_t first = 0; first <= 12; first++) {
		for (size_t second = 0; first + second <= 12; second++) {
			struct outq q = { 0 };
			struct buf *b = buf_with("efgh");
			outq_copy(&pool, &q, "abcd", 4, BUF_SMALL);
			outq_ref(&pool, &q, b, (struct slice){ b->data, 4 });
			outq_copy(&pool, &q, "ijkl", 4, BUF_SMALL);
			outq_consume(&pool, &q, first);
			outq_holds(&q, &"abcdefghijkl"[first]);
			outq_consume(&pool, &q, second);
			outq_holds(&q, &"abcdefghijkl"[first + second]);
			outq_copy(&pool, &q, "!", 1, BUF_SMALL);
			char *text = outq_text(&q);
			ck_assert_int_eq(text[strlen(text) - 1], '!');
			free(text);
			outq_clear(&pool, &q);
			buf_unref(b);
		}
	}
}
END_TEST

START_TEST(moving_keeps_order_and_references)
{
	struct outq to = { 0 }, from = { 0 };
	struct buf *b = buf_get(&pool, 10000);
	memset(b->data, 'z', 10000);
	b->len = 10000;

	outq_copy(&pool, &from, "into nothing", 12, BUF_SMALL);
	outq_move(&pool, &to, &from, BUF_SMALL);
	outq_holds(&to, "into nothing");
	ck_assert_ptr_null(from.head);
	ck_assert_uint_eq(from.bytes, 0);

	outq_copy(&pool, &from, ", small", 7, BUF_SMALL);
	outq_ref(&pool, &from, b, (struct slice){ b->data, 10000 });
	outq_copy(&pool, &from, "end", 3, BUF_SMALL);
	outq_move(&pool, &to, &from, BUF_SMALL);
	struct iovec iov[4];
	ck_assert_int_eq(outq_iov(&to, iov, 4), 3);
	ck_assert_uint_eq(iov[0].iov_len, 19); /* the small one went along */
	ck_assert_ptr_eq(iov[1].iov_base, b->data);
	ck_assert_int_eq(memcmp(iov[2].iov_base, "end", 3), 0);
	ck_assert_uint_eq(to.bytes, 12 + 7 + 10000 + 3);
	ck_assert_ptr_null(from.head);

	outq_move(&pool, &to, &from, BUF_SMALL); /* nothing */
	ck_assert_uint_eq(to.bytes, 12 + 7 + 10000 + 3);
	outq_clear(&pool, &to);
	ck_assert_uint_eq(b->refs, 1);
	buf_unref(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("buf");
	TCase *t = tcase_create("buf");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, short_copies_of_every_length);
	tcase_add_test(t, room_is_what_was_asked_for);
	tcase_add_test(t, named_sizes_fill_their_class);
	tcase_add_test(t, the_last_reference_returns_it);
	tcase_add_test(t, growing_keeps_bytes_and_note);
	tcase_add_test(t, a_small_part_is_held_by_copy);
	tcase_add_test(t, trimming_gives_idle_ones_back);
	tcase_add_test(t, small_copies_share_a_chunk);
	tcase_add_test(t, a_full_chunk_is_followed_by_another);
	tcase_add_test(t, large_pieces_are_referenced);
	tcase_add_test(t, what_lies_together_is_one_piece);
	tcase_add_test(t, a_settled_queue_pins_nothing);
	tcase_add_test(t, what_pins_does_so_wherever_it_goes);
	tcase_add_test(t, nothing_is_appended_to_a_foreign_buf);
	tcase_add_test(t, consuming_stops_anywhere);
	tcase_add_test(t, moving_keeps_order_and_references);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
