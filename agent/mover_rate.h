/* mover_rate.h - how fast a job may go at one server: what was allowed, and what the server bears.
 *
 * The pace is halved when the server's answers to a PING take more than twice as long as in its
 * best times, or longer than the limit, and grows again by little. A server that has become slower
 * for good is got used to after some minutes.
 *
 * Pure: time is an input.
 */
#ifndef TWINRING_AGENT_MOVER_RATE_H
#define TWINRING_AGENT_MOVER_RATE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	RATE_SAMPLES = 5,     /* a decision is made of so many                          */
	RATE_START = 4000,    /* keys/s                                                 */
	RATE_MIN = 20,	      /* keys/s: however slow a server is, the job goes on      */
	RATE_MAX = 1000000,   /* keys/s: no limit                                       */
	RATE_SLACK_US = 1000, /* differences below this are our own, not the server's   */
};

struct mover_rate {
	double pace;   /* keys/s that the server bears                */
	double tokens; /* keys that may be begun now                  */
	uint64_t at_us;
	double base_us; /* a PING's usual time when it was best; 0: not known */
	uint64_t samples[RATE_SAMPLES];
	uint32_t count;
	uint32_t slowed; /* times that the pace was halved */
};

void rate_init(struct mover_rate *r, uint64_t now_us);
/* A PING took so long. latency_max_us: 0: no limit. */
void rate_sample(struct mover_rate *r, uint64_t took_us, uint64_t latency_max_us);
/* May one more key be begun? keys_per_s: 0: no limit but the server's. */
bool rate_allows(struct mover_rate *r, uint64_t now_us, uint32_t keys_per_s);
void rate_take(struct mover_rate *r);

#endif
