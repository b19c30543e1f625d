/* ring.h - which server owns a key: key -> index into the pool's server list.
 *
 * A ring is computed once from a list of servers and never changes; a changed list or an ejection
 * means a new ring. Each kind reproduces one existing program exactly, float rounding included, so
 * that a fleet can move to us without moving its data. Sources: twemproxy 0.5.0, wayfair/twemproxy,
 * RJ/ketama, wayfair/ketama (ring read from a file) and libmemcached 1.1.4.
 *
 * Rules where the originals are undefined or silent:
 *   live      a server counts only if it is not ejected and its weight is above 0; all totals are
 *             taken over live servers, so an ejection may also change the others' point counts.
 *   ties      of two servers with a point at the same place, the one earlier in the kind's own
 *             order wins: (name length, bytes) for the twemproxy kinds, strcmp for
 *             ketama_wayfair_lib, configuration order for the rest and among equal names.
 *   no points a live server too light to get a point owns nothing. Not all can be: the heaviest
 *             always gets some.
 *   no server a ring without live servers is valid; it maps every key to RING_NONE.
 *
 * Threads:   a ring is immutable: any number of threads may look up at once, without locks.
 * Ownership: ring_build() copies what it needs; the spec and its servers may go afterwards.
 */
#ifndef TWINRING_COMMON_RING_H
#define TWINRING_COMMON_RING_H

#include "common/err.h"
#include "common/hash.h"

enum ring_kind {
	RING_KETAMA,			   /* twemproxy `ketama` */
	RING_KETAMA_LIBMEMCACHED,	   /* weighted as soon as any configured weight exceeds 1 */
	RING_KETAMA_LIBMEMCACHED_WEIGHTED, /* php, pylibmc: usually with `hash: md5` */
	RING_KETAMA_RJ,			   /* last.fm libketama; always hashes keys with MD5 */
	RING_KETAMA_WAYFAIR,	  /* Wayfair's twemproxy: 160 points each, weight ignored */
	RING_KETAMA_WAYFAIR_LIB,  /* Wayfair's libketama; always hashes keys with FNV-1a 32 */
	RING_MODULA,		  /* twemproxy `modula` */
	RING_MODULA_LIBMEMCACHED, /* configuration order, weight ignored */
	RING_RANDOM,		  /* any live server, weight ignored */
	RING_KIND_MAX
};

#define RING_NONE	 UINT32_MAX
#define RING_SERVERS_MAX (1u << 20) /* keeps every point count within 32 bits */

struct ring_server {
	const char *name; /* explicit name, or NULL */
	const char *host; /* as typed: the text is hashed, so localhost is not 127.0.0.1 */
	uint16_t port;	  /* 0: unix socket, and `host` is its path */
	uint32_t weight;
	bool ejected;
};

struct ring_spec {
	enum ring_kind kind;
	enum hash_kind hash; /* key hash; RJ, WAYFAIR_LIB and RANDOM do not use it */
	char hash_tag[2];    /* hash_tag[0] == 0: none */
	const struct ring_server *servers;
	uint32_t server_count;
	uint64_t random_seed; /* RANDOM: where a zero `rng` state starts */
};

struct ring;

/* The `distribution:` word, case-sensitive. False leaves *kind_out alone. */
bool ring_kind_parse(struct slice name, enum ring_kind *kind_out);

/* Static text; NULL for a value that is no ring kind. */
const char *ring_kind_name(enum ring_kind kind);

/* ERR_INVALID: unknown kind or hash, more than RING_SERVERS_MAX servers, a server without host, or
 * live weights adding up to more than UINT32_MAX. ERR_NOMEM. No live server is not an error: see
 * RING_NONE. On failure *ring_out is NULL. Costs about 15 ms per 1,000 servers: not for a worker's
 * tick. */
enum err ring_build(const struct ring_spec *spec, struct ring **ring_out);

/* Index into the spec's servers, or RING_NONE if none is live. Applies the hash tag, and the rule
 * that twemproxy and libmemcached kinds hash the empty key to 0. `rng` is the caller's own 64-bit
 * state, not shared between threads; only RANDOM reads and writes it, others may pass NULL. */
uint32_t ring_lookup(const struct ring *ring, struct slice key, uint64_t *rng);

/* The same for keys[0], keys[step], ... `count` of them. */
void ring_lookup_keys(const struct ring *ring, const struct slice *keys, uint32_t step,
		      uint32_t count, uint64_t *rng, uint32_t *owners_out);

/* The same in two halves, for who asks two rings about one key. A point is good for every ring that
 * ring_shares_points() with the one it was asked of; never for RANDOM, which hashes no keys. */
uint32_t ring_point(const struct ring *ring, struct slice key);
uint32_t ring_owner(const struct ring *ring, uint32_t point);
bool ring_shares_points(const struct ring *a, const struct ring *b);

/* Points of the continuum; for modula kinds and RANDOM the length of the list drawn from. */
uint32_t ring_point_count(const struct ring *ring);

/* How many of them are this server's. Walks the ring: for reports, not for requests. */
uint32_t ring_server_point_count(const struct ring *ring, uint32_t server);

/* Rings with equal checksums send every key to a server of the same ring name, whatever order the
 * servers were configured in and whatever the kinds are called. XXH64; comparable between
 * processes and architectures. */
uint64_t ring_checksum(const struct ring *ring);

/* Frees and sets *ring to NULL. NULL is a no-op. */
void ring_free(struct ring **ring);

/* twemproxy's name of a server: its explicit name; `host` on port 11211; else `host:port`. An
 * unnamed unix socket is `path:`. Returns the full length; what fits in `cap` is written and ends
 * in NUL, as snprintf does. */
size_t ring_server_name(const struct ring_server *server, char *buf, size_t cap);

#endif
