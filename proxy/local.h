/* local.h - the answers that the proxy gives itself: handshakes, version, stats, INFO ...
 *
 * Threads: called on the client's worker. A local answer is written at once and never blocks;
 * the numbers it shows are sums over all workers and may be a moment old.
 */
#ifndef TWINRING_PROXY_LOCAL_H
#define TWINRING_PROXY_LOCAL_H

#include "common/codec.h"

/* What a Redis client has said of itself; allocated when it first says something. */
struct session_names {
	char *name;	/* CLIENT SETNAME, or NULL          */
	char *lib_name; /* CLIENT SETINFO LIB-NAME, or NULL */
	char *lib_ver;
};

/* The part of a client that local answers may change. */
struct session {
	struct session_names *names; /* NULL: nothing said; session_fini() frees it */
	uint8_t resp;		     /* dialect: 2 or 3                             */
	bool authenticated;	     /* true from the start when no password is set */
};

/* The figures behind `stats` and INFO: sums over all workers, of this pool. */
struct local_figures {
	uint64_t uptime_s, time_s, rusage_user_us, rusage_system_us, rss_bytes;
	uint64_t clients, clients_total, requests, reads, writes, touches, hits, misses;
	uint64_t client_bytes_in, client_bytes_out; /* from and to clients */
	uint64_t server_connections, requests_per_second;
	uint32_t threads, server_count, servers_down;
};

struct local_env {
	struct session *session;
	const struct pool_spec *pool;
	const struct codec_limits *limits;
	uint64_t client_id;
	uint16_t port;	      /* that the client connected to; 0: unix socket */
	char peer[64];	      /* "127.0.0.1:5000"                             */
	char here[64];	      /* the listener's side                          */
	uint64_t now_us;      /* wall clock                                   */
	uint64_t connected_s; /* how long this client has been connected      */
	void (*figures)(void *ctx, struct local_figures *out);
	void *ctx;
};

enum local_result { LOCAL_ANSWERED, LOCAL_CLOSE /* after the answer is flushed */ };

/* Write the reply to an OP_LOCAL command into *out (append only). */
enum local_result local_mc(struct local_env *env, const struct command *cmd, struct scratch *out);
enum local_result local_redis(struct local_env *env, const struct command *cmd,
			      struct scratch *out);

/* Before routing any Redis command: false, with the -NOAUTH reply in *out, when the client must
 * authenticate first. */
bool local_redis_may(const struct session *s, const struct pool_spec *pool,
		     const struct command *cmd, struct scratch *out);

void session_fini(struct session *s);

#endif
