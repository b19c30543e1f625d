#include "agent/election.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

enum { RETRY_US = 1000000, SEQUENCE_DIGITS = 10 };

struct election {
	struct store *store;
	char *dir, *id;
	char tag[32];			  /* "n-TAG-": our nodes, whatever session made them */
	char own[STORE_PATH_MAX];	  /* our node; empty: none yet */
	char predecessor[STORE_PATH_MAX]; /* that we watch; empty: none */
	bool connected, busy, again, won;
	struct io_timer retry;
	void (*on_change)(void *ctx, bool elected);
	void *ctx;
};

static void election_work(struct election *e);

static void election_set(struct election *e, bool won)
{
	if (e->won == won) return;
	e->won = won;
	log_notice(won ? "%s: elected" : "%s: no longer elected", e->dir);
	e->on_change(e->ctx, won);
}

static void election_done(struct election *e, enum store_rc rc)
{
	bool again = e->again;
	e->busy = e->again = false;
	if (rc != STORE_OK) io_timer_set(&e->retry, RETRY_US);
	else if (again) election_work(e);
}

static void election_on_predecessor(void *ctx, enum store_rc rc, struct slice data,
				    const struct store_stat *stat)
{
	(void)data;
	(void)stat;
	struct election *e = ctx;
	/* Gone between the list and the watch: look again. */
	if (rc == STORE_NO_NODE) e->again = true;
	election_done(e, rc == STORE_NO_NODE ? STORE_OK : rc);
}

/* The sequence number stands at the end of the name, with leading zeros. */
static const char *sequence(const char *name)
{
	size_t n = strlen(name);
	return n > SEQUENCE_DIGITS ? name + n - SEQUENCE_DIGITS : name;
}

/* A create whose answer was lost may have worked: then the node is there, and ours. */
static void election_adopt(struct election *e, const char *const *names, uint32_t count)
{
	for (uint32_t i = 0; i < count && !e->own[0]; i++)
		if (strncmp(names[i], e->tag, strlen(e->tag)) == 0)
			snprintf(e->own, sizeof(e->own), "%.200s/%.200s", e->dir, names[i]);
}

static void election_create(struct election *e);

static void election_on_list(void *ctx, enum store_rc rc, const char *const *names, uint32_t count)
{
	struct election *e = ctx;
	if (rc != STORE_OK && rc != STORE_NO_NODE) {
		election_done(e, rc);
		return;
	}
	if (!e->own[0]) election_adopt(e, names, count);
	if (!e->own[0]) {
		election_create(e);
		return;
	}
	const char *mine = sequence(e->own), *before = NULL;
	bool there = false;
	for (uint32_t i = 0; i < count; i++) {
		int order = strcmp(sequence(names[i]), mine);
		there |= order == 0;
		if (order < 0 && (!before || strcmp(sequence(names[i]), sequence(before)) > 0))
			before = names[i];
	}
	if (!there) {
		/* Somebody removed our node: stand again. */
		e->own[0] = 0;
		e->again = true;
		election_set(e, false);
		election_done(e, STORE_OK);
		return;
	}
	e->predecessor[0] = 0;
	if (before)
		snprintf(e->predecessor, sizeof(e->predecessor), "%.200s/%.200s", e->dir, before);
	election_set(e, !before);
	/* Its own node is watched by the first, which has none before it. */
	store_get(e->store, before ? e->predecessor : e->own, true, election_on_predecessor, e);
}

static void election_on_created(void *ctx, enum store_rc rc, const struct store_stat *stat,
				const char *path)
{
	(void)stat;
	struct election *e = ctx;
	if (rc == STORE_OK) {
		snprintf(e->own, sizeof(e->own), "%s", path);
		e->again = true;
	}
	election_done(e, rc);
}

static void election_work(struct election *e)
{
	if (!e->connected) return;
	if (e->busy) {
		e->again = true;
		return;
	}
	e->busy = true;
	store_list(e->store, e->dir, false, election_on_list, e);
}

static void election_create(struct election *e)
{
	char path[STORE_PATH_MAX], data[300];
	snprintf(path, sizeof(path), "%.400s/%s", e->dir, e->tag);
	snprintf(data, sizeof(data), "{\"id\":\"%.250s\"}", e->id);
	store_create(e->store, path, slice_of(data),
		     STORE_EPHEMERAL | STORE_SEQUENTIAL | STORE_PARENTS, election_on_created, e);
}

static void election_on_retry(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	election_work(owner);
}

/* Unlike that of any other agent, or of an earlier session of ours. */
static void election_new_tag(struct election *e)
{
	snprintf(e->tag, sizeof(e->tag), "n-%x%llx-", (unsigned)getpid(),
		 (unsigned long long)clock_wall_us());
}

struct election *election_new(struct io_loop *l, struct store *s, const char *dir, const char *id,
			      void (*on_change)(void *ctx, bool elected), void *ctx)
{
	struct election *e = calloc(1, sizeof(*e));
	if (!e) return NULL;
	*e = (struct election){ .store = s, .on_change = on_change, .ctx = ctx };
	if (!(e->dir = strdup(dir)) || !(e->id = strdup(id))) abort();
	election_new_tag(e);
	io_timer_init(&e->retry, l, election_on_retry, e);
	return e;
}

bool election_won(const struct election *e)
{
	return e->won;
}

void election_session(struct election *e, enum store_session session)
{
	e->connected = session != STORE_LOST;
	/* Who cannot write cannot coordinate; another may have been elected meanwhile. */
	if (session != STORE_CONNECTED) election_set(e, false);
	if (session == STORE_NEW_SESSION) {
		e->own[0] = 0;
		election_new_tag(e);
	}
	election_work(e);
}

void election_changed(struct election *e, const char *path)
{
	if (strcmp(path, e->predecessor) == 0 || strcmp(path, e->own) == 0) election_work(e);
}

void election_free(struct election **e)
{
	if (!*e) return;
	io_timer_stop(&(*e)->retry);
	free((*e)->dir);
	free((*e)->id);
	free(*e);
	*e = NULL;
}
