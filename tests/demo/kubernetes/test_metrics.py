"""The metrics API of the small cluster: absent as in a bare cluster, and told by whoever arranges it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from receiver.demo.kubernetes import ApiServer, SteppedClock

METRICS = "/apis/metrics.k8s.io/v1beta1"


def pod(name: str, **labels: str) -> dict[str, Any]:
    containers = [{"name": "api", "image": "a"}, {"name": "proxy", "image": "b"}]
    metadata = {"name": name, "namespace": "shop", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


async def get(api: ApiServer, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{api.url}{METRICS}{path}") as response:
        known = response.content_type == "application/json"
        return response.status, await response.json() if known else await response.text()


async def test_nobody_has_installed_it_at_first() -> None:
    async with ApiServer(clock=SteppedClock(), automatic=False) as api:
        assert await get(api, "/nodes") == (404, "404 page not found\n")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/namespaces/shop/pods", ["a", "b"]),
        ("/namespaces/other/pods", []),
        ("/pods?labelSelector=app%3Dx", ["a"]),
        ("/nodes", ["node-1"]),
    ],
)
async def test_what_is_measured_is_listed_and_the_rest_is_not(path: str, names: list[str]) -> None:
    async with ApiServer(clock=SteppedClock(), automatic=False) as api:
        api.load([pod("a", app="x"), pod("b", app="y"), pod("just-started", app="x")])
        api.metrics.installed = True
        for name in ("a", "b"):
            api.metrics.by_pod["shop", name] = {"cpu": "5m", "memory": "1Mi"}
        api.metrics.by_node["node-1"] = {"cpu": "1", "memory": "1Gi"}
        status, found = await get(api, path)
        assert status == 200
        assert [item["metadata"]["name"] for item in found["items"]] == names


async def test_one_is_shown_by_its_containers() -> None:
    async with ApiServer(clock=SteppedClock(), automatic=False) as api:
        api.load([pod("a")])
        api.metrics.installed = True
        api.metrics.by_pod["shop", "a"] = {"cpu": "5m", "memory": "1Mi"}
        status, found = await get(api, "/namespaces/shop/pods/a")
        assert (status, found["kind"]) == (200, "PodMetrics")
        assert [each["usage"]["cpu"] for each in found["containers"]] == ["5m", "0"]
        assert (await get(api, "/nodes/node-0"))[0] == 404
        api.access.forbidden.add(("get", "nodes"))
        assert (await get(api, "/nodes/node-1"))[0] == 403
