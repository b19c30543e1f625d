/* cmd_completion.c - the shell's completion, from the same table as everything else. */
#include <stdio.h>

#include "agent/ctl/ctl.h"

static void print_options(const struct ctl_option *o)
{
	for (; o != NULL && o->name != NULL; o++) printf(" --%s", o->name);
}

/* One line of the table: name, what its first operand is, its options. */
static void print_command(const struct command *command)
{
	static const char *const kinds[] = {
		[OPERAND_NONE] = "none", [OPERAND_POOL] = "pool", [OPERAND_FILE] = "file"
	};
	printf("\t[%s]='%s", command->name, kinds[command->first]);
	print_options(command->options);
	if (command->writes) printf(" --dry-run");
	printf("'\n");
}

static void print_global(void)
{
	printf("_twinringctl_global='");
	for (const struct ctl_option *o = global_options; o->name != NULL; o++)
		if (strcmp(o->name, "dry-run") != 0)
			printf("%s--%s", o == global_options ? "" : " ", o->name);
	printf("'\n");
}

/* Options, with a value or not, are known here, so that the command is found behind them. */
static void print_valued(void)
{
	printf("_twinringctl_valued='");
	for (const struct ctl_option *o = global_options; o->name != NULL; o++) {
		if (o->arg == NULL) continue;
		printf(" --%s ", o->name);
		if (o->letter != 0) printf("-%c ", o->letter);
	}
	printf("'\n");
}

static const char script[] =
    "\n"
    "_twinringctl() {\n"
    "\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "\tlocal words=() source=() name kind='' options='' list='' i w\n"
    "\tCOMPREPLY=()\n"
    "\tcase $previous in\n"
    "\t--from | -f | --digest-file | -d | --run-dir)\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
    "\t\treturn\n"
    "\t\t;;\n"
    "\t--format)\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -W 'native nutcracker ketama' -- \"$current\")\n"
    "\t\treturn\n"
    "\t\t;;\n"
    "\tesac\n"
    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
    "\t\tw=${COMP_WORDS[i]}\n"
    "\t\tcase $w in\n"
    "\t\t--source | -s | --digest-file | -d) source+=(\"$w\" \"${COMP_WORDS[i + 1]}\") ;;\n"
    "\t\tesac\n"
    "\t\tif [[ $_twinringctl_valued == *\" $w \"* ]]; then\n"
    "\t\t\ti=$((i + 1))\n"
    "\t\telif [[ $w != -* && $w != '=' ]]; then\n"
    "\t\t\twords+=(\"$w\")\n"
    "\t\tfi\n"
    "\tdone\n"
    "\tfor i in 1 2; do\n"
    "\t\tname=\"${words[*]:0:i}\"\n"
    "\t\tif [ -n \"$name\" ] && [ -n \"${_twinringctl_commands[$name]:-}\" ]; then\n"
    "\t\t\tkind=${_twinringctl_commands[$name]%% *}\n"
    "\t\t\toptions=${_twinringctl_commands[$name]#\"$kind\"}\n"
    "\t\t\tbreak\n"
    "\t\tfi\n"
    "\tdone\n"
    "\tif [ -z \"$kind\" ]; then\n"
    "\t\tfor name in \"${!_twinringctl_commands[@]}\"; do\n"
    "\t\t\tif [ ${#words[@]} -eq 0 ]; then\n"
    "\t\t\t\tlist+=\" ${name%% *}\"\n"
    "\t\t\telif [ \"${name%% *}\" = \"${words[0]}\" ]; then\n"
    "\t\t\t\tlist+=\" ${name#* }\"\n"
    "\t\t\tfi\n"
    "\t\tdone\n"
    "\telif [ ${#words[@]} -eq \"$i\" ] && [ \"$kind\" = pool ] && [[ $current != -* ]]; then\n"
    "\t\tlist=$(\"${COMP_WORDS[0]}\" \"${source[@]}\" --timeout 2 pool list 2>/dev/null |\n"
    "\t\t\tsed '1d;s/ .*//')\n"
    "\telif [ \"$kind\" = file ] && [[ $current != -* ]]; then\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
    "\t\treturn\n"
    "\tfi\n"
    "\tmapfile -t COMPREPLY < <(\n"
    "\t\tcompgen -W \"$list $options $_twinringctl_global\" -- \"$current\"\n"
    "\t)\n"
    "}\n"
    "complete -F _twinringctl twinringctl\n";

static enum ctl_exit completion_run(struct ctl *c, const struct args *a)
{
	(void)c;
	if (strcmp(a->operands[0], "bash") != 0) {
		ctl_say("there is a completion for bash only");
		return CTL_USAGE;
	}
	printf("# bash completion for twinringctl, made by: twinringctl completion bash\n"
	       "# shellcheck shell=bash\n\n"
	       "declare -A _twinringctl_commands=(\n");
	for (unsigned i = 0; commands[i] != NULL; i++)
		if (!commands[i]->hidden) print_command(commands[i]);
	printf(")\n");
	print_global();
	print_valued();
	fputs(script, stdout);
	return CTL_OK;
}

const struct command cmd_completion = {
	.name = "completion",
	.operands = "bash",
	.help = "print the shell's completion",
	.least = 1,
	.most = 1,
	.hidden = true,
	.run = completion_run,
};
