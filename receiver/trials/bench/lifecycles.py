"""Whole lifecycles a second on both stores, and what ten thousand waiting plans weigh."""

from __future__ import annotations

from typing import Any

from receiver.trials.bench.children import module, told_by
from receiver.trials.bench.postgres import MISSING, postgres
from receiver.trials.bench.service import Bench, outside
from receiver.trials.bench.table import Row, left_out, median

WITHIN_SECONDS = 300.0
WAITING = 10_000
# What waits is classified again every 30 s and its plan is looked at again every 60 s.
ROUND_SECONDS = 60.0


async def lifecycles(bench: Bench) -> list[Row]:
    """From alert to resolved with everything outside in memory; and with the cluster over HTTP."""
    count = 50 if bench.quick else 200
    rows = [await _measured(bench, "lifecycles/s on SQLite, full timeline", 1000, count)]
    name = "lifecycles/s on PostgreSQL, full timeline"
    async with postgres(bench.fresh("postgres")) as server:
        if server is None:
            rows.append(left_out(name, MISSING))
        else:
            stores = [await server.create() for _ in range(bench.runs)]
            try:
                rows.append(await _measured(bench, name, 800, count, stores=stores))
            finally:
                for store in stores:
                    await server.drop(store)
    # One run: a plan that was carried out there cannot be carried out again.
    count = 20
    async with outside(bench, count) as world:
        name = "lifecycles/s with the cluster over HTTP"
        rows.append(await _measured(bench, name, 30, count, cluster=world.cluster, runs=1))
    return rows


async def waiting(bench: Bench) -> list[Row]:
    """Ten thousand plans that wait for an approval; fewer where filling up takes too long."""
    count = 1000 if bench.quick else WAITING
    bench.say(f"{count} waiting plans")
    folder = bench.fresh("waiting")
    store = f"sqlite:///{folder / 'stanch.sqlite3'}"
    # Longer than a round of looking again at everything that waits.
    seconds = bench.seconds(70, 10)
    command = module("inside", "waiting", "--store", store, "--count", count, "--seconds", seconds)
    told = await told_by(command, log=folder / "log", within=WITHIN_SECONDS + 60)
    note = f"{told['waiting']} plans, watched for {told['watched_seconds']:.0f} s, {told['steps']} steps"
    # Fewer plans, or a shorter look than one round of looking again, say nothing about the target.
    full = told["waiting"] >= WAITING and told["watched_seconds"] >= ROUND_SECONDS
    share, name = told["core_share"] * 100, "plans waiting for approval: share of a core"
    rows = [Row(name, share, "%", 0.5 if full else None, "lower", note, told)]
    if told["extra_mb"] is not None:
        target = 100 if told["waiting"] >= WAITING else None
        rows.append(Row("  their extra memory", max(0.0, told["extra_mb"]), "MB", target, "lower"))
    return rows


async def _measured(
    bench: Bench,
    name: str,
    target: float,
    count: int,
    *,
    stores: list[str] | None = None,
    cluster: str = "",
    runs: int | None = None,
) -> Row:
    raw: dict[str, list[Any]] = {"runs": []}
    for run in range(runs or bench.runs):
        bench.say(f"{name}, run {run + 1}")
        folder = bench.fresh("lifecycles")
        store = stores[run] if stores is not None else f"sqlite:///{folder / 'stanch.sqlite3'}"
        command = module("inside", "lifecycles", "--store", store, "--count", count, "--cluster", cluster)
        raw["runs"].append(await told_by(command, log=folder / "log", within=WITHIN_SECONDS))
    per_second = median(told["per_second"] for told in raw["runs"])
    each = median(told["events_each"] for told in raw["runs"])
    note = f"{each:.0f} events each"
    unended = sum(told["lifecycles"] - told["resolved"] for told in raw["runs"])
    if unended:
        note += f"; {unended} did not end"
    return Row(name, per_second, "/s", target, note=note, raw=raw)
