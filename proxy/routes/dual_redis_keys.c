/* dual_redis_keys.c - Redis requests with several keys, of which some move; and those for all
 * servers.
 *
 * What can be split is split key by key, once it is sure that all parts may run. What must run
 * whole needs all its keys on one server: in the end, by the ring to come, or, for reads while
 * nobody writes, still.
 */
#include "proxy/routes/dual_redis.h"

#include "common/redis_import.h"

/* What the keys of one request have in common. */
struct redis_survey {
	struct dual_way first; /* of the first key that moves          */
	uint32_t moving, staying;
	uint32_t rules[REDIS_RULES]; /* how many of the moving have each     */
	struct dest *a, *b;	     /* the first key's                      */
	bool same_a, same_b;	     /* all others' too                      */
	bool homeless;		     /* some key has no server               */
	bool ours;		     /* some key is not to be touched        */
	const struct dest *out;	     /* one that is needed, and ejected      */
};

static void survey_add(struct redis_survey *s, const struct dual_way *way, bool moves,
		       const struct op_info *info)
{
	if (!way->a) s->homeless = true;
	if (s->moving + s->staying == 0) {
		s->a = way->a;
		s->b = way->b;
		s->same_a = s->same_b = true;
	}
	s->same_a &= way->a == s->a;
	s->same_b &= way->b == s->b;
	if (!moves) {
		s->staying++;
		return;
	}
	enum redis_rule rule = dual_redis_rule(way->phase, way->fenced, info);
	if (s->moving++ == 0) s->first = *way;
	s->rules[rule]++;
	if (!s->out) s->out = dual_redis_out(way, rule);
}

static struct redis_survey survey(const struct route *r, struct view *view,
				  const struct command *cmd)
{
	struct redis_survey s = { 0 };
	for (uint32_t i = 0; i < cmd->key_count; i++) {
		struct dual_way way;
		bool moves = dual_way_of(r, view, command_key(cmd, i), &way);
		s.ours |= redis_import_is_ours(command_key(cmd, i));
		survey_add(&s, &way, moves, cmd->info);
	}
	return s;
}

/* Why it cannot run now, or ever; ERR_NONE: it can. */
static enum err survey_verdict(const struct redis_survey *s, const struct op_info *info)
{
	bool whole = info->route == OP_SAME;
	if (s->rules[REDIS_REFUSE]) return ERR_FENCED;
	if (whole && !s->same_a && !s->same_b) return ERR_CROSS_SLOT;
	if (s->rules[REDIS_PARK] || s->ours) return ERR_MOVING;
	if (s->out) return ERR_TKO;
	if (!whole) return ERR_NONE;
	/* Some are read where they are and some where they go: not of one moment. */
	if (s->rules[REDIS_HELD] && (s->rules[REDIS_HELD] < s->moving || !s->same_b))
		return ERR_MOVING;
	if (!s->rules[REDIS_HELD] && !s->same_a) return ERR_CROSS_SLOT;
	return ERR_NONE;
}

/* The keys that have to be read at b, or brought from there. */
static uint32_t keys_of(const struct route *r, struct view *view, const struct command *cmd,
			struct redis_key *keys)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < cmd->key_count; i++) {
		struct dual_way way;
		struct slice key = command_key(cmd, i);
		if (!dual_way_of(r, view, key, &way)) continue;
		if (dual_redis_rule(way.phase, way.fenced, cmd->info) == REDIS_AT_A) continue;
		keys[n++] = (struct redis_key){ key, way.b_lost ? NULL : way.b };
	}
	return n;
}

static void send_whole(const struct route *r, struct request *req, const struct command *cmd,
		       const struct redis_survey *s)
{
	struct core *core = req->view->core;
	uint32_t asked = s->moving - s->rules[REDIS_AT_A];
	if (asked == 0 && !flow_is_ahead(core, req)) {
		dest_send(s->a, req);
		return;
	}
	enum redis_rule rule = s->rules[REDIS_HELD]	? REDIS_HELD
			       : s->rules[REDIS_IMPORT] ? REDIS_IMPORT
							: REDIS_AT_A;
	struct buf *memory = buf_get(&core->bufs, (asked + 1) * sizeof(struct redis_key));
	struct redis_key *keys = (struct redis_key *)memory->data;
	keys[0] = (struct redis_key){ req->key, NULL };
	uint32_t count = keys_of(r, req->view, cmd, keys);
	bool all = s->same_a && count == cmd->key_count;
	dual_redis_start(s->first.transition, s->first.pool, rule, s->a, keys, count ? count : 1,
			 all, req);
	buf_unref(memory);
}

/* Emptying the servers would take the epoch with it, and marks of what has moved. */
static bool is_forbidden(const struct op_info *info)
{
	return resp_command_of(info)->rule == RULE_FLUSH;
}

bool dual_redis_send_keys(const struct route *r, struct request *req, const struct command *cmd)
{
	struct core *core = req->view->core;
	const struct op_info *info = cmd->info;
	if (info->route == OP_ALL) {
		if (!is_forbidden(info)) return false;
		request_fail_later(core, req, ERR_MOVING, NULL);
		return true;
	}
	/* DEL or EVAL of one key has nobody to wait for: it may park, as any other command. */
	if (cmd->key_count < 2) {
		route_send(r, req);
		return true;
	}
	struct redis_survey s = survey(r, req->view, cmd);
	if (s.moving == 0 || s.homeless) return false;
	enum err verdict = survey_verdict(&s, info);
	if (verdict == ERR_NONE && info->route == OP_SPLIT) return false;
	if (verdict != ERR_NONE) {
		const char *name = verdict == ERR_TKO ? s.out->server->spec->ring_name : NULL;
		request_fail_later(core, req, verdict, name);
	} else {
		send_whole(r, req, cmd, &s);
	}
	return true;
}
