/* fake_io.h - common/io.c and common/clock.c once more: scripted sockets and a clock that stands.
 *
 * Linked in place of the real ones, so that the data path runs in one thread, in simulated time,
 * the same way every time. A test holds the other end of each socket.
 *
 * Descriptors are numbers from FAKE_FD on, never used twice. Real descriptors (a mailbox's) are
 * polled as they are.
 */
#ifndef TWINRING_TESTS_SIM_FAKE_IO_H
#define TWINRING_TESTS_SIM_FAKE_IO_H

#include "common/io.h"
#include "common/list.h"

enum { FAKE_FD = 1000000, FAKE_SOCKS_MAX = 65536, FAKE_PORTS_MAX = 256 };

/* What happens to a connection attempt. */
enum fake_accept {
	ACCEPT_LATER,	/* pending, then connected in the next turn */
	ACCEPT_AT_ONCE, /* connected before io_connect() returns    */
	ACCEPT_NEVER,	/* pending for ever                         */
	ACCEPT_REFUSE,	/* pending, then refused                    */
	ACCEPT_REFUSE_AT_ONCE,
	ACCEPT_NO_FD, /* the process has no descriptor left       */
};

/* One socket of the proxy's, seen from the other end. */
struct sock {
	int fd;
	uint16_t port; /* that was connected to; 0: a client's */
	bool closed;   /* by the proxy                         */
	bool shut;     /* the proxy has shut down its sending  */
	bool pending, never;
	int connect_error;

	char *in; /* sent by us, not read by the proxy yet */
	size_t in_n, in_at;
	uint64_t arrivals; /* how often we have sent */
	bool eof;	   /* after `in` we have closed ...        */
	int error;	   /* ... or this error strikes            */
	size_t read_max;   /* most bytes of one read; 0: any       */

	char *out; /* written by the proxy, not looked at yet */
	size_t out_n, out_cap;
	size_t window;	  /* bytes that fit before it is full   */
	size_t write_max; /* most bytes of one write; 0: any    */
	uint64_t reads, writes;
};

void fake_reset(void);
void fake_free(void);
void fake_pass_us(uint64_t us);
/* When the next timer is due; UINT64_MAX: none. */
uint64_t fake_next_timer_us(void);
/* Is there anything that a turn would do? */
bool fake_is_ready(void);

struct sock *fake_sock_new(void);
struct sock *fake_sock(int fd);
uint32_t fake_sock_count(void);
/* The n-th connection, from 0, ever made to `port`; NULL: there were not so many. */
struct sock *fake_connection(uint16_t port, uint32_t n);
uint32_t fake_connection_count(uint16_t port);
void fake_set_accept(uint16_t port, enum fake_accept how);

void sock_send(struct sock *s, const void *bytes, size_t n);
void sock_take(struct sock *s, size_t n);

/* Callbacks in an order shuffled by this xorshift state, and now and then one that was stopped in
 * the same turn, as io.h allows; 0: in the order of descriptors. */
extern uint64_t fake_shuffle;

#endif
