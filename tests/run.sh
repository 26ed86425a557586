#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Build and test everything, from a fresh clone on.
#
#   tests/run.sh [-L LABEL] [-R REGEX] [-j JOBS]
#   tests/run.sh --modes [MODE...] [TEST...]
#
#   -L LABEL  only the tests of one kind: unit, shim, snapshot, samples, real, faults, policy, modes, fuzz
#   -R REGEX  only the tests whose name (kind/test_name) matches
#   -j JOBS   at once (default: processors) for the unit tests and those of Python and of real programs; the
#             others run one by one: they measure, or they put the whole machine to work themselves
#   --modes   the lifecycle, correctness and equality tests in every way to record, or in those named (full,
#             lite, budget, dormant, sample, stacks, lite-stacks): one list and a total (tests/matrix.py); 20 minutes
#
# Installs missing packages when it may (tests/packages.txt), builds the dev preset in build/dev with
# warnings as errors, runs ctest and a minute of fuzzing. Logs and JUnit files stay in build/dev/results.
# The last line is "N passed, N failed", with ", N skipped" when something was; a skipped test says why
# above. Exit status 0 when nothing failed, 1 when something did, 2 when nothing could be tested.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 2
together='^(python|real)$'
label='' regex='' jobs=$(nproc 2>/dev/null || echo 1)
every_mode=
[ "${1:-}" = --modes ] && { every_mode=1; shift; }
while [ -z "$every_mode" ] && getopts L:R:j: option; do
	case $option in
	L) label=$OPTARG ;;
	R) regex=$OPTARG ;;
	j) jobs=$OPTARG ;;
	*) sed -n '5,14s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
	esac
done

. tests/packages.sh
packages_need build test

build=build/dev
results=$root/$build/results
mkdir -p "$results"
rm -f "$results"/*.xml
started=$SECONDS
passed=0 failed=0 skipped=0

give_up()	# message, log
{
	tail -n 60 "$2" >&2
	echo "$1 (all of it: ${2#"$root"/})" >&2
	echo "0 passed, 1 failed"
	exit 1
}

echo "== building in $build"
cmake --preset dev >"$results/configure.log" 2>&1 || give_up "cmake failed" "$results/configure.log"
ninja -C "$build" >"$results/build.log" 2>&1 || give_up "the build failed" "$results/build.log"
echo "   $((SECONDS - started)) s"

if [ -n "$every_mode" ]; then
	set -o pipefail
	TEST_BUILD=$root/$build TEST_SOURCE=$root XDG_CACHE_HOME=$root/$build/cache \
		/usr/bin/python3 tests/matrix.py "$@" 2>&1 | tee "$results/modes.log"
	exit
fi

attribute()	# name, file: of the JUnit file's testsuite
{
	sed -n "s/^[[:space:]]*$1=\"\([0-9]*\)\".*/\1/p; s/.*<testsuite .*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1
}

# One run of ctest; the tests' own output is shown for those that failed.
group()		# name, ctest options...
{
	local name=$1 tests bad skip
	shift
	local xml=$results/$name.xml
	ctest --test-dir "$build" --output-on-failure --no-tests=ignore --output-junit "$xml" \
		--output-log "$results/$name.log" ${regex:+-R "$regex"} "$@"
	[ -f "$xml" ] || { failed=$((failed + 1)); echo "ctest of $name left no result" >&2; return; }
	tests=$(attribute tests "$xml") bad=$(attribute failures "$xml")
	# A program that is missing counts as skipped for ctest, and as failed for us.
	skip=$(grep -c '<skipped message="SKIP_RETURN_CODE' "$xml")
	bad=$((${bad:-0} + $(grep -c '<skipped message=' "$xml") - skip))
	failed=$((failed + bad))
	skipped=$((skipped + skip))
	passed=$((passed + ${tests:-0} - bad - skip))
	sed -n 's/.*>\(skipped: [^<]*\).*/   \1/p' "$xml"
}

if [ -z "$label" ]; then
	echo "== unit tests"
	group unit -L '^unit$' -j "$jobs"
	echo "== Python and real programs"
	group programs -L "$together" -j "$jobs"
	echo "== all others, one by one"
	group others -LE "^unit\$|$together" -j 1
elif [ "$label" != fuzz ]; then
	[[ $label =~ ^unit$|$together ]] || jobs=1
	group "$label" -L "^$label\$" -j "$jobs"
fi

if [ -z "$regex" ] && { [ -z "$label" ] || [ "$label" = fuzz ]; }; then
	echo "== fuzzing the readers, 16 s each, two at a time"
	if ! command -v clang >/dev/null 2>&1; then
		echo "   skipped: clang is not installed"
		skipped=$((skipped + 1))
	elif bash tests/fuzz/run.sh 16 >"$results/fuzz.log" 2>&1; then
		tail -n 3 "$results/fuzz.log"
		passed=$((passed + 1))
	else
		tail -n 60 "$results/fuzz.log"
		failed=$((failed + 1))
	fi
fi

echo "   $((SECONDS - started)) s in all; logs in $build/results"
if [ $((passed + failed)) -eq 0 ]; then
	echo "nothing was tested" >&2
	echo "0 passed, 0 failed"
	exit 2
fi
line="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || line="$line, $skipped skipped"
echo "$line"
[ "$failed" -eq 0 ]
