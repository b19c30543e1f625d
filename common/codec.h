/* codec.h - what a protocol must offer: bytes to requests, requests to bytes, and back.
 *
 * Pure: a codec does no I/O, reads no clock and keeps no global state. The proxy calls it through
 * one vtable per protocol; the agent's probes use the same functions.
 *
 * A request travels like this. parse_request() finds one whole request in what a client sent and
 * fills a `struct command`: which operation, which keys, and the canonical bytes for the server
 * (`head` + `body`). Only bytes that were checked as strictly as the server itself would check
 * them get there, so nothing a client sends can be read as something else by the server. A
 * multi-key request whose keys live on several servers is taken apart by encode_part(), one part
 * per server, and its replies are put together by merge(). parse_reply() finds one whole reply in
 * what a server sent and insists that it fits the request it answers.
 *
 * Lifetimes: every slice in a command points into the input, into static memory or into the
 * parser, and is good until the next parse_request() with the same parser.
 */
#ifndef TWINRING_COMMON_CODEC_H
#define TWINRING_COMMON_CODEC_H

#include "common/err.h"
#include "common/list.h"
#include "common/scratch.h"
#include "common/topology.h"

enum op_access { OP_READ, OP_WRITE, OP_ADMIN };

enum op_route {
	OP_LOCAL,   /* the proxy answers itself                                        */
	OP_KEY,	    /* goes whole to the server of its first key (or any, if keyless)  */
	OP_SAME,    /* several keys: whole, if all live on one server; else refused    */
	OP_SPLIT,   /* several keys: one part per server, replies merged               */
	OP_ALL,	    /* to every server of the pool, replies merged                     */
	OP_REFUSED, /* known, but not supported: answered with command.error           */
};

enum op_merge {
	MERGE_NONE,
	MERGE_VALUES, /* memcached: VALUE blocks in the client's key order, one END */
	MERGE_ARRAY,  /* Redis: one array element per key, in the client's order    */
	MERGE_SUM,    /* integers added up                                          */
	MERGE_OK,     /* OK if all said OK, else the first error                    */
};

/* cas tokens that name the process which gave them: its tag is in their upper 16 bits. */
enum op_tags {
	OP_TAGS_SENT = 1,  /* the head carries one, 20 digits wide                 */
	OP_TAGS_REPLY = 2, /* the reply carries some, which the client is to see   */
	OP_TAGS_TELL = 4,  /* the reply stays as it is; the tag is told besides it */
};

/* One operation of a protocol: the public head of each row in a codec's table. */
struct op_info {
	const char *name; /* lower case; label of its metrics          */
	uint16_t id;	  /* its row, 0 <= id < codec.op_count         */
	uint8_t access;	  /* enum op_access                            */
	uint8_t route;	  /* enum op_route                             */
	uint8_t merge;	  /* enum op_merge                             */
	uint8_t shape;	  /* codec's own: which replies are legal      */
	uint8_t local;	  /* codec's own: which local answer           */
	bool keep_sent;	  /* parse_reply() and merge() need what was sent */
	uint8_t tags;	  /* enum op_tags; only with keep_sent            */
};

enum command_flag {
	CMD_NOREPLY = 1, /* the client wants no answer; the server is asked for one all the same */
	CMD_CLOSE = 2,	 /* close the client after everything before this is answered            */
	CMD_QUIET = 4,	 /* the client wants only the less likely answer: see client_is_quiet()  */
};

struct command {
	const struct op_info *info;
	uint32_t flags;		  /* enum command_flag                                        */
	size_t consumed;	  /* bytes of input that this request took                    */
	struct slice key;	  /* what it is routed by: the first key; empty if keyless    */
	struct slice head;	  /* canonical bytes for the server ...                       */
	struct slice body;	  /* ... and then these: always part of the input, or empty   */
	const struct slice *argv; /* arguments; argv[0] is the verb (Redis), keys follow at */
	uint32_t argc;
	uint32_t first_key; /* argv[first_key + i * key_step], 0 <= i < key_count       */
	uint32_t key_step;
	uint32_t key_count;
	struct slice error; /* PARSE_ERROR, PARSE_FATAL, OP_REFUSED: the whole reply, with CRLF */
};

static inline struct slice command_key(const struct command *c, uint32_t i)
{
	return c->argv[c->first_key + i * c->key_step];
}

enum parse_result {
	PARSE_OK,    /* one whole request or reply                                          */
	PARSE_NEED,  /* incomplete: call again with the same bytes and more behind them     */
	PARSE_ERROR, /* refused, in sync: answer `error`, skip `consumed` bytes, go on      */
	PARSE_FATAL, /* refused, not in sync: answer `error` (may be empty), flush, close   */
	PARSE_SKIP,  /* refused, in sync after `consumed` + `skip` bytes, of which not all
		      * may be here yet: answer `error`, drop that many, go on              */
};

/* How far an incomplete request or reply was read, so that more bytes cost only themselves.
 * All zero at the start of each. Contents are the codec's own, but for `need`. */
struct parse_resume {
	size_t need;   /* at least this many bytes in all, from its first; 0: not known */
	size_t at;     /* everything before this offset has been read                  */
	uint64_t left; /* items still to come                                          */
};

enum { REPLY_DEPTH_MAX = 32 };
struct reply_resume {
	struct parse_resume base;
	uint32_t depth;
	uint32_t passed; /* keys whose values have been passed */
	uint64_t left[REPLY_DEPTH_MAX];

	/* The caller's, or NULL: where the value of each key ends in the reply, told while it is
	 * read; 0: there is none. Zero at the start, one for each key that was asked for. A codec
	 * that cannot tell sets it to NULL. */
	uint32_t *ends;
	uint32_t ends_room;
};

/* Ready for the next reply: all that a codec relies on being zero. */
static inline void reply_resume_reset(struct reply_resume *r)
{
	r->base = (struct parse_resume){ 0 };
	r->depth = r->passed = 0;
	r->ends = NULL;
	r->left[0] = r->left[1] = 0;
}

/* What the pool allows; borrowed by the parser. */
struct codec_limits {
	uint32_t value_max_bytes;   /* one value or bulk argument */
	uint32_t request_max_bytes; /* one whole request          */
	uint32_t args_max;	    /* arguments or keys          */
	bool allow_flush;
	bool cas_tags;
	bool meta_commands; /* memcached's: a server that does not know them would run bodies */
};

/* A verb as a client wrote it, and what the codec's table has for it. */
struct parser_verb {
	uint64_t word; /* its bytes, zero-filled */
	uint32_t n;    /* how many; 0: no verb yet */
	const void *row;
};

enum { PARSER_VERB_BITS = 3 };

/* Working memory of a parser: one per worker, shared by its clients. Zero it to start. */
struct parser {
	struct slice *argv; /* grown as needed */
	uint32_t argv_cap;
	struct scratch tmp; /* rewritten heads, error texts */
	/* Of late: clients use the same few verbs over and over. Each has one place. */
	struct parser_verb verbs[1 << PARSER_VERB_BITS];
};

/* argv with room for n entries; contents are kept. Aborts when out of memory (n is bounded). */
struct slice *parser_argv(struct parser *p, uint32_t n);
void parser_trim(struct parser *p);
void parser_fini(struct parser *p);

enum reply_kind {
	REPLY_HIT,   /* success; for a read: something was found        */
	REPLY_MISS,  /* success; nothing was found or nothing was done  */
	REPLY_ERROR, /* the server answered with an error               */
};

struct reply {
	size_t n; /* bytes, from the first that was given        */
	enum reply_kind kind;
	uint32_t hits;	/* values found; a multi-key read has several  */
	bool unhealthy; /* an error that says the server is unfit: LOADING, READONLY ... */
	bool close;	/* a good reply, after which the server closes */
};

/* One part of a multi-key request, as merge() sees it. */
struct merge_part {
	struct slice reply; /* whole, as parse_reply() found it; empty when err is set */
	struct slice sent;  /* the part's head, when op_info.keep_sent                 */
	enum err err;	    /* the part failed in the proxy                            */
	const char *server; /* ring name, for messages; may be NULL                    */
	uint32_t *ends;	    /* one for each of the part's keys, as in reply_resume ... */
	bool ends_known;    /* ... of this reply; false: merge() finds out by itself   */
	uint32_t cursor[2]; /* merge()'s own; zero                                     */
};

/* Where merge() puts the bytes it makes; by merge_put() only. */
struct merge_sink {
	/* Append bytes; `part` is the part whose reply they lie in, or -1 for others, which are
	 * good only during the call. */
	void (*emit)(struct merge_sink *s, int part, struct slice bytes);
	char *at;	  /* where the next bytes may be written, as if by emit() ... */
	size_t room;	  /* ... if there are less than this                          */
	size_t short_max; /* more than so many in one piece are emit()'s to judge      */
};

static inline void merge_put(struct merge_sink *s, int part, struct slice bytes)
{
	if (bytes.n >= s->room || bytes.n > s->short_max) {
		s->emit(s, part, bytes);
		return;
	}
	s->at = mempcpy(s->at, bytes.p, bytes.n);
	s->room -= bytes.n;
}

struct codec {
	enum protocol protocol;
	const char *name;
	uint32_t op_count;
	const struct op_info *(*op)(uint32_t id);

	/* Find one request at the start of data[0..n). PARSE_OK fills cmd wholly; PARSE_NEED fills
	 * *resume; the others fill cmd->consumed and cmd->error. Never reads past n. */
	enum parse_result (*parse_request)(struct parser *p, const struct codec_limits *limits,
					   const char *data, size_t n, struct parse_resume *resume,
					   struct command *cmd, size_t *skip_out);

	/* The request for one server: keys index[0..count) of cmd, in that order. */
	void (*encode_part)(const struct command *cmd, const uint32_t *index, uint32_t count,
			    struct scratch *out);

	/* Find one reply to a request of kind `info` at the start of data[0..n). `sent` is what
	 * the server was sent (its head), when info->keep_sent. PARSE_FATAL: not a legal reply,
	 * the connection cannot be trusted any more. */
	enum parse_result (*parse_reply)(const struct op_info *info, struct slice sent,
					 const char *data, size_t n, struct reply_resume *resume,
					 struct reply *reply_out);

	/* Put the reply to a split request together. part_of_key[i] is the part that key i went
	 * to, key_count 0 with OP_ALL. Returns what kind of reply it made. */
	enum reply_kind (*merge)(const struct op_info *info, const uint16_t *part_of_key,
				 uint32_t key_count, struct merge_part *parts, uint32_t part_count,
				 enum on_server_error on_error, struct merge_sink *sink);

	/* The reply that tells a client that its request failed: "-ERR Connection refused". With
	 * ON_ERROR_MISS a read gets a miss instead. `server` may be NULL. */
	void (*encode_failure)(const struct op_info *info, enum err e, const char *server,
			       enum on_server_error on_error, uint32_t key_count,
			       struct scratch *out);

	/* The n-th request of the handshake of a fresh server connection, or NULL after the last:
	 * Redis AUTH, SELECT, HELLO 3. Fills *out with its bytes. A REPLY_ERROR to it means that
	 * the connection is of no use. `name`: how the connection is called in the server's
	 * lists; NULL: it has no name. */
	const struct op_info *(*handshake)(const struct pool_spec *pool, const char *name,
					   uint8_t resp, uint32_t n, struct scratch *out);

	/* Of the reply to the last request of the handshake: a number for the process behind the
	 * connection, other than 0, the same for all who ask it, 0 when it cannot be told. NULL:
	 * the protocol has no such thing; nor are there the two below then. */
	uint16_t (*tag)(struct slice reply, struct slice server);
	/* Exchange the token in a head that is to be sent to the process with this tag: what it
	 * gave itself becomes what it gave, anything else what it has never given. Twice: as it
	 * was. */
	void (*tag_sent)(char *head, size_t n, uint16_t tag);
	/* The reply, with the tag in each of its tokens. */
	void (*tag_reply)(const struct op_info *info, struct slice reply, uint16_t tag,
			  struct scratch *out);

	/* A request that any healthy server answers with REPLY_HIT and that changes nothing. */
	const struct op_info *(*probe)(struct scratch *out);
};

extern const struct codec codec_mc_text;
extern const struct codec codec_resp;

#endif
