#include "agent/mover_rate.h"

#include <string.h>

/* At first the pace that a server bears has to be found; later it is gone back to slowly. */
static const double grow_first = 1.25, grow = 1.03, shrink = 0.5;
/* Per decision, of which there are about four a second: doubles in three minutes. */
static const double forget = 1.001;
/* Tokens for so long may be saved up: more than a turn of the loop takes. */
static const double burst_s = 0.05;

void rate_init(struct mover_rate *r, uint64_t now_us)
{
	*r = (struct mover_rate){ .pace = RATE_START, .at_us = now_us };
}

static uint64_t median(const uint64_t samples[RATE_SAMPLES])
{
	uint64_t s[RATE_SAMPLES];
	memcpy(s, samples, sizeof(s));
	for (uint32_t i = 1; i < RATE_SAMPLES; i++)
		for (uint32_t j = i; j > 0 && s[j] < s[j - 1]; j--) {
			uint64_t t = s[j];
			s[j] = s[j - 1];
			s[j - 1] = t;
		}
	return s[RATE_SAMPLES / 2];
}

void rate_sample(struct mover_rate *r, uint64_t took_us, uint64_t latency_max_us)
{
	r->samples[r->count++] = took_us;
	if (r->count < RATE_SAMPLES) return;
	r->count = 0;
	double m = (double)median(r->samples);
	if (r->base_us == 0 || m < r->base_us) r->base_us = m;
	bool slow = m > 2 * r->base_us && m > r->base_us + RATE_SLACK_US;
	if (latency_max_us && m > (double)latency_max_us) slow = true;
	r->base_us *= forget;
	r->pace *= slow ? shrink : r->slowed ? grow : grow_first;
	if (r->pace < RATE_MIN) r->pace = RATE_MIN;
	if (r->pace > RATE_MAX) r->pace = RATE_MAX;
	r->slowed += slow;
}

bool rate_allows(struct mover_rate *r, uint64_t now_us, uint32_t keys_per_s)
{
	double per_s = r->pace;
	if (keys_per_s && keys_per_s < per_s) per_s = keys_per_s;
	double most = per_s * burst_s > 1 ? per_s * burst_s : 1;
	r->tokens += per_s * (double)(now_us - r->at_us) / 1e6;
	if (r->tokens > most) r->tokens = most;
	r->at_us = now_us;
	return r->tokens >= 1;
}

void rate_take(struct mover_rate *r)
{
	r->tokens -= 1;
}
