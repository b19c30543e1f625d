/* assign.h - KEY=VALUE on a command line, as edits of a spec. */
#ifndef TWINRING_AGENT_CTL_ASSIGN_H
#define TWINRING_AGENT_CTL_ASSIGN_H

#include "agent/ctl/edit.h"

/* Read "key=value", "group.key=value" or "key=" (which removes the key). Options whose value is
 * text take it as it stands, all others read it as JSON. On success *edit_out borrows from
 * *owner_out, which the caller frees with assign_fini. False: *why_out says why. */
struct assign {
	char *key;
	json_t *value;
};

bool assign_parse(const char *text, struct assign *owner_out, struct edit *edit_out,
		  struct err_at *why_out);
void assign_fini(struct assign *a);

#endif
