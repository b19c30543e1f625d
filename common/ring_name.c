/* ring_name.c - how the originals name and order servers. The names are what ketama hashes. */
#include <stdio.h>

#include "common/ring_variant.h"

enum { PORT_MEMCACHED = 11211 };

/* Any snprintf failure would be an encoding error, which %s and %u cannot have. */
#define NAME(...) ((size_t)snprintf(buf, cap, __VA_ARGS__))

size_t ring_server_name(const struct ring_server *s, char *buf, size_t cap)
{
	if (s->name) return NAME("%s", s->name);
	if (s->port == PORT_MEMCACHED) return NAME("%s", s->host);
	if (s->port == 0) return NAME("%s:", s->host); /* twemproxy's trailing colon */
	return NAME("%s:%u", s->host, s->port);
}

/* As above, but a unix socket has port 0 like any other. */
size_t ring_name_libmemcached(const struct ring_server *s, char *buf, size_t cap)
{
	if (s->name || s->port == PORT_MEMCACHED) return ring_server_name(s, buf, cap);
	return NAME("%s:%u", s->host, s->port);
}

/* The libketama file holds host:port and hashes it as typed, 11211 included. */
size_t ring_name_libketama(const struct ring_server *s, char *buf, size_t cap)
{
	if (s->name) return NAME("%s", s->name);
	if (s->port == 0) return NAME("%s", s->host);
	return NAME("%s:%u", s->host, s->port);
}

int ring_order_twemproxy(const struct ring_member *a, const struct ring_member *b)
{
	if (a->name.n != b->name.n) return a->name.n < b->name.n ? -1 : 1;
	return memcmp(a->name.p, b->name.p, a->name.n);
}

int ring_order_strcmp(const struct ring_member *a, const struct ring_member *b)
{
	return strcmp(a->name.p, b->name.p);
}
