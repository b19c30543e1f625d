#include "common/resp_commands.h"

#include <strings.h>

/* What the short words in the rows stand for. */
enum {
	T_ST = REPLY_T_STATUS,
	T_INT = REPLY_T_INT,
	T_BULK = REPLY_T_BULK,
	T_STR = REPLY_T_BULK | REPLY_T_NIL,
	T_NUM = REPLY_T_BULK | REPLY_T_NIL | REPLY_T_NUM,
	T_MANY = REPLY_T_MANY,
	T_MAYBE = REPLY_T_MANY | REPLY_T_NIL,
	T_POPS = REPLY_T_BULK | REPLY_T_NIL | REPLY_T_MANY,
	T_PONG = REPLY_T_PONG,
	T_HELD = REPLY_T_HELD,
	T_ANY =
	    REPLY_T_STATUS | REPLY_T_INT | REPLY_T_BULK | REPLY_T_NIL | REPLY_T_MANY | REPLY_T_NUM,

	ACCESS_R = OP_READ,
	ACCESS_RF = OP_READ,
	ACCESS_W = OP_WRITE,
	ACCESS_WF = OP_WRITE,
	ACCESS_WM = OP_WRITE,
	ACCESS_WMF = OP_WRITE,
	ACCESS_A = OP_ADMIN,
	ACCESS_AF = OP_ADMIN,

	FLAGS_R = 0,
	FLAGS_RF = RESP_FAST,
	FLAGS_W = 0,
	FLAGS_WF = RESP_FAST,
	FLAGS_WM = RESP_DENYOOM,
	FLAGS_WMF = RESP_DENYOOM | RESP_FAST,
	FLAGS_A = 0,
	FLAGS_AF = RESP_FAST,
};

#define RESP_LETTER(c)

/* clang-format off */
static const struct resp_command rows[] = {
#define ROW(id_, name_, arity_, how, route_, merge_, reply, miss_, rule_, first_, last_, step_, \
	    group_, local_, why_, flags_)                                                       \
	[RESP_##id_] = {                                                                        \
		.op = {                                                                         \
			.name = name_,                                                          \
			.id = RESP_##id_,                                                       \
			.access = ACCESS_##how,                                                 \
			.route = route_,                                                        \
			.merge = merge_,                                                        \
			.shape = T_##reply,                                                     \
			.local = LOCAL_##local_,                                                \
		},                                                                              \
		.arity = arity_,                                                                \
		.rule = RULE_##rule_,                                                           \
		.first = first_,                                                                \
		.last = last_,                                                                  \
		.step = step_,                                                                  \
		.miss = MISS_##miss_,                                                           \
		.group = GROUP_##group_,                                                        \
		.why = WHY_##why_,                                                              \
		.flags = FLAGS_##how | (flags_),                                                \
	},
#include "common/resp_commands.def"
#undef ROW
};
/* clang-format on */

/* The verbs again, packed for the search: two to a cache line. */
struct verb {
	char name[31];
	uint8_t n;
};

static const struct verb verbs[] = {
#define ROW(id_, name_, ...) [RESP_##id_] = { name_, sizeof(name_) - 1 },
#include "common/resp_commands.def"
#undef ROW
};

#undef RESP_LETTER

static const uint16_t letters[27] = {
	RESP_FROM_a, RESP_FROM_b, RESP_FROM_c, RESP_FROM_d, RESP_FROM_e, RESP_FROM_f,	RESP_FROM_g,
	RESP_FROM_h, RESP_FROM_i, RESP_FROM_j, RESP_FROM_k, RESP_FROM_l, RESP_FROM_m,	RESP_FROM_n,
	RESP_FROM_o, RESP_FROM_p, RESP_FROM_q, RESP_FROM_r, RESP_FROM_s, RESP_FROM_t,	RESP_FROM_u,
	RESP_FROM_v, RESP_FROM_w, RESP_FROM_x, RESP_FROM_y, RESP_FROM_z, RESP_FROM_end,
};

static const char *const group_names[GROUP_MAX] = {
	[GROUP_BITMAP] = "bitmap",
	[GROUP_CLUSTER] = "cluster",
	[GROUP_CONNECTION] = "connection",
	[GROUP_GENERIC] = "generic",
	[GROUP_GEO] = "geo",
	[GROUP_HASH] = "hash",
	[GROUP_HYPERLOGLOG] = "hyperloglog",
	[GROUP_LIST] = "list",
	[GROUP_PUBSUB] = "pubsub",
	[GROUP_SCRIPTING] = "scripting",
	[GROUP_SERVER] = "server",
	[GROUP_SET] = "set",
	[GROUP_SORTED_SET] = "sorted-set",
	[GROUP_STREAM] = "stream",
	[GROUP_STRING] = "string",
	[GROUP_TRANSACTIONS] = "transactions",
};

static const char *const why_texts[WHY_MAX] = {
	[WHY_NONE] = "",
	[WHY_ADMIN] = "servers are administered directly",
	[WHY_BLOCKING] = "it could block a server connection that clients share",
	[WHY_CONNECTION] = "it changes the state of a server connection that clients share",
	[WHY_DATABASE] = "a pool is one database",
	[WHY_KEYSPACE] = "it needs the keys of all servers",
	[WHY_ONE_SERVER] = "the answer would be that of one server only",
	[WHY_PUBSUB] = "publish/subscribe needs a server connection of its own",
	[WHY_REPLICATION] = "it belongs between servers",
	[WHY_TRANSACTION] = "a transaction needs a server connection of its own",
};

const struct resp_command *resp_command_at(uint32_t id)
{
	return &rows[id];
}

/* A-Z to a-z in eight bytes at once, all others kept: bit 7 of each sum tells on which side of a
 * bound its byte lies. */
static uint64_t word_lower(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t low = w & 0x7f * ones;
	uint64_t from_A = low + (0x80 - 'A') * ones;
	uint64_t past_Z = low + (0x7f - 'Z') * ones;
	uint64_t upper = (from_A ^ past_Z) & ~w & 0x80 * ones;
	return w | upper >> 2;
}

const struct resp_command *resp_command_find(struct slice verb)
{
	if (verb.n == 0 || verb.n >= sizeof(verbs[0].name)) return NULL;
	uint64_t word = word_lower(resp_word(verb.p, verb.n));
	unsigned letter = (unsigned)(word & 0xff) - 'a';
	if (letter >= 26) return NULL;
	for (uint32_t i = letters[letter]; i < letters[letter + 1]; i++) {
		if (verbs[i].n != verb.n || resp_word(verbs[i].name, 8) != word) continue;
		if (verb.n <= 8 || strncasecmp(verbs[i].name + 8, verb.p + 8, verb.n - 8) == 0)
			return &rows[i];
	}
	return NULL;
}

bool resp_is(struct slice s, const char *word)
{
	return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

const struct resp_command *resp_subcommand_find(const struct resp_command *of, struct slice sub)
{
	size_t n = strlen(of->op.name);
	for (uint32_t i = RESP_FROM_end; i < RESP_COUNT; i++) {
		const char *name = rows[i].op.name;
		if (strncmp(name, of->op.name, n) != 0 || name[n] != '|') continue;
		if (resp_is(sub, name + n + 1)) return &rows[i];
	}
	return NULL;
}

const char *resp_subcommand_name(const struct resp_command *row)
{
	const char *bar = strchr(row->op.name, '|');
	return bar ? bar + 1 : NULL;
}

const char *resp_group_name(enum resp_group g)
{
	return group_names[g];
}

const char *resp_why_text(enum resp_why why)
{
	return why_texts[why];
}
