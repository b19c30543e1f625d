/* store_file.c - the tree in a directory of files.
 *
 * A call does its work at once and is answered in a later turn. A watch remembers what its reader
 * was given; whenever something stirs below the directory, and every second besides, all watched
 * paths are looked at again and those that differ are told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "agent/file_node.h"
#include "agent/file_session.h"
#include "agent/file_watch.h"
#include "agent/store_impl.h"
#include "common/log.h"

enum {
	FILE_SOON_US = 5000,	/* what comes together is looked at together */
	FILE_POLL_US = 1000000, /* links into other places, network file systems, dead owners */
};

struct file_armed {
	TAILQ_ENTRY(file_armed) entry;
	enum store_op op; /* STORE_GET or STORE_LIST */
	uint64_t seen;	  /* fingerprint of what the reader was given */
	bool missed;	  /* it changed between two reads that armed it */
	char path[STORE_PATH_MAX];
};

TAILQ_HEAD(file_armed_list, file_armed);

struct store_file {
	struct store s; /* first */
	char dir[FILE_DIR_MAX];
	struct file_session session;
	struct file_watch watch;
	struct file_armed_list armed;
	struct io_timer check;
	bool soon;  /* the check comes soon, not at the next poll */
	bool told;  /* the caller believes to be connected */
	bool first; /* it was never told anything */
};

/* --- watches -------------------------------------------------------------------------------------
 */

static uint64_t file_seen_node(const struct file_node *n)
{
	struct {
		int64_t rc, version, mzxid;
		uint64_t hash;
	} all = { n->rc, n->meta.version, n->meta.mzxid, n->meta.hash };
	if (n->rc != STORE_OK && n->rc != STORE_TOO_LARGE) return (uint64_t)n->rc;
	return XXH3_64bits(&all, sizeof(all));
}

static uint64_t file_seen_names(const struct file_names *n)
{
	uint64_t h = (uint64_t)n->rc;
	for (uint32_t i = 0; i < n->count; i++)
		h = XXH3_64bits_withSeed(n->names[i], strlen(n->names[i]), h);
	return h;
}

static void file_on_event(void *ctx);

static void file_arm(struct store_file *f, enum store_op op, const char *path, uint64_t seen)
{
	struct file_armed *a;
	TAILQ_FOREACH (a, &f->armed, entry) {
		if (a->op == op && strcmp(a->path, path) == 0) break;
	}
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (!a) abort();
		a->op = op;
		memcpy(a->path, path, strlen(path) + 1);
		a->seen = seen;
		TAILQ_INSERT_TAIL(&f->armed, a, entry);
	}
	/* Whoever armed it before has seen something else, and is to be told. */
	if (a->seen != seen) {
		a->missed = true;
		file_on_event(f);
	}
	a->seen = seen;
}

static uint64_t file_armed_now(const struct store_file *f, const struct file_armed *a)
{
	uint64_t seen;
	if (a->op == STORE_GET) {
		struct file_node n;
		file_look(f->dir, a->path, f->session.id, &n);
		seen = file_seen_node(&n);
		file_node_fini(&n);
	} else {
		struct file_names n;
		file_list(f->dir, a->path, &n);
		seen = file_seen_names(&n);
		file_names_fini(&n);
	}
	return seen;
}

static void file_tell_changes(struct store_file *f)
{
	struct file_armed_list changed = TAILQ_HEAD_INITIALIZER(changed);
	struct file_armed *a, *next;
	file_watch_begin(&f->watch);
	file_watch_add(&f->watch, "");
	TAILQ_FOREACH_SAFE (a, &f->armed, entry, next) {
		file_watch_add(&f->watch, a->path);
		if (!a->missed && file_armed_now(f, a) == a->seen) continue;
		TAILQ_REMOVE(&f->armed, a, entry);
		TAILQ_INSERT_TAIL(&changed, a, entry);
	}
	file_watch_end(&f->watch);
	while ((a = TAILQ_FIRST(&changed))) {
		TAILQ_REMOVE(&changed, a, entry);
		if (f->s.events.on_change) f->s.events.on_change(f->s.events.ctx, a->path);
		free(a);
	}
}

/* --- sessions ------------------------------------------------------------------------------------
 */

static void file_tell(struct store_file *f, enum store_session what)
{
	f->told = what != STORE_LOST;
	if (f->s.events.on_session) f->s.events.on_session(f->s.events.ctx, what);
}

/* The directory may be away for a while, or become another one. */
static void file_check_session(struct store_file *f)
{
	if (file_session_there(&f->session, f->dir)) {
		if (!f->told) file_tell(f, f->first ? STORE_NEW_SESSION : STORE_CONNECTED);
		f->first = false;
		return;
	}
	struct stat st;
	int rc = stat(f->dir, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	struct file_session fresh;
	if (rc == 0) rc = file_session_open(&fresh, f->dir);
	if (rc) {
		if (!f->told) return;
		log_warn("%s: %s", f->dir, strerror(rc));
		file_tell(f, STORE_LOST);
		return;
	}
	file_session_close(&f->session, f->dir);
	f->session = fresh;
	file_tell(f, STORE_NEW_SESSION);
}

static void file_on_check(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct store_file *f = owner;
	bool polled = !f->soon;
	f->soon = false;
	io_timer_set(&f->check, FILE_POLL_US);
	store_run_finished(&f->s); /* answers before what came after them */
	file_check_session(f);
	if (polled) file_session_sweep(&f->session, f->dir);
	file_tell_changes(f);
}

static void file_on_event(void *ctx)
{
	struct store_file *f = ctx;
	if (f->soon) return;
	f->soon = true;
	io_timer_set(&f->check, FILE_SOON_US);
}

/* --- calls ---------------------------------------------------------------------------------------
 */

static enum store_rc file_get(struct store_file *f, struct store_call *c)
{
	struct file_node n;
	if (c->watch) file_watch_add(&f->watch, c->path);
	file_look(f->dir, c->path, f->session.id, &n);
	if (c->watch) file_arm(f, STORE_GET, c->path, file_seen_node(&n));
	c->stat = n.stat;
	c->data = n.data;
	c->data_bytes = n.bytes;
	return n.rc;
}

static enum store_rc file_children(struct store_file *f, struct store_call *c)
{
	struct file_names n;
	if (c->watch) file_watch_add(&f->watch, c->path);
	file_list(f->dir, c->path, &n);
	if (c->watch) file_arm(f, STORE_LIST, c->path, file_seen_names(&n));
	c->names = n.names;
	c->name_count = n.count;
	return n.rc;
}

static enum store_rc file_make(struct store_file *f, struct store_call *c, struct slice data)
{
	char made[STORE_PATH_MAX];
	/* an ephemeral node must have an owner that others can see */
	if (c->flags & STORE_EPHEMERAL && !file_session_there(&f->session, f->dir))
		return STORE_AWAY;
	enum store_rc rc =
	    file_create(f->dir, c->path, data, c->flags, f->session.id, &c->stat, made);
	if (rc != STORE_OK) return rc;
	c->made = strdup(made);
	if (!c->made) abort();
	return STORE_OK;
}

static enum store_rc file_do(struct store_file *f, struct store_call *c)
{
	struct slice data = { c->input, c->input_bytes };
	/* a sequential name ends in digits: whether it may, is known later */
	if (!file_path_ok(c->path)) return STORE_INVALID;
	if (access(f->dir, F_OK) != 0) return STORE_AWAY;
	switch (c->op) {
	case STORE_GET: return file_get(f, c);
	case STORE_LIST: return file_children(f, c);
	case STORE_PUT: return file_put(f->dir, c->path, data, c->version, f->session.id, &c->stat);
	case STORE_CREATE: return file_make(f, c, data);
	case STORE_DELETE: return file_delete(f->dir, c->path, c->version);
	case STORE_SYNC: return STORE_OK;
	}
	return STORE_INVALID;
}

static void file_start(struct store *s, struct store_call *c)
{
	struct store_file *f = (struct store_file *)s;
	enum store_rc rc = f->told ? file_do(f, c) : STORE_AWAY;
	if (rc != STORE_OK && rc != STORE_TOO_LARGE) c->stat = (struct store_stat){ 0 };
	store_call_finish(s, c, rc);
}

/* --- lifetime ------------------------------------------------------------------------------------
 */

static void file_free(struct store *s)
{
	struct store_file *f = (struct store_file *)s;
	struct file_armed *a;
	while ((a = TAILQ_FIRST(&f->armed))) {
		TAILQ_REMOVE(&f->armed, a, entry);
		free(a);
	}
	io_timer_stop(&f->check);
	file_watch_fini(&f->watch);
	file_session_close(&f->session, f->dir);
}

static const struct store_ops file_ops = { file_start, file_free };

static enum err file_bad(struct err_at *at, const char *dir, const char *why)
{
	snprintf(at->where, sizeof(at->where), "%.150s", dir);
	snprintf(at->why, sizeof(at->why), "%s", why);
	return ERR_IO;
}

static enum err file_open(struct store_file *f, struct io_loop *l, struct err_at *at)
{
	if (mkdir(f->dir, 0750) != 0 && errno != EEXIST)
		return file_bad(at, f->dir, strerror(errno));
	int rc = file_session_open(&f->session, f->dir);
	if (rc) return file_bad(at, f->dir, strerror(rc));
	file_session_sweep(&f->session, f->dir);
	if (!file_watch_init(&f->watch, l, f->dir, file_on_event, f))
		return file_bad(at, "inotify", strerror(errno));
	return ERR_NONE;
}

enum err store_file_new(struct io_loop *l, const char *dir, const struct store_events *events,
			struct store **store_out, struct err_at *where_out)
{
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/') n--;
	if (n == 0 || n >= FILE_DIR_MAX) return file_bad(where_out, dir, "not a directory's name");
	struct store_file *f = calloc(1, sizeof(*f));
	if (!f) return ERR_NOMEM;
	memcpy(f->dir, dir, n);
	f->session.fd = f->watch.fd = -1;
	f->first = true;
	store_init(&f->s, &file_ops, l, events);
	TAILQ_INIT(&f->armed);
	io_timer_init(&f->check, l, file_on_check, f);
	enum err e = file_open(f, l, where_out);
	*store_out = &f->s;
	if (e != ERR_NONE) {
		store_free(store_out);
		return e;
	}
	/* the first check finds that nobody was told yet */
	io_timer_set(&f->check, 0);
	return ERR_NONE;
}
