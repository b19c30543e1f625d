# bash completion for twinringctl, made by: twinringctl completion bash
# shellcheck shell=bash

declare -A _twinringctl_commands=(
	[init]='none --dry-run'
	[pool add]='none --from --dry-run'
	[pool set]='pool --from --if-version --dry-run'
	[pool show]='pool --effective'
	[pool list]='none'
	[pool remove]='pool --yes --dry-run'
	[server add]='pool --dry-run'
	[server remove]='pool --dry-run'
	[server reweight]='pool --dry-run'
	[server move]='pool --dry-run'
	[server eject]='pool --dry-run'
	[server restore]='pool --dry-run'
	[server pin]='pool --dry-run'
	[expand]='pool --dry-run'
	[shrink]='pool --dry-run'
	[replace]='pool --dry-run'
	[reweight]='pool --dry-run'
	[transition status]='pool'
	[transition pause]='pool --dry-run'
	[transition resume]='pool --dry-run'
	[transition abort]='pool --dry-run'
	[status]='pool --check'
	[trace]='pool'
	[diff]='pool'
	[validate]='file --pool'
	[import]='file --prefix --dry-run'
	[export]='pool --format --port'
	[watch]='none'
	[log]='none --lines --follow'
	[proxy list]='none'
	[proxy forget]='none --dry-run'
	[agent deregister]='none --dry-run'
	[recover]='none --lineage --dry-run'
)
_twinringctl_global='--source --digest-file --run-dir --timeout --json --help --version'
_twinringctl_valued=' --source -s  --digest-file -d  --run-dir  --timeout -t '

_twinringctl() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local words=() source=() name kind='' options='' list='' i w
	COMPREPLY=()
	case $previous in
	--from | -f | --digest-file | -d | --run-dir)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--format)
		mapfile -t COMPREPLY < <(compgen -W 'native nutcracker ketama' -- "$current")
		return
		;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		w=${COMP_WORDS[i]}
		case $w in
		--source | -s | --digest-file | -d) source+=("$w" "${COMP_WORDS[i + 1]}") ;;
		esac
		if [[ $_twinringctl_valued == *" $w "* ]]; then
			i=$((i + 1))
		elif [[ $w != -* && $w != '=' ]]; then
			words+=("$w")
		fi
	done
	for i in 1 2; do
		name="${words[*]:0:i}"
		if [ -n "$name" ] && [ -n "${_twinringctl_commands[$name]:-}" ]; then
			kind=${_twinringctl_commands[$name]%% *}
			options=${_twinringctl_commands[$name]#"$kind"}
			break
		fi
	done
	if [ -z "$kind" ]; then
		for name in "${!_twinringctl_commands[@]}"; do
			if [ ${#words[@]} -eq 0 ]; then
				list+=" ${name%% *}"
			elif [ "${name%% *}" = "${words[0]}" ]; then
				list+=" ${name#* }"
			fi
		done
	elif [ ${#words[@]} -eq "$i" ] && [ "$kind" = pool ] && [[ $current != -* ]]; then
		list=$("${COMP_WORDS[0]}" "${source[@]}" --timeout 2 pool list 2>/dev/null |
			sed '1d;s/ .*//')
	elif [ "$kind" = file ] && [[ $current != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
	fi
	mapfile -t COMPREPLY < <(
		compgen -W "$list $options $_twinringctl_global" -- "$current"
	)
}
complete -F _twinringctl twinringctl
