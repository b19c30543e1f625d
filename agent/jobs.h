/* jobs.h - the errands of one pool's transition at its servers: check, scrub, mark, move, and a
 * last look. Begun, paused and stopped as the step machine wants; begun anew by a successor, which
 * finds that what was done is done.
 *
 * Threads:   the loop's; nothing blocks. on_change comes from the loop, never from within a call.
 * Ownership: what jobs_set() is given is copied.
 */
#ifndef TWINRING_AGENT_JOBS_H
#define TWINRING_AGENT_JOBS_H

#include <jansson.h>

#include "agent/transition.h"
#include "common/io.h"
#include "common/pool_state.h"
#include "common/spec.h"

struct jobs;

struct jobs_plan {
	const struct pool_spec *ring, *next;
	const struct pool_state *state; /* in transition */
	const struct moving_spec *moving;
};

struct jobs_events {
	/* Something has changed. `news` may be NULL; else a big key, to be told to the world. */
	void (*on_change)(void *ctx, const char *news);
	/* Are we sure that nobody else leads the transition by now? See mover.h. */
	bool (*may_go_on)(void *ctx);
	void *ctx;
};

struct jobs *jobs_new(struct io_loop *l, const struct jobs_events *events);
/* What the transition is about now. Jobs that were about something else are over, and idle. */
void jobs_set(struct jobs *j, const struct jobs_plan *plan);
enum job_state jobs_state(const struct jobs *j, enum transition_job job);
/* Begin those whose bits are set, unless they run or are done; stop the others that run. One that
 * failed is tried again after a while. names: of live proxies' connections, for JOB_MARK. */
void jobs_run(struct jobs *j, unsigned bits, const json_t *names);
/* The mover begins nothing new meanwhile. */
void jobs_pause(struct jobs *j, bool paused);
/* JOB_CHECK: can copies be promoted to the targets? */
bool jobs_promote(const struct jobs *j);
/* The mark that JOB_MARK writes, or has written. */
const char *jobs_mark(const struct jobs *j);
/* What a job is at: {name: ..., "why": ...}; NULL: nothing to tell. A new reference. */
json_t *jobs_describe(const struct jobs *j, enum transition_job job);
/* Why a person has to look: a Redis node has lost the mark, and so more. NULL: no reason. */
const char *jobs_trouble(const struct jobs *j);
/* A restarted server has lost what it was told: all jobs have to be done again. */
void jobs_forget(struct jobs *j);

/* When it is over: delete the marks. Goes on by
 * itself; jobs_set() or jobs_free() stops it. */
void jobs_clean_up(struct jobs *j);
/* Sets *j to NULL; NULL is a no-op. */
void jobs_free(struct jobs **j);

#endif
