# SPDX-License-Identifier: Apache-2.0
"""A tornado service that keeps every upload: functools.lru_cache on a handler's method.

The cache's key is the tuple of the arguments, and the first of them is `self`: the handler of one request.
So every entry keeps a handler, its request and its 1 MiB body. With lru_cache() it stops at 128 requests
(a plateau of 128 MiB a worker), with lru_cache(maxsize=None) it never stops.

    PUT /NAME       stores nothing, answers the body's length
    GET /           how many requests were served

Listens on a free port, prints "listening on PORT", ends on SIGTERM with status 0. Nothing here knows of
leakdiff. CACHE=unbounded in the environment takes the second form, CACHE=none leaves the cache away.
"""
import functools
import os
import signal
import sys

import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.web

served = 0
caches = {"bounded": functools.lru_cache(), "unbounded": functools.lru_cache(maxsize=None),
          "none": lambda function: function}
remember = caches[os.environ.get("CACHE", "bounded")]


class ApiHandler(tornado.web.RequestHandler):
    def get(self, name):
        self.write("%d\n" % served)

    def put(self, name):
        global served
        served += 1
        self.set_header("X-Kind", self.header_for(name))
        self.write("%d\n" % len(self.request.body))

    @remember
    def header_for(self, name):
        return "upload of %s" % name


def main():
    application = tornado.web.Application([(r"/(.*)", ApiHandler)])
    server = tornado.httpserver.HTTPServer(application, max_buffer_size=1 << 26)
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    loop = tornado.ioloop.IOLoop.current()
    signal.signal(signal.SIGTERM, lambda *_: loop.add_callback_from_signal(loop.stop))
    print("listening on %d" % sockets[0].getsockname()[1], flush=True)
    loop.start()
    sys.exit(0)


if __name__ == "__main__":
    main()
