#include "proxy/routes/dual_mc.h"

#include <assert.h>

#include "common/mutation.h"

/* --- the rules -------------------------------------------------------------------------------- */

/* Finish at b, then at a, and acknowledge after both. a has authority; b is what may be promoted
 * from. tests/model/ has the proof, and what breaks when a rule is left out. */
/* clang-format off */
#define OWN_A           MC_ACT_OWN_A
#define OWN_B           MC_ACT_OWN_B
#define GET_A           MC_ACT_GET_A
#define GET_B           MC_ACT_GET_B
#define TOUCH_A         MC_ACT_TOUCH_A
#define TOUCH_B         MC_ACT_TOUCH_B
#define PROMOTE         MC_ACT_PROMOTE
#define SAY_ITEM        MC_ACT_SAY_ITEM
#define STORE_LEASED    MC_ACT_STORE_LEASED
#define LOOK_A          MC_ACT_LOOK_A
#define CHANGE_A        MC_ACT_CHANGE_A
#define CHECK_A         MC_ACT_CHECK_A
#define DELETE_A        MC_ACT_DELETE_A
#define DELETE_B        MC_ACT_DELETE_B
#define TRY_DELETE_A    MC_ACT_TRY_DELETE_A
#define TRY_DELETE_B    MC_ACT_TRY_DELETE_B
#define PARK            MC_ACT_PARK
#define MISS            MC_ACT_SAY_MISS
#define NOT_STORED      MC_ACT_SAY_NOT_STORED
#define EXISTS          MC_ACT_SAY_EXISTS
#define ERROR           MC_ACT_SAY_ERROR
#define ROW(...)        { { __VA_ARGS__ } }

static const struct mc_sequence sequences[MC_KIND_MAX][MC_COL_MAX] = {
	[MC_KIND_GET] = {
		[MC_COL_PREPARE]   = ROW(OWN_A),
		[MC_COL_HOLD]      = ROW(GET_B),
		[MC_COL_DUAL]      = ROW(PROMOTE, SAY_ITEM),
		[MC_COL_DRAIN]     = ROW(GET_A),
		[MC_COL_HOLD_COLD] = ROW(OWN_B),
		[MC_COL_COLD]      = ROW(OWN_A),
		[MC_COL_HOLD_LOST] = ROW(MISS),
		[MC_COL_LOST]      = ROW(GET_A),
		[MC_COL_COLD_LOST] = ROW(OWN_A),
		[MC_COL_FENCED]    = ROW(MISS),
	},
	[MC_KIND_TOUCH] = {
		[MC_COL_PREPARE]   = ROW(OWN_A),
		[MC_COL_HOLD]      = ROW(TOUCH_B),
		[MC_COL_DUAL]      = ROW(PROMOTE, TOUCH_A),
		[MC_COL_DRAIN]     = ROW(TOUCH_A),
		[MC_COL_HOLD_COLD] = ROW(OWN_B),
		[MC_COL_COLD]      = ROW(OWN_A),
		[MC_COL_HOLD_LOST] = ROW(MISS),
		[MC_COL_LOST]      = ROW(TOUCH_A),
		[MC_COL_COLD_LOST] = ROW(OWN_A),
		[MC_COL_FENCED]    = ROW(MISS),
	},
	[MC_KIND_SET] = {
		[MC_COL_PREPARE]   = ROW(OWN_A),
		[MC_COL_HOLD]      = ROW(PARK, DELETE_B, DELETE_A, ERROR),
		[MC_COL_DUAL]      = ROW(DELETE_B, OWN_A),
		[MC_COL_DRAIN]     = ROW(DELETE_B, OWN_A),
		[MC_COL_HOLD_COLD] = ROW(PARK, DELETE_B, DELETE_A, ERROR),
		[MC_COL_COLD]      = ROW(DELETE_B, OWN_A),
		[MC_COL_HOLD_LOST] = ROW(PARK, TRY_DELETE_B, DELETE_A, ERROR),
		[MC_COL_LOST]      = ROW(OWN_A),
		[MC_COL_COLD_LOST] = ROW(OWN_A),
		[MC_COL_FENCED]    = ROW(ERROR),
	},
	[MC_KIND_ADD] = {
		[MC_COL_PREPARE]   = ROW(OWN_A),
		[MC_COL_HOLD]      = ROW(NOT_STORED),
		[MC_COL_DUAL]      = ROW(PROMOTE, STORE_LEASED),
		[MC_COL_DRAIN]     = ROW(DELETE_B, OWN_A),
		[MC_COL_HOLD_COLD] = ROW(NOT_STORED),
		[MC_COL_COLD]      = ROW(DELETE_B, OWN_A),
		[MC_COL_HOLD_LOST] = ROW(NOT_STORED),
		[MC_COL_LOST]      = ROW(OWN_A),
		[MC_COL_COLD_LOST] = ROW(OWN_A),
		[MC_COL_FENCED]    = ROW(NOT_STORED),
	},
	/* LOOK_A: a placeholder must not pass for a value that can be changed. */
	[MC_KIND_CHANGE] = {
		[MC_COL_PREPARE]   = ROW(OWN_A),
		[MC_COL_HOLD]      = ROW(PARK, ERROR),
		[MC_COL_DUAL]      = ROW(PROMOTE, DELETE_B, CHANGE_A),
		[MC_COL_DRAIN]     = ROW(DELETE_B, LOOK_A, CHANGE_A),
		[MC_COL_HOLD_COLD] = ROW(PARK, ERROR),
		[MC_COL_COLD]      = ROW(DELETE_B, OWN_A),
		[MC_COL_HOLD_LOST] = ROW(PARK, ERROR),
		[MC_COL_LOST]      = ROW(LOOK_A, CHANGE_A),
		[MC_COL_COLD_LOST] = ROW(OWN_A),
		[MC_COL_FENCED]    = ROW(ERROR),
	},
	[MC_KIND_CAS] = {
		[MC_COL_PREPARE]   = ROW(OWN_A),
		[MC_COL_HOLD]      = ROW(EXISTS),
		[MC_COL_DUAL]      = ROW(CHECK_A, DELETE_B, OWN_A),
		[MC_COL_DRAIN]     = ROW(CHECK_A, DELETE_B, OWN_A),
		[MC_COL_HOLD_COLD] = ROW(EXISTS),
		[MC_COL_COLD]      = ROW(CHECK_A, DELETE_B, OWN_A),
		[MC_COL_HOLD_LOST] = ROW(EXISTS),
		[MC_COL_LOST]      = ROW(CHECK_A, OWN_A),
		[MC_COL_COLD_LOST] = ROW(CHECK_A, OWN_A),
		[MC_COL_FENCED]    = ROW(EXISTS),
	},
	[MC_KIND_DELETE] = {
		[MC_COL_PREPARE]   = ROW(OWN_A),
		[MC_COL_HOLD]      = ROW(DELETE_B, OWN_A),
		[MC_COL_DUAL]      = ROW(DELETE_B, OWN_A),
		[MC_COL_DRAIN]     = ROW(DELETE_B, OWN_A),
		[MC_COL_HOLD_COLD] = ROW(DELETE_B, OWN_A),
		[MC_COL_COLD]      = ROW(DELETE_B, OWN_A),
		[MC_COL_HOLD_LOST] = ROW(TRY_DELETE_B, OWN_A),
		[MC_COL_LOST]      = ROW(OWN_A),
		[MC_COL_COLD_LOST] = ROW(OWN_A),
		[MC_COL_FENCED]    = ROW(TRY_DELETE_B, TRY_DELETE_A, ERROR),
	},
	[MC_KIND_DEBUG] = {
		[MC_COL_PREPARE]   = ROW(OWN_A),
		[MC_COL_HOLD]      = ROW(OWN_B),
		[MC_COL_DUAL]      = ROW(OWN_A),
		[MC_COL_DRAIN]     = ROW(OWN_A),
		[MC_COL_HOLD_COLD] = ROW(OWN_B),
		[MC_COL_COLD]      = ROW(OWN_A),
		[MC_COL_HOLD_LOST] = ROW(MISS),
		[MC_COL_LOST]      = ROW(OWN_A),
		[MC_COL_COLD_LOST] = ROW(OWN_A),
		[MC_COL_FENCED]    = ROW(MISS),
	},
};

static const char *const act_names[MC_ACT_MAX] = {
	[MC_ACT_END] = "end",
	[MC_ACT_OWN_A] = "own-a", [MC_ACT_OWN_B] = "own-b",
	[MC_ACT_GET_A] = "get-a", [MC_ACT_GET_B] = "get-b",
	[MC_ACT_TOUCH_A] = "touch-a", [MC_ACT_TOUCH_B] = "touch-b",
	[MC_ACT_PROMOTE] = "promote", [MC_ACT_SAY_ITEM] = "item",
	[MC_ACT_STORE_LEASED] = "store-leased",
	[MC_ACT_LOOK_A] = "look-a", [MC_ACT_CHANGE_A] = "change-a", [MC_ACT_CHECK_A] = "check-a",
	[MC_ACT_DELETE_B] = "delete-b", [MC_ACT_DELETE_A] = "delete-a",
	[MC_ACT_TRY_DELETE_B] = "try-delete-b", [MC_ACT_TRY_DELETE_A] = "try-delete-a",
	[MC_ACT_PARK] = "park",
	[MC_ACT_SAY_MISS] = "miss", [MC_ACT_SAY_NOT_STORED] = "not-stored",
	[MC_ACT_SAY_EXISTS] = "exists", [MC_ACT_SAY_ERROR] = "error",
};
static const char *const kind_names[MC_KIND_MAX] = {
	[MC_KIND_GET] = "get", [MC_KIND_TOUCH] = "touch", [MC_KIND_SET] = "set",
	[MC_KIND_ADD] = "add", [MC_KIND_CHANGE] = "change", [MC_KIND_CAS] = "cas",
	[MC_KIND_DELETE] = "delete", [MC_KIND_DEBUG] = "debug",
};
static const char *const column_names[MC_COL_MAX] = {
	[MC_COL_PREPARE] = "prepare", [MC_COL_HOLD] = "hold", [MC_COL_DUAL] = "dual",
	[MC_COL_DRAIN] = "drain", [MC_COL_HOLD_COLD] = "hold-cold", [MC_COL_COLD] = "cold",
	[MC_COL_HOLD_LOST] = "hold-lost", [MC_COL_LOST] = "lost",
	[MC_COL_COLD_LOST] = "cold-lost", [MC_COL_FENCED] = "fenced",
};
/* clang-format on */

const char *mc_act_name(enum mc_act act)
{
	return act < MC_ACT_MAX ? act_names[act] : NULL;
}

const char *mc_kind_name(enum mc_kind kind)
{
	return kind < MC_KIND_MAX ? kind_names[kind] : NULL;
}

const char *mc_column_name(enum mc_column column)
{
	return column < MC_COL_MAX ? column_names[column] : NULL;
}

/* --- rules that a test build can switch off --------------------------------------------------- */

static const struct mc_sequence set_order = ROW(OWN_A, DELETE_B);

static const struct mc_sequence *mc_mutated(enum mc_kind kind, enum mc_column column)
{
	bool crosses = column == MC_COL_DUAL || column == MC_COL_DRAIN || column == MC_COL_COLD;
	bool holds = column == MC_COL_HOLD || column == MC_COL_HOLD_COLD;
	if (MUTATED(SETORDER) && kind == MC_KIND_SET && crosses) return &set_order;
	if (MUTATED(DELORDER) && kind == MC_KIND_DELETE && crosses) return &set_order;
	if (MUTATED(HOLDORDER) && kind == MC_KIND_DELETE && holds) return &set_order;
	return NULL;
}

const struct mc_sequence *mc_sequence(enum mc_kind kind, enum mc_column column)
{
	const struct mc_sequence *other = mc_mutated(kind, column);
	return other ? other : &sequences[kind][column];
}

/* --- which column ----------------------------------------------------------------------------- */

/* [promotes][b_out] */
static const uint8_t hold_columns[2][2] = {
	{ MC_COL_HOLD_COLD, MC_COL_HOLD_LOST },
	{ MC_COL_HOLD, MC_COL_HOLD_LOST },
};
static const uint8_t dual_columns[2][2] = {
	{ MC_COL_COLD, MC_COL_COLD_LOST },
	{ MC_COL_DUAL, MC_COL_LOST },
};
static const uint8_t drain_columns[2][2] = {
	{ MC_COL_COLD, MC_COL_COLD_LOST },
	{ MC_COL_DRAIN, MC_COL_LOST },
};

enum mc_column mc_column(const struct dual_way *way)
{
	bool promotes = way->transition->rules.promote;
	if (way->fenced && !MUTATED(NOFENCE)) return MC_COL_FENCED;
	switch (way->phase) {
	case PHASE_STABLE:
	case PHASE_PREPARE: return MC_COL_PREPARE;
	case PHASE_HOLD:
	case PHASE_HOLD_R:
		if (MUTATED(NOHOLD)) return dual_columns[promotes][way->b_out];
		return hold_columns[promotes][way->b_out];
	case PHASE_DUAL:
	case PHASE_DUAL_R: return dual_columns[promotes][way->b_out];
	case PHASE_DRAIN:
	case PHASE_DRAIN_R: return drain_columns[promotes][way->b_out];
	case PHASE_MAX: break;
	}
	return MC_COL_FENCED;
}

/* --- the flow --------------------------------------------------------------------------------- */

void mc_flow_next(struct mc_flow *f)
{
	assert(f->at < MC_SEQUENCE_MAX);
	mc_act(f, f->sequence->act[f->at++]);
}

void mc_flow_retry(struct mc_flow *f)
{
	if (++f->tries >= MC_TRIES_MAX) {
		mc_say_error(f);
		return;
	}
	f->at = 0;
	f->leased = f->is_found = f->at_b = f->foreign = false;
	if (f->held) buf_unref(f->held);
	f->held = NULL;
	mc_flow_next(f);
}

static void mc_flow_start(struct flow *base)
{
	mc_flow_next((struct mc_flow *)base);
}

static void mc_flow_fini(struct flow *base)
{
	struct mc_flow *f = (struct mc_flow *)base;
	if (f->held) buf_unref(f->held);
	if (f->own_buf) buf_unref(f->own_buf);
}

static const struct flow_type mc_flow_type = {
	.size = sizeof(struct mc_flow),
	.start = mc_flow_start,
	.on_unpark = mc_flow_start,
	.fini = mc_flow_fini,
};

/* One command to one server: no flow, unless one of the client's is ahead on the key. */
static bool mc_send_plain(const struct mc_sequence *s, const struct dual_way *way,
			  struct request *req)
{
	bool a = s->act[0] == MC_ACT_OWN_A, b = s->act[0] == MC_ACT_OWN_B;
	if (s->act[1] != MC_ACT_END || !(a || b) || flow_is_ahead(req->view->core, req))
		return false;
	dest_send(a ? way->a : way->b, req);
	return true;
}

void dual_mc_send(const struct dual_way *way, struct request *req)
{
	struct mc_ask ask;
	mc_ask_parse(req->info, req->head, req->body, &ask);
	const struct mc_sequence *sequence = mc_sequence(ask.kind, mc_column(way));
	if (mc_send_plain(sequence, way, req)) return;
	struct flow *base = flow_new(&mc_flow_type, way->pool, way->a, way->b, req);
	struct mc_flow *f = (struct mc_flow *)base;
	mc_ask_parse(req->info, base->head, base->body, &f->ask);
	f->sequence = sequence;
	f->refusal = way->fenced ? ERR_FENCED : ERR_MOVING;
	f->park_ms = way->transition->rules.hold_park_ms;
}
