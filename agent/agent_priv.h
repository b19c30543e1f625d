/* agent_priv.h - what the agent's files share. */
#ifndef TWINRING_AGENT_AGENT_PRIV_H
#define TWINRING_AGENT_AGENT_PRIV_H

#include "agent/agent.h"
#include "agent/agent_metrics.h"
#include "agent/coordinator.h"
#include "agent/election.h"
#include "agent/keeper.h"
#include "agent/mirror.h"
#include "agent/nanny.h"
#include "agent/outputs.h"
#include "agent/push.h"
#include "agent/reader.h"
#include "agent/tree_path.h"
#include "agent/warmth.h"
#include "agent/webhook.h"

struct suspicion;

struct agent {
	struct io_loop *loop;
	const struct agent_config *config;
	struct store *store;
	struct reader *reader;
	struct push *push;
	struct keeper *keeper;
	struct election *election;	 /* NULL: never coordinates */
	struct coordinator *coordinator; /* the same                */
	struct nanny *nanny;		 /* NULL: no nanny          */
	struct mirror *mirror;		 /* health settings, for the nanny */
	struct webhooks *webhooks;
	struct outputs *outputs;
	struct topology *topology; /* newest, parsed; NULL: none yet */
	struct suspicion *suspicions;
	struct warmth *warmth; /* of pools in transition, by our own proxies */
	bool connected;
	bool stale; /* what is in force has not been confirmed for too long */
	struct io_timer second, confirm;
	/* agent_lease.c: when the store was asked last, and what came of it. asking_us
	 * and asked_us by clock_boot_us(), synced_us by clock_now_us(). */
	bool asking;
	uint64_t asking_us, asked_us, synced_us;
	json_t *armed;	     /* {pool: epoch} of transitions that our proxies have leases for */
	uint64_t started_us; /* monotonic */
	struct agent_metrics metrics;
	struct http_pages *pages;
	uint32_t alarm_seconds; /* since when what is in force is not followed */
	bool alarmed;		/* the world was told so                       */
	char doubt[200];	/* why the nanny abstains; empty: it does not */
};

void agent_webhook(struct agent *a, const char *event, json_t *body);

/* agent_report.c: what this host's proxies have applied. */
void agent_report(struct agent *a);
/* What the tree has not confirmed for too long is pushed as such. */
void agent_check_age(struct agent *a);
/* agent_lease.c: what may be promised to them. agent_confirm() asks the store, agent_lease() goes
 * by what is known. */
void agent_confirm(struct agent *a);
void agent_lease(struct agent *a);
void agent_on_confirm(int fd, short what, void *owner);
/* agent_suspects.c: what they say of servers. */
void agent_note_suspects(struct agent *a, const char *proxy, const json_t *event);
void agent_check_suspects(struct agent *a);
void agent_free_suspects(struct agent *a);
/* agent_observe.c: counters, /metrics and so on. */
void agent_start_metrics(struct agent *a);
enum err agent_open_pages(struct agent *a, struct err_at *where_out);
void agent_close_metrics(struct agent *a);
void agent_count_decision(struct agent *a, const char *what);
void agent_count_session(struct agent *a, enum store_session session);
/* agent_nanny.c: probing and voting. */
bool agent_start_nanny(struct agent *a);
void agent_want_probes(struct agent *a);
void agent_register_nanny(struct agent *a);

#endif
