/* options.h - the command line of twinring-agent.
 *
 * What it says about the configuration is text here; agent_config_load() reads it with the same
 * tables as the file, and puts it before the file.
 *
 * Ownership: strings are argv's and live as long. Threads: main only (getopt has globals).
 */
#ifndef TWINRING_AGENT_OPTIONS_H
#define TWINRING_AGENT_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#define AGENT_CONFIG_FILE "/etc/twinring/agent.yml"

struct agent_options {
	bool help; /* these two: see agent_options_inform()                        */
	bool version;
	bool test_config;	 /* say whether the configuration is right, and exit */
	bool dump_config;	 /* print the effective configuration, and exit      */
	bool daemonize;		 /* go to the background                             */
	const char *config_file; /* NULL: not given; AGENT_CONFIG_FILE, if it exists */
	const char *pid_file;	 /* NULL: none                                       */

	/* Before the configuration file; NULL: not given. */
	const char *source;
	const char *id;
	const char *role;
	const char *run_dir;
	const char *state_dir;
	const char *metrics;
	const char *log_level;
	const char *log_file;
};

/* false: the reason and the usage were written to `messages`; exit with 1. */
bool agent_options_parse(int argc, char **argv, struct agent_options *out, FILE *messages);

/* --help, --version: write what was asked for to `out`. true: that was all, exit with 0. */
bool agent_options_inform(const struct agent_options *o, FILE *out);

#endif
