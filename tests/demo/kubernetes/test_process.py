"""The small API server as a process of its own: says where it listens, keeps its record, goes when told."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from receiver.demo.kubernetes import JsonObject

Manifest = Callable[..., JsonObject]
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/api"
QUOTAS = "/api/v1/namespaces/shop/resourcequotas/team"
QUOTA: JsonObject = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "team", "namespace": "shop"},
    "spec": {"hard": {"pods": "9"}},
}


@pytest.fixture
async def process(tmp_path: Path, manifest: Manifest) -> AsyncIterator[asyncio.subprocess.Process]:
    documents = [manifest("v1"), manifest("v2-bad"), QUOTA]
    text = "\n---\n".join(json.dumps(document) for document in documents)
    (tmp_path / "manifests.yaml").write_text(text)
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "receiver.demo.kubernetes",
        "--manifests",
        str(tmp_path / "manifests.yaml"),
        "--calls",
        str(tmp_path / "calls.jsonl"),
        stdout=asyncio.subprocess.PIPE,
    )
    yield started
    if started.returncode is None:
        started.kill()
        await started.wait()


async def url_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    return (await asyncio.wait_for(process.stdout.readline(), timeout=20)).decode().strip()


async def test_it_serves_its_manifests_keeps_its_record_and_stops(
    process: asyncio.subprocess.Process, tmp_path: Path
) -> None:
    url = await url_of(process)
    headers = {"Content-Type": "application/merge-patch+json"}
    async with aiohttp.ClientSession() as session:
        async with session.get(url + DEPLOYMENT) as answer:
            found = await answer.json()
            assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        async with session.get(url + QUOTAS) as answer:
            older = await answer.json()
            assert older["metadata"]["creationTimestamp"] < found["metadata"]["creationTimestamp"]
        body = json.dumps({"spec": {"replicas": 5}})
        await session.post(f"{url}/_stanch/faults", json={"kind": "lose-answer"})
        with pytest.raises(aiohttp.ClientError):
            await session.patch(url + DEPLOYMENT, data=body, headers=headers)
        # The record is on disk while the process runs, and the same over HTTP.
        written = (tmp_path / "calls.jsonl").read_text().splitlines()
        lines: list[Any] = [json.loads(line) for line in written]
        assert [line["applied"] and line["applied"]["name"] for line in lines] == [None, None, "api"]
        async with session.get(f"{url}/_stanch/calls") as answer:
            assert await answer.json() == lines
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), timeout=10) == 0
