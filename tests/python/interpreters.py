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


# -- programs that bring CPython in another way than the python3 that is installed ---------------

_EMBED = r'''
#ifdef LOCALLY
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	void *python = dlopen(LOCALLY, RTLD_NOW | RTLD_LOCAL);
	int (*run)(int, char **) = python ? (int (*)(int, char **))dlsym(python, "Py_BytesMain") : 0;

	if (!run) {
		fprintf(stderr, "%s\n", dlerror());
		return 99;
	}
	return run(argc, argv);
}
#else
int Py_BytesMain(int argc, char **argv);
int main(int argc, char **argv)
{
	return Py_BytesMain(argc, argv);
}
#endif
'''


def _library_of(path, version):
    """libpython as a shared object, (folder, file), or None."""
    root = os.path.dirname(os.path.dirname(os.path.realpath(path)))
    for folder in (os.path.join(root, "lib"), "/usr/lib/x86_64-linux-gnu"):
        file = os.path.join(folder, "libpython%d.%d.so.1.0" % version[:2])
        if os.path.exists(file) and (folder.startswith(root) or root == "/usr"):
            return folder, file
    return None


def embedders(folder):
    """[(kind, path, version, environment)]: programs built in `folder` that behave as python3 does:
    shared   linked with libpython.so          local   opens it RTLD_LOCAL
    static   libpython.a in the program, its names exported, as Debian's python3
    hidden   the same without exported names   whole   linked with -static"""
    result = []
    source = os.path.join(folder, "embed.c")
    with open(source, "w") as out:
        out.write(_EMBED)

    def build(kind, path, version, *options):
        program = os.path.join(folder, "%s-%d.%d.%d" % (kind, *version))
        made = subprocess.run(["gcc", "-o", program, source, *options], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0
        if made:
            root = os.path.dirname(os.path.dirname(os.path.realpath(path)))
            result.append((kind, program, version, {"PYTHONHOME": root}))

    for path, version in found():
        library = _library_of(path, version)
        if "dbg" in path or version[:2] not in ((3, 8), (3, 11), (3, 13)):
            continue
        name = "-lpython%d.%d" % version[:2]
        if library:
            build("shared", path, version, "-L" + library[0], "-Wl,-rpath," + library[0], library[1])
            build("local", path, version, "-DLOCALLY=\"%s\"" % library[1], "-ldl")
        if os.path.realpath(path).startswith("/usr/"):
            needed = ["-l:libpython%d.%d.a" % version[:2], "-lexpat", "-lz", "-lm", "-ldl", "-lutil", "-lpthread"]
            build("static", path, version, "-no-pie", "-rdynamic", *needed)
            build("hidden", path, version, "-no-pie", *needed)
            build("whole", path, version, "-static", *needed)
    return result
