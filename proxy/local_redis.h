/* local_redis.h - shared by the files that answer Redis commands in the proxy itself.
 *
 *   local_redis.c          who answers what; the small ones
 *   local_redis_auth.c     AUTH, HELLO, NOAUTH
 *   local_redis_client.c   CLIENT
 *   local_redis_command.c  COMMAND, X HELP
 *   local_redis_info.c     INFO
 *   local_redis_config.c   CONFIG GET
 *
 * To clients that ask what they talk to, the proxy is a standalone redis of the version below:
 * they choose what they send by it.
 */
#ifndef TWINRING_PROXY_LOCAL_REDIS_H
#define TWINRING_PROXY_LOCAL_REDIS_H

#include "common/codec_resp.h"
#include "proxy/local.h"

#define LOCAL_REDIS_VERSION "7.0.15"

struct answer {
	struct local_env *env;
	const struct command *cmd;
	struct scratch *out;
};

void answer_auth(struct answer *a);
void answer_client_caching(struct answer *a);
void answer_client_getname(struct answer *a);
void answer_client_getredir(struct answer *a);
void answer_client_id(struct answer *a);
void answer_client_info(struct answer *a);
void answer_client_list(struct answer *a);
void answer_client_reply(struct answer *a);
void answer_client_setinfo(struct answer *a);
void answer_client_setname(struct answer *a);
void answer_client_switch(struct answer *a);
void answer_client_tracking(struct answer *a);
void answer_client_trackinginfo(struct answer *a);
void answer_command(struct answer *a);
void answer_command_count(struct answer *a);
void answer_command_docs(struct answer *a);
void answer_command_getkeys(struct answer *a);
void answer_command_info(struct answer *a);
void answer_command_list(struct answer *a);
void answer_config_get(struct answer *a);
void answer_hello(struct answer *a);
void answer_help(struct answer *a);
void answer_info(struct answer *a);

/* "-ERR ..."; the code is part of the text. What the text quotes may hold line ends. */
void put_error(struct answer *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
void put_status(struct answer *a, const char *text);
void put_int(struct answer *a, int64_t v);
void put_bulk(struct answer *a, const char *text);
void put_nil(struct answer *a);
void put_array(struct answer *a, uint64_t n);
/* Maps and sets in RESP3; arrays, of twice as many in case of a map, in RESP2. */
void put_map(struct answer *a, uint64_t pairs);
void put_set(struct answer *a, uint64_t n);
/* For people: a verbatim string in RESP3, a bulk in RESP2. */
void put_text(struct answer *a, struct slice text);

/* Argument i of the command; cmd->argc was checked. */
static inline struct slice arg(const struct answer *a, uint32_t i)
{
	return a->cmd->argv[i];
}

/* -?[0-9]+ within 64 bits, nothing else. */
bool arg_integer(struct slice s, int64_t *value_out);

/* CLIENT SETNAME, HELLO SETNAME: false when the name is no good, with the error written. */
bool check_client_name(struct answer *a, struct slice name);
/* An empty one takes the name away. */
void session_set_name(struct session *s, struct slice name);

/* redis' patterns: * ? [a-z] [^a] \x; letters in any case. */
bool glob_matches(struct slice pattern, const char *text);

#endif
