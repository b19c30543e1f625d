/* events.h - what the agent tells the world outside, by name. */
#ifndef TWINRING_AGENT_EVENTS_H
#define TWINRING_AGENT_EVENTS_H

/* clang-format off */
#define AGENT_EVENT_TABLE(X)                                                                      \
	X(SERVER_EJECTED,    "server.ejected",    "a server left its pool's ring")                \
	X(SERVER_RETURNED,   "server.returned",   "a server is back in its pool's ring")          \
	X(SERVER_QUARANTINED,"server.quarantined","a server stays out until an operator acts")    \
	X(POOL_PANIC,        "pool.panic",        "more servers are bad than may be ejected")     \
	X(POOL_STEP,         "pool.step",         "a pool's state went on by a step")             \
	X(POOL_REJECTED,     "pool.rejected",     "a pool's spec was refused")                    \
	X(TOPOLOGY_REFUSED,  "topology.refused",  "a tree or a topology was refused")             \
	X(STORE_LOST,        "store.lost",        "the store is away")                            \
	X(STORE_BACK,        "store.back",        "the store is there again")                     \
	X(COORDINATOR,       "coordinator.elected", "this agent coordinates from now on")
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
