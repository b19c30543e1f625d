/* usage.h - what the operating system knows of this process.
 *
 * Any thread. Reads /proc and walks malloc's heaps: cheap enough for a scrape, not for a request.
 * What cannot be read is 0.
 */
#ifndef TWINRING_COMMON_USAGE_H
#define TWINRING_COMMON_USAGE_H

#include <stdint.h>

struct usage {
	uint64_t resident_bytes, virtual_bytes;
	uint64_t heap_bytes; /* handed out by malloc, big mappings included */
	uint64_t open_fds, max_fds;
	uint64_t user_us, system_us, cpu_us; /* processor time; cpu is both */
};

void usage_read(struct usage *out);

#endif
