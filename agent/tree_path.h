/* tree_path.h - names in the tree. A server's ring name may hold what a node's name must not. */
#ifndef TWINRING_AGENT_TREE_PATH_H
#define TWINRING_AGENT_TREE_PATH_H

#include "agent/store.h"

/* "pools/POOL/REST", formatted. */
void pool_path(char path[STORE_PATH_MAX], const char *pool, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum { NODE_NAME_MAX = 800 };
/* '/', '%' and control characters become %XX, so that any ring name is a node's name. */
void node_name(char out[NODE_NAME_MAX], const char *server);

#endif
