# bash completion for dracctl(8). What bash-completion offers is not needed.

_dracctl()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local verb='' words='' i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s) ((i++)) ;;
		-*) ;;
		*)
			verb=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $before in
	-s)
		COMPREPLY=($(compgen -A hostname -- "$word"))
		return
		;;
	--for)
		COMPREPLY=($(compgen -W '30m 2h 1d' -- "$word"))
		return
		;;
	--service)
		COMPREPLY=($(compgen -W 'imap pop3' -- "$word"))
		return
		;;
	--user | --caller)
		return
		;;
	esac
	case $verb in
	'') words='-s --help --version list query add remove flush stats
		watch ping export import' ;;
	list) words='-H --json --user --service --caller' ;;
	query) words='-H -q --json' ;;
	add) words='--for --user --service' ;;
	remove) words='--user' ;;
	flush) words='--yes' ;;
	stats) words='--json --openmetrics' ;;
	watch) words='--json' ;;
	import) [[ $word == -* ]] || COMPREPLY=($(compgen -f -- "$word")) ;;
	esac
	[[ -z $verb ]] || words+=' -s --help'
	# Not in the way of an address or a file.
	if [[ -z $verb || $word == -* ]]; then
		COMPREPLY=($(compgen -W "$words" -- "$word"))
	fi
}
complete -o filenames -F _dracctl dracctl
