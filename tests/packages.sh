# SPDX-License-Identifier: Apache-2.0
# Sourced, not run. Which Debian packages of tests/packages.txt are missing, and install them.
#
#   . tests/packages.sh
#   packages_missing build test      prints the missing ones, one a line
#   packages_need build demo         installs them, or says how and ends the script with status 2
#
# Works from any folder, in sh, dash and bash. Nothing is asked and nothing that is installed is
# touched. On a system without dpkg nothing can be told, so nothing is missing: the build then says
# what it does not find.

packages_file=${packages_file:-}
if [ -z "$packages_file" ]; then
	if [ -n "${BASH_SOURCE:-}" ]; then
		packages_file=$(cd "$(dirname "$BASH_SOURCE")" && pwd)/packages.txt
	else
		for packages_guess in "$(dirname "$0")/packages.txt" "$(dirname "$0")/../tests/packages.txt" tests/packages.txt; do
			[ -f "$packages_guess" ] && packages_file=$packages_guess && break
		done
	fi
fi

# Packages that carry one of the tags, one a line.
packages_tagged()
{
	awk -v wanted="$*" '
		BEGIN { n = split(wanted, w, /[ ,]+/); for (i = 1; i <= n; i++) want[w[i]] = 1 }
		{ sub(/#.*/, "") }
		NF >= 2 { m = split($2, t, ","); for (i = 1; i <= m; i++) if (t[i] in want) { print $1; next } }
	' "$packages_file"
}

# Of these, the ones that are not installed. A package that another one provides (pkgconf for
# pkg-config) counts as installed.
packages_missing()
{
	command -v dpkg-query >/dev/null 2>&1 || return 0
	packages_present=" $(dpkg-query -W -f='${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null |
		awk '$1 == "installed" { $1 = ""; gsub(/\([^)]*\)|,/, " "); printf "%s ", $0 }' | tr -s ' ') "
	for packages_name in $(packages_tagged "$@"); do
		case $packages_present in
		*" $packages_name "*) ;;
		*) echo "$packages_name" ;;
		esac
	done
}

packages_need()
{
	packages_list=$(packages_missing "$@" | tr '\n' ' ')
	packages_list=${packages_list% }
	[ -z "$packages_list" ] && return 0

	packages_as=
	if ! command -v apt-get >/dev/null 2>&1; then
		packages_as=none
	elif [ "$(id -u)" != 0 ]; then
		if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
			packages_as="sudo -n"
		else
			packages_as=none
		fi
	fi
	if [ "$packages_as" = none ]; then
		echo "missing packages; install them with: apt-get install $packages_list" >&2
		exit 2
	fi

	echo "installing: $packages_list" >&2
	# The lists of a fresh image are empty, those of an old one name files that are gone: try, update, try again.
	packages_log=$(mktemp)
	if ! packages_install $packages_list >"$packages_log" 2>&1; then
		$packages_as apt-get update -q >>"$packages_log" 2>&1 || true
		if ! packages_install $packages_list >>"$packages_log" 2>&1; then
			tail -n 15 "$packages_log" >&2
			rm -f "$packages_log"
			echo "packages could not be installed; try: apt-get update && apt-get install $packages_list" >&2
			exit 2
		fi
	fi
	rm -f "$packages_log"
}

packages_install()
{
	$packages_as env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null
}
