/* store_impl.h - what the two kinds of store share; private to store*.c.
 *
 * A call is made by the functions of store.h, checked there, and started by the back end, which
 * fills in the result and hands it to store_call_finish() or, when it already runs on its own turn
 * of the loop, to store_call_run().
 *
 * Threads:   the loop's.
 * Ownership: a store owns its calls; a back end holds those in `pending`.
 */
#ifndef TWINRING_AGENT_STORE_IMPL_H
#define TWINRING_AGENT_STORE_IMPL_H

#include "agent/store.h"

enum store_op { STORE_GET, STORE_LIST, STORE_PUT, STORE_CREATE, STORE_DELETE, STORE_SYNC };

struct store_call {
	TAILQ_ENTRY(store_call) entry; /* in pending, or in finished */
	enum store_op op;
	char path[STORE_PATH_MAX];
	bool watch;
	uint32_t flags; /* enum store_flag */
	int32_t version;
	char *input;
	size_t input_bytes;
	union {
		store_data_fn data;
		store_list_fn list;
		store_done_fn done;
	} fn;
	void *ctx;
	uint32_t round; /* the back end's: how often it has tried */

	enum store_rc rc;
	struct store_stat stat;
	char *data;
	size_t data_bytes;
	char **names;
	uint32_t name_count;
	char *made; /* CREATE: the path */
};

TAILQ_HEAD(store_calls, store_call);

struct store_ops {
	/* Begin `c`, which is in `pending`; it is finished once, later. */
	void (*start)(struct store *s, struct store_call *c);
	/* Free everything but the struct store inside. Every call has been run. */
	void (*free)(struct store *s);
};

struct store {
	const struct store_ops *ops;
	struct store_events events;
	struct store_calls pending, finished;
	struct io_timer later;
};

void store_init(struct store *s, const struct store_ops *ops, struct io_loop *l,
		const struct store_events *events);
struct store_call *store_call_new(struct store *s, enum store_op op, const char *path);
/* Its callback will run in a later turn of the loop. */
void store_call_finish(struct store *s, struct store_call *c, enum store_rc rc);
/* Run its callback now, after those that wait already, and free it. */
void store_call_run(struct store *s, struct store_call *c, enum store_rc rc);
/* Those that wait for their turn: now. */
void store_run_finished(struct store *s);
/* The names of its result, as they are promised. */
void store_names_sort(struct store_call *c);
bool store_path_ok(const char *path);
/* All that are pending end with STORE_AWAY, now. */
void store_calls_fail(struct store *s);

/* For tests: whose session a ZooKeeper store has; false when none. */
bool store_zk_session(struct store *s, int64_t *id_out, char password_out[16]);

#endif
