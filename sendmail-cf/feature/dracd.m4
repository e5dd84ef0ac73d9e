dnl
dnl FEATURE(`dracd', `map', `expiry'): clients that dracd has in its map may
dnl relay. Both arguments may be left out.
dnl
dnl	map	what follows the name on a K line; by default
dnl		btree -o /etc/mail/dracd (the file is dracd.db);
dnl		to ask dracd itself: socket -d3 local:/run/dracd/map.sock
dnl	expiry	any text: the time in the entry counts as well, so that an entry
dnl		which nobody removed ends by itself; costs a run of /bin/date
dnl		for each foreign recipient of a listed client
dnl
dnl Puts rules at the head of Relay_ok, the ruleset that says whether a client
dnl may send to a recipient that is not ours. It is asked only after local
dnl recipients, TLS and SMTP AUTH have had their say, and a yes from it ends no
dnl other check: access_db, DNS lists and delay_checks refuse what they refused.
dnl Why not another hook: README in the directory above this one.
dnl
dnl This host and the class R never need the map, so a damaged one does not stop
dnl them; four rules of Relay_ok are repeated for that.
dnl
dnl A ruleset named twice is continued, so what stands first in sendmail.cf is
dnl first in it. These rules travel with LOCAL_RULE_0, which stands before
dnl Relay_ok (LOCAL_CONFIG is too early: before OperatorChars), and its ruleset,
dnl ParseLocal, is then taken up again.
dnl
dnl A map that is missing or damaged gives no entry; -o keeps the log quiet then.
dnl With -T it would give a text that passes for an entry: an open relay. Of what
dnl comes from a socket only digits are an entry, whoever answers there.
dnl
divert(-1)
ifelse(index(` 'defn(`_ARG_'), ` -T'), `-1',
	`define(`_DRACD_', `1')',
	`errprint(`*** ERROR: dracd: a map with -T lets everybody relay when it cannot be read
')')
divert(0)dnl
ifdef(`_DRACD_', `dnl
VERSIONID(`dracd.m4 2.0')
LOCAL_CONFIG
# clients that have logged in to POP or IMAP, from dracd
Kdracd ifelse(defn(`_ARG_'), `', `btree -o MAIL_SETTINGS_DIR`'dracd', `_ARG_')
ifelse(index(defn(`_ARG_'), `socket'), `0', `dnl
Kdracddigits regex -s1 ^([0-9]+)$', `dnl')
ifelse(len(X`'_ARG2_), `1', `dnl', `dnl
Kdracdtime program /bin/date
Kdracdless arith')
LOCAL_RULE_0
# has the client logged in to POP or IMAP?
SRelay_ok
R$*			$: < $&{client_addr} >
R< 0 >			$@ RELAY		this host and $=R, as below:
R< 127.0.0.1 >		$@ RELAY		never by way of the map
R< IPv6:0:0:0:0:0:0:0:1 >	$@ RELAY
R< $=R $* >		$@ RELAY
R< $+ >			$: < $(dracd $1 $: $) >
ifelse(index(defn(`_ARG_'), `socket'), `0', `dnl
R< $- >			$: < $(dracddigits $1 $: $) >', `dnl')
ifelse(len(X`'_ARG2_), `1', `dnl
R< $- >			$@ RELAY		in the map',
`dnl
R< $- >			$: < $1 > < $(dracdtime +%s $: $) >
R< $- > < $- >		$: < $(dracdless l $@ $2 $@ $1 $) >
R< TRUE >		$@ RELAY		in the map, not expired')
SParseLocal
divert(0)')dnl
