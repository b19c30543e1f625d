/* topology.h - everything a proxy needs to route, as plain data.
 *
 * Pure: no I/O, no clock, no globals. A topology is built once (by config.c from a file, or by
 * topology_from_json from a control message), validated, and then never changes: any thread may
 * read it while it holds it alive. Whoever built it frees it.
 */
#ifndef TWINRING_COMMON_TOPOLOGY_H
#define TWINRING_COMMON_TOPOLOGY_H

#include <jansson.h>

#include "common/err.h"
#include "common/hash.h"
#include "common/list.h"
#include "common/ring.h"
#include "common/transition.h"

enum protocol { PROTOCOL_MEMCACHED, PROTOCOL_REDIS, PROTOCOL_MAX };

enum on_server_error {
	ON_ERROR_ERROR, /* clients get the error                          */
	ON_ERROR_MISS,	/* reads become misses; writes still get the error */
};

/* Who serves the keys of an ejected server. */
enum failover {
	FAILOVER_RING,	/* the next server on the ring                            */
	FAILOVER_ERROR, /* nobody: requests fail, as on_server_error says         */
	FAILOVER_POOL,	/* the pool `failover_pool`, by its own ring              */
};

/* One cache node. The ring is built from names, so an address may change under a name. */
struct server_spec {
	char *name;	 /* explicit ring label, or NULL             */
	char *ring_name; /* label the ring uses; unique in its pool  */
	char *host;	 /* as typed; a path when port is 0          */
	uint16_t port;	 /* 0: unix socket                           */
	uint32_t weight; /* >= 1                                     */
	bool ejected;	 /* out of the ring by verdict ...           */
	bool held;	 /* ... but its arcs are nobody's yet        */
};

struct pool_spec {
	char *name;
	enum protocol protocol;
	enum ring_kind distribution;
	enum hash_kind hash;
	char hash_tag[2]; /* [0] == 0: none */
	struct server_spec *servers;
	uint32_t server_count;

	uint32_t timeout_ms; /* a request's, from its arrival at the server's queue; 0: never */
	uint32_t connect_timeout_ms; /* 0: timeout_ms, and if that is 0 too, 1000       */
	uint32_t server_connections; /* per worker and server, >= 1                     */
	bool preconnect;	     /* connect when the topology is applied            */
	bool auto_eject_hosts;	     /* twemproxy's: ring rebuilt without a failing one */
	uint32_t server_retry_timeout_ms;
	uint32_t server_failure_limit; /* consecutive failures until TKO; 0 counts as 1   */
	char *auth_user;	       /* NULL: none. Redis only                          */
	char *auth_password;	       /* NULL: none; sent upstream, demanded of clients  */
	uint32_t redis_db;	       /* SELECT after AUTH on every server connection    */
	enum on_server_error on_error;
	enum failover failover;
	char *failover_pool;	  /* a pool of the same topology and protocol; NULL unless _POOL */
	bool cas_tags;		  /* memcached: cas tokens name the process that gave them */
	bool meta_commands;	  /* memcached: clients may use them               */
	bool allow_flush;	  /* flush_all / FLUSHALL / FLUSHDB reach all servers */
	uint32_t inflight_max;	  /* requests queued or unanswered per server connection */
	uint32_t value_max_bytes; /* one value or bulk argument                      */
	bool keepalive;		  /* SO_KEEPALIVE to servers                         */

	struct transition *transition; /* on its way to another ring; NULL: stable. Owned */
};

struct topology {
	char *lineage;	  /* "" for files              */
	uint64_t epoch;	  /* of the latest transition  */
	uint32_t step;	  /* within the epoch          */
	uint64_t version; /* highest zxid, or a counter */
	struct pool_spec *pools;
	uint32_t pool_count;
	json_t *routes; /* owned; named route trees, or NULL */
};

const char *protocol_name(enum protocol p);

/* The pool called `name`, or NULL. Borrowed from `t`. */
const struct pool_spec *topology_pool(const struct topology *t, struct slice name);

/* The pool that takes over from `p`'s ejected servers, or NULL when `failover` names none. */
const struct pool_spec *topology_failover(const struct topology *t, const struct pool_spec *p);

/* Parse and validate a whole snapshot ({lineage, epoch, step, version, pools: {NAME: {...}},
 * transitions: {NAME: {phase, next: {...}, ...}}, routes}); pools in the native spelling. On error
 * nothing is allocated, the first problem is in *where_out with a JSON path, and *count_out (may be
 * NULL) says how many there were. */
enum err topology_from_json(const json_t *doc, struct topology **topology_out,
			    struct err_at *where_out);

/* The inverse: a new reference, every effective value spelled out. */
json_t *topology_to_json(const struct topology *t);
/* One pool of it, without its name and its transition: a new reference, or NULL: no memory. */
json_t *pool_spec_to_json(const struct pool_spec *p);

/* By name and address; servers of the pools that a key's two owners by two rings belong to. */
bool server_spec_same(const struct server_spec *a, const struct server_spec *b);

/* Deep copy; NULL when out of memory. */
struct topology *topology_copy(const struct topology *t);

/* Frees and sets *t to NULL; NULL is a no-op. */
void topology_free(struct topology **t);

#endif
