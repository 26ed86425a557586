# SPDX-License-Identifier: Apache-2.0
"""libleakdiff.so as the dynamic linker sees it: it exports what preload/preload.map lists and nothing
else, needs libc alone, has no lazy TLS, no executable stack, and imports nothing that allocates,
prints, locks or aborts in the service."""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
from sources import read

if not os.path.exists(LIBRARY):
    expect(False, "%s should have been built" % LIBRARY)
    finish()


def tool(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=clean_environment()).stdout


def symbols(*options):
    """Names in the dynamic table, without versions."""
    return {line.split()[-1].split("@")[0] for line in tool("nm", "-D", *options, LIBRARY).splitlines() if line.split()}


text = re.sub(r"/\*.*?\*/|#[^\n]*", " ", read("preload/preload.map"), flags=re.DOTALL)
match = re.search(r"global:(.*?)local:\s*\*\s*;", text, re.DOTALL)
if expect(match, "preload/preload.map should be { global: names; local: *; }"):
    listed = set(re.findall(r"[\w*?]+", match.group(1)))
    expect(not [name for name in listed if "*" in name or "?" in name], "preload.map should list names, not patterns")
    exported = symbols("--defined-only")
    for name in sorted(exported - listed):
        expect(False, "the library exports %s, which preload/preload.map does not list" % name)
    for name in sorted(listed - exported):
        expect(False, "preload/preload.map lists %s, which the library does not define" % name)
    expect(exported == listed, "exported and listed names should be equal")
    for name in ("malloc", "calloc", "realloc", "reallocarray", "free", "posix_memalign", "aligned_alloc", "memalign",
                 "valloc", "pvalloc", "malloc_usable_size", "mmap", "munmap", "mremap"):
        expect(name in exported, "the library should interpose %s" % name)

dynamic = tool("readelf", "-dW", LIBRARY)
needed = re.findall(r"\(NEEDED\)\s+Shared library: \[([^\]]+)\]", dynamic)
for name in needed:
    expect(re.match(r"(libc\.so\.6|ld-linux[\w-]*\.so\.\d|ld64\.so\.\d)$", name),
           "the library needs %s; libc and the dynamic linker are all that it may need" % name)
expect("TEXTREL" not in dynamic, "the library should have no text relocations")
expect("BIND_NOW" in dynamic or re.search(r"FLAGS_1.*NOW", dynamic), "the library should be bound at load time (-z now)")

headers = tool("readelf", "-lW", LIBRARY)
stack = re.search(r"GNU_STACK.*?(RWE|RW )", headers)
expect(stack and stack.group(1) == "RW ", "the library should not ask for an executable stack")
expect(not re.search(r"LOAD.*RWE", headers), "no segment should be writable and executable")

imported = symbols("--undefined-only")
expect("__tls_get_addr" not in imported, "TLS should be initial-exec: the library imports __tls_get_addr")
FORBIDDEN = """abort exit __assert_fail printf fprintf vprintf vfprintf sprintf snprintf vsnprintf dprintf puts fputs perror
__printf_chk __fprintf_chk __sprintf_chk __snprintf_chk __vsnprintf_chk __vfprintf_chk fopen fopen64 fdopen fwrite fread fclose
fflush getline syslog strdup strndup asprintf opendir getpwuid getgrgid setlocale localtime strerror __stack_chk_fail
pthread_mutex_lock pthread_rwlock_wrlock backtrace backtrace_symbols _Unwind_Backtrace system popen""".split()
for name in FORBIDDEN:
    expect(name not in imported, "the library imports %s, which has no place inside a service" % name)

# What every hook reads lies in one cache line, what every hook runs side by side. Debug names may be stripped: then nothing is known.
at = {line.split()[2]: int(line.split()[0], 16) for line in tool("nm", LIBRARY).splitlines() if len(line.split()) == 3}
read_by_all = ("ld__sample_lg", "ld__budget_on", "ld__clock_tsc", "ld__clock_floor",
               "ld__step_unloads")
if "ld__switch" in at:
    lines = {at[name] // 64 for name in read_by_all}
    expect(len(lines) == 1, "%s should lie in one cache line, not in %d" % (", ".join(read_by_all), len(lines)))
    expect(at["malloc_way"] // 64 in lines, "malloc_way should lie there, too")
    expect(at["ld__switch"] % 4096 == 0, "ld__switch should begin a page")
    expect(at["ld__real"] % 64 == 0, "ld__real should begin a cache line")
    run_by_all = ("malloc", "malloc_with_stack", "malloc_sampled", "free", "malloc_usable_size")
    span = max(at[name] for name in run_by_all) - min(at[name] for name in run_by_all)
    expect(span <= 4096, "%s should lie side by side, not %d bytes apart" % (", ".join(run_by_all), span))

# Loaded into a program, it changes nothing that a program prints.
for argv in (["/bin/true"], ["/bin/echo", "hello"]):
    with_it = run(argv, env=shim_environment(scratch("ld")))
    without = run(argv, env=clean_environment())
    expect((with_it.returncode, with_it.stdout, with_it.stderr) == (without.returncode, without.stdout, without.stderr),
           "%s under the library: %r, without: %r" % (argv, with_it, without))
finish()
