"""How long the service takes to start, what it weighs when idle, and how soon the command line answers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

from receiver.trials.bench.children import memory_mb
from receiver.trials.bench.service import Bench, outside, served
from receiver.trials.bench.table import Row, median

SETTLE_SECONDS = 3.0


async def starting(bench: Bench) -> list[Row]:
    """Start to ready, idle memory, and `stanch --help`."""
    raw: dict[str, list[Any]] = {"ready": [], "idle_mb": [], "help": []}
    async with outside(bench, 1) as world:
        for run in range(bench.runs):
            bench.say(f"start, run {run + 1} of {bench.runs}")
            async with served(bench, world) as service:
                raw["ready"].append(service.ready_seconds)
                await asyncio.sleep(SETTLE_SECONDS)
                raw["idle_mb"].append(memory_mb(service.child.pid))
            raw["help"].append(await asyncio.to_thread(_help))
    rows = [Row("start to ready", median(raw["ready"]), "s", 2, "lower", raw=raw)]
    idle = [weight for weight in raw["idle_mb"] if weight is not None]
    if idle:
        rows.append(Row("idle memory", median(idle), "MB", 170, "lower"))
    return [*rows, Row("stanch --help", median(raw["help"]), "s", 0.5, "lower")]


def _help() -> float:
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "receiver.cli.main", "--help"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return time.monotonic() - began
