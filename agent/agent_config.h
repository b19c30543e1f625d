/* agent_config.h - the configuration of twinring-agent: a file, YAML or JSON, and the command line
 * before it.
 *
 * Reads the named file and the files of secrets that it names; otherwise pure. A configuration
 * never changes once loaded; whoever loaded it frees it.
 */
#ifndef TWINRING_AGENT_AGENT_CONFIG_H
#define TWINRING_AGENT_AGENT_CONFIG_H

#include "agent/options.h"
#include "common/config.h"

enum agent_source_kind { AGENT_SOURCE_ZK, AGENT_SOURCE_FILE };

struct agent_source {
	enum agent_source_kind kind;
	char *text;	   /* as typed: "zk:HOST:PORT,.../chroot" or "file:DIR"; never NULL */
	const char *where; /* the part after the kind: servers and chroot, or the directory */
};

/* A secret and the file, private to its owner, that it was read from. */
struct agent_secret {
	char *path; /* NULL: none */
	char *text; /* without the end of its line; NULL: none */
};

struct text_list {
	char **items; /* `count` of them and a NULL; NULL: none */
	uint32_t count;
};

struct webhook_spec {
	char *url;		 /* http or https */
	struct text_list events; /* empty: all */
	uint32_t timeout_ms;
	struct agent_secret secret; /* signs the body */
};

/* Files for clients that shard by themselves; "{pool}" in a path stands for the pool's name. */
struct output_spec {
	char *pool;		  /* "*": every pool */
	char *ketama;		  /* path or NULL */
	char *nutcracker;	  /* path or NULL */
	char *listen;		  /* where a nutcracker that uses the file is to listen */
	struct text_list command; /* run after a change */
};

struct agent_config {
	struct agent_source source;
	struct agent_secret digest; /* "user:password" */
	uint32_t session_timeout_ms;
	char *id, *host; /* never NULL */
	char *rack;	 /* NULL: not known */
	bool nanny;
	bool coordinator; /* may be elected */
	char *run_dir, *state_dir;
	char *scripts_dir;	    /* NULL: no health scripts */
	struct listen_spec metrics; /* text NULL: off */
	char *log_file;		    /* NULL: stderr */
	uint32_t log_level;
	uint32_t confirm_ms;	/* how often the store is asked whether what we know is current */
	uint32_t ring_grace_ms; /* how long ring bodies stay that no state names any more */
	uint32_t reread_ms;	/* how often everything is read again, whatever watches say */
	uint32_t cache_max_age_ms; /* unconfirmed for longer, no proxy starts with it; 0: any age */
	struct webhook_spec *webhooks;
	uint32_t webhook_count;
	struct output_spec *outputs;
	uint32_t output_count;
};

/* What the file says, the command line before it. Every problem is in *issues_out with its place
 * (file:line:column, or the option); *config_out is set only when none is an error. Without
 * o->config_file the default one is read if it exists. */
enum err agent_config_load(const struct agent_options *o, struct agent_config **config_out,
			   struct config_issues *issues_out);
/* The same from memory; `label` stands for the file name in messages. */
enum err agent_config_parse(const char *text, size_t n, const char *label,
			    const struct agent_options *o, struct agent_config **config_out,
			    struct config_issues *issues_out);

/* The effective configuration, defaults included, secrets left out: a new reference. */
json_t *agent_config_to_json(const struct agent_config *c);

/* Every option there is, in Markdown. */
void agent_config_document(FILE *out);

/* Sets *c to NULL; NULL is a no-op. */
void agent_config_free(struct agent_config **c);

#endif
