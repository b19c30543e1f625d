/* zk_server.h - a real ZooKeeper server on a free loopback port, for the tests. It ends with the
 * process that started it. */
#ifndef TWINRING_TESTS_AGENT_ZK_SERVER_H
#define TWINRING_TESTS_AGENT_ZK_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct zk_server {
	char dir[64];
	int port;
	pid_t pid; /* 0: not running */
};

/* Prepare; nothing runs yet. A later start keeps port and data. ensemble: of how many servers it
 * takes itself for one; the others do not exist. */
void zk_server_init(struct zk_server *z, int ensemble);
/* Start it, and wait until it takes connections (run), or serves (start). */
void zk_server_run(struct zk_server *z);
void zk_server_start(struct zk_server *z);
/* kill -9. */
void zk_server_kill(struct zk_server *z);
/* Kill, and remove its data. */
void zk_server_fini(struct zk_server *z);

#endif
