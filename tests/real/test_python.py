# SPDX-License-Identifier: Apache-2.0
"""python3 runs some of its own tests under the shim: the same tests pass, fail and are skipped."""
import re
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

PYTHON = "/usr/bin/python3"
TESTS = ["test_list", "test_dict", "test_json", "test_bytes", "test_threading", "test_subprocess", "test_gc", "test_mmap"]
if run([PYTHON, "-c", "import test.test_list, test.test_json"]).returncode:
    skip("python3's tests are not installed (libpython3.11-testsuite)")


def session(env, folder, names, shimmed):
    """Outcome of every single test: {"test_x (test.test_y.C)": "ok"}, and the exit status."""
    # test_user starts children as another user, to whom the folder does not belong: there the library
    # says its promised line on their standard error.
    done = run([PYTHON, "-m", "test", "-v", "--timeout", "100", "-i", "test_user"] + names, 200, env=env, cwd=folder,
               stderr=subprocess.STDOUT)
    outcomes = {}
    for match in re.finditer(r"^(test\w+ \([\w.]+\)).*?(?:\.\.\. )(ok|FAIL|ERROR|skipped.*|expected failure)$",
                             done.stdout, re.MULTILINE):
        outcomes[match.group(1)] = match.group(2)
    if shimmed:
        silent_about_itself("python3 -m test", "\n".join(l for l in done.stdout.splitlines() if "libleakdiff:" in l))
    return done.returncode, outcomes, done.stdout


plain_folder = scratch("python")
status, plain, output = session(clean_environment(), plain_folder, TESTS, False)
expect(len(plain) > 300, "expected hundreds of outcomes without the shim, found %d: %s" % (len(plain), output[-300:]))
captures, folder = scratch("ld"), scratch("python")
ENV = shim_environment(captures)


def differing(got, names):
    return sorted(name for name in names if plain.get(name) != got.get(name))


def work():
    with_status, got, text = session(ENV, folder, TESTS, True)
    other = differing(got, set(plain) | set(got))
    expect(with_status == status, "python3 -m test: status %s without the shim, %s with it: %s"
           % (status, with_status, text[-300:]))
    for name in other[:6]:
        at = max(text.find(name), 0)
        print("what was printed around it:\n%s" % text[max(at - 200, 0):at + 600], flush=True)
    expect(not other, "%d of %d tests end otherwise under the shim: %s" % (
        len(other), len(plain), [(name, plain.get(name), got.get(name)) for name in other[:6]]))


while_snapping("python3", work, captures, seconds=20)
finish()
