/* failpoint.h - places where tests let an agent die: TWINRING_FAILPOINT=NAME in its environment,
 * and the first time it gets there it is killed as by kill -9. Names are listed in failpoint.def.
 *
 * Always compiled in, so that what is tested is what runs; only control paths ask, some hundred
 * times in a transition, and only for a variable that is not set.
 */
#ifndef TWINRING_AGENT_FAILPOINT_H
#define TWINRING_AGENT_FAILPOINT_H

void failpoint(const char *name);

#endif
