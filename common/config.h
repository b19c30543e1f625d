/* config.h - one configuration model, read from native YAML/JSON or an unchanged nutcracker.yml.
 *
 * Pure but for reading the one named file. A config never changes once loaded; whoever loaded it
 * frees it. Any thread may read it.
 */
#ifndef TWINRING_COMMON_CONFIG_H
#define TWINRING_COMMON_CONFIG_H

#include "common/topology.h"

enum config_syntax { CONFIG_NATIVE, CONFIG_NUTCRACKER };

/* An address to listen on, as typed and taken apart. */
struct listen_spec {
	char *text;    /* as typed: "host:port", "[v6]:port", "/path" or "/path mode" */
	char *host;    /* or the socket's path when port is 0; "" means every address */
	uint16_t port; /* 0: unix socket, unless port_any                              */
	bool port_any; /* "host:0": the kernel picks; for tests                        */
	uint32_t mode; /* of a unix socket's file; 0: leave to umask                   */
};

struct listener_spec {
	struct listen_spec listen;
	char *pool;		     /* pool that serves it, or NULL when `route` is set */
	char *route;		     /* name in topology.routes, or NULL                 */
	enum protocol protocol;	     /* the pool's, or as configured with `route`        */
	uint32_t backlog;	     /* default 512                                      */
	uint32_t client_connections; /* 0: no limit but descriptors                      */
	bool tcpkeepalive;
	bool reuseport;
};

struct proxy_spec {
	uint32_t threads;		    /* 0: one per core                                  */
	char *control;			    /* control socket path, or NULL                     */
	char *saved_topology;		    /* file, or NULL: beside the control socket, if any */
	uint32_t saved_max_age_ms;	    /* an older one is not served by; 0: any is         */
	struct listen_spec stats;	    /* JSON, connect-read-close; text NULL: off          */
	struct listen_spec metrics;	    /* HTTP /metrics /healthz /readyz; text NULL: off    */
	uint32_t stats_interval_ms;	    /* how stale the stats may be                       */
	char *log_file;			    /* NULL: stderr                                     */
	uint32_t log_level;		    /* 0..11, twemproxy's scale                         */
	uint32_t shutdown_timeout_ms;	    /* default 10000                                    */
	uint32_t pipeline_max;		    /* requests of one client in flight; default 1024   */
	uint32_t client_output_max_bytes;   /* above it a client is not read; default 8 MiB   */
	uint32_t request_max_bytes;	    /* one whole request; default 512 MiB               */
	uint32_t reply_max_bytes;	    /* one whole reply; default 512 MiB                 */
	uint64_t memory_max_bytes;	    /* all buffers of all workers; 0: no limit          */
	uint32_t client_idle_timeout_ms;    /* 0: never                                    */
	uint32_t client_partial_timeout_ms; /* half a request, then silence; default 60000 */
	uint32_t resolve_interval_ms;	    /* names are looked up again so often; default 30000 */
	uint32_t moderation_us;		    /* pause after a thin tick under load; default 20   */
};

struct config {
	enum config_syntax syntax;
	struct proxy_spec proxy;
	struct listener_spec *listeners;
	uint32_t listener_count;
	struct topology *topology;
};

/* One message of config_load: an error refuses the file, a warning does not. */
struct config_issue {
	bool warning;
	struct err_at at;
};

struct config_issues {
	struct config_issue *items; /* in file order */
	uint32_t count;
	uint32_t error_count;
};

/* Load and validate `path`. Every problem is reported in *issues_out, errors and warnings alike,
 * with file:line:column; *config_out is set only when none is an error. */
enum err config_load(const char *path, struct config **config_out,
		     struct config_issues *issues_out);
/* The same from memory; `label` stands for the file name in messages. */
enum err config_parse(const char *text, size_t n, const char *label, struct config **config_out,
		      struct config_issues *issues_out);

/* The effective configuration as JSON, defaults included: a new reference. */
json_t *config_to_json(const struct config *c);

/* Parse "host:port", "[v6]:port", ":port" or "/path [mode]". false: *why_out says why (static). */
bool listen_spec_parse(const char *text, struct listen_spec *out, const char **why_out);
void listen_spec_fini(struct listen_spec *l);

void config_free(struct config **c);
void config_issues_fini(struct config_issues *issues);

struct report;
/* For other readers: the report's items in file order and in the public form. False when out of
 * memory; the report stays the caller's. */
bool config_issues_take(struct config_issues *issues, struct report *r);

#endif
