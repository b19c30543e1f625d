/* where.h - `--where POOL [KEY...]`: which server owns each key, without serving anything. */
#ifndef TWINRING_PROXY_WHERE_H
#define TWINRING_PROXY_WHERE_H

#include "common/topology.h"
#include "proxy/options.h"

/* Print "key<TAB>ring name" for each key of the command line, or for each line of standard input.
 * Returns the exit status. */
int where_print(const struct topology *t, const struct options *o);

#endif
