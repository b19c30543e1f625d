/* listen.h - addresses to listen on: the parser that config.h declares, and its inverse. Pure. */
#ifndef TWINRING_COMMON_LISTEN_H
#define TWINRING_COMMON_LISTEN_H

#include "common/config.h"

/* A new string that listen_spec_parse reads back to the same; NULL when out of memory. */
char *listen_spec_text(const struct listen_spec *l);

#endif
