/* store_zk.c - the tree in ZooKeeper.
 *
 *	opening -> connecting <-> connected -> ready (the chroot exists, the caller was told)
 *	              ^ lost ________________/
 *
 * The library reconnects by itself and keeps the session while it can. When it cannot (expired, or
 * the digest was refused) the handle is dropped with all its calls, and after a while of jitter the
 * next one is opened. The chroot is put before every path here, not by the library, so that it can
 * be made over the same handle.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/zk_handle.h"
#include "common/log.h"

enum {
	ZK_RETRY_MIN_US = 100000,
	ZK_RETRY_MAX_US = 10000000,
	ZK_CLOSE_WAIT_US = 1500000,
	ZK_STALE_SESSIONS = 3, /* session timeouts without connection; see zk_lost() */
	ZK_PARENT_ROUNDS = 3,  /* somebody may be deleting what we make */
	ZK_PATH_MAX = 2 * STORE_PATH_MAX,
};

struct store_zk {
	struct store s;		     /* first */
	char chroot[STORE_PATH_MAX]; /* "" or "/a/b" */
	bool digest;
	struct mailbox box;
	struct zk_keeper *keeper;
	struct zk_handle *h; /* NULL between handles */
	zhandle_t *zh;	     /* NULL until it is opened */
	uint32_t generation;
	bool connected; /* as the library says */
	bool fresh;	/* this session was not told of yet */
	bool ready;	/* calls are let through */
	bool told;	/* the caller believes to be connected */
	int64_t session;
	uint32_t failures; /* since a session was made */
	uint32_t session_ms;
	struct io_timer retry, stale;
};

static void zk_begin(struct store_zk *z, struct store_call *c);
static void zk_prepare(struct store_zk *z);

/* --- sessions ------------------------------------------------------------------------------------
 */

static void zk_tell(struct store_zk *z, enum store_session what)
{
	z->told = what != STORE_LOST;
	if (z->s.events.on_session) z->s.events.on_session(z->s.events.ctx, what);
}

static void zk_lost(struct store_zk *z)
{
	z->connected = z->ready = false;
	if (!z->told) return;
	/* An ensemble that was wiped or restored refuses, silently and for ever, a handle that has
	 * seen later transactions. A session this old has expired, or its servers were all down. */
	uint64_t session_us = z->session_ms * 1000ull;
	io_timer_set(&z->stale,
		     session_us * ZK_STALE_SESSIONS + arc4random_uniform((uint32_t)session_us));
	log_warn("lost the connection to ZooKeeper");
	zk_tell(z, STORE_LOST);
}

static void zk_open(struct store_zk *z)
{
	z->generation++;
	z->fresh = true;
	z->h = zk_handle_open(z->keeper, z->generation);
}

/* From here on nothing of this handle is heard. */
static void zk_drop(struct store_zk *z)
{
	io_timer_stop(&z->stale);
	zk_handle_drop(z->h);
	z->h = NULL;
	z->zh = NULL;
	z->session = 0;
	z->generation++;
	z->connected = z->ready = false;
	store_calls_fail(&z->s);
}

/* Full jitter: an ensemble that comes back meets every agent at another moment. */
static void zk_retry_later(struct store_zk *z)
{
	uint32_t limit = ZK_RETRY_MIN_US;
	for (uint32_t i = 0; i < z->failures && limit < ZK_RETRY_MAX_US; i++) limit *= 2;
	if (limit > ZK_RETRY_MAX_US) limit = ZK_RETRY_MAX_US;
	z->failures++;
	io_timer_set(&z->retry, arc4random_uniform(limit));
}

static void zk_renew(struct store_zk *z, const char *why)
{
	log_warn("ZooKeeper: %s: a new session is needed", why);
	zk_lost(z);
	zk_drop(z);
	zk_retry_later(z);
}

static void zk_on_stale(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	zk_renew(owner, "not connected for too long");
}

static void zk_on_retry(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct store_zk *z = owner;
	if (!z->h) zk_open(z);
	else zk_prepare(z);
}

static void zk_ready(struct store_zk *z)
{
	bool fresh = z->fresh;
	z->ready = true;
	z->fresh = false;
	z->failures = 0;
	log_notice("connected to ZooKeeper: %s session %#llx", fresh ? "new" : "same",
		   (unsigned long long)z->session);
	zk_tell(z, fresh ? STORE_NEW_SESSION : STORE_CONNECTED);
}

/* --- the chroot ----------------------------------------------------------------------------------
 */

static void zk_on_chroot_made(void *ctx, enum store_rc rc, const struct store_stat *stat,
			      const char *path)
{
	(void)stat, (void)path;
	struct store_zk *z = ctx;
	if (!z->connected) return; /* again when it is */
	if (rc == STORE_AWAY) {
		zk_retry_later(z);
		return;
	}
	if (rc != STORE_OK && rc != STORE_NODE_EXISTS)
		log_error("ZooKeeper: cannot make %s: %s", z->chroot, store_rc_text(rc));
	zk_ready(z);
}

static void zk_on_chroot_seen(void *ctx, enum store_rc rc, struct slice data,
			      const struct store_stat *stat)
{
	(void)data;
	struct store_zk *z = ctx;
	if (rc != STORE_NO_NODE || !z->connected) {
		/* one that we may not read exists all the same */
		zk_on_chroot_made(ctx, rc == STORE_REFUSED ? STORE_OK : rc, stat, NULL);
		return;
	}
	struct store_call *c = store_call_new(&z->s, STORE_CREATE, "");
	c->flags = STORE_PARENTS;
	c->fn.done = zk_on_chroot_made;
	c->ctx = z;
	zk_begin(z, c);
}

/* Connected, but the caller does not know yet. */
static void zk_prepare(struct store_zk *z)
{
	if (!z->zh || !z->connected || z->ready) return;
	if (!z->fresh || !*z->chroot) {
		zk_ready(z);
		return;
	}
	struct store_call *c = store_call_new(&z->s, STORE_GET, "");
	c->fn.data = zk_on_chroot_seen;
	c->ctx = z;
	zk_begin(z, c);
}

/* --- calls ---------------------------------------------------------------------------------------
 */

static enum store_rc zk_rc(int rc)
{
	switch (rc) {
	case ZOK: return STORE_OK;
	case ZNONODE: return STORE_NO_NODE;
	case ZNODEEXISTS: return STORE_NODE_EXISTS;
	case ZBADVERSION: return STORE_BAD_VERSION;
	case ZNOTEMPTY: return STORE_NOT_EMPTY;
	case ZNOAUTH:
	case ZINVALIDACL:
	case ZAUTHFAILED:
	case ZNOTREADONLY: return STORE_REFUSED;
	case ZBADARGUMENTS:
	case ZNOCHILDRENFOREPHEMERALS:
	case ZUNIMPLEMENTED: return STORE_INVALID;
	default: return STORE_AWAY; /* connection, session and whatever the server could not do */
	}
}

/* `n` bytes of the call's path, behind the chroot. */
static void zk_path(const struct store_zk *z, const struct store_call *c, char out[ZK_PATH_MAX])
{
	const char *slash = *c->path || !*z->chroot ? "/" : "";
	snprintf(out, ZK_PATH_MAX, "%s%s%s", z->chroot, slash, c->path);
}

/* A path of the library's as the caller knows it. */
static const char *zk_strip(const struct store_zk *z, const char *path)
{
	path += strlen(z->chroot);
	return *path == '/' ? path + 1 : path;
}

static const struct ACL_vector *zk_acl(const struct store_zk *z)
{
	return z->digest ? &ZOO_CREATOR_ALL_ACL : &ZOO_OPEN_ACL_UNSAFE;
}

static int zk_create(struct store_zk *z, struct store_call *c, const char *path,
		     struct zk_ticket *t)
{
	int mode = c->flags & STORE_SEQUENTIAL
		       ? (c->flags & STORE_EPHEMERAL ? ZOO_EPHEMERAL_SEQUENTIAL
						     : ZOO_PERSISTENT_SEQUENTIAL)
		       : (c->flags & STORE_EPHEMERAL ? ZOO_EPHEMERAL : ZOO_PERSISTENT);
	return zoo_acreate2(z->zh, path, c->input ? c->input : "", (int)c->input_bytes, zk_acl(z),
			    mode, zk_on_made, t);
}

static void zk_begin(struct store_zk *z, struct store_call *c)
{
	char path[ZK_PATH_MAX];
	zk_path(z, c, path);
	struct zk_ticket *t = zk_ticket_new(z->h, c);
	watcher_fn watcher = c->watch ? zk_on_changed : NULL;
	int rc = ZBADARGUMENTS;
	switch (c->op) {
	case STORE_GET: rc = zoo_awget(z->zh, path, watcher, z->h, zk_on_data, t); break;
	case STORE_LIST: rc = zoo_awget_children(z->zh, path, watcher, z->h, zk_on_names, t); break;
	case STORE_PUT:
		rc =
		    zoo_aset(z->zh, path, c->input, (int)c->input_bytes, c->version, zk_on_stat, t);
		break;
	case STORE_CREATE: rc = zk_create(z, c, path, t); break;
	case STORE_DELETE: rc = zoo_adelete(z->zh, path, c->version, zk_on_void, t); break;
	case STORE_SYNC: rc = zoo_async(z->zh, path, zk_on_path, t); break;
	}
	if (rc == ZOK) return;
	zk_ticket_free(t);
	store_call_finish(&z->s, c, zk_rc(rc));
}

static void zk_start(struct store *s, struct store_call *c)
{
	struct store_zk *z = (struct store_zk *)s;
	if (z->ready) zk_begin(z, c);
	else store_call_finish(s, c, STORE_AWAY);
}

static void zk_on_ignored(int rc, const char *path, const void *data)
{
	(void)rc, (void)path, (void)data;
}

/* Everything above the call's path, then the call again. The server keeps the order, so nothing
 * needs to wait; those that exist, or may not be made, say so and nobody listens. */
static void zk_make_parents(struct store_zk *z, struct store_call *c)
{
	char path[ZK_PATH_MAX];
	zk_path(z, c, path);
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		zoo_acreate(z->zh, path, "", 0, zk_acl(z), 0, zk_on_ignored, NULL);
		*p = '/';
	}
	zk_begin(z, c);
}

/* A read of a missing node leaves no watch; asking whether it exists does. */
static void zk_watch_missing(struct store_zk *z, struct store_call *c)
{
	char path[ZK_PATH_MAX];
	zk_path(z, c, path);
	struct zk_ticket *t = zk_ticket_new(z->h, c);
	int rc = zoo_awexists(z->zh, path, zk_on_changed, z->h, zk_on_stat, t);
	if (rc == ZOK) return;
	zk_ticket_free(t);
	store_call_finish(&z->s, c, zk_rc(rc));
}

/* The answer was not the last word: true when the call goes on. */
static bool zk_go_on(struct store_zk *z, struct store_call *c, int rc)
{
	bool asked_existence = c->watch && c->round % 2 == 1;
	if (c->watch && rc == ZNONODE && !asked_existence) {
		c->round++;
		zk_watch_missing(z, c);
		return true;
	}
	if (asked_existence && rc == ZOK) { /* it has been made in between */
		c->round++;
		zk_begin(z, c);
		return true;
	}
	if (rc == ZNONODE && c->flags & STORE_PARENTS && c->round < ZK_PARENT_ROUNDS) {
		c->round++;
		zk_make_parents(z, c);
		return true;
	}
	return false;
}

static void zk_on_reply(struct store_zk *z, struct zk_ticket *t)
{
	struct store_call *c = t->call;
	if (!zk_go_on(z, c, t->rc)) {
		enum store_rc rc = zk_rc(t->rc);
		/* the parents were asked for: only a refusal keeps them away */
		if (rc == STORE_NO_NODE && c->flags & STORE_PARENTS) rc = STORE_REFUSED;
		if (t->has_stat)
			c->stat = (struct store_stat){
				.version = t->stat.version,
				.mzxid = t->stat.mzxid,
				.czxid = t->stat.czxid,
				.mine =
				    t->stat.ephemeralOwner && t->stat.ephemeralOwner == z->session,
				.children = (uint32_t)t->stat.numChildren,
			};
		if (c->op == STORE_CREATE && t->data) {
			c->made = strdup(zk_strip(z, t->data));
			if (!c->made) abort();
		} else {
			c->data = t->data;
			c->data_bytes = t->data_bytes;
			t->data = NULL;
		}
		c->names = t->names;
		c->name_count = t->name_count;
		t->names = NULL;
		t->name_count = 0;
		store_names_sort(c);
		store_call_run(&z->s, c, rc);
	}
	zk_ticket_free(t);
}

/* --- mail ----------------------------------------------------------------------------------------
 */

static void zk_on_opened(struct store_zk *z, const struct mail *m)
{
	if (!m->p) {
		log_error("ZooKeeper: no server's name resolves, or %s", strerror(m->fd));
		zk_drop(z);
		zk_retry_later(z);
		return;
	}
	z->zh = m->p;
	zk_prepare(z);
}

static void zk_on_state(struct store_zk *z, const struct mail *m)
{
	if (m->fd == ZOO_CONNECTED_STATE) {
		io_timer_stop(&z->stale);
		z->connected = true;
		z->session = (int64_t)m->id;
		zk_prepare(z);
	} else if (m->fd == ZOO_EXPIRED_SESSION_STATE) {
		zk_renew(z, "the session has expired");
	} else if (m->fd == ZOO_AUTH_FAILED_STATE) {
		zk_renew(z, "the digest was refused");
	} else {
		zk_lost(z);
	}
}

static void zk_on_mail(void *owner, const struct mail *m)
{
	struct store_zk *z = owner;
	bool old = m->number != z->generation;
	switch ((enum zk_mail)m->kind) {
	case ZK_OPENED:
		if (!old) zk_on_opened(z, m);
		return;
	case ZK_SESSION:
		if (!old) zk_on_state(z, m);
		return;
	case ZK_CHANGED:
		if (!old && z->s.events.on_change)
			z->s.events.on_change(z->s.events.ctx, zk_strip(z, m->p));
		free(m->p);
		return;
	case ZK_REPLY:
		if (old) zk_ticket_free(m->p);
		else zk_on_reply(z, m->p);
		return;
	}
}

/* --- lifetime ------------------------------------------------------------------------------------
 */

static void zk_free(struct store *s)
{
	struct store_zk *z = (struct store_zk *)s;
	io_timer_stop(&z->retry);
	io_timer_stop(&z->stale);
	if (z->h) zk_drop(z);
	if (z->keeper) zk_keeper_end(z->keeper, ZK_CLOSE_WAIT_US);
	mailbox_fini(&z->box);
}

static const struct store_ops zk_ops = { zk_start, zk_free };

static enum err zk_bad(struct err_at *at, const char *where, const char *why)
{
	snprintf(at->where, sizeof(at->where), "%.150s", where);
	snprintf(at->why, sizeof(at->why), "%s", why);
	return ERR_INVALID;
}

/* HOST:PORT[,...][/chroot] into its two halves. */
static enum err zk_split(const char *servers, char **hosts_out, char chroot[STORE_PATH_MAX],
			 struct err_at *at)
{
	if (strncmp(servers, "zk:", 3) == 0) servers += 3;
	size_t n = strcspn(servers, "/");
	size_t rest = strlen(servers + n);
	while (rest && servers[n + rest - 1] == '/') rest--; /* "/" alone is none */
	if (rest >= STORE_PATH_MAX) return zk_bad(at, servers, "the path is too long");
	memcpy(chroot, servers + n, rest);
	chroot[rest] = '\0';
	if (rest && !store_path_ok(chroot + 1)) return zk_bad(at, servers, "not a path");
	for (const char *p = servers;; p++) {
		size_t len = strcspn(p, ",/");
		const char *colon = memrchr(p, ':', len);
		size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
		if (!colon || colon == p || !digits || colon + 1 + digits != p + len)
			return zk_bad(at, servers, "each server is HOST:PORT");
		p += len;
		if (*p != ',') break;
	}
	*hosts_out = strndup(servers, n);
	return *hosts_out ? ERR_NONE : ERR_NOMEM;
}

enum err store_zk_new(struct io_loop *l, const char *servers, const char *digest,
		      uint32_t session_ms, const struct store_events *events,
		      struct store **store_out, struct err_at *where_out)
{
	if (digest && !strchr(digest, ':'))
		return zk_bad(where_out, "digest", "it is user:password");
	struct store_zk *z = calloc(1, sizeof(*z));
	if (!z) return ERR_NOMEM;
	char *hosts = NULL;
	enum err e = zk_split(servers, &hosts, z->chroot, where_out);
	if (e == ERR_NONE && !mailbox_init(&z->box, l, zk_on_mail, z)) {
		zk_bad(where_out, "eventfd", strerror(errno));
		e = ERR_IO;
	}
	if (e != ERR_NONE) {
		free(hosts);
		free(z);
		return e;
	}
	store_init(&z->s, &zk_ops, l, events);
	z->session_ms = session_ms;
	io_timer_init(&z->retry, l, zk_on_retry, z);
	io_timer_init(&z->stale, l, zk_on_stale, z);
	z->digest = digest != NULL;
	z->keeper =
	    zk_keeper_new(&(struct zk_config){ hosts, (char *)digest, session_ms }, &z->box);
	free(hosts);
	*store_out = &z->s;
	if (z->keeper) {
		zk_open(z);
		return ERR_NONE;
	}
	zk_bad(where_out, "thread", "cannot be started");
	store_free(store_out);
	return ERR_IO;
}

bool store_zk_session(struct store *s, int64_t *id_out, char password_out[16])
{
	struct store_zk *z = (struct store_zk *)s;
	if (s->ops != &zk_ops || !z->ready) return false;
	*id_out = z->session;
	memcpy(password_out, zoo_client_id(z->zh)->passwd, 16);
	return true;
}
