"""Kill -9 at every place and at random: nothing that was acknowledged is lost, nothing is written twice.

The cluster runs in a process of its own and makes trouble too: it delays, drops, loses answers and lands
requests late. A seeded sample runs with the suite; `make torture` runs the whole of it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from real_service import ClusterProcess, ServiceProcess
from shop import CURES, NAMESPACE, firing, ill_shop, manifests, names, write_policies

FAILING = Path(__file__).parent.parent / "parts" / "failing_service.py"
# Everything that happens to an approved plan ends in one of these.
DONE = {"executed", "watched", "verified", "still-sick", "inconclusive", "undo-asked", "already-so"}
NOT_DONE = {"void", "refused"}
WRITES = ("after Cluster.patch", "after Cluster.evict")
UNKNOWN = {"unknown-effect"}
TROUBLE = (
    {"kind": "lose-answer"},
    {"kind": "drop"},
    {"kind": "delay", "seconds": 0.4},
    {"kind": "answer-late", "seconds": 0.4},
    {"kind": "land-late", "seconds": 1.5},
    {"kind": "refuse", "status": 503},
    {"kind": "refuse", "status": 429},
)


@dataclass
class Arena:
    """The service under torture, its cluster, and what was acknowledged so far."""

    service: ServiceProcess
    cluster: ClusterProcess
    session: aiohttp.ClientSession
    cure: str = "deployment.rollback"
    acknowledged: set[str] = field(default_factory=set)
    killed: int = 0

    async def deliver(self, app: str) -> None:
        """Send until it is acknowledged, as Alertmanager does."""
        body = firing(app, pod=await self.a_pod_of(app) if self.cure == "pod.evict" else None)
        while app not in self.acknowledged:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                if await self.service.post_alerts(body, self.session) == 200:
                    self.acknowledged.add(app)
                    return
            await asyncio.sleep(0.1)

    async def a_pod_of(self, app: str) -> str:
        """The name of one of this patient's pods."""
        listed = await self.cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3D{app}")
        return str(listed["items"][0]["metadata"]["name"])

    async def approve_for_ever(self) -> None:
        """Say yes to everything that waits."""
        while True:
            for plan in await self.plans():
                if plan["state"] == "awaiting-approval":
                    with suppress(aiohttp.ClientError, TimeoutError, OSError):
                        body = {"reason": "torture", "digest": plan["digest"]}
                        await self.service.api("POST", f"plans/{plan['id']}/approve", body)
            await asyncio.sleep(0.1)

    async def plans(self) -> list[dict[str, Any]]:
        """Every plan; none while the service is away."""
        try:
            _, document = await self.service.api("GET", "plans?limit=200")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return []
        items: list[dict[str, Any]] = document.get("items", [])
        return items

    async def restart(self, environment: dict[str, str] | None = None) -> None:
        """Kill it, and start it again over the same store."""
        if self.service.running:
            self.service.kill()
        self.killed += 1
        await self.service.start(environment=environment)

    async def until_over(self, apps: set[str], *, within: float) -> dict[str, dict[str, Any]]:
        """Wait until each of these has a plan that ended; the newest plan of each."""
        end = time.monotonic() + within
        newest: dict[str, dict[str, Any]] = {}
        while time.monotonic() < end:
            newest = {}
            for plan in await self.plans():
                newest.setdefault(str(plan["target"]).rsplit("/", 1)[1], plan)
            over = DONE | NOT_DONE | UNKNOWN
            if all(app in newest and newest[app]["state"] in over for app in apps):
                return newest
            await asyncio.sleep(0.2)
        states = {app: newest.get(app, {}).get("state") for app in sorted(apps)}
        raise AssertionError(f"not over within {within} s: {states}\n{self.service.log_tail()}")

    def landed(self) -> Counter[str]:
        """How many writes of cures changed each Deployment (fences and dry runs are none)."""
        cures = [
            call
            for call in self.cluster.writes()
            if "/spec/" in str(call["body"]) or call["body"]["kind"] == "Eviction"
        ]
        return Counter(_patient(str(call["path"])) for call in cures if call["status"] in (200, 201))

    async def check(self, apps: set[str], newest: dict[str, dict[str, Any]]) -> None:
        """What must hold whatever happened."""
        assert {app: n for app, n in self.landed().items() if n > 1} == {}
        for app in apps:
            if newest[app]["state"] in DONE:
                assert self.landed()[app] == 1, f"{app} is {newest[app]['state']} without a write"
        _, document = await self.service.api("GET", "alerts?limit=200")
        assert self.acknowledged <= {item["labels"]["app"] for item in document["items"]}
        unknown = sorted(app for app in apps if newest[app]["state"] in UNKNOWN)
        assert unknown == [], "nobody else wrote, so nothing may be unknown"


def _patient(path: str) -> str:
    """The Deployment that a write is about: its own name, or the beginning of a pod's."""
    if path.endswith("/eviction"):
        return "-".join(path.split("/")[-2].split("-")[:2])
    return path.rsplit("/", 1)[1]


@asynccontextmanager
async def arena(
    folder: Path, url: str, *, apps: int, failing: bool = False, cure: str = "deployment.rollback"
) -> AsyncIterator[Arena]:
    """Everything in place, and nothing wrong yet but the shop itself."""
    policies = write_policies(folder / "policies", cure=cure)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        prometheus = await enter(ill_shop())
        cluster = await enter(ClusterProcess(folder, manifests(names(apps))))
        service = ServiceProcess(
            folder / "service",
            store=url,
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=policies,
            command=[sys.executable, str(FAILING), "serve"] if failing else None,
        )
        stack.push_async_callback(service.stop)
        timeout = aiohttp.ClientTimeout(total=5)
        session = await enter(aiohttp.ClientSession(timeout=timeout))
        found = Arena(service, cluster, session, cure)
        approving = asyncio.create_task(found.approve_for_ever())
        stack.callback(approving.cancel)
        yield found


async def die_at(found: Arena, app: str, place: int) -> None:
    """Let the service die at this place while it cares for this patient, and see it through afterwards."""
    await found.service.start(
        environment={"FAILPOINT_AT": str(place), "FAILPOINT_AFTER": f"after {_keeper(found)}.keep"}
    )
    delivering = asyncio.create_task(found.deliver(app))
    end = time.monotonic() + 8
    # Another process dies: there is nothing in this one to wait for.
    while found.service.running and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await found.restart()
    await delivering
    newest = await found.until_over({app}, within=40)
    await found.check({app}, newest)
    await found.service.stop()


def _keeper(found: Arena) -> str:
    store = found.service.settings["STANCH_STORE"]
    return "SqliteStore" if store.startswith("sqlite") else "PostgresStore"


async def count_places(found: Arena, app: str) -> int:
    """How many places one patient's care passes, found by running it once."""
    log = found.service.folder / "places"
    await found.service.start(
        environment={"FAILPOINT_LOG": str(log), "FAILPOINT_AFTER": f"after {_keeper(found)}.keep"}
    )
    await found.deliver(app)
    await found.until_over({app}, within=30)
    await found.service.stop()
    passed = log.read_text(encoding="utf-8").splitlines()
    sent = max(number for number, place in enumerate(passed) if place in WRITES)
    return sent + 12


async def places(
    folder: Path, url: str, *, sample: int | None, seed: int, cure: str = "deployment.rollback"
) -> None:
    """Die at each place, or at a seeded sample of them."""
    apps = sample + 1 if sample is not None else 200
    async with arena(folder, url, apps=apps, failing=True, cure=cure) as found:
        total = await count_places(found, "api-0")
        assert total >= 60
        chosen = list(range(1, total + 1))
        if sample is not None:
            chosen = sorted(random.Random(seed).sample(chosen, sample))
        for number, place in enumerate(chosen[:199], start=1):
            await die_at(found, f"api-{number}", place)
        print(f"died at {len(chosen)} of {total} places")


async def at_random(folder: Path, url: str, *, apps: int, kills: int, seed: int) -> None:
    """Kill it again and again while alerts arrive, plans are approved and the cluster makes trouble."""
    dice = random.Random(seed)
    async with arena(folder, url, apps=apps) as found:
        await found.service.start()
        wanted = set(names(apps))

        async def deliver_all() -> None:
            for app in sorted(wanted):
                await found.deliver(app)
                # Spread over the whole time, so that every death meets something under way.
                await asyncio.sleep(dice.uniform(0, 4 * kills / apps))

        delivering = asyncio.create_task(deliver_all())
        for _ in range(kills):
            order = {**dice.choice(TROUBLE), "method": "PATCH", "path": "/deployments/", "dry_run": False}
            await found.cluster.fault(**order)
            await asyncio.sleep(dice.uniform(0.05, 1.5))
            await found.restart()
        await delivering
        newest = await found.until_over(wanted, within=120)
        await found.check(wanted, newest)
        print(f"killed {found.killed} times: {Counter(plan['state'] for plan in newest.values())}")


def store_at(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """The address of a fresh store of this kind."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'stanch.sqlite3'}"
    make: Callable[[], str] = request.getfixturevalue("fresh_database")
    return make()


STORES = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@STORES
async def test_a_death_at_some_places_loses_and_repeats_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await places(tmp_path, store_at(kind, tmp_path, request), sample=2, seed=20261123)


@STORES
async def test_a_few_random_deaths_under_load_lose_and_repeat_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await at_random(tmp_path, store_at(kind, tmp_path, request), apps=6, kills=4, seed=7)


OTHERS = pytest.mark.parametrize("cure", sorted(CURES.keys() - {"deployment.rollback"}))


# One that restarts nothing, and one that is no patch; the others go with `make torture`.
@pytest.mark.parametrize("cure", ["deployment.scale", "pod.evict"])
async def test_a_death_at_some_place_of_other_cures_loses_and_repeats_nothing(
    cure: str, tmp_path: Path
) -> None:
    await places(tmp_path, f"sqlite:///{tmp_path / 'stanch.sqlite3'}", sample=1, seed=3, cure=cure)


@pytest.mark.long
@OTHERS
async def test_a_death_at_every_place_of_every_other_cure_loses_and_repeats_nothing(
    cure: str, tmp_path: Path
) -> None:
    await places(tmp_path, f"sqlite:///{tmp_path / 'stanch.sqlite3'}", sample=None, seed=0, cure=cure)


@pytest.mark.long
@STORES
async def test_a_death_at_every_place_loses_and_repeats_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await places(tmp_path, store_at(kind, tmp_path, request), sample=None, seed=0)


@pytest.mark.long
@STORES
async def test_two_hundred_random_deaths_under_load_lose_and_repeat_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await at_random(tmp_path, store_at(kind, tmp_path, request), apps=60, kills=200, seed=11)
