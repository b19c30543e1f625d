#include <check.h>
#include <pthread.h>
#include <stdarg.h>

#include "agent/mover.h"
#include "common/log.h"
#include "common/redis_import.h"
#include "tests/unit/agent/mover_rig.h"

#define MARK "7.3"

static struct io_loop loop;
static struct real servers[RIG_SERVERS];
static uint32_t server_count;
static struct rig_pool from, to;
static struct rig_client clients[RIG_SERVERS];

/* --- jobs ------------------------------------------------------------------------------------- */

static struct {
	int calls, bigs, progress;
	bool ok, may_go_on;
	char why[200], big[300];
	uint64_t big_bytes;
	struct mover *free_in_done;
} job;

static void on_done(void *ctx, bool ok, const char *why)
{
	ck_assert_ptr_eq(ctx, &job);
	job.calls++;
	job.ok = ok;
	snprintf(job.why, sizeof(job.why), "%s", why);
	mover_free(&job.free_in_done);
}

static void on_big_key(void *ctx, const struct mover_big_key *big)
{
	(void)ctx;
	job.bigs++;
	snprintf(job.big, sizeof(job.big), "%s %.*s", big->server, (int)big->key.n, big->key.p);
	job.big_bytes = big->bytes;
}

static void on_progress(void *ctx)
{
	(void)ctx;
	job.progress++;
}

static bool may_go_on(void *ctx)
{
	(void)ctx;
	return job.may_go_on;
}

static const struct mover_events events = { may_go_on, on_progress, on_big_key, on_done };

static void on_tick(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	io_timer_set(owner, 5000);
}

static void run_ms(uint64_t ms, bool until_done)
{
	struct io_timer tick;
	uint64_t end = clock_now_us() + ms * 1000;
	io_timer_init(&tick, &loop, on_tick, &tick);
	io_timer_set(&tick, 0);
	while (clock_now_us() < end && !(until_done && job.calls)) io_loop_turn(&loop);
	io_timer_stop(&tick);
}

static struct mover_plan plan_of(enum mover_kind kind)
{
	return (
	    struct mover_plan){ .kind = kind, .from = &from.spec, .to = &to.spec, .mark = MARK };
}

static struct mover *begin(const struct mover_plan *plan)
{
	memset(&job, 0, sizeof(job));
	job.may_go_on = true;
	return mover_new(&loop, plan, &events, &job);
}

static json_int_t number(const struct mover *m, const char *name)
{
	json_t *j = mover_describe(m);
	ck_assert_ptr_nonnull(j);
	json_int_t v = json_integer_value(json_object_get(j, name));
	json_decref(j);
	return v;
}

static const char *text(const struct mover *m, const char *name)
{
	static char value[300];
	json_t *j = mover_describe(m);
	const char *s = json_string_value(json_object_get(j, name));
	snprintf(value, sizeof(value), "%s", s ? s : "");
	json_decref(j);
	return value;
}

/* Run a job to its end and return how many keys it moved or deleted. */
static json_int_t run_plan(const struct mover_plan *plan)
{
	struct mover *m = begin(plan);
	run_ms(100000, true);
	ck_assert_int_eq(job.calls, 1);
	json_int_t n = number(m, "moved") + number(m, "deleted");
	ck_assert_str_eq(text(m, "state"), job.ok ? "done" : "failed");
	mover_free(&m);
	return n;
}

static json_int_t run_job(enum mover_kind kind)
{
	struct mover_plan plan = plan_of(kind);
	json_int_t n = run_plan(&plan);
	ck_assert_msg(job.ok, "%s", job.why);
	return n;
}

static void run_fails(const struct mover_plan *plan, const char *why)
{
	run_plan(plan);
	ck_assert(!job.ok);
	ck_assert_str_eq(job.why, why);
}

/* --- servers ---------------------------------------------------------------------------------- */

static void connect_all(void)
{
	for (uint32_t i = 0; i < server_count; i++) rig_connect(&clients[i], servers[i].port);
}

static void hang_up_all(void)
{
	for (uint32_t i = 0; i < RIG_SERVERS; i++) rig_hang_up(&clients[i]);
}

/* From all servers but the last to all. */
static void grow(enum protocol protocol)
{
	static const int which[] = { 0, 1, 2, 3 };
	rig_pool_init(&from, protocol, servers, which, server_count - 1);
	rig_pool_init(&to, protocol, servers, which, server_count);
	connect_all();
}

static void setup(void)
{
	log_level_set(LOG_LEVEL_CRIT);
	signal(SIGPIPE, SIG_IGN);
	ck_assert(io_loop_init(&loop));
	memset(servers, 0, sizeof(servers));
	memset(clients, 0, sizeof(clients));
}

static void teardown(void)
{
	hang_up_all();
	rig_pool_fini(&from);
	rig_pool_fini(&to);
	for (int i = 0; i < RIG_SERVERS; i++) real_stop(&servers[i]);
	io_loop_fini(&loop);
}

static void setup_mc(void)
{
	setup();
	server_count = 3;
	for (uint32_t i = 0; i < server_count; i++) real_memcached(&servers[i]);
	grow(PROTOCOL_MEMCACHED);
}

static void put_marks(const char *mark)
{
	char line[64];
	for (uint32_t i = 0; i < server_count; i++) {
		fprintf(clients[i].out, "SET twinring:epoch %s\r\n", mark);
		ck_assert_str_eq(rig_ask(&clients[i], line, sizeof(line)), "+OK");
	}
}

static void setup_redis(void)
{
	setup();
	server_count = 3;
	for (uint32_t i = 0; i < server_count; i++) real_redis(&servers[i], "");
	grow(PROTOCOL_REDIS);
	put_marks(MARK);
}

static struct rig_client *client_of(uint16_t port)
{
	for (uint32_t i = 0; i < server_count; i++)
		if (servers[i].port == port) return &clients[i];
	abort();
}

static struct rig_client *source_of(const char *key)
{
	return client_of(rig_owner(&from, key));
}

static struct rig_client *target_of(const char *key)
{
	return client_of(rig_owner(&to, key));
}

static bool moves(const char *key)
{
	return source_of(key) != target_of(key);
}

static const char *name_of(int i)
{
	static char name[4][24];
	static int at;
	at = (at + 1) % 4;
	snprintf(name[at], sizeof(name[at]), "key:%d", i);
	return name[at];
}

/* The first of them. */
static const char *moving_key(void)
{
	static char key[24];
	int i = 0;
	while (!moves(name_of(i))) i++;
	snprintf(key, sizeof(key), "%s", name_of(i));
	return key;
}

static int moving_count(int keys)
{
	int n = 0;
	for (int i = 0; i < keys; i++) n += moves(name_of(i));
	return n;
}

/* --- memcached -------------------------------------------------------------------------------- */

static void mc_sync(struct rig_client *c)
{
	char line[64];
	fprintf(c->out, "mn\r\n");
	ck_assert_str_eq(rig_ask(c, line, sizeof(line)), "MN");
}

/* Quietly: mc_sync() when all is said. */
static void mc_set(struct rig_client *c, const char *key, unsigned flags, unsigned ttl,
		   const char *value)
{
	fprintf(c->out, "ms %s %zu F%u T%u q\r\n%s\r\n", key, strlen(value), flags, ttl, value);
}

/* The value, or "" on a miss; *flags_out and *ttl_out may be NULL. */
static const char *mc_get(struct rig_client *c, const char *key, unsigned *flags_out, int *ttl_out)
{
	static char value[256];
	char line[256];
	unsigned n, flags;
	int ttl;
	fprintf(c->out, "mg %s f t v\r\n", key);
	rig_ask(c, line, sizeof(line));
	if (!strcmp(line, "EN")) return "";
	ck_assert_msg(sscanf(line, "VA %u f%u t%d", &n, &flags, &ttl) == 3, "%s", line);
	ck_assert_uint_eq(fread(value, 1, n + 2, c->in), n + 2);
	value[n] = '\0';
	if (flags_out) *flags_out = flags;
	if (ttl_out) *ttl_out = ttl;
	return value;
}

static void mc_fill(int keys)
{
	for (int i = 0; i < keys; i++)
		mc_set(source_of(name_of(i)), name_of(i), (unsigned)i, i % 3 ? 0 : 5000,
		       name_of(i));
	for (uint32_t i = 0; i < server_count; i++) mc_sync(&clients[i]);
}

/* `make check-long` has it in full size. */
static int many_keys(void)
{
	return getenv("TWINRING_LONG") ? 200000 : 30000;
}

START_TEST(mc_moves)
{
	const int KEYS = many_keys();
	const char *taken = moving_key();
	mc_fill(KEYS);
	mc_set(target_of(taken), taken, 1, 0, "newer");
	mc_sync(target_of(taken));
	int moving = moving_count(KEYS);
	ck_assert_int_gt(moving, KEYS / 5);
	ck_assert_int_eq(run_job(MOVER_MOVE), moving - 1);
	ck_assert_str_eq(mc_get(target_of(taken), taken, NULL, NULL), "newer");
	for (int i = 0; i < KEYS; i += 7) {
		unsigned flags;
		int ttl;
		const char *key = name_of(i);
		if (!moves(key) || !strcmp(key, taken)) continue;
		ck_assert_str_eq(mc_get(target_of(key), key, &flags, &ttl), key);
		ck_assert_uint_eq(flags, (unsigned)i);
		ck_assert(i % 3 ? ttl == -1 : ttl > 4900 && ttl <= 5000);
	}
	/* again: nothing is left to do */
	ck_assert_int_eq(run_job(MOVER_MOVE), 0);
	ck_assert_int_eq(run_job(MOVER_SCRUB_SOURCES), moving);
	ck_assert_int_eq(run_job(MOVER_CHECK_EMPTY), 0);
}
END_TEST

START_TEST(mc_moves_back)
{
	enum { KEYS = 3000 };
	for (int i = 0; i < KEYS; i++) mc_set(target_of(name_of(i)), name_of(i), 0, 0, "v");
	for (uint32_t i = 0; i < server_count; i++) mc_sync(&clients[i]);
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.back = true;
	ck_assert_int_eq(run_plan(&plan), moving_count(KEYS));
	ck_assert(job.ok);
	for (int i = 0; i < KEYS; i++)
		ck_assert_str_eq(mc_get(source_of(name_of(i)), name_of(i), NULL, NULL), "v");
}
END_TEST

/* What stands at the source only as somebody's lease, or longer than its time, is no value. */
START_TEST(mc_moves_no_hollow_values)
{
	char line[100];
	const char *key = moving_key();
	struct rig_client *source = source_of(key);
	fprintf(source->out, "mg %s v N30\r\n", key);
	ck_assert_str_eq(rig_ask(source, line, sizeof(line)), "VA 0 W");
	ck_assert(rig_line(source, line, sizeof(line)));
	ck_assert_int_eq(run_job(MOVER_MOVE), 0);
	/* and the lease at the target is not left behind */
	ck_assert_str_eq(mc_get(target_of(key), key, NULL, NULL), "");
	fprintf(target_of(key)->out, "mg %s v N30\r\n", key);
	ck_assert_str_eq(rig_ask(target_of(key), line, sizeof(line)), "VA 0 W");
}
END_TEST

START_TEST(mc_long_ttl)
{
	const char *key = moving_key();
	int ttl;
	unsigned date = (unsigned)(clock_wall_us() / 1000000) + 100 * 86400;
	mc_set(source_of(key), key, 0, date, "v");
	mc_sync(source_of(key));
	ck_assert_int_eq(run_job(MOVER_MOVE), 1);
	ck_assert_str_eq(mc_get(target_of(key), key, NULL, &ttl), "v");
	ck_assert_int_gt(ttl, 100 * 86400 - 60);
	ck_assert_int_le(ttl, 100 * 86400 + 2);
}
END_TEST

START_TEST(mc_waits_for_anothers_lease)
{
	char line[100];
	const char *key = moving_key();
	mc_set(source_of(key), key, 0, 0, "v");
	mc_sync(source_of(key));
	fprintf(target_of(key)->out, "mg %s v N2\r\n", key); /* and dies */
	ck_assert_str_eq(rig_ask(target_of(key), line, sizeof(line)), "VA 0 W");
	ck_assert(rig_line(target_of(key), line, sizeof(line)));
	ck_assert_int_eq(run_job(MOVER_MOVE), 1);
	ck_assert_str_eq(mc_get(target_of(key), key, NULL, NULL), "v");
}
END_TEST

START_TEST(mc_scrubs_targets)
{
	enum { KEYS = 20000 };
	/* c2 is new and has junk; c0 and c1 have junk of each other's keys, which do not move */
	for (int i = 0; i < KEYS; i++)
		for (uint32_t s = 0; s < server_count; s++)
			mc_set(&clients[s], name_of(i), 0, 0, "junk");
	const char *odd = "odd%25key\xc3\xa9\"";
	mc_set(&clients[2], odd, 0, 0, "junk");
	for (uint32_t i = 0; i < server_count; i++) mc_sync(&clients[i]);
	ck_assert_int_eq(run_job(MOVER_SCRUB_TARGETS), moving_count(KEYS) + moves(odd));
	for (int i = 0; i < KEYS; i += 3) {
		const char *key = name_of(i);
		ck_assert_str_eq(mc_get(source_of(key), key, NULL, NULL), "junk");
		if (moves(key)) ck_assert_str_eq(mc_get(target_of(key), key, NULL, NULL), "");
	}
	ck_assert_str_eq(mc_get(&clients[2], odd, NULL, NULL), moves(odd) ? "" : "junk");
}
END_TEST

START_TEST(mc_scrub_of_a_new_empty_server_asks_for_no_list)
{
	char line[100];
	json_int_t scanned;
	struct mover_plan plan = plan_of(MOVER_SCRUB_TARGETS);
	mc_set(&clients[0], "a", 0, 0, "v");
	mc_sync(&clients[0]);
	struct mover *m = begin(&plan);
	run_ms(10000, true);
	ck_assert(job.ok);
	scanned = number(m, "scanned");
	ck_assert_int_eq(scanned, 1); /* of c0, an old one that gets keys of none */
	mover_free(&m);
	fprintf(clients[2].out, "stats\r\n");
	rig_ask(&clients[2], line, sizeof(line));
	while (strcmp(line, "END") != 0 && !strstr(line, "lru_crawler_starts"))
		ck_assert(rig_line(&clients[2], line, sizeof(line)));
	ck_assert_ptr_nonnull(strstr(line, "lru_crawler_starts"));
}
END_TEST

/* Without a crawler, c2 cannot say what it has. */
START_TEST(mc_that_cannot_list)
{
	char *argv[] = { "memcached", "-l", "127.0.0.1",      "-U", "0",  "-u", "nobody", "-t",
			 "1",	      "-o", "no_lru_crawler", "-p", NULL, NULL };
	real_stop(&servers[2]);
	real_start(&servers[2], argv, 12);
	hang_up_all();
	connect_all();
	mc_set(&clients[2], "junk", 0, 0, "v");
	mc_sync(&clients[2]);
	ck_assert_int_eq(run_job(MOVER_SCRUB_TARGETS), 1); /* it owns nothing: emptied */
	ck_assert_str_eq(mc_get(&clients[2], "junk", NULL, NULL), "");
	mc_set(&clients[2], "mine", 0, 0, "v");
	mc_sync(&clients[2]);
	struct mover_plan plan = plan_of(MOVER_SCRUB_TARGETS);
	struct rig_pool less;
	rig_pool_init(&less, PROTOCOL_MEMCACHED, servers, (const int[]){ 1, 2 }, 2);
	plan.from = &to.spec; /* from three to two: it has keys and gets more */
	plan.to = &less.spec;
	run_fails(&plan, "c2: cannot scrub: lru_crawler: CLIENT_ERROR lru crawler disabled");
	ck_assert_str_eq(mc_get(&clients[2], "mine", NULL, NULL), "v");
	rig_pool_fini(&less);
}
END_TEST

/* --- a source that answers when the test wants ------------------------------------------------ */

/* Has one key, and says so; what happens between its answer to the reader and the answer's arrival
 * is the test's. */
static struct slow_source {
	struct fake fake;
	struct io_watch watches[8];
	int fds[8], count;
	const char *key;
	void (*meanwhile)(const char *key);
	int reads;
} slow;

static void slow_on_data(int fd, short what, void *owner)
{
	(void)what;
	struct slow_source *s = owner;
	char data[1024], line[400];
	ssize_t n = read(fd, data, sizeof(data) - 1);
	if (n <= 0) {
		for (int i = 0; i < s->count; i++)
			if (s->fds[i] == fd) io_watch_stop(&s->watches[i]);
		return;
	}
	data[n] = '\0';
	if (!strcmp(data, "version\r\n")) fake_say(fd, "VERSION 1.6.18\r\n");
	else if (!strcmp(data, "stats\r\n"))
		fake_say(fd, "STAT version 1.6.18\r\nSTAT curr_items 1\r\nEND\r\n");
	else if (!strncmp(data, "lru_crawler", 11)) {
		snprintf(line, sizeof(line), "key=%s exp=-1 la=1 cas=9 fetch=no cls=1 size=60\n",
			 s->key);
		fake_say(fd, line);
		fake_say(fd, "END\r\n");
	} else {
		snprintf(line, sizeof(line), "mg %s v f t\r\n", s->key);
		ck_assert_str_eq(data, line);
		s->reads++;
		s->meanwhile(s->key);
		fake_say(fd, "VA 3 f7 t-1\r\nold\r\n");
	}
}

static void slow_on_accept(int fd, short what, void *owner)
{
	(void)what;
	struct slow_source *s = owner;
	int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(conn, 0);
	ck_assert_int_lt(s->count, 8);
	s->fds[s->count] = conn;
	io_watch_init(&s->watches[s->count], &loop, conn, slow_on_data, s);
	io_watch_set(&s->watches[s->count++], IO_READ);
}

static void nothing_happens(const char *key)
{
	(void)key;
}

static void somebody_writes(const char *key)
{
	mc_set(target_of(key), key, 0, 0, "new");
	mc_sync(target_of(key));
}

static void somebody_deletes(const char *key)
{
	char line[64];
	fprintf(target_of(key)->out, "md %s\r\n", key);
	ck_assert_str_eq(rig_ask(target_of(key), line, sizeof(line)), "HD");
}

static void somebody_deletes_and_asks(const char *key)
{
	char line[64];
	somebody_deletes(key);
	fprintf(target_of(key)->out, "mg %s c N30\r\n", key);
	ck_assert_ptr_nonnull(strstr(rig_ask(target_of(key), line, sizeof(line)), "W"));
}

static const struct {
	void (*meanwhile)(const char *key);
	const char *left; /* at the target */
	int moved;
} races[] = {
	{ nothing_happens, "old", 1 },
	{ somebody_writes, "new", 0 },
	{ somebody_deletes, "", 0 },
	{ somebody_deletes_and_asks, "", 0 },
};

START_TEST(mc_what_is_newer_stays)
{
	memset(&slow, 0, sizeof(slow));
	slow.meanwhile = races[_i].meanwhile;
	slow.key = strdup(moving_key());
	struct server_spec *source = from.servers;
	while (source->port != rig_owner(&from, slow.key)) source++;
	/* the names stay, and so does the ring; only where the source is changes */
	slow.fake.fd = fake_bind(&slow.fake.port);
	ck_assert_int_eq(listen(slow.fake.fd, 16), 0);
	io_watch_init(&slow.fake.watch, &loop, slow.fake.fd, slow_on_accept, &slow);
	io_watch_set(&slow.fake.watch, IO_READ);
	to.servers[source - from.servers].port = slow.fake.port;
	source->port = slow.fake.port;
	ck_assert_int_eq(run_job(MOVER_MOVE), races[_i].moved);
	ck_assert_int_eq(slow.reads, 1);
	ck_assert_str_eq(mc_get(client_of(rig_owner(&to, slow.key)), slow.key, NULL, NULL),
			 races[_i].left);
	for (int i = 0; i < slow.count; i++) {
		io_watch_stop(&slow.watches[i]);
		close(slow.fds[i]);
	}
	io_watch_stop(&slow.fake.watch);
	close(slow.fake.fd);
	free((char *)slow.key);
}
END_TEST

/* --- with proxies at work --------------------------------------------------------------------- */

enum { WRITERS = 2, BUSY_KEYS = 1500, BUSY_ROUNDS = 4, BUSY_US = 100 };

/* Does with moving keys what proxies do in DUAL, and checks what it sees: a key's values are
 * numbered, and none below `floor` may be seen again. */
struct writer {
	pthread_t thread;
	_Atomic bool stop;
	unsigned seed;
	int first; /* every WRITERS-th key is its own */
	struct rig_client own[RIG_SERVERS];
	long floor[BUSY_KEYS], version[BUSY_KEYS];
	char keys[BUSY_KEYS][24];
	long ops, promoted;
	const char *mark;
	char wrong[200]; /* "": nothing */
};

static struct rig_client *own_client(struct writer *w, const struct rig_client *c)
{
	return &w->own[c - clients];
}

static void writer_init(struct writer *w, int first)
{
	memset(w, 0, sizeof(*w));
	w->first = first;
	w->seed = (unsigned)first + 1;
	for (uint32_t i = 0; i < server_count; i++) rig_connect(&w->own[i], servers[i].port);
	for (int k = 0, i = 0; k < BUSY_KEYS; i++)
		if (moves(name_of(i))) snprintf(w->keys[k++], sizeof(w->keys[0]), "%s", name_of(i));
}

static void writer_start(struct writer *w, void *(*run)(void *))
{
	w->stop = false;
	ck_assert_int_eq(pthread_create(&w->thread, NULL, run, w), 0);
}

static void writer_stop(struct writer *w)
{
	w->stop = true;
	pthread_join(w->thread, NULL);
}

static void writer_fini(struct writer *w)
{
	for (uint32_t i = 0; i < server_count; i++) rig_hang_up(&w->own[i]);
	ck_assert_int_gt(w->ops, 100);
}

static void mc_tell(struct rig_client *c, const char *key, const char *command, const char *rest)
{
	char line[100];
	fprintf(c->out, "%s %s%s\r\n", command, key, rest);
	rig_ask(c, line, sizeof(line));
}

/* The number of a value that is there, else -1. *token_out: the lease, 0: not ours. */
static long mc_number(struct rig_client *c, const char *key, const char *flags,
		      unsigned long long *token_out)
{
	char line[100], value[100];
	unsigned n;
	fprintf(c->out, "mg %s v c%s\r\n", key, flags);
	rig_ask(c, line, sizeof(line));
	*token_out = 0;
	if (sscanf(line, "VA %u", &n) != 1) return -1;
	rig_line(c, value, sizeof(value));
	if (strchr(line, 'W')) *token_out = strtoull(strchr(line, 'c') + 1, NULL, 10);
	return strchr(line, 'W') || strchr(line, 'Z') ? -1 : atol(value);
}

static void mc_read(struct writer *w, int k, struct rig_client *o, struct rig_client *n)
{
	unsigned long long token, ignored;
	char rest[80];
	const char *key = w->keys[k];
	long v = mc_number(n, key, " N5", &token);
	if (v < 0) {
		v = mc_number(o, key, "", &ignored);
		if (token && v < 0) snprintf(rest, sizeof(rest), " C%llu", token);
		else if (token) snprintf(rest, sizeof(rest), " 12 C%llu\r\n%012ld", token, v);
		if (token) mc_tell(n, key, v < 0 ? "md" : "ms", rest);
		w->promoted += token && v >= 0;
	}
	if (v >= 0 && v < w->floor[k])
		snprintf(w->wrong, sizeof(w->wrong), "%s: %ld after %ld", key, v, w->floor[k]);
}

static void *mc_writer(void *arg)
{
	struct writer *w = arg;
	for (; !w->stop && !w->wrong[0]; w->ops++) {
		int k =
		    (int)((unsigned)rand_r(&w->seed) % (BUSY_KEYS / WRITERS)) * WRITERS + w->first;
		struct rig_client *o = own_client(w, source_of(w->keys[k]));
		struct rig_client *n = own_client(w, target_of(w->keys[k]));
		char value[32];
		usleep(BUSY_US); /* leave some keys to the mover */
		switch (rand_r(&w->seed) % 8) {
		case 0:
		case 1:
		case 2:
			mc_tell(o, w->keys[k], "md", "");
			w->floor[k] = ++w->version[k];
			snprintf(value, sizeof(value), " 12\r\n%012ld", w->version[k]);
			mc_tell(n, w->keys[k], "ms", value);
			break;
		case 3:
			mc_tell(o, w->keys[k], "md", "");
			mc_tell(n, w->keys[k], "md", "");
			w->floor[k] = ++w->version[k];
			break;
		case 4: mc_tell(n, w->keys[k], "md", ""); break; /* evicted */
		default: mc_read(w, k, o, n); break;
		}
	}
	return NULL;
}

/* A new value of each of a writer's keys, at the source. */
static void mc_seed(struct writer *w)
{
	char value[32];
	for (int k = w->first; k < BUSY_KEYS; k += WRITERS) {
		w->floor[k] = ++w->version[k];
		snprintf(value, sizeof(value), "%012ld", w->version[k]);
		mc_tell(target_of(w->keys[k]), w->keys[k], "md", "");
		mc_set(source_of(w->keys[k]), w->keys[k], 0, 0, value);
	}
	for (uint32_t i = 0; i < server_count; i++) mc_sync(&clients[i]);
}

/* Nothing is, or was, too old. */
static void mc_look(struct writer *w)
{
	for (int k = w->first; k < BUSY_KEYS; k += WRITERS)
		mc_read(w, k, own_client(w, source_of(w->keys[k])),
			own_client(w, target_of(w->keys[k])));
	ck_assert_str_eq(w->wrong, "");
}

START_TEST(mc_moves_while_proxies_work)
{
	static struct writer writers[WRITERS];
	json_int_t moved = 0;
	for (int i = 0; i < WRITERS; i++) writer_init(&writers[i], i);
	for (int round = 0; round < BUSY_ROUNDS; round++) {
		for (int i = 0; i < WRITERS; i++) mc_seed(&writers[i]);
		for (int i = 0; i < WRITERS; i++) writer_start(&writers[i], mc_writer);
		moved += run_job(MOVER_MOVE);
		for (int i = 0; i < WRITERS; i++) writer_stop(&writers[i]);
		for (int i = 0; i < WRITERS; i++) mc_look(&writers[i]);
	}
	for (int i = 0; i < WRITERS; i++) writer_fini(&writers[i]);
	ck_assert_int_gt(moved, BUSY_ROUNDS * BUSY_KEYS / 4);
}
END_TEST

/* --- Redis ------------------------------------------------------------------------------------ */

/* Answers are read by redis_sync(). */
static void redis_say(struct rig_client *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static uint32_t unread[RIG_SERVERS];

static void redis_say(struct rig_client *c, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(c->out, format, args);
	va_end(args);
	fputs("\r\n", c->out);
	unread[c - clients]++;
}

static void redis_sync(void)
{
	char line[200];
	for (uint32_t i = 0; i < server_count; i++) {
		fflush(clients[i].out);
		for (; unread[i] > 0; unread[i]--) {
			ck_assert(rig_line(&clients[i], line, sizeof(line)));
			ck_assert_msg(line[0] != '-', "%s", line);
		}
	}
}

static void redis_fill(int keys)
{
	for (int i = 0; i < keys; i++) {
		const char *key = name_of(i);
		if (i % 4 == 0) redis_say(source_of(key), "HSET %s f %d", key, i);
		else if (i % 4 == 1) redis_say(source_of(key), "SET %s %d EX 5000", key, i);
		else redis_say(source_of(key), "SET %s %d", key, i);
		if (i % 1000 == 999) redis_sync();
	}
	redis_sync();
}

static long long redis_number(struct rig_client *c, const char *command, const char *key)
{
	char line[200];
	fprintf(c->out, "%s %s\r\n", command, key);
	rig_ask(c, line, sizeof(line));
	ck_assert_msg(line[0] == ':', "%s: %s", command, line);
	return atoll(line + 1);
}

static const char *redis_get(struct rig_client *c, const char *command, const char *key,
			     const char *more)
{
	static char value[4096];
	fprintf(c->out, "%s %s %s\r\n", command, key, more);
	const char *v = rig_bulk(c, value, sizeof(value));
	return v ? v : "";
}

static void redis_check(int keys, int step)
{
	char expected[16];
	for (int i = 0; i < keys; i += step) {
		const char *key = name_of(i);
		struct rig_client *c = target_of(key);
		snprintf(expected, sizeof(expected), "%d", i);
		if (i % 4 == 0) ck_assert_str_eq(redis_get(c, "HGET", key, "f"), expected);
		else ck_assert_str_eq(redis_get(c, "GET", key, ""), expected);
		long long ttl = redis_number(c, "TTL", key);
		ck_assert(i % 4 == 1 ? ttl > 4900 && ttl <= 5000 : ttl == -1);
		if (moves(key)) ck_assert_int_eq(redis_number(source_of(key), "EXISTS", key), 0);
	}
}

START_TEST(redis_moves)
{
	const int KEYS = many_keys();
	redis_fill(KEYS);
	int moving = moving_count(KEYS);
	struct mover_plan check = plan_of(MOVER_CHECK_EMPTY);
	char why[100];
	snprintf(why, sizeof(why), "%d moving keys are left at their sources", moving);
	run_fails(&check, why);
	ck_assert_int_eq(run_job(MOVER_MOVE), moving);
	redis_check(KEYS, 11);
	run_job(MOVER_CHECK_EMPTY);
	ck_assert_int_eq(run_job(MOVER_MOVE), 0);
	/* and back, which takes a mark of its own */
	put_marks("7.5");
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.back = true;
	plan.mark = "7.5";
	ck_assert_int_eq(run_plan(&plan), moving);
	ck_assert(job.ok);
	ck_assert_int_eq(redis_number(&clients[2], "DBSIZE", ""), 1 + 1); /* epoch, moved:7.3 */
}
END_TEST

/* What was deleted at the target in this epoch does not come back. */
START_TEST(redis_deleted_keys_stay_deleted)
{
	const char *key = moving_key();
	redis_say(source_of(key), "SET %s old", key);
	redis_say(target_of(key), "HSET twinring:moved:" MARK " %s 1", key);
	redis_sync();
	run_job(MOVER_MOVE);
	ck_assert_int_eq(redis_number(target_of(key), "EXISTS", key), 0);
	ck_assert_int_eq(redis_number(source_of(key), "EXISTS", key), 0);
}
END_TEST

START_TEST(redis_binary_keys)
{
	static const char key[] = { '\r', '\n', 0, ' ', (char)0xff, '"' };
	char line[100];
	for (uint32_t s = 0; s < 2; s++) { /* on whichever it is not, it does not move */
		fprintf(clients[s].out, "*3\r\n$3\r\nSET\r\n$%zu\r\n", sizeof(key));
		fwrite(key, 1, sizeof(key), clients[s].out);
		fprintf(clients[s].out, "\r\n$2\r\n\r\n\r\n");
		ck_assert_str_eq(rig_ask(&clients[s], line, sizeof(line)), "+OK");
	}
	struct slice k = { key, sizeof(key) };
	uint32_t new = ring_lookup(to.ring, k, NULL), old = ring_lookup(from.ring, k, NULL);
	ck_assert_int_eq(run_job(MOVER_MOVE), new != old);
	ck_assert_int_eq(redis_number(&clients[2], "DBSIZE", ""), new == 2 ? 3 : 1);
}
END_TEST

START_TEST(redis_big_keys)
{
	static char value[200001];
	enum { KEYS = 2000 };
	char big[40];
	const char *key = moving_key();
	memset(value, 'x', sizeof(value) - 1);
	redis_fill(KEYS);
	fprintf(source_of(key)->out, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$200000\r\n%s\r\n",
		strlen(key), key, value);
	rig_ask(source_of(key), big, sizeof(big));
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.move_max_bytes = 100000;
	struct mover *m = begin(&plan);
	run_ms(60000, true);
	ck_assert_msg(strncmp(job.why, "1 keys are too large to be moved, like ", 39) == 0, "%s",
		      job.why);
	ck_assert_int_eq(number(m, "moved"), moving_count(KEYS) - 1);
	ck_assert_int_eq(number(m, "big_key_count"), 1);
	mover_free(&m);
	snprintf(big, sizeof(big), "c%d %s", (int)(source_of(key) - clients), key);
	ck_assert_int_eq(job.bigs, 1);
	ck_assert_str_eq(job.big, big);
	ck_assert_uint_gt(job.big_bytes, 200000);
	ck_assert_int_eq(redis_number(source_of(key), "EXISTS", key), 1);
	plan.move_max_bytes = 300000;
	ck_assert_int_eq(run_plan(&plan), 1);
	ck_assert(job.ok);
}
END_TEST

/* Every server is a source and a target of every other one; one is stopped until more is under way
 * to it than may be. */
START_TEST(redis_large_values_both_ways)
{
	enum { KEYS = 300, BYTES = 600000 };
	static char value[BYTES + 1];
	char line[100];
	int incoming[RIG_SERVERS] = { 0 }, busy = 0; /* the target of most large values */
	for (size_t i = 0; i < BYTES; i++) value[i] = (char)('A' + random() % 26);
	rig_pool_fini(&from);
	rig_pool_fini(&to);
	rig_pool_init(&from, PROTOCOL_REDIS, servers, (const int[]){ 0, 1, 2 }, 3);
	rig_pool_init(&to, PROTOCOL_REDIS, servers, (const int[]){ 0, 1, 2 }, 3);
	rig_pool_fini(&to);
	to.spec.distribution = RING_MODULA; /* nearly all keys move */
	ck_assert_int_eq(pool_ring_build(&to.spec, &to.ring), ERR_NONE);
	for (int i = 0; i < KEYS; i++) {
		struct rig_client *c = source_of(name_of(i));
		incoming[target_of(name_of(i)) - clients] += moves(name_of(i)) && i % 2;
		fprintf(c->out, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%d\r\n%.*s\r\n",
			strlen(name_of(i)), name_of(i), i % 2 ? BYTES : 10, i % 2 ? BYTES : 10,
			value);
		ck_assert_str_eq(rig_ask(c, line, sizeof(line)), "+OK");
	}
	for (int i = 1; i < 3; i++)
		if (incoming[i] > incoming[busy]) busy = i;
	ck_assert_int_gt(incoming[busy], 20);
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.limits.bytes_held_max = 2 << 20;
	plan.limits.keys_per_s = 1; /* until it is known who all are */
	struct mover *m = begin(&plan);
	while (number(m, "bytes") == 0) run_ms(1, true);
	kill(servers[busy].pid, SIGSTOP);
	plan.limits.keys_per_s = 0;
	mover_throttle(m, &plan.limits);
	json_int_t held = 0;
	/* at least so long, that more could come; then until it is reached */
	for (int turns = 0; turns < 50 || (turns < 1500 && held <= 1 << 20); turns++) {
		run_ms(5, true);
		if (number(m, "held") > held) held = number(m, "held");
	}
	kill(servers[busy].pid, SIGCONT);
	ck_assert_msg(job.calls == 0, "%s", job.why);
	ck_assert_int_gt(held, 1 << 20); /* not read on before there is less than half */
	ck_assert_int_lt(held, (2 << 20) + 2 * BYTES);
	run_ms(30000, true);
	ck_assert_msg(job.ok, "%s", job.why);
	ck_assert_int_eq(number(m, "moved"), moving_count(KEYS));
	ck_assert_int_gt(number(m, "moved"), KEYS / 2);
	mover_free(&m);
	for (int i = 0; i < KEYS; i++)
		ck_assert_int_eq(redis_number(target_of(name_of(i)), "STRLEN", name_of(i)),
				 i % 2 ? BYTES : 10);
}
END_TEST

START_TEST(redis_scrubs_targets)
{
	enum { KEYS = 5000 };
	for (int i = 0; i < KEYS; i++) {
		for (uint32_t s = 0; s < server_count; s++)
			redis_say(&clients[s], "SET %s junk", name_of(i));
		if (i % 500 == 499) redis_sync();
	}
	redis_sync();
	ck_assert_int_eq(run_job(MOVER_SCRUB_TARGETS), moving_count(KEYS));
	for (int i = 0; i < KEYS; i += 3) {
		const char *key = name_of(i);
		if (moves(key)) ck_assert_int_eq(redis_number(target_of(key), "EXISTS", key), 0);
		ck_assert_int_eq(redis_number(source_of(key), "EXISTS", key), 1);
	}
}
END_TEST

START_TEST(redis_another_mark)
{
	struct mover_plan plan = plan_of(MOVER_MOVE);
	redis_fill(100);
	put_marks("8.1");
	char expected[300];
	run_plan(&plan);
	ck_assert(!job.ok);
	snprintf(expected, sizeof(expected),
		 "%.2s: mark 7.3 is not in force there: it was started anew, or another transition "
		 "has begun",
		 job.why);
	ck_assert_str_eq(job.why, expected);
	plan.kind = MOVER_SCRUB_TARGETS;
	for (uint32_t s = 0; s < server_count; s++)
		redis_say(&clients[s], "MSET key:1 a key:2 a key:3 a key:4 a key:5 a key:6 a");
	redis_sync();
	run_plan(&plan);
	ck_assert(!job.ok);
	ck_assert_int_eq(redis_number(&clients[2], "DBSIZE", ""), 7);
	plan.mark = NULL;
	run_fails(&plan, "no mark was given");
}
END_TEST

static void *real_redis_again(void *server)
{
	real_redis(server, "");
	return NULL;
}

/* While the job goes on: it would notice if it were left waiting. */
static void restart_meanwhile(struct real *server)
{
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, real_redis_again, server), 0);
	while (pthread_tryjoin_np(thread, NULL) != 0) run_ms(5, false);
}

/* It comes again empty, and without the mark: what was there is lost, and nobody shall guess. */
START_TEST(redis_restarted_in_the_middle)
{
	redis_fill(20000);
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.limits.keys_per_s = 1000;
	struct mover *m = begin(&plan);
	run_ms(500, true);
	ck_assert_msg(job.calls == 0, "%s", job.why);
	ck_assert_int_gt(number(m, "moved"), 0);
	real_stop(&servers[2]);
	run_ms(200, true);
	ck_assert_str_eq(text(m, "state"), "waiting");
	ck_assert_ptr_nonnull(strstr(text(m, "last_error"), "c2: "));
	restart_meanwhile(&servers[2]);
	run_ms(20000, true);
	ck_assert_int_eq(job.calls, 1);
	ck_assert(!job.ok);
	ck_assert_ptr_nonnull(strstr(job.why, "c2: mark 7.3 is not in force there"));
	mover_free(&m);
}
END_TEST

START_TEST(redis_of_another_database_with_a_password)
{
	char line[100];
	server_count = 2;
	hang_up_all();
	for (int i = 0; i < 3; i++) real_stop(&servers[i]);
	rig_pool_fini(&from);
	rig_pool_fini(&to);
	for (uint32_t i = 0; i < server_count; i++) real_redis(&servers[i], "sesame");
	grow(PROTOCOL_REDIS);
	from.spec.auth_password = to.spec.auth_password = "sesame";
	from.spec.redis_db = to.spec.redis_db = 3;
	for (uint32_t i = 0; i < server_count; i++) {
		fprintf(clients[i].out, "AUTH sesame\r\nSELECT 3\r\n");
		ck_assert_str_eq(rig_ask(&clients[i], line, sizeof(line)), "+OK");
		ck_assert_str_eq(rig_ask(&clients[i], line, sizeof(line)), "+OK");
	}
	put_marks(MARK);
	redis_fill(1000);
	ck_assert_int_eq(run_job(MOVER_MOVE), moving_count(1000));
	redis_check(1000, 1);
	struct mover_plan plan = plan_of(MOVER_CHECK_EMPTY);
	from.spec.auth_password = "wrong";
	struct mover *m = begin(&plan);
	run_ms(300, true);
	ck_assert_msg(job.calls == 0, "%s", job.why);
	ck_assert_ptr_nonnull(strstr(text(m, "last_error"), "greeting: -WRONGPASS"));
	mover_free(&m);
}
END_TEST

/* --- with proxies at work, again -------------------------------------------------------------- */

/* Sends what is in `request`; the first line of the answer. */
static const char *script_ask(struct rig_client *c, struct scratch *request, char *line, size_t cap)
{
	fwrite(request->p, 1, request->n, c->out);
	scratch_clear(request);
	return rig_ask(c, line, cap);
}

/* As a proxy does before it runs anything at `n`. */
static bool redis_import_key(struct rig_client *o, struct rig_client *n, const char *mark,
			     struct slice key)
{
	char line[200], value[300];
	struct scratch request = { 0 };
	bool good = false;
	redis_import_put_dump(&request, key, mark, 0);
	script_ask(o, &request, line, sizeof(line));
	if (line[0] == '$') good = true; /* nil: not there (any more) */
	else if (line[0] == '*') {
		rig_line(o, line, sizeof(line));
		struct redis_dump dump = { { value, strtoull(line + 1, NULL, 10) + 2 }, -1 };
		bool read = fread(value, 1, dump.value.n, o->in) == dump.value.n;
		rig_line(o, line, sizeof(line));
		redis_import_put_restore(&request, key, mark, &dump);
		scratch_puts(&request, dump.value);
		good = read && script_ask(n, &request, line, sizeof(line))[0] == ':';
		redis_import_put_unlink(&request, key, mark);
		good = good && script_ask(o, &request, line, sizeof(line))[0] == ':';
	}
	scratch_fini(&request);
	return good;
}

/* Counts up, and deletes now and then; what it counted must be what is there. */
static void *redis_writer(void *arg)
{
	struct writer *w = arg;
	char line[200];
	for (; !w->stop && !w->wrong[0]; w->ops++) {
		int k =
		    (int)((unsigned)rand_r(&w->seed) % (BUSY_KEYS / WRITERS)) * WRITERS + w->first;
		const char *key = w->keys[k];
		struct rig_client *o = own_client(w, source_of(key)),
				  *n = own_client(w, target_of(key));
		bool delete = rand_r(&w->seed) % 8 == 0;
		usleep(BUSY_US);
		if (!redis_import_key(o, n, w->mark, slice_of(key)))
			snprintf(w->wrong, sizeof(w->wrong), "%s: import failed", key);
		fprintf(n->out, "%s %s\r\n", delete ? "DEL" : "INCR", key);
		rig_ask(n, line, sizeof(line));
		w->version[k] = delete ? 0 : w->version[k] + 1;
		if (!delete &&atol(line + 1) != w->version[k])
			snprintf(w->wrong, sizeof(w->wrong), "%s: %.99s instead of %ld", key, line,
				 w->version[k]);
	}
	return NULL;
}

/* All of a writer's keys are at the source again, with the counts that they had. */
static void redis_seed(struct writer *w, const char *mark)
{
	w->mark = mark;
	for (int k = w->first; k < BUSY_KEYS; k += WRITERS) {
		redis_say(target_of(w->keys[k]), "DEL %s", w->keys[k]);
		redis_say(source_of(w->keys[k]), "SET %s %ld", w->keys[k], w->version[k]);
	}
	redis_sync();
}

START_TEST(redis_moves_while_proxies_work)
{
	static struct writer writers[WRITERS];
	char mark[16] = MARK;
	json_int_t moved = 0;
	struct mover_plan plan = plan_of(MOVER_MOVE);
	for (int i = 0; i < WRITERS; i++) writer_init(&writers[i], i);
	for (int round = 0; round < BUSY_ROUNDS; round++) {
		snprintf(mark, sizeof(mark), "7.%d", round);
		plan.mark = mark;
		put_marks(mark);
		for (int i = 0; i < WRITERS; i++) redis_seed(&writers[i], mark);
		for (int i = 0; i < WRITERS; i++) writer_start(&writers[i], redis_writer);
		moved += run_plan(&plan);
		ck_assert_msg(job.ok, "%s", job.why);
		run_job(MOVER_CHECK_EMPTY);
		for (int i = 0; i < WRITERS; i++) writer_stop(&writers[i]);
		for (int i = 0; i < WRITERS; i++) ck_assert_str_eq(writers[i].wrong, "");
	}
	for (int i = 0; i < WRITERS; i++) writer_fini(&writers[i]);
	ck_assert_int_gt(moved, BUSY_ROUNDS * BUSY_KEYS / 4);
	for (int i = 0; i < WRITERS; i++)
		for (int k = i; k < BUSY_KEYS; k += WRITERS) {
			const char *v =
			    redis_get(target_of(writers[i].keys[k]), "GET", writers[i].keys[k], "");
			ck_assert_int_eq(atol(v), writers[i].version[k]);
		}
}
END_TEST

/* --- pace, pause, ends ------------------------------------------------------------------------ */

START_TEST(pace_and_pause)
{
	redis_fill(20000);
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.limits.keys_per_s = 500; /* of each of two sources */
	struct mover *m = begin(&plan);
	run_ms(2200, true);
	json_int_t moved = number(m, "moved");
	ck_assert_int_gt(moved, 100); /* the machine may be busy with other tests */
	ck_assert_int_lt(moved, 2600);
	ck_assert_int_ge(job.progress, 1);
	ck_assert_int_gt(number(m, "rate"), 50);
	ck_assert_int_lt(number(m, "rate"), 1500);
	json_int_t left = moving_count(20000) - moved;
	ck_assert_int_gt(number(m, "left"), left * 8 / 10);
	ck_assert_int_lt(number(m, "left"), left * 12 / 10);
	ck_assert_int_gt(number(m, "eta_s"), 0);
	mover_pause(m, true);
	run_ms(300, true);
	moved = number(m, "moved");
	run_ms(300, true);
	ck_assert_int_eq(number(m, "moved"), moved);
	ck_assert_str_eq(text(m, "state"), "paused");
	mover_pause(m, false);
	mover_throttle(m, &(struct mover_limits){ 0 });
	run_ms(30000, true);
	ck_assert(job.ok);
	ck_assert_int_eq(number(m, "moved"), moving_count(20000));
	mover_free(&m);
	redis_check(20000, 13);
}
END_TEST

START_TEST(bytes_per_second)
{
	static char value[10001];
	/* of what DUMP cannot make smaller */
	for (size_t i = 0; i < sizeof(value) - 1; i++) value[i] = (char)('A' + random() % 26);
	for (int i = 0; i < 600; i++)
		redis_say(source_of(name_of(i)), "SET %s %s", name_of(i), value);
	redis_sync();
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.limits.bytes_per_s = 500000;
	struct mover *m = begin(&plan);
	run_ms(1000, true);
	json_int_t bytes = number(m, "bytes");
	ck_assert_int_gt(bytes, 0);
	ck_assert_int_lt(bytes, 900000);
	run_ms(1000, true);
	ck_assert_int_gt(number(m, "bytes"), bytes);
	ck_assert_int_lt(number(m, "bytes") - bytes, 900000);
	mover_throttle(m, &(struct mover_limits){ 0 });
	run_ms(20000, true);
	ck_assert(job.ok);
	mover_free(&m);
}
END_TEST

START_TEST(who_does_not_lead_stops)
{
	redis_fill(5000);
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.limits.keys_per_s = 200;
	struct mover *m = begin(&plan);
	run_ms(300, true);
	job.may_go_on = false;
	run_ms(100, true);
	ck_assert_str_eq(job.why, "this agent does not lead the transition any more");
	mover_free(&m);
	ck_assert_int_gt(redis_number(&clients[0], "DBSIZE", ""), 1000);
}
END_TEST

START_TEST(who_slept_stops)
{
	redis_fill(5000);
	struct mover_plan plan = plan_of(MOVER_MOVE);
	plan.limits.keys_per_s = 200;
	struct mover *m = begin(&plan);
	run_ms(300, true);
	json_int_t moved = number(m, "moved");
	usleep(2300000);
	run_ms(100, true);
	ck_assert_str_eq(job.why, "the agent was stopped for 2 s");
	ck_assert_int_eq(number(m, "moved"), moved);
	mover_free(&m);
}
END_TEST

START_TEST(a_job_may_be_freed_at_any_time)
{
	redis_fill(5000);
	struct mover_plan plan = plan_of(MOVER_MOVE);
	for (int i = 0; i < 30; i++) {
		struct mover *m = begin(&plan);
		run_ms((uint64_t)i, true);
		mover_free(&m);
		ck_assert_ptr_null(m);
		run_ms(2, true);
	}
	job.free_in_done = begin(&plan);
	run_ms(30000, true);
	ck_assert_int_eq(job.calls, 1);
	ck_assert(job.ok);
	ck_assert_ptr_null(job.free_in_done);
	redis_check(5000, 1);
}
END_TEST

/* Each would be deleted as the copy of itself. */
START_TEST(two_names_for_one_server)
{
	struct mover_plan plan = plan_of(MOVER_MOVE);
	redis_fill(500);
	to.servers[2].host = "localhost";
	to.servers[2].port = servers[0].port;
	run_plan(&plan);
	ck_assert(!job.ok);
	ck_assert_ptr_nonnull(strstr(job.why, "it is the same server as"));
	to.servers[2].host = "127.0.0.1";
	run_fails(&plan, "c0: it is the same server as c2");
	ck_assert_int_eq(redis_number(&clients[0], "DBSIZE", "") +
			     redis_number(&clients[1], "DBSIZE", ""),
			 500 + 2);
}
END_TEST

START_TEST(a_server_that_is_down_is_waited_for)
{
	struct mover_plan plan = plan_of(MOVER_CHECK_EMPTY);
	real_stop(&servers[0]);
	struct mover *m = begin(&plan);
	run_ms(200, true);
	ck_assert_msg(job.calls == 0, "%s", job.why);
	ck_assert_str_eq(text(m, "state"), "waiting");
	restart_meanwhile(&servers[0]);
	run_ms(20000, true);
	ck_assert_msg(job.ok, "%s", job.why);
	mover_free(&m);
	real_stop(&servers[0]);
	const char *lost[] = { "c0" };
	plan.lost = lost;
	plan.lost_count = 1;
	run_plan(&plan);
	ck_assert(job.ok);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mover");
	TCase *t = tcase_create("memcached");
	tcase_add_checked_fixture(t, setup_mc, teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, mc_moves);
	tcase_add_test(t, mc_moves_back);
	tcase_add_test(t, mc_moves_no_hollow_values);
	tcase_add_test(t, mc_long_ttl);
	tcase_add_test(t, mc_waits_for_anothers_lease);
	tcase_add_test(t, mc_scrubs_targets);
	tcase_add_test(t, mc_scrub_of_a_new_empty_server_asks_for_no_list);
	tcase_add_test(t, mc_that_cannot_list);
	tcase_add_loop_test(t, mc_what_is_newer_stays, 0, sizeof(races) / sizeof(races[0]));
	tcase_add_test(t, mc_moves_while_proxies_work);
	suite_add_tcase(s, t);
	t = tcase_create("redis");
	tcase_add_checked_fixture(t, setup_redis, teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, redis_moves);
	tcase_add_test(t, redis_deleted_keys_stay_deleted);
	tcase_add_test(t, redis_binary_keys);
	tcase_add_test(t, redis_big_keys);
	tcase_add_test(t, redis_large_values_both_ways);
	tcase_add_test(t, redis_scrubs_targets);
	tcase_add_test(t, redis_another_mark);
	tcase_add_test(t, redis_restarted_in_the_middle);
	tcase_add_test(t, redis_of_another_database_with_a_password);
	tcase_add_test(t, redis_moves_while_proxies_work);
	tcase_add_test(t, pace_and_pause);
	tcase_add_test(t, bytes_per_second);
	tcase_add_test(t, who_does_not_lead_stops);
	tcase_add_test(t, who_slept_stops);
	tcase_add_test(t, a_job_may_be_freed_at_any_time);
	tcase_add_test(t, two_names_for_one_server);
	tcase_add_test(t, a_server_that_is_down_is_waited_for);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
