# SPDX-License-Identifier: Apache-2.0
"""A service that switches the cyclic collector off "for latency" and makes a cycle for each upload.

leakdiff must say: unreachable, in a cycle, and that the collector is off. One line in, one line out: "SIZE\n"
uploads as many bytes. Prints "listening on PORT", ends on SIGTERM with status 0.
"""
import gc
import os
import signal
import socketserver
import sys


class Session:
    def __init__(self, body):
        self.body = body
        self.callbacks = [self.close]		# a bound method: the cycle

    def close(self):
        self.body = None


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            Session(os.urandom(int(line)))
            self.wfile.write(b"ok\n")


gc.disable()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
    server.daemon_threads = True
    print("listening on %d" % server.server_address[1], flush=True)
    sys.exit(server.serve_forever())
