#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/net.h"

static char dir[64], path[96];
static struct err_at at;

static void setup(void)
{
	strcpy(dir, "/tmp/test_net.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
}

static void teardown(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct listen_spec tcp_any(void)
{
	return (struct listen_spec){ .text = "127.0.0.1:0", .host = "127.0.0.1", .port_any = true };
}

static struct listen_spec unix_spec(void)
{
	return (struct listen_spec){ .text = path, .host = path, .mode = 0640 };
}

static int must_listen(const struct listen_spec *spec)
{
	int fd = -1;
	ck_assert_msg(net_listen(spec, 16, false, &fd, &at) == ERR_NONE, "%s: %s", at.where,
		      at.why);
	ck_assert_int_ge(fd, 0);
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return fd;
}

static int must_connect(const struct net_addr *a)
{
	int fd = -1;
	ck_assert_int_eq(net_connect_nonblocking(a, &fd), ERR_NONE);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	ck_assert_int_eq(poll(&p, 1, 1000), 1);
	ck_assert_int_eq(net_connect_result(fd), ERR_NONE);
	return fd;
}

START_TEST(numeric_addresses)
{
	static const struct {
		const char *host;
		uint16_t port;
		const char *name; /* NULL: not numeric */
	} cases[] = {
		{ "127.0.0.1", 80, "127.0.0.1:80" },
		{ "::1", 80, "[::1]:80" },
		{ "[::1]", 65535, "[::1]:65535" },
		{ "2001:db8::0:1", 1, "[2001:db8::1]:1" },
		{ "/tmp/x", 0, "/tmp/x" },
		{ "@abstract", 0, "@abstract" },
		{ "localhost", 80, NULL },
		{ "1", 80, NULL },
		{ "127.1", 80, NULL },
		{ "256.0.0.1", 80, NULL },
		{ "", 80, NULL },
		{ "[]", 80, NULL },
		{ "", 0, NULL },
		{ ":::", 1, NULL },
	};
	struct net_addr a;
	char name[NET_NAME_MAX], big[300];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool ok = net_addr_numeric(cases[i].host, cases[i].port, &a);
		ck_assert_msg(ok == (cases[i].name != NULL), "%s", cases[i].host);
		if (!ok) continue;
		net_addr_name(&a, name);
		ck_assert_str_eq(name, cases[i].name);
		ck_assert_uint_eq(net_addr_port(&a), cases[i].port);
	}
	memset(big, '1', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	ck_assert(!net_addr_numeric(big, 80, &a));
	big[0] = '/';
	ck_assert(!net_addr_numeric(big, 0, &a));
	big[107] = 0; /* the longest that fits */
	ck_assert(net_addr_numeric(big, 0, &a));
	net_addr_name(&a, name);
	ck_assert_str_eq(name, big);
}
END_TEST

START_TEST(equality)
{
	struct net_addr a, b;
	net_addr_numeric("10.0.0.1", 80, &a);
	net_addr_numeric("10.0.0.1", 80, &b);
	ck_assert(net_addr_equal(&a, &b));
	net_addr_numeric("10.0.0.1", 81, &b);
	ck_assert(!net_addr_equal(&a, &b));
	net_addr_numeric("::1", 80, &b);
	ck_assert(!net_addr_equal(&a, &b));
	net_addr_numeric("[::1]", 80, &a);
	ck_assert(net_addr_equal(&a, &b));
	net_addr_unix("/a", &a);
	net_addr_unix("/b", &b);
	ck_assert(!net_addr_equal(&a, &b));
}
END_TEST

START_TEST(tcp_listen_and_connect)
{
	struct listen_spec spec = tcp_any();
	struct net_addr a;
	char name[NET_NAME_MAX], peer[NET_NAME_MAX];
	int on = 0;
	socklen_t n = sizeof(on);
	int l = must_listen(&spec);
	uint16_t port = net_local_port(l);
	ck_assert_uint_ne(port, 0);
	ck_assert(net_addr_numeric("127.0.0.1", port, &a));
	int c = must_connect(&a);
	int s = accept(l, NULL, NULL);
	ck_assert_int_ge(s, 0);
	net_local_name(c, name);
	net_peer_name(s, peer);
	ck_assert_str_eq(name, peer);
	net_peer_name(l, peer);
	ck_assert_str_eq(peer, "?");
	net_nodelay(c);
	net_keepalive(c, 60);
	net_user_timeout(c, 5000);
	getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, &n);
	ck_assert_int_eq(on, 1);
	getsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &on, &n);
	ck_assert_int_eq(on, 1);
	getsockopt(c, IPPROTO_TCP, TCP_KEEPIDLE, &on, &n);
	ck_assert_int_eq(on, 60);
	getsockopt(c, IPPROTO_TCP, TCP_USER_TIMEOUT, &on, &n);
	ck_assert_int_eq(on, 5000);
	net_unlisten(l, &spec);
	close(c);
	close(s);
	close(l);
}
END_TEST

START_TEST(busy_port_is_an_error)
{
	struct listen_spec spec = tcp_any();
	char text[32];
	int fd = -1, l = must_listen(&spec);
	spec.port_any = false;
	spec.port = net_local_port(l);
	snprintf(text, sizeof(text), "127.0.0.1:%u", spec.port);
	spec.text = text;
	ck_assert_int_eq(net_listen(&spec, 16, false, &fd, &at), ERR_IO);
	ck_assert_int_eq(fd, -1);
	ck_assert_str_eq(at.where, text);
	ck_assert_str_eq(at.why, "bind: Address already in use");
	close(l);
}
END_TEST

START_TEST(reuseport_shares)
{
	struct listen_spec spec = tcp_any();
	int a = -1, b = -1;
	ck_assert_int_eq(net_listen(&spec, 16, true, &a, &at), ERR_NONE);
	spec.port_any = false;
	spec.port = net_local_port(a);
	ck_assert_int_eq(net_listen(&spec, 16, true, &b, &at), ERR_NONE);
	close(a);
	close(b);
}
END_TEST

START_TEST(unresolvable_is_an_error)
{
	struct listen_spec spec = { .text = "256.1.1.1:80", .host = "256.1.1.1:x", .port = 80 };
	int fd = -1;
	ck_assert_int_eq(net_listen(&spec, 16, false, &fd, &at), ERR_IO);
	ck_assert_int_eq(strncmp(at.why, "resolve: ", 9), 0);
}
END_TEST

START_TEST(unix_listen_mode_and_names)
{
	struct listen_spec spec = unix_spec();
	struct stat st;
	struct net_addr a;
	char name[NET_NAME_MAX];
	int l = must_listen(&spec);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0640);
	ck_assert_uint_eq(net_local_port(l), 0);
	ck_assert(net_addr_unix(path, &a));
	int c = must_connect(&a);
	int s = accept(l, NULL, NULL);
	net_peer_name(c, name);
	ck_assert_str_eq(name, path);
	net_peer_name(s, name);
	ck_assert_str_eq(name, "unix");
	net_nodelay(c);
	net_unlisten(l, &spec);
	ck_assert_int_ne(access(path, F_OK), 0);
	close(c);
	close(s);
	close(l);
}
END_TEST

START_TEST(dead_socket_is_replaced_and_live_is_not)
{
	struct listen_spec spec = unix_spec();
	int fd = -1;
	close(must_listen(&spec)); /* leaves the file */
	ck_assert_int_eq(access(path, F_OK), 0);
	int l = must_listen(&spec);
	ck_assert_int_eq(net_listen(&spec, 16, false, &fd, &at), ERR_IO);
	ck_assert_str_eq(at.why, "bind: Address already in use");
	close(l);
}
END_TEST

START_TEST(other_files_are_left_alone)
{
	struct listen_spec spec = unix_spec();
	int fd = -1;
	close(open(path, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(net_listen(&spec, 16, false, &fd, &at), ERR_IO);
	ck_assert_str_eq(at.why, "bind: exists and is not a socket");
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(unlisten_leaves_a_successors_socket)
{
	struct listen_spec spec = unix_spec();
	int old = must_listen(&spec);
	unlink(path);
	int now = must_listen(&spec);
	net_unlisten(old, &spec);
	ck_assert_int_eq(access(path, F_OK), 0);
	close(old);
	close(now);
}
END_TEST

START_TEST(refused_connections)
{
	struct listen_spec spec = tcp_any();
	struct net_addr a;
	int fd = -1, l = must_listen(&spec);
	net_addr_numeric("127.0.0.1", net_local_port(l), &a);
	close(l);
	enum err e = net_connect_nonblocking(&a, &fd);
	if (e == ERR_NONE) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		ck_assert_int_eq(poll(&p, 1, 1000), 1);
		e = net_connect_result(fd);
		close(fd);
	}
	ck_assert_int_eq(e, ERR_REFUSED);
	net_addr_unix(path, &a);
	ck_assert_int_eq(net_connect_nonblocking(&a, &fd), ERR_REFUSED);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net");
	TCase *t = tcase_create("net");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, numeric_addresses);
	tcase_add_test(t, equality);
	tcase_add_test(t, tcp_listen_and_connect);
	tcase_add_test(t, busy_port_is_an_error);
	tcase_add_test(t, reuseport_shares);
	tcase_add_test(t, unresolvable_is_an_error);
	tcase_add_test(t, unix_listen_mode_and_names);
	tcase_add_test(t, dead_socket_is_replaced_and_live_is_not);
	tcase_add_test(t, other_files_are_left_alone);
	tcase_add_test(t, unlisten_leaves_a_successors_socket);
	tcase_add_test(t, refused_connections);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
