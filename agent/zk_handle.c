#include "agent/zk_handle.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"

enum { ZK_LOG_EVERY_US = 5000000 };

struct zk_handle {
	struct zk_keeper *keeper;
	uint32_t generation;
	zhandle_t *zh; /* keeper's thread only */
	pthread_mutex_t lock;
	struct mailbox *box; /* NULL once dropped */
	LIST_HEAD(zk_tickets, zk_ticket) tickets;
};

struct zk_job {
	STAILQ_ENTRY(zk_job) entry;
	struct zk_handle *handle;
	bool close;
};

struct zk_keeper {
	struct zk_config config;
	struct mailbox *box; /* loop only */
	pthread_mutex_t lock;
	pthread_cond_t more, ended;
	STAILQ_HEAD(zk_jobs, zk_job) jobs;
	bool quit;	/* no more jobs will come                    */
	bool done;	/* the thread has nothing left to do         */
	bool abandoned; /* nobody waits: the thread frees the keeper */
};

/* --- what the library says -----------------------------------------------------------------------
 */

/* Post, unless the handle was dropped; tells whether `m->p` was taken. */
static bool zk_handle_post(struct zk_handle *h, struct mail *m)
{
	m->number = h->generation;
	pthread_mutex_lock(&h->lock);
	bool open = h->box != NULL;
	if (open) mailbox_post(h->box, m);
	pthread_mutex_unlock(&h->lock);
	return open;
}

static void zk_on_session(zhandle_t *zh, int type, int state, const char *path, void *handle)
{
	(void)path;
	if (type != ZOO_SESSION_EVENT) return;
	zk_handle_post(handle, &(struct mail){ .kind = ZK_SESSION,
					       .fd = state,
					       .id = (uint64_t)zoo_client_id(zh)->client_id });
}

void zk_on_changed(zhandle_t *zh, int type, int state, const char *path, void *handle)
{
	(void)zh, (void)state;
	/* every watcher hears of the session too; zk_on_session has told that */
	if (type == ZOO_SESSION_EVENT || type == ZOO_NOTWATCHING_EVENT) return;
	char *copy = strdup(path);
	if (!copy) abort();
	if (!zk_handle_post(handle, &(struct mail){ .kind = ZK_CHANGED, .p = copy })) free(copy);
}

void zk_log(const char *line)
{
	static _Atomic uint64_t next_us;
	/* "2024-01-31 12:00:00,000:PID(0xTHREAD):ZOO_WARN@function@LINE: text" */
	const char *level = strstr(line, ":ZOO_");
	const char *text = level ? strstr(level, ": ") : NULL;
	text = text ? text + 2 : line;
	/* an outage makes dozens a second, for hours, on every host */
	uint64_t now = clock_now_us(), next = next_us;
	if (now >= next && atomic_compare_exchange_strong(&next_us, &next, now + ZK_LOG_EVERY_US))
		log_warn("zookeeper: %s", text);
	else log_info("zookeeper: %s", text);
}

#ifdef __SANITIZE_ADDRESS__
/* The library forgets what was outstanding when a handle is closed: a few hundred bytes each time.
 * What it passes to us is in the handle's list of tickets. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libzookeeper_mt";
}
#endif

/* --- tickets -------------------------------------------------------------------------------------
 */

struct zk_ticket *zk_ticket_new(struct zk_handle *h, struct store_call *c)
{
	struct zk_ticket *t = calloc(1, sizeof(*t));
	if (!t) abort();
	t->handle = h;
	t->call = c;
	pthread_mutex_lock(&h->lock);
	LIST_INSERT_HEAD(&h->tickets, t, entry);
	pthread_mutex_unlock(&h->lock);
	return t;
}

static void zk_ticket_release(struct zk_ticket *t)
{
	for (uint32_t i = 0; i < t->name_count; i++) free(t->names[i]);
	free(t->names);
	free(t->data);
	free(t);
}

void zk_ticket_free(struct zk_ticket *t)
{
	struct zk_handle *h = t->handle;
	if (h) { /* the library has not taken it */
		pthread_mutex_lock(&h->lock);
		LIST_REMOVE(t, entry);
		pthread_mutex_unlock(&h->lock);
	}
	zk_ticket_release(t);
}

static void zk_ticket_data(struct zk_ticket *t, const char *data, size_t n)
{
	t->data = malloc(n + 1);
	if (!t->data) abort();
	memcpy(t->data, data, n);
	t->data[n] = '\0';
	t->data_bytes = n;
}

static void zk_ticket_done(struct zk_ticket *t, int rc, const struct Stat *stat)
{
	struct zk_handle *h = t->handle;
	t->rc = rc;
	if (stat) t->stat = *stat;
	t->has_stat = stat != NULL;
	pthread_mutex_lock(&h->lock);
	LIST_REMOVE(t, entry);
	t->handle = NULL;
	pthread_mutex_unlock(&h->lock);
	if (!zk_handle_post(h, &(struct mail){ .kind = ZK_REPLY, .p = t })) zk_ticket_release(t);
}

void zk_on_data(int rc, const char *value, int n, const struct Stat *stat, const void *ticket)
{
	struct zk_ticket *t = (struct zk_ticket *)ticket;
	/* -1: a node without data, not even empty data */
	if (rc == ZOK) zk_ticket_data(t, value ? value : "", n > 0 ? (size_t)n : 0);
	zk_ticket_done(t, rc, rc == ZOK ? stat : NULL);
}

void zk_on_names(int rc, const struct String_vector *names, const void *ticket)
{
	struct zk_ticket *t = (struct zk_ticket *)ticket;
	if (rc == ZOK && names && names->count > 0) {
		t->names = calloc((size_t)names->count, sizeof(*t->names));
		if (!t->names) abort();
		for (int i = 0; i < names->count; i++) {
			t->names[t->name_count] = strdup(names->data[i]);
			if (!t->names[t->name_count++]) abort();
		}
	}
	zk_ticket_done(t, rc, NULL);
}

void zk_on_stat(int rc, const struct Stat *stat, const void *ticket)
{
	zk_ticket_done((struct zk_ticket *)ticket, rc, rc == ZOK ? stat : NULL);
}

void zk_on_made(int rc, const char *path, const struct Stat *stat, const void *ticket)
{
	struct zk_ticket *t = (struct zk_ticket *)ticket;
	if (rc == ZOK && path) zk_ticket_data(t, path, strlen(path));
	zk_ticket_done(t, rc, rc == ZOK ? stat : NULL);
}

void zk_on_void(int rc, const void *ticket)
{
	zk_ticket_done((struct zk_ticket *)ticket, rc, NULL);
}

void zk_on_path(int rc, const char *path, const void *ticket)
{
	(void)path;
	zk_ticket_done((struct zk_ticket *)ticket, rc, NULL);
}

/* --- the keeper's thread -------------------------------------------------------------------------
 */

static void zk_on_auth(int rc, const void *data)
{
	(void)data;
	if (rc != ZOK && rc != ZCLOSING) log_warn("adding the digest: %s", zerror(rc));
}

static void zk_keeper_open(struct zk_keeper *k, struct zk_handle *h)
{
	pthread_mutex_lock(&h->lock);
	bool wanted = h->box != NULL;
	pthread_mutex_unlock(&h->lock);
	if (!wanted) return;
	const struct zk_config *c = &k->config;
	errno = 0;
	h->zh = zookeeper_init2(c->hosts, zk_on_session, (int)c->session_ms, NULL, h,
				ZOO_NO_LOG_CLIENTENV, zk_log);
	int problem = errno ? errno : EINVAL;
	if (h->zh && c->digest)
		zoo_add_auth(h->zh, "digest", c->digest, (int)strlen(c->digest), zk_on_auth, NULL);
	zk_handle_post(h, &(struct mail){ .kind = ZK_OPENED, .fd = problem, .p = h->zh });
}

static void zk_keeper_close(struct zk_handle *h)
{
	if (h->zh) zookeeper_close(h->zh);
	/* the library owes every completion a call, but old versions lose some when they close */
	struct zk_ticket *t;
	while ((t = LIST_FIRST(&h->tickets))) {
		LIST_REMOVE(t, entry);
		zk_ticket_release(t);
	}
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static void zk_keeper_free(struct zk_keeper *k)
{
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->more);
	pthread_cond_destroy(&k->ended);
	free(k->config.hosts);
	free(k->config.digest);
	free(k);
}

static void *zk_keeper_main(void *arg)
{
	struct zk_keeper *k = arg;
	pthread_mutex_lock(&k->lock);
	for (;;) {
		struct zk_job *job = STAILQ_FIRST(&k->jobs);
		if (!job && k->quit) break;
		if (!job) {
			pthread_cond_wait(&k->more, &k->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&k->jobs, entry);
		pthread_mutex_unlock(&k->lock);
		if (job->close) zk_keeper_close(job->handle);
		else zk_keeper_open(k, job->handle);
		free(job);
		pthread_mutex_lock(&k->lock);
	}
	k->done = true;
	bool mine = k->abandoned;
	pthread_cond_signal(&k->ended);
	pthread_mutex_unlock(&k->lock);
	if (mine) zk_keeper_free(k);
	return NULL;
}

static bool zk_keeper_start(struct zk_keeper *k)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* signals are the loop's; the library's threads inherit the mask */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_t thread;
	int rc = pthread_create(&thread, &attr, zk_keeper_main, k);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return rc == 0;
}

struct zk_keeper *zk_keeper_new(const struct zk_config *config, struct mailbox *box)
{
	struct zk_keeper *k = calloc(1, sizeof(*k));
	if (!k) abort();
	k->config = (struct zk_config){ strdup(config->hosts),
					config->digest ? strdup(config->digest) : NULL,
					config->session_ms };
	k->box = box;
	STAILQ_INIT(&k->jobs);
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->more, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->ended, &attr);
	pthread_condattr_destroy(&attr);
	/* never debug: its lines read freed memory when a handle is closed (ZOOKEEPER-4809) */
	zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
	if (zk_keeper_start(k)) return k;
	zk_keeper_free(k);
	return NULL;
}

void zk_keeper_end(struct zk_keeper *k, uint64_t wait_us)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	uint64_t ns = (uint64_t)until.tv_nsec + wait_us % 1000000 * 1000;
	until.tv_sec += (time_t)(wait_us / 1000000 + ns / 1000000000);
	until.tv_nsec = (long)(ns % 1000000000);
	pthread_mutex_lock(&k->lock);
	k->quit = true;
	pthread_cond_signal(&k->more);
	int rc = 0;
	while (!k->done && rc == 0) rc = pthread_cond_timedwait(&k->ended, &k->lock, &until);
	bool done = k->done;
	k->abandoned = !done;
	pthread_mutex_unlock(&k->lock);
	if (done) zk_keeper_free(k);
}

static void zk_keeper_do(struct zk_keeper *k, struct zk_handle *h, bool closing)
{
	struct zk_job *job = calloc(1, sizeof(*job));
	if (!job) abort();
	job->handle = h;
	job->close = closing;
	pthread_mutex_lock(&k->lock);
	STAILQ_INSERT_TAIL(&k->jobs, job, entry);
	pthread_cond_signal(&k->more);
	pthread_mutex_unlock(&k->lock);
}

struct zk_handle *zk_handle_open(struct zk_keeper *k, uint32_t generation)
{
	struct zk_handle *h = calloc(1, sizeof(*h));
	if (!h) abort();
	h->keeper = k;
	h->generation = generation;
	h->box = k->box;
	LIST_INIT(&h->tickets);
	pthread_mutex_init(&h->lock, NULL);
	zk_keeper_do(k, h, false);
	return h;
}

void zk_handle_drop(struct zk_handle *h)
{
	pthread_mutex_lock(&h->lock);
	h->box = NULL;
	pthread_mutex_unlock(&h->lock);
	zk_keeper_do(h->keeper, h, true);
}
