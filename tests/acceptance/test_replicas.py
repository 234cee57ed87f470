"""Three processes on one PostgreSQL, killed, frozen, thawed and restarted while they care for many patients.

None leads: any of them takes any request, and what must happen once happens once because of unique keys and
fencing.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from arena import TROUBLE, Arena, three_services
from real_service import API_TOKEN, ClusterProcess, ServiceProcess
from shop import CURES, ill_shop, names
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import create_async_engine

from receiver.store.postgres import async_url

# Past the lease of five seconds: whoever thaws then has lost what it held.
FROZEN_SECONDS = 6.5
CLAIMS = text("SELECT coalesce(sum(lease_token), 0) FROM incidents")
MARKED = re.compile(r'stanch\.dev(?:~1|/)intent[^}]*?"([0-9a-f-]{36})"')
EXECUTIONS = text("SELECT plan_id FROM intents WHERE kind = 'execute' GROUP BY plan_id HAVING count(*) > 1")


@dataclass
class Balanced:
    """What a Service of the cluster is: each call goes to some process that answers."""

    services: list[ServiceProcess]
    dice: random.Random

    async def post_alerts(self, body: bytes, session: aiohttp.ClientSession) -> int:
        """Deliver to one of them; whoever sends tries again if it fails."""
        return await self.dice.choice(self.services).post_alerts(body, session)

    async def api(
        self, method: str, path: str, body: Any = None, *, token: str = API_TOKEN
    ) -> tuple[int, Any]:
        """Ask one of them."""
        async with asyncio.timeout(3):
            return await self.dice.choice(self.services).api(method, path, body, token=token)

    def log_tail(self) -> str:
        """The ends of their logs."""
        return "\n".join(service.log_tail()[-1500:] for service in self.services)


def overlapping(cluster: ClusterProcess) -> list[tuple[str, str, str]]:
    """Pairs of different writes to one object that the API server had before it at the same time."""
    by_path: dict[str, list[tuple[str, str, str]]] = {}
    for call in cluster.writes():
        found = MARKED.search(json.dumps(call["body"]))
        assert found is not None, call["body"]
        by_path.setdefault(call["path"], []).append((call["at"], call["settled_at"], found[1]))
    return [
        (path, one, other)
        for path, calls in by_path.items()
        for (_, until, one), (since, _, other) in pairwise(sorted(calls))
        if one != other and since < until
    ]


async def counted(url: str, what: TextClause) -> list[Any]:
    """What the store says."""
    engine = create_async_engine(async_url(url))
    try:
        async with engine.connect() as connection:
            return list((await connection.execute(what)).scalars())
    finally:
        await engine.dispose()


@asynccontextmanager
async def replicas(
    folder: Path, url: str, apps: list[str], dice: random.Random
) -> AsyncIterator[tuple[Arena, list[ServiceProcess]]]:
    """Three of them, and nothing wrong yet but the shop itself."""
    cure = CURES["deployment.rollback"]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        prometheus = await enter(ill_shop())
        cluster = await enter(ClusterProcess(folder, cure.manifests(apps)))
        services = three_services(folder, url, cluster, prometheus)
        for service in services:
            stack.push_async_callback(service.stop)
        # All at once, over an empty database: one brings it to its schema, the others wait.
        await asyncio.gather(*(service.start() for service in services))
        session = await enter(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)))
        found = Arena(Balanced(services, dice), cluster, session, cure)
        looking = asyncio.create_task(found.look_and_approve())
        stack.callback(looking.cancel)
        yield found, services


async def hurt(victim: ServiceProcess, how: str, dice: random.Random) -> None:
    """One of the three dies, freezes, or is told to end; and comes back."""
    if how == "freeze":
        victim.freeze()
        await asyncio.sleep(FROZEN_SECONDS)
        victim.thaw()
        return
    if how == "kill":
        victim.kill()
    else:
        await victim.stop()
    await asyncio.sleep(dice.uniform(0, 1))
    await victim.start()


async def at_random(folder: Path, url: str, *, apps: int, harms: list[str], seed: int) -> None:
    """Hurt one after the other, sometimes two at once, under load and with trouble in the cluster."""
    dice = random.Random(seed)
    wanted = set(names(apps))
    async with replicas(folder, url, names(apps), dice) as (found, services):

        async def deliver_all() -> None:
            for app in sorted(wanted):
                await found.deliver(app)
                await asyncio.sleep(dice.uniform(0, 3 * len(harms) / apps))

        delivering = asyncio.create_task(deliver_all())
        for how in harms:
            order = {**dice.choice(TROUBLE), "method": "PATCH", "path": "/deployments/", "dry_run": False}
            await found.cluster.fault(**order)
            first, second, _ = dice.sample(services, 3)
            await asyncio.gather(
                hurt(first, how, dice),
                *([hurt(second, "kill", dice)] if dice.random() < 0.3 else []),
            )
            await asyncio.sleep(dice.uniform(0.05, 0.5))
        await delivering
        await found.until_over(wanted, within=150)
        await found.check(wanted)
        (claims,) = await counted(url, CLAIMS)
        states = Counter(plan["state"] for plan in found.newest().values())
        print(f"{claims} claims, {len(harms)} harms, {len(found.cluster.writes())} writes: {states}")
        assert overlapping(found.cluster) == []
        assert await counted(url, EXECUTIONS) == []


async def test_three_processes_that_are_hurt_lose_and_repeat_nothing(
    tmp_path: Path, fresh_database: Callable[[], str]
) -> None:
    harms = ["kill", "freeze", "stop"]
    await at_random(tmp_path, fresh_database(), apps=8, harms=harms, seed=5)


@pytest.mark.long
async def test_three_processes_that_are_hurt_sixty_times_lose_and_repeat_nothing(
    tmp_path: Path, fresh_database: Callable[[], str]
) -> None:
    harms = random.Random(17).choices(["kill", "freeze", "stop"], k=60)
    await at_random(tmp_path, fresh_database(), apps=100, harms=harms, seed=17)
