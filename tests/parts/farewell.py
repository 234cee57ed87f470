"""A relay in front of a real PostgreSQL that tells its clients, as a server does that ends a session.

A client that asks between the server's last word and the end of the connection is told by its driver about
the driver's own state: a moment that is too short to be met by a test, and long enough to be met at night.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

# The message that ends a session, as the server sends it: severity, SQLSTATE and a sentence.
_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
_FATAL = b"E" + (len(_FIELDS) + 4).to_bytes(4, "big") + _FIELDS


@dataclass
class Relay:
    """Who came through it so far, at which port."""

    port: int = 0
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    async def bid_farewell(self) -> None:
        """Tell every client that its session is over, and hang up on nobody."""
        for client in self.clients:
            client.write(_FATAL)
            await client.drain()
        self.clients.clear()
        # The drivers of this process read it before they are used again.
        await asyncio.sleep(0.05)


@asynccontextmanager
async def relay(port: int) -> AsyncIterator[Relay]:
    """In front of the server at this port of this machine."""
    relayed, connections = Relay(), set[asyncio.Task[None]]()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while found := await reader.read(65536):
                writer.write(found)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relayed.clients.append(writer)
        behind, before = await asyncio.open_connection("127.0.0.1", port)
        for one in (passed(reader, before), passed(behind, writer)):
            connections.add(task := asyncio.create_task(one))
            task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    relayed.port = server.sockets[0].getsockname()[1]
    try:
        yield relayed
    finally:
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for client in relayed.clients:
            client.close()
