#include "common/codec_mc_request.h"

/* clang-format off */
#define MC_READ(n, i, s)  { .name = n, .id = i, .access = OP_READ, .route = OP_SPLIT,              \
			    .merge = MERGE_VALUES, .shape = s, .keep_sent = true }
#define MC_WRITE(n, i, s) { .name = n, .id = i, .access = OP_WRITE, .route = OP_KEY, .shape = s }
#define MC_OWN(n, i, l)   { .name = n, .id = i, .access = OP_ADMIN, .route = OP_LOCAL, .local = l }
#define MC_NEVER(n, i)    { .name = n, .id = i, .access = OP_ADMIN, .route = OP_REFUSED }

const struct op_info mc_ops[MC_OP_COUNT] = {
	[MC_GET]      = MC_READ("get", MC_GET, MC_SHAPE_GET),
	[MC_GETS]     = MC_READ("gets", MC_GETS, MC_SHAPE_GETS),
	[MC_GAT]      = MC_READ("gat", MC_GAT, MC_SHAPE_GAT),
	[MC_GATS]     = MC_READ("gats", MC_GATS, MC_SHAPE_GATS),
	[MC_SET]      = MC_WRITE("set", MC_SET, MC_SHAPE_STORE),
	[MC_ADD]      = MC_WRITE("add", MC_ADD, MC_SHAPE_STORE),
	[MC_REPLACE]  = MC_WRITE("replace", MC_REPLACE, MC_SHAPE_STORE),
	[MC_APPEND]   = MC_WRITE("append", MC_APPEND, MC_SHAPE_STORE),
	[MC_PREPEND]  = MC_WRITE("prepend", MC_PREPEND, MC_SHAPE_STORE),
	[MC_CAS]      = MC_WRITE("cas", MC_CAS, MC_SHAPE_CAS),
	[MC_INCR]     = MC_WRITE("incr", MC_INCR, MC_SHAPE_COUNT),
	[MC_DECR]     = MC_WRITE("decr", MC_DECR, MC_SHAPE_COUNT),
	[MC_DELETE]   = MC_WRITE("delete", MC_DELETE, MC_SHAPE_DELETE),
	[MC_TOUCH]    = MC_WRITE("touch", MC_TOUCH, MC_SHAPE_TOUCH),
	[MC_MG]       = { .name = "mg", .id = MC_MG, .access = OP_READ, .route = OP_KEY,
			  .shape = MC_SHAPE_META_GET },
	[MC_MS]       = MC_WRITE("ms", MC_MS, MC_SHAPE_META_SET),
	[MC_MD]       = MC_WRITE("md", MC_MD, MC_SHAPE_META_DELETE),
	[MC_MA]       = MC_WRITE("ma", MC_MA, MC_SHAPE_META_COUNT),
	[MC_ME]       = { .name = "me", .id = MC_ME, .access = OP_READ, .route = OP_KEY,
			  .shape = MC_SHAPE_META_DEBUG },
	[MC_MN]        = MC_OWN("mn", MC_MN, MC_LOCAL_NOOP),
	[MC_VERSION]   = MC_OWN("version", MC_VERSION, MC_LOCAL_VERSION),
	[MC_VERBOSITY] = MC_OWN("verbosity", MC_VERBOSITY, MC_LOCAL_VERBOSITY),
	[MC_STATS]     = MC_OWN("stats", MC_STATS, MC_LOCAL_STATS),
	[MC_QUIT]      = MC_OWN("quit", MC_QUIT, MC_LOCAL_QUIT),
	[MC_FLUSH_ALL] = { .name = "flush_all", .id = MC_FLUSH_ALL, .access = OP_WRITE,
			   .route = OP_ALL, .merge = MERGE_OK, .shape = MC_SHAPE_OK },
	[MC_FLUSH_REFUSED] = MC_NEVER("flush_all_refused", MC_FLUSH_REFUSED),
	[MC_ADMIN_REFUSED] = MC_NEVER("admin_refused", MC_ADMIN_REFUSED),
	[MC_META_REFUSED]  = MC_NEVER("meta_refused", MC_META_REFUSED),
	[MC_INCARNATION] = { .name = "incarnation", .id = MC_INCARNATION, .access = OP_ADMIN,
			     .route = OP_KEY, .shape = MC_SHAPE_STATS },
	[MC_PROBE]     = { .name = "probe", .id = MC_PROBE, .access = OP_ADMIN, .route = OP_KEY,
			   .shape = MC_SHAPE_VERSION },
};

#define MC_TAGGED_WRITE(n, i, s) { .name = n, .id = i, .access = OP_WRITE, .route = OP_KEY,        \
				   .shape = s, .keep_sent = true, .tags = OP_TAGS_SENT }
#define MC_TAGGED_READ(n, i, s)  { .name = n, .id = i, .access = OP_READ, .route = OP_SPLIT,       \
				   .merge = MERGE_VALUES, .shape = s, .keep_sent = true,           \
				   .tags = OP_TAGS_REPLY }

const struct op_info mc_tagged_ops[MC_OP_COUNT] = {
	[MC_GETS] = MC_TAGGED_READ("gets", MC_GETS, MC_SHAPE_GETS),
	[MC_GATS] = MC_TAGGED_READ("gats", MC_GATS, MC_SHAPE_GATS),
	[MC_CAS]  = MC_TAGGED_WRITE("cas", MC_CAS, MC_SHAPE_CAS),
	[MC_MG]   = { .name = "mg", .id = MC_MG, .access = OP_READ, .route = OP_KEY,
		      .shape = MC_SHAPE_META_GET, .keep_sent = true, .tags = OP_TAGS_TELL },
	[MC_MS]   = { .name = "ms", .id = MC_MS, .access = OP_WRITE, .route = OP_KEY,
		      .shape = MC_SHAPE_META_SET, .keep_sent = true,
		      .tags = OP_TAGS_SENT | OP_TAGS_TELL },
	[MC_MD]   = MC_TAGGED_WRITE("md", MC_MD, MC_SHAPE_META_DELETE),
	[MC_MA]   = MC_TAGGED_WRITE("ma", MC_MA, MC_SHAPE_META_COUNT),
};

const struct op_info mc_client_tagged_ops[MC_OP_COUNT] = {
	[MC_MG]   = { .name = "mg", .id = MC_MG, .access = OP_READ, .route = OP_KEY,
		      .shape = MC_SHAPE_META_GET, .keep_sent = true, .tags = OP_TAGS_REPLY },
	[MC_MS]   = { .name = "ms", .id = MC_MS, .access = OP_WRITE, .route = OP_KEY,
		      .shape = MC_SHAPE_META_SET, .keep_sent = true,
		      .tags = OP_TAGS_SENT | OP_TAGS_REPLY },
	[MC_MD]   = MC_TAGGED_WRITE("md", MC_MD, MC_SHAPE_META_DELETE),
	[MC_MA]   = { .name = "ma", .id = MC_MA, .access = OP_WRITE, .route = OP_KEY,
		      .shape = MC_SHAPE_META_COUNT, .keep_sent = true,
		      .tags = OP_TAGS_SENT | OP_TAGS_REPLY },
};

#define ADMIN(verb) { verb, mc_parse_refused, &mc_ops[MC_ADMIN_REFUSED],                           \
		      { "CLIENT_ERROR " verb " not allowed\r\n",                                    \
			sizeof("CLIENT_ERROR " verb " not allowed\r\n") - 1 } }
#define META_REFUSAL "CLIENT_ERROR meta commands not supported\r\n"
#define META(verb, parse, id) { verb, parse, &mc_ops[id], \
				{ META_REFUSAL, sizeof(META_REFUSAL) - 1 } }
#define NO_REFUSAL { "", 0 }

/* The order is that of the search: what clients send most comes first. */
static const struct mc_verb verbs[] = {
	{ "get",       mc_parse_get,       &mc_ops[MC_GET],       NO_REFUSAL },
	{ "set",       mc_parse_store,     &mc_ops[MC_SET],       NO_REFUSAL },
	{ "gets",      mc_parse_gets,      &mc_ops[MC_GETS],      NO_REFUSAL },
	{ "delete",    mc_parse_delete,    &mc_ops[MC_DELETE],    NO_REFUSAL },
	{ "add",       mc_parse_store,     &mc_ops[MC_ADD],       NO_REFUSAL },
	{ "incr",      mc_parse_arith,     &mc_ops[MC_INCR],      NO_REFUSAL },
	{ "touch",     mc_parse_touch,     &mc_ops[MC_TOUCH],     NO_REFUSAL },
	{ "cas",       mc_parse_cas,       &mc_ops[MC_CAS],       NO_REFUSAL },
	{ "gat",       mc_parse_gat,       &mc_ops[MC_GAT],       NO_REFUSAL },
	{ "decr",      mc_parse_arith,     &mc_ops[MC_DECR],      NO_REFUSAL },
	{ "replace",   mc_parse_store,     &mc_ops[MC_REPLACE],   NO_REFUSAL },
	{ "append",    mc_parse_store,     &mc_ops[MC_APPEND],    NO_REFUSAL },
	{ "prepend",   mc_parse_store,     &mc_ops[MC_PREPEND],   NO_REFUSAL },
	{ "gats",      mc_parse_gats,      &mc_ops[MC_GATS],      NO_REFUSAL },
	{ "version",   mc_parse_local,     &mc_ops[MC_VERSION],   NO_REFUSAL },
	{ "stats",     mc_parse_local,     &mc_ops[MC_STATS],     NO_REFUSAL },
	{ "quit",      mc_parse_quit,      &mc_ops[MC_QUIT],      NO_REFUSAL },
	{ "verbosity", mc_parse_verbosity, &mc_ops[MC_VERBOSITY], NO_REFUSAL },
	{ "flush_all", mc_parse_flush_all, &mc_ops[MC_FLUSH_ALL],
	  { "CLIENT_ERROR flush_all not allowed\r\n", 36 } },
	META("mg", mc_parse_meta, MC_MG),
	META("ms", mc_parse_meta_set, MC_MS),
	META("md", mc_parse_meta, MC_MD),
	META("ma", mc_parse_meta, MC_MA),
	META("mn", mc_parse_noop, MC_MN),
	META("me", mc_parse_meta, MC_ME),
	ADMIN("shutdown"),
	ADMIN("watch"),
	ADMIN("lru_crawler"),
	ADMIN("lru"),
	ADMIN("slabs"),
	ADMIN("cache_memlimit"),
	ADMIN("extstore"),
	ADMIN("refresh_certs"),
	ADMIN("debugtime"),
	ADMIN("misbehave"),
};
/* clang-format on */

const struct mc_verb *mc_verb_find(struct slice verb)
{
	char name[MC_VERB_MAX] = { 0 };
	/* A NUL of the client's must not pass for padding. */
	if (verb.n == 0 || verb.n >= sizeof(name) || verb.p[verb.n - 1] == '\0') return NULL;
	memcpy(name, verb.p, verb.n);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (memcmp(verbs[i].name, name, sizeof(name)) == 0) return &verbs[i];
	return NULL;
}
