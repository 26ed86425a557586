# SPDX-License-Identifier: Apache-2.0
"""memcached under the shim: four client threads store, replace, count, append and read; every answer
is the one that memcached gives without the shim."""
import hashlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

need("memcached")
CLIENTS, KEYS = 4, 3000


def server(env):
    port = free_port()
    error = os.path.join(scratch("memcached"), "stderr")
    process = start(["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4", "-m", "256"]
                    + (["-u", "nobody"] if os.getuid() == 0 else []), env=env, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=open(error, "wb"))
    if not wait_for_port(port, process):
        with open(error) as f:
            expect(False, "memcached did not listen (status %s): %s" % (process.poll(), f.read()[-300:]))
        finish()
    return process, port, error


def client(port, number, results):
    """One connection's conversation, pipelined; the digest of everything that memcached said."""
    digest = hashlib.sha256()
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        file = s.makefile("rwb")
        for key in range(KEYS):
            body = (b"%d:%d;" % (number, key)) * (1 + key * 7 % 400)
            name = b"c%d:%d" % (number, key % 2000)
            file.write(b"set %s %d 0 %d\r\n%s\r\n" % (name, key % 9, len(body), body))
            file.write(b"append %s 0 0 4\r\ntail\r\n" % name)
            file.write(b"get %s\r\n" % name)
            if key % 5 == 0:
                file.write(b"delete %s\r\nget %s\r\n" % (name, name))
            file.write(b"set n%d 0 0 1\r\n7\r\nincr n%d %d\r\n" % (number, number, key))
            if key % 100 == 99:
                file.write(b"verbosity 0\r\n")
                file.flush()
                while True:
                    line = file.readline()
                    if not line:
                        raise ConnectionError("memcached closed the connection")
                    if line == b"OK\r\n":
                        break
                    digest.update(line)
                    if line.startswith(b"VALUE"):
                        digest.update(file.read(int(line.split()[3]) + 2))
    results[number] = digest.hexdigest()


def load(port):
    results = [None] * CLIENTS
    threads = [threading.Thread(target=client, args=(port, n, results), daemon=True) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


process, port, _ = server(clean_environment())
plain = load(port)
plain_status = stop(process)
expect(None not in plain, "memcached without the shim: a client failed: %s" % plain)

captures = scratch("ld")
process, port, error = server(shim_environment(captures))
expect(captured_processes(captures) == [process.pid], "memcached should be the one captured process, found %s"
       % captured_processes(captures))


def work():
    for _ in range(3):
        got = load(port)
        expect(got == plain, "memcached: clients' digests %s without the shim, %s with it" % (plain, got))


while_snapping("memcached", work, captures)
status = stop(process)
expect(status == plain_status, "memcached: exit status on SIGTERM %s without the shim, %s with it" % (plain_status, status))
with open(error) as f:
    silent_about_itself("memcached", f.read())
finish()
