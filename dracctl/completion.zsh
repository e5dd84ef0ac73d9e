#compdef dracctl
# zsh completion for dracctl(8).

_dracctl_verbs()
{
	local -a verbs=(
		'list:show who may relay, by expiry'
		'query:say whether an address may relay'
		'add:let an address relay'
		'remove:let addresses, or all of a user, relay no longer'
		'flush:let nobody relay any longer'
		'stats:show the counters of the server'
		'watch:show what happens, until interrupted'
		'ping:say whether the server answers, and how fast'
		'export:print all entries for import'
		'import:add what export, or db5.3_dump -p, has printed'
	)
	_describe verb verbs
}

_dracctl_arguments()
{
	local -a common=('-s[where dracd is]:server:_hosts' '--help[say how]')
	local json='--json[one object a line]' header='-H[no header]'
	local user='--user[of this user]:user:'
	local service='--service[of this service]:service:(imap pop3)'
	case $words[1] in
	list)
		_arguments $common $json $header $user $service \
			'--caller[of this caller]:caller:' ':address or prefix:'
		;;
	query)
		_arguments $common $json $header \
			'-q[nothing but errors]' ':address:'
		;;
	add)
		_arguments $common '--for[how long]:time:(30m 2h 1d)' \
			$user $service ':address:'
		;;
	remove) _arguments $common $user '*:address:' ;;
	flush) _arguments $common '--yes[do not ask]' ;;
	stats)
		_arguments $common $json \
			'--openmetrics[for the textfile collector]'
		;;
	watch) _arguments $common $json ;;
	import) _arguments $common ':file:_files' ;;
	*) _arguments $common ;;
	esac
}

_arguments '-s[where dracd is]:server:_hosts' '(- *)--help[say how]' \
	'(- *)--version[say which]' ':verb:_dracctl_verbs' \
	'*::argument:_dracctl_arguments'
