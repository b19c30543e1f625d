/* local_redis_auth.c - AUTH and HELLO: who the client is, and which dialect it speaks. */
#include "proxy/local_redis.h"

static const char wrong_password[] =
    "WRONGPASS invalid username-password pair or user is disabled.";

/* Takes as long for a wrong password as for a right one of that length. */
static bool same_secret(struct slice given, const char *secret)
{
	if (given.n != strlen(secret)) return false;
	volatile unsigned char differ = 0;
	for (size_t i = 0; i < given.n; i++) differ |= (unsigned char)(given.p[i] ^ secret[i]);
	return differ == 0;
}

/* Without a password the default user needs none, and takes any. */
static bool check_password(struct answer *a, struct slice user, struct slice password)
{
	const struct pool_spec *pool = a->env->pool;
	const char *name = pool->auth_user ? pool->auth_user : "default";
	bool good = slice_eq(user, slice_of(name)) &&
		    (!pool->auth_password || same_secret(password, pool->auth_password));
	if (good) a->env->session->authenticated = true;
	else put_error(a, "%s", wrong_password);
	return good;
}

static bool must_authenticate(const struct session *s, const struct pool_spec *pool)
{
	return !s->authenticated && pool->auth_password;
}

bool local_redis_may(const struct session *s, const struct pool_spec *pool,
		     const struct command *cmd, struct scratch *out)
{
	if (!must_authenticate(s, pool)) return true;
	switch (cmd->info->id) {
	case RESP_AUTH:
	case RESP_HELLO:
	case RESP_QUIT:
	case RESP_RESET:
	/* Told to anybody, as redis does: it says nothing about the pool. */
	case RESP_NOT_KNOWN:
	case RESP_NOT_ALLOWED: return true;
	}
	scratch_puts(out, SLICE("-NOAUTH Authentication required.\r\n"));
	return false;
}

void answer_auth(struct answer *a)
{
	if (a->cmd->argc > 3) put_error(a, "ERR syntax error");
	else if (a->cmd->argc == 2 && !a->env->pool->auth_password)
		put_error(a, "ERR AUTH <password> called without any password configured for the "
			     "default user. Are you sure your configuration is correct?");
	else if (check_password(a, a->cmd->argc == 3 ? arg(a, 1) : SLICE("default"),
				arg(a, a->cmd->argc - 1)))
		put_status(a, "OK");
}

struct hello {
	int64_t version; /* 0: none given */
	struct slice user, password, name;
	bool has_auth, has_name;
};

/* False: refused, with the error written. */
static bool parse_hello(struct answer *a, struct hello *h)
{
	uint32_t argc = a->cmd->argc;
	if (argc >= 2 && !arg_integer(arg(a, 1), &h->version)) {
		put_error(a, "ERR Protocol version is not an integer or out of range");
		return false;
	}
	if (argc >= 2 && (h->version < 2 || h->version > 3)) {
		put_error(a, "NOPROTO unsupported protocol version");
		return false;
	}
	for (uint32_t i = 2; i < argc; i++) {
		uint32_t more = argc - 1 - i;
		if (resp_is(arg(a, i), "auth") && more >= 2) {
			h->has_auth = true;
			h->user = arg(a, ++i);
			h->password = arg(a, ++i);
		} else if (resp_is(arg(a, i), "setname") && more >= 1) {
			h->has_name = true;
			h->name = arg(a, ++i);
			if (!check_client_name(a, h->name)) return false;
		} else {
			put_error(a, "ERR Syntax error in HELLO option '%.*s'",
				  (int)strnlen(arg(a, i).p, arg(a, i).n < 128 ? arg(a, i).n : 128),
				  arg(a, i).p);
			return false;
		}
	}
	return true;
}

void answer_hello(struct answer *a)
{
	struct hello h = { 0 };
	struct session *s = a->env->session;
	if (!parse_hello(a, &h)) return;
	if (h.has_auth && !check_password(a, h.user, h.password)) return;
	if (must_authenticate(s, a->env->pool)) {
		put_error(a, "NOAUTH HELLO must be called with the client already authenticated, "
			     "otherwise the HELLO AUTH <user> <pass> option can be used to "
			     "authenticate the client and select the RESP protocol version at the "
			     "same time");
		return;
	}
	if (h.has_name) session_set_name(s, h.name);
	if (h.version) s->resp = (uint8_t)h.version;
	put_map(a, 7);
	put_bulk(a, "server");
	put_bulk(a, "redis");
	put_bulk(a, "version");
	put_bulk(a, LOCAL_REDIS_VERSION);
	put_bulk(a, "proto");
	put_int(a, s->resp);
	put_bulk(a, "id");
	put_int(a, (int64_t)a->env->client_id);
	put_bulk(a, "mode");
	put_bulk(a, "standalone");
	put_bulk(a, "role");
	put_bulk(a, "master");
	put_bulk(a, "modules");
	put_array(a, 0);
}
