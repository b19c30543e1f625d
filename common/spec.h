/* spec.h - what operators want of one pool: the content of pools/P/spec.
 *
 * The pool's own options (as in the native configuration) and, beside them, how it may change:
 * mode, transition, shrinking, failover, pins, health checks, ejection. Agents never act on a spec;
 * the coordinator turns it into a ring body and a state, twinringctl checks it before it is
 * written.
 *
 * Pure: no I/O, no clock, no globals.
 * Threads:   a spec never changes once parsed; any thread may read it.
 * Ownership: whoever parsed it frees it; everything inside lives as long.
 * Errors:    parsing reports every problem, each as label:line:column and a reason.
 */
#ifndef TWINRING_COMMON_SPEC_H
#define TWINRING_COMMON_SPEC_H

#include "common/config.h"

#define SPEC_TEXT_MAX (512u << 10) /* bytes; a znode holds 1 MiB with all that travels with it */

enum pool_mode {
	MODE_CACHE,   /* what is lost can be had again          */
	MODE_STORAGE, /* Redis as a store: nothing may be lost  */
};

enum transition_kind {
	TRANSITION_INSTANT,  /* the new ring at once                    */
	TRANSITION_TWO_RING, /* step by step, keys are moved meanwhile  */
};

/* What happens to a server before it serves again. */
enum on_rejoin { REJOIN_FLUSH, REJOIN_KEEP };

enum pin {
	PIN_NONE, /* the nannies decide      */
	PIN_OUT,  /* ejected by hand         */
	PIN_IN,	  /* never ejected           */
};

enum probe_kind {
	PROBE_AUTO, /* the pool's protocol                    */
	PROBE_MEMCACHED,
	PROBE_REDIS,
	PROBE_TCP,
	PROBE_HTTP,
	PROBE_SCRIPT,
	PROBE_NONE, /* not probed, so never ejected by vote   */
	PROBE_KIND_MAX
};

struct health_spec {
	enum probe_kind probe; /* never PROBE_AUTO once parsed                               */
	uint32_t interval_ms;  /* from the start of one probe to the start of the next       */
	uint32_t timeout_ms;   /* <= interval_ms                                             */
	uint32_t fall;	       /* bad probes in a row until it is down, >= 1                 */
	uint32_t rise;	       /* good probes in a row until it is up, >= 1                  */
	char *http_path;       /* begins with '/'                                            */
	uint16_t http_port;    /* 0: the server's own                                        */
	char *script;	       /* a file's name in the agent's own folder of scripts, or NULL */
};

struct ejection_spec {
	uint32_t cap_percent; /* of the pool's servers, though always one                      */
	uint32_t min_interval_ms;  /* between two ejections                                     */
	uint32_t backoff_ms;	   /* out for so long at least, doubled each time               */
	uint32_t backoff_max_ms;   /* >= backoff_ms                                             */
	uint32_t quarantine_after; /* ejections within an hour after which only a person lets it
				    * back; 0: never                                           */
};

/* How a pool comes from one ring to the next, with TRANSITION_TWO_RING. */
struct moving_spec {
	uint32_t slices;	   /* of the moving keys: 1, 16, or 0: by the number of agents   */
	uint32_t hold_max_ms;	   /* 0: by the number of agents                                 */
	uint32_t hold_park_ms;	   /* a write waits so long for HOLD to end                      */
	uint32_t dual_max_ms;	   /* a cache need not be warm then                              */
	uint64_t value_max_bytes;  /* Redis: larger values are not moved                         */
	uint32_t keys_per_s;	   /* of each server that is scanned; 0: no limit                */
	uint32_t scrub_keys_per_s; /* the same, when old copies are deleted                      */
	uint64_t bytes_per_s;	   /* of values in all; 0: no limit                              */
	uint32_t latency_max_ms;   /* half the pace when a server takes longer; 0: no such limit */
};

struct spec_pin {
	char *server; /* its name in the ring */
	enum pin pin;
};

/* Where in the text something stood, for checks that come later. */
enum spec_place { SPEC_AT_SERVERS, SPEC_AT_FAILOVER, SPEC_AT_PROTOCOL, SPEC_PLACE_MAX };

struct spec {
	struct topology *topology;    /* of exactly one pool                                  */
	const struct pool_spec *pool; /* that one; no server of it is ejected                 */
	enum pool_mode mode;
	enum transition_kind transition;
	uint32_t max_shrink_percent; /* 0..100                                                */
	uint32_t confirm_shrink_to;  /* servers that shall be left; 0: not confirmed          */
	enum on_rejoin on_rejoin;
	struct spec_pin *pins; /* sorted by server                                            */
	uint32_t pin_count;
	uint32_t lease_ms; /* 0: strict                                                       */
	struct moving_spec moving;
	struct health_spec health;
	struct ejection_spec ejection;

	char *label; /* of the text, for messages */
	struct {
		uint32_t line, column;
	} places[SPEC_PLACE_MAX];
};

/* Parse and check the spec of the pool `pool_name`, YAML or JSON; `label` stands for the text in
 * messages. *out is set only when no issue is an error; free *issues_out either way. ERR_INVALID or
 * ERR_NOMEM otherwise. What needs the other pools is left to spec_check_failover. */
enum err spec_parse(const char *text, size_t n, const char *pool_name, const char *label,
		    struct spec **out, struct config_issues *issues_out);

/* ERR_INVALID with *where_out when `wanted` loses more than max_shrink_percent of the servers, or
 * of the weight, that `current` has, and confirm_shrink_to is not the number of servers left. A
 * server is lost when its name is: an address may change. */
enum err spec_check_shrink(const struct spec *wanted, const struct pool_spec *current,
			   struct err_at *where_out);

/* ERR_INVALID with *where_out when the pool that the failover names is not among the `count` pools
 * (one called like the wanted one is skipped), speaks another protocol or leads back; or when a
 * pool that names the wanted one speaks another protocol. */
enum err spec_check_failover(const struct spec *wanted, const struct pool_spec *const *pools,
			     uint32_t count, struct err_at *where_out);

/* How the server called `server` in the ring is pinned. */
enum pin spec_pin(const struct spec *s, const char *server);

/* Everything spelled out, in the spelling that spec_parse reads: a new reference, NULL when out of
 * memory. */
json_t *spec_to_json(const struct spec *s);

/* Frees and sets *s to NULL; NULL is a no-op. */
void spec_free(struct spec **s);

/* The words of a spec; NULL for a value that is none. */
const char *pool_mode_name(unsigned mode);
const char *transition_name(unsigned transition);
const char *on_rejoin_name(unsigned on_rejoin);
const char *probe_kind_name(unsigned probe);

#endif
