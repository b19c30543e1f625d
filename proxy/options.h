/* options.h - the command line, in our own spelling or as nutcracker.
 *
 * Ownership: strings are argv's and live as long. Threads: main only (getopt has globals).
 */
#ifndef TWINRING_PROXY_OPTIONS_H
#define TWINRING_PROXY_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { OPTION_UNSET = UINT32_MAX };
enum { OPTION_MBUF_MIN = 512, OPTION_MBUF_MAX = 16777216 };

struct options {
	bool nutcracker; /* called by that name: its defaults, its streams    */
	bool help;	 /* these three: see options_inform()                 */
	bool version;
	bool describe_stats;
	bool test_config; /* say whether the file is right, and exit           */
	bool dump_config; /* print the effective configuration, and exit       */
	bool daemonize;
	const char *config_file; /* never NULL                                  */
	const char *where_pool;	 /* say which server owns each key, and exit    */
	char **where_keys;
	uint32_t where_key_count;

	/* What the command line says here goes before the configuration file. */
	const char *log_file;	    /* NULL: not given                          */
	uint32_t log_level;	    /* OPTION_UNSET: not given; else 0..11      */
	const char *stats_addr;	    /* NULL: not given                          */
	uint32_t stats_port;	    /* OPTION_UNSET: not given                  */
	uint32_t stats_interval_ms; /* OPTION_UNSET: not given                  */
	const char *pid_file;	    /* NULL: none                               */
	const char *control;	    /* NULL: not given                          */
	const char *metrics;	    /* NULL: not given; "host:port" or a path   */
	uint32_t threads;	    /* OPTION_UNSET: not given; 0: one per core */
	uint32_t mbuf_size;	    /* accepted for nutcracker's sake, unused   */
};

/* false: the reason and the usage were written to `messages`; exit with 1. */
bool options_parse(int argc, char **argv, struct options *out, FILE *messages);

/* --help, --version, --describe-stats: write what was asked for, to stderr as nutcracker does or
 * to stdout in our own name. true: that was all, exit with 0. */
bool options_inform(const struct options *o);

/* Where the command line wants the stats port, as listen_spec_parse() reads it. false: it does
 * not say. */
bool options_stats_listen(const struct options *o, char *text, size_t size);

#endif
