"""Three processes are replaced by those of a next release, one by one, while 200 alerts a second arrive.

The next release is this one with another migration: a column more, and two columns of another type. Those
that still run are not told of it. A sender may be told 503 or find nobody, and tries again as Alertmanager
does; no other failure may happen, and what was answered 200 is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from arena import three_services
from builders import alert, notification
from real_process import ROOT, RealProcess
from real_service import SENDER_TOKEN, ClusterProcess, ServiceProcess
from shop import NAMESPACE, ill_shop, manifests, names
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from receiver.store.migrate import HEAD
from receiver.store.postgres import async_url

NEXT = f"{int(HEAD) + 1:04}"
MIGRATION = f'''
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{NEXT}", "{HEAD}", None, None


def upgrade():
    op.add_column("deliveries", sa.Column("noticed", sa.Text(), nullable=False, server_default=""))
    op.alter_column("deliveries", "source", type_=sa.String(200))
    op.alter_column("incidents", "title", type_=sa.String(500))
'''
RATE = 200
SENDERS = 16


def next_release(folder: Path) -> Path:
    """A copy of the packages that brings a store to the next schema; what `PYTHONPATH` then names."""
    for package in ("receiver", "remediations"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    store = folder / "receiver" / "store"
    migrate = store / "migrate.py"
    known = f'HEAD = "{HEAD}"'
    source = migrate.read_text(encoding="utf-8")
    assert source.count(known) == 1
    migrate.write_text(source.replace(known, f'HEAD = "{NEXT}"'), encoding="utf-8")
    (store / "migrations" / "versions" / f"{NEXT}_next.py").write_text(MIGRATION, encoding="utf-8")
    return folder


@dataclass
class Sending:
    """Alerts at a steady rate, each sent until somebody kept it."""

    services: list[ServiceProcess]
    session: aiohttp.ClientSession
    answers: Counter[int | str] = field(default_factory=Counter)
    kept: set[str] = field(default_factory=set)
    given_up: int = 0
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    over: bool = False
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def run(self, apps: list[str]) -> None:
        """Send until told that it is over."""
        async with asyncio.TaskGroup() as group:
            for number in range(SENDERS):
                group.create_task(self._send_on(apps, number))

    async def _send_on(self, apps: list[str], sender: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + sender / RATE
        while not self.over:
            number = next(self.numbers)
            labels = {"alertname": "ShopErrors", "namespace": NAMESPACE, "app": apps[number % len(apps)]}
            body = notification(alert(starts_at=self.since, with_labels=labels), groupKey=f"number {number}")
            await self._send(body, number)
            due += SENDERS / RATE
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _send(self, body: bytes, number: int) -> None:
        headers = {"Authorization": f"Bearer {SENDER_TOKEN}", "Content-Type": "application/json"}
        for attempt in range(200):
            service = self.services[(number + attempt) % len(self.services)]
            try:
                async with self.session.post(
                    f"{service.url}/api/v1/alerts", data=body, headers=headers
                ) as response:
                    await response.read()
                    self.answers[response.status] += 1
                    if response.status == 200:
                        self.kept.add(hashlib.sha256(body).hexdigest())
                        return
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.answers[type(error).__name__] += 1
            await asyncio.sleep(0.1)
        self.given_up += 1


async def test_a_next_release_takes_over_under_load_without_a_loss(
    tmp_path: Path, fresh_database: Callable[[], str]
) -> None:
    url, apps = fresh_database(), names(5)
    newer = str(next_release(tmp_path / "next"))

    def serve_newer(log: Path, environment: Mapping[str, str]) -> RealProcess:
        command = [sys.executable, "-m", "receiver.cli.main", "serve"]
        return RealProcess(command, log=log, environment={**environment, "PYTHONPATH": newer})

    async with AsyncExitStack() as stack:
        prometheus = await stack.enter_async_context(ill_shop())
        cluster = await stack.enter_async_context(ClusterProcess(tmp_path, manifests(apps)))
        services = three_services(tmp_path, url, cluster, prometheus)
        for service in services:
            stack.push_async_callback(service.stop)
        await asyncio.gather(*(service.start() for service in services))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        )
        sending = Sending(services, session)
        task = asyncio.create_task(sending.run(apps))
        await asyncio.sleep(1)
        for service in services:
            await service.stop()
            service._program = serve_newer
            await service.start()
            await asyncio.sleep(1)
        sending.over = True
        await task
        print(f"{len(sending.kept)} kept, answers: {dict(sending.answers)}")
        told = {answer for answer in sending.answers if isinstance(answer, int)}
        assert told <= {200, 503}, sending.answers
        assert sending.given_up == 0
        engine = create_async_engine(async_url(url))
        try:
            for _ in range(300):
                async with engine.connect() as connection:
                    rows = (
                        await connection.execute(text("SELECT sha256, done_at, noticed FROM deliveries"))
                    ).all()
                    letters = (
                        await connection.execute(text("SELECT count(*) FROM dead_letters"))
                    ).scalar_one()
                if all(row.done_at is not None for row in rows):
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError("what was kept is not joined: " + services[0].log_tail())
        finally:
            await engine.dispose()
        assert sending.kept <= {row.sha256 for row in rows}
        assert letters == 0
        assert {incident["labels"]["app"] for incident in await services[0].incidents()} == set(apps)
        for service in services:
            logged = service.log.read_text(encoding="utf-8")
            assert '"request_failed"' not in logged
