"""From receipt to a proposed plan, at a hundred alerts a second and one new incident a second."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import aiohttp

from receiver.trials.bench import patients
from receiver.trials.bench.probes import probes_alone
from receiver.trials.bench.service import SENDER_TOKEN, Bench, Served, outside, served
from receiver.trials.bench.table import Row, median, percentile

PER_SECOND = 100
KNOWN = 10
AFTERWARDS_SECONDS = 5.0
# The first plans after a start wait for connections, compiled conditions and statements; what is meant is a
# service that runs.
WARM_UP_SECONDS = 4.0


async def proposing(bench: Bench) -> list[Row]:
    """p99 from the sender's first byte to the plan's place in the timeline."""
    raw: dict[str, list[Any]] = {"p50_ms": [], "p99_ms": [], "plans": [], "wanted": [], "probes_p99_ms": []}
    seconds = round(bench.seconds(30, 10))
    for run in range(bench.runs):
        bench.say(f"receipt to plan, run {run + 1} of {bench.runs}")
        async with outside(bench, KNOWN + seconds) as world:
            async with served(bench, world) as service, aiohttp.ClientSession() as session:
                sent = await _send(service, session, seconds)
                await asyncio.sleep(AFTERWARDS_SECONDS)
                planned = await _planned(service, session)
            alone = await probes_alone(bench.fresh("probes"), world, patients.names(KNOWN))
        took = [(planned[app] - at) * 1000 for app, at in sent.items() if app in planned]
        raw["plans"].append(len(took))
        raw["wanted"].append(len(sent))
        raw["p50_ms"].append(median(took) if took else None)
        raw["p99_ms"].append(percentile(took, 0.99) if took else None)
        raw["probes_p99_ms"].append(percentile(alone, 0.99))
    probes = median(raw["probes_p99_ms"])
    known = [value for value in raw["p99_ms"] if value is not None]
    note = f"250 ms and {probes:.0f} ms that probes and queries take when nothing else runs"
    if raw["plans"] != raw["wanted"]:
        note += f"; {sum(raw['plans'])} plans of {sum(raw['wanted'])} incidents"
    name = f"receipt to proposed plan at {PER_SECOND} alerts/s, an incident a second: p99"
    return [Row(name, median(known) if known else None, "ms", 250 + probes, "lower", note, raw)]


async def _send(service: Served, session: aiohttp.ClientSession, seconds: int) -> dict[str, float]:
    """Keep the rate up; when each new patient's first alert was sent."""
    headers = {"Authorization": f"Bearer {SENDER_TOKEN}", "Content-Type": "application/json"}
    sent: dict[str, float] = {}
    tasks: set[asyncio.Task[None]] = set()

    async def post(body: bytes) -> None:
        async with session.post(f"{service.url}/api/v1/alerts", data=body, headers=headers) as response:
            await response.read()

    for turn in range(KNOWN):
        await post(patients.notification([patients.alert(f"api-{turn}", turn)]))
    await asyncio.sleep(WARM_UP_SECONDS)
    began = time.monotonic()
    for number in range(seconds * PER_SECOND):
        await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
        second, turn = divmod(number, PER_SECOND)
        if turn == PER_SECOND // 2:
            app = f"api-{KNOWN + second}"
            sent[app] = time.time()
            body = patients.notification([patients.alert(app)])
        else:
            body = patients.notification([patients.alert(f"api-{turn % KNOWN}", turn)])
        task = asyncio.create_task(post(body), name="bench-post")
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=30)
    return sent


async def _planned(service: Served, session: aiohttp.ClientSession) -> dict[str, float]:
    """When each patient's first plan entered its incident's timeline."""
    found: dict[str, float] = {}
    for incident in (await service.api(session, "incidents?limit=200"))["items"]:
        document = await service.api(session, f"incidents/{incident['id']}/timeline")
        for item in document["items"]:
            if item["event"]["event"] == "Planned":
                app = item["event"]["target"]["name"]
                found.setdefault(app, datetime.fromisoformat(item["at"]).astimezone(UTC).timestamp())
    return found
