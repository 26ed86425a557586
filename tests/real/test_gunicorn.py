# SPDX-License-Identifier: Apache-2.0
"""gunicorn's prefork servers under the library: each worker can be snapshotted, whether it was forked before or after
the application was loaded, after a reload, and in a killed one's place; no request fails meanwhile; and two snapshots
of a worker name its leak."""
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

PYTHON = "/usr/bin/python3"
HERE = os.path.dirname(os.path.abspath(__file__))
SIZE, COUNT = 100000, 20
if run([PYTHON, "-c", "import gunicorn"], env=clean_environment()).returncode:
    skip("gunicorn is not installed (python3-gunicorn)")


def request(port, method, path, body=b""):
    """(status, words of the answer)"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().split()
    finally:
        connection.close()


class Clients:
    """Some that ask all the time, until stopped; what failed is kept."""

    def __init__(self, port, count=3):
        self.port, self.done, self.bad = port, 0, []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, n):
        body = b"x" * (2000 * n)
        while not self._end.is_set():
            try:
                status, words = request(self.port, "POST", "/slow" if n == 0 else "/", body)
                if status != 200 or words[1:] != [str(len(body))]:
                    self.bad.append((status, words))
            except OSError as e:
                self.bad.append(repr(e))
            except http.client.HTTPException as e:
                self.bad.append(repr(e))
            self.done += 1
            time.sleep(0.01)

    def stop(self, what):
        self._end.set()
        for thread in self._threads:
            thread.join()
        expect(self.done >= 10 and not self.bad, "%s: no request fails, of %d: %s" % (what, self.done, self.bad[:3]))


class Server:
    def __init__(self, what, arguments, **environment):
        self.what, self.folder, self.port, self.taken = what, scratch("gunicorn"), free_port(), 0
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = start([PYTHON, "-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:%d" % self.port, "--graceful-timeout",
                              "20", *arguments, "gunicorn_app:application"], cwd=HERE, stdout=self.log, stderr=self.log,
                             env=shim_environment(self.folder, PYTHONDONTWRITEBYTECODE="1", **environment))
        expect(wait_for_port(self.port, self.process, 40), "%s: it listens" % what)
        self.workers = self.living()
        expect(len(self.workers) == 2, "%s: two workers: %s" % (what, self.workers))

    def living(self, without=()):
        """Two workers, none of them one of those, that answer."""
        now = []

        def there():
            now[:] = [pid for pid in children_of(self.process.pid) if pid not in without and
                      os.path.exists(os.path.join(self.folder, "%d.sock" % pid))]
            return len(now) == 2 and len(children_of(self.process.pid)) == 2

        wait_until(there, 40)
        wait_until(lambda: {int(request(self.port, "GET", "/slow")[1][0]) for _ in range(4)} & set(now) != set(), 40)
        return sorted(now)

    def snap(self):
        """Snapshots of all, by process."""
        self.taken += 1
        out = os.path.join(self.folder, "out%d" % self.taken)
        os.mkdir(out)
        done = leakdiff("snap", self.process.pid, "--children", "-o", out)
        files = {int(path.rsplit(".", 3)[1]): path for path in done.stdout.split()}
        expect(done.returncode == 0 and sorted(files) == sorted([self.process.pid] + self.workers),
               "%s: the master and both workers are snapshotted: %s of %s: %s" % (
                   self.what, sorted(files), self.workers, done.stderr))
        return files

    def keep(self, pid, count):
        """Requests until one worker has kept `count` bodies more."""
        kept, until = 0, time.monotonic() + 60
        while kept < count and time.monotonic() < until:
            status, words = request(self.port, "POST", "/keep", b"k" * SIZE)
            expect(status == 200 and words[1:] == [str(SIZE)], "%s: a body is taken: %s %s" % (self.what, status, words))
            kept += words[0] == str(pid)
        expect(kept == count, "%s: worker %d has kept %d bodies" % (self.what, pid, kept))

    def end(self):
        status = stop(self.process, 30)
        self.log.seek(0)
        silent_about_itself(self.what, self.log.read())
        self.log.close()
        expect(status == 0, "%s: it ends with 0, not %s" % (self.what, status))


def leak_of_worker(server, first, second):
    pid = server.workers[0]
    answer = leakdiff(first[pid], second[pid], "--json")
    expect(answer.returncode == 1, "%s: growth is found: %s %s" % (server.what, answer.returncode, answer.stderr))
    answer = json.loads(answer.stdout)
    found = [s for s in answer["suspects"] if s["type"] == "bytes" and s["count"] >= COUNT]
    if not expect(found and answer["suspects"][0] is found[0], "%s: the bodies are the first suspect: %s" % (
            server.what, [(s["type"], s["count"]) for s in answer["suspects"]])):
        return
    suspect = found[0]
    # the three clients go on asking: what the worker has read of their requests is bytes too
    expect(COUNT <= suspect["count"] <= COUNT + 12 and COUNT * SIZE <= suspect["bytes"] < (COUNT + 1) * SIZE,
           "%s: all of them: %s" % (server.what, (suspect["count"], suspect["bytes"])))
    expect(suspect["holder"]["kind"] == "python-module" and suspect["holder"]["name"] == "gunicorn_app.kept",
           "%s: held by the application's list: %s" % (server.what, suspect["holder"]))
    with open(os.path.join(HERE, "gunicorn_app.py")) as source:
        line = [n for n, text in enumerate(source, 1) if "the line that leaks" in text][0]
    tops = {(site["stack"][0]["function"], site["stack"][0]["line"]) for site in suspect["sites"] if site["stack"]}
    expect(tops == {("keep", line)}, "%s: allocated in keep(), line %d: %s" % (server.what, line, tops))
    for path in second.values():
        check = leakdiff("check", path)
        expect(check.returncode == 0, "%s: each snapshot is whole: %s" % (server.what, check.stdout))


def serve(what, arguments, mode):
    server = Server(what, arguments, LEAKDIFF_PYTHON=mode)
    server.keep(server.workers[0], 3)
    clients = Clients(server.port)
    first = server.snap()
    server.keep(server.workers[0], COUNT)
    second = server.snap()
    clients.stop(what)
    leak_of_worker(server, first, second)
    # a reload: new workers, and no request lost
    clients = Clients(server.port)
    old = server.workers
    server.process.send_signal(signal.SIGHUP)
    server.workers = server.living(without=old)
    server.snap()
    clients.stop(what + ", reloaded")
    # a worker is killed, another takes its place
    killed = server.workers[0]
    os.kill(killed, signal.SIGKILL)
    server.workers = server.living(without=[killed])
    expect(len(server.workers) == 2 and killed not in server.workers, "%s: a worker in its place: %s" % (what, server.workers))
    clients = Clients(server.port)
    first = server.snap()
    server.keep(server.workers[0], COUNT)
    second = server.snap()
    clients.stop(what + ", after a worker was killed")
    leak_of_worker(server, first, second)
    server.end()
    print("%s: %d snapshots of three processes each" % (what, server.taken), flush=True)


CASES = (("sync", [], "auto"), ("sync --preload", ["--preload"], "stacks"), ("gthread", ["-k", "gthread", "--threads", "4"], "stacks"),
         ("gthread --preload", ["-k", "gthread", "--threads", "4", "--preload"], "auto"))
for case in CASES:
    if not sys.argv[1:] or case[0] in sys.argv[1:]:
        serve(*case)
finish()
