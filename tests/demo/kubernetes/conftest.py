"""A small cluster on a clock that stands still, and somebody to talk to it over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from receiver.demo.kubernetes import ApiServer, JsonObject, SteppedClock

Manifest = Callable[..., JsonObject]


class Client:
    """Sends one request and hands back status and body."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self.session = session

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        async with self.session.request(
            method,
            self._url + path,
            json=body,
            headers={"Content-Type": content_type, **(headers or {})},
        ) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, await answer.text()

    async def patch(self, path: str, body: Any) -> tuple[int, Any]:
        """A list is a JSON patch, a map a merge patch."""
        kind = "json-patch" if isinstance(body, list) else "merge-patch"
        return await self("PATCH", path, body, content_type=f"application/{kind}+json")


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def api(clock: SteppedClock) -> AsyncIterator[ApiServer]:
    async with ApiServer(clock=clock) as server:
        yield server


@pytest.fixture
async def client(api: ApiServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(api.url, session)


@pytest.fixture
def manifest() -> Manifest:
    """Build a Deployment `shop/api` of three with a sidecar, by the tag of its image."""

    def build(tag: str = "v1", **spec: Any) -> JsonObject:
        labels = {"app": "api"}
        containers = [
            {"name": "api", "image": f"shop/api:{tag}", "env": [{"name": "MODE", "value": "a"}]},
            {"name": "sidecar", "image": "proxy:1"},
        ]
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "api", "namespace": "shop", "labels": dict(labels)},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": dict(labels)},
                "template": {"metadata": {"labels": dict(labels)}, "spec": {"containers": containers}},
                **spec,
            },
        }

    return build
