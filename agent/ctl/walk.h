/* walk.h - a transition as operators see it, from the state and the coordinator's status. */
#ifndef TWINRING_AGENT_CTL_WALK_H
#define TWINRING_AGENT_CTL_WALK_H

#include "agent/ctl/view.h"

/* {"pool", "epoch", "step", "phase", "goal", "paused", "slices", "from", "to", "lost",
 * "hit_percent", "blocked_on", "job"}, or {"pool", "phase": "stable"}: a new reference. */
json_t *walk_json(const struct view *v);
/* A list of such. */
void walk_print(const json_t *all);

#endif
