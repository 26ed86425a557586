# SPDX-License-Identifier: Apache-2.0
"""redis-server under the shim, driven by redis-benchmark and by a client that knows every answer;
it also saves its data set from a forked child while snapshots are taken."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

need("redis-server", "redis-benchmark")
KEYS = 4000


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def read(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return line

    def __call__(self, *words):
        self.send(*words)
        return self.read()


def value_of(key):
    return (b"value of %d " % key) * (1 + key % 40)


def data_round(client):
    """Write, overwrite, delete, read back; everything that came back, as one list."""
    answers = []
    for key in range(KEYS):
        client.send("SET", "known:%d" % key, value_of(key))
        client.send("RPUSH", "list:%d" % (key % 50), key)
        client.send("HSET", "hash:%d" % (key % 50), "f%d" % key, value_of(key % 7))
    answers += [client.read() for _ in range(3 * KEYS)]
    for key in range(0, KEYS, 3):
        answers.append(client("DEL", "known:%d" % key))
    for key in range(KEYS):
        client.send("GET", "known:%d" % key)
    answers += [client.read() for _ in range(KEYS)]
    for key in range(50):
        answers.append(client("LRANGE", "list:%d" % key, 0, -1))
        answers.append(client("HLEN", "hash:%d" % key))
        answers.append(client("DEL", "list:%d" % key, "hash:%d" % key))
    return answers


def server(env, folder):
    port = free_port()
    process = start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder,
                     "--daemonize", "no", "--enable-debug-command", "yes"], env=env, cwd=folder, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=open(os.path.join(folder, "stderr"), "wb"))
    if not wait_for_port(port, process):
        expect(False, "redis-server did not listen (status %s)" % process.poll())
        finish()
    return process, port


def load(port):
    done = run(["redis-benchmark", "-p", str(port), "-n", "60000", "-c", "20", "-d", "300", "-r", "20000",
                "-t", "set,get,incr,lpush,lpop,sadd,hset,lrange_100", "--csv"], 120, env=clean_environment())
    rows = done.stdout.strip().splitlines()
    return done.returncode, len(rows), [row for row in rows + done.stderr.splitlines() if "rror" in row]


def finale(process, port):
    """BGSAVE (a fork), a digest of what is left after FLUSHALL and a last round, then SHUTDOWN."""
    client = Client(port)
    client("FLUSHALL")
    data_round(client)
    client("BGSAVE")
    wait_until(lambda: b"rdb_bgsave_in_progress:0" in client("INFO", "persistence"), 30, 0.05)
    saved = b"rdb_last_bgsave_status:ok" in client("INFO", "persistence")
    digest = client("DEBUG", "DIGEST")
    client.send("SHUTDOWN", "NOSAVE")
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        pass
    return saved, digest, process.poll()


folder = scratch("redis")
process, port = server(clean_environment(), folder)
answers = data_round(Client(port))
plain_load = load(port)
plain_end = finale(process, port)
expect(plain_load[0] == 0 and not plain_load[2], "redis-benchmark without the shim: %s" % (plain_load,))
expect(plain_end[0] and plain_end[2] == 0, "redis-server without the shim: %s" % (plain_end,))

captures, folder = scratch("ld"), scratch("redis")
process, port = server(shim_environment(captures), folder)
expect(captured_processes(captures) == [process.pid], "redis-server should be the one captured process, found %s"
       % captured_processes(captures))


def work():
    got = load(port)
    expect(got == plain_load, "redis-benchmark: %s without the shim, %s with it" % (plain_load, got))
    with_shim = data_round(Client(port))
    wrong = sum(1 for a, b in zip(with_shim, answers) if a != b)
    expect(with_shim == answers, "redis-server: %d of %d answers differ under the shim" % (wrong, len(answers)))


while_snapping("redis-server", work, captures)
end = finale(process, port)
expect(end == plain_end, "redis-server: BGSAVE, digest and exit status %s without the shim, %s with it" % (plain_end, end))
with open(os.path.join(folder, "stderr")) as f:
    silent_about_itself("redis-server", f.read())
finish()
