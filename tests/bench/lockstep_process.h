/* lockstep_process.h - another process, stopped at a moment in which all its threads sleep. */
#ifndef TESTS_BENCH_LOCKSTEP_PROCESS_H
#define TESTS_BENCH_LOCKSTEP_PROCESS_H

#include <stdbool.h>

/* Waits until it has nothing to do, then stops it: it is always found at the same place. false: it
 * has gone, or is never at rest. */
bool process_stop_asleep(int pid);
void process_continue(int pid);

#endif
