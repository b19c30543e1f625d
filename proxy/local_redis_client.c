/* local_redis_client.c - CLIENT: what connections say of themselves, and ask.
 *
 * Other clients are not shown: a proxy's clients are many, of many owners, and spread over workers.
 */
#include "proxy/local_redis.h"

#include <stdlib.h>

enum { NAME_MAX_BYTES = 256 }; /* memory that an idle client may hold by each name */

static bool is_plain(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '!' || s.p[i] > '~') return false;
	return true;
}

static struct session_names *session_names(struct session *s)
{
	if (!s->names) s->names = calloc(1, sizeof(*s->names));
	if (!s->names) abort();
	return s->names;
}

static void set_name(char **name, struct slice value)
{
	free(*name);
	*name = NULL;
	if (value.n == 0) return;
	*name = strndup(value.p, value.n);
	if (!*name) abort();
}

bool check_client_name(struct answer *a, struct slice name)
{
	bool plain = is_plain(name);
	if (!plain)
		put_error(a, "ERR Client names cannot contain spaces, newlines or special "
			     "characters.");
	else if (name.n > NAME_MAX_BYTES)
		put_error(a, "ERR Client names cannot be longer than %d bytes.", NAME_MAX_BYTES);
	return plain && name.n <= NAME_MAX_BYTES;
}

void session_set_name(struct session *s, struct slice name)
{
	if (name.n || s->names) set_name(&session_names(s)->name, name);
}

void answer_client_setname(struct answer *a)
{
	if (!check_client_name(a, arg(a, 2))) return;
	session_set_name(a->env->session, arg(a, 2));
	put_status(a, "OK");
}

void answer_client_getname(struct answer *a)
{
	const struct session_names *names = a->env->session->names;
	if (names && names->name) put_bulk(a, names->name);
	else put_nil(a);
}

void answer_client_setinfo(struct answer *a)
{
	struct slice what = arg(a, 2), value = arg(a, 3);
	bool lib_name = resp_is(what, "lib-name"), lib_ver = resp_is(what, "lib-ver");
	int shown = (int)(what.n < 64 ? strnlen(what.p, what.n) : 64);
	if (!lib_name && !lib_ver) {
		put_error(a, "ERR Unrecognized option '%.*s'", shown, what.p);
	} else if (!is_plain(value)) {
		put_error(a, "ERR %.*s cannot contain spaces, newlines or special characters.",
			  shown, what.p);
	} else if (value.n > NAME_MAX_BYTES) {
		put_error(a, "ERR %.*s cannot be longer than %d bytes.", shown, what.p,
			  NAME_MAX_BYTES);
	} else {
		struct session_names *names = session_names(a->env->session);
		set_name(lib_name ? &names->lib_name : &names->lib_ver, value);
		put_status(a, "OK");
	}
}

void answer_client_id(struct answer *a)
{
	put_int(a, (int64_t)a->env->client_id);
}

static const char *text_of(const char *s)
{
	return s ? s : "";
}

/* One line, with the fields of redis that mean something here. */
static void describe(const struct answer *a, struct scratch *line)
{
	const struct local_env *env = a->env;
	struct session_names none = { 0 };
	const struct session_names *names = env->session->names ? env->session->names : &none;
	scratch_printf(line,
		       "id=%llu addr=%s laddr=%s fd=0 name=%s age=%llu idle=0 flags=N db=0 "
		       "sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 "
		       "multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r ",
		       (unsigned long long)env->client_id, env->peer, env->here,
		       text_of(names->name), (unsigned long long)env->connected_s);
	scratch_printf(line, "cmd=%s user=%s redir=-1 resp=%d lib-name=%s lib-ver=%s\n",
		       a->cmd->info->name, env->pool->auth_user ? env->pool->auth_user : "default",
		       env->session->resp, text_of(names->lib_name), text_of(names->lib_ver));
}

void answer_client_info(struct answer *a)
{
	struct scratch line = { 0 };
	describe(a, &line);
	put_text(a, scratch_slice(&line));
	scratch_fini(&line);
}

/* Does the list that is asked for show this client? False with the error written: `*good`. */
static bool list_shows_me(struct answer *a, bool *good)
{
	static const char *const others[] = { "master", "replica", "slave", "pubsub" };
	uint32_t argc = a->cmd->argc;
	bool shown = false;
	*good = true;
	if (argc == 2) return true;
	if (argc == 4 && resp_is(arg(a, 2), "type")) {
		struct slice type = arg(a, 3);
		if (resp_is(type, "normal")) return true;
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			if (resp_is(type, others[i])) return false;
		put_error(a, "ERR Unknown client type '%.*s'",
			  (int)strnlen(type.p, type.n < 64 ? type.n : 64), type.p);
		*good = false;
	} else if (argc > 3 && resp_is(arg(a, 2), "id")) {
		for (uint32_t i = 3; i < argc && *good; i++) {
			int64_t id;
			*good = arg_integer(arg(a, i), &id) && id > 0;
			shown |= *good && (uint64_t)id == a->env->client_id;
		}
		if (!*good) put_error(a, "ERR Invalid client ID");
	} else {
		put_error(a, "ERR syntax error");
		*good = false;
	}
	return shown;
}

void answer_client_list(struct answer *a)
{
	bool good;
	if (list_shows_me(a, &good)) answer_client_info(a);
	else if (good) put_text(a, SLICE(""));
}

/* ON or OFF that changes nothing here: who is evicted, and what is touched, the servers decide. */
void answer_client_switch(struct answer *a)
{
	if (resp_is(arg(a, 2), "on") || resp_is(arg(a, 2), "off")) put_status(a, "OK");
	else put_error(a, "ERR syntax error");
}

void answer_client_reply(struct answer *a)
{
	if (resp_is(arg(a, 2), "on")) put_status(a, "OK");
	else if (resp_is(arg(a, 2), "off") || resp_is(arg(a, 2), "skip"))
		put_error(a, "ERR 'client reply' with OFF or SKIP is not supported by this proxy: "
			     "every request is answered");
	else put_error(a, "ERR syntax error");
}

void answer_client_tracking(struct answer *a)
{
	if (resp_is(arg(a, 2), "off")) put_status(a, "OK");
	else if (resp_is(arg(a, 2), "on"))
		put_error(a, "ERR 'client tracking' with ON is not supported by this proxy: %s",
			  resp_why_text(WHY_CONNECTION));
	else put_error(a, "ERR syntax error");
}

void answer_client_trackinginfo(struct answer *a)
{
	put_map(a, 3);
	put_bulk(a, "flags");
	put_set(a, 1);
	put_bulk(a, "off");
	put_bulk(a, "redirect");
	put_int(a, -1);
	put_bulk(a, "prefixes");
	put_array(a, 0);
}

void answer_client_getredir(struct answer *a)
{
	put_int(a, -1);
}

void answer_client_caching(struct answer *a)
{
	if (resp_is(arg(a, 2), "yes") || resp_is(arg(a, 2), "no"))
		put_error(a, "ERR CLIENT CACHING can be called only when the client is in tracking "
			     "mode with OPTIN or OPTOUT mode enabled");
	else put_error(a, "ERR syntax error");
}
