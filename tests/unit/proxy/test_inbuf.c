/* Reading messages from a socket: however they are cut, they are whole when they are parsed. */
#include "proxy/inbuf.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct core core;
static struct buf *kept;
static int ours, theirs;
static bool full; /* of the last read */

static void setup(void)
{
	int pair[2];
	core = (struct core){ 0 };
	buf_pool_init(&core.bufs);
	kept = NULL;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	ours = pair[0];
	theirs = pair[1];
}

static void teardown(void)
{
	close(ours);
	close(theirs);
	if (kept) buf_unref(kept);
	if (core.rbuf) buf_unref(core.rbuf);
	buf_pool_fini(&core.bufs);
	ck_assert_uint_eq(core.bufs.bytes, 0);
}

static void they_send(const void *bytes, size_t n)
{
	ck_assert_int_eq(write(theirs, bytes, n), (ssize_t)n);
}

static struct buf *we_read(size_t need)
{
	ssize_t got;
	struct buf *b = inbuf_read(&core, ours, &kept, need, &got, &full);
	ck_assert_ptr_nonnull(b);
	ck_assert_int_gt(got, 0);
	ck_assert_ptr_null(kept);
	return b;
}

START_TEST(a_whole_message_leaves_nothing)
{
	they_send("get a\r\n", 7);
	struct buf *b = we_read(0);
	ck_assert_uint_eq(b->len, 7);
	ck_assert_int_eq(memcmp(b->data, "get a\r\n", 7), 0);
	ck_assert_ptr_eq(b, core.rbuf);
	inbuf_keep(&core, b, 7, 0, &kept);
	ck_assert_ptr_null(kept);
}
END_TEST

START_TEST(the_rest_comes_before_the_next_read)
{
	they_send("get a\r\nget", 10);
	struct buf *b = we_read(0);
	inbuf_keep(&core, b, 7, 0, &kept);
	ck_assert_ptr_nonnull(kept);
	ck_assert_uint_eq(kept->len, 3);
	they_send(" b\r\n", 4);
	b = we_read(0);
	ck_assert_uint_eq(b->len, 7);
	ck_assert_int_eq(memcmp(b->data, "get b\r\n", 7), 0);
	inbuf_keep(&core, b, 7, 0, &kept);
	ck_assert_ptr_null(kept);
}
END_TEST

START_TEST(a_rest_is_small)
{
	char page[2000];
	memset(page, 'x', sizeof(page));
	they_send(page, sizeof(page));
	struct buf *b = we_read(0);
	inbuf_keep(&core, b, 1990, 0, &kept);
	ck_assert_uint_eq(kept->len, 10);
	ck_assert_uint_lt(kept->cap, 512); /* not the whole read buffer for ten bytes */
}
END_TEST

/* Read `n` bytes of `c` and parse them all. */
static struct buf *we_read_all(char c, size_t n)
{
	char bytes[40000];
	ck_assert_uint_le(n, sizeof(bytes));
	memset(bytes, c, n);
	they_send(bytes, n);
	struct buf *b = we_read(0);
	size_t at = inbuf_at(&core, b);
	ck_assert_uint_eq(b->len - at, n);
	ck_assert_int_eq(memcmp(b->data + at, bytes, n), 0);
	inbuf_keep(&core, b, b->len, 0, &kept);
	ck_assert_ptr_null(kept);
	return b;
}

START_TEST(bytes_that_are_referenced_stay)
{
	struct buf *held = buf_ref(we_read_all('1', 7));
	ck_assert_ptr_eq(we_read_all('2', 9), held); /* behind them */
	ck_assert_uint_eq(held->len, 16);
	ck_assert_ptr_eq(we_read_all('3', 40000), held);
	/* There is little room left: another one is worth it. */
	ck_assert_ptr_ne(we_read_all('4', 5), held);
	ck_assert_int_eq(memcmp(held->data, "1111111222222222333", 19), 0);
	buf_unref(held);
}
END_TEST

START_TEST(what_nobody_references_any_more_is_used_again)
{
	struct buf *b = we_read_all('1', 10000);
	buf_ref(b);
	ck_assert_ptr_eq(we_read_all('2', 1000), b);
	buf_unref(b);
	ck_assert_ptr_eq(we_read_all('3', 1000), b);
	ck_assert_uint_eq(b->len, 1000);
}
END_TEST

START_TEST(a_rest_goes_behind_what_is_referenced)
{
	struct buf *held = buf_ref(we_read_all('1', 10));
	ssize_t got;
	they_send("get a\r\nge", 9);
	inbuf_keep(&core, we_read(0), 17, 0, &kept);
	ck_assert_uint_eq(kept->len, 2);
	ck_assert_ptr_null(inbuf_read(&core, ours, &kept, 0, &got, &full)); /* nothing has come */
	ck_assert_uint_eq(kept->len, 2);
	ck_assert_uint_eq(core.rbuf->len, 10 + 9); /* the rest that was put there is gone again */
	they_send("t b\r\n", 5);
	struct buf *b = we_read(0);
	ck_assert_int_eq(memcmp(b->data + inbuf_at(&core, b), "get b\r\n", 7), 0);
	ck_assert_uint_eq(b->len - inbuf_at(&core, b), 7);
	inbuf_keep(&core, b, b->len, 0, &kept);
	buf_unref(held);
}
END_TEST

START_TEST(nothing_read_leaves_the_rest_alone)
{
	ssize_t got;
	they_send("half", 4);
	inbuf_keep(&core, we_read(0), 0, 0, &kept);
	struct buf *before = kept;
	ck_assert_ptr_null(inbuf_read(&core, ours, &kept, 0, &got, &full));
	ck_assert_int_eq(got, -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_ptr_eq(kept, before);
	shutdown(theirs, SHUT_WR);
	ck_assert_ptr_null(inbuf_read(&core, ours, &kept, 0, &got, &full));
	ck_assert_int_eq(got, 0);
	ck_assert_ptr_eq(kept, before);
	ck_assert_uint_eq(kept->len, 4);
}
END_TEST

/* Byte i of a message of the given number. */
static char byte_at(uint32_t number, size_t i)
{
	return (char)(i * 31 + i / 257 + number * 7);
}

/* Messages are a 4-byte length and as many bytes. Returns where those end that lie whole behind
 * `at`; *need_out is the size of the incomplete one, as far as it is known. */
static size_t parse_from(const struct buf *b, size_t at, uint32_t *number, size_t *need_out)
{
	*need_out = 0;
	while (b->len - at >= 4) {
		uint32_t size;
		bool right = true;
		memcpy(&size, b->data + at, 4);
		*need_out = 4 + size;
		if (b->len - at < *need_out) break;
		for (size_t i = 0; i < size; i++)
			right = right && b->data[at + 4 + i] == byte_at(*number, i);
		ck_assert_msg(right, "message %u of %u bytes is not what was sent", *number, size);
		at += *need_out;
		*need_out = 0;
		(*number)++;
	}
	return at;
}

static size_t parse(const struct buf *b, uint32_t *number, size_t *need_out)
{
	return parse_from(b, inbuf_at(&core, b), number, need_out);
}

static size_t compose(char **all_out, const uint32_t *sizes, uint32_t count)
{
	size_t n = 0;
	for (uint32_t i = 0; i < count; i++) n += 4 + sizes[i];
	char *p = malloc(n);
	ck_assert_ptr_nonnull(p);
	*all_out = p;
	for (uint32_t i = 0; i < count; p += sizes[i++]) {
		memcpy(p, &sizes[i], 4);
		p += 4;
		for (size_t k = 0; k < sizes[i]; k++) p[k] = byte_at(i, k);
	}
	return n;
}

/* Small and large messages, in pieces of every kind of size, while some of what was read is still
 * referenced. */
START_TEST(any_pieces_make_the_same_messages)
{
	struct buf *held[3] = { 0 };
	uint32_t turn = 0;
	static const uint32_t sizes[] = { 0,	   5, 100,   4000,  4100,  3,	   17000,
					  70000,   1, 2500,  65472, 65473, 300000, 1200000,
					  3000000, 9, 20000, 0,	    1 };
	static const size_t pieces[] = { 997, 4096, 65472, 65536, 150000 };
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	char *all;
	size_t total = compose(&all, sizes, COUNT), step = pieces[_i];
	uint32_t number = 0;
	size_t need = 0;
	for (size_t sent = 0, read = 0; read < total;) {
		size_t n = total - sent < step ? total - sent : step;
		ssize_t written = write(theirs, all + sent, n);
		if (written > 0) sent += (size_t)written;
		ssize_t got;
		struct buf *b;
		while ((b = inbuf_read(&core, ours, &kept, need, &got, &full))) {
			read += (size_t)got;
			int left;
			ck_assert_int_eq(ioctl(ours, FIONREAD, &left), 0);
			ck_assert_msg(full || left == 0, "%d bytes left, and nobody told", left);
			size_t more, parsed = parse(b, &number, &need);
			while ((more = inbuf_read_rest(&core, ours, b, parsed, need)) > 0) {
				read += more;
				parsed = parse_from(b, parsed, &number, &need);
			}
			struct buf **slot = &held[turn++ % 3];
			if (*slot) buf_unref(*slot);
			*slot = turn % 5 < 3 ? buf_ref(b) : NULL;
			inbuf_keep(&core, b, parsed, need, &kept);
		}
		ck_assert_int_eq(got, -1);
	}
	for (int i = 0; i < 3; i++)
		if (held[i]) buf_unref(held[i]);
	ck_assert_uint_eq(number, COUNT);
	ck_assert_ptr_null(kept);
	free(all);
}
END_TEST

/* Reads that end in the middle of a message; what was parsed of the first is referenced. */
START_TEST(what_a_full_read_cuts_is_completed_where_it_lies)
{
	enum { EACH = 4000, COUNT = 25, FIRST = 65472, WHOLE = FIRST / (4 + EACH) * (4 + EACH) };
	uint32_t sizes[COUNT], number = 0;
	for (int i = 0; i < COUNT; i++) sizes[i] = EACH;
	char *all;
	size_t need, n = compose(&all, sizes, COUNT);
	they_send(all, n);
	struct buf *b = we_read(0);
	ck_assert_uint_eq(b->len, FIRST);
	size_t at = parse(b, &number, &need);
	ck_assert_uint_eq(at, WHOLE);
	ck_assert_uint_eq(inbuf_read_rest(&core, ours, b, at, need), WHOLE + need - FIRST);
	at = parse_from(b, at, &number, &need);
	ck_assert_uint_eq(at, b->len);
	ck_assert_uint_eq(inbuf_read_rest(&core, ours, b, at, need), 0); /* nothing is cut */
	struct buf *held = buf_ref(b);
	inbuf_keep(&core, b, at, 0, &kept);
	ck_assert_ptr_null(kept);
	b = we_read(0); /* what is left is the sender's end */
	ck_assert_uint_eq(parse(b, &number, &need), b->len);
	ck_assert_uint_eq(number, COUNT);
	inbuf_keep(&core, b, b->len, 0, &kept);
	buf_unref(held);
	free(all);
}
END_TEST

START_TEST(what_the_sender_cuts_is_kept)
{
	char page[3000] = { 0 };
	they_send(page, sizeof(page));
	struct buf *b = we_read(0);
	they_send(page, sizeof(page));
	ck_assert_uint_eq(inbuf_read_rest(&core, ours, b, 0, 2 * sizeof(page)), 0);
	inbuf_keep(&core, b, 0, 2 * sizeof(page), &kept);
	ck_assert_uint_eq(kept->len, sizeof(page));
}
END_TEST

START_TEST(who_announces_much_and_sends_little_gets_little)
{
	uint32_t huge = 500u << 20;
	they_send(&huge, 4);
	inbuf_keep(&core, we_read(0), 0, 4 + (size_t)huge, &kept);
	they_send("few", 3);
	struct buf *b = we_read(4 + (size_t)huge);
	ck_assert_uint_eq(b->len, 7);
	ck_assert_uint_le(b->cap, 2u << 20);
	inbuf_keep(&core, b, 0, 4 + (size_t)huge, &kept);
	ck_assert_ptr_nonnull(kept);
}
END_TEST

START_TEST(a_large_message_lies_alone)
{
	uint32_t size = 100000;
	char *all;
	size_t n = compose(&all, (uint32_t[]){ size, 3 }, 2);
	they_send(all, 50);
	inbuf_keep(&core, we_read(0), 0, 4 + size, &kept);
	they_send(all + 50, n - 50);
	size_t need = 4 + size;
	struct buf *b = we_read(need);
	while (b->len < need) {
		inbuf_keep(&core, b, 0, need, &kept);
		b = we_read(need);
	}
	/* what follows it stays in the socket, so that its buf can be passed on */
	ck_assert_uint_eq(b->len, need);
	ck_assert_ptr_ne(b, core.rbuf);
	inbuf_keep(&core, b, need, 0, &kept);
	ck_assert_ptr_null(kept);
	b = we_read(0);
	ck_assert_uint_eq(b->len, 7);
	inbuf_keep(&core, b, 7, 0, &kept);
	free(all);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("inbuf");
	TCase *t = tcase_create("inbuf");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_whole_message_leaves_nothing);
	tcase_add_test(t, the_rest_comes_before_the_next_read);
	tcase_add_test(t, a_rest_is_small);
	tcase_add_test(t, bytes_that_are_referenced_stay);
	tcase_add_test(t, what_nobody_references_any_more_is_used_again);
	tcase_add_test(t, a_rest_goes_behind_what_is_referenced);
	tcase_add_test(t, nothing_read_leaves_the_rest_alone);
	tcase_add_loop_test(t, any_pieces_make_the_same_messages, 0, 5);
	tcase_add_test(t, what_a_full_read_cuts_is_completed_where_it_lies);
	tcase_add_test(t, what_the_sender_cuts_is_kept);
	tcase_add_test(t, who_announces_much_and_sends_little_gets_little);
	tcase_add_test(t, a_large_message_lies_alone);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
