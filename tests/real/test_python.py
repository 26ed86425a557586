# SPDX-License-Identifier: Apache-2.0
"""python3 runs its own tests under the library and under snapshots: the same tests pass, fail and are skipped.

    test_python.py          what the suite runs: the modules below, each in one or both of the modes, with snapshots
    test_python.py all      all of it: every module, in both modes, with and without snapshots, on each interpreter
                            that has its tests (40 minutes)
    test_python.py MODULE   one module, in both modes, with and without snapshots"""
import collections
import concurrent.futures
import os
import sys
import xml.etree.ElementTree

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
sys.path.insert(0, os.path.join(SOURCE, "tests", "python"))
import interpreters  # noqa: E402

DEBIAN = "/usr/bin/python3"
QUICK = ["test_list", "test_dict", "test_json", "test_bytes", "test_mmap", "test_gc", "test_os", "test_ctypes"]
LONG = ["test_threading", "test_subprocess"] + ["test_asyncio.test_" + part for part in (
    "subprocess", "unix_events", "selector_events", "base_events", "sock_lowlevel", "streams", "runners")]
CAPI = ["test_capi"]			# not among Debian's: run where an interpreter brings it
REST = ["test_asyncio", "test_cmd_line", "test_posix", "test_signal", "test_socket", "test_multiprocessing_fork",
        "test_concurrent_futures"]
# What mode stacks may change: the interpreter does not know its allocator's name, as under tracemalloc (docs/LIMITS.md).
KNOWN = {"stacks": {"test.test_cmd_line.CmdLineTest.test_pythonmalloc"}}


def has(python, module):
    return run([python, "-c", "import test." + module], env=clean_environment()).returncode == 0


def session(python, modules, env, seconds):
    """How every single test ended, as often as it was run: {name: ["passed", ...]}, and the end of what was said."""
    folder = scratch("python")
    report = os.path.join(folder, "report.xml")
    # test_user starts children as another user, to whom the folder does not belong: there the library
    # says its promised line on their standard error. The cases without poll() are the same as with it.
    done = run([python, "-m", "test", "-v", "--timeout", "100", "-i", "test_user", "-i", "*CaseNoPoll*", "--junit-xml", report] + modules,
               seconds, env=env, cwd=folder, stderr=subprocess.STDOUT)
    ends = collections.defaultdict(list)
    try:
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            how = [part.tag for part in case if part.tag in ("failure", "error", "skipped")]
            ends[case.get("name")].append(how[0] if how else "passed")
    except (OSError, xml.etree.ElementTree.ParseError) as e:
        ends["the report of " + " ".join(modules)].append(repr(e))
    return done.returncode, {name: sorted(how) for name, how in ends.items()}, done.stdout


def module_of(name, modules):
    """Which of the modules a test belongs to."""
    return [m for m in modules if name.startswith("test.%s." % m)] or modules


class Run:
    """Some modules on one interpreter in one mode (None: without the library)."""

    def __init__(self, python, modules, mode=None, snapshots=False, seconds=280):
        self.python, self.modules, self.mode, self.snapshots, self.seconds = python, modules, mode, snapshots, seconds
        self.what = "%s, %s, %s%s" % (python, " ".join(modules) if len(modules) < 4 else "%d modules" % len(modules), mode or "plain", ", snapshots" if snapshots else "")
        self.taken = 0

    def __call__(self):
        if not self.mode:
            return session(self.python, self.modules, clean_environment(), self.seconds)
        folder, snapper = scratch("ld"), None
        if self.snapshots:
            snapper = Snapper(folder, wanted=1, gap=0.4)
            snapper.start()
        try:
            result = session(self.python, self.modules, shim_environment(folder, LEAKDIFF_PYTHON=self.mode), self.seconds)
        finally:
            if snapper:
                snapper.end()
        if snapper:
            snapper.report(self.what)
            self.taken += len(snapper.taken)
        silent_about_itself(self.what, "\n".join(l for l in result[2].splitlines() if "libleakdiff:" in l))
        return result


def differing(plain, got, one):
    """What ended otherwise, of the tests of this run's modules."""
    wanted = {name for name in plain if name.startswith(tuple("test.%s." % m for m in one.modules))} | set(got)
    return {name for name in wanted if plain.get(name) != got.get(name)} - KNOWN.get(one.mode, set())


def compare(plain, shimmed, at_once=2):
    """Run them, some at a time, and compare what came out.

    A test that watches the clock may lose a race on a loaded machine, with the library or without; what the library
    breaks breaks again. So the modules in which something differs are run once more, both ways."""
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(lambda one: one(), [plain] + shimmed))
    base = results[0]
    expect(len(base[1]) > 5, "%s: expected outcomes, found %d: %s" % (plain.what, len(base[1]), base[2][-300:]))
    for one, got in zip(shimmed, results[1:]):
        other = differing(base[1], got[1], one)
        print("%s: %d tests, %d snapshots" % (one.what, len(got[1]), one.taken), flush=True)
        if not other:
            expect(got[0] == base[0] or one.mode in KNOWN, "%s: status %s, and %s without: %s" % (
                one.what, got[0], base[0], got[2][-300:]))
            continue
        modules = sorted({m for name in other for m in module_of(name, one.modules)})
        print("once more, since %d differed: %s" % (len(other), ", ".join(sorted(other)[:20])), flush=True)
        again_run = Run(one.python, modules, one.mode, one.snapshots, one.seconds)
        again = again_run()
        without = Run(one.python, modules, None, False, one.seconds)()
        twice = other & differing(without[1], again[1], again_run)
        expect(not twice, "%s: %d of %d tests end otherwise, twice: %s" % (
            one.what, len(twice), len(got[1]), [(name, without[1].get(name), again[1].get(name)) for name in sorted(twice)[:6]]))


def in_all_ways(python, modules, seconds=900):
    compare(Run(python, modules, seconds=seconds),
            [Run(python, modules, mode, snapshots, seconds) for mode in ("auto", "stacks") for snapshots in (False, True)],
            at_once=1)			# modules that use ports or count on time may disturb themselves


others = [python for python, version in sorted(interpreters.found(), key=lambda one: one[1]) if has(python, "test_capi")]
if not has(DEBIAN, "test_list"):
    skip("python3's tests are not installed (libpython3.11-testsuite)")
if sys.argv[1:] == ["all"]:
    for module in QUICK + LONG[:2] + REST:
        if has(DEBIAN, module):
            in_all_ways(DEBIAN, [module])
    for python in others:
        for module in CAPI + QUICK + LONG[:2]:
            in_all_ways(python, [module])
elif sys.argv[1:]:
    for python in [DEBIAN] + others:
        if has(python, sys.argv[1]):
            in_all_ways(python, sys.argv[1:2])
else:
    compare(Run(DEBIAN, QUICK + LONG), [Run(DEBIAN, QUICK + LONG, "stacks", True), Run(DEBIAN, QUICK, "auto", True)])
    for python in others[-1:]:
        compare(Run(python, CAPI), [Run(python, CAPI, "stacks", True), Run(python, CAPI, "auto", True)])
finish()
