/* mover_rig.h - real servers, pools of them with two rings, and plain clients, for tests of jobs
 * that work on all servers of a pool.
 */
#ifndef TWINRING_TESTS_UNIT_AGENT_MOVER_RIG_H
#define TWINRING_TESTS_UNIT_AGENT_MOVER_RIG_H

#include <jansson.h>

#include "common/ring.h"
#include "common/topology_ring.h"
#include "tests/unit/agent/fake.h"

enum { RIG_SERVERS = 4 };

/* One pool, by a list of places in `servers`. */
struct rig_pool {
	struct pool_spec spec;
	struct server_spec servers[RIG_SERVERS];
	struct ring *ring;
};

static inline void rig_pool_init(struct rig_pool *p, enum protocol protocol,
				 const struct real *servers, const int *which, uint32_t count)
{
	static char names[RIG_SERVERS][8] = { "c0", "c1", "c2", "c3" };
	memset(p, 0, sizeof(*p));
	p->spec = (struct pool_spec){ .name = "main",
				      .protocol = protocol,
				      .servers = p->servers,
				      .server_count = count,
				      .server_connections = 1 };
	for (uint32_t i = 0; i < count; i++)
		p->servers[i] = (struct server_spec){ .name = names[which[i]],
						      .ring_name = names[which[i]],
						      .host = "127.0.0.1",
						      .port = servers[which[i]].port,
						      .weight = 1 };
	ck_assert_int_eq(pool_ring_build(&p->spec, &p->ring), ERR_NONE);
}

/* The port of a key's owner. */
static inline uint16_t rig_owner(const struct rig_pool *p, const char *key)
{
	return p->servers[ring_lookup(p->ring, slice_of(key), NULL)].port;
}

static inline void rig_pool_fini(struct rig_pool *p)
{
	ring_free(&p->ring);
}

/* --- clients ---------------------------------------------------------------------------------- */

struct rig_client {
	uint16_t port;
	FILE *in, *out;
};

static inline void rig_connect(struct rig_client *c, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	struct timeval limit = { 20, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	c->port = port;
	c->in = fdopen(fd, "r");
	c->out = fdopen(dup(fd), "w");
	setvbuf(c->out, NULL, _IOFBF, 1 << 16);
}

static inline void rig_hang_up(struct rig_client *c)
{
	if (c->in) fclose(c->in);
	if (c->out) fclose(c->out);
	c->in = c->out = NULL;
}

/* A line of the answer, without its CRLF. False: the server hung up, or is silent. */
static inline bool rig_line(struct rig_client *c, char *line, size_t cap)
{
	if (!fgets(line, (int)cap, c->in)) return false;
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

/* Send what was printed to c->out, and read one line. */
static inline const char *rig_ask(struct rig_client *c, char *line, size_t cap)
{
	fflush(c->out);
	if (!rig_line(c, line, cap)) snprintf(line, cap, "(nothing)");
	return line;
}

/* What a bulk string holds; NULL: nil. */
static inline const char *rig_bulk(struct rig_client *c, char *value, size_t cap)
{
	char head[64];
	if (rig_ask(c, head, sizeof(head))[0] != '$' || head[1] == '-') return NULL;
	size_t n = strtoull(head + 1, NULL, 10);
	ck_assert_uint_lt(n + 2, cap);
	ck_assert_uint_eq(fread(value, 1, n + 2, c->in), n + 2);
	value[n] = '\0';
	return value;
}

#endif
