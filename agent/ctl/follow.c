#include "agent/ctl/follow.h"

#include <signal.h>

/* The handler's; there is no other way to reach it. */
static volatile sig_atomic_t follow_stopped;

static void follow_on_signal(int signal)
{
	(void)signal;
	follow_stopped = 1;
}

void follow_begin(void)
{
	struct sigaction act = { .sa_handler = follow_on_signal };
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
}

bool follow_goes_on(const struct ctl *c, enum ctl_exit last)
{
	return last == CTL_OK || (last == CTL_AWAY && c->client != NULL && client_lives(c->client));
}

bool follow_wait(struct ctl *c)
{
	return client_wait_change(c->client, &follow_stopped);
}
