/* nanny_impl.h - what the files of nanny share. Private to them.
 *
 *   nanny.c        probes on schedule, rise and fall, votes
 *   nanny_want.c   which servers, and with which settings
 *   nanny_doubt.c  abstention
 */
#ifndef TWINRING_AGENT_NANNY_IMPL_H
#define TWINRING_AGENT_NANNY_IMPL_H

#include "agent/nanny.h"
#include "common/list.h"

struct resolver;

/* One server under care. */
struct charge {
	LIST_ENTRY(charge) link; /* in its ward */
	struct ward *ward;
	char *name, *host;
	uint16_t port;
	uint32_t address; /* the resolver's id; 0: the host is numeric */
	struct io_timer timer;
	struct probe *probe; /* under way */
	bool bad;
	uint32_t run;	    /* results in a row that say otherwise        */
	uint64_t turned_us; /* bad since, by our own probes; 0: not by them */
	uint64_t since_ms;
	char why[PROBE_WHY_MAX];
	char incarnation[PROBE_INCARNATION_MAX];
	bool puzzled; /* it could not be probed: said once */
	bool wanted;
};

/* A pool. */
struct ward {
	LIST_ENTRY(ward) link;
	struct nanny *nanny;
	struct nanny_pool pool; /* texts are its own; no servers */
	char *script;		/* whole path, or NULL */
	LIST_HEAD(, charge) charges;
	bool wanted;
};

struct nanny {
	struct io_loop *loop;
	struct nanny_events events;
	struct resolver *resolver; /* NULL until there is a name */
	LIST_HEAD(, ward) wards;
	uint64_t random;

	struct io_timer review; /* while it abstains */
	bool abstains;
	bool told;
	uint64_t doubted_us; /* there was a reason then */
	char why[PROBE_WHY_MAX];
	char told_why[PROBE_WHY_MAX];
};

struct charge *charge_new(struct ward *w, const struct nanny_server *s);
/* `tell`: take its vote back. */
void charge_free(struct charge *c, bool tell);
void charge_vote(const struct charge *c, bool changed, bool restarted);

/* Is there (still) a reason to doubt? After anything that bears on it. */
void nanny_review(struct nanny *n);
void nanny_on_review(int fd, short what, void *owner);

#endif
