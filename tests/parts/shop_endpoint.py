"""The shop's own endpoint, which is warmed up for one patient after the other and counts for whom."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from endpoint_server import EndpointServer, endpoint_server

from receiver.domain.endpoints import EndpointKind

NAME = "shop-warm-up"
AGENT = "stanch-warm-up"


class Warmed:
    """How often each patient was warmed up; a part of a warm-up counts as one."""

    def __init__(self, server: EndpointServer, requests: int) -> None:
        self._server = server
        self._requests = requests
        self._came: Counter[str] = Counter()
        # Whoever is cared for now.
        self.caring_for = ""
        server.each = self._count

    def _count(self) -> None:
        _, headers = self._server.asked[-1]
        if headers.get("User-Agent") == AGENT:
            self._came[self.caring_for] += 1

    @property
    def told(self) -> Counter[str]:
        """By patient."""
        return Counter({app: math.ceil(came / self._requests) for app, came in self._came.items()})

    def settings(self, path: Path) -> dict[str, str]:
        """The service's: an endpoints file that names it."""
        endpoint = {"kind": EndpointKind.WARM_UP.value, "url": f"{self._server.url}/", "insecure": True}
        path.write_text(json.dumps({NAME: endpoint}), encoding="utf-8")
        return {"STANCH_ENDPOINTS_FILE": str(path)}


@asynccontextmanager
async def shop_endpoint(requests: int) -> AsyncIterator[Warmed]:
    """It answers well."""
    async with endpoint_server() as server:
        yield Warmed(server, requests)
