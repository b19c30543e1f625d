#include "agent/curl_loop.h"

#include <sys/socket.h>

static void curl_loop_act(struct curl_loop *c, curl_socket_t fd, int events)
{
	int running, left;
	CURLMsg *m;
	curl_multi_socket_action(c->multi, fd, events, &running);
	while ((m = curl_multi_info_read(c->multi, &left)))
		if (m->msg == CURLMSG_DONE) c->on_done(c->ctx, m->easy_handle, m->data.result);
}

/* --- from the loop and from curl -------------------------------------------------------------- */

static void curl_loop_on_event(int fd, short what, void *owner)
{
	struct curl_loop_socket *s = owner;
	curl_loop_act(s->owner, fd,
		      ((what & IO_READ) ? CURL_CSELECT_IN : 0) |
			  ((what & IO_WRITE) ? CURL_CSELECT_OUT : 0));
}

static void curl_loop_on_timer(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	curl_loop_act(owner, CURL_SOCKET_TIMEOUT, 0);
}

/* The one in use for fd, else a free one, else NULL. */
static struct curl_loop_socket *curl_loop_socket(struct curl_loop *c, curl_socket_t fd)
{
	struct curl_loop_socket *unused = NULL;
	for (int i = 0; i < CURL_LOOP_SOCKETS; i++) {
		struct curl_loop_socket *s = &c->sockets[i];
		if (s->used && s->fd == fd) return s;
		if (!s->used && !unused) unused = s;
	}
	return unused;
}

static int curl_loop_want_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
	(void)easy, (void)unused;
	struct curl_loop *c = ctx;
	struct curl_loop_socket *s = curl_loop_socket(c, fd);
	if (!s) return -1;
	if (what == CURL_POLL_REMOVE) {
		if (s->used) io_watch_stop(&s->watch);
		s->used = false;
		return 0;
	}
	if (!s->used) io_watch_init(&s->watch, c->loop, fd, curl_loop_on_event, s);
	s->used = true;
	s->owner = c;
	s->fd = fd;
	io_watch_set(&s->watch, (short)(((what & CURL_POLL_IN) ? IO_READ : 0) |
					((what & CURL_POLL_OUT) ? IO_WRITE : 0)));
	return 0;
}

static int curl_loop_want_timer(CURLM *multi, long ms, void *ctx)
{
	(void)multi;
	struct curl_loop *c = ctx;
	if (ms < 0) io_timer_stop(&c->timer);
	else io_timer_set(&c->timer, (uint64_t)ms * 1000);
	return 0;
}

static curl_socket_t curl_loop_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	(void)ctx, (void)purpose;
	return socket(a->family, a->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->protocol);
}

/* --- life ------------------------------------------------------------------------------------- */

CURL *curl_loop_easy(void)
{
	CURL *e = curl_easy_init();
	if (!e) return NULL;
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* do not wait for a lookup that hangs */
	curl_easy_setopt(e, CURLOPT_USERAGENT, "twinring-agent");
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, curl_loop_open);
	return e;
}

bool curl_loop_init(struct curl_loop *c, struct io_loop *l,
		    void (*on_done)(void *ctx, CURL *easy, CURLcode code), void *ctx)
{
	*c = (struct curl_loop){ .loop = l, .on_done = on_done, .ctx = ctx };
	io_timer_init(&c->timer, l, curl_loop_on_timer, c);
	c->multi = curl_multi_init();
	if (!c->multi) return false;
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, curl_loop_want_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, curl_loop_want_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	return true;
}

bool curl_loop_add(struct curl_loop *c, CURL *easy)
{
	return curl_multi_add_handle(c->multi, easy) == CURLM_OK;
}

void curl_loop_remove(struct curl_loop *c, CURL *easy)
{
	curl_multi_remove_handle(c->multi, easy);
}

void curl_loop_fini(struct curl_loop *c)
{
	if (c->multi) curl_multi_cleanup(c->multi);
	c->multi = NULL;
	for (int i = 0; i < CURL_LOOP_SOCKETS; i++)
		if (c->sockets[i].used) io_watch_stop(&c->sockets[i].watch);
	io_timer_stop(&c->timer);
}
