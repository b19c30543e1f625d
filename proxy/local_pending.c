/* Stands in until the Redis answers land; weak, so that they replace it. */
#include "proxy/local.h"

#pragma weak local_redis
#pragma weak local_redis_may
#pragma weak session_fini

enum local_result local_redis(struct local_env *env, const struct command *cmd, struct scratch *out)
{
	(void)env;
	(void)cmd;
	scratch_puts(out, SLICE("-ERR not supported yet\r\n"));
	return LOCAL_ANSWERED;
}

bool local_redis_may(const struct session *s, const struct pool_spec *pool,
		     const struct command *cmd, struct scratch *out)
{
	(void)pool;
	(void)cmd;
	if (!s->authenticated) scratch_puts(out, SLICE("-NOAUTH Authentication required.\r\n"));
	return s->authenticated;
}

void session_fini(struct session *s)
{
	(void)s;
}
