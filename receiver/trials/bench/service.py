"""What the measures have in common, and the service as people run it: `stanch serve` in its own process."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from ruamel.yaml import YAML

from receiver.trials.bench import patients
from receiver.trials.bench.children import READY_SECONDS, Child, free_port, module, started

SENDER_TOKEN = "token-of-alertmanager"  # noqa: S105 - of a service that lives for seconds, on loopback
API_TOKEN = "token-of-carol"  # noqa: S105


@dataclass
class Bench:
    """One run of the bench: where it may write, how thorough it is, and whom it tells how far it is."""

    folder: Path
    runs: int
    quick: bool
    say: Callable[[str], None]
    _made: int = field(default=0)

    def fresh(self, name: str) -> Path:
        """A new empty folder."""
        self._made += 1
        folder = self.folder / f"{self._made:03d}-{name}"
        folder.mkdir()
        return folder

    def seconds(self, usual: float, quick: float) -> float:
        """How long to keep up a load."""
        return quick if self.quick else usual


@dataclass(frozen=True)
class Outside:
    """Where the service's surroundings listen."""

    cluster: str
    prometheus: str


@dataclass(frozen=True)
class Served:
    """A process that takes webhooks, and how long its start took."""

    url: str
    child: Child
    folder: Path
    ready_seconds: float

    async def metrics(self, session: aiohttp.ClientSession) -> dict[str, float]:
        """Its metrics, by the name with labels as written."""
        async with session.get(f"{self.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    async def api(self, session: aiohttp.ClientSession, path: str) -> Any:
        """A document of its API."""
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        async with session.get(f"{self.url}/api/v1/{path}", headers=headers) as response:
            response.raise_for_status()
            return await response.json()


@asynccontextmanager
async def outside(bench: Bench, count: int) -> AsyncIterator[Outside]:
    """The demo world's API server and Prometheus with so many patients."""
    folder = bench.fresh("outside")
    async with started(module("outside", count), log=folder / "log") as child:
        found = await child.line()
        yield Outside(found["cluster"], found["prometheus"])


@asynccontextmanager
async def served(bench: Bench, world: Outside) -> AsyncIterator[Served]:
    """`stanch serve` over an SQLite file of its own, ready."""
    folder = bench.fresh("service")
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("STANCH_", "KUBE"))
    } | {
        "STANCH_LISTEN": f"127.0.0.1:{port}",
        "STANCH_STORE": f"sqlite:///{folder / 'stanch.sqlite3'}",
        "STANCH_PROMETHEUS_URL": world.prometheus,
        "STANCH_POLICIES": str(patients.write_policies(folder / "policies")),
        "STANCH_KUBE_CONTEXT": "bench",
        "STANCH_WEBHOOK_TOKEN_FILE": str(_tokens(folder)),
        "STANCH_API_TOKENS_FILE": str(_people(folder)),
        "STANCH_LOG_FORMAT": "json",
        "KUBECONFIG": str(_kubeconfig(folder, world.cluster)),
    }
    command = [sys.executable, "-m", "receiver.cli.main", "serve"]
    began = time.monotonic()
    async with started(command, log=folder / "log", environment=environment) as child:
        url = f"http://127.0.0.1:{port}"
        await _ready(url, child)
        yield Served(url, child, folder, time.monotonic() - began)


@asynccontextmanager
async def bare(bench: Bench) -> AsyncIterator[Served]:
    """The yardstick, ready."""
    folder = bench.fresh("bare")
    port = free_port()
    began = time.monotonic()
    async with started(module("bare", port, _tokens(folder)), log=folder / "log") as child:
        url = f"http://127.0.0.1:{port}"
        await _ready(url, child)
        yield Served(url, child, folder, time.monotonic() - began)


async def _ready(url: str, child: Child) -> None:
    deadline = time.monotonic() + READY_SECONDS
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline and child.running:
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.01)
    raise child.failure(f"{url} did not get ready")


def _tokens(folder: Path) -> Path:
    path = folder / "webhook-tokens"
    path.write_text(f"{SENDER_TOKEN}\n", encoding="utf-8")
    return path


def _people(folder: Path) -> Path:
    path = folder / "api-tokens.yaml"
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump([{"token": API_TOKEN, "name": "carol", "groups": ["oncall", "sre"]}], stream)
    return path


def _kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    }
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(document, stream)
    return path
