#include "agent/events.h"

#include <stddef.h>

static const struct {
	const char *name, *help;
} events[AGENT_EVENT_MAX] = {
#define AGENT_EVENT_ROW(id, name, help) { name, help },
	AGENT_EVENT_TABLE(AGENT_EVENT_ROW)
#undef AGENT_EVENT_ROW
};

const char *agent_event_name(unsigned event)
{
	return event < AGENT_EVENT_MAX ? events[event].name : NULL;
}

const char *agent_event_help(unsigned event)
{
	return event < AGENT_EVENT_MAX ? events[event].help : NULL;
}
