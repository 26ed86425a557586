# SPDX-License-Identifier: Apache-2.0
"""Real programs with nothing wrong, each under a load that does the same again and again.

under_load(name, seconds) starts one under the library, lets it warm up, takes five snapshots while the load goes
on, and gives the suspects of their comparison. A load is a function that does one round and returns."""
import json
import os
import re
import socket
import threading
import time

from support import *  # noqa: F403

SNAPSHOTS = 5
PYTHON = """
import functools, json, sys
@functools.lru_cache(maxsize=64)
def parsed(number):
    return json.loads(json.dumps({"number": number, "list": list(range(number % 50))}))
recent = {}
for line in sys.stdin:
    for i in range(400):
        parsed(i % 200)
        recent[i % 100] = [str(i)] * (i % 20)
    print("done", flush=True)
"""


class Pipe:
    """A program that answers on stdout what it is asked on stdin."""

    def __init__(self, argv, env, ask, until, **options):
        self.process = start(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)
        self.ask, self.until = ask, until

    def round(self):
        self.process.stdin.write(self.ask)
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise OSError("the program ended")
            if line == self.until:
                return


class Server:
    """A program that serves a port; `talk` is one round on a new connection's file."""

    def __init__(self, argv, env, port, talk, worker=False):
        self.process = start(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port, self.talk = port, talk
        if not wait_for_port(port, self.process):
            raise OSError("%s does not listen" % argv[0])
        if worker and not wait_until(lambda: children_of(self.process.pid)):	# the master listens before it forks
            raise OSError("%s has no worker" % argv[0])
        self.pid = children_of(self.process.pid)[0] if worker else self.process.pid

    def round(self):
        with socket.create_connection(("127.0.0.1", self.port), 20) as s:
            file = s.makefile("rwb")
            self.talk(file)
            file.close()


def git(env, folder):
    env = dict(env, HOME=folder, GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a",
               GIT_COMMITTER_EMAIL="a@b")
    plain = {k: v for k, v in env.items() if not k.startswith("LD_")}
    for n in range(40):
        with open(os.path.join(folder, "file%d" % n), "w") as f:
            f.write("line %d\n" % n * 500)
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        run(["git", "-C", folder] + words, env=plain)
    ask = b"".join(b"HEAD:file%d\n" % n for n in range(40)) + b"end\n"
    return Pipe(["git", "-C", folder, "cat-file", "--batch"], env, ask, b"end missing\n")


def sqlite3(env, folder):
    ask = b"".join(b"INSERT OR REPLACE INTO t VALUES(%d, hex(randomblob(100)));\nSELECT sum(length(b)) FROM t WHERE a > %d;\n"
                   % (n, n) for n in range(100)) + b"SELECT 'end';\n"
    pipe = Pipe(["sqlite3", "-batch", os.path.join(folder, "db")], env, b"PRAGMA journal_mode=off; PRAGMA synchronous=off;\n"
                b"CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);\nSELECT 'end';\n", b"end\n", bufsize=0)
    pipe.round()
    pipe.ask = ask
    return pipe


def python3(env, folder):
    return Pipe(["/usr/bin/python3", "-c", PYTHON], dict(env, LEAKDIFF_PYTHON="objects"), b"again\n", b"done\n")


def nginx(env, folder):
    os.chmod(folder, 0o755)
    port = free_port()
    with open(os.path.join(folder, "page.html"), "w") as f:
        f.write("<p>a page</p>\n" * 900)
    with open(os.path.join(folder, "conf"), "w") as f:
        f.write("daemon off; worker_processes 1; %s pid %s/pid; error_log %s/log;\nevents { worker_connections 64; }\n"
                "http { access_log off; client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f;\n"
                "uwsgi_temp_path %s/u; scgi_temp_path %s/s; gzip on; gzip_types *;\n"
                "server { listen 127.0.0.1:%d; root %s; location /list/ { alias %s/; autoindex on; } } }\n"
                % (("user nobody nogroup;" if os.getuid() == 0 else "",) + (folder,) * 7 + (port, folder, folder)))

    def talk(file):
        for path in (b"page.html", b"missing", b"list/", b"page.html") * 5:
            file.write(b"GET /%s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n%s\r\n\r\n" % (path, b"X-Pad: y"))
        file.write(b"GET /page.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        file.flush()
        file.read()

    return Server(["nginx", "-c", os.path.join(folder, "conf"), "-e", os.path.join(folder, "log")], env, port, talk, True)


def memcached(env, folder):
    port = free_port()

    def talk(file):
        for n in range(500):
            body = b"x" * (n * 7 % 3000 + 1)
            file.write(b"set key%d 0 0 %d\r\n%s\r\nget key%d\r\n" % (n, len(body), body, n))
            if n % 50 == 49:
                file.write(b"verbosity 0\r\n")
                file.flush()
                while file.readline() != b"OK\r\n":
                    pass

    return Server(["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64"]
                  + (["-u", "nobody"] if os.getuid() == 0 else []), env, port, talk)


def redis(env, folder):
    port = free_port()

    def talk(file):
        for n in range(500):
            file.write(b"SET key%d %s\r\nGET key%d\r\nHSET hash f%d v\r\nLPUSH list %d\r\nLTRIM list 0 99\r\n"
                       % (n, b"v" * (n % 200 + 1), n, n % 100, n))
        file.write(b"PING\r\n")
        file.flush()
        while file.readline() != b"+PONG\r\n":
            pass

    return Server(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder], env, port, talk)


def gcc(env, folder):
    """cc1 lives for one file: the same file five times, a snapshot at each end."""
    source, files = os.path.join(folder, "a.c"), []
    with open(source, "w") as f:
        f.write("#include <stdio.h>\n" + "".join(
            "int f%d(int n) { int s = 0; for (int i = 0; i < n; i++) s += i * %d; return s; }\n" % (n, n) for n in range(200)))
    for number in range(SNAPSHOTS):
        at = os.path.join(folder, "%d" % number)
        os.mkdir(at)
        done = run(["gcc", "-O1", "-S", "-o", "/dev/null", source], env=dict(env, LEAKDIFF_DIR=at, LEAKDIFF_AT_EXIT="1"))
        found = [f for f in sorted(os.listdir(at)) if f.startswith("cc1") and f.endswith(".snap")]
        if done.returncode or not found:
            raise OSError("cc1 left no snapshot: %s %s" % (done.stderr[-300:], sorted(os.listdir(at))))
        files.append(os.path.join(at, found[0]))
    return files


PROGRAMS = {"git": git, "sqlite3": sqlite3, "gcc": gcc, "nginx": nginx, "memcached": memcached, "redis": redis,
            "python3": python3}
SHORT = ["redis"]			# what the regular suite has time for
NEEDS = {"redis": "redis-server"}


def snapshots_of(program, folder, seconds):
    pid, files, trouble, ended = getattr(program, "pid", program.process.pid), [], [], threading.Event()

    def again():
        try:
            while not ended.is_set():
                program.round()
        except OSError as e:
            trouble.append(e)

    for _ in range(3):			# every key is there, every buffer has its size
        program.round()
    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    time.sleep(min(seconds, 1))
    for number in range(SNAPSHOTS):
        if number:
            time.sleep(seconds)
        path = os.path.join(folder, "%d.snap" % number)
        snap = leakdiff("snap", pid, "-o", path)
        if snap.returncode:
            raise OSError(snap.stderr.strip())
        files.append(path)
    ended.set()
    thread.join(30)
    if trouble:
        raise trouble[0]
    return files


def read_text(name, text):
    """What is the same for several snapshots, or several frames, is said once."""
    notes = [line.split(": ", 1)[1] for line in text.splitlines() if re.match(r"\d\.snap", line)]
    expect(len(notes) == len(set(notes)), "%s: a note that snapshots share stands once: %s" % (name, notes))
    expect(not re.search(r"\(([\w.-]+)\) < [\w:~]+ \(\1\)", text), "%s: frames repeat their module: %s" % (name, text))


def under_load(name, seconds):
    """(suspects, exit status, snapshots), or None where the program is not installed."""
    if not shutil.which(NEEDS.get(name, name), path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return None
    folder = scratch(name)
    program = PROGRAMS[name](shim_environment(folder), folder)
    files = program if isinstance(program, list) else snapshots_of(program, folder, seconds)
    if not isinstance(program, list):
        stop(program.process)
    answer = leakdiff(*files, "--json")
    read_text(name, leakdiff(*files).stdout)
    return json.loads(answer.stdout)["suspects"], answer.returncode, len(files)
