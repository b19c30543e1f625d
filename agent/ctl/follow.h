/* follow.h - commands that go on until Ctrl-C. */
#ifndef TWINRING_AGENT_CTL_FOLLOW_H
#define TWINRING_AGENT_CTL_FOLLOW_H

#include "agent/ctl/ctl.h"

/* From now on SIGINT and SIGTERM end follow_wait instead of the process. */
void follow_begin(void);
/* A store that is away for a while may come back; any other trouble ends it. */
bool follow_goes_on(const struct ctl *c, enum ctl_exit last);
/* Wait for a change of what is watched. False: told to stop. */
bool follow_wait(struct ctl *c);

#endif
