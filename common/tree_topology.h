/* tree_topology.h - what an agent pushes to its proxies, made of what it read from the tree.
 *
 * Each pool is its ring body's, with the servers that its state ejects marked so; together with the
 * routes they are one snapshot under one version. A state may eject a server that its ring does not
 * have: that changes nothing.
 *
 * Pure. Threads: none shared. Ownership: the parts are borrowed for the call.
 */
#ifndef TWINRING_COMMON_TREE_TOPOLOGY_H
#define TWINRING_COMMON_TREE_TOPOLOGY_H

#include "common/pool_state.h"
#include "common/topology.h"

struct tree_pool {
	const char *name;
	const struct pool_state *state;
	const struct pool_spec *pool; /* of the body that state->ring names                       */
	const struct pool_spec *next; /* of the body that state->transition names; NULL without   */
};

/* The verdict that has a server of one of the state's two rings out, or NULL. Verdicts are about
 * the servers of `ring`, the one in force: who has another address there is another box. `in_next`:
 * it is of the ring to come, in which those that return are not out. */
const struct ejection *tree_server_ejection(const struct pool_state *state,
					    const struct pool_spec *ring,
					    const struct server_spec *s, bool in_next);

/* Compose and validate. `routes` may be NULL or JSON null. ERR_INVALID with a JSON path in
 * *where_out (may be NULL): no pools, states of different lineages, or what topology_from_json
 * refuses; both results are then NULL. *doc_out is a new reference, equal for equal parts; each
 * result may be left out by passing NULL. */
enum err tree_topology(const struct tree_pool *pools, uint32_t count, const json_t *routes,
		       uint64_t version, json_t **doc_out, struct topology **topology_out,
		       struct err_at *where_out);

#endif
