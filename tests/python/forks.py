# SPDX-License-Identifier: Apache-2.0
"""A program that makes children in every way that Python knows: one command a line on stdin, an answer after each.

    fork N          N times os.fork() and os.forkpty(), with handlers that take their time
    subprocess N    children with pipes, with a handed-over descriptor, with a preexec_fn
    pool METHOD     multiprocessing: a pool, a queue, an exit status
    heap N          N small objects, so that a snapshot takes a while
    pair            a pair of sockets in a child's and our hands
    close           our end is closed; answers when the child has seen the end of the file
    worker METHOD   a child that stays: answers with its number. METHOD: fork (os.fork), or one of multiprocessing
    work N          N small objects more in each such child
    report          JSON: warnings, SIGCHLDs, children that were waited for
"""
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import time
import warnings

kept = []
workers = []
seen = {"warnings": [], "sigchld": 0, "children": 0}


class Small:
    def __init__(self, n):
        self.number = n


def note(message, category, filename, lineno, file=None, line=None):
    seen["warnings"].append("%s: %s" % (category.__name__, message))


def on_child(number, frame):
    seen["sigchld"] += 1


def after_fork():
    time.sleep(0.06)
    kept.append(bytearray(200000))
    kept.pop()


def ended(pid, status):
    seen["children"] += 1
    got, how = os.waitpid(pid, 0)
    assert got == pid and os.WEXITSTATUS(how) == status, (got, pid, how)
    try:
        assert os.waitpid(-1, os.WNOHANG)[0] == 0	# others of ours may run, none has ended
    except ChildProcessError:
        pass


def fork(count):
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os._exit(3)
        ended(pid, 3)
        pid, terminal = os.forkpty()
        if pid == 0:
            os._exit(4)
        ended(pid, 4)
        os.close(terminal)


def children(count):
    for _ in range(count):
        done = subprocess.run(["/bin/sh", "-c", "cat; echo error >&2; exit 7"], input=b"x" * 200000,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert (done.returncode, len(done.stdout), done.stderr) == (7, 200000, b"error\n"), done
        out, into = os.pipe()
        done = subprocess.run(["/bin/sh", "-c", "echo handed >&%d" % into], pass_fds=[into])
        os.close(into)
        assert os.read(out, 100) == b"handed\n" and os.read(out, 100) == b"" and done.returncode == 0
        os.close(out)
        done = subprocess.run(["/bin/sh", "-c", "exit $X"], env={"X": "5"}, preexec_fn=lambda: os.nice(1))
        assert done.returncode == 5
        seen["children"] += 3


def square(n):
    kept.append(Small(n))
    return n * n


def fill(queue):
    for n in range(100):
        queue.put("x" * n)
    sys.exit(9)


def pool(method):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as p:
        assert p.map(square, range(200)) == [n * n for n in range(200)]
    queue = context.Queue()
    process = context.Process(target=fill, args=(queue,))
    process.start()
    assert [len(queue.get(timeout=60)) for _ in range(100)] == list(range(100))
    process.join()
    assert process.exitcode == 9, process.exitcode


def pair():
    ours, theirs = socket.socketpair()
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.close(out)
        while theirs.recv(100):
            pass
        os.write(into, b"end of file\n")
        os._exit(0)
    theirs.close()
    os.close(into)
    return ours, out, pid


def serve(connection):
    while True:
        count = connection.recv()
        if not count:
            break
        kept.extend(Small(n) for n in range(count))	# the worker's line
        connection.send("ok")


def start_worker(method):
    if method == "fork":
        ours, theirs = multiprocessing.Pipe()
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                serve(theirs)
            finally:
                os._exit(0)
    else:
        context = multiprocessing.get_context(method[3:])
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), daemon=True)
        process.start()
        pid = process.pid
    theirs.close()
    workers.append(ours)
    return pid


def main():
    warnings.simplefilter("always")
    warnings.showwarning = note
    signal.signal(signal.SIGCHLD, on_child)
    os.register_at_fork(after_in_parent=after_fork)
    kept.extend(Small(n) for n in range(3000))	# the parent's line
    for line in sys.stdin:
        words, answer = line.split(), "ok"
        if words[0] == "fork":
            fork(int(words[1]))
        elif words[0] == "subprocess":
            children(int(words[1]))
        elif words[0] == "pool":
            pool(words[1])
        elif words[0] == "heap":
            kept.extend(Small(n) for n in range(int(words[1])))
        elif words[0] == "pair":
            ours, out, pid = pair()
        elif words[0] == "close":
            ours.close()
            answer = os.read(out, 100).decode().strip()
            os.close(out)
            ended(pid, 0)
        elif words[0] == "worker":
            answer = start_worker(words[1])
        elif words[0] == "work":
            for worker in workers:
                worker.send(int(words[1]))
            assert [worker.recv() for worker in workers] == ["ok"] * len(workers)
        elif words[0] == "report":
            answer = json.dumps(seen)
        print(answer, flush=True)
    for worker in workers:
        worker.send(0)


if __name__ == "__main__":
    main()
