#include "proxy/local_redis.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- writing */

void put_error(struct answer *a, const char *format, ...)
{
	char text[RESP_ERROR_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c; c++)
		if (*c == '\r' || *c == '\n') *c = ' ';
	scratch_printf(a->out, "-%s\r\n", text);
}

void put_status(struct answer *a, const char *text)
{
	scratch_printf(a->out, "+%s\r\n", text);
}

void put_int(struct answer *a, int64_t v)
{
	scratch_printf(a->out, ":%lld\r\n", (long long)v);
}

void put_bulk(struct answer *a, const char *text)
{
	resp_put_bulk(a->out, slice_of(text));
}

static bool is_resp3(const struct answer *a)
{
	return a->env->session->resp == 3;
}

void put_nil(struct answer *a)
{
	scratch_puts(a->out, is_resp3(a) ? SLICE("_\r\n") : SLICE("$-1\r\n"));
}

void put_array(struct answer *a, uint64_t n)
{
	resp_put_head(a->out, '*', n);
}

void put_map(struct answer *a, uint64_t pairs)
{
	resp_put_head(a->out, is_resp3(a) ? '%' : '*', is_resp3(a) ? pairs : pairs * 2);
}

void put_set(struct answer *a, uint64_t n)
{
	resp_put_head(a->out, is_resp3(a) ? '~' : '*', n);
}

void put_text(struct answer *a, struct slice text)
{
	if (!is_resp3(a)) {
		resp_put_bulk(a->out, text);
		return;
	}
	resp_put_head(a->out, '=', text.n + 4);
	scratch_puts(a->out, SLICE("txt:"));
	scratch_puts(a->out, text);
	scratch_puts(a->out, SLICE("\r\n"));
}

bool arg_integer(struct slice s, int64_t *value_out)
{
	uint64_t v;
	bool negative = s.n > 1 && s.p[0] == '-';
	if (!resp_count(negative ? (struct slice){ s.p + 1, s.n - 1 } : s, INT64_MAX, &v))
		return false;
	*value_out = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

/* --- the connection */

void session_fini(struct session *s)
{
	if (!s->names) return;
	free(s->names->name);
	free(s->names->lib_name);
	free(s->names->lib_ver);
	free(s->names);
	s->names = NULL;
}

static void answer_reset(struct answer *a)
{
	struct session *s = a->env->session;
	session_fini(s);
	s->resp = 2;
	s->authenticated = a->env->pool->auth_password == NULL;
	put_status(a, "RESET");
}

static void answer_ping(struct answer *a)
{
	if (a->cmd->argc == 1) put_status(a, "PONG");
	else if (a->cmd->argc == 2) resp_put_bulk(a->out, arg(a, 1));
	else put_error(a, "ERR wrong number of arguments for 'ping' command");
}

static void answer_echo(struct answer *a)
{
	resp_put_bulk(a->out, arg(a, 1));
}

static void answer_quit(struct answer *a)
{
	put_status(a, "OK");
}

/* A pool is one database, and clients see it as number 0 whatever its number on the servers. */
static void answer_select(struct answer *a)
{
	int64_t n;
	if (!arg_integer(arg(a, 1), &n))
		put_error(a, "ERR value is not an integer or out of range");
	else if (n != 0) put_error(a, "ERR DB index is out of range");
	else put_status(a, "OK");
}

static void answer_time(struct answer *a)
{
	char text[24];
	put_array(a, 2);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)(a->env->now_us / 1000000));
	put_bulk(a, text);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)(a->env->now_us % 1000000));
	put_bulk(a, text);
}

static void answer_lolwut(struct answer *a)
{
	put_text(a, SLICE("Twinring " TWINRING_VERSION ", two rings to serve them all\n"));
}

static void answer_cluster(struct answer *a)
{
	put_error(a, "ERR This instance has cluster support disabled");
}

/* Slow requests are not kept per pool yet: there are none to tell of. */
static void answer_slowlog_get(struct answer *a)
{
	int64_t count = 0;
	if (a->cmd->argc > 3)
		put_error(a, "ERR unknown subcommand or wrong number of arguments for 'get'. Try "
			     "SLOWLOG HELP.");
	else if (a->cmd->argc == 3 && (!arg_integer(arg(a, 2), &count) || count < -1))
		put_error(a, "ERR count should be greater than or equal to -1");
	else put_array(a, 0);
}

static void answer_slowlog_len(struct answer *a)
{
	put_int(a, 0);
}

static void answer_slowlog_reset(struct answer *a)
{
	put_status(a, "OK");
}

static void (*const answers[LOCAL_MAX])(struct answer *a) = {
	[LOCAL_AUTH] = answer_auth,
	[LOCAL_CLIENT_CACHING] = answer_client_caching,
	[LOCAL_CLIENT_GETNAME] = answer_client_getname,
	[LOCAL_CLIENT_GETREDIR] = answer_client_getredir,
	[LOCAL_CLIENT_ID] = answer_client_id,
	[LOCAL_CLIENT_INFO] = answer_client_info,
	[LOCAL_CLIENT_LIST] = answer_client_list,
	[LOCAL_CLIENT_REPLY] = answer_client_reply,
	[LOCAL_CLIENT_SETINFO] = answer_client_setinfo,
	[LOCAL_CLIENT_SETNAME] = answer_client_setname,
	[LOCAL_CLIENT_SWITCH] = answer_client_switch,
	[LOCAL_CLIENT_TRACKING] = answer_client_tracking,
	[LOCAL_CLIENT_TRACKINGINFO] = answer_client_trackinginfo,
	[LOCAL_CLUSTER] = answer_cluster,
	[LOCAL_COMMAND] = answer_command,
	[LOCAL_COMMAND_COUNT] = answer_command_count,
	[LOCAL_COMMAND_DOCS] = answer_command_docs,
	[LOCAL_COMMAND_GETKEYS] = answer_command_getkeys,
	[LOCAL_COMMAND_INFO] = answer_command_info,
	[LOCAL_COMMAND_LIST] = answer_command_list,
	[LOCAL_CONFIG_GET] = answer_config_get,
	[LOCAL_ECHO] = answer_echo,
	[LOCAL_HELLO] = answer_hello,
	[LOCAL_HELP] = answer_help,
	[LOCAL_INFO] = answer_info,
	[LOCAL_LOLWUT] = answer_lolwut,
	[LOCAL_PING] = answer_ping,
	[LOCAL_QUIT] = answer_quit,
	[LOCAL_RESET] = answer_reset,
	[LOCAL_SELECT] = answer_select,
	[LOCAL_SLOWLOG_GET] = answer_slowlog_get,
	[LOCAL_SLOWLOG_LEN] = answer_slowlog_len,
	[LOCAL_SLOWLOG_RESET] = answer_slowlog_reset,
	[LOCAL_TIME] = answer_time,
};

enum local_result local_redis(struct local_env *env, const struct command *cmd, struct scratch *out)
{
	struct answer a = { env, cmd, out };
	answers[cmd->info->local](&a);
	return cmd->info->local == LOCAL_QUIT ? LOCAL_CLOSE : LOCAL_ANSWERED;
}
