/* stats_process.h - what the operating system knows of this process.
 *
 * Any thread. Reads /proc and walks malloc's heaps: cheap enough for a scrape, not for a request.
 * What cannot be read is 0.
 */
#ifndef TWINRING_PROXY_STATS_PROCESS_H
#define TWINRING_PROXY_STATS_PROCESS_H

#include <stdint.h>

struct stats_usage {
	uint64_t resident_bytes, virtual_bytes;
	uint64_t heap_bytes; /* handed out by malloc, big mappings included */
	uint64_t open_fds, max_fds;
	uint64_t user_us, system_us, cpu_us; /* processor time; cpu is both */
};

void stats_usage_read(struct stats_usage *out);

#endif
