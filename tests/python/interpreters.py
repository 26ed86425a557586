# SPDX-License-Identifier: Apache-2.0
"""Every CPython 3.8 to 3.13 on this machine: Debian's, its debug build, and those of pyenv."""
import glob
import os
import subprocess


def version_of(path):
    """(3, 11, 2), or None when it does not run or is no CPython."""
    text = "import sys; print(sys.implementation.name, *sys.version_info[:3])"
    try:
        out = subprocess.run([path, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30,
                             env={"PATH": "/usr/bin:/bin"}).stdout.decode().split()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tuple(map(int, out[1:])) if len(out) == 4 and out[0] == "cpython" else None


def found():
    """[(path, version)], each program once."""
    paths = ["/usr/bin/python3", "/usr/bin/python3-dbg"]
    for root in {os.path.expanduser("~/.pyenv"), os.environ.get("PYENV_ROOT", "")}:
        if root:
            paths += sorted(glob.glob(os.path.join(root, "versions", "*", "bin", "python3")))
    result, seen = [], set()
    for path in paths:
        real = os.path.realpath(path)
        if not os.path.exists(path) or real in seen:
            continue
        seen.add(real)
        version = version_of(path)
        if version and (3, 8) <= version[:2] <= (3, 13):
            result.append((path, version))
    return result
