/* fake_proxy.h - what the control socket of a proxy looks like from outside, in the test's own
 * loop, and as badly behaved as the test wants it.
 */
#ifndef TWINRING_TESTS_UNIT_AGENT_FAKE_PROXY_H
#define TWINRING_TESTS_UNIT_AGENT_FAKE_PROXY_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/ctlmsg.h"
#include "common/io.h"

enum { FAKE_CONNS = 8 };

struct fake;

struct fake_conn {
	struct fake *fake;
	struct bufferevent *bev;
	bool subscribed;
	json_t *held; /* the id of an apply that is not answered yet */
};

struct fake {
	struct io_loop *loop;
	char socket[128], lock_path[128];
	int pid, lock;
	struct evconnlistener *listener;
	struct fake_conn conns[FAKE_CONNS];
	/* how it behaves */
	bool mute;	     /* answers nothing                                */
	bool leaseless;	     /* answers lease.renew without granting any       */
	bool hold;	     /* answers an apply only when fake_release()d     */
	bool undrained;	     /* an applied topology is drained later           */
	bool other_version;  /* claims to have applied something else          */
	bool unfinished;     /* "a worker has not taken it over yet"           */
	const char *refuses; /* the reason                                     */
	const char *service; /* NULL: twinring-proxy                           */
	const char *raw;     /* said in place of any answer                    */
	size_t raw_bytes;
	const char *lacks; /* a method that it does not know                   */
	/* what it saw */
	unsigned accepted, hellos, applies, leases, subscriptions;
	size_t apply_bytes;
	json_int_t lease_ms;
	json_int_t version; /* runs */
	json_t *topology;   /* the last that it was sent */
};

static json_t *fake_state(const struct fake *f)
{
	const json_t *t = f->topology;
	const char *lineage = json_string_value(json_object_get(t, "lineage"));
	return json_pack("{s:s, s:I, s:I, s:I, s:b}", "lineage", lineage ? lineage : "", "epoch",
			 json_integer_value(json_object_get(t, "epoch")), "step",
			 json_integer_value(json_object_get(t, "step")), "version",
			 f->version + f->other_version, "drained", !f->undrained);
}

static void fake_say(struct fake_conn *c, json_t *message)
{
	struct scratch out = { 0 };
	ctlmsg_put(message, &out);
	bufferevent_write(c->bev, out.p, out.n);
	scratch_fini(&out);
	json_decref(message);
}

static void fake_fault(struct fake_conn *c, const json_t *id, const char *code, const char *why)
{
	struct err_at at = { "$.pools", "" };
	snprintf(at.why, sizeof(at.why), "%s", why);
	fake_say(c, ctlmsg_error(id, code, &at));
}

static void fake_answer_apply(struct fake_conn *c, const json_t *id)
{
	struct fake *f = c->fake;
	if (f->refuses) {
		fake_fault(c, id, "INVALID", f->refuses);
	} else if (f->unfinished) {
		fake_fault(c, id, "TIMEOUT", "a worker has not taken it over yet");
	} else {
		f->version = json_integer_value(json_object_get(f->topology, "version"));
		c->subscribed = true;
		fake_say(c, ctlmsg_result(id, fake_state(f)));
	}
}

static void fake_on_request(struct fake_conn *c, const struct ctlmsg *m, size_t bytes)
{
	struct fake *f = c->fake;
	if (f->lacks && strcmp(m->method, f->lacks) == 0) {
		fake_fault(c, m->id, "NO_METHOD", "no such method");
	} else if (strcmp(m->method, "hello") == 0) {
		f->hellos++;
		fake_say(c,
			 ctlmsg_result(m->id, json_pack("{s:s, s:s, s:i, s:o}", "service",
							f->service ? f->service : "twinring-proxy",
							"version", "0", "pid", f->pid, "topology",
							fake_state(f))));
	} else if (strcmp(m->method, "topology.apply") == 0) {
		f->applies++;
		f->apply_bytes = bytes;
		json_decref(f->topology);
		f->topology = json_incref(m->params);
		if (f->hold) c->held = json_deep_copy(m->id);
		else fake_answer_apply(c, m->id);
	} else {
		f->leases += strcmp(m->method, "lease.renew") == 0;
		f->subscriptions += strcmp(m->method, "health.subscribe") == 0;
		const json_t *ms = json_object_get(m->params, "lease_ms");
		if (ms) f->lease_ms = json_integer_value(ms);
		bool lease = ms && !f->leaseless;
		json_t *result = lease ? fake_state(f) : NULL;
		if (lease) json_object_set_new(result, "lease_ms", json_integer(f->lease_ms));
		fake_say(c, ctlmsg_result(m->id, result));
	}
}

static void fake_on_read(struct bufferevent *bev, void *arg)
{
	struct fake_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer_ptr end;
	while (!c->fake->mute && (end = evbuffer_search(in, "\n", 1, NULL)).pos >= 0) {
		size_t n = (size_t)end.pos + 1;
		struct ctlmsg m;
		struct err_at at;
		if (c->fake->raw) {
			evbuffer_drain(in, n);
			bufferevent_write(bev, c->fake->raw, c->fake->raw_bytes);
			continue;
		}
		struct slice line = { (const char *)evbuffer_pullup(in, (ev_ssize_t)n), n };
		ck_assert_uint_le(n, CTLMSG_LINE_MAX);
		ck_assert_int_eq(ctlmsg_parse(line, &m, &at), ERR_NONE);
		fake_on_request(c, &m, n);
		ctlmsg_fini(&m);
		evbuffer_drain(in, n);
	}
}

static void fake_conn_close(struct fake_conn *c)
{
	if (c->bev) bufferevent_free(c->bev);
	json_decref(c->held);
	*c = (struct fake_conn){ 0 };
}

static void fake_on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev, (void)what;
	fake_conn_close(arg);
}

static void fake_on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from,
			   int n, void *arg)
{
	(void)l, (void)from, (void)n;
	struct fake *f = arg;
	unsigned i = 0;
	while (i < FAKE_CONNS && f->conns[i].bev) i++;
	ck_assert_uint_lt(i, FAKE_CONNS);
	f->accepted++;
	f->conns[i] = (struct fake_conn){
		.fake = f,
		.bev = bufferevent_socket_new(io_loop_base(f->loop), fd, BEV_OPT_CLOSE_ON_FREE),
	};
	bufferevent_setcb(f->conns[i].bev, fake_on_read, NULL, fake_on_event, &f->conns[i]);
	bufferevent_enable(f->conns[i].bev, EV_READ | EV_WRITE);
}

/* An event to all who subscribed by an apply. */
static void fake_event(struct fake *f, const char *name)
{
	for (unsigned i = 0; i < FAKE_CONNS; i++) {
		if (!f->conns[i].subscribed) continue;
		json_t *event = fake_state(f);
		json_object_set_new(event, "event", json_string(name));
		fake_say(&f->conns[i], event);
	}
}

static void fake_release(struct fake *f)
{
	for (unsigned i = 0; i < FAKE_CONNS; i++) {
		json_t *id = f->conns[i].held;
		if (!id) continue;
		f->conns[i].held = NULL;
		fake_answer_apply(&f->conns[i], id);
		json_decref(id);
	}
}

static void fake_hang_up(struct fake *f)
{
	for (unsigned i = 0; i < FAKE_CONNS; i++) fake_conn_close(&f->conns[i]);
}

static void fake_take_lock(struct fake *f)
{
	f->lock = open(f->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ck_assert_int_ge(f->lock, 0);
	ck_assert_int_eq(flock(f->lock, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_gt(dprintf(f->lock, "%d\n", f->pid), 0);
}

static void fake_listen(struct fake *f)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	strcpy(un.sun_path, f->socket);
	unlink(f->socket);
	f->listener = evconnlistener_new_bind(io_loop_base(f->loop), fake_on_accept, f,
					      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16,
					      (struct sockaddr *)&un, sizeof(un));
	ck_assert_ptr_nonnull(f->listener);
}

/* Lives from here on: lock, then socket. */
static struct fake *fake_new(struct io_loop *l, const char *dir, const char *name, int pid)
{
	struct fake *f = calloc(1, sizeof(*f));
	f->loop = l;
	f->pid = pid;
	f->lock = -1;
	snprintf(f->socket, sizeof(f->socket), "%s/%s.sock", dir, name);
	snprintf(f->lock_path, sizeof(f->lock_path), "%s/%s.lock", dir, name);
	return f;
}

static struct fake *fake_start(struct io_loop *l, const char *dir, const char *name, int pid)
{
	struct fake *f = fake_new(l, dir, name, pid);
	fake_take_lock(f);
	fake_listen(f);
	return f;
}

/* As kill -9 does it: the files stay. */
static void fake_kill(struct fake **f)
{
	fake_hang_up(*f);
	if ((*f)->listener) evconnlistener_free((*f)->listener);
	if ((*f)->lock >= 0) close((*f)->lock);
	json_decref((*f)->topology);
	free(*f);
	*f = NULL;
}

#endif
