"""
A server that does nothing, to measure the generator: `python -m benchmarks.null_server SIZE`.

It counts bytes and answers once per SIZE of them. No parsing, no work: whatever a load reaches
here, it cannot exceed anywhere.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop

_BODY = b'{"received":1,"accepted":1,"duplicates":0,"conflicts":0,"rejected":0,"position":"0:1"}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class _Sink(asyncio.BufferedProtocol):
    def __init__(self, size: int, buffer: memoryview) -> None:
        self._size = size
        self._buffer = buffer
        self._seen = 0

    def connection_made(self, transport: Any) -> None:
        self._write = transport.write

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer  # one for all connections: nothing in it is ever read

    def buffer_updated(self, nbytes: int) -> None:
        self._seen += nbytes
        while self._seen >= self._size:
            self._seen -= self._size
            self._write(_ANSWER)


async def _serve(size: int) -> None:
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(1 << 20))
    server = await loop.create_server(lambda: _Sink(size, buffer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"null ready on http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
