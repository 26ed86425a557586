# SPDX-License-Identifier: Apache-2.0
"""The files that the policies are about: what git would put into a clone, without build output."""
import os
import subprocess

from support import SOURCE


def files():
    """Paths relative to the source folder, sorted."""
    try:
        out = subprocess.run(["git", "-C", SOURCE, "ls-files", "-z", "-co", "--exclude-standard"],
                             check=True, capture_output=True).stdout.decode()
        names = [name for name in out.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):     # an unpacked archive
        names = []
        for folder, below, here in os.walk(SOURCE):
            below[:] = [b for b in below if b not in ("build", ".git", "__pycache__")]
            names += [os.path.relpath(os.path.join(folder, name), SOURCE) for name in here]
    return sorted(name for name in names if os.path.isfile(os.path.join(SOURCE, name)))


def read(name):
    with open(os.path.join(SOURCE, name), encoding="utf-8", errors="replace") as f:
        return f.read()
