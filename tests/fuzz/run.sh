#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh SECONDS [BUILD] - builds the fuzz targets with clang and runs each for SECONDS.
# Findings stay in BUILD/findings; exit status 1 says there are some, 77 that clang is missing.
set -eu

seconds=${1:-60}
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${2:-${LEAKDIFF_FUZZ_BUILD:-$source/build/fuzz}}
command -v clang >/dev/null || { echo "clang is not installed"; exit 77; }

flags="-std=gnu11 -D_GNU_SOURCE -DLEAKDIFF_VERSION=\"fuzz\" -O1 -g -I$source -I$source/analyzer
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
libraries="-lsqlite3 -lzstd -ldw -lelf -llzma -liberty -lm -lpthread"
mkdir -p "$build/objects" "$build/findings"

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

status=0
for target in stream store chunks profile ring; do
	clang $flags -fsanitize=fuzzer,address,undefined "$source/tests/fuzz/fuzz_$target.c" $objects -o "$build/fuzz_$target" $libraries
	mkdir -p "$build/corpus/$target"
	seeds=
	[ ! -d "$build/seeds/$target" ] || seeds=$build/seeds/$target
	echo "fuzz_$target: $seconds s"
	if ! ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 "$build/fuzz_$target" -max_total_time="$seconds" \
		-max_len=262144 -timeout=20 -rss_limit_mb=3000 -malloc_limit_mb=8000 -print_final_stats=1 \
		-artifact_prefix="$build/findings/$target-" "$build/corpus/$target" $seeds \
		>"$build/fuzz_$target.log" 2>&1; then
		status=1
		grep -m3 -E "ERROR|SUMMARY|refused|runtime error" "$build/fuzz_$target.log" || tail -5 "$build/fuzz_$target.log"
	fi
	grep -E "stat::number_of_executed_units|cov:" "$build/fuzz_$target.log" | tail -2
done
[ $status = 0 ] || echo "findings are in $build/findings"
exit $status
