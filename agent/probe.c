#include "agent/probe_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/resolver.h"
#include "common/scratch.h"

/* --- texts ------------------------------------------------------------------------------------ */

static const char *copy_text(const char *s)
{
	if (!s) return NULL;
	char *copy = strdup(s);
	if (!copy) abort();
	return copy;
}

static void copy_target(struct probe *p, const struct probe_target *t)
{
	struct probe_target *to = &p->target;
	*to = *t;
	to->addr = NULL;
	to->host = copy_text(t->host);
	to->pool = copy_text(t->pool);
	to->server = copy_text(t->server);
	to->auth_user = copy_text(t->auth_user);
	to->auth_password = copy_text(t->auth_password);
	to->http_path = copy_text(t->http_path);
	to->script = copy_text(t->script);
}

static void free_target(struct probe_target *t)
{
	free((char *)t->host);
	free((char *)t->pool);
	free((char *)t->server);
	free((char *)t->auth_user);
	free((char *)t->auth_password);
	free((char *)t->http_path);
	free((char *)t->script);
}

/* --- life ------------------------------------------------------------------------------------- */

static void probe_free(struct probe *p)
{
	io_timer_stop(&p->timer);
	if (p->started) p->ops->stop(p);
	resolver_free(&p->resolver);
	free_target(&p->target);
	free(p);
}

void probe_cancel(struct probe **p)
{
	if (!*p) return;
	(*p)->over = true;
	probe_free(*p);
	*p = NULL;
}

static void finish(struct probe *p, enum probe_outcome outcome)
{
	if (p->over) return;
	p->over = true;
	p->result.outcome = p->fit ? PROBE_GOOD : outcome;
	if (p->result.outcome == PROBE_GOOD) p->result.why[0] = '\0';
	text_make_printable(p->result.why);
	text_make_printable(p->result.incarnation);
	p->result.took_us = clock_now_us() - p->start_us;
	io_timer_set(&p->timer, 0);
}

void probe_finish(struct probe *p, enum probe_outcome outcome, const char *format, ...)
{
	if (p->over) return;
	va_list args;
	va_start(args, format);
	vsnprintf(p->result.why, sizeof(p->result.why), format, args);
	va_end(args);
	finish(p, outcome);
}

void probe_finish_errno(struct probe *p, const char *what, int e)
{
	bool ours = e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM ||
		    e == EADDRNOTAVAIL || e == EAFNOSUPPORT || e == EAGAIN;
	probe_finish(p, ours ? PROBE_UNKNOWN : PROBE_ILL, "%s: %s", what, strerror(e));
}

static void probe_on_timer(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct probe *p = owner;
	if (!p->over) {
		/* That a name is not known is not its server's fault, and proxies go on with the
		 * address they have. */
		probe_finish(p, p->started ? PROBE_ILL : PROBE_UNKNOWN,
			     "%s: no answer within %u ms", p->doing, p->target.timeout_ms);
		return;
	}
	p->done(p->ctx, &p->result);
	probe_free(p);
}

static void probe_go(struct probe *p)
{
	p->started = true;
	p->ops->start(p);
}

/* --- names ------------------------------------------------------------------------------------ */

static void probe_on_address(void *ctx, uint32_t id, const struct net_addr *addr)
{
	(void)id;
	struct probe *p = ctx;
	if (p->over || p->started) return;
	p->addr = *addr;
	probe_go(p);
}

static void probe_look_up(struct probe *p)
{
	struct resolver_config config = { .on_change = probe_on_address, .ctx = p };
	p->doing = "name lookup";
	p->resolver = resolver_new(io_loop_base(p->loop), &config);
	resolver_watch(p->resolver, p->target.host, p->target.port);
}

struct probe *probe_begin(struct io_loop *l, const struct probe_ops *ops,
			  const struct probe_target *t, probe_done_fn done, void *ctx)
{
	struct probe *p = calloc(1, sizeof(*p));
	if (!p) abort();
	p->loop = l;
	p->ops = ops;
	p->done = done;
	p->ctx = ctx;
	p->doing = "probe";
	p->start_us = clock_now_us();
	copy_target(p, t);
	io_timer_init(&p->timer, l, probe_on_timer, p);
	io_timer_set(&p->timer, t->timeout_ms * 1000ull);
	if (t->addr) p->addr = *t->addr;
	if (t->addr || !ops->wants_addr || net_addr_numeric(t->host, t->port, &p->addr))
		probe_go(p);
	else if (t->port == 0) probe_finish(p, PROBE_UNKNOWN, "no path of a unix socket");
	else probe_look_up(p);
	return p;
}

struct probe *probe_start(struct io_loop *l, const struct probe_target *t, probe_done_fn done,
			  void *ctx)
{
	static const struct probe_ops *const kinds[PROBE_KIND_MAX] = {
		[PROBE_MEMCACHED] = &probe_codec_ops, [PROBE_REDIS] = &probe_codec_ops,
		[PROBE_TCP] = &probe_tcp_ops,	      [PROBE_HTTP] = &probe_http_ops,
		[PROBE_SCRIPT] = &probe_script_ops,
	};
	assert(kinds[t->kind]);
	return probe_begin(l, kinds[t->kind], t, done, ctx);
}
