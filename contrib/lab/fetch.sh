#!/bin/sh
# fetch.sh [--bench] [DIR]
#
# Makes DIR (default: .lab in the repository's root) hold the programs that the
# lab starts and the machine lacks: Debian's Postfix, and with --bench also
# libmilter with its headers. The packages are unpacked below DIR, with those
# of their libraries that the machine lacks. Nothing is installed, replaced,
# configured or started, and apt's own files are left as they are.
#
#   DIR/postfix     the unpacked Postfix (absent when one is installed)
#   DIR/libmilter   the unpacked libmilter (absent when it is installed)
#
# A tree of that name is complete: it is put in place by one rename. Runs side
# by side wait for each other.
set -eu

say() { printf 'lab: %s\n' "$*"; }
die() { printf 'lab: %s\n' "$*" >&2; exit 1; }

bench=no
if [ "${1:-}" = --bench ]; then bench=yes; shift; fi
[ $# -le 1 ] || die "usage: fetch.sh [--bench] [DIR]"
dir=${1:-$(dirname "$0")/../../.lab}
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

library_path() {
	path=$1/usr/lib/postfix
	for d in "$1"/usr/lib/*-linux-gnu* "$1"/lib/*-linux-gnu*; do
		[ ! -d "$d" ] || path=$path:$d
	done
	printf %s "$path"
}

# The libraries that programs of the tree $1 need and do not find.
missing_libraries() {
	path=$(library_path "$1")
	find "$1/usr/sbin" "$1/usr/lib/postfix/sbin" -type f | while read -r program; do
		LD_LIBRARY_PATH=$path ldd "$program" 2>/dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p'
	done | sort -u | tr '\n' ' '
}

# The library packages that the packages $@ depend on, that the machine lacks
# and that were not fetched before.
absent_library_packages() {
	apt-cache depends --no-pre-depends --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances "$@" |
		sed -n 's/^[ |]*Depends: \(lib[^ ]*\)$/\1/p' | sort -u |
		while read -r package; do
			case " $fetched " in *" $package "*) continue ;; esac
			dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || echo "$package"
		done
}

fetch_postfix() {
	if command -v postfix >/dev/null && [ -x "$(postconf -dh daemon_directory 2>/dev/null)/postlogd" ]; then
		say "Postfix is installed: $(command -v postfix)"
		return
	fi
	if [ -d "$dir/postfix" ]; then
		say "Postfix is here: $dir/postfix"
		return
	fi
	configure_apt
	tree=$dir/apt/postfix
	get postfix
	unpack "$tree"
	packages=postfix fetched=
	while missing=$(missing_libraries "$tree") && [ -n "$missing" ]; do
		say "the machine lacks $missing"
		packages=$(absent_library_packages $packages)
		[ -n "$packages" ] || die "no package that postfix depends on brings $missing: install that library"
		fetched="$fetched "$(echo $packages)
		get $packages
		unpack "$tree"
	done
	mv "$tree" "$dir/postfix"
	rm -rf "$dir/apt"
	say "Postfix is unpacked: $dir/postfix"
}

fetch_libmilter() {
	if [ -e /usr/include/libmilter/mfapi.h ]; then
		say "libmilter is installed"
		return
	fi
	if [ -d "$dir/libmilter" ]; then
		say "libmilter is here: $dir/libmilter"
		return
	fi
	configure_apt
	get libmilter-dev libmilter1.0.1
	unpack "$dir/apt/libmilter"
	mv "$dir/apt/libmilter" "$dir/libmilter"
	rm -rf "$dir/apt"
	say "libmilter is unpacked: $dir/libmilter"
}

fetch_postfix
[ $bench = no ] || fetch_libmilter
