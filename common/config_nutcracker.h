/* config_nutcracker.h - nutcracker.yml, as it is, into our model.
 *
 * Every file that nutcracker 0.5.0 takes is taken and means the same. Refused nevertheless, because
 * it cannot work or hides a mistake: names with control characters or over 255 bytes, paths of unix
 * sockets that no socket can have, weights whose sum exceeds 32 bits, one address spelt in two ways
 * (port 022121: nutcracker -t takes it, and fails at start). What nutcracker does silently (numbers
 * that wrap around at 32 bits, a mode that is no number, an empty host) draws a warning.
 * Also taken, though nutcracker refuses it: flow style, "---", IPv6 in brackets, `reuseport`, our
 * other distributions, a single server that is no list.
 */
#ifndef TWINRING_COMMON_CONFIG_NUTCRACKER_H
#define TWINRING_COMMON_CONFIG_NUTCRACKER_H

#include "common/config.h"
#include "common/report.h"

/* Does the document look like nutcracker's, or like an attempt at it? */
bool config_is_nutcracker(const struct node *doc);

/* Fill c->listeners and c->topology, which exists and is empty. */
void config_read_nutcracker(struct config *c, const struct node *doc, struct report *r);

#endif
