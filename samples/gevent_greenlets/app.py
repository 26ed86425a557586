# SPDX-License-Identifier: Apache-2.0
"""A gevent service whose greenlets wait for an event that is never set, each with its upload in a local.

leakdiff must say: bytes grow, held by greenlets of the list __main__.waiting; `leakdiff threads` shows where
they stand. One line in, one line out: "SIZE\n" uploads as many bytes. Prints "listening on PORT", ends on
SIGTERM with status 0.
"""
import os
import signal

import gevent
import gevent.event
import gevent.server

waiting = []


def notify(body):
    gevent.event.Event().wait()
    return len(body)


def serve(connection, address):
    lines = connection.makefile("rb")
    for line in lines:
        waiting.append(gevent.spawn(notify, os.urandom(int(line))))
        gevent.sleep(0)
        connection.sendall(b"ok\n")


server = gevent.server.StreamServer(("127.0.0.1", 0), serve)
server.start()
gevent.signal_handler(signal.SIGTERM, lambda: os._exit(0))
print("listening on %d" % server.server_port, flush=True)
server.serve_forever()
