/* edit_text.h - one edit on the text of a document, by the places that its parser kept.
 *
 * A careful guess: the caller reads the result back and compares. Pure.
 */
#ifndef TWINRING_AGENT_CTL_EDIT_TEXT_H
#define TWINRING_AGENT_CTL_EDIT_TEXT_H

#include "agent/ctl/edit.h"
#include "common/node.h"

/* Write `text`, of which `root` was read, with the edit made over *out. False: not in this layout,
 * and *out is undefined. */
bool edit_text(struct slice text, const struct node *root, const struct edit *e,
	       struct scratch *out);

#endif
