"""Thousands of notifications at the same moment: every one that was answered 200 is there afterwards.

The answers are 200 and 503 and nothing else, and whoever was told 503 gets through by trying again.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from builders import alert, notification
from real_alertmanager import AlertmanagerSettings, PostedAlert, RealAlertmanager
from real_service import SENDER_TOKEN, ClusterProcess, ServiceProcess
from shop import ill_shop, manifests, names, write_policies

DELIVERED_WITHIN_SECONDS = 60.0
READ_WITHIN_SECONDS = 60.0
RETRY_SECONDS = 0.5
# Python, its libraries and two thousand requests at once; far below the memory limit of the shipped chart.
MOST_RSS_MIB = 400


@dataclass
class Storm:
    """What was answered, at the first try and in the end."""

    first: Counter[int | str] = field(default_factory=Counter)
    later: Counter[int | str] = field(default_factory=Counter)
    slowest: float = 0.0
    took: float = 0.0

    @property
    def at_first(self) -> float:
        """Which part was answered 200 at the first try."""
        return self.first[200] / max(1, self.first.total())


@asynccontextmanager
async def serving(folder: Path, **settings: str) -> AsyncIterator[ServiceProcess]:
    """The service as a process; what the storm brings is nobody's policy."""
    async with (
        ill_shop() as prometheus,
        ClusterProcess(folder, manifests(names(1))) as cluster,
        ServiceProcess(
            folder / "service",
            store=f"sqlite:///{folder / 'stanch.sqlite3'}",
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=write_policies(folder / "policies"),
            settings=settings,
        ) as service,
    ):
        yield service


def body_of(number: int) -> bytes:
    """One alert of its own; three in a hundred have text that a store cannot hold or a query misreads."""
    hostile = {0: "\x00", 10: "\ud800", 20: "'; DROP TABLE alerts; --"}.get(number % 100, "")
    labels = {"alertname": "Storm", "app": f"app-{number}", "note": f"{hostile}{number}"}
    return notification(alert(starts_at=datetime.now(UTC), with_labels=labels))


UNREADABLE = (b"not json", b"\xff\x00", b'{"version": "99"}', b"[" * 5000)


async def blow(service: ServiceProcess, bodies: Iterable[bytes]) -> Storm:
    """Post all of them at once, each on a connection of its own, until each was answered 200."""
    storm = Storm()
    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=0)
    began = time.monotonic()

    async def deliver(session: aiohttp.ClientSession, body: bytes) -> None:
        counts = storm.first
        while True:
            try:
                answer: int | str = await service.post_alerts(body, session)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                answer = type(error).__name__
            counts[answer] += 1
            if answer == 200:
                storm.slowest = max(storm.slowest, time.monotonic() - began)
                return
            if time.monotonic() - began > DELIVERED_WITHIN_SECONDS:
                raise AssertionError(f"not delivered within {DELIVERED_WITHIN_SECONDS} s: {answer}")
            counts = storm.later
            await asyncio.sleep(RETRY_SECONDS)

    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        for body in bodies:
            group.create_task(deliver(session, body))
    storm.took = time.monotonic() - began
    return storm


def peak_rss_mib(service: ServiceProcess) -> float:
    """The most memory that the process ever held."""
    status = Path(f"/proc/{service.pid}/status")
    if not status.exists():
        pytest.skip("only Linux tells the peak of a process's memory")
    (line,) = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


async def until_read(service: ServiceProcess, folder: Path) -> float:
    """Wait until nothing waits to be read; how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < READ_WITHIN_SECONDS:
        if stored(folder, "SELECT count(*) FROM deliveries WHERE done_at IS NULL") == 0:
            return time.monotonic() - began
        await asyncio.sleep(0.1)
    raise AssertionError(f"not read within {READ_WITHIN_SECONDS} s\n{service.log_tail()}")


def stored(folder: Path, question: str) -> int:
    """A count, asked of the store itself."""
    with closing(sqlite3.connect(f"file:{folder / 'stanch.sqlite3'}?mode=ro", uri=True)) as connection:
        count: int = connection.execute(question).fetchone()[0]
        return count


@pytest.mark.parametrize("count", [1000, pytest.param(2000, marks=pytest.mark.long)])
async def test_no_alert_of_a_storm_is_lost(tmp_path: Path, count: int) -> None:
    async with serving(tmp_path) as service:
        calm = peak_rss_mib(service)
        storm = await blow(service, [*(body_of(number) for number in range(count)), *UNREADABLE])
        read = await until_read(service, tmp_path)
        rss = peak_rss_mib(service)
        print(
            f"{count} at once: first answers {dict(storm.first)}, later {dict(storm.later)}; all taken after "
            f"{storm.took:.2f} s ({count / storm.took:.0f}/s), read {read:.2f} s later; "
            f"peak RSS {rss:.0f} MiB (before {calm:.0f})"
        )
        assert set(storm.first) | set(storm.later) <= {200, 503}
        assert count > 1000 or storm.at_first >= 0.95
        assert stored(tmp_path, "SELECT count(*) FROM alerts") == count
        assert stored(tmp_path, "SELECT count(*) FROM deliveries WHERE done_at IS NULL") == 0
        assert stored(tmp_path, "SELECT count(*) FROM dead_letters") == len(UNREADABLE)
        assert stored(tmp_path, "SELECT count(*) FROM incidents") == count
        assert rss < MOST_RSS_MIB


async def test_who_finds_no_room_is_told_503_and_gets_through_by_trying_again(tmp_path: Path) -> None:
    async with serving(tmp_path, STANCH_MAX_BYTES_IN_FLIGHT="20000") as service:
        storm = await blow(service, [body_of(number) for number in range(500)])
        await until_read(service, tmp_path)
        assert set(storm.first) | set(storm.later) == {200, 503}
        assert storm.slowest < DELIVERED_WITHIN_SECONDS
        assert stored(tmp_path, "SELECT count(*) FROM alerts") == 500


async def test_two_thousand_groups_of_a_real_alertmanager_all_arrive(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        settings = AlertmanagerSettings(
            receiver_url=f"{service.url}/api/v1/alerts", bearer_token=SENDER_TOKEN, group_by=("app",)
        )
        async with RealAlertmanager(tmp_path / "alertmanager", settings) as manager:
            began = time.monotonic()
            labels = [{"alertname": "Storm", "app": f"app-{number}"} for number in range(2000)]
            await manager.post_alerts(*(PostedAlert(labels=each) for each in labels))
            while stored(tmp_path, "SELECT count(*) FROM alerts") < 2000:
                assert time.monotonic() - began < DELIVERED_WITHIN_SECONDS, service.log_tail()
                await asyncio.sleep(0.1)
            took = time.monotonic() - began
            print(f"2000 groups were delivered and read within {took:.2f} s; {peak_rss_mib(service):.0f} MiB")
        await until_read(service, tmp_path)
        assert stored(tmp_path, "SELECT count(*) FROM alerts") == 2000
        assert stored(tmp_path, "SELECT count(*) FROM incidents") == 2000
