/* events.h - what the agent tells the world outside, by name; the decisions among them are called
 * the same in the tree's log. */
#ifndef TWINRING_AGENT_EVENTS_H
#define TWINRING_AGENT_EVENTS_H

/* clang-format off */
#define AGENT_EVENT_TABLE(X)                                                                      \
	X(APPLIED,     "applied",     "the coordinator made a spec the state of its pool")         \
	X(REFUSED,     "refused",     "the coordinator refused a spec")                            \
	X(EJECTED,     "ejected",     "a server left its pool's ring")                             \
	X(RETURNED,    "returned",    "a server is back in its pool's ring")                       \
	X(QUARANTINED, "quarantined", "an ejected server stays out until an operator acts")        \
	X(STATE_BROKEN, "state broken", "the coordinator found a pool's state unusable; it waits for an " \
	  "operator")                                                                              \
	X(STATE_WHOLE, "state whole", "no longer")                                                 \
	X(TRANSITION_BEGUN, "transition begun", "a pool is on its way to another ring")             \
	X(STEP,        "step",        "a transition took a step")                                  \
	X(TRANSITION_DONE, "transition done", "it has arrived")                                     \
	X(TRANSITION_UNDONE, "transition undone", "it is back at the old ring")                     \
	X(BIG_KEY,     "big key",     "a value is too large to be moved: with mode storage that "  \
	  "blocks a transition")                                                                   \
	X(RESTARTED,   "server restarted", "while keys move: the transition is paused")             \
	X(PANIC_BEGUN, "panic begun", "more servers of a pool are bad than may be ejected")        \
	X(PANIC_ENDED, "panic ended", "no longer")                                                 \
	X(BLIND_BEGUN, "blind begun", "too few nannies vote to eject a pool's servers")            \
	X(BLIND_ENDED, "blind ended", "no longer")                                                 \
	X(STORE_LOST,  "store lost",  "this agent has no connection to the store")                 \
	X(STORE_BACK,  "store back",  "it has one again")                                          \
	X(TREE_REFUSED, "tree refused", "this agent cannot follow the tree and keeps the last good one") \
	X(TREE_GOOD,   "tree good",   "it follows again")
/* clang-format on */

enum agent_event {
#define AGENT_EVENT_ENUM(id, name, help) AGENT_EVENT_##id,
	AGENT_EVENT_TABLE(AGENT_EVENT_ENUM)
#undef AGENT_EVENT_ENUM
	    AGENT_EVENT_MAX
};

/* NULL beyond the last. */
const char *agent_event_name(unsigned event);
const char *agent_event_help(unsigned event);

#endif
