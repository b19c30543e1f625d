/* verdict_state.h - what is remembered between verdicts. Private to verdict*.c. */
#ifndef TWINRING_AGENT_VERDICT_STATE_H
#define TWINRING_AGENT_VERDICT_STATE_H

#include "agent/verdict.h"

/* A server that is out, or was not long ago. */
struct verdict_record {
	char *server;
	char *address; /* "": not known */
	bool out;
	bool pinned; /* out by pin: the rest tells of before */
	bool quarantined;
	uint64_t since_ms; /* out since, or back in since */
	uint64_t until_ms; /* back-off */
	uint32_t level;	   /* ejections by vote, less one per VERDICT_STABLE_MS in the ring */
	uint32_t count;	   /* ejections by vote in the last hour ... */
	uint64_t times[VERDICT_TIMES_MAX]; /* ... oldest first */
	char why[VERDICT_WHY_MAX];
	bool listed; /* in the input of this call */
};

struct verdict {
	struct verdict_record **records;
	uint32_t count, cap;
	uint64_t last_ms; /* ejection by vote; 0: none */
	bool panic, blind;
	/* What verdict_decide() handed out. */
	struct verdict_status *status;
	struct verdict_event *events;
	uint32_t event_count, event_cap;
};

struct verdict_record *verdict_find(const struct verdict *v, const char *server);
struct verdict_record *verdict_add(struct verdict *v, const char *server, const char *address);
/* The last record takes place i. */
void verdict_remove(struct verdict *v, uint32_t i);

#endif
