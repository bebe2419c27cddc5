divert(-1)
dnl coexistd beside Sendmail; contrib/sendmail/README.md says what each part is for.
dnl
dnl sendmail.mc defines what is its own, and includes this file behind its FEATURE
dnl lines and before its MAILER lines:
dnl
dnl   define(`COEXISTD_DOMAINS', `acmecorp.com')
dnl   include(`/etc/mail/coexistd.m4')

ifdef(`COEXISTD_DOMAINS', `',
	`errprint(`coexistd.m4: define COEXISTD_DOMAINS, the domains that are shared with another platform
')m4exit(1)')
ifdef(`COEXISTD_MILTER', `', `define(`COEXISTD_MILTER', `inet:8701@127.0.0.1')')
ifdef(`COEXISTD_LOOKUP', `', `define(`COEXISTD_LOOKUP', `inet:8702@127.0.0.1')')
dnl From 9 on, which is the default, Sendmail logs each header that coexistd takes out:
dnl the secrets that prove a tenant.
ifdef(`confMILTER_LOG_LEVEL', `', `define(`confMILTER_LOG_LEVEL', `8')')
divert(0)dnl
ifelse(index(translit(defn(`confPRIVACY_FLAGS'), `A-Z,', `a-z '), `noreceipts'):eval(index(`tTyY', substr(defn(`confMIME_FORMAT_ERRORS'), 0, 1)) < 0), `-1:0', `
# Sendmail offers delivery reports (DSN), so that coexistd may give a recipient the
# arguments that ask for them. Where Sendmail does not, it would lose the recipient. Take
# the line away where srv_features or sendmail.cf has Sendmail not offer them.
LOCAL_CONFIG
D{coexistd_dsn}yes
')dnl

# Every message that enters by SMTP passes coexistd, and so does mail of the
# sendmail command, which submit.cf hands on by SMTP. F=T: while coexistd is away,
# clients are told to try again. The scanners have their time behind the end of a
# message, E.
INPUT_MAIL_FILTER(`coexistd', `S=COEXISTD_MILTER, F=T, T=C:30s;S:30s;R:1m;E:5m')

# Before any other rule, coexistd says where mail for one of these domains goes.
# The maps keep upper case in local parts (-f), and mark that they got no answer (-T).
# They wait for one longer than any client does (-d): once Sendmail has given up waiting,
# it takes the answer that comes late for that to its next question.
# Within a transaction, which {mail_mailer} belongs to, the milter is asked, too: the
# address that is answered then is not written as the one that the milter adds.
# Sendmail reads about 2,000 characters of a class's line: each domain has its own.
LOCAL_CONFIG
patsubst(defn(`COEXISTD_DOMAINS'), `[ 	
]*\([^ 	
]+\)[ 	
]*', ``C{Coexistd}\1'
')dnl
Ksendmail socket -f -d2h -T<TMPF> COEXISTD_LOOKUP
Ksendmail_rcpt socket -f -d2h -T<TMPF> COEXISTD_LOOKUP

LOCAL_RULE_0
R$*				$: $&{addr_type} $| $1
R$* s $| $*			$@ $2			a sender is not sent to
# Of a recipient whom a [[route]] takes to a relay, coexistd says the mailer, the host, and the address.
R$* $| $+ < @ $+ . route . invalid $* > $*	$: $1 $| < $(sendmail $2 @ $3 . route . invalid $: @ $) > $2 < @ $3 . route . invalid > $5
R$* $| < $* <TMPF> > $*		$#error $@ 4.3.0 $: "451 4.3.0 The directory cannot answer at the moment, try again later"
R$* $| < error : $-.$-.$- : $+ > $*	$#error $@ $2.$3.$4 $: $5
R$* $| < $- : [ $+ ] : $+ @ $+ > $*	$#$2 $@ [$3] $: $4 < @ $5 >
R$* $| < $- : $+ : $+ @ $+ > $*	$#$2 $@ $3 $: $4 < @ $5 >
R$* $| $*			$: $&{client_addr} $| $&{mail_mailer} $| $2
R$+ $| $+ $| $+ < @ $={Coexistd} . >	$: < $(sendmail_rcpt $3 @ $4 $: @ $) > $3 < @ $4 . >
R$+ $| $+ $| $+ < @ $={Coexistd} >	$: < $(sendmail_rcpt $3 @ $4 $: @ $) > $3 < @ $4 >
R$* $| $* $| $+ < @ $={Coexistd} . >	$: < $(sendmail $3 @ $4 $: @ $) > $3 < @ $4 . >
R$* $| $* $| $+ < @ $={Coexistd} >	$: < $(sendmail $3 @ $4 $: @ $) > $3 < @ $4 >
R$* $| $* $| $* < $* > $*	$: $3 < $4 > $5		not one of ours
# A name alone is one of this host. One that nobody has in the host's domain is left to the aliases
# and accounts.
R$* $| $* $| $*			$: $3 $| $j
R$+ $| $={Coexistd}		$: < $(sendmail $1 @ $2 $: @ $) > $1 $| $2
R< error : 5.1.1 : $+ > $* $| $*	$: $2 $| $3
R$* $| $*			$: $1
R< @ > $*			$: $1			the mailbox is here
R< $* <TMPF> > $*		$#error $@ 4.3.0 $: "451 4.3.0 The directory cannot answer at the moment, try again later"
# Of an address that nobody has, coexistd wants to hear from an SMTP client, within its
# transaction: it refuses it there, and counts.
R< error : 5.1.1 : $+ > $*	$: < error : 5.1.1 : $1 > $2 $| $&{client_addr} $| $&{mail_mailer}
R< error : 5.1.1 : $+ > $* $| $+ $| $+	$: $2
R< error : $-.$-.$- : $+ > $* $| $* $| $*	$: < error : $1.$2.$3 : $4 > $5
R< error : $-.$-.$- : $+ > $*	$#error $@ $1.$2.$3 $: $4
R< $- : $+ > $* < @ $+ >	$#$1 $@ $2 $: $3 < @ $4 >	an alternate domain with a relay
R< $+ > $*			$@ $>Recurse $1		the mailbox is elsewhere
divert(0)dnl
dnl The ports of the relays to which a [[route]] takes mail: it is the mailer that has the port.
ifdef(`COEXISTD_RELAY_PORTS', `MAILER_DEFINITIONS
patsubst(defn(`COEXISTD_RELAY_PORTS'), `[ 	]*\([0-9]+\)[ 	]*',
	``Mcoexistd\1, P=[IPC], F=mDFMuXa8, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\r\\n, L=2040, T=DNS/RFC822/SMTP, A=TCP $h \1
'')
divert(0)')dnl
