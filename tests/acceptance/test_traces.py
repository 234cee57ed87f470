"""`stanch serve` with and without traces: nothing is loaded unasked, and no trouble of theirs is ours."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from builders import alert, notification
from collector import Collector, collector
from real_process import RealProcess, free_port
from real_service import ServiceProcess

from receiver import packaged


def telling_imports(log: Path, environment: Mapping[str, str]) -> RealProcess:
    """The service, which writes every module that it loads into its log."""
    command = [sys.executable, "-X", "importtime", "-m", "receiver.cli.main", "serve"]
    return RealProcess(command, log=log, environment=environment)


def without_the_extra(log: Path, environment: Mapping[str, str]) -> RealProcess:
    """The service where the libraries are not installed."""
    script = "import sys; sys.modules['opentelemetry'] = None; from receiver.cli.main import main; main()"
    return RealProcess([sys.executable, "-c", script, "serve"], log=log, environment=environment)


def service(folder: Path, *, endpoint: str | None, **more: Any) -> ServiceProcess:
    return ServiceProcess(
        folder,
        store=f"sqlite:///{folder / 'stanch.sqlite3'}",
        cluster_url=f"http://127.0.0.1:{free_port()}",
        prometheus_url=f"http://127.0.0.1:{free_port()}",
        policies=packaged.policies(),
        settings={} if endpoint is None else {"STANCH_TRACES_ENDPOINT": endpoint},
        **more,
    )


async def delivered(running: ServiceProcess) -> None:
    """One alert, read and joined."""
    async with aiohttp.ClientSession() as session:
        assert await running.post_alerts(notification(alert(starts_at=datetime.now(UTC))), session) == 200
    for _ in range(400):
        if await running.incidents():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the alert was never joined")


async def test_nothing_of_it_is_loaded_where_no_collector_is_named(tmp_path: Path) -> None:
    async with service(tmp_path, endpoint=None, program=telling_imports) as running:
        await delivered(running)
    loaded = running.log.read_text(encoding="utf-8")
    assert "receiver.pipeline.joining" in loaded
    for library in ("opentelemetry", "google.protobuf", "requests", "receiver.traces"):
        assert f" {library}" not in loaded, library


async def test_it_is_loaded_where_one_is(tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    async with collector() as found, service(tmp_path, endpoint=found.url, program=telling_imports):
        pass
    loaded = (tmp_path / "service.log").read_text(encoding="utf-8")
    for library in ("opentelemetry", "google.protobuf", "requests", "receiver.traces"):
        assert f" {library}" in loaded, library


def test_without_the_extra_the_start_is_refused_with_what_to_install(tmp_path: Path) -> None:
    refused = service(tmp_path, endpoint="http://collector:4318", program=without_the_extra)
    refused.launch()
    assert refused.wait(30.0) != 0
    assert "STANCH_TRACES_ENDPOINT" in refused.log_tail()
    assert "pip install 'stanch[traces]'" in refused.log_tail()


async def stopped(running: ServiceProcess) -> float:
    """How long it takes to stop, in seconds."""
    began = time.monotonic()
    await running.stop()
    return time.monotonic() - began


async def test_trouble_with_the_collector_is_one_line_of_our_log_and_no_other(tmp_path: Path) -> None:
    async with collector(status=500) as found, service(tmp_path, endpoint=found.url) as running:
        await delivered(running)
        await asyncio.wait_for(found.asked.wait(), 20)
        await delivered(running)
        assert await stopped(running) < 5
    # Every line is one of ours, whoever began it.
    lines = [json.loads(line) for line in running.log_tail().splitlines() if line.startswith("{")]
    assert len(lines) == len([line for line in running.log_tail().splitlines() if "listens on" not in line])
    assert [line["event"] for line in lines].count("traces_failed") == 1
    assert not [line for line in lines if line["event"] == "library"]


async def test_a_collector_that_hangs_delays_the_end_by_seconds_only(tmp_path: Path) -> None:
    async with collector(answering=False) as found, service(tmp_path, endpoint=found.url) as running:
        await delivered(running)
        await asyncio.wait_for(found.asked.wait(), 20)
        assert await stopped(running) < 5
        assert "traces_lost" in running.log_tail()


async def test_what_waits_is_delivered_when_it_stops(tmp_path: Path) -> None:
    found: Collector
    async with collector() as found, service(tmp_path, endpoint=found.url) as running:
        await delivered(running)
        await running.stop()
        (receive,) = found.named("receive")
        assert (receive.trace, receive.id) in {link for join in found.named("join") for link in join.links}
