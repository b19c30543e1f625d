#include "agent/push_peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/proxy_link.h"
#include "common/clock.h"
#include "common/ctlmsg.h"
#include "common/log.h"

/* A topology that is in force, but not with every worker yet, is no refusal. */
enum { UNFINISHED_RETRY_MS = 1000, HOLD_MS = 1000 };

struct push_peer {
	const struct push_env *env;
	char *name;
	struct proxy_link *link;
	bool foreign, replaced;
	bool unspoken; /* speaks no version of the control protocol that we do */
	int pid;
	uint64_t running; /* version; 0: unknown */
	char error[256];
	char unsaved[256]; /* what it runs is not kept for its next start: why */
	uint64_t lost_us;  /* since when it has not run the newest topology; 0: it does */
	/* What the connection has told; all void when it goes down. */
	bool applying;	/* `sent` is not answered yet                    */
	bool refused;	/* `sent` was, and is the newest                 */
	bool has_acked; /* `acked` was, and nothing came after           */
	bool drained;	/* has acked, and all older ones are gone        */
	bool renewing;	/* a lease.renew is not answered yet             */
	bool has_drained;
	uint64_t held_us; /* since when the newest waits for a lease, see peer_holds(); 0: not */
	struct push_key sent, acked;
	uint64_t drained_version; /* highest known to be drained */
	uint64_t drained_us;	  /* when that was               */
	/* It keeps a lease when the connection is lost, and so do we. By clock_boot_us(). */
	uint64_t lease_until_us, leased_version, renewed_us;
	uint32_t renewed_ms;
	json_t *blocked_on;    /* servers that owe replies; NULL: none     */
	char client_name[128]; /* of its connections to Redis; "": not told */
	struct io_timer retry;
	/* As on_change() was last called for; error cut. */
	struct {
		enum push_state state;
		int pid;
		uint64_t running, drained_version;
		char error[64];
	} told;
};

/* --- keys ------------------------------------------------------------------------------------- */

struct push_key push_key_of(const json_t *topology)
{
	static const char *const names[] = { "epoch", "step", "version" };
	struct push_key key = { "", { 0 } };
	const char *lineage = json_string_value(json_object_get(topology, "lineage"));
	if (lineage) snprintf(key.lineage, sizeof(key.lineage), "%s", lineage);
	for (int i = 0; i < 3; i++) {
		json_int_t n = json_integer_value(json_object_get(topology, names[i]));
		key.order[i] = n > 0 ? (uint64_t)n : 0;
	}
	return key;
}

int push_key_compare(const struct push_key *a, const struct push_key *b)
{
	for (int i = 0; i < 3; i++)
		if (a->order[i] != b->order[i]) return a->order[i] < b->order[i] ? -1 : 1;
	return 0;
}

bool push_key_same(const struct push_key *a, const struct push_key *b)
{
	return strcmp(a->lineage, b->lineage) == 0 && push_key_compare(a, b) == 0;
}

/* --- state ------------------------------------------------------------------------------------ */

static enum push_state peer_state(const struct push_peer *p)
{
	if (!push_peer_up(p)) return PUSH_SILENT;
	if (p->refused || p->unspoken) return PUSH_REFUSED;
	if (!p->has_acked || !push_key_same(&p->acked, &p->env->newest)) return PUSH_BEHIND;
	return p->drained ? PUSH_DRAINED : PUSH_APPLIED;
}

/* What is wrong with it: why it did not follow, or what it says of itself. */
static const char *peer_error(const struct push_peer *p)
{
	return p->error[0] ? p->error : p->unsaved;
}

/* A proxy that stays silent fails every two seconds: that is no news. */
static void peer_tell(struct push_peer *p)
{
	enum push_state state = peer_state(p);
	if (p->told.state == state && p->told.pid == p->pid && p->told.running == p->running &&
	    p->told.drained_version == p->drained_version &&
	    strncmp(p->told.error, peer_error(p), sizeof(p->told.error) - 1) == 0)
		return;
	p->told.state = state;
	p->told.pid = p->pid;
	p->told.running = p->running;
	p->told.drained_version = p->drained_version;
	snprintf(p->told.error, sizeof(p->told.error), "%.63s", peer_error(p));
	p->env->on_change(p->env->ctx);
}

/* After every event: keep what depends on the state, and tell. */
static void peer_changed(struct push_peer *p)
{
	if (peer_state(p) >= PUSH_APPLIED) p->lost_us = 0;
	else if (!p->lost_us) p->lost_us = clock_now_us();
	if (p->has_acked && p->drained) {
		uint64_t version = p->acked.order[PUSH_KEY_VERSION];
		if (!p->has_drained || version > p->drained_version) {
			p->drained_version = version;
			p->drained_us = clock_now_us();
		}
		p->has_drained = true;
	}
	peer_tell(p);
}

static void peer_forget(struct push_peer *p)
{
	p->applying = p->refused = p->has_acked = p->drained = p->has_drained = p->renewing = false;
	p->held_us = 0;
	p->drained_version = 0;
	io_timer_stop(&p->retry);
}

/* --- leases ----------------------------------------------------------------------------------- */

static void peer_apply(struct push_peer *p);

static void peer_note_blocked(struct push_peer *p, const json_t *state)
{
	json_t *blocked = json_object_get(state, "blocked_on");
	json_decref(p->blocked_on);
	p->blocked_on = json_array_size(blocked) > 0 ? json_incref(blocked) : NULL;
}

/* What counts is what the proxy says that it has: it may refuse to be given any. */
static void peer_on_lease(void *ctx, const json_t *result, const struct proxy_link_fault *fault)
{
	struct push_peer *p = ctx;
	p->renewing = false;
	if (fault) {
		log_warn("%s: lease: %s: %s", p->name, fault->code, fault->message);
		return;
	}
	peer_note_blocked(p, result);
	json_int_t ms = json_integer_value(json_object_get(result, "lease_ms"));
	if (ms <= 0) return;
	uint64_t until_us = p->renewed_us + p->renewed_ms * 1000ull;
	uint64_t version = push_key_of(result).order[PUSH_KEY_VERSION];
	bool news = version > p->leased_version || p->lease_until_us < clock_boot_us();
	if (until_us > p->lease_until_us) p->lease_until_us = until_us;
	p->leased_version = version;
	if (news) p->env->on_change(p->env->ctx);
}

/* Counted from now, before it is on its way: the proxy counts from later. */
static uint32_t peer_lease_ms(const struct push_peer *p, uint64_t now)
{
	const struct push_env *env = p->env;
	if (!env->lease_ms || env->until_us <= now) return 0;
	uint64_t left_ms = (env->until_us - now) / 1000;
	return left_ms < env->lease_ms ? (uint32_t)left_ms : env->lease_ms;
}

void push_peer_lease(struct push_peer *p)
{
	char text[96];
	uint64_t now = clock_boot_us();
	uint32_t lease_ms = peer_lease_ms(p, now);
	if (lease_ms && p->held_us) peer_apply(p);
	bool follows = peer_state(p) == PUSH_DRAINED;
	if (!lease_ms || p->renewing || !push_peer_up(p)) return;
	if (!follows && p->lease_until_us <= now) return;
	int n = snprintf(text, sizeof(text),
			 "{\"lease_ms\":%u,\"lease_until_us\":%llu,\"version\":%llu}", lease_ms,
			 (unsigned long long)(now + lease_ms * 1000ULL),
			 (unsigned long long)p->acked.order[PUSH_KEY_VERSION]);
	p->renewed_us = now;
	p->renewed_ms = lease_ms;
	p->renewing = proxy_link_call(p->link, "lease.renew", (struct slice){ text, (size_t)n },
				      peer_on_lease);
}

bool push_peer_leased(const struct push_peer *p, uint64_t version)
{
	return p->leased_version >= version && p->lease_until_us > clock_boot_us();
}

/* --- topologies ------------------------------------------------------------------------------- */

static void peer_refused(struct push_peer *p, const char *error)
{
	p->refused = true;
	snprintf(p->error, sizeof(p->error), "%s", error);
	log_warn("%s refused topology %llu: %s", p->name,
		 (unsigned long long)p->sent.order[PUSH_KEY_VERSION], p->error);
	io_timer_set(&p->retry, p->env->times.retry_ms * 1000ULL);
}

static void peer_fault(struct push_peer *p, const struct proxy_link_fault *fault)
{
	char text[sizeof(p->error)];
	snprintf(text, sizeof(text), "%s%s%s", fault->where, fault->where[0] ? ": " : "",
		 fault->message[0] ? fault->message : fault->code);
	if (strcmp(fault->code, "TIMEOUT") != 0) {
		peer_refused(p, text);
		return;
	}
	snprintf(p->error, sizeof(p->error), "%s", text);
	io_timer_set(&p->retry, UNFINISHED_RETRY_MS * 1000ULL);
}

static void peer_acked(struct push_peer *p, const json_t *result)
{
	char text[sizeof(p->error)];
	struct push_key key = push_key_of(result);
	if (!push_key_same(&key, &p->sent)) {
		snprintf(text, sizeof(text), "the answer is about (%s, %llu, %llu, %llu)",
			 key.lineage, (unsigned long long)key.order[0],
			 (unsigned long long)key.order[1], (unsigned long long)key.order[2]);
		peer_refused(p, text);
		return;
	}
	p->running = key.order[PUSH_KEY_VERSION];
	p->error[0] = 0;
	peer_note_blocked(p, result);
	if (strcmp(key.lineage, p->env->newest.lineage) != 0) return; /* replaced meanwhile */
	p->acked = key;
	p->has_acked = true;
	p->drained = json_is_true(json_object_get(result, "drained"));
}

static void peer_on_apply(void *ctx, const json_t *result, const struct proxy_link_fault *fault)
{
	struct push_peer *p = ctx;
	p->applying = p->refused = false;
	if (fault) peer_fault(p, fault);
	else peer_acked(p, result);
	if (!push_key_same(&p->sent, &p->env->newest)) {
		p->refused = false;
		p->error[0] = 0;
		peer_apply(p);
	}
	peer_changed(p);
	push_peer_lease(p);
}

/* The topology with what is said of it alone: that it may be out of date, or, to a proxy that has
 * no lease, so that no key is refused until the next message, one. */
static bool peer_send(struct push_peer *p)
{
	const struct scratch *text = &p->env->text;
	uint64_t now = clock_boot_us();
	uint32_t lease_ms = p->lease_until_us <= now ? peer_lease_ms(p, now) : 0;
	struct scratch s = { 0 };
	if (p->env->stale) scratch_puts(&s, SLICE("{\"stale\":true,"));
	else if (lease_ms)
		scratch_printf(&s, "{\"lease_ms\":%u,\"lease_until_us\":%llu,", lease_ms,
			       (unsigned long long)(now + lease_ms * 1000ULL));
	if (s.n) scratch_put(&s, text->p + 1, text->n - 1);
	bool sent = proxy_link_call(p->link, "topology.apply",
				    s.n ? scratch_slice(&s) : scratch_slice(text), peer_on_apply);
	scratch_fini(&s);
	return sent;
}

/* A proxy that serves and has no lease would refuse the keys that a transition moves. While we have
 * none to give either, as just after our own start, let it be, for so long: what it runs is no
 * worse than before. */
static bool peer_holds(struct push_peer *p)
{
	uint64_t now = clock_boot_us();
	bool unleased = p->lease_until_us <= now && !peer_lease_ms(p, now);
	if (!p->env->walks || p->env->stale || !p->has_acked || !unleased) return false;
	if (!p->held_us) p->held_us = now;
	uint64_t end = p->held_us + HOLD_MS * 1000ULL;
	if (now >= end) return false;
	io_timer_set(&p->retry, end - now);
	return true;
}

/* Send the newest, unless one is on its way: then its answer brings us back here. */
static void peer_apply(struct push_peer *p)
{
	const struct push_env *env = p->env;
	if (!env->text.n || p->applying || p->unspoken || !push_peer_up(p)) return;
	io_timer_stop(&p->retry);
	if (peer_holds(p)) return;
	p->held_us = 0;
	p->sent = env->newest;
	p->applying = peer_send(p);
	if (p->applying) return;
	if (env->text.n > proxy_link_params_max("topology.apply"))
		peer_refused(p, "larger than a message may be (4 MiB)");
	else io_timer_set(&p->retry, UNFINISHED_RETRY_MS * 1000ULL);
}

static void peer_on_retry(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	peer_apply(owner); /* what it refused stays refused until it answers */
}

void push_peer_topology(struct push_peer *p, bool restored)
{
	if (p->foreign || p->unspoken) return;
	if (restored) p->has_acked = p->has_drained = p->drained = false;
	p->refused = false;
	if (push_peer_up(p)) { /* else the error says why it is silent */
		p->error[0] = 0;
		peer_apply(p);
	}
	peer_changed(p);
}

/* --- the link --------------------------------------------------------------------------------- */

static void peer_on_up(void *ctx, const json_t *hello)
{
	struct push_peer *p = ctx;
	const char *service = json_string_value(json_object_get(hello, "service"));
	p->pid = (int)json_integer_value(json_object_get(hello, "pid"));
	p->error[0] = 0;
	p->foreign = !service || strcmp(service, "twinring-proxy") != 0;
	if (p->foreign) {
		log_notice("%s is no proxy, but %s", p->name, service ? service : "something else");
		p->env->on_change(p->env->ctx);
		return;
	}
	const char *version = json_string_value(json_object_get(hello, "version"));
	const char *client = json_string_value(json_object_get(hello, "client_name"));
	snprintf(p->client_name, sizeof(p->client_name), "%.120s", client ? client : "");
	p->unspoken = !ctlmsg_agree(json_object_get(hello, "protocol"), p->error, sizeof(p->error));
	if (p->unspoken) {
		log_warn("%s: process %d, version %s: %s", p->name, p->pid, version ? version : "?",
			 p->error);
		peer_changed(p);
		return;
	}
	p->running = push_key_of(json_object_get(hello, "topology")).order[PUSH_KEY_VERSION];
	/* A lease outlives our connection, but not the proxy. */
	json_int_t lease_ms =
	    json_integer_value(json_object_get(json_object_get(hello, "topology"), "lease_ms"));
	p->lease_until_us = lease_ms > 0 ? clock_boot_us() + (uint64_t)lease_ms * 1000 : 0;
	p->leased_version = 0;
	log_notice("%s: process %d, version %s, runs topology %llu", p->name, p->pid,
		   version ? version : "?", (unsigned long long)p->running);
	proxy_link_call(p->link, "health.subscribe", SLICE("{}"), NULL);
	/* Also when it runs the newest already: the answer tells, and subscribes us to "drained".
	 */
	peer_apply(p);
	peer_changed(p);
}

static void peer_on_down(void *ctx, const char *why)
{
	struct push_peer *p = ctx;
	if (strcmp(p->error, why) != 0) log_info("%s: %s", p->name, why);
	snprintf(p->error, sizeof(p->error), "%s", why);
	p->foreign = p->unspoken = false;
	p->unsaved[0] = 0;
	peer_forget(p);
	peer_changed(p);
	p->env->on_look(p->env->ctx);
}

static void peer_on_drained(struct push_peer *p, const json_t *message)
{
	struct push_key key = push_key_of(message);
	if (p->applying) return; /* the answer will tell */
	peer_note_blocked(p, message);
	p->running = key.order[PUSH_KEY_VERSION];
	if (!p->has_acked) return;
	if (push_key_same(&key, &p->acked)) {
		p->drained = true;
		if (!push_peer_leased(p, key.order[PUSH_KEY_VERSION])) push_peer_lease(p);
	} else {
		/* Someone else pushed something. */
		p->has_acked = p->drained = false;
		peer_apply(p);
	}
	peer_changed(p);
}

/* What a proxy says of itself, beside its servers. */
static void peer_on_self(struct push_peer *p, const json_t *message)
{
	const char *unsaved = json_string_value(json_object_get(message, "unsaved"));
	snprintf(p->unsaved, sizeof(p->unsaved), "%s", unsaved ? unsaved : "");
	peer_tell(p);
}

static void peer_on_event(void *ctx, const char *event, const json_t *message)
{
	struct push_peer *p = ctx;
	const struct push_events *up = &p->env->events;
	if (p->foreign) return;
	if (strcmp(event, "drained") == 0) peer_on_drained(p, message);
	if (strcmp(event, "health") != 0) return;
	peer_on_self(p, message);
	if (up->on_health) up->on_health(up->ctx, p->name, message);
}

bool push_peer_up(const struct push_peer *p)
{
	return proxy_link_up(p->link);
}

bool push_peer_replaced(struct push_peer *p)
{
	if (!p->replaced && proxy_link_replaced(p->link)) {
		p->replaced = true;
		proxy_link_retire(p->link);
		log_notice("%s: another process has the name of process %d", p->name, p->pid);
	}
	return p->replaced;
}

void push_peer_alive(struct push_peer *p, int pid, const char *why)
{
	if (pid) p->pid = pid;
	if (why[0]) snprintf(p->error, sizeof(p->error), "%s", why);
	peer_tell(p);
	proxy_link_kick(p->link);
}

/* --- for push.c ------------------------------------------------------------------------------- */

const char *push_peer_name(const struct push_peer *p)
{
	return p->name;
}

bool push_peer_foreign(const struct push_peer *p)
{
	return p->foreign;
}

void push_peer_describe(const struct push_peer *p, struct push_proxy *out)
{
	*out = (struct push_proxy){ .name = p->name,
				    .pid = p->pid,
				    .state = peer_state(p),
				    .version = p->running,
				    .error = peer_error(p),
				    .client_name = p->client_name,
				    .blocked_on = p->blocked_on };
	uint64_t since = p->lost_us > p->env->since_us ? p->lost_us : p->env->since_us;
	if (out->state < PUSH_APPLIED) out->lag_ms = (clock_now_us() - since) / 1000;
}

uint64_t push_peer_drained_us(const struct push_peer *p)
{
	return peer_state(p) == PUSH_DRAINED ? p->drained_us : 0;
}

bool push_peer_reached(const struct push_peer *p, uint64_t version, enum push_state at_least)
{
	if (at_least < PUSH_APPLIED) return peer_state(p) >= at_least;
	if (!push_peer_up(p)) return false;
	if (at_least == PUSH_DRAINED) return p->has_drained && p->drained_version >= version;
	return p->has_acked && p->acked.order[PUSH_KEY_VERSION] >= version;
}

struct push_peer *push_peer_new(const struct push_env *env, const char *name, const char *path)
{
	struct push_peer *p = calloc(1, sizeof(*p));
	if (!p || !(p->name = strdup(name))) abort();
	struct proxy_link_events events = {
		.on_up = peer_on_up, .on_down = peer_on_down, .on_event = peer_on_event, .ctx = p
	};
	p->env = env;
	p->lost_us = clock_now_us();
	io_timer_init(&p->retry, env->loop, peer_on_retry, p);
	p->link = proxy_link_new(env->loop, path, env->times.answer_ms, &events);
	return p;
}

void push_peer_free(struct push_peer **p)
{
	if (!*p) return;
	io_timer_stop(&(*p)->retry);
	proxy_link_free(&(*p)->link);
	json_decref((*p)->blocked_on);
	free((*p)->name);
	free(*p);
	*p = NULL;
}
