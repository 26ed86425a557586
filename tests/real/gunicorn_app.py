# SPDX-License-Identifier: Apache-2.0
"""An application for test_gunicorn.py: each worker says who it is, and POST to /keep keeps the body."""
import os
import time

kept = []
cache = {n: "entry %d" % n for n in range(20000)}	# with --preload it is shared with the master


def keep(body):
    kept.append(bytes(bytearray(body)))	# the line that leaks


def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    if environ["PATH_INFO"] == "/keep":
        keep(body)
    elif environ["PATH_INFO"] == "/slow":
        time.sleep(0.05)
    text = ("%d %d\n" % (os.getpid(), len(body))).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]
