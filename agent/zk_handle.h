/* zk_handle.h - ZooKeeper client handles, kept away from the loop.
 *
 * A handle is the library's: it resolves names when it is opened, it takes seconds to close, and it
 * calls back on threads of its own until it is closed. So opening and closing are jobs of one
 * keeper thread, and whatever a handle has to say is copied and posted to the loop as mail, with
 * the handle's generation in mail.number. A handle that was dropped posts nothing any more; mail
 * that was on its way is told by its generation.
 *
 * Threads:   every function on the loop's thread, unless it says otherwise.
 * Ownership: the keeper owns all handles; a caller borrows one between open and drop. Tickets
 *            belong to the handle until their mail is delivered, then to the receiver.
 */
#ifndef TWINRING_AGENT_ZK_HANDLE_H
#define TWINRING_AGENT_ZK_HANDLE_H

#include <zookeeper/zookeeper.h>

#include "agent/store_impl.h"
#include "common/mailbox.h"

enum zk_mail {
	ZK_OPENED,  /* p: zhandle_t *, or NULL with an errno in fd; auth is added */
	ZK_SESSION, /* fd: the new state (ZOO_*_STATE); id: of the session       */
	ZK_CHANGED, /* p: the path, malloc'ed: now the receiver's                */
	ZK_REPLY,   /* p: struct zk_ticket, now the receiver's                    */
};

struct zk_config {
	char *hosts;  /* "host:port,..." without chroot */
	char *digest; /* "user:password" or NULL        */
	uint32_t session_ms;
};

struct zk_keeper;
struct zk_handle;

/* One request that the library has, and then its result. */
struct zk_ticket {
	LIST_ENTRY(zk_ticket) entry;
	struct zk_handle *handle;
	struct store_call *call; /* only good while its handle is not dropped */
	int rc;			 /* ZOK, ... */
	struct Stat stat;
	bool has_stat;
	char *data; /* or the path that was created */
	size_t data_bytes;
	char **names;
	uint32_t name_count;
};

/* Copies the configuration. The box must live until zk_keeper_end(). NULL: no thread. */
struct zk_keeper *zk_keeper_new(const struct zk_config *config, struct mailbox *box);
/* The handle must have been dropped. Waits for its closing at most `wait_us`; the thread ends by
 * itself, and frees what it has. */
void zk_keeper_end(struct zk_keeper *k, uint64_t wait_us);

/* Begin to open; ZK_OPENED follows, and maybe ZK_SESSION before it. */
struct zk_handle *zk_handle_open(struct zk_keeper *k, uint32_t generation);
/* Close it some time later. */
void zk_handle_drop(struct zk_handle *h);
/* Log a line of the library's. Any thread. */
void zk_log(const char *line);

struct zk_ticket *zk_ticket_new(struct zk_handle *h, struct store_call *c);
/* Of one whose request was not accepted, or whose mail has come. */
void zk_ticket_free(struct zk_ticket *t);

/* The library's completions and watcher: ticket or handle in data. Library threads. */
void zk_on_data(int rc, const char *value, int n, const struct Stat *stat, const void *ticket);
void zk_on_names(int rc, const struct String_vector *names, const void *ticket);
void zk_on_stat(int rc, const struct Stat *stat, const void *ticket);
void zk_on_made(int rc, const char *path, const struct Stat *stat, const void *ticket);
void zk_on_void(int rc, const void *ticket);
void zk_on_path(int rc, const char *path, const void *ticket);
void zk_on_changed(zhandle_t *zh, int type, int state, const char *path, void *handle);

#endif
