/* clock.h - the sole source of time. Everything else gets time as an argument or from here, so
 * that the simulator can put another clock in its place. Any thread; never fails.
 */
#ifndef TWINRING_COMMON_CLOCK_H
#define TWINRING_COMMON_CLOCK_H

#include <stdint.h>

/* Monotonic microseconds since some moment in the past: for deadlines and durations. */
uint64_t clock_now_us(void);

/* The same, but it also counts while the machine is suspended: for leases. */
uint64_t clock_boot_us(void);

/* Microseconds since 1970, UTC: for people and timestamps; may jump. */
uint64_t clock_wall_us(void);

#endif
