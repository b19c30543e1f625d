/* sim.h - one worker in a world made of scripted sockets.
 *
 * A test says what clients and servers send, lets turns of the loop or time pass, and checks the
 * bytes that came out. Nothing happens by itself: sim_turn() is one turn, sim_settle() as many as
 * there is something to do, sim_pass_ms() lets time go by.
 *
 * Server i of a pool listens on port SIM_PORT + i. sim_key(i, n) is the n-th key that lives there.
 */
#ifndef TWINRING_TESTS_SIM_SIM_H
#define TWINRING_TESTS_SIM_SIM_H

#include <check.h>

#include "proxy/client.h"
#include "proxy/conn.h"
#include "proxy/worker.h"
#include "tests/sim/fake_io.h"

enum { SIM_PORT = 1000 };

struct sim {
	struct worker *w;
	struct worker_shared shared;
	struct stats *stats;
	struct identities *identities;
	struct mailbox main;
	struct io_loop main_loop;
	struct snapshot *snapshot; /* newest */
	uint32_t snapshots_alive;
	uint32_t dest_mails, dests_failing; /* told to main */
};
extern struct sim sim;

/* A pool called "p" of `servers` servers; `options` are lines for it, or "", with two blanks in
 * front of each; `proxy` lines for the proxy section. */
void sim_start(const char *protocol, uint32_t servers, const char *options, const char *proxy);
/* Another topology for the same proxy. */
void sim_swap(const char *protocol, uint32_t servers, const char *options, const char *proxy);
/* The same pool on its way from the first `from` servers to the first `to`: `rules` are the members
 * of the transition, as JSON without the braces; with `lease_ms` other than 0, a lease is needed.
 */
void sim_transition(const char *protocol, uint32_t from, uint32_t to, const char *options,
		    const char *rules);
/* The proxy's lease runs until then. */
void sim_lease(uint64_t until_us);
/* The n-th key whose owner changes from server `from` to server `to`. */
const char *sim_moving(uint32_t from, uint32_t to, uint32_t n);
/* A topology in which the listener leads nowhere. */
void sim_swap_to_nothing(void);
/* Stop, and insist that nothing is left. */
void sim_stop(void);

void sim_turn(void);
void sim_settle(void);
void sim_pass_us(uint64_t us);
void sim_pass_ms(uint64_t ms);

struct sock *sim_client(void);
/* The newest connection to server i that is not closed; NULL: none. */
struct sock *sim_server(uint32_t i);
struct dest *sim_dest(uint32_t i);
/* How many requests there are. */
uint32_t sim_live(void);
uint64_t sim_server_metric(uint32_t i, enum server_metric m);
uint64_t sim_pool_metric(enum pool_metric m);
/* Of reads of moving keys, so many have been counted for the new and for the old server. */
void sim_moving_reads(uint64_t hits, uint64_t misses);

const char *sim_key(uint32_t server, uint32_t n);

/* Send, then settle. */
void sim_send(struct sock *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_send_bytes(struct sock *s, const void *bytes, size_t n);
/* Send without a turn. */
void sim_feed(struct sock *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Send in pieces of n bytes, settling after each. */
void sim_send_pieces(struct sock *s, const void *bytes, size_t n, size_t piece);

void sim_expect_at(const char *where, struct sock *s, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_expect_bytes_at(const char *where, struct sock *s, const void *bytes, size_t n);
#define SIM_STR2(x)	      #x
#define SIM_STR(x)	      SIM_STR2(x)
/* Exactly this is what the proxy has written since the last look. */
#define sim_expect(...)	      sim_expect_at(__FILE__ ":" SIM_STR(__LINE__), __VA_ARGS__)
#define sim_expect_bytes(...) sim_expect_bytes_at(__FILE__ ":" SIM_STR(__LINE__), __VA_ARGS__)

/* Up to the next line, one that begins with `word`, is not looked at. */
void sim_take_line(struct sock *s, const char *word);

/* A value of n bytes in which no two places look alike. */
char *sim_value(size_t n, uint32_t seed);

int sim_run(const char *name, TCase *t);

#endif
