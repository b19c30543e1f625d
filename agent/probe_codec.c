#include <stdlib.h>

#include "agent/probe_impl.h"
#include "agent/talk.h"
#include "common/resp_commands.h"

/* --- incarnation ------------------------------------------------------------------------------ */

/* What follows `name` at the beginning of a line, up to its end. */
static bool line_value(struct slice text, const char *name, struct slice *out)
{
	size_t n = strlen(name);
	const char *end = text.p + text.n;
	for (const char *line = text.p, *next; line < end; line = next) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		next = newline ? newline + 1 : end;
		if ((size_t)(next - line) < n || memcmp(line, name, n) != 0) continue;
		const char *stop = newline ? newline : end;
		if (stop > line + n && stop[-1] == '\r') stop--;
		*out = (struct slice){ line + n, (size_t)(stop - line) - n };
		return true;
	}
	return false;
}

static bool line_number(struct slice text, const char *name, long long *out)
{
	struct slice value;
	char digits[24];
	if (!line_value(text, name, &value) || value.n == 0 || value.n >= sizeof(digits))
		return false;
	memcpy(digits, value.p, value.n);
	digits[value.n] = '\0';
	char *end;
	*out = strtoll(digits, &end, 10);
	return *end == '\0';
}

/* The process and the second in which it began. */
static void mc_incarnation(struct probe *p, struct slice stats)
{
	long long pid, now, uptime;
	if (!line_number(stats, "STAT pid ", &pid) || !line_number(stats, "STAT time ", &now) ||
	    !line_number(stats, "STAT uptime ", &uptime))
		return;
	snprintf(p->result.incarnation, sizeof(p->result.incarnation), "pid %lld since %lld", pid,
		 now - uptime);
}

static void redis_incarnation(struct probe *p, struct slice info)
{
	struct slice id;
	if (!line_value(info, "run_id:", &id) || id.n >= sizeof(p->result.incarnation)) return;
	memcpy(p->result.incarnation, id.p, id.n);
}

static void ask_incarnation(struct probe *p)
{
	p->fit = true;
	if (p->target.kind == PROBE_MEMCACHED) {
		talk_ask(p->own, NULL, SLICE("stats\r\n"));
		return;
	}
	/* The table knows INFO as something that the proxy answers itself. Upstream, its reply is a
	 * bulk string, like GET's. */
	talk_ask(p->own, codec_resp.op(RESP_GET), SLICE("*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"));
}

/* --- the question ----------------------------------------------------------------------------- */

static void codec_on_reply(void *ctx, const struct reply *reply, struct slice bytes)
{
	struct probe *p = ctx;
	if (p->over) return;
	if (p->fit) {
		bool memcached = p->target.kind == PROBE_MEMCACHED;
		if (reply->kind == REPLY_HIT && memcached) mc_incarnation(p, bytes);
		if (reply->kind == REPLY_HIT && !memcached) redis_incarnation(p, bytes);
		probe_finish(p, PROBE_GOOD, "well");
		return;
	}
	if (reply->kind == REPLY_HIT) {
		ask_incarnation(p);
		return;
	}
	probe_talk_refused(p, bytes);
}

static void codec_start(struct probe *p)
{
	static const struct talk_events events = { probe_talk_ready, codec_on_reply,
						   probe_talk_failed };
	probe_talk(p, p->target.kind == PROBE_REDIS ? &codec_resp : &codec_mc_text, &events);
}

const struct probe_ops probe_codec_ops = { true, codec_start, probe_talk_stop };
