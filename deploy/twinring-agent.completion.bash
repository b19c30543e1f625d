# bash completion for twinring-agent -*- shell-script -*-
# shellcheck shell=bash

_twinring_agent() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	case $previous in
	-c | --conf-file | -o | --output | -p | --pid-file)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--run-dir | --state-dir)
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		return
		;;
	-v | --verbose)
		mapfile -t COMPREPLY < <(compgen -W 'error warn notice info debug' -- "$current")
		return
		;;
	--role)
		mapfile -t COMPREPLY < <(compgen -W 'agent nanny' -- "$current")
		return
		;;
	--source | --id | --metrics)
		return
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W '--help --version --test-conf --dump-config --conf-file
		--source --id --role --run-dir --state-dir --metrics --verbose --output --daemonize
		--pid-file' -- "$current")
}
complete -F _twinring_agent twinring-agent
