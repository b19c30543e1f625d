/* topology_server.h - a server as people write it: "host:port:weight name". */
#ifndef TWINRING_COMMON_TOPOLOGY_SERVER_H
#define TWINRING_COMMON_TOPOLOGY_SERVER_H

#include "common/report.h"
#include "common/topology.h"

/* Read one entry of a `servers` list into the zeroed *out. What is wrong is reported and leaves
 * out->ring_name NULL; the caller frees with server_fini either way. */
typedef void server_read_fn(const struct node *n, struct server_spec *out, struct report *r);

/* Our own spelling: text or mapping; the weight may be missing (1), IPv6 in brackets or not. */
server_read_fn server_read_native;
/* Exactly what nutcracker takes, with the ring name that it would use. */
server_read_fn server_read_nutcracker;

void server_fini(struct server_spec *s);

/* nutcracker's numbers: decimal digits only, kept in 32 bits: more wraps around, silently there.
 * False: no number, or one that wraps to below 0 (then *wrapped_out is true). */
bool nutcracker_number(const char *text, size_t n, uint32_t *number_out, bool *wrapped_out);

#endif
