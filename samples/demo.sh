#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to the answer: a server that grows, two snapshots, and who holds what grew.
#
#   samples/demo.sh [native|python]
#
#   native   samples/http_cache, an HTTP server in C that keeps every upload (the default)
#   python   samples/tornado_cache, a tornado service whose lru_cache keeps every upload
#
# Every command is printed as a person would type it, then run. Missing packages are installed when
# that is allowed (tests/packages.txt). The build goes to build/demo, everything else to demo-output/.
# Exit status 0 when leakdiff found the leak and no request failed, else 1; 2 when it cannot run here.
set -u
cd "$(dirname "$0")/.." || exit 2
demo=${1:-native}
case $#$demo in
0native | 1native | 1python) ;;
*)
	sed -n '4,8s/^# \{0,1\}//p' "$0" >&2
	exit 64 ;;
esac

out=demo-output
say()  { printf '\n# %s\n' "$*"; }
typed() { printf '$ %s\n' "$*"; }
run()  { typed "$1"; eval "$1"; }			# what is printed is what is run
give_up() { printf 'demo: %s\n' "$1" >&2; exit "${2:-1}"; }
server='' client=''
trap '[ -z "$client" ] || : >"$out/client.ends"; [ -n "$server" ] && kill "$server" 2>/dev/null' EXIT

. tests/packages.sh
packages_need build demo

rm -rf "$out"
mkdir -m 700 "$out" || exit 2

say "Build leakdiff. The server is any other program: nothing in it knows of leakdiff."
build() { "$@" >>"$out/build.log" 2>&1 || { tail -n 30 "$out/build.log" >&2; give_up "the build failed: $out/build.log" 2; }; }
typed "cmake --preset release -B build/demo && ninja -C build/demo"
build cmake --preset release -B build/demo
build ninja -C build/demo
if [ "$demo" = native ]; then
	service=$out/http_cache
	run "gcc -O2 -g -D_GNU_SOURCE -o $service samples/http_cache/http_cache.c" || exit 2
else
	service="/usr/bin/python3 samples/tornado_cache/app.py"
fi
run 'export PATH=$PWD/build/demo/bin:$PATH'

say "Start the service under the library."
typed "LD_PRELOAD=\$PWD/build/demo/lib/libleakdiff.so LEAKDIFF_DIR=\$PWD/$out $service &"
# shellcheck disable=SC2086	# the command and its argument
LD_PRELOAD=$PWD/build/demo/lib/libleakdiff.so LEAKDIFF_DIR=$PWD/$out $service >"$out/server.log" 2>&1 &
server=$!
for _ in $(seq 100); do
	grep -q listening "$out/server.log" && break
	kill -0 "$server" 2>/dev/null || break
	sleep 0.1
done
port=$(sed -n 's/^listening on //p' "$out/server.log")
[ -n "$port" ] || { cat "$out/server.log" >&2; give_up "the server did not start" 2; }
cat "$out/server.log"

say "Its daily work: ten uploads of 1 MiB, by curl."
run "url=http://127.0.0.1:$port"
run "head -c 1048576 /dev/urandom >$out/body"
run "for i in \$(seq 10); do curl -sSf -T $out/body \$url/early-\$i >/dev/null || exit 1; done"

# From here on a client never stops: 30 uploads when it is told to, downloads before and after. It
# counts what it sends and what fails.
download()
{
	if [ "$demo" = native ]; then
		curl -sSf "$url/early-1" | cmp -s - "$out/body"
	else
		curl -sSf "$url/early-1" | grep -q '^[0-9][0-9]*$'
	fi
}

client()
{
	sent=0 failed=0 uploads=0
	while [ ! -e "$out/client.ends" ]; do
		if [ -e "$out/client.uploads" ] && [ "$uploads" -lt 30 ]; then
			uploads=$((uploads + 1))
			curl -sSf -T "$out/body" "$url/late-$uploads" >/dev/null || failed=$((failed + 1))
			[ "$uploads" -lt 30 ] || : >"$out/client.uploaded"
		else
			download || failed=$((failed + 1))
		fi
		sent=$((sent + 1))
	done
	echo "$sent requests, $failed failed" >"$out/client.log"
}
client 2>"$out/client.errors" &
client=$!

say "The first snapshot, while another client downloads without a break."
typed "leakdiff snap $server"
first=$(leakdiff snap "$server") || give_up "no first snapshot" 2
echo "$first"

say "That client uploads 30 bodies more, and goes on downloading while the second one is taken."
: >"$out/client.uploads"
for _ in $(seq 600); do
	[ -e "$out/client.uploaded" ] && break
	sleep 0.1
done
typed "leakdiff snap $server"
second=$(leakdiff snap "$server") || give_up "no second snapshot" 2
echo "$second"
: >"$out/client.ends"
wait "$client"
echo "the client: $(cat "$out/client.log")"
cat "$out/client.errors" >&2

say "What grew, who allocated it, who still holds it?"
first=${first#"$PWD"/} second=${second#"$PWD"/}
typed "leakdiff $first $second"
leakdiff "$first" "$second" | tee "$out/diff.txt"
status=${PIPESTATUS[0]}
echo
run "leakdiff $first $second --png $out/leak.png >/dev/null"

say "The server ends as it would without the library."
run "kill $server"
wait "$server"
ended=$?
server=
echo "it ended with status $ended"

# Only if all of it is so was this a demonstration.
leakdiff "$first" "$second" --json >"$out/diff.json"
python3 - "$out/diff.json" "$demo" <<'END' || give_up "the diff does not say what this server does"
import json, sys
diff = json.load(open(sys.argv[1]))
row = diff["growth"][0]
suspect = diff["suspects"][0]
holder = {"native": "g_cache", "python": "ApiHandler.header_for"}[sys.argv[2]]
sys.exit(not (row["count"][1] - row["count"][0] == 30 and 0 <= row["bytes"][1] - row["bytes"][0] - (30 << 20) < 4096 and
              suspect["count"] == 30 and suspect["holder"]["name"].endswith(holder) and
              suspect["accumulates_in"]["children"] >= 30))
END
[ "$status" = 1 ] || give_up "the diff ended with status $status, not 1 (growth found)"
[ "$ended" = 0 ] || give_up "the server ended with status $ended"
grep -q ' 0 failed$' "$out/client.log" || give_up "requests failed while snapshots were taken"
[ -s "$out/leak.png" ] || give_up "there is no picture"

rm -f "$out"/client.*
client=
say "Everything is in $out/:"
ls -1sh "$out" | tail -n +2
