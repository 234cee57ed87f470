"""How fast webhooks are taken: single alerts against the yardstick, bodies of a hundred, and a burst."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp

from receiver.trials.bench import patients
from receiver.trials.bench.children import memory_mb
from receiver.trials.bench.service import SENDER_TOKEN, Bench, Served, bare, outside, served
from receiver.trials.bench.table import Row, left_out, median
from receiver.trials.bench.wrk import MISSING, find_wrk, load

APPS = 20
WARM_UP_SECONDS = 1
BODY_OF = 100
JOIN_WITHIN_SECONDS = 60.0
BURST_ALERTS, BURST_POSTS, BURST_APPS = 10_000, 2_000, 100
BURST_WITHIN_SECONDS = 120.0


async def single(bench: Bench) -> list[Row]:
    """One alert a body: durable POSTs/s as a share of the bare handler's, and how long the slowest wait."""
    name = "durable POSTs/s, 1 alert, 64 connections: of the bare handler's"
    if (wrk := find_wrk()) is None:
        return [left_out(name, MISSING)]
    bodies = patients.in_bodies(patients.names(APPS), 10, of=1)
    raw: dict[str, list[Any]] = {"bare": [], "durable": [], "lost": []}
    seconds = bench.seconds(8, 3)
    async with outside(bench, APPS) as world:
        for run in range(bench.runs):
            bench.say(f"durable POSTs, run {run + 1} of {bench.runs}")
            async with bare(bench) as yardstick:
                await load(wrk, yardstick.url, yardstick.folder, bodies, seconds=WARM_UP_SECONDS)
                raw["bare"].append(
                    asdict(await load(wrk, yardstick.url, yardstick.folder, bodies, seconds=seconds))
                )
            async with served(bench, world) as service:
                warmed = await load(wrk, service.url, service.folder, bodies, seconds=WARM_UP_SECONDS)
                found = await load(wrk, service.url, service.folder, bodies, seconds=seconds)
                raw["durable"].append(asdict(found))
            raw["lost"].append(_lost_bodies(service.folder, warmed.accepted + found.accepted))
    ratio = median(
        durable["per_second"] / plain["per_second"]
        for durable, plain in zip(raw["durable"], raw["bare"], strict=True)
    )
    per_second = median(run["per_second"] for run in raw["durable"])
    plain = median(run["per_second"] for run in raw["bare"])
    p99 = median(run["p99_ms"] for run in raw["durable"])
    note = f"{per_second:,.0f} of {plain:,.0f} POSTs/s; joiner and worker running; floor 0.35"
    return [
        Row(name, ratio, "", 0.5, note=note, raw=raw, lost=sum(raw["lost"])),
        Row(
            "  its p99",
            p99,
            "ms",
            100,
            "lower",
            note=f"bare {median(r['p99_ms'] for r in raw['bare']):.1f} ms",
        ),
    ]


async def hundreds(bench: Bench) -> list[Row]:
    """A hundred alerts a body: acknowledged, and joined to incidents until nothing waits."""
    names = (
        "durable alerts/s acknowledged, bodies of 100",
        "alerts/s joined to incidents while they come",
        "alerts/s joined to incidents, sustained until nothing waits",
    )
    if (wrk := find_wrk()) is None:
        return [left_out(name, MISSING) for name in names]
    bodies = patients.in_bodies(patients.names(APPS), BODY_OF, of=BODY_OF)
    raw: dict[str, list[Any]] = {
        "load": [],
        "meanwhile": [],
        "sustained": [],
        "waited_seconds": [],
        "lost": [],
    }
    seconds = bench.seconds(6, 3)
    async with outside(bench, APPS) as world, aiohttp.ClientSession() as session:
        for run in range(bench.runs):
            bench.say(f"bodies of 100, run {run + 1} of {bench.runs}")
            async with served(bench, world) as service:
                before, began = await _joined(service, session), time.monotonic()
                found = await load(wrk, service.url, service.folder, bodies, seconds=seconds)
                during, ended = await _joined(service, session), time.monotonic()
                after, done, waiting = await _until_joined(service, session)
            raw["load"].append(asdict(found))
            raw["meanwhile"].append((during - before) / (ended - began))
            raw["sustained"].append((after - before) / (done - began))
            raw["waited_seconds"].append(done - ended)
            raw["lost"].append(_lost_bodies(service.folder, found.accepted))
            if waiting:
                bench.say(f"{waiting:.0f} bodies were not joined within {JOIN_WITHIN_SECONDS:.0f} s")
    acknowledged = median(run["per_second"] * BODY_OF for run in raw["load"])
    return [
        Row(names[0], acknowledged, "/s", 50_000, raw=raw, lost=sum(raw["lost"])),
        Row(names[1], median(raw["meanwhile"]), "/s", note="the senders take the machine first"),
        Row(
            names[2], median(raw["sustained"]), "/s", 15_000, note=f"{APPS} incidents, 2,000 alerts, repeated"
        ),
    ]


async def burst(bench: Bench) -> list[Row]:
    """Ten thousand alerts at once: every one of them is there afterwards, whatever the first answer was."""
    raw: dict[str, list[Any]] = {
        "answers": [],
        "seconds": [],
        "joined_seconds": [],
        "peak_mb": [],
        "lost": [],
    }
    per_body = BURST_ALERTS // BURST_POSTS
    bodies = patients.in_bodies(patients.names(BURST_APPS), BURST_ALERTS // BURST_APPS, of=per_body)
    async with outside(bench, APPS) as world:
        for run in range(bench.runs):
            bench.say(f"burst, run {run + 1} of {bench.runs}")
            async with served(bench, world) as service:
                began = time.monotonic()
                first, unsent = await _all_at_once(service, bodies)
                raw["seconds"].append(time.monotonic() - began)
                async with aiohttp.ClientSession() as session:
                    await _until_joined(service, session, wanted=BURST_ALERTS - unsent * per_body)
                raw["joined_seconds"].append(time.monotonic() - began)
                raw["peak_mb"].append(memory_mb(service.child.pid, peak=True))
            raw["answers"].append(first)
            raw["lost"].append(BURST_ALERTS - unsent * per_body - _count(service.folder, "alerts"))
    lost = sum(raw["lost"])
    answers = "; ".join(
        " ".join(f"{status}: {count}" for status, count in sorted(first.items())) for first in raw["answers"]
    )
    peaks = [peak for peak in raw["peak_mb"] if peak is not None]
    note = f"first answers {answers}; joined after {median(raw['joined_seconds']):.1f} s"
    rows = [Row("burst, 10,000 alerts in 2,000 POSTs: lost", lost, "", 0, "lower", note, raw, lost)]
    if peaks:
        rows.append(Row("  its peak memory", median(peaks), "MB", 200, "lower"))
    return rows


async def _all_at_once(service: Served, bodies: list[bytes]) -> tuple[dict[str, int], int]:
    """Each body posted until it is kept, as Alertmanager does; first answers by status, and what was not."""
    first: dict[str, int] = {}
    headers = {"Authorization": f"Bearer {SENDER_TOKEN}", "Content-Type": "application/json"}
    deadline = time.monotonic() + BURST_WITHIN_SECONDS

    async def post(session: aiohttp.ClientSession, body: bytes) -> bool:
        tries = 0
        while time.monotonic() < deadline:
            tries += 1
            try:
                async with session.post(f"{service.url}/api/v1/alerts", data=body) as response:
                    await response.read()
                    status = str(response.status)
            except (aiohttp.ClientError, TimeoutError) as error:
                status = type(error).__name__
            if tries == 1:
                first[status] = first.get(status, 0) + 1
            if status == "200":
                return True
            await asyncio.sleep(1)
        return False

    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
        kept = await asyncio.gather(*(post(session, body) for body in bodies))
    return first, kept.count(False)


async def _joined(service: Served, session: aiohttp.ClientSession) -> float:
    found = await service.metrics(session)
    return found["stanch_alerts_joined_total"]


async def _until_joined(
    service: Served, session: aiohttp.ClientSession, *, wanted: float | None = None
) -> tuple[float, float, float]:
    """Wait until nothing waits to be read: alerts joined by then, when that was, and what still waited."""
    deadline = time.monotonic() + JOIN_WITHIN_SECONDS
    while True:
        found = await service.metrics(session)
        now = time.monotonic()
        waiting = found["stanch_store_deliveries_waiting"]
        joined = found["stanch_alerts_joined_total"]
        if now > deadline or (waiting == 0 and (wanted is None or joined >= wanted)):
            return joined, now, waiting
        await asyncio.sleep(0.1)


def _lost_bodies(folder: Path, acknowledged: int) -> int:
    """How many acknowledged bodies the store does not hold; those in flight at the end may be more."""
    return max(0, acknowledged - _count(folder, "deliveries"))


def _count(folder: Path, table: str) -> int:
    """Rows in the stopped service's store."""
    with closing(sqlite3.connect(folder / "stanch.sqlite3")) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own names
        return int(count)
