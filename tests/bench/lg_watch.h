/* lg_watch.h - CPU time of another process, read from /proc.
 *
 * The generator reads it itself, at the two edges of the timed window, so that the CPU time and the
 * requests that it is divided by cover the same interval to within microseconds.
 */
#ifndef TESTS_BENCH_LG_WATCH_H
#define TESTS_BENCH_LG_WATCH_H

#include <stdint.h>

#define LG_WATCH_MAX 8

struct lg_cpu {
	uint64_t run_ns;  /* on a CPU; exact                                           */
	uint64_t wait_ns; /* runnable but not running: what the neighbours took        */
	uint64_t user_ticks, sys_ticks; /* sampled by the kernel: only their ratio is of use */
};

/* Sum over the threads that live now. 0, or -1 when the process is gone. */
int lg_watch_read(int pid, struct lg_cpu *cpu_out);

#endif
