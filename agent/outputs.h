/* outputs.h - files for clients that shard by themselves, and a command after a change.
 *
 * A file is replaced in one step, only when its content differs from what is on the disk, and stays
 * as it is when there is nothing good to write: a pool that is gone, or that the format cannot
 * express, leaves its last file behind. One command runs at a time; it has 30 seconds.
 *
 * Threads:   the loop's; blocks on the disk.
 * Ownership: borrows loop and configuration until outputs_free(); topologies for the call.
 */
#ifndef TWINRING_AGENT_OUTPUTS_H
#define TWINRING_AGENT_OUTPUTS_H

#include "agent/agent_config.h"
#include "common/io.h"
#include "common/topology.h"

enum { OUTPUT_COMMAND_MS = 30000 };

struct outputs;

struct outputs_counts {
	uint64_t written;	  /* files                                     */
	uint64_t failed;	  /* files that could not be made or written   */
	uint64_t commands;	  /* started                                   */
	uint64_t commands_failed; /* not started, killed, or ended with not 0  */
};

/* Running out of memory aborts. */
struct outputs *outputs_new(struct io_loop *l, const struct agent_config *c);
void outputs_update(struct outputs *o, const struct topology *t);
void outputs_counts(const struct outputs *o, struct outputs_counts *out);
/* Ends a command that runs. Sets *o to NULL; NULL is a no-op. */
void outputs_free(struct outputs **o);

/* Another limit than OUTPUT_COMMAND_MS, for tests. */
struct outputs *outputs_new_timed(struct io_loop *l, const struct agent_config *c,
				  uint32_t command_ms);

#endif
