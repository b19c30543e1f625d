#include "proxy/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/net.h"

enum {
	ACCEPTS_PER_TURN = 64,
	RESUME_US = 100000,
	KEEPALIVE_IDLE_S = 60,
};

/* --- accepting -------------------------------------------------------------------------------- */

static struct worker *listeners_choose(const struct listeners *l)
{
	struct worker *best = l->workers[0];
	uint32_t fewest = UINT32_MAX;
	for (uint32_t i = 0; i < l->worker_count; i++) {
		uint32_t n = __atomic_load_n(&l->workers[i]->client_count, __ATOMIC_RELAXED);
		if (n >= fewest) continue;
		fewest = n;
		best = l->workers[i];
	}
	return best;
}

static void listener_refuse(const struct listener *l, int fd)
{
	static const struct slice texts[PROTOCOL_MAX] = {
		[PROTOCOL_MEMCACHED] = { "ERROR Too many open connections\r\n", 33 },
		[PROTOCOL_REDIS] = { "-ERR max number of clients reached\r\n", 36 },
	};
	struct slice text = texts[l->spec.protocol];
	if (send(fd, text.p, text.n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("refused client is gone already");
	close(fd);
	log_warn("%s: over its limit of %u clients", l->spec.listen.text,
		 l->spec.client_connections);
}

static void listener_hand_over(struct listener *l, int fd)
{
	struct listeners *set = l->set;
	uint32_t *open = &set->shared->listener_clients[l->number];
	uint32_t limit = l->spec.client_connections;
	if (limit && __atomic_load_n(open, __ATOMIC_RELAXED) >= limit) {
		listener_refuse(l, fd);
		return;
	}
	net_nodelay(fd);
	if (l->spec.tcpkeepalive) net_keepalive(fd, KEEPALIVE_IDLE_S);
	struct worker *w = listeners_choose(set);
	__atomic_add_fetch(open, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&w->client_count, 1, __ATOMIC_RELAXED);
	mailbox_post(&w->mail,
		     &(struct mail){ .kind = WORKER_CLIENT, .fd = fd, .number = l->number });
}

static void listeners_watch(struct listeners *l, short want)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->by_number[i]) io_watch_set(&l->by_number[i]->watch, want);
}

static void listener_on_event(int fd, short what, void *owner)
{
	(void)what;
	struct listener *l = owner;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (client >= 0) {
			listener_hand_over(l, client);
			continue;
		}
		if (errno == EAGAIN) return;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* The client waits in the backlog. Asking again at once would spin. */
			log_warn("%s: cannot accept: %s", l->spec.listen.text, strerror(errno));
			listeners_watch(l->set, IO_NONE);
			io_timer_set(&l->set->resume, RESUME_US);
			return;
		}
	}
}

static void listeners_on_resume(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	listeners_start(owner);
}

/* --- the set ---------------------------------------------------------------------------------- */

void listeners_init(struct listeners *l, struct io_loop *loop, struct worker_shared *shared,
		    struct worker **workers, uint32_t worker_count)
{
	*l = (struct listeners){
		.loop = loop, .shared = shared, .workers = workers, .worker_count = worker_count
	};
	io_timer_init(&l->resume, loop, listeners_on_resume, l);
}

static char *copied(const char *s)
{
	char *copy = s ? strdup(s) : NULL;
	if (s && !copy) abort();
	return copy;
}

static void listener_follow(struct listener *l, const struct listener_spec *spec)
{
	free(l->spec.pool);
	free(l->spec.route);
	struct listen_spec listen = l->spec.listen;
	l->spec = *spec;
	l->spec.listen = listen;
	l->spec.pool = copied(spec->pool);
	l->spec.route = copied(spec->route);
}

static struct listener *listeners_find(const struct listeners *l, const char *text)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->by_number[i] && strcmp(l->by_number[i]->spec.listen.text, text) == 0)
			return l->by_number[i];
	return NULL;
}

static void listeners_remove(struct listeners *l, struct listener *gone)
{
	io_watch_stop(&gone->watch);
	net_unlisten(gone->fd, &gone->spec.listen);
	close(gone->fd);
	l->by_number[gone->number] = NULL;
	l->specs[gone->number] = NULL;
	free(gone->spec.pool);
	free(gone->spec.route);
	listen_spec_fini(&gone->spec.listen);
	free(gone);
}

/* A number whose old clients, if it had any, are gone. */
static uint32_t listeners_free_number(const struct listeners *l)
{
	for (uint32_t i = 0; i < LISTENERS_MAX; i++)
		if (!l->by_number[i] &&
		    __atomic_load_n(&l->shared->listener_clients[i], __ATOMIC_RELAXED) == 0)
			return i;
	return LISTENERS_MAX;
}

static enum err listeners_add(struct listeners *l, const struct listener_spec *spec,
			      struct err_at *where_out)
{
	uint32_t number = listeners_free_number(l);
	if (number == LISTENERS_MAX) {
		snprintf(where_out->where, sizeof(where_out->where), "%.100s", spec->listen.text);
		snprintf(where_out->why, sizeof(where_out->why), "more than %d listeners",
			 LISTENERS_MAX);
		return ERR_INVALID;
	}
	int fd;
	enum err e = net_listen(&spec->listen, (int)spec->backlog, spec->reuseport, &fd, where_out);
	if (e != ERR_NONE) return e;
	struct listener *n = calloc(1, sizeof(*n));
	const char *why;
	if (!n || !listen_spec_parse(spec->listen.text, &n->spec.listen, &why)) abort();
	listener_follow(n, spec);
	n->number = (uint16_t)number;
	n->fd = fd;
	n->set = l;
	io_watch_init(&n->watch, l->loop, fd, listener_on_event, n);
	l->by_number[number] = n;
	l->specs[number] = &n->spec;
	if (number >= l->count) l->count = number + 1;
	return ERR_NONE;
}

enum err listeners_open(struct listeners *l, const struct config *c, struct err_at *where_out)
{
	bool added[LISTENERS_MAX] = { false };
	for (uint32_t i = 0; i < c->listener_count; i++) {
		const struct listener_spec *spec = &c->listeners[i];
		if (listeners_find(l, spec->listen.text)) continue;
		enum err e = listeners_add(l, spec, where_out);
		if (e == ERR_NONE) {
			added[listeners_find(l, spec->listen.text)->number] = true;
			continue;
		}
		for (uint32_t k = 0; k < LISTENERS_MAX; k++)
			if (added[k]) listeners_remove(l, l->by_number[k]);
		return e;
	}
	for (uint32_t i = 0; i < c->listener_count; i++)
		listener_follow(listeners_find(l, c->listeners[i].listen.text), &c->listeners[i]);
	return ERR_NONE;
}

void listeners_prune(struct listeners *l, const struct config *c)
{
	for (uint32_t i = 0; i < l->count; i++) {
		struct listener *have = l->by_number[i];
		bool wanted = false;
		for (uint32_t k = 0; have && k < c->listener_count; k++)
			wanted |= strcmp(c->listeners[k].listen.text, have->spec.listen.text) == 0;
		if (have && !wanted) listeners_remove(l, have);
	}
}

void listeners_start(struct listeners *l)
{
	listeners_watch(l, IO_READ);
}

void listeners_close(struct listeners *l)
{
	io_timer_stop(&l->resume);
	for (uint32_t i = 0; i < l->count; i++)
		if (l->by_number[i]) listeners_remove(l, l->by_number[i]);
}

void listeners_fini(struct listeners *l)
{
	listeners_close(l);
}
