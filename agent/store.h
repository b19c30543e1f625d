/* store.h - a tree of small nodes with versions: ZooKeeper, or a directory of files.
 *
 * Threads:   every call and every callback on the agent's loop.
 * Calls:     asynchronous. Each callback runs exactly once, later, never from within the call; also
 *            when the session is lost (STORE_AWAY) or the store is freed (STORE_AWAY, then from
 *            within store_free). While not connected, calls fail with STORE_AWAY at once.
 * Watches:   tell only that something has changed, at a path or one of its children, and only once:
 *            read again with `watch` set. A path may be watched that does not exist yet. After a
 *            new session or a reconnection, on_session tells to read everything again.
 * Paths:     as "pools/alpha/state", "" is the root; one leading '/' is taken off. What the store
 *            gives back never has it. No name may be empty, begin with '.' or hold control
 *            characters; in a directory of files it also may not begin with '#', end with '~' or
 *            look like one of the store's own (".data"). Else STORE_INVALID.
 * Ownership: arguments are copied; what callbacks get is borrowed for the call.
 */
#ifndef TWINRING_AGENT_STORE_H
#define TWINRING_AGENT_STORE_H

#include "common/err.h"
#include "common/io.h"
#include "common/list.h"

enum store_rc {
	STORE_OK,
	STORE_NO_NODE,
	STORE_NODE_EXISTS,
	STORE_BAD_VERSION,
	STORE_NOT_EMPTY,
	STORE_AWAY,	 /* no connection; whether a write happened is not known */
	STORE_REFUSED,	 /* no permission */
	STORE_TOO_LARGE, /* over STORE_DATA_MAX: nothing was sent; or a file that somebody wrote */
	STORE_INVALID,
};

enum { STORE_DATA_MAX = 512 * 1024, STORE_PATH_MAX = 512, STORE_ANY_VERSION = -1 };

struct store_stat {
	int32_t version; /* of the data; for compare-and-set */
	int64_t mzxid;	 /* modification id; grows with every change anywhere in the tree */
	int64_t czxid;
	bool mine; /* an ephemeral node of this session */
	uint32_t children;
};

enum store_flag {
	STORE_EPHEMERAL = 1,
	STORE_SEQUENTIAL = 2, /* digits are appended to the path */
	STORE_PARENTS = 4,    /* make missing (persistent) parents first */
};

enum store_session {
	STORE_CONNECTED,   /* the same session, connected (again): read everything again        */
	STORE_NEW_SESSION, /* connected; all ephemeral nodes of before are gone or will go      */
	STORE_LOST,	   /* not connected; the session may still live                         */
};

typedef void (*store_data_fn)(void *ctx, enum store_rc rc, struct slice data,
			      const struct store_stat *stat);
/* Names of the children, sorted. */
typedef void (*store_list_fn)(void *ctx, enum store_rc rc, const char *const *names,
			      uint32_t count);
/* stat: of what was written; zeros otherwise. path: of what was created, digits included; NULL
 * otherwise. */
typedef void (*store_done_fn)(void *ctx, enum store_rc rc, const struct store_stat *stat,
			      const char *path);

struct store_events {
	void (*on_session)(void *ctx, enum store_session s);
	void (*on_change)(void *ctx, const char *path); /* something watched there changed */
	void *ctx;
};

struct store;

/* "zk:HOST:PORT[,...][/chroot]". digest: "user:password" or NULL; with it, everything that is made
 * is for that digest only. The chroot is made when it is missing. Returns at once, connected or
 * not; on_session tells. */
enum err store_zk_new(struct io_loop *l, const char *servers, const char *digest,
		      uint32_t session_ms, const struct store_events *events,
		      struct store **store_out, struct err_at *where_out);
/* A node is a file NAME, or a directory NAME with its data, if any, in NAME.data beside it; people
 * may also write spec.yml, spec.yaml or spec.json. Ephemeral nodes live as long as this process.
 * The hidden directory .twinring holds versions and owners. Calls do their work, which may wait
 * for the disk, before they return. The directory is made when only its last part is missing. */
enum err store_file_new(struct io_loop *l, const char *dir, const struct store_events *events,
			struct store **store_out, struct err_at *where_out);
/* NULL is a no-op. Ends the session, so that ephemeral nodes go; waits for that a second or two at
 * most. Not from within one of the store's callbacks. */
void store_free(struct store **s);

/* With STORE_TOO_LARGE the stat is right and the data empty. */
void store_get(struct store *s, const char *path, bool watch, store_data_fn fn, void *ctx);
void store_list(struct store *s, const char *path, bool watch, store_list_fn fn, void *ctx);
/* Compare-and-set; STORE_ANY_VERSION: whatever is there. The node must exist. */
void store_put(struct store *s, const char *path, struct slice data, int32_t version,
	       store_done_fn fn, void *ctx);
void store_create(struct store *s, const char *path, struct slice data, uint32_t flags,
		  store_done_fn fn, void *ctx);
void store_delete(struct store *s, const char *path, int32_t version, store_done_fn fn, void *ctx);
/* After it, reads see everything that was written before it, by anybody. */
void store_sync(struct store *s, store_done_fn fn, void *ctx);

const char *store_rc_text(enum store_rc rc);

#endif
