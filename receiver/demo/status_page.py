"""The status pages of the demo's providers: both say that they are well, so that the cause is sought at home.

One server on loopback stands for both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from aiohttp import web
from ruamel.yaml import YAML

from receiver.domain.endpoints import EndpointKind

PROVIDERS = ("openai", "anthropic")
WELL: dict[str, Any] = {"status": {"indicator": "none", "description": "All Systems Operational"}}


class StatusPages:
    """``async with StatusPages() as pages``: answers every path alike."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._page)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def write_endpoints(self, path: Path) -> None:
        """The endpoints file that names them."""
        kind = EndpointKind.STATUS_PAGE.value
        pages = {
            name: {"kind": kind, "url": f"{self.url}/{name}/api/v2/status.json", "insecure": True}
            for name in PROVIDERS
        }
        YAML(typ="safe").dump(pages, path)

    async def _page(self, request: web.Request) -> web.Response:
        return web.json_response(WELL)
