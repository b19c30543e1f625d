/* edit.h - change a few values in a spec and leave the rest of its text as its author wrote it.
 *
 * Each edit is made twice: on the document as JSON, where it cannot go wrong, and on the text, with
 * comments and layout kept. The new text counts only when it reads back to just that document;
 * otherwise the whole document is written anew, and whoever asked is told.
 *
 * Pure. Threads: none shared. Out of memory aborts.
 */
#ifndef TWINRING_AGENT_CTL_EDIT_H
#define TWINRING_AGENT_CTL_EDIT_H

#include <jansson.h>

#include "common/config.h"
#include "common/scratch.h"

enum { EDIT_DEPTH_MAX = 3 };

/* A key of a map, or with key NULL an item of a list. */
struct edit_step {
	const char *key;
	uint32_t index;
};

enum edit_op {
	EDIT_SET,    /* the value at the path, which is made when it is missing (but list items) */
	EDIT_REMOVE, /* what is at the path, if anything, and maps that become empty by it       */
	EDIT_APPEND, /* the value to the list at the path                                        */
};

struct edit {
	enum edit_op op;
	struct edit_step path[EDIT_DEPTH_MAX];
	unsigned depth;
	json_t *value; /* borrowed; unused with EDIT_REMOVE */
};

enum edit_kept {
	EDIT_KEPT,	/* all but the edited places is as it was            */
	EDIT_REWRITTEN, /* the values are right; comments and layout are lost */
};

/* Apply `edits` in order to `text`, which may be empty, and write the new text over *out. `label`
 * stands for the text in messages. ERR_INVALID: the text cannot be read, or a path leads through
 * something that is no map or list; *issues_out, which the caller frees, says what. */
enum err edit_apply(struct slice text, const char *label, const struct edit *edits, uint32_t count,
		    struct scratch *out, enum edit_kept *kept_out,
		    struct config_issues *issues_out);

#endif
