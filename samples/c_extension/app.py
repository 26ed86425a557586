# SPDX-License-Identifier: Apache-2.0
"""A Python service whose C extension keeps what it is given: in a static array, in a queue on the heap, and
where nothing can find it.

KEEP, QUEUE and HIDE upload bytes of 100000, 60000 and 30000; PING drops what it made. One line in, one line out.
Prints "listening on PORT", ends on SIGTERM with status 0.

DRIVE before 5 KEEP {n}; QUEUE {n}; HIDE {n}
DRIVE between 20 KEEP {n}; QUEUE {n}; HIDE {n}
DRIVE during PING
DRIVE rest 2
EXPECT exit 1
EXPECT grow type=bytes new>=60 new<=62 row=1
EXPECT suspect verdict=growing type=bytes holder=kept kind=global count=20 bytes=2000660
EXPECT chain ~kept -> bytes
EXPECT suspect verdict=growing type=bytes holder=queue kind=global count=20 bytes=1200660
EXPECT chain ~queue -> struct entry \.object -> bytes
EXPECT suspect verdict=growing type=bytes kind=python-c count=20 bytes=600660 reason~held.from.C..20.references
EXPECT chain held.from.C -> bytes
EXPECT leaks none
"""
import os
import signal
import socketserver
import sys
import threading

import spool

REQUESTS = {"KEEP": (100000, spool.keep), "QUEUE": (60000, spool.enqueue), "HIDE": (30000, spool.hide),
            "PING": (5000, len)}
one_at_a_time = threading.Lock()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            size, use = REQUESTS[line.decode().split()[0]]
            with one_at_a_time:
                use(os.urandom(size))
            self.wfile.write(b"OK\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
with Server(("127.0.0.1", 0), Handler) as server:
    print("listening on %d" % server.server_address[1], flush=True)
    sys.exit(server.serve_forever())
