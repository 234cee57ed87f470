"""Reads an answer to its end, up to a bound: one read alone returns only what has arrived."""

from __future__ import annotations

import aiohttp

from receiver.domain.errors import TemporaryError

CHUNK_BYTES = 256 * 1024


async def whole(content: aiohttp.StreamReader, *, most: int) -> bytes:
    """The whole body. Raises TemporaryError where it is larger than ``most`` bytes."""
    parts = bytearray()
    async for chunk in content.iter_chunked(CHUNK_BYTES):
        parts += chunk
        if len(parts) > most:
            raise TemporaryError(f"the answer is larger than {most} bytes")
    return bytes(parts)
