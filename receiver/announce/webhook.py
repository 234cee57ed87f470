"""One JSON POST for each message: Slack and its relatives read ``text``, programs read the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from receiver.domain.errors import PermanentError, TemporaryError

TIMEOUT_SECONDS = 10.0


class Webhook:
    """A generic incoming webhook. The outbox key is sent as ``Idempotency-Key``."""

    name = "webhook"

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    def wants(self, body: Mapping[str, Any]) -> bool:
        """Everything is posted."""
        return True

    async def send(self, body: Mapping[str, Any], *, key: str) -> None:
        """Deliver once more. Raises TemporaryError where trying again may help, else PermanentError."""
        await post(self._session, self._url, dict(body), key=key)


async def post(session: aiohttp.ClientSession, url: str, body: dict[str, Any], *, key: str) -> None:
    """POST JSON with an idempotency key. The address may hold a secret and is never named."""
    try:
        async with session.post(
            url,
            json=body,
            headers={"Idempotency-Key": key},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            allow_redirects=False,
        ) as response:
            status = response.status
            retry_after = response.headers.get("Retry-After", "")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise TemporaryError(f"cannot be reached: {type(error).__name__}") from error
    if status in (408, 425, 429) or status >= 500:
        wait = float(retry_after) if retry_after.isdigit() else 5.0
        raise TemporaryError(f"answered {status}", retry_after=min(wait, 900.0))
    if status >= 300:
        raise PermanentError(f"answered {status}")
