/* client.h - a store that one can ask and wait for.
 *
 * Every call turns the loop until its answer is there or the time is over; after that the store is
 * given up, and everything ends with STORE_AWAY.
 *
 * Threads:   one.
 * Ownership: nodes and names that are handed out belong to the caller: client_node_fini,
 *            client_names_fini.
 */
#ifndef TWINRING_AGENT_CTL_CLIENT_H
#define TWINRING_AGENT_CTL_CLIENT_H

#include "agent/store.h"

struct client;

struct client_node {
	enum store_rc rc;
	char *data; /* ends in NUL; NULL unless rc is STORE_OK */
	size_t n;
	struct store_stat stat;
};

struct client_names {
	char **names; /* sorted */
	uint32_t count;
};

/* Connect to "zk:..." or "file:...", `timeout_ms` at most, which then bounds each call as well.
 * ERR_INVALID: no such kind of source; ERR_TIMEOUT: not reached; others as the store says. */
enum err client_open(const char *source, const char *digest, uint32_t timeout_ms,
		     struct client **client_out, struct err_at *where_out);
/* NULL is a no-op. */
void client_close(struct client **c);
bool client_is_zookeeper(const struct client *c);
/* Not given up yet: it may be connected again. */
bool client_lives(const struct client *c);

enum client_watch { CLIENT_ONCE, CLIENT_WATCH };

struct client_node client_get(struct client *c, const char *path, enum client_watch watch);
/* `count` of them at once. */
void client_get_many(struct client *c, char *const *paths, uint32_t count, enum client_watch watch,
		     struct client_node *nodes_out);
void client_node_fini(struct client_node *n);
enum store_rc client_list(struct client *c, const char *path, enum client_watch watch,
			  struct client_names *out);
void client_names_fini(struct client_names *n);

/* stat_out may be NULL. */
enum store_rc client_put(struct client *c, const char *path, struct slice data, int32_t version,
			 struct store_stat *stat_out);
enum store_rc client_create(struct client *c, const char *path, struct slice data, uint32_t flags);
enum store_rc client_delete(struct client *c, const char *path, int32_t version);
/* Everything below it too; STORE_OK when there is nothing. */
enum store_rc client_delete_tree(struct client *c, const char *path);
/* Reads from now on see what anybody wrote before. */
enum store_rc client_sync(struct client *c);

/* Wait until something that is watched may have changed, or *stop. False: stopped. */
bool client_wait_change(struct client *c, const volatile int *stop);

#endif
