/* rig.h - a store and a loop for the tests: asks and waits for the answer. */
#ifndef TWINRING_TESTS_AGENT_RIG_H
#define TWINRING_TESTS_AGENT_RIG_H

#include "agent/store_impl.h"

enum { RIG_NAMES = 64, RIG_WAIT_MS = 8000 };

struct rig {
	struct io_loop *loop; /* shared by the rigs of one test */
	struct store *store;
	unsigned sessions[STORE_LOST + 1];
	enum store_session session; /* the last one told */
	unsigned changes;
	char changed[STORE_PATH_MAX]; /* the last one told */
};

/* What came back; calls is how often. */
struct answer {
	unsigned calls;
	enum store_rc rc;
	struct store_stat stat;
	char data[4096];
	size_t bytes; /* also when they are more than fit */
	char names[RIG_NAMES][80];
	uint32_t name_count;
	char path[STORE_PATH_MAX];
};

extern const struct store_events rig_events; /* ctx is to be set */

/* Turn the loop until *flag >= least; false after RIG_WAIT_MS. */
bool rig_wait(struct io_loop *l, const unsigned *flag, unsigned least);
/* Turn it for so long, whatever happens. */
void rig_pass(struct io_loop *l, unsigned ms);

/* Callbacks that fill in a struct answer. */
void rig_on_data(void *answer, enum store_rc rc, struct slice data, const struct store_stat *stat);
void rig_on_list(void *answer, enum store_rc rc, const char *const *names, uint32_t count);
void rig_on_done(void *answer, enum store_rc rc, const struct store_stat *stat, const char *path);

/* Ask and wait; fails the test when no answer comes, or one too many. */
struct answer rig_get(struct rig *r, const char *path, bool watch);
struct answer rig_list(struct rig *r, const char *path, bool watch);
struct answer rig_put(struct rig *r, const char *path, const char *data, int32_t version);
struct answer rig_create(struct rig *r, const char *path, const char *data, uint32_t flags);
struct answer rig_delete(struct rig *r, const char *path, int32_t version);
struct answer rig_sync(struct rig *r);

#endif
