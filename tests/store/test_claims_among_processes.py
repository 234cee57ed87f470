"""Three processes claim the same incidents, and are killed, frozen past their leases and thawed meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from real_process import RealProcess
from sqlalchemy import Connection, text

from receiver.domain.events import Opened
from receiver.store import migrate, timeline
from receiver.store.postgres import open_postgres

LEASE = timedelta(seconds=1)
INCIDENTS = 40
HARMS = 6
CLAIMER = Path(__file__).parent.parent / "parts" / "claimer.py"
TABLE = """CREATE TABLE claimed (
    id bigserial PRIMARY KEY, incident bigint, token bigint, owner text, what text)"""
TWICE = text("SELECT incident, token FROM claimed WHERE what = :what GROUP BY 1, 2 HAVING count(*) > 1")
# What ended although a later claim had begun before.
UNFENCED = text(
    """SELECT one.incident, one.token FROM claimed AS one JOIN claimed AS later
       ON later.incident = one.incident AND later.token > one.token AND later.id < one.id
       WHERE one.what = 'ended' AND later.what = 'began'"""
)
COUNT = text("SELECT count(*) FROM claimed WHERE what = :what")
LATELY = text("SELECT count(DISTINCT incident) FROM claimed WHERE what = 'ended' AND id > :since")


def prepare(tx: Connection) -> None:
    """Incidents that are always due."""
    tx.execute(text(TABLE))
    now = datetime.now(UTC)
    for number in range(INCIDENTS):
        key, title = f"key-{number}", "an incident"
        held = timeline.open_incident(tx, key=key, title=title, at=now)
        assert held is not None
        timeline.append(tx, held, [Opened(key, title, {})], at=now, actor="a test", due_at=now)


def newest(tx: Connection) -> int:
    return int(tx.execute(text("SELECT max(id) FROM claimed")).scalar_one())


def lately(tx: Connection, since: int) -> int:
    """How many incidents somebody finished with since then."""
    return int(tx.execute(LATELY, {"since": since}).scalar_one())


@pytest.mark.parametrize(
    "wanted",
    [pytest.param(1_000, id="thousand"), pytest.param(10_000, id="ten thousand", marks=pytest.mark.long)],
)
async def test_each_claim_is_one_s_alone_and_none_that_was_lost_ends(
    tmp_path: Path, fresh_database: Callable[[], str], wanted: int
) -> None:
    url, dice = fresh_database(), random.Random(3)
    await asyncio.to_thread(migrate.upgrade, url)
    store = open_postgres(url)
    with ExitStack() as stack:
        await store.write(prepare)

        def start(number: int) -> RealProcess:
            owner = f"claimer-{number}-{dice.random()}"
            command = [sys.executable, str(CLAIMER), url, owner, str(LEASE.total_seconds())]
            process = RealProcess(command, log=tmp_path / f"claimer-{number}.log")
            stack.callback(process.stop)
            return process

        async def scalar(what: str) -> int:
            found = await store.read(lambda tx: tx.execute(COUNT, {"what": what}).scalar_one())
            return int(found)

        async def until(enough: Callable[[], Awaitable[bool]]) -> None:
            for _ in range(1200):
                if await enough():
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("the claiming came to a halt")

        running = [start(number) for number in range(3)]
        for harm in range(HARMS):
            aim = wanted * harm // HARMS

            async def has_come_so_far(aim: int = aim) -> bool:
                return await scalar("began") >= aim and all(process.running for process in running)

            await until(has_come_so_far)
            victim = dice.randrange(3)
            if harm % 2:
                running[victim].kill()
                running[victim] = start(victim)
            else:
                os.kill(running[victim].pid, signal.SIGSTOP)
                await asyncio.sleep(LEASE.total_seconds() + 0.3)
                os.kill(running[victim].pid, signal.SIGCONT)

        async def has_come_to_the_end() -> bool:
            return await scalar("began") >= wanted

        await until(has_come_to_the_end)
        assert all(process.running for process in running)
        # Whatever a dead one had held is taken over, and all of it goes on.
        since = await store.read(newest)

        async def all_go_on() -> bool:
            return await store.read(partial(lately, since=since)) == INCIDENTS

        await until(all_go_on)
        for process in running:
            process.kill()
        assert await store.read(lambda tx: tx.execute(TWICE, {"what": "began"}).all()) == []
        assert await store.read(lambda tx: tx.execute(TWICE, {"what": "ended"}).all()) == []
        assert await store.read(lambda tx: tx.execute(UNFENCED).all()) == []
        fenced = await scalar("fenced")
        print(
            f"{await scalar('began')} claims, {await scalar('ended')} ended, {fenced} fenced, {HARMS} harms"
        )
    await store.close()
