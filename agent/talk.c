#include "agent/talk.h"

#include <errno.h>
#include <stdlib.h>

enum { TALK_READ = 16384 };

struct talk {
	struct io_watch watch;
	int fd;
	const struct codec *codec;
	struct pool_spec pool; /* what the handshake wants to know */
	const struct talk_events *events;
	void *ctx;
	bool connected, greeted, asked;
	uint32_t greeting;	    /* handshake requests answered so far */
	const struct op_info *info; /* of the question under way          */
	const char *doing;
	struct scratch out; /* the question */
	size_t sent;
	struct scratch in;
	struct reply_resume resume;
};

static void talk_on_event(int fd, short what, void *owner);

struct talk *talk_new(struct io_loop *l, const struct talk_peer *peer,
		      const struct talk_events *events, void *ctx)
{
	bool pending;
	int fd =
	    io_connect((const struct sockaddr *)&peer->addr.ss, peer->addr.len, false, &pending);
	if (fd < 0) return NULL;
	struct talk *t = calloc(1, sizeof(*t));
	if (!t) abort();
	t->fd = fd;
	t->codec = peer->codec;
	t->pool.auth_user = (char *)peer->auth_user;
	t->pool.auth_password = (char *)peer->auth_password;
	t->pool.redis_db = peer->db;
	t->events = events;
	t->ctx = ctx;
	t->doing = "connect";
	io_watch_init(&t->watch, l, fd, talk_on_event, t);
	io_watch_set(&t->watch, IO_WRITE); /* connected or not: that is said by the loop */
	return t;
}

void talk_free(struct talk **t)
{
	if (!*t) return;
	io_watch_stop(&(*t)->watch);
	io_close((*t)->fd);
	scratch_fini(&(*t)->out);
	scratch_fini(&(*t)->in);
	free(*t);
	*t = NULL;
}

const char *talk_doing(const struct talk *t)
{
	return t->doing;
}

/* The last thing that a function does: the owner frees `t`. */
static void talk_fail(struct talk *t, int e, const char *why)
{
	io_watch_set(&t->watch, IO_NONE);
	t->events->on_failure(t->ctx, t->doing, e, why);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void talk_begin(struct talk *t, const struct op_info *info, const char *doing)
{
	t->info = info;
	t->doing = doing;
	t->asked = true;
	t->sent = 0;
	reply_resume_reset(&t->resume);
	io_watch_set(&t->watch, IO_READ | IO_WRITE);
}

void talk_ask(struct talk *t, const struct op_info *info, struct slice bytes)
{
	scratch_clear(&t->out);
	scratch_puts(&t->out, bytes);
	talk_begin(t, info, info ? info->name : "stats");
}

static void talk_greet(struct talk *t)
{
	scratch_clear(&t->out);
	const struct op_info *info =
	    t->codec ? t->codec->handshake(&t->pool, NULL, 2, t->greeting, &t->out) : NULL;
	if (info) {
		talk_begin(t, info, info->name);
		return;
	}
	t->greeted = true;
	io_watch_set(&t->watch, IO_NONE);
	t->events->on_ready(t->ctx);
}

/* False: it failed, and `t` is gone. */
static bool talk_send(struct talk *t)
{
	while (t->sent < t->out.n) {
		struct iovec iov = { t->out.p + t->sent, t->out.n - t->sent };
		ssize_t n = io_writev(t->fd, &iov, 1);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && errno == EAGAIN) return true;
		if (n < 0) {
			talk_fail(t, errno, NULL);
			return false;
		}
		t->sent += (size_t)n;
	}
	io_watch_set(&t->watch, IO_READ);
	return true;
}

/* --- listening -------------------------------------------------------------------------------- */

static bool begins_with(struct slice s, struct slice with)
{
	return s.n >= with.n && !memcmp(s.p, with.p, with.n);
}

/* Lines up to END, or a first line that is something else. */
static enum parse_result lines_parse(struct slice in, struct reply *out)
{
	const char *newline = in.n ? memchr(in.p, '\n', in.n) : NULL;
	if (!newline) return PARSE_NEED;
	struct slice end = SLICE("\r\nEND\r\n");
	*out = (struct reply){ .n = in.n };
	if (begins_with(in, SLICE("STAT "))) {
		bool whole = in.n >= end.n && !memcmp(in.p + in.n - end.n, end.p, end.n);
		return whole ? PARSE_OK : PARSE_NEED;
	}
	if (!begins_with(in, SLICE("END\r\n"))) out->kind = REPLY_ERROR;
	return PARSE_OK;
}

static enum parse_result talk_parse(struct talk *t, struct reply *out)
{
	if (!t->info) return lines_parse(scratch_slice(&t->in), out);
	return t->codec->parse_reply(t->info, scratch_slice(&t->out), t->in.p, t->in.n, &t->resume,
				     out);
}

static void talk_on_reply(struct talk *t, const struct reply *reply)
{
	struct slice bytes = { t->in.p, reply->n };
	if (reply->n < t->in.n) {
		talk_fail(t, 0, "it said more than it was asked for");
		return;
	}
	t->asked = false;
	scratch_clear(&t->in); /* the bytes stay until the next read */
	io_watch_set(&t->watch, IO_NONE);
	if (t->greeted) {
		t->events->on_reply(t->ctx, reply, bytes);
		return;
	}
	if (reply->kind == REPLY_ERROR) {
		char why[120];
		size_t n = bytes.n;
		while (n > 0 && (bytes.p[n - 1] == '\n' || bytes.p[n - 1] == '\r')) n--;
		snprintf(why, sizeof(why), "%.*s", (int)n, bytes.p);
		talk_fail(t, 0, why);
		return;
	}
	t->greeting++;
	talk_greet(t);
}

static void talk_read(struct talk *t)
{
	struct reply reply = { 0 };
	char *to = scratch_reserve(&t->in, TALK_READ);
	ssize_t n = io_read(t->fd, to, TALK_READ);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n <= 0) {
		talk_fail(t, n < 0 ? errno : 0, "it hung up");
		return;
	}
	t->in.n += (size_t)n;
	switch (talk_parse(t, &reply)) {
	case PARSE_OK: talk_on_reply(t, &reply); return;
	case PARSE_NEED:
		if (t->in.n <= TALK_REPLY_MAX && t->resume.base.need <= TALK_REPLY_MAX) return;
		talk_fail(t, 0, "its answer is too long");
		return;
	case PARSE_ERROR:
	case PARSE_FATAL:
	case PARSE_SKIP: break;
	}
	talk_fail(t, 0, "its answer makes no sense");
}

static void talk_on_event(int fd, short what, void *owner)
{
	struct talk *t = owner;
	if (!t->connected) {
		int e = io_connect_result(fd);
		if (e) {
			talk_fail(t, e, NULL);
			return;
		}
		t->connected = true;
		talk_greet(t);
		return;
	}
	if (!t->asked) return;
	if ((what & IO_WRITE) && !talk_send(t)) return;
	if (what & IO_READ) talk_read(t);
}
