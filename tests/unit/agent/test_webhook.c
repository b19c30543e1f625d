#include <arpa/inet.h>
#include <check.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/webhook.h"
#include "common/clock.h"
#include "common/log.h"

/* --- a receiver on the same loop -------------------------------------------------------------- */

enum { HANG = 0, BIG = 1, SEEN_MAX = 64 }; /* else a status */

static struct io_loop loop;
static struct evhttp *http;
static struct evhttp_bound_socket *bound;
static uint16_t port;
static int script[SEEN_MAX]; /* how to answer each request; after the end, 200 */
static unsigned script_count;

static struct seen {
	json_t *body;
	char text[4096], path[64], signature[128], type[64], expect[16];
	enum evhttp_cmd_type method;
} seen[SEEN_MAX];
static unsigned seen_count;

static const char *header_of(struct evhttp_request *req, const char *name)
{
	const char *value = evhttp_find_header(evhttp_request_get_input_headers(req), name);
	return value ? value : "";
}

static void answer(struct evhttp_request *req, int how)
{
	struct evbuffer *body = evhttp_request_get_output_buffer(req);
	static const char chunk[4096];
	if (how == HANG) return;
	if (how == 302)
		evhttp_add_header(evhttp_request_get_output_headers(req), "Location", "/elsewhere");
	for (int i = 0; how == BIG && i < 64; i++) evbuffer_add(body, chunk, sizeof(chunk));
	evhttp_send_reply(req, how == BIG ? 200 : how, "whatever", NULL);
}

static void on_request(struct evhttp_request *req, void *arg)
{
	(void)arg;
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	ck_assert_uint_lt(seen_count, SEEN_MAX);
	struct seen *s = &seen[seen_count];
	ssize_t n = evbuffer_copyout(in, s->text, sizeof(s->text) - 1);
	s->text[n > 0 ? n : 0] = 0;
	s->body = json_loads(s->text, 0, NULL);
	s->method = evhttp_request_get_command(req);
	snprintf(s->path, sizeof(s->path), "%s", evhttp_request_get_uri(req));
	snprintf(s->signature, sizeof(s->signature), "%s", header_of(req, "X-Twinring-Signature"));
	snprintf(s->type, sizeof(s->type), "%s", header_of(req, "Content-Type"));
	snprintf(s->expect, sizeof(s->expect), "%s", header_of(req, "Expect"));
	int how = seen_count < script_count ? script[seen_count] : 200;
	seen_count++;
	answer(req, how);
}

static void receiver_listen(void)
{
	bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", port);
	ck_assert_ptr_nonnull(bound);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	ck_assert_int_eq(
	    getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&a, &len), 0);
	port = ntohs(a.sin_port);
}

/* --- the sender ------------------------------------------------------------------------------- */

static struct webhooks *w;
static struct agent_config config;
static struct webhook_spec specs[2];
static char urls[2][96];
static struct webhook_limits limits;

static void setup(void)
{
	seen_count = script_count = 0;
	port = 0;
	ck_assert(io_loop_init(&loop));
	http = evhttp_new(io_loop_base(&loop));
	evhttp_set_gencb(http, on_request, NULL);
	receiver_listen();
	memset(specs, 0, sizeof(specs));
	config = (struct agent_config){ .id = "agent-1", .webhooks = specs, .webhook_count = 1 };
	for (int i = 0; i < 2; i++) {
		snprintf(urls[i], sizeof(urls[i]), "http://127.0.0.1:%u/hook%d?x=1", port, i);
		specs[i].url = urls[i];
		specs[i].timeout_ms = 2000;
	}
	limits = (struct webhook_limits){ .retry_min_ms = 20, .retry_max_ms = 80 };
	log_level_set(LOG_LEVEL_EMERG);
}

static void teardown(void)
{
	webhooks_free(&w);
	webhooks_free(&w);
	for (unsigned i = 0; i < seen_count; i++) json_decref(seen[i].body);
	evhttp_free(http);
	io_loop_fini(&loop);
}

static void start(void)
{
	w = webhooks_new_limited(&loop, &config, &limits);
}

static void answers(int a, int b, int c)
{
	script[0] = a;
	script[1] = b;
	script[2] = c;
	script_count = 3;
}

static void send_event(const char *event, int number)
{
	webhooks_send(w, event, json_pack("{s:i}", "number", number));
}

static struct webhook_counts counts(void)
{
	struct webhook_counts c;
	webhooks_counts(w, &c);
	return c;
}

static void pass(unsigned ms)
{
	uint64_t end = clock_now_us() + ms * 1000ull;
	while (clock_now_us() < end) {
		event_base_loop(io_loop_base(&loop), EVLOOP_NONBLOCK);
		usleep(500);
	}
}

static void until_empty(void)
{
	uint64_t end = clock_now_us() + 8000000;
	while (counts().waiting > 0) {
		ck_assert_msg(clock_now_us() < end, "%lu sent, %lu failed, %lu waiting",
			      counts().sent, counts().failed, counts().waiting);
		pass(5);
	}
}

static int number_of(unsigned i)
{
	return (int)json_integer_value(json_object_get(seen[i].body, "number"));
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(one_event)
{
	start();
	uint64_t before_ms = clock_wall_us() / 1000;
	send_event("panic begun", 7);
	ck_assert_uint_eq(seen_count, 0); /* nothing happens within the call */
	until_empty();
	ck_assert_uint_eq(seen_count, 1);
	ck_assert_int_eq(seen[0].method, EVHTTP_REQ_POST);
	ck_assert_str_eq(seen[0].path, "/hook0?x=1");
	ck_assert_str_eq(seen[0].type, "application/json");
	ck_assert_str_eq(seen[0].signature, "");
	ck_assert_str_eq(seen[0].expect, "");
	ck_assert_int_eq(number_of(0), 7);
	const json_t *b = seen[0].body;
	ck_assert_str_eq(json_string_value(json_object_get(b, "event")), "panic begun");
	ck_assert_str_eq(json_string_value(json_object_get(b, "agent")), "agent-1");
	ck_assert_int_eq(json_integer_value(json_object_get(b, "sequence")), 1);
	ck_assert_uint_ge((uint64_t)json_integer_value(json_object_get(b, "time")), before_ms);
	struct webhook_counts c = counts();
	ck_assert(c.sent == 1 && c.failed == 0 && c.dropped == 0);
}
END_TEST

START_TEST(tried_again_in_order)
{
	answers(500, 503, 200);
	start();
	for (int i = 0; i < 5; i++) send_event("applied", i);
	until_empty();
	ck_assert_uint_eq(seen_count, 7);
	for (int i = 0; i < 7; i++) ck_assert_int_eq(number_of(i), i < 2 ? 0 : i - 2);
	ck_assert_uint_eq(counts().sent, 5);
	ck_assert_uint_eq(counts().failed, 2);
}
END_TEST

START_TEST(pauses_grow)
{
	limits = (struct webhook_limits){ .retry_min_ms = 100, .retry_max_ms = 200 };
	answers(500, 500, 500);
	start();
	uint64_t begin = clock_now_us();
	send_event("applied", 1);
	until_empty();
	uint64_t took_ms = (clock_now_us() - begin) / 1000;
	ck_assert_uint_eq(seen_count, 4);
	ck_assert_uint_ge(took_ms, 75 + 150 + 150);
	begin = clock_now_us();
	answers(0, 0, 0);
	script[4] = 500; /* begins anew after a success */
	script_count = 5;
	send_event("applied", 2);
	until_empty();
	ck_assert_uint_eq(seen_count, 6);
}
END_TEST

START_TEST(a_receiver_that_hangs)
{
	specs[0].timeout_ms = 100;
	answers(HANG, 200, 200);
	start();
	send_event("applied", 1);
	until_empty();
	ck_assert_uint_eq(seen_count, 2);
	ck_assert_uint_eq(counts().failed, 1);
}
END_TEST

START_TEST(a_receiver_that_is_not_there)
{
	evhttp_del_accept_socket(http, bound);
	start();
	send_event("applied", 1);
	send_event("applied", 2);
	pass(100);
	ck_assert_uint_eq(seen_count, 0);
	ck_assert_uint_ge(counts().failed, 1);
	ck_assert_uint_eq(counts().waiting, 2);
	receiver_listen();
	until_empty();
	ck_assert_int_eq(number_of(0), 1);
	ck_assert_int_eq(number_of(1), 2);
}
END_TEST

START_TEST(redirects_are_not_followed)
{
	answers(302, 302, 200);
	start();
	send_event("applied", 1);
	until_empty();
	ck_assert_uint_eq(seen_count, 3);
	for (int i = 0; i < 3; i++) ck_assert_str_eq(seen[i].path, "/hook0?x=1");
	ck_assert_uint_eq(counts().failed, 2);
}
END_TEST

START_TEST(a_long_answer_is_cut)
{
	answers(BIG, 200, 200);
	start();
	send_event("applied", 1);
	send_event("applied", 2);
	until_empty();
	ck_assert_uint_eq(seen_count, 2);
	ck_assert_uint_eq(counts().sent, 2);
	ck_assert_uint_eq(counts().failed, 0);
}
END_TEST

START_TEST(bodies_are_signed)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned bytes;
	char hex[128] = "sha256=";
	specs[0].secret.text = "Jefe's secret";
	start();
	for (int i = 0; i < 2; i++) send_event("ejected", i);
	until_empty();
	for (int i = 0; i < 2; i++) {
		HMAC(EVP_sha256(), "Jefe's secret", 13, (unsigned char *)seen[i].text,
		     strlen(seen[i].text), mac, &bytes);
		for (unsigned k = 0; k < bytes; k++) sprintf(hex + 7 + 2 * k, "%02x", mac[k]);
		ck_assert_str_eq(seen[i].signature, hex);
	}
	ck_assert_str_ne(seen[0].signature, seen[1].signature);
}
END_TEST

START_TEST(each_gets_what_it_wants)
{
	char *wanted[] = { "ejected", "panic begun", NULL };
	specs[1].events = (struct text_list){ wanted, 2 };
	config.webhook_count = 2;
	start();
	send_event("applied", 1);
	send_event("panic begun", 2);
	send_event("something.new", 3);
	until_empty();
	unsigned second = 0;
	for (unsigned i = 0; i < seen_count; i++)
		if (strncmp(seen[i].path, "/hook1", 6) == 0) {
			second++;
			ck_assert_int_eq(number_of(i), 2);
		}
	ck_assert_uint_eq(second, 1);
	ck_assert_uint_eq(seen_count, 4);
}
END_TEST

/* A URL that does not answer holds nobody else up. */
START_TEST(queues_are_apart)
{
	snprintf(urls[0], sizeof(urls[0]), "http://127.0.0.1:1/");
	config.webhook_count = 2;
	start();
	for (int i = 0; i < 3; i++) send_event("applied", i);
	while (counts().sent < 3) pass(5);
	ck_assert_uint_eq(counts().waiting, 3);
	ck_assert_uint_eq(seen_count, 3);
}
END_TEST

START_TEST(the_oldest_is_dropped)
{
	specs[0].timeout_ms = 300;
	limits.queue_max = 3;
	answers(HANG, 200, 200);
	start();
	send_event("applied", 0);
	while (seen_count < 1) pass(5);
	for (int i = 1; i < 6; i++) send_event("applied", i);
	ck_assert_uint_eq(counts().waiting, 3);
	ck_assert_uint_eq(counts().dropped, 3);
	until_empty(); /* 0 was on its way */
	ck_assert_uint_eq(seen_count, 4);
	static const int want[] = { 0, 0, 4, 5 };
	for (unsigned i = 0; i < 4; i++) ck_assert_int_eq(number_of(i), want[i]);
}
END_TEST

START_TEST(too_old_is_given_up)
{
	limits.age_max_ms = 150;
	for (int i = 0; i < SEEN_MAX; i++) script[i] = 500;
	script_count = SEEN_MAX;
	start();
	send_event("applied", 1);
	until_empty();
	ck_assert_uint_eq(counts().dropped, 1);
	ck_assert_uint_eq(counts().sent, 0);
	ck_assert_uint_ge(seen_count, 2);
	script_count = 0;
	send_event("applied", 2);
	until_empty();
	ck_assert_uint_eq(counts().sent, 1);
}
END_TEST

START_TEST(too_long_is_dropped)
{
	char *text = malloc(WEBHOOK_BODY_MAX + 1);
	memset(text, 'x', WEBHOOK_BODY_MAX);
	text[WEBHOOK_BODY_MAX] = 0;
	start();
	webhooks_send(w, "applied", json_pack("{s:s}", "why", text));
	ck_assert_uint_eq(counts().waiting, 0);
	ck_assert_uint_eq(counts().dropped, 1);
	free(text);
}
END_TEST

START_TEST(freed_in_the_middle)
{
	answers(HANG, HANG, HANG);
	start();
	for (int i = 0; i < 3; i++) send_event("applied", i);
	while (seen_count < 1) pass(5);
	webhooks_free(&w);
	ck_assert_ptr_null(w);
	pass(20);
}
END_TEST

START_TEST(nobody_to_tell)
{
	config.webhook_count = 0;
	start();
	send_event("applied", 1);
	ck_assert_uint_eq(counts().waiting, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("webhook");
	TCase *t = tcase_create("webhook");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, one_event);
	tcase_add_test(t, tried_again_in_order);
	tcase_add_test(t, pauses_grow);
	tcase_add_test(t, a_receiver_that_hangs);
	tcase_add_test(t, a_receiver_that_is_not_there);
	tcase_add_test(t, redirects_are_not_followed);
	tcase_add_test(t, a_long_answer_is_cut);
	tcase_add_test(t, bodies_are_signed);
	tcase_add_test(t, each_gets_what_it_wants);
	tcase_add_test(t, queues_are_apart);
	tcase_add_test(t, the_oldest_is_dropped);
	tcase_add_test(t, too_old_is_given_up);
	tcase_add_test(t, too_long_is_dropped);
	tcase_add_test(t, freed_in_the_middle);
	tcase_add_test(t, nobody_to_tell);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
