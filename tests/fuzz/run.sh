#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh SECONDS [BUILD [TARGETS]] - builds the fuzz targets with clang and runs each for SECONDS.
# Findings stay in BUILD/findings; exit status 1 says there are some, 77 that clang is missing.
set -eu

seconds=${1:-60}
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${2:-${LEAKDIFF_FUZZ_BUILD:-$source/build/fuzz}}
targets=${3:-stream store chunks profile ring symbols}
command -v clang >/dev/null || { echo "clang is not installed"; exit 77; }

flags="-std=gnu11 -D_GNU_SOURCE -DLEAKDIFF_VERSION=\"fuzz\" -O1 -g -I$source -I$source/analyzer
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
libraries="-lsqlite3 -lzstd -ldw -lelf -llzma -liberty -lm -lpthread"
mkdir -p "$build/objects" "$build/findings"
export XDG_CACHE_HOME="$build/cache"	# ingest keeps names; not in the user's

# core only: the readers are there, and nothing else is needed to build them
python3 - "$source/analyzer/core/schema.sql" "$build/objects/schema.c" <<'END'
import json, sys
text = open(sys.argv[1]).read()
with open(sys.argv[2], "w") as out:
    out.write('#include "core/schema.h"\nconst char schema_sql[] =\n')
    out.write("".join("\t%s\n" % json.dumps(line + "\n", ensure_ascii=True) for line in text.split("\n")) + ";\n")
END
objects=
for file in "$source"/analyzer/core/*.c "$build/objects/schema.c"; do
	object=$build/objects/$(basename "$file" .c).o
	objects="$objects $object"
	if [ ! "$object" -nt "$file" ] || [ -n "$(find "$source/analyzer/core" "$source/preload" -name '*.h' -newer "$object" | head -1)" ]; then
		clang $flags -c "$file" -o "$object" &
		[ "$(jobs -p | wc -l)" -lt 2 ] || wait
	fi
done
wait
clang $flags -fsanitize=address,undefined "$source/tests/fuzz/make_seeds.c" $objects -o "$build/make_seeds" $libraries
"$build/make_seeds" "$build/seeds"

# small programs for fuzz_symbols, without build-id: no file is the wrong build then
mkdir -p "$build/seeds/symbols"
for how in "-gdwarf-5 -O2" "-gdwarf-4 -O0" "-gdwarf-5 -O1 -gz=zlib" "-g0 -O2"; do
	clang++ $how -nostdlib -static -fno-exceptions -fno-rtti -Wl,--build-id=none -Wl,--unresolved-symbols=ignore-all \
		"$source/tests/fuzz/seed.cc" -o "$build/seeds/symbols/elf$(echo "$how" | tr -d ' =-')"
done

run_target() {
	mkdir -p "$build/corpus/$1"
	seeds=
	[ ! -d "$build/seeds/$1" ] || seeds=$build/seeds/$1
	leaks=1
	[ "$1" != symbols ] || leaks=0	# with FUZZ_INSIDE: of malformed files libelf forgets memory
	ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=$leaks "$build/fuzz_$1" -max_total_time="$seconds" \
		-max_len=262144 -timeout=20 -rss_limit_mb=3000 -malloc_limit_mb=8000 -print_final_stats=1 \
		-artifact_prefix="$build/findings/$1-" "$build/corpus/$1" $seeds >"$build/fuzz_$1.log" 2>&1
}

for target in $targets; do
	clang $flags -fsanitize=fuzzer,address,undefined "$source/tests/fuzz/fuzz_$target.c" $objects -o "$build/fuzz_$target" $libraries &
	[ "$(jobs -p | wc -l)" -lt 2 ] || wait
done
wait

# two at a time
status=0
set -- $targets
while [ $# -gt 0 ]; do
	now="$1 ${2-}"
	pids=
	for target in $now; do
		run_target "$target" &
		pids="$pids $!"
	done
	for target in $now; do
		pid=${pids# }
		pid=${pid%% *}
		pids=${pids# }
		pids=${pids#"$pid"}
		echo "fuzz_$target: $seconds s"
		if ! wait "$pid"; then
			status=1
			grep -m3 -E "ERROR|SUMMARY|refused|runtime error" "$build/fuzz_$target.log" || tail -5 "$build/fuzz_$target.log"
		fi
		grep -E "stat::number_of_executed_units|cov:" "$build/fuzz_$target.log" | tail -2
	done
	shift
	[ $# -eq 0 ] || shift
done
[ $status = 0 ] || echo "findings are in $build/findings"
exit $status
