/* file_node.h - nodes of the tree as files and directories.
 *
 * A node without children is a file NAME; one with children a directory NAME, and its data, if it
 * has any, is NAME.data beside it; a file becomes that when its first child is made. `spec` and
 * `routes` may also be NAME.yml, NAME.yaml or NAME.json. Everything else that may lie around
 * (hidden files, editors' backups) is no node.
 *
 * Calls work on the disk and may wait for it, or for the lock of file_meta.h.
 *
 * Threads: any. Ownership: what a look hands out is freed with file_node_fini().
 */
#ifndef TWINRING_AGENT_FILE_NODE_H
#define TWINRING_AGENT_FILE_NODE_H

#include "agent/file_meta.h"

struct file_node {
	enum store_rc rc; /* STORE_OK, STORE_NO_NODE, STORE_TOO_LARGE (all but data), ... */
	struct store_stat stat;
	char *data;
	size_t bytes;
	struct file_meta meta;
	const char *suffix; /* of the file with the data; NULL: only a directory */
	bool directory;
};

struct file_names {
	enum store_rc rc;
	char **names; /* sorted */
	uint32_t count;
};

/* No name in it is one that could not be told from other files. */
bool file_path_ok(const char *path);

/* `session`: whose ephemeral nodes are "mine". */
void file_look(const char *dir, const char *path, const char *session, struct file_node *out);
void file_node_fini(struct file_node *n);
void file_list(const char *dir, const char *path, struct file_names *out);
void file_names_fini(struct file_names *n);

enum store_rc file_put(const char *dir, const char *path, struct slice data, int32_t version,
		       const char *session, struct store_stat *stat_out);
/* path_out: STORE_PATH_MAX bytes. */
enum store_rc file_create(const char *dir, const char *path, struct slice data, uint32_t flags,
			  const char *session, struct store_stat *stat_out, char *path_out);
enum store_rc file_delete(const char *dir, const char *path, int32_t version);
/* The same with the lock held. */
enum store_rc file_delete_locked(const char *dir, const char *path, int32_t version, int lock_fd);

#endif
