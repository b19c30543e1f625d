#include "common/resolver_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct resolver_pool {
	resolver_lookup_fn lookup;
	int event_fd;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	struct resolver_jobs todo, done;
	uint32_t threads, idle;
	uint32_t refs; /* the owner and each thread */
	bool stop;
};

/* With the lock held; lets go of it. */
static void resolver_pool_unref(struct resolver_pool *p)
{
	bool last = --p->refs == 0;
	pthread_mutex_unlock(&p->lock);
	if (!last) return;
	struct resolver_job *job, *next;
	STAILQ_CONCAT(&p->todo, &p->done);
	STAILQ_FOREACH_SAFE (job, &p->todo, link, next) free(job);
	close(p->event_fd);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static void *resolver_pool_main(void *arg)
{
	struct resolver_pool *p = arg;
	struct resolver_job *job;
	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		job = STAILQ_FIRST(&p->todo);
		if (!job) {
			p->idle++;
			pthread_cond_wait(&p->wake, &p->lock);
			p->idle--;
			continue;
		}
		STAILQ_REMOVE_HEAD(&p->todo, link);
		pthread_mutex_unlock(&p->lock);
		job->ok = p->lookup(job->host, job->port, job->addrs, RESOLVER_ADDRS_MAX,
				    &job->count, &job->why);
		pthread_mutex_lock(&p->lock);
		STAILQ_INSERT_TAIL(&p->done, job, link);
		if (eventfd_write(p->event_fd, 1) != 0) {
		} /* full: it is readable anyway */
	}
	resolver_pool_unref(p);
	return NULL;
}

/* With the lock held. Signals are main's: helpers block them all. */
static void resolver_pool_spawn(struct resolver_pool *p)
{
	pthread_t t;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&t, NULL, resolver_pool_main, p) == 0) {
		pthread_detach(t);
		p->threads++;
		p->refs++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct resolver_pool *resolver_pool_new(resolver_lookup_fn lookup)
{
	struct resolver_pool *p = calloc(1, sizeof(*p));
	if (!p) abort();
	p->lookup = lookup;
	p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->event_fd < 0) {
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	STAILQ_INIT(&p->todo);
	STAILQ_INIT(&p->done);
	p->refs = 1;
	return p;
}

int resolver_pool_fd(const struct resolver_pool *p)
{
	return p->event_fd;
}

void resolver_pool_submit(struct resolver_pool *p, struct resolver_job *job)
{
	pthread_mutex_lock(&p->lock);
	STAILQ_INSERT_TAIL(&p->todo, job, link);
	if (p->idle == 0 && p->threads < RESOLVER_THREADS) resolver_pool_spawn(p);
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

void resolver_pool_collect(struct resolver_pool *p, struct resolver_jobs *out)
{
	eventfd_t n;
	STAILQ_INIT(out);
	pthread_mutex_lock(&p->lock);
	if (eventfd_read(p->event_fd, &n) == 0) STAILQ_CONCAT(out, &p->done);
	pthread_mutex_unlock(&p->lock);
}

void resolver_pool_free(struct resolver_pool *p)
{
	if (!p) return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	resolver_pool_unref(p);
}
