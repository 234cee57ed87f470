"""Who evaluates PromQL over a test's ``input_series``: the demo world's evaluator, or a real Prometheus.

The small one is always there, knows a part of PromQL, and is held to the numbers of promtool 2.42. The real
one gets the series as blocks (`promtool tsdb create-blocks-from openmetrics`) and is asked over HTTP, as in
production; it has to be installed, and its start takes a second a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import aiohttp

from receiver.clients.prometheus import Points, Prometheus
from receiver.demo.prometheus import Engine, QueryError
from receiver.demo.prometheus.series import NAME, labels_of, milliseconds, moment
from receiver.domain.errors import PermanentError
from receiver.trials.policy_test.model import PolicyTest
from receiver.trials.policy_test.notation import NoSample

# Long enough for a test that plays for a day, with the past that a policy looks back on.
RETENTION = timedelta(days=2)
READY_WITHIN_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.05


class PromQL(StrEnum):
    """Who evaluates."""

    BUILTIN = "builtin"
    PROMETHEUS = "prometheus"


class Evaluator(Protocol):
    """Gives the one series of a query; raises PermanentError for a query that it cannot evaluate."""

    async def values(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> Points:
        """See `Prometheus.values`."""


class SmallEvaluator:
    """The demo world's, without its HTTP."""

    def __init__(self, test: PolicyTest) -> None:
        self._engine = Engine(retention=RETENTION)
        for given in test.input_series:
            labels = labels_of({NAME: given.name, **given.labels})
            for number, sample in enumerate(given.series.samples):
                at = milliseconds(test.clock + given.series.interval * number)
                if sample is not NoSample.MISSING:
                    value = None if isinstance(sample, NoSample) else sample
                    self._engine.store.append(labels, at, value)

    async def values(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> Points:
        """See `Evaluator.values`."""
        try:
            lines = self._engine.query_range(query, start, end, step)
        except QueryError as error:
            raise PermanentError(str(error)) from error
        if len(lines) > 1:
            raise PermanentError(f"the query gives {len(lines)} series, not one: {query[:120]}")
        return [(moment(at), value) for line in lines.values() for at, value in line]


@asynccontextmanager
async def evaluator(
    test: PolicyTest, promql: PromQL, folder: Path, session: aiohttp.ClientSession
) -> AsyncIterator[Evaluator | None]:
    """The one that was asked for, or None where the test has no series to evaluate over."""
    if not test.input_series:
        yield None
    elif promql is PromQL.BUILTIN:
        yield SmallEvaluator(test)
    else:
        async with _real_prometheus(test, folder) as url:
            yield Prometheus(session, url)


def missing_programs() -> str:
    """Why a real Prometheus cannot be had here; empty where it can."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return f"{' and '.join(missing)} cannot be found on PATH" if missing else ""


@asynccontextmanager
async def _real_prometheus(test: PolicyTest, folder: Path) -> AsyncIterator[str]:
    """A Prometheus of its own over these series, and nothing else; its address."""
    data, series, config = folder / "blocks", folder / "series.om", folder / "prometheus.yml"
    shutil.rmtree(data, ignore_errors=True)
    series.write_text("\n".join(_open_metrics(test)) + "\n# EOF\n", encoding="utf-8")
    config.write_text("{}\n", encoding="utf-8")
    backfill = ("promtool", "tsdb", "create-blocks-from", "openmetrics", str(series), str(data))
    filling = await asyncio.create_subprocess_exec(*backfill, stdout=-1, stderr=-1)
    out, err = await filling.communicate()
    if filling.returncode != 0:
        raise PermanentError(f"promtool could not read the series: {(out + err).decode()[-400:]}")
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        # The story may play in any year, and must not be tidied away.
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _open_metrics(test: PolicyTest) -> Iterator[str]:
    """The samples, each with its time. A stale marker cannot be said in this form and is a gap."""
    families = {
        given.name: [one for one in test.input_series if one.name == given.name]
        for given in test.input_series
    }
    for name, members in families.items():
        yield f"# TYPE {name} unknown"
        for given in members:
            labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(given.labels.items()))
            for number, sample in enumerate(given.series.samples):
                if isinstance(sample, float):
                    at = (test.clock + given.series.interval * number).timestamp()
                    yield f"{name}{{{labels}}} {_number(sample)} {at:.3f}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS), aiohttp.ClientSession() as session:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{url}/-/ready") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
    except TimeoutError as error:
        raise PermanentError("the real Prometheus did not become ready") from error
    raise PermanentError("the real Prometheus ended by itself")
