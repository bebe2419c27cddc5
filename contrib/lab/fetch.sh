#!/bin/sh
# fetch.sh [--bench] [--scanners] [--directories] [--powershell] [--prometheus] [--journal] [DIR]
#
# Makes DIR (default: .lab in the repository's root) hold the programs that the
# lab starts and the machine lacks: Debian's Postfix and Sendmail, with --bench
# also libmilter with its headers, with --scanners also clamd (with clamdscan),
# rspamd, OpenDKIM, Redis and Dovecot, with --directories also OpenLDAP's slapd with
# its clients, PostgreSQL, MariaDB and Samba, with --powershell a grammar of
# PowerShell and what reads texts by it, with --prometheus Prometheus' promtool, and
# with --journal systemd's journalctl and systemd-journal-remote. The packages are unpacked below
# DIR, with those of their libraries that the machine lacks. Nothing is installed,
# replaced, configured or started, and apt's own files are left as they are.
#
#   DIR/postfix     the unpacked Postfix with its plug-ins for LDAP and MySQL (absent when one is installed that has them)
#   DIR/sendmail    the unpacked Sendmail, with the m4 that makes its sendmail.cf
#   DIR/libmilter   the unpacked libmilter (absent when it is installed)
#   DIR/clamd       the unpacked clamd (absent when one is installed)
#   DIR/rspamd      the unpacked rspamd (absent when one is installed)
#   DIR/opendkim    the unpacked OpenDKIM (absent when one is installed)
#   DIR/redis       the unpacked redis-server (absent when one is installed)
#   DIR/dovecot     the unpacked Dovecot (absent when one is installed)
#   DIR/slapd       the unpacked slapd and OpenLDAP's clients
#   DIR/postgres    the unpacked PostgreSQL with psql
#   DIR/mariadb     the unpacked MariaDB with its client
#   DIR/samba       the unpacked Samba, with the Python that its tools are written in
#   DIR/prometheus  the unpacked Prometheus (absent when promtool is installed)
#   DIR/journal     the unpacked programs of systemd for a journal
#   DIR/powershell  the grammar, from npm; it runs in the node that is installed
#
# A tree of that name is complete: it is put in place by one rename. One that lacks
# a program, because an earlier fetch.sh did not fetch it, is replaced. Runs side by
# side wait for each other.
set -eu

say() { printf 'lab: %s\n' "$*"; }
die() { printf 'lab: %s\n' "$*" >&2; exit 1; }

bench=no scanners=no directories=no powershell=no prometheus=no journal=no
usage="usage: fetch.sh [--bench] [--scanners] [--directories] [--powershell] [--prometheus] [--journal] [DIR]"
while :; do
	case ${1:-} in
	--bench) bench=yes ;;
	--scanners) scanners=yes ;;
	--directories) directories=yes ;;
	--powershell) powershell=yes ;;
	--prometheus) prometheus=yes ;;
	--journal) journal=yes ;;
	-*) die "$usage" ;;
	*) break ;;
	esac
	shift
done
[ $# -le 1 ] || die "$usage"
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../.lab}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL

exec 9>"$dir/lock"
flock -n 9 || { say "waiting for another fetch.sh in $dir"; flock 9; }

# The machine's apt configuration (proxies, mirrors) without its hooks, and
# with the cache in DIR, so that a run leaves no trace outside of DIR.
configure_apt() {
	for tool in apt-get apt-cache apt-config dpkg dpkg-query; do
		command -v $tool >/dev/null || die "$tool is missing: this needs Debian or a system made from it"
	done
	rm -rf "$dir/apt"
	mkdir -p "$dir/apt/cache/archives/partial" "$dir/apt/debs"
	apt-config dump | grep -v -E '^(APT::Update|DPkg|Dir::Cache|APT::Sandbox)' >"$dir/apt/conf"
	cat >>"$dir/apt/conf" <<-END
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "/dev/null";
		Dir::Cache "$dir/apt/cache";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "2";
		Acquire::http::Timeout "20";
		Acquire::https::Timeout "20";
	END
	APT_CONFIG=$dir/apt/conf
	export APT_CONFIG
}

# The package lists, in DIR too. Sources that cannot be reached do not matter
# as long as the packages are in the others.
update_lists() {
	say "reading the package lists into $dir/apt"
	mkdir -p "$dir/apt/lists/partial"
	printf 'Dir::State::lists "%s/apt/lists";\n' "$dir" >>"$dir/apt/conf"
	apt-get update -q >"$dir/apt/update.log" 2>&1 || :
}

download() { (cd "$dir/apt/debs" && apt-get download -q "$@") >>"$dir/apt/download.log" 2>&1; }

# get PACKAGE...: the .deb files. The machine's lists may be absent, or so old
# that the mirror has dropped what they name.
get() {
	say "downloading $*"
	download "$@" && return
	[ -d "$dir/apt/lists" ] || update_lists
	download "$@" || {
		cat "$dir/apt/update.log" "$dir/apt/download.log" >&2 2>/dev/null || :
		die "cannot download $*: see apt's messages above"
	}
}

unpack() {
	for deb in "$dir"/apt/debs/*.deb; do dpkg -x "$deb" "$1"; rm "$deb"; done
}

# Where a tree's libraries are: the machine's kind of folder, one that Postfix,
# rspamd and Dovecot each keep for their own, others of Dovecot's, Samba's and systemd's, and one
# for what is of no kind of machine.
library_path() {
	path=
	for d in "$1"/usr/lib/*/ "$1"/lib/*/ "$1"/usr/lib/dovecot/modules/old-stats/ "$1"/usr/lib/*/samba/ "$1"/usr/lib/*/systemd/ "$1"/usr/lib/; do
		[ ! -d "$d" ] || path=$path${path:+:}${d%/}
	done
	printf %s "$path"
}

# missing_libraries TREE PATTERNS: the libraries that the tree's programs, the
# files that the patterns match, need and do not find.
missing_libraries() {
	path=$(library_path "$1")
	(
		cd "$1"
		for program in $2; do
			LD_LIBRARY_PATH=$path ldd "$program" 2>/dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p'
		done
	) | sort -u | paste -s -d ' '
}

# absent_library_packages [--recurse]: the library packages that what was
# fetched depends on, directly or at any depth, and that the machine lacks.
# Those for browsers are called libraries too, and are none.
# Where the name depended on is no package but a feature, apt lists those that
# provide it below, further indented.
absent_library_packages() {
	apt-cache depends "$@" --no-pre-depends --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances $fetched |
		sed -n -e 's/^[ |]*Depends: \(lib[^ :]*\)$/\1/p' -e 's/^    \(lib[^ :]*\)$/\1/p' | sort -u |
		while read -r package; do
			case " $fetched " in *" $package "*) continue ;; esac
			case $package in libjs-*) continue ;; esac
			dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || echo "$package"
		done
}

# A library and the package that Debian names after it have this in common:
# libglib-2.0.so.0 is in libglib2.0-0, libcurl.so.4 in libcurl4 or libcurl4t64,
# and libxml2.so.2 in libxml2. All of ICU's, such as libicuuc.so.72, are in libicu72.
key() { printf %s "$1" | sed 's/^libicu[a-z0-9]*\.so/libicu.so/; s/\.so\././; s/t64$//; s/[-._]//g' | tr '[:upper:]' '[:lower:]'; }

# packages_with LIBRARY...: what to fetch for these libraries: the packages that
# are named after them; when there are none, all that the fetched ones depend
# on directly, and failing that indirectly.
packages_with() {
	keys=
	for library in "$@"; do keys="$keys $(key "$library") $(key "${library%.so.*}")"; done
	all=$(absent_library_packages --recurse)
	named=$(for package in $all; do
		case "$keys " in *" $(key "$package") "*) echo "$package" ;; esac
	done)
	[ -n "$named" ] || named=$(absent_library_packages)
	echo ${named:-$all}
}

# register_plugins TREE: tells Postfix of its plug-ins, as the packages' own scripts do.
register_plugins() {
	for plugin in "$1"/usr/lib/postfix/postfix-*.so; do
		[ -e "$plugin" ] || continue
		kind=${plugin##*/postfix-} kind=${kind%.so}
		echo "$kind postfix-$kind.so dict_${kind}_open" >>"$1/etc/postfix/dynamicmaps.cf"
	done
}

# has_programs TREE PATTERNS: whether the tree is there, with a file for each pattern.
has_programs() (
	cd "$1" 2>/dev/null || exit 1
	for program in $2; do [ -e "$program" ] || exit 1; done
)

# fetch_tree NAME PATTERNS PACKAGE...: unpacks the packages into DIR/NAME, with
# the libraries that its programs, the files that the patterns match, lack.
fetch_tree() {
	name=$1 programs=$2
	shift 2
	if has_programs "$dir/$name" "$programs"; then
		say "$name is here: $dir/$name"
		return
	fi
	configure_apt
	tree=$dir/apt/$name
	get "$@"
	unpack "$tree"
	fetched=$*
	while missing=$(missing_libraries "$tree" "$programs") && [ -n "$missing" ]; do
		say "the machine lacks $missing"
		packages=$(packages_with $missing)
		[ -n "$packages" ] || die "no package that $name depends on brings $missing: install that library"
		fetched="$fetched $packages"
		get $packages
		unpack "$tree"
	done
	# A program that changes its group by itself gets no LD_LIBRARY_PATH.
	chmod -R ug-s "$tree"
	register_plugins "$tree"
	[ ! -d "$dir/$name" ] || mv "$dir/$name" "$dir/apt/before"
	mv "$tree" "$dir/$name"
	rm -rf "$dir/apt"
	say "$name is unpacked: $dir/$name"
}

# A plug-in works with the Postfix that it was built with alone.
if command -v postfix >/dev/null && [ -x "$(postconf -dh daemon_directory 2>/dev/null)/postlogd" ] &&
	[ "$(postconf -m 2>/dev/null | grep -cx -e ldap -e mysql)" = 2 ]; then
	say "postfix is installed: $(command -v postfix)"
else
	fetch_tree postfix 'usr/sbin/* usr/lib/postfix/sbin/* usr/lib/postfix/postfix-ldap.so usr/lib/postfix/postfix-mysql.so' postfix postfix-ldap postfix-mysql
fi

# One that is installed is not used: Debian's Postfix and Sendmail exclude each
# other, and what "sendmail" is called may be either.
fetch_tree sendmail 'usr/libexec/sendmail/sendmail usr/bin/m4' sendmail-bin sendmail-base sendmail-cf m4 libsasl2-modules

if [ $bench = yes ]; then
	if [ -e /usr/include/libmilter/mfapi.h ]; then
		say "libmilter is installed"
	else
		fetch_tree libmilter '' libmilter-dev libmilter1.0.1
	fi
fi

if [ $scanners = yes ]; then
	if command -v clamd >/dev/null; then
		say "clamd is installed: $(command -v clamd)"
	else
		fetch_tree clamd 'usr/sbin/clamd usr/bin/clamdscan' clamav-daemon clamdscan
	fi
	if command -v rspamd >/dev/null; then
		say "rspamd is installed: $(command -v rspamd)"
	else
		fetch_tree rspamd usr/bin/rspamd rspamd
	fi
	if command -v opendkim >/dev/null; then
		say "opendkim is installed: $(command -v opendkim)"
	else
		fetch_tree opendkim usr/sbin/opendkim opendkim
	fi
	if command -v redis-server >/dev/null; then
		say "redis-server is installed: $(command -v redis-server)"
	else
		fetch_tree redis usr/bin/redis-server redis-server redis-tools
	fi
	if command -v dovecot >/dev/null; then
		say "dovecot is installed: $(command -v dovecot)"
	else
		fetch_tree dovecot 'usr/sbin/dovecot usr/bin/doveconf usr/lib/dovecot/anvil usr/lib/dovecot/auth
			usr/lib/dovecot/config usr/lib/dovecot/log usr/lib/dovecot/stats' dovecot-core
	fi
fi

# These are used unpacked even where they are installed: so the tests have the same
# versions, modules and schemas everywhere.
if [ $directories = yes ]; then
	fetch_tree slapd 'usr/sbin/slapd usr/lib/ldap/back_mdb.so usr/lib/ldap/memberof.so usr/lib/ldap/syncprov.so
		usr/bin/ldapmodify' slapd ldap-utils
	fetch_tree postgres 'usr/lib/postgresql/15/bin/postgres usr/lib/postgresql/15/bin/initdb
		usr/lib/postgresql/15/bin/psql' postgresql-15 postgresql-client-15
	fetch_tree mariadb 'usr/sbin/mariadbd usr/bin/mariadb' mariadb-server-core mariadb-client-core
	fetch_tree samba 'usr/sbin/samba usr/lib/*/samba/ldb/*.so usr/lib/*/samba/service/ldap.so
		usr/lib/*/samba/process_model/*.so usr/bin/python3.11 usr/lib/python3.11/lib-dynload/_[bhlu]*.so
		usr/lib/python3/dist-packages/*.so usr/lib/python3/dist-packages/samba/*.so
		usr/lib/python3/dist-packages/samba/*/*.so' \
		samba samba-libs samba-dsdb-modules samba-ad-provision samba-common-bin python3-samba python3-ldb \
		python3-talloc python3-tdb python3.11-minimal libpython3.11-minimal libpython3.11-stdlib
fi

if [ $prometheus = yes ]; then
	if command -v promtool >/dev/null; then
		say "promtool is installed: $(command -v promtool)"
	else
		fetch_tree prometheus usr/bin/promtool prometheus
	fi
fi

# journalctl and systemd-journal-remote, of which the latter is rarely installed, must be of one
# version, with the library that both share.
if [ $journal = yes ]; then
	fetch_tree journal 'bin/journalctl lib/systemd/systemd-journal-remote' systemd libsystemd-shared systemd-journal-remote
fi

# The versions and the sums of what npm brings are in the repository. Their own scripts, which
# would build or fetch more, are not run.
fetch_powershell() {
	if cmp -s "$here/powershell/package-lock.json" "$dir/powershell/package-lock.json"; then
		say "powershell is here: $dir/powershell"
		return
	fi
	for tool in node npm; do
		command -v $tool >/dev/null || die "$tool is missing: install Debian's npm, as make test does"
	done
	say "downloading the grammar of PowerShell"
	rm -rf "$dir/powershell" "$dir/powershell.new"
	mkdir "$dir/powershell.new"
	cp "$here/powershell/package.json" "$here/powershell/package-lock.json" "$dir/powershell.new"
	(cd "$dir/powershell.new" && npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund >npm.log 2>&1) || {
		cat "$dir/powershell.new/npm.log" >&2
		die "cannot download the grammar: see npm's messages above"
	}
	mv "$dir/powershell.new" "$dir/powershell"
	say "powershell is here: $dir/powershell"
}

if [ $powershell = yes ]; then
	fetch_powershell
fi
