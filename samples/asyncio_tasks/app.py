# SPDX-License-Identifier: Apache-2.0
"""An asyncio service that starts a task for each upload and waits in it for an answer that never comes.

The tasks are kept in a module-level set, as asyncio's documentation advises; each holds its upload in a local
variable. leakdiff must say: bytes grow, held by tasks of the set __main__.background, and by the coroutine's
local `body`; `leakdiff threads` shows what the tasks await. One line in, one line out: "SIZE\n" uploads as
many bytes. Prints "listening on PORT", ends on SIGTERM with status 0.
"""
import asyncio
import os
import signal
import sys

background = set()


async def notify(body, answered):
    await answered.wait()
    return len(body)


async def serve(reader, writer):
    while line := await reader.readline():
        body = os.urandom(int(line))
        task = asyncio.create_task(notify(body, asyncio.Event()))
        background.add(task)
        task.add_done_callback(background.discard)
        del body, task
        writer.write(b"ok\n")
        await writer.drain()
    writer.close()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("listening on %d" % server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
