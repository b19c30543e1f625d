/* verdict.h - from votes to verdicts: which servers of one pool are out of its ring, and why.
 *
 * Pure: no I/O, no clock; the same state, input and time always give the same verdict. The
 * coordinator gathers votes, suspicions and pins, asks, and writes the new state by
 * compare-and-set; only when that has succeeded does it act on the events. When it has failed: free
 * the state, read the winner's with verdict_load(), ask again.
 *
 * Rules. A majority of the voters (nannies that do not abstain) says bad: out; so does one voter
 * whom enough agents' proxies on two racks agree with. One ejection per min_interval_ms. Never more
 * than cap_percent of the pool's weight, though one server may always go, and never the last one:
 * beyond that nothing more is ejected (panic). Without a quorum of voters (more than half of all
 * registered nannies) no vote ejects or returns anything (blind). Back in: a majority of the voters
 * no longer says bad, and min(backoff_ms * 2^level, backoff_max_ms) has passed since the ejection;
 * the level is 0 the first time, grows
 * with every ejection and falls by one per VERDICT_STABLE_MS in the ring. More than
 * quarantine_after ejections in an hour: out until an operator pins the server, either way, and
 * removes the pin, or gives it another address (0: never). A pin outranks votes, quorum, cap and
 * back-off.
 *
 * Time:      milliseconds since 1970, as a successor on another host must be able to go on. Feed it
 *            from one reading of the wall clock plus monotonic time. A stored time that lies in the
 *            future, or a back-off longer than the longest, is cut down: a wrong clock can delay a
 *            return by backoff_max_ms, no more.
 * Threads:   one owner. Ownership: inputs are borrowed for the call.
 */
#ifndef TWINRING_AGENT_VERDICT_H
#define TWINRING_AGENT_VERDICT_H

#include <jansson.h>
#include "common/spec.h"

enum {
	VERDICT_WHY_MAX = 200,
	VERDICT_TIMES_MAX = 16, /* ejections of one server that are remembered */
	VERDICT_HOUR_MS = 3600 * 1000,
	VERDICT_STABLE_MS = 600 * 1000,
	VERDICT_SUSPECTS_MIN = 5, /* agents, and ... */
	VERDICT_SUSPECTS_PERCENT = 30,
};

struct verdict_vote {
	const char *nanny; /* votes of the unregistered and of those who abstain do not count */
	const char *why;   /* may be NULL */
};

struct verdict_server {
	const char *name;
	const char *address; /* "host:port": another one is another box, without a past */
	uint32_t weight;
	enum pin pin;
	const struct verdict_vote *votes; /* those who find it bad */
	uint32_t vote_count;
	uint32_t suspects; /* agents whose proxies have it marked down ... */
	uint32_t racks;	   /* ... on so many racks                         */
	bool hold;	   /* must be flushed before it serves: do not return it yet, only say so */
};

struct verdict_nanny {
	const char *id;
	bool abstains;
};

struct verdict_input {
	struct ejection_spec settings; /* quarantine_after counts to VERDICT_TIMES_MAX - 1 */
	const struct verdict_server *servers;
	uint32_t server_count;
	const struct verdict_nanny *nannies; /* all that are registered */
	uint32_t nanny_count;
	uint32_t agents; /* live ones, for the share that suspects */
};

enum verdict_what {
	VERDICT_EJECTED,
	VERDICT_RETURNED,
	VERDICT_QUARANTINED, /* after its VERDICT_EJECTED */
	VERDICT_PANIC_BEGUN, /* about the pool: server is NULL, here and below */
	VERDICT_PANIC_ENDED,
	VERDICT_BLIND_BEGUN,
	VERDICT_BLIND_ENDED,
};

struct verdict_event {
	enum verdict_what what;
	const char *server; /* the input's, or NULL */
	char why[VERDICT_WHY_MAX];
};

struct verdict_status {
	bool out;
	bool pinned; /* out by an operator's pin */
	bool quarantined;
	bool returnable; /* out, and only `hold` keeps it from returning */
	uint64_t since_ms, until_ms;
	const char *why; /* while out; until the next call */
};

/* Good until the next call with the same state, and no longer than the input. */
struct verdict_output {
	const struct verdict_status *status; /* one per server of the input */
	const struct verdict_event *events;
	uint32_t event_count;
	uint64_t next_ms; /* ask again then, if nothing happens before; 0: no need */
	bool panic;
	bool blind; /* there are nannies, but no quorum of voters */
};

struct verdict;

struct verdict *verdict_new(void);
/* From what verdict_save() made; of anything else, like the state of a pool, `ejected` is taken
 * over and whatever is missing or makes no sense is left out. NULL: as new. */
struct verdict *verdict_load(const json_t *state);
/* {"ejected", "returned", "panic", "blind", "last_ejection"}: a new reference. */
json_t *verdict_save(const struct verdict *v);
/* Sets *v to NULL; NULL is a no-op. */
void verdict_free(struct verdict **v);

void verdict_decide(struct verdict *v, const struct verdict_input *in, uint64_t now_ms,
		    struct verdict_output *out);

const char *verdict_what_text(enum verdict_what what);

#endif
