/* spec_change.h - write a spec: read, change, check, compare-and-set, and again when somebody else
 * was faster.
 *
 * Nothing is written that the coordinator would refuse: the spec itself is parsed, how much it
 * shrinks and where it fails over to is checked against the tree.
 */
#ifndef TWINRING_AGENT_CTL_SPEC_CHANGE_H
#define TWINRING_AGENT_CTL_SPEC_CHANGE_H

#include "agent/ctl/edit.h"
#include "agent/ctl/view.h"

/* Make the new text of now's spec; says why it returns anything but CTL_OK. Called again, with
 * another view, when the spec was changed meanwhile. */
typedef enum ctl_exit (*spec_change_fn)(void *ctx, const struct view *now,
					struct scratch *text_out);

struct spec_change {
	const char *pool; /* which exists */
	spec_change_fn fn;
	void *ctx;
	const char *label; /* of the new text, for messages; NULL: its place in the tree */
	const char *done;  /* said when it is written: "server s3 added" */
};

enum ctl_exit spec_change(struct ctl *c, const struct spec_change *change);

/* The same with edits, which keep the author's comments where they can be kept. */
enum ctl_exit spec_change_edits(const struct view *now, const struct edit *edits, uint32_t count,
				struct scratch *text_out);

/* Would the coordinator take this text as the spec of now->name? Prints every problem unless
 * issues_out is given, which the caller then frees. *spec_out may be NULL. */
enum ctl_exit spec_check(struct ctl *c, const struct view *now, struct slice text,
			 const char *label, struct spec **spec_out,
			 struct config_issues *issues_out);

/* Make a pool that does not exist, and undo that: the tombstone of an earlier pool of that name
 * goes and comes back. *tombstone: whether there was one. Both say what is wrong. */
enum ctl_exit spec_create(struct ctl *c, const char *pool, struct slice text, bool *tombstone);
void spec_uncreate(struct ctl *c, const char *pool, bool tombstone);

/* Tell every agent that the pool is gone on purpose; there may be one already. */
enum ctl_exit tombstone_put(struct ctl *c, const char *pool);

/* With --dry-run: print what would be written. */
void spec_show_dry(const struct ctl *c, const char *path, struct slice text);

/* The whole of a file, or of standard input for "-"; says what is wrong. */
enum ctl_exit text_read(const char *path, struct scratch *out);

#endif
