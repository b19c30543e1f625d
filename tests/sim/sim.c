#include "tests/sim/sim.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"

struct sim sim;

/* --- the topology ---------------------------------------------------------------------------- */

static void sim_resolve(void *ctx, const struct server_spec *server, struct net_addr *addr_out)
{
	(void)ctx;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(server->port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*addr_out = (struct net_addr){ .len = sizeof(in) };
	memcpy(&addr_out->ss, &in, sizeof(in));
}

static void sim_on_snapshot_unused(void *ctx, struct snapshot *s)
{
	(void)ctx;
	sim.snapshots_alive--;
	snapshot_free(s);
}

static struct config *sim_config(const char *protocol, uint32_t servers, const char *options,
				 const char *proxy)
{
	struct scratch text = { 0 };
	scratch_printf(&text,
		       "proxy:\n  threads: 1\n  moderation_us: 0\n%s"
		       "listeners:\n  - listen: 127.0.0.1:999\n    pool: p\n"
		       "pools:\n  p:\n    protocol: %s\n    distribution: modula\n"
		       "    hash: fnv1a_32\n%s    servers:\n",
		       proxy, protocol, options);
	for (uint32_t i = 0; i < servers; i++)
		scratch_printf(&text, "      - 127.0.0.1:%u:1 s%u\n", SIM_PORT + i, i);
	struct config *c = NULL;
	struct config_issues issues;
	config_parse(text.p, text.n, "sim", &c, &issues);
	for (uint32_t i = 0; !c && i < issues.count; i++)
		fprintf(stderr, "%s: %s\n", issues.items[i].at.where, issues.items[i].at.why);
	ck_assert_ptr_nonnull(c);
	config_issues_fini(&issues);
	scratch_fini(&text);
	return c;
}

/* Put a transition to `next` into the configuration's topology. */
static void sim_add_transition(struct config *c, const struct topology *next, const char *rules)
{
	struct scratch text = { 0 };
	scratch_printf(&text, "{%s}", rules);
	json_t *t = json_loadb(text.p, text.n, 0, NULL), *doc = topology_to_json(c->topology);
	ck_assert_msg(t != NULL, "not JSON: %s", rules);
	json_object_set_new(t, "next", pool_spec_to_json(&next->pools[0]));
	json_object_set_new(doc, "transitions", json_pack("{s:o}", "p", t));
	topology_free(&c->topology);
	struct err_at at;
	ck_assert_msg(topology_from_json(doc, &c->topology, &at) == ERR_NONE, "%s: %s", at.where,
		      at.why);
	json_decref(doc);
	scratch_fini(&text);
}

static void sim_publish(const struct config *c, bool listening)
{
	const struct listener_spec *listener = listening ? &c->listeners[0] : NULL;
	struct snapshot_input in = { .stats = sim.stats,
				     .identities = sim.identities,
				     .proxy = &c->proxy,
				     .listeners = &listener,
				     .listener_count = 1,
				     .resolve = sim_resolve };
	struct snapshot *s;
	struct err_at at;
	ck_assert_int_eq(snapshot_build(topology_copy(c->topology), &in, &s, &at), ERR_NONE);
	s->on_unused = sim_on_snapshot_unused;
	sim.snapshots_alive++;
	snapshot_ref(s);
	if (sim.snapshot) snapshot_unref(sim.snapshot);
	sim.snapshot = s;
	mailbox_post(&sim.w->mail, &(struct mail){ .kind = WORKER_SNAPSHOT, .p = s });
}

static void sim_on_main_mail(void *owner, const struct mail *m)
{
	(void)owner;
	if (m->kind != MAIN_DEST) return;
	sim.dest_mails++;
	sim.dests_failing += m->number != 0;
}

void sim_start(const char *protocol, uint32_t servers, const char *options, const char *proxy)
{
	log_level_set(getenv("SIM_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_EMERG);
	fake_reset();
	memset(&sim, 0, sizeof(sim));
	sim.stats = stats_new(1);
	sim.identities = identities_new();
	mailbox_init(&sim.main, &sim.main_loop, sim_on_main_mail, NULL);
	sim.shared = (struct worker_shared){ .threads = 1, .stats = sim.stats, .main = &sim.main };
	sim.shared.listener_clients = calloc(LISTENERS_MAX, sizeof(uint32_t));
	sim.w = worker_new(&sim.shared, 0);
	ck_assert_ptr_nonnull(sim.w);
	sim_swap(protocol, servers, options, proxy);
}

void sim_swap(const char *protocol, uint32_t servers, const char *options, const char *proxy)
{
	struct config *c = sim_config(protocol, servers, options, proxy);
	sim_publish(c, true);
	config_free(&c);
	sim_settle();
}

void sim_transition(const char *protocol, uint32_t from, uint32_t to, const char *options,
		    const char *rules)
{
	struct config *c = sim_config(protocol, from, options, "");
	struct config *next = sim_config(protocol, to, options, "");
	sim_add_transition(c, next->topology, rules);
	sim_publish(c, true);
	config_free(&next);
	config_free(&c);
	sim_settle();
}

void sim_lease(uint64_t until_us)
{
	sim.shared.lease_until_us = until_us;
}

void sim_swap_to_nothing(void)
{
	struct config *c = sim_config("memcached", 1, "", "");
	sim_publish(c, false);
	config_free(&c);
	sim_settle();
}

static void sim_check_nothing_left(void)
{
	struct core *core = &sim.w->core;
	ck_assert_uint_eq(core->requests.live, 0);
	ck_assert_uint_eq(core->in_flight, 0);
	ck_assert(LIST_EMPTY(&core->active_conns));
	ck_assert_uint_eq(sim.w->client_pool.live, 0);
	ck_assert_uint_eq(sim.w->client_count, 0);
	if (core->rbuf) buf_unref(core->rbuf);
	core->rbuf = NULL;
	ck_assert_uint_eq(core->bufs.segs.live, 0);
	buf_pool_fini(&core->bufs);
	ck_assert_uint_eq(core->bufs.bytes, 0);
	for (int fd = FAKE_FD; fd < FAKE_FD + (int)fake_sock_count(); fd++)
		ck_assert_msg(fake_sock(fd)->closed, "descriptor %d was left open", fd - FAKE_FD);
}

static void sim_check_gauges(void)
{
	const struct server_pool *pool = &sim.snapshot->pools[0];
	ck_assert_uint_eq(stats_pool_sum(pool->stats, POOL_client_connections), 0);
	for (uint32_t i = 0; i < pool->spec->server_count; i++) {
		const struct stats_server *s = pool->servers[i].stats;
		ck_assert_uint_eq(stats_server_sum(s, SERVER_server_connections), 0);
		ck_assert_uint_eq(stats_server_sum(s, SERVER_in_queue), 0);
		ck_assert_uint_eq(stats_server_sum(s, SERVER_out_queue), 0);
		ck_assert_uint_eq(stats_server_sum(s, SERVER_tko_workers), 0);
	}
}

void sim_stop(void)
{
	worker_close(sim.w);
	sim_check_nothing_left();
	sim_check_gauges();
	snapshot_unref(sim.snapshot);
	ck_assert_uint_eq(sim.snapshots_alive, 0);
	worker_free(&sim.w);
	mailbox_fini(&sim.main);
	identities_free(&sim.identities);
	free(sim.shared.listener_clients);
	stats_free(&sim.stats);
	fake_free();
}

/* --- time ------------------------------------------------------------------------------------ */

void sim_turn(void)
{
	worker_turn(sim.w);
}

void sim_settle(void)
{
	uint32_t turns = 0;
	do {
		sim_turn();
		ck_assert_msg(++turns < 100000, "the loop spins");
	} while (fake_is_ready());
}

/* Stop at every timer, as a real loop would wake there. */
void sim_pass_us(uint64_t us)
{
	uint64_t end = clock_now_us() + us;
	sim_settle();
	while (clock_now_us() < end) {
		uint64_t next = fake_next_timer_us();
		if (next > end) next = end;
		if (next > clock_now_us()) fake_pass_us(next - clock_now_us());
		sim_settle();
	}
}

void sim_pass_ms(uint64_t ms)
{
	sim_pass_us(ms * 1000);
}

/* --- who takes part -------------------------------------------------------------------------- */

struct sock *sim_client(void)
{
	struct sock *s = fake_sock_new();
	sim.w->client_count++;
	sim.shared.listener_clients[0]++;
	client_new(sim.w, s->fd, 0);
	return s;
}

struct sock *sim_server(uint32_t i)
{
	uint32_t n = fake_connection_count((uint16_t)(SIM_PORT + i));
	while (n-- > 0) {
		struct sock *s = fake_connection((uint16_t)(SIM_PORT + i), n);
		if (!s->closed) return s;
	}
	return NULL;
}

struct dest *sim_dest(uint32_t i)
{
	return sim.w->view->dests[i];
}

uint32_t sim_live(void)
{
	return sim.w->core.requests.live;
}

uint64_t sim_server_metric(uint32_t i, enum server_metric m)
{
	return stats_server_sum(sim.snapshot->pools[0].servers[i].stats, m);
}

uint64_t sim_pool_metric(enum pool_metric m)
{
	return stats_pool_sum(sim.snapshot->pools[0].stats, m);
}

void sim_moving_reads(uint64_t hits, uint64_t misses)
{
	ck_assert_uint_eq(sim_pool_metric(POOL_moving_hits), hits);
	ck_assert_uint_eq(sim_pool_metric(POOL_moving_misses), misses);
}

const char *sim_key(uint32_t server, uint32_t n)
{
	static char keys[64][16];
	static uint32_t at;
	char *key = keys[at++ % 64];
	uint64_t rng = 1;
	for (uint32_t i = 0;; i++) {
		snprintf(key, 16, "k%u", i);
		uint32_t owner = ring_lookup(sim.snapshot->pools[0].ring, slice_of(key), &rng);
		if (owner == server && n-- == 0) return key;
	}
}

const char *sim_moving(uint32_t from, uint32_t to, uint32_t n)
{
	static char keys[64][16];
	static uint32_t at;
	char *key = keys[at++ % 64];
	const struct server_pool *pool = &sim.snapshot->pools[0];
	uint64_t rng = 1;
	for (uint32_t i = 0;; i++) {
		snprintf(key, 16, "k%u", i);
		if (ring_lookup(pool->ring, slice_of(key), &rng) == from &&
		    ring_lookup(pool->next->ring, slice_of(key), &rng) == to && n-- == 0)
			return key;
	}
}

/* --- bytes ----------------------------------------------------------------------------------- */

static char *sim_format(const char *format, va_list args)
{
	char *text = NULL;
	if (vasprintf(&text, format, args) < 0) abort();
	return text;
}

void sim_feed(struct sock *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = sim_format(format, args);
	va_end(args);
	ck_assert_ptr_nonnull(s);
	sock_send(s, text, strlen(text));
	free(text);
}

void sim_send(struct sock *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = sim_format(format, args);
	va_end(args);
	sim_send_bytes(s, text, strlen(text));
	free(text);
}

void sim_send_bytes(struct sock *s, const void *bytes, size_t n)
{
	ck_assert_ptr_nonnull(s);
	sock_send(s, bytes, n);
	sim_settle();
}

void sim_send_pieces(struct sock *s, const void *bytes, size_t n, size_t piece)
{
	for (size_t at = 0; at < n; at += piece)
		sim_send_bytes(s, (const char *)bytes + at, n - at < piece ? n - at : piece);
}

void sim_expect_bytes_at(const char *where, struct sock *s, const void *bytes, size_t n)
{
	ck_assert_msg(s != NULL, "%s: no such connection", where);
	bool same = s->out_n == n && (n == 0 || memcmp(s->out, bytes, n) == 0);
	ck_assert_msg(same, "%s: expected %zu bytes <%.*s>, got %zu <%.*s>", where, n,
		      n > 500 ? 500 : (int)n, (const char *)bytes, s->out_n,
		      s->out_n > 500 ? 500 : (int)s->out_n, s->out ? s->out : "");
	sock_take(s, n);
}

void sim_expect_at(const char *where, struct sock *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = sim_format(format, args);
	va_end(args);
	sim_expect_bytes_at(where, s, text, strlen(text));
	free(text);
}

void sim_take_line(struct sock *s, const char *word)
{
	ck_assert_ptr_nonnull(s);
	char *end = s->out_n ? memchr(s->out, '\n', s->out_n) : NULL;
	ck_assert_msg(end && strncmp(s->out, word, strlen(word)) == 0, "no %s in <%.*s>", word,
		      (int)s->out_n, s->out ? s->out : "");
	sock_take(s, (size_t)(end - s->out) + 1);
}

char *sim_value(size_t n, uint32_t seed)
{
	char *v = malloc(n + 1);
	if (!v) abort();
	for (size_t i = 0; i < n; i++) {
		uint32_t x = ((uint32_t)(i >> 2) + seed) * 2654435761u;
		v[i] = (char)(x >> (i & 3) * 8);
	}
	v[n] = '\0';
	return v;
}

int sim_run(const char *name, TCase *t)
{
	Suite *s = suite_create(name);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
