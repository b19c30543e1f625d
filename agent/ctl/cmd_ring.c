/* cmd_ring.c - the ring that a coordinator would make of a spec; for tests and for the curious. */
#include <stdio.h>

#include "agent/ctl/out.h"
#include "agent/ctl/spec_change.h"
#include "common/ring_body.h"

static enum ctl_exit ring_print(struct ctl *c, const struct spec *spec)
{
	char hex[RING_HEX_CHARS + 1];
	struct scratch body = { 0 };
	enum err e = ring_body_print(spec->pool, &body, hex);
	if (e != ERR_NONE) ctl_say("no ring: %s", err_text(e));
	else if (c->json)
		out_json(
		    json_pack("{s:s, s:o}", "ring", hex, "body", json_stringn(body.p, body.n)));
	else fwrite(body.p, 1, body.n, stdout);
	scratch_fini(&body);
	return e == ERR_NONE ? CTL_OK : CTL_FAILED;
}

static enum ctl_exit ring_run(struct ctl *c, const struct args *a)
{
	struct scratch text = { 0 };
	struct spec *spec = NULL;
	struct config_issues issues = { 0 };
	enum ctl_exit e = text_read(a->operands[1], &text);
	if (e == CTL_OK &&
	    spec_parse(text.p, text.n, a->operands[0], a->operands[1], &spec, &issues) != ERR_NONE)
		e = CTL_REFUSED;
	out_issues(&issues);
	if (e == CTL_OK) e = ring_print(c, spec);
	config_issues_fini(&issues);
	spec_free(&spec);
	scratch_fini(&text);
	return e;
}

const struct command cmd_ring = {
	.name = "ring",
	.operands = "POOL FILE",
	.help = "print the body of the ring that FILE, as the spec of POOL, would have",
	.least = 2,
	.most = 2,
	.hidden = true,
	.run = ring_run,
};
