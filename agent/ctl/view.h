/* view.h - one pool as the tree has it: what is wanted (spec), what is (state and ring), how it
 * goes (status).
 *
 * Threads:   one.
 * Ownership: a view owns all in it until view_fini; a zeroed one is empty.
 * Errors:    what is missing or broken in the tree is part of the view; only a store that does not
 *            answer is an error.
 */
#ifndef TWINRING_AGENT_CTL_VIEW_H
#define TWINRING_AGENT_CTL_VIEW_H

#include "agent/ctl/ctl.h"
#include "common/pool_state.h"
#include "common/spec.h"

enum view_part {
	VIEW_SPEC = 1,
	VIEW_STATE = 2, /* and the ring that it names */
	VIEW_STATUS = 4,
	VIEW_WATCH = 8, /* what is read is watched too */
};

struct view {
	char *name;
	struct client_node spec_node, state_node, status_node;
	struct spec *spec;	     /* NULL: none, or invalid                          */
	struct config_issues issues; /* of the spec                                     */
	bool has_state;
	struct pool_state state; /* when has_state                                  */
	struct topology *ring;	 /* of the body that the state names, or NULL       */
	struct err_at problem;	 /* why there is no good state or no ring, or empty */
	json_t *status;		 /* as it is, an object, or NULL                    */
};

struct views {
	struct view *items; /* sorted by name */
	uint32_t count;
};

/* `parts`: of enum view_part. STORE_NO_NODE: there is no such pool; no part of it then. */
enum store_rc view_read(struct client *c, const char *pool, unsigned parts, struct view *out);
void view_fini(struct view *v);

/* Every pool of the tree, or only `pool` unless that is NULL. Says what is wrong. */
enum ctl_exit views_read(struct ctl *c, const char *pool, unsigned parts, struct views *out);
void views_fini(struct views *v);

/* The pool that is in force, or NULL. Borrowed from the view. */
const struct pool_spec *view_pool(const struct view *v);
/* The ring of it with the ejections of the state, or without. ERR_UNKNOWN_NAME: there is none. */
enum view_ejected { VIEW_EJECTED, VIEW_WHOLE };
enum err view_ring(const struct view *v, enum view_ejected how, struct ring **ring_out);

/* Can a pool of this name be in the tree? Says why not. */
bool view_name_ok(const char *pool);
/* "pools/NAME/PART", or "pools/NAME" when `part` is NULL. */
void view_path(const char *pool, const char *part, char path_out[STORE_PATH_MAX]);

#endif
