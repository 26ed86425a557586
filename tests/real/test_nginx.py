# SPDX-License-Identifier: Apache-2.0
"""nginx under the shim: a master and two workers (which drop root when there is any to drop) serve
files under ab's load; every answer is 200 and has the bytes that it has without the shim."""
import hashlib
import re
import urllib.request
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

need("nginx", "ab")
FILES = {"small.html": b"<p>hello</p>\n" * 4, "page.html": b"<p>a page</p>\n" * 900, "large.bin": bytes(range(256)) * 3000}


def server(env, name):
    folder = scratch(name)
    os.chmod(folder, 0o755)
    for file, content in FILES.items():
        with open(os.path.join(folder, file), "wb") as f:
            f.write(content)
    port = free_port()
    with open(os.path.join(folder, "nginx.conf"), "w") as f:
        f.write("""
%(user)s
daemon off; master_process on; worker_processes 2; pid %(folder)s/pid; error_log %(folder)s/error.log warn;
events { worker_connections 256; }
http {
	access_log off; client_body_temp_path %(folder)s/body; proxy_temp_path %(folder)s/proxy;
	fastcgi_temp_path %(folder)s/f; uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
	types { text/html html; } gzip on; gzip_min_length 100;
	server { listen 127.0.0.1:%(port)d; root %(folder)s; location /list/ { alias %(folder)s/; autoindex on; } }
}
""" % {"user": "user nobody nogroup;" if os.getuid() == 0 else "", "folder": folder, "port": port})
    process = start(["nginx", "-c", os.path.join(folder, "nginx.conf"), "-e", os.path.join(folder, "error.log")],
                    env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=open(os.path.join(folder, "stderr"), "wb"))
    if not wait_for_port(port, process):
        with open(os.path.join(folder, "stderr")) as f:
            expect(False, "nginx did not listen (status %s): %s" % (process.poll(), f.read()[-300:]))
        finish()
    return process, port, folder


def fetch(port):
    """Status and digest of each file, plain and compressed; a 404; a directory listing's names."""
    result = []
    for path in list(FILES) + ["missing", "list/"]:
        for encoding in ("identity", "gzip"):
            request = urllib.request.Request("http://127.0.0.1:%d/%s" % (port, path), headers={"Accept-Encoding": encoding})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    body, status = answer.read(), answer.status
            except urllib.error.HTTPError as error:
                body, status = error.read(), error.code
            if path == "list/":
                body = b"".join(sorted(re.findall(rb'href="([a-z]+\.html)"', body)))
                if encoding == "gzip":
                    continue
            result.append((path, encoding, status, hashlib.sha256(body).hexdigest()))
    return result


def load(port):
    """ab's own count of what went wrong: it compares every answer's length with the first one's."""
    result = []
    for path, requests in (("small.html", 20000), ("page.html", 8000), ("large.bin", 800)):
        done = run(["ab", "-q", "-k", "-n", str(requests), "-c", "16", "http://127.0.0.1:%d/%s" % (port, path)],
                   90, env=clean_environment())
        lines = [re.sub(r"\s+", " ", line) for line in done.stdout.splitlines()
                 if line.startswith(("Complete requests", "Failed requests", "Non-2xx", "Document Length"))]
        result.append((path, done.returncode, lines, done.stderr[-200:] if done.returncode else ""))
    return result


def end(process):
    master = process.pid
    workers = children_of(master)
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        pass
    return process.poll(), len(workers)


process, port, folder = server(clean_environment(), "nginx")
plain, plain_load, plain_end = fetch(port), load(port), end(process)
expect(plain_end == (0, 2), "nginx without the shim: status and workers %s" % (plain_end,))

captures = scratch("ld")
process, port, folder = server(shim_environment(captures), "nginx")
wait_until(lambda: len(captured_processes(captures)) == 3, 5)
expect(len(captured_processes(captures)) == 3, "nginx: a master and two workers should be captured, found %s"
       % captured_processes(captures))


def work():
    got = fetch(port)
    expect(got == plain, "nginx: answers differ: %s" % [(a[:3], b[:3]) for a, b in zip(plain, got) if a != b][:3])
    counts = load(port)
    expect(counts == plain_load, "ab: %s without the shim, %s with it" % (plain_load, counts))


while_snapping("nginx", work, captures)
got = end(process)
expect(got == plain_end, "nginx: status and workers at the end %s without the shim, %s with it" % (plain_end, got))
with open(os.path.join(folder, "stderr")) as f:
    silent_about_itself("nginx", f.read())
with open(os.path.join(folder, "error.log")) as f:
    silent_about_itself("nginx's error log", f.read())
finish()
