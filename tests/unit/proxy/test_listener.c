/* Accepting: which worker gets a client, what a limit does, what a reload leaves alone. */
#include "proxy/listener.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"

enum { WORKERS = 3, LISTENERS = 2 };

static struct io_loop loop;
static struct listeners set;
static struct worker_shared shared;
static struct worker *workers[WORKERS];
static struct listener_spec specs[LISTENERS];
static struct config config;
static struct mail last; /* the latest that any worker got */
static int client[64], client_count;

static void on_mail(void *owner, const struct mail *m)
{
	(void)owner;
	last = *m;
	close(m->fd);
}

static void listen_on(struct listener_spec *spec, const char *text)
{
	const char *why;
	listen_spec_fini(&spec->listen);
	ck_assert(listen_spec_parse(text, &spec->listen, &why));
}

static void setup(void)
{
	struct err_at at;
	log_level_set(0);
	client_count = 0;
	ck_assert(io_loop_init(&loop));
	shared = (struct worker_shared){ .threads = WORKERS };
	shared.listener_clients = calloc(LISTENERS_MAX, sizeof(*shared.listener_clients));
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = calloc(1, sizeof(*workers[i]));
		ck_assert(mailbox_init(&workers[i]->mail, &loop, on_mail, workers[i]));
	}
	memset(specs, 0, sizeof(specs));
	for (int i = 0; i < LISTENERS; i++) {
		specs[i].backlog = 64;
		specs[i].pool = (char *)"p";
	}
	listen_on(&specs[0], "127.0.0.1:0");
	listen_on(&specs[1], "127.0.0.2:0");
	config = (struct config){ .listeners = specs, .listener_count = 1 };
	listeners_init(&set, &loop, &shared, workers, WORKERS);
	ck_assert_int_eq(listeners_open(&set, &config, &at), ERR_NONE);
	listeners_start(&set);
}

static void teardown(void)
{
	for (int i = 0; i < client_count; i++) close(client[i]);
	listeners_fini(&set);
	for (int i = 0; i < WORKERS; i++) {
		mailbox_fini(&workers[i]->mail);
		free(workers[i]);
	}
	for (int i = 0; i < LISTENERS; i++) listen_spec_fini(&specs[i].listen);
	free(shared.listener_clients);
	io_loop_fini(&loop);
}

static int connect_to(const struct listener *l)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(getsockname(l->fd, (struct sockaddr *)&addr, &len), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, len), 0);
	client[client_count++] = fd;
	return fd;
}

static uint32_t accepted(void)
{
	uint32_t n = 0;
	for (int i = 0; i < WORKERS; i++) n += workers[i]->client_count;
	return n;
}

static void accept_clients(const struct listener *l, uint32_t count)
{
	uint32_t want = accepted() + count;
	for (uint32_t i = 0; i < count; i++) connect_to(l);
	while (accepted() < want) io_loop_turn(&loop);
}

START_TEST(the_worker_with_the_fewest_gets_the_next)
{
	accept_clients(set.by_number[0], 3);
	for (int i = 0; i < WORKERS; i++) ck_assert_uint_eq(workers[i]->client_count, 1);
	workers[0]->client_count = 10;
	workers[1]->client_count = 4;
	workers[2]->client_count = 6;
	accept_clients(set.by_number[0], 1);
	ck_assert_uint_eq(workers[1]->client_count, 5);
	accept_clients(set.by_number[0], 9); /* evened out, and worker 0 left in peace */
	ck_assert_uint_eq(workers[0]->client_count, 10);
	ck_assert_uint_eq(workers[1]->client_count, 10);
	ck_assert_uint_eq(workers[2]->client_count, 10);
}
END_TEST

START_TEST(a_client_is_counted_where_it_came_in)
{
	struct err_at at;
	config.listener_count = 2;
	ck_assert_int_eq(listeners_open(&set, &config, &at), ERR_NONE);
	listeners_start(&set);
	accept_clients(set.by_number[1], 2);
	io_loop_turn(&loop);
	ck_assert_uint_eq(shared.listener_clients[0], 0);
	ck_assert_uint_eq(shared.listener_clients[1], 2);
	ck_assert_int_eq(last.kind, WORKER_CLIENT);
	ck_assert_uint_eq(last.number, 1);
}
END_TEST

static void refused_with(enum protocol protocol, const char *text)
{
	char reply[128] = "";
	struct err_at at;
	specs[0].client_connections = 2;
	specs[0].protocol = protocol;
	ck_assert_int_eq(listeners_open(&set, &config, &at), ERR_NONE); /* a reload */
	accept_clients(set.by_number[0], 2);
	int fd = connect_to(set.by_number[0]);
	while (recv(fd, reply, sizeof(reply) - 1, MSG_PEEK | MSG_DONTWAIT) < 0) io_loop_turn(&loop);
	ck_assert_int_eq(recv(fd, reply, sizeof(reply) - 1, 0), (ssize_t)strlen(text));
	ck_assert_str_eq(reply, text);
	ck_assert_int_eq(recv(fd, reply, 1, 0), 0); /* and closed */
	ck_assert_uint_eq(shared.listener_clients[0], 2);
	/* one leaves: the next may come */
	shared.listener_clients[0]--;
	accept_clients(set.by_number[0], 1);
}

START_TEST(over_the_limit_memcached)
{
	refused_with(PROTOCOL_MEMCACHED, "ERROR Too many open connections\r\n");
}
END_TEST

START_TEST(over_the_limit_redis)
{
	refused_with(PROTOCOL_REDIS, "-ERR max number of clients reached\r\n");
}
END_TEST

START_TEST(a_reload_keeps_what_is_still_wanted)
{
	struct err_at at;
	struct listener *first = set.by_number[0];
	int fd = first->fd;
	config.listener_count = 2;
	specs[0].pool = (char *)"other";
	ck_assert_int_eq(listeners_open(&set, &config, &at), ERR_NONE);
	ck_assert_ptr_eq(set.by_number[0], first);
	ck_assert_int_eq(first->fd, fd);
	ck_assert_str_eq(first->spec.pool, "other");
	ck_assert_uint_eq(set.count, 2);

	config.listeners = &specs[1];
	config.listener_count = 1;
	listeners_prune(&set, &config);
	ck_assert_ptr_null(set.by_number[0]);
	ck_assert_ptr_nonnull(set.by_number[1]);
}
END_TEST

START_TEST(a_number_waits_for_its_clients)
{
	struct err_at at;
	shared.listener_clients[0] = 1; /* one of the old listener's is still there */
	config.listeners = &specs[1];
	listeners_prune(&set, &config);
	ck_assert_int_eq(listeners_open(&set, &config, &at), ERR_NONE);
	ck_assert_ptr_null(set.by_number[0]);
	ck_assert_ptr_nonnull(set.by_number[1]);
}
END_TEST

START_TEST(what_fails_changes_nothing)
{
	struct err_at at;
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	char taken[64];
	struct listener_spec three[3] = { { .backlog = 1 }, { .backlog = 1 }, { .backlog = 1 } };
	getsockname(set.by_number[0]->fd, (struct sockaddr *)&addr, &len);
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", ntohs(addr.sin_port));
	listen_on(&three[0], "127.0.0.1:0"); /* there already */
	listen_on(&three[1], "127.0.0.3:0"); /* new, and opened before the next fails */
	listen_on(&three[2], taken);
	struct config bad = { .listeners = three, .listener_count = 3 };
	ck_assert_int_ne(listeners_open(&set, &bad, &at), ERR_NONE);
	ck_assert_ptr_nonnull(strstr(at.where, taken) ? strstr(at.where, taken)
						      : strstr(at.why, taken));
	ck_assert_ptr_nonnull(set.by_number[0]);
	for (uint32_t i = 1; i < set.count; i++) ck_assert_ptr_null(set.by_number[i]);
	accept_clients(set.by_number[0], 1);
	for (int i = 0; i < 3; i++) listen_spec_fini(&three[i].listen);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("listener");
	TCase *t = tcase_create("listener");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_worker_with_the_fewest_gets_the_next);
	tcase_add_test(t, a_client_is_counted_where_it_came_in);
	tcase_add_test(t, over_the_limit_memcached);
	tcase_add_test(t, over_the_limit_redis);
	tcase_add_test(t, a_reload_keeps_what_is_still_wanted);
	tcase_add_test(t, a_number_waits_for_its_clients);
	tcase_add_test(t, what_fails_changes_nothing);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
