/* resp_commands.h - what we know of every Redis command.
 *
 * The rows are in resp_commands.def. A row's head is the public op_info, so a pointer to one is a
 * pointer to the other.
 */
#ifndef TWINRING_COMMON_RESP_COMMANDS_H
#define TWINRING_COMMON_RESP_COMMANDS_H

#include <endian.h>

#include "common/codec.h"

/* op_info.shape: the reply types that are legal, as a mask. Errors always are. */
enum resp_reply {
	REPLY_T_STATUS = 1,
	REPLY_T_INT = 2,
	REPLY_T_BULK = 4, /* and verbatim strings                      */
	REPLY_T_NIL = 8,
	REPLY_T_MANY = 16,  /* arrays, maps, sets                        */
	REPLY_T_NUM = 32,   /* RESP3 doubles, booleans, big numbers      */
	REPLY_T_PONG = 64,  /* exactly +PONG: the probe's                */
	REPLY_T_HELD = 128, /* four values: see resp_put_held()         */
};

/* How the keys are found among the arguments. */
enum resp_rule {
	RULE_NONE,
	RULE_RANGE,   /* first, last (from the end when negative), step                         */
	RULE_PAIRS,   /* the same, and the arguments must come out even                         */
	RULE_SCRIPT,  /* their number at `last`; redis' texts of EVAL for a bad one             */
	RULE_ZSET,    /* the same, of ZUNION; a destination at `first`, if that is not 0        */
	RULE_POP,     /* the same, of LMPOP                                                     */
	RULE_CARD,    /* the same, of SINTERCARD                                                */
	RULE_SORT,    /* first, and behind STORE                                                */
	RULE_GEO,     /* first, and behind STORE or STOREDIST among the options from `last` on  */
	RULE_STREAMS, /* the first half of what follows STREAMS                                 */
	RULE_COPY,    /* a range, but DB is refused                                             */
	RULE_FLUSH,   /* no keys; the pool may forbid it                                        */
	RULE_MAX
};

/* What a server that does not have the key would answer: for on_error: miss. */
enum resp_miss {
	MISS_NO, /* depends on the arguments, or not a read: the error is told */
	MISS_NIL,
	MISS_ZERO,
	MISS_GONE,    /* :-2, of TTL */
	MISS_UNTYPED, /* +none      */
	MISS_BLANK,   /* empty string */
	MISS_EMPTY,   /* empty array  */
	MISS_NIL_ARRAY,
	MISS_EACH, /* an array with a nil for each key */
	MISS_MAX
};

enum resp_group {
	GROUP_BITMAP,
	GROUP_CLUSTER,
	GROUP_CONNECTION,
	GROUP_GENERIC,
	GROUP_GEO,
	GROUP_HASH,
	GROUP_HYPERLOGLOG,
	GROUP_LIST,
	GROUP_PUBSUB,
	GROUP_SCRIPTING,
	GROUP_SERVER,
	GROUP_SET,
	GROUP_SORTED_SET,
	GROUP_STREAM,
	GROUP_STRING,
	GROUP_TRANSACTIONS,
	GROUP_MAX
};

/* Why a command is refused. */
enum resp_why {
	WHY_NONE,
	WHY_ADMIN,
	WHY_BLOCKING,
	WHY_CONNECTION,
	WHY_DATABASE,
	WHY_KEYSPACE,
	WHY_ONE_SERVER,
	WHY_PUBSUB,
	WHY_REPLICATION,
	WHY_TRANSACTION,
	WHY_MAX
};

/* op_info.local: which answer of proxy/local_redis. */
enum resp_local {
	LOCAL_NONE,
	LOCAL_AUTH,
	LOCAL_CLIENT_CACHING,
	LOCAL_CLIENT_GETNAME,
	LOCAL_CLIENT_GETREDIR,
	LOCAL_CLIENT_ID,
	LOCAL_CLIENT_INFO,
	LOCAL_CLIENT_LIST,
	LOCAL_CLIENT_REPLY,
	LOCAL_CLIENT_SETINFO,
	LOCAL_CLIENT_SETNAME,
	LOCAL_CLIENT_SWITCH, /* NO-EVICT, NO-TOUCH */
	LOCAL_CLIENT_TRACKING,
	LOCAL_CLIENT_TRACKINGINFO,
	LOCAL_CLUSTER,
	LOCAL_COMMAND,
	LOCAL_COMMAND_COUNT,
	LOCAL_COMMAND_DOCS,
	LOCAL_COMMAND_GETKEYS,
	LOCAL_COMMAND_INFO,
	LOCAL_COMMAND_LIST,
	LOCAL_CONFIG_GET,
	LOCAL_ECHO,
	LOCAL_HELLO,
	LOCAL_HELP,
	LOCAL_INFO,
	LOCAL_LOLWUT,
	LOCAL_PING,
	LOCAL_QUIT,
	LOCAL_RESET,
	LOCAL_SELECT,
	LOCAL_SLOWLOG_GET,
	LOCAL_SLOWLOG_LEN,
	LOCAL_SLOWLOG_RESET,
	LOCAL_TIME,
	LOCAL_MAX
};

enum resp_flag {
	RESP_FAST = 1,
	RESP_DENYOOM = 2,
	RESP_CONTAINER = 4, /* its first argument names a row of its own: "object|encoding" */
	RESP_OPTIONAL = 8,  /* sent by us; a server may refuse it and yet be of use */
};

enum resp_id {
#define RESP_LETTER(c)                                                             \
	RESP_FROM_##c, /* the number of the row that follows, without taking it */ \
	    RESP_BACK_##c = RESP_FROM_##c - 1,
#define ROW(id, ...) RESP_##id,
#include "common/resp_commands.def"
#undef RESP_LETTER
#undef ROW
	RESP_COUNT
};

struct resp_command {
	struct op_info op; /* must be first */
	int8_t arity;	   /* exact, or at least -arity; the verb counts */
	uint8_t rule;	   /* enum resp_rule                             */
	int8_t first, last, step;
	uint8_t miss;  /* enum resp_miss     */
	uint8_t group; /* enum resp_group    */
	uint8_t why;   /* enum resp_why      */
	uint8_t flags; /* enum resp_flag     */
};

static inline const struct resp_command *resp_command_of(const struct op_info *info)
{
	return (const struct resp_command *)info;
}

const struct resp_command *resp_command_at(uint32_t id);

/* The first eight bytes, zero-filled. Every branch reads only inside p[0..n). */
static inline uint64_t resp_word(const char *p, size_t n)
{
	uint64_t w = 0;
	if (n >= 8) {
		memcpy(&w, p, 8);
		return le64toh(w);
	}
	if (n >= 4) {
		uint32_t head, tail;
		memcpy(&head, p, 4);
		memcpy(&tail, p + n - 4, 4);
		return le32toh(head) | (uint64_t)le32toh(tail) << (8 * (n - 4));
	}
	if (n == 0) return 0;
	/* Of one byte, or of two, some of these are the same one. */
	size_t middle = n / 2, last = n - 1;
	w = (uint8_t)p[0] | (uint64_t)(uint8_t)p[middle] << (8 * middle);
	return w | (uint64_t)(uint8_t)p[last] << (8 * last);
}

/* The row of a verb, in any case; NULL when there is none. */
const struct resp_command *resp_command_find(struct slice verb);

/* The same, for who asks for the same few verbs over and over: they are kept in the parser. */
static inline const struct resp_command *resp_command_recall(struct parser *p, struct slice verb)
{
	if (verb.n > sizeof(uint64_t)) return resp_command_find(verb);
	/* Multiplying brings something of each byte into the upper bits. */
	uint64_t word = resp_word(verb.p, verb.n);
	struct parser_verb *v =
	    &p->verbs[word * UINT64_C(0x9e3779b97f4a7c15) >> (64 - PARSER_VERB_BITS)];
	if (v->word == word && v->n == verb.n) return v->row;
	const struct resp_command *row = resp_command_find(verb);
	if (row) *v = (struct parser_verb){ word, (uint32_t)verb.n, row };
	return row;
}

/* "encoding" of OBJECT: its own row, or NULL. */
const struct resp_command *resp_subcommand_find(const struct resp_command *of, struct slice sub);

/* "object|encoding" -> "encoding"; NULL when the row is not a subcommand's. */
const char *resp_subcommand_name(const struct resp_command *row);

static inline bool resp_arity_fits(const struct resp_command *row, uint32_t argc)
{
	return row->arity >= 0 ? argc == (uint32_t)row->arity : argc >= (uint32_t)-row->arity;
}

const char *resp_group_name(enum resp_group g);
const char *resp_why_text(enum resp_why why);

/* Equal but for the case of ASCII letters. `word` is lower case. */
bool resp_is(struct slice s, const char *word);

#endif
