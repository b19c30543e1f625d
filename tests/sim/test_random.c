/* Whatever happens, each client gets one right answer to each request, in order, or an error, or
 * loses its connection for a reason.
 *
 * Every key is used once, and what a server says depends on the key alone, so that no answer can
 * pass for another. A round is repeated exactly by its number: SIM_SEED=n.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/sim.h"

enum { CLIENTS = 8, SERVERS = 4, STEPS = 400, WANTED_MAX = 4096, CHECKED_MS = 3000 };

static uint64_t rng;
static bool faults; /* of servers, in this round */
static uint64_t right, wrong;

static uint32_t roll(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 20) % n;
}

/* --- what a server says ---------------------------------------------------------------------- */

static uint32_t mix(uint32_t id)
{
	return id * 2654435761u ^ id << 7;
}

static void put_value(struct scratch *out, uint32_t id)
{
	uint32_t h = mix(id) >> 8, n = h % 60;
	if (h % 4 == 0) return;
	if (h % 64 == 1) n = 66000 + h % 1000;
	if (h % 16 == 2) n = 8000 + h % 400;
	scratch_printf(out, "VALUE key%u %u %u\r\n", id, h % 9, n);
	char *value = sim_value(n, id);
	scratch_put(out, value, n);
	scratch_printf(out, "\r\n");
	free(value);
}

static void put_stored(struct scratch *out, uint32_t id)
{
	scratch_printf(out, mix(id) & 512 ? "STORED\r\n" : "NOT_STORED\r\n");
}

static void put_count(struct scratch *out, uint32_t id)
{
	scratch_printf(out, "%u\r\n", mix(id));
}

static void put_deleted(struct scratch *out, uint32_t id)
{
	scratch_printf(out, mix(id) & 512 ? "DELETED\r\n" : "NOT_FOUND\r\n");
}

/* --- servers --------------------------------------------------------------------------------- */

static struct server {
	struct scratch say;
	size_t said;
	uint64_t not_before_us;
} servers[FAKE_SOCKS_MAX];

/* One whole request at the start of what came, answered; how long it is, or 0. Anything that is
 * not in its one true form fails the test. */
static size_t server_hear(struct server *v, const char *p, size_t n)
{
	const char *end = n ? memchr(p, '\n', n) : NULL;
	if (!end) return 0;
	size_t line = (size_t)(end - p) + 1;
	uint32_t id, flags, bytes, at = 0;
	char text[2000];
	ck_assert_uint_lt(line, sizeof(text));
	memcpy(text, p, line);
	text[line] = '\0';
	if (sscanf(text, "set key%u %u 0 %u\r\n", &id, &flags, &bytes) == 3) {
		if (n < line + bytes + 2) return 0;
		char *value = sim_value(bytes, id);
		ck_assert_int_eq(memcmp(p + line, value, bytes), 0);
		ck_assert_int_eq(memcmp(p + line + bytes, "\r\n", 2), 0);
		free(value);
		put_stored(&v->say, id);
		return line + bytes + 2;
	}
	if (memcmp(text, "get", 3) == 0) {
		const char *key = text + 3;
		for (; sscanf(key, " key%u%n", &id, &at) == 1; key += at) put_value(&v->say, id);
		ck_assert_str_eq(key, "\r\n");
		scratch_printf(&v->say, "END\r\n");
	} else if (sscanf(text, "incr key%u 1", &id) == 1) {
		put_count(&v->say, id);
	} else if (sscanf(text, "delete key%u", &id) == 1) {
		put_deleted(&v->say, id);
	} else {
		ck_assert_str_eq(text, "version\r\n");
		scratch_printf(&v->say, "VERSION 1\r\n");
	}
	return line;
}

static void server_say(struct sock *s, struct server *v, size_t most)
{
	size_t n = v->say.n - v->said;
	if (n > most) n = most;
	if (n > 0) sock_send(s, v->say.p + v->said, n);
	v->said += n;
	if (v->said < v->say.n) return;
	scratch_clear(&v->say);
	v->said = 0;
}

static void server_fault(struct sock *s, struct server *v)
{
	switch (roll(8)) {
	case 0: s->eof = true; break;
	case 1: s->error = ECONNRESET; break;
	case 2:
		/* Only between two replies: inside a value it would be a value. */
		if (v->said == 0 && s->in_at == s->in_n)
			sock_send(s, "VALUE nobody 0 1\r\nx\r\nEND\r\n", 26);
		s->eof = true;
		break;
	case 3:
		if (v->said == 0) sock_send(s, "XYZZY\r\n", 7);
		s->eof = true;
		break;
	default: v->not_before_us = clock_now_us() + roll(600) * 1000; break;
	}
}

static void server_act(struct sock *s, struct server *v, bool heal)
{
	size_t used = 0, n;
	while ((n = server_hear(v, s->out + used, s->out_n - used))) used += n;
	sock_take(s, used);
	if (heal) {
		v->not_before_us = 0;
		s->window = SIZE_MAX;
		server_say(s, v, SIZE_MAX);
		return;
	}
	if (s->eof || s->error) return;
	if (roll(20) == 0) s->window = roll(3) ? SIZE_MAX : roll(3000);
	if (faults && roll(60) == 0) {
		server_fault(s, v);
		return;
	}
	if (v->not_before_us <= clock_now_us() && roll(3))
		server_say(s, v, roll(2) ? SIZE_MAX : roll(200));
}

static void servers_act(bool heal)
{
	for (uint32_t i = 0; i < fake_sock_count(); i++) {
		struct sock *s = fake_sock(FAKE_FD + (int)i);
		if (s->port && !s->closed && !s->pending) server_act(s, &servers[i], heal);
	}
	for (uint16_t i = 0; i < SERVERS && faults; i++)
		if (heal || roll(300) == 0)
			fake_set_accept(SIM_PORT + i, heal || roll(2) ? ACCEPT_LATER : roll(6));
}

/* --- clients --------------------------------------------------------------------------------- */

static struct player {
	struct sock *s;
	struct scratch say;
	size_t said;
	struct scratch wanted[WANTED_MAX]; /* replies, oldest at first */
	uint32_t first, count;
	bool may_close; /* it has quit, or died */
	bool quit;
} players[CLIENTS];
static uint32_t next_id;

static struct scratch *player_wants(struct player *p)
{
	ck_assert_uint_lt(p->count, WANTED_MAX);
	struct scratch *w = &p->wanted[(p->first + p->count++) % WANTED_MAX];
	scratch_clear(w);
	return w;
}

static void player_get(struct player *p)
{
	uint32_t n = roll(2) ? 1 : 1 + roll(6);
	struct scratch *w = player_wants(p);
	scratch_printf(&p->say, "get");
	while (n-- > 0) {
		scratch_printf(&p->say, " key%u", ++next_id);
		put_value(w, next_id);
	}
	scratch_printf(&p->say, "\r\n");
	scratch_printf(w, "END\r\n");
}

static void player_set(struct player *p)
{
	uint32_t n = roll(10) ? roll(100) : roll(3) ? 8100 + roll(200) : 60000 + roll(90000);
	bool noreply = roll(5) == 0;
	char *value = sim_value(n, ++next_id);
	scratch_printf(&p->say, "set key%u 5 0 %u%s\r\n", next_id, n, noreply ? " noreply" : "");
	scratch_put(&p->say, value, n);
	scratch_printf(&p->say, "\r\n");
	free(value);
	if (!noreply) put_stored(player_wants(p), next_id);
}

static void player_ask(struct player *p)
{
	if (p->quit || p->count > 200) return;
	switch (roll(12)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4: player_get(p); break;
	case 5:
	case 6:
	case 7: player_set(p); break;
	case 8:
	case 9:
		scratch_printf(&p->say, "incr key%u 1\r\n", ++next_id);
		put_count(player_wants(p), next_id);
		break;
	case 10:
		scratch_printf(&p->say, "delete key%u\r\n", ++next_id);
		put_deleted(player_wants(p), next_id);
		break;
	case 11:
		scratch_printf(&p->say, "bogus\r\n");
		scratch_printf(player_wants(p), "ERROR\r\n");
		break;
	}
}

/* How many bytes at the start of what came answer the oldest request; 0: not yet. */
static size_t player_answered(const struct player *p, const struct scratch *w)
{
	static const char error[] = "SERVER_ERROR ";
	const struct sock *s = p->s;
	size_t common = s->out_n < w->n ? s->out_n : w->n;
	if (memcmp(s->out, w->p, common) == 0) {
		right += common == w->n;
		return common == w->n ? w->n : 0;
	}
	common = s->out_n < sizeof(error) - 1 ? s->out_n : sizeof(error) - 1;
	ck_assert_msg(memcmp(s->out, error, common) == 0, "client %d: <%.*s> is not <%.*s>",
		      s->fd - FAKE_FD, s->out_n > 300 ? 300 : (int)s->out_n, s->out,
		      w->n > 300 ? 300 : (int)w->n, w->p);
	const char *end = memchr(s->out, '\n', s->out_n);
	ck_assert_msg(faults || !end, "an error without a fault: %.*s", (int)(end - s->out),
		      s->out);
	wrong += end != NULL;
	return end ? (size_t)(end - s->out) + 1 : 0;
}

static void player_check(struct player *p)
{
	size_t n;
	while (p->s->out_n > 0 && p->count > 0 && (n = player_answered(p, &p->wanted[p->first]))) {
		sock_take(p->s, n);
		p->first = (p->first + 1) % WANTED_MAX;
		p->count--;
	}
	ck_assert_msg(p->count > 0 || p->s->out_n == 0, "an answer that nobody asked for");
	ck_assert_msg(!p->s->closed || p->may_close, "client %d was closed", p->s->fd - FAKE_FD);
}

static void player_leave(struct player *p)
{
	if (p->s) player_check(p);
	scratch_clear(&p->say);
	p->said = p->first = p->count = 0;
	p->may_close = p->quit = false;
	p->s = NULL;
}

static void player_end(struct player *p)
{
	switch (roll(3)) {
	case 0:
		p->s->error = ECONNRESET;
		p->may_close = true;
		p->quit = true;
		break;
	case 1:
		if (!p->quit) scratch_printf(&p->say, "quit\r\n");
		p->quit = true;
		break;
	case 2:
		if (p->said < p->say.n) break;
		p->s->eof = p->quit = p->may_close = true;
		break;
	}
}

static void player_act(struct player *p)
{
	if (!p->s) p->s = sim_client();
	player_check(p);
	if (p->s->closed) {
		/* Gone without a reset: not before everything was said. */
		ck_assert(p->s->error || p->count == 0);
		player_leave(p);
		return;
	}
	for (uint32_t n = roll(4); n > 0; n--) player_ask(p);
	size_t n = p->say.n - p->said, most = roll(2) ? SIZE_MAX : 1 + roll(300);
	if (n > most) n = most;
	if (n > 0) sock_send(p->s, p->say.p + p->said, n);
	p->said += n;
	if (p->said == p->say.n) {
		scratch_clear(&p->say);
		p->said = 0;
		if (p->quit) p->may_close = true;
	}
	if (p->may_close && p->s->shut) p->s->eof = true;
	if (roll(20) == 0) p->s->window = roll(3) ? SIZE_MAX : roll(2000);
	if (roll(200) == 0) player_end(p);
}

/* --- a round --------------------------------------------------------------------------------- */

static const char *random_options(void)
{
	static char text[200];
	/* Without faults nothing may time out: servers are slow, but not that slow. */
	snprintf(text, sizeof(text),
		 "    timeout_ms: %u\n    server_connections: %u\n    inflight_max: %u\n",
		 faults ? 50 + roll(400) : 60000, 1 + roll(3), faults ? 5 + roll(100) : 100000);
	return text;
}

static void random_swap(void)
{
	sim_swap("memcached", 1 + roll(SERVERS), random_options(),
		 roll(2) ? "  pipeline_max: 16\n  client_output_max: 50000\n" : "");
}

static void finish(void)
{
	for (int i = 0; i < 3000; i++) {
		servers_act(true);
		sim_pass_ms(i < 1000 ? 1 : 10);
		for (int k = 0; k < CLIENTS; k++) {
			struct player *p = &players[k];
			if (!p->s) continue;
			p->s->window = SIZE_MAX;
			if (p->quit) p->may_close = true;
			player_check(p);
			if (p->s->closed || p->said == p->say.n) continue;
			sock_send(p->s, p->say.p + p->said, p->say.n - p->said);
			p->said = p->say.n;
		}
	}
	for (int k = 0; k < CLIENTS; k++) {
		struct player *p = &players[k];
		if (p->s && !p->s->error) ck_assert_uint_eq(p->count, 0);
		player_leave(p);
	}
	ck_assert_uint_eq(sim.snapshots_alive, 1);
}

static void round_play(uint64_t seed)
{
	rng = seed * 0x9e3779b97f4a7c15u + 1;
	faults = roll(3) != 0;
	memset(servers, 0, sizeof(servers));
	next_id = 0;
	sim_start("memcached", 1 + roll(SERVERS), random_options(), "");
	fake_shuffle = rng;
	for (uint32_t step = 0; step < STEPS; step++) {
		for (int k = 0; k < CLIENTS; k++)
			if (roll(3) == 0) player_act(&players[k]);
		servers_act(false);
		if (roll(3)) sim_turn();
		else sim_pass_us(roll(faults ? 20000 : 3000));
		if (roll(100) == 0) random_swap();
	}
	finish();
	for (uint32_t i = 0; i < fake_sock_count(); i++) scratch_fini(&servers[i].say);
	sim_stop();
}

START_TEST(random_rounds)
{
	struct timespec start, now;
	const char *fixed = getenv("SIM_SEED");
	clock_gettime(CLOCK_REALTIME, &start);
	uint64_t seed = fixed ? strtoull(fixed, NULL, 10) : (uint64_t)start.tv_nsec;
	uint32_t rounds = 0;
	do {
		printf("SIM_SEED=%llu\r", (unsigned long long)seed);
		fflush(stdout);
		round_play(seed++);
		rounds++;
		clock_gettime(CLOCK_REALTIME, &now);
	} while (!fixed &&
		 (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
		     CHECKED_MS);
	printf("%u rounds, %llu right answers, %llu errors\n", rounds, (unsigned long long)right,
	       (unsigned long long)wrong);
	for (int k = 0; k < CLIENTS; k++) {
		scratch_fini(&players[k].say);
		for (int i = 0; i < WANTED_MAX; i++) scratch_fini(&players[k].wanted[i]);
	}
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("random");
	tcase_add_test(t, random_rounds);
	return sim_run("random", t);
}
