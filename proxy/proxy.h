/* proxy.h - the main thread: configuration, snapshots, workers, and everything that is not the path
 * of a request.
 *
 * Threads: main only. Workers are told through their mailboxes and answer through main's.
 */
#ifndef TWINRING_PROXY_PROXY_H
#define TWINRING_PROXY_PROXY_H

#include "proxy/eject.h"
#include "proxy/listener.h"
#include "proxy/options.h"

struct control;
struct exporter;
struct addresses;

struct proxy {
	const struct options *options;
	struct config *config; /* in force; replaced as a whole */
	struct io_loop loop;
	struct mailbox mail;
	struct stats *stats;
	struct stats_process process;
	char boot_id[64];     /* the kernel's name for this boot; "": unknown                 */
	char client_name[64]; /* of connections to servers: no other process ever has the same */
	struct worker_shared shared;
	struct worker **workers;
	uint32_t worker_count;
	struct listeners listeners;
	struct identities *identities;
	struct ejections ejections;
	struct addresses *addresses;
	struct exporter *exporter;
	struct control *control;

	struct topology *topology; /* wanted; the snapshot's is a copy with local ejections       */
	bool pushed;		   /* it came through the control socket, not from the file       */
	bool confirmed;		   /* by the control socket, in this process's life               */
	bool fenced;		   /* it may be out of date: nothing is served by it              */
	char unsaved[240];	   /* why it is not kept for the next start; "": it is            */
	uint64_t save_again_us;	   /* monotonic                                                   */
	struct snapshot *snapshot; /* newest; one reference                                       */
	uint32_t snapshots_alive;
	bool undrained;		 /* older snapshots are still in use                            */
	uint64_t health_told_us; /* monotonic: when subscribers last heard of it                */
	uint32_t lease_late_ms;	 /* a lease that begins once all is drained; 0: none            */
	uint64_t lease_late_us;	 /* boot clock: when it was granted                             */

	int signal_fd;
	struct io_watch signals;
	struct io_timer second, deadline;
	uint32_t drained_workers;
	bool stopping, stopped;
};

/* Everything up to serving. Takes `config`, also on failure. */
enum err proxy_init(struct proxy *p, const struct options *o, struct config *config,
		    struct err_at *where_out);
/* Serve until told to stop; `ready` is called once every listener serves. */
void proxy_run(struct proxy *p, void (*ready)(struct proxy *p, void *ctx), void *ctx);
void proxy_fini(struct proxy *p);

/* Read the configuration file again; on error the old one stays in force. */
enum err proxy_reload(struct proxy *p, struct err_at *where_out);
/* Route by `t` from now on. Takes it, also on failure, when nothing changes. */
enum err proxy_apply(struct proxy *p, struct topology *t, struct err_at *where_out);
/* Keep the topology for the next start; if that fails, it is tried again until it does not. */
void proxy_save(struct proxy *p);
/* Whoever may command us says that the topology in force is current: nothing is fenced any more. */
enum err proxy_confirm(struct proxy *p, struct err_at *where_out);
/* Does every worker route by the newest snapshot? */
bool proxy_all_adopted(const struct proxy *p);
/* Build a snapshot of the wanted topology and hand it to all workers. */
enum err proxy_publish(struct proxy *p, struct err_at *where_out);
/* This proxy may act on transitions for so long. A lease that had run out begins anew only when no
 * request of an older snapshot is under way. */
void proxy_lease(struct proxy *p, uint32_t ms);
bool proxy_lease_has_lapsed(const struct proxy *p);
uint64_t proxy_lease_left_ms(const struct proxy *p);
/* Stop accepting, let clients finish, then end. The second call ends at once. */
void proxy_drain(struct proxy *p);

/* Lay the command line over what the file says. false: *where_out says why. */
bool proxy_override(const struct options *o, struct config *c, struct err_at *where_out);

#endif
