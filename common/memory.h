/* memory.h - out of memory means abort, also in the libraries that we stand on.
 *
 * Our own code aborts when an allocation of bounded size fails, as nothing sensible is left to do.
 * libevent, jansson and uthash would go on with half an object instead; here they learn better.
 */
#ifndef TWINRING_COMMON_MEMORY_H
#define TWINRING_COMMON_MEMORY_H

#include <stdlib.h>

#define uthash_fatal(why) abort()
#include <uthash.h>

/* Before either library is used for the first time. Not thread-safe. */
void memory_abort_when_out(void);

#endif
