/* main.c - twinringctl: the table of commands, and what happens before and after one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/ctl.h"
#include "common/log.h"
#include "common/memory.h"

const struct command *const commands[] = {
	&cmd_init,
	&cmd_pool_add,
	&cmd_pool_set,
	&cmd_pool_show,
	&cmd_pool_list,
	&cmd_pool_remove,
	&cmd_server_add,
	&cmd_server_remove,
	&cmd_server_reweight,
	&cmd_server_move,
	&cmd_server_eject,
	&cmd_server_restore,
	&cmd_server_pin,
	&cmd_expand,
	&cmd_shrink,
	&cmd_replace,
	&cmd_reweight,
	&cmd_transition_status,
	&cmd_transition_pause,
	&cmd_transition_resume,
	&cmd_transition_abort,
	&cmd_status,
	&cmd_trace,
	&cmd_diff,
	&cmd_validate,
	&cmd_import,
	&cmd_export,
	&cmd_watch,
	&cmd_log,
	&cmd_proxy_list,
	&cmd_proxy_forget,
	&cmd_agent_deregister,
	&cmd_recover,
	&cmd_completion,
	&cmd_ring,
	NULL,
};

enum { TIMEOUT_DEFAULT_MS = 10000 };

/* --- help ------------------------------------------------------------------------------------- */

static void help_options(const struct ctl_option *o)
{
	for (; o != NULL && o->name != NULL; o++) {
		char left[64];
		snprintf(left, sizeof(left), "%s%c%s --%s%s%s", o->letter ? "-" : " ",
			 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
			 o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
		printf("  %-26s %s\n", left, o->help);
	}
}

static void help_all(void)
{
	printf("usage: twinringctl [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n");
	for (unsigned i = 0; commands[i] != NULL; i++) {
		char left[96];
		if (commands[i]->hidden) continue;
		snprintf(left, sizeof(left), "%s %s", commands[i]->name, commands[i]->operands);
		printf("  %-44s %s\n", left, commands[i]->help);
	}
	printf("\nOptions of all commands:\n");
	help_options(global_options);
	printf("\nExit status: 0 done, 1 failed, 2 usage, 3 refused as invalid, 4 somebody else\n"
	       "changed it meanwhile, 5 the source cannot be reached.\n");
}

static void help_one(const struct command *command)
{
	printf("usage: twinringctl %s %s\n\n%s\n", command->name, command->operands, command->help);
	if (command->more != NULL) printf("\n%s", command->more);
	if (command->options != NULL) {
		printf("\nOptions:\n");
		help_options(command->options);
	}
	printf("\nOptions of all commands:\n");
	help_options(global_options);
}

/* --- main ------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	memory_abort_when_out();
	struct ctl c = { .source = getenv("TWINRING_SOURCE"),
			 .run_dir = "/run/twinring",
			 .timeout_ms = TIMEOUT_DEFAULT_MS };
	struct args a;
	enum args_want want;
	log_level_set(LOG_LEVEL_ERROR);
	enum ctl_exit e = args_parse(argc, argv, &c, &a, &want);
	if (e == CTL_OK && want == WANT_VERSION) printf("twinringctl " TWINRING_VERSION "\n");
	else if (e == CTL_OK && want == WANT_HELP && a.command == NULL) help_all();
	else if (e == CTL_OK && want == WANT_HELP) help_one(a.command);
	else if (e == CTL_OK) e = a.command->run(&c, &a);
	client_close(&c.client);
	if (fflush(stdout) != 0 && e == CTL_OK) {
		ctl_say("stdout: %s", strerror(errno));
		e = CTL_FAILED;
	}
	return (int)e;
}
