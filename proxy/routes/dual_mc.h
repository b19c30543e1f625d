/* dual_mc.h - what the files of memcached's two-ring rules share.
 *
 *	dual_mc        which sequence of node actions each kind of command takes in each column
 *	dual_mc_ask    what the client asked for, from the bytes that would go to a server
 *	dual_mc_acts   the node actions
 *	dual_mc_say    what the client is told
 */
#ifndef TWINRING_PROXY_ROUTES_DUAL_MC_H
#define TWINRING_PROXY_ROUTES_DUAL_MC_H

#include "common/codec_mc_meta.h"
#include "proxy/routes/dual.h"
#include "proxy/routes/flow.h"

/* Commands that follow the same rules. */
enum mc_kind {
	MC_KIND_GET,	/* get gets mg                                       */
	MC_KIND_TOUCH,	/* touch gat gats, mg with T                         */
	MC_KIND_SET,	/* set, ms                                           */
	MC_KIND_ADD,	/* add, ms ME                                        */
	MC_KIND_CHANGE, /* replace append prepend incr decr, ms MA MP MR, ma */
	MC_KIND_CAS,	/* cas, ms md ma with C                              */
	MC_KIND_DELETE, /* delete, md                                        */
	MC_KIND_DEBUG,	/* me                                                */
	MC_KIND_MAX
};

/* Where a moving key stands: phase, lease, who is lost, and whether there is promotion. */
enum mc_column {
	MC_COL_PREPARE,
	MC_COL_HOLD,
	MC_COL_DUAL,
	MC_COL_DRAIN,
	MC_COL_HOLD_COLD, /* without promotion: servers without meta commands  */
	MC_COL_COLD,	  /* DUAL and DRAIN, the same                          */
	MC_COL_HOLD_LOST, /* b is dead for good, or out                        */
	MC_COL_LOST,	  /* DUAL and DRAIN                                    */
	MC_COL_COLD_LOST,
	MC_COL_FENCED,
	MC_COL_MAX
};

enum mc_act {
	MC_ACT_END,   /* answer with what OWN said                                     */
	MC_ACT_OWN_A, /* the client's command as it came                               */
	MC_ACT_OWN_B,
	MC_ACT_GET_A, /* read; a placeholder is a miss; answer                         */
	MC_ACT_GET_B,
	MC_ACT_TOUCH_A, /* the same, and set when it expires                             */
	MC_ACT_TOUCH_B,
	MC_ACT_PROMOTE,	     /* bring it from b to a under a lease, unless a has it            */
	MC_ACT_SAY_ITEM,     /* answer with what PROMOTE found                                */
	MC_ACT_STORE_LEASED, /* put the client's value in the place of PROMOTE's lease; answer */
	MC_ACT_LOOK_A,	     /* its cas, for CHANGE                                           */
	MC_ACT_CHANGE_A,     /* the client's command, if it still has that cas; answer         */
	MC_ACT_CHECK_A,	     /* the client's cas token must be of a, else EXISTS               */
	MC_ACT_DELETE_B,
	MC_ACT_DELETE_A,
	MC_ACT_TRY_DELETE_B, /* go on when it fails, but do not acknowledge then              */
	MC_ACT_TRY_DELETE_A,
	MC_ACT_PARK,
	MC_ACT_SAY_MISS,
	MC_ACT_SAY_NOT_STORED,
	MC_ACT_SAY_EXISTS,
	MC_ACT_SAY_ERROR,
	MC_ACT_MAX
};

enum {
	MC_SEQUENCE_MAX = 6,
	MC_TRIES_MAX = 12, /* with 3, a busy counter now and then told a client of it */
	MC_LEASE_S = 5,
};

struct mc_sequence {
	uint8_t act[MC_SEQUENCE_MAX]; /* enum mc_act; ends in END or in one that answers */
};

/* Total: NULL for no kind and no column. */
const struct mc_sequence *mc_sequence(enum mc_kind kind, enum mc_column column);
enum mc_column mc_column(const struct dual_way *way);
/* "promote delete-b change-a", as in tests/model/table.txt. */
const char *mc_act_name(enum mc_act act);
const char *mc_kind_name(enum mc_kind kind);
const char *mc_column_name(enum mc_column column);

/* What the client asked for. Slices lie in the flow. */
struct mc_ask {
	enum mc_kind kind;
	uint16_t op; /* enum mc_op */
	bool meta;
	bool base64;
	uint64_t token;	       /* the client's, of CAS                                  */
	bool wants_cas;	       /* in the reply: gets, gats, c                           */
	bool wants_value;      /* get and its kin, v                                    */
	char mode;	       /* of ms and ma; of replace, append, prepend, incr, decr */
	struct slice key;      /* as commands name it: text, or base64                  */
	struct slice client;   /* flags; "0"                                            */
	struct slice exptime;  /* "0"                                                   */
	struct slice delta;    /* of incr and decr                                      */
	struct slice vivify;   /* N; p NULL: none                                       */
	struct slice initial;  /* J                                                     */
	struct slice value;    /* with its CRLF                                         */
	struct slice line;     /* the command without value and CRLF                    */
	struct mc_flags flags; /* of a meta command                                     */
};

void mc_ask_parse(const struct op_info *info, struct slice head, struct slice body,
		  struct mc_ask *out);

struct mc_flow {
	struct flow base;
	struct mc_ask ask;
	const struct mc_sequence *sequence;
	uint8_t at;    /* in sequence->act    */
	uint8_t tries; /* of CHANGE */
	uint32_t park_ms;
	bool b_had;    /* a deletion at b found something                          */
	bool leased;   /* PROMOTE has won a's lease; its cas is `lease` ...        */
	bool is_found; /* ... or somebody's value, at a or b: `item`, in `held`   */
	bool at_b;     /* `item` was read at b, and its cas is b's                */
	bool foreign;  /* somebody else holds the lease                           */
	uint64_t lease, cas;
	enum err failed;  /* of a TRY, or of reading b                   */
	enum err refusal; /* what ERROR says                             */
	struct mc_item item;
	struct buf *held;
	struct slice own; /* what OWN said, in own_buf */
	struct buf *own_buf;
	enum reply_kind own_kind;
};

/* Do the next action of the sequence. */
void mc_flow_next(struct mc_flow *f);
/* Start again from the first, or give up. */
void mc_flow_retry(struct mc_flow *f);
void mc_act(struct mc_flow *f, enum mc_act act);

/* --- answers: each ends the flow -------------------------------------------------------------- */

void mc_say_miss(struct mc_flow *f);
void mc_say_not_stored(struct mc_flow *f);
void mc_say_exists(struct mc_flow *f);
void mc_say_error(struct mc_flow *f);
/* Of STORE_LEASED and CHANGE: it was done, and the server answered `item`. */
void mc_say_done(struct mc_flow *f, const struct mc_item *item);
/* Something was deleted, though a says it had nothing. */
void mc_say_deleted(struct mc_flow *f);
/* To a read: `item`, whose value lies in `in`. */
void mc_say_item(struct mc_flow *f, const struct mc_item *item, struct buf *in);

#endif
