/* ctl.h - twinringctl: one const entry per command, and what every command works with.
 *
 *	main.c  ->  args.c   the command line, by the entries' tables
 *	        ->  cmd_*.c  one file per group of commands
 *	              view.c        reads pools; spec_change.c writes specs
 *	              client.c      asks the store and waits
 *	              out.c         tables for people, JSON for programs
 *
 * Threads: one. Errors: whoever finds one says it on stderr and returns the exit code, which
 * travels up unchanged.
 */
#ifndef TWINRING_AGENT_CTL_CTL_H
#define TWINRING_AGENT_CTL_CTL_H

#include "agent/ctl/client.h"

enum ctl_exit {
	CTL_OK,
	CTL_FAILED,
	CTL_USAGE,
	CTL_REFUSED,  /* invalid, or not now: nothing was changed        */
	CTL_CONFLICT, /* somebody else changed it again and again        */
	CTL_AWAY,     /* the store cannot be reached                     */
};

/* What the global options said. Texts are borrowed from the command line or the environment. */
struct ctl {
	const char *source;	 /* "zk:..." or "file:..."; NULL: not given     */
	const char *digest_file; /* NULL: none                                  */
	const char *run_dir;	 /* where the proxies' control sockets are      */
	uint32_t timeout_ms;
	bool json;
	bool dry_run;
	struct client *client; /* NULL until ctl_open()                       */
};

enum { CTL_OPERANDS_MAX = 256, CTL_OPTIONS_MAX = 8 };

struct ctl_option {
	const char *name; /* without the dashes; NULL ends a table  */
	char letter;	  /* 0: none                                */
	const char *arg;  /* what follows; NULL: nothing            */
	const char *help;
};

struct args {
	const struct command *command;
	const char *operands[CTL_OPERANDS_MAX];
	unsigned count;
	const char *values[CTL_OPTIONS_MAX]; /* as in command->options; NULL: not given */
};

/* What completes an operand, besides the options. */
enum operand { OPERAND_NONE, OPERAND_POOL, OPERAND_FILE };

struct command {
	const char *name;		  /* "pool add": one word or two             */
	const char *operands;		  /* "NAME [KEY=VALUE]...", for people       */
	const char *help;		  /* one line                                */
	const char *more;		  /* paragraphs for --help, or NULL          */
	unsigned least, most;		  /* operands                                */
	enum operand first;		  /* what the first operand is               */
	bool writes;			  /* takes --dry-run                         */
	bool hidden;			  /* neither in --help nor in the completion */
	const struct ctl_option *options; /* its own, or NULL             */
	enum ctl_exit (*run)(struct ctl *c, const struct args *a);
};

extern const struct command *const commands[]; /* ends in NULL */
extern const struct ctl_option global_options[];

extern const struct command cmd_init, cmd_pool_add, cmd_pool_set, cmd_pool_show, cmd_pool_list,
    cmd_pool_remove, cmd_server_add, cmd_server_remove, cmd_server_reweight, cmd_server_move,
    cmd_server_eject, cmd_server_restore, cmd_server_pin, cmd_status, cmd_trace, cmd_diff,
    cmd_validate, cmd_import, cmd_export, cmd_watch, cmd_log, cmd_proxy_list, cmd_proxy_forget,
    cmd_recover, cmd_expand, cmd_shrink, cmd_replace, cmd_reweight, cmd_transition_status,
    cmd_transition_pause, cmd_transition_resume, cmd_transition_abort, cmd_agent_deregister,
    cmd_completion, cmd_ring;

enum args_want { WANT_RUN, WANT_HELP, WANT_VERSION };

/* Read the command line into both. CTL_USAGE: said why. For help a->command may be NULL. */
enum ctl_exit args_parse(int argc, char **argv, struct ctl *c, struct args *a,
			 enum args_want *want_out);
/* The value of an option of the command's own; "" for one without; NULL when not given. */
const char *args_option(const struct args *a, const char *name);
/* A whole number from `least` to `most`; says so and returns false for anything else. */
bool args_number(const char *what, const char *text, uint32_t least, uint32_t most,
		 uint32_t *number_out);

/* Connect, unless that is done; says why not. */
enum ctl_exit ctl_open(struct ctl *c);
/* The exit code for what a store answered; says what is wrong with `path` unless it is OK. */
enum ctl_exit ctl_exit_of(enum store_rc rc, const char *path);
/* "twinringctl: ..." on stderr, without control characters. */
void ctl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
