"""The real programs do what the tests built on them take for granted."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from real_alertmanager import AlertmanagerSettings, PostedAlert, RealAlertmanager, alertmanager_pair
from real_postgres import FreshDatabases, RealPostgres, _databases, fresh_database, postgres_server
from real_process import find_binary
from real_prometheus import Metrics, PrometheusSettings, RealPrometheus

__all__ = ["_databases", "fresh_database", "postgres_server"]  # fixtures

PATIENCE_S = 20.0
RULES = """
groups:
- name: api
  rules:
  - alert: ApiDown
    expr: api_healthy == 0
    labels: {severity: critical}
"""


class Webhook:
    """A receiver that keeps what it is sent."""

    def __init__(self) -> None:
        self.bodies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.authorizations: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization", ""))
        self.bodies.put_nowait(await request.json())
        return web.Response()

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.bodies.get(), PATIENCE_S)


@asynccontextmanager
async def listening() -> AsyncIterator[Webhook]:
    webhook = Webhook()
    app = web.Application()
    app.router.add_post("/", webhook.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    webhook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield webhook
    finally:
        await runner.cleanup()


async def test_a_metric_becomes_a_webhook_and_its_recovery_another(tmp_path: Path) -> None:
    async with (
        listening() as webhook,
        Metrics("api_healthy 1\n") as metrics,
        RealAlertmanager(
            tmp_path / "am", AlertmanagerSettings(receiver_url=webhook.url, bearer_token="s3cret")
        ) as alertmanager,
        RealPrometheus(
            tmp_path / "prom",
            PrometheusSettings(
                targets=(metrics.url,),
                alertmanagers=(alertmanager.url,),
                rules=RULES,
                external_labels={"cluster": "eu-1"},
            ),
        ) as prometheus,
    ):
        metrics.set_values({"api_healthy": 0})
        firing = await webhook.next()
        assert firing["status"] == "firing"
        assert firing["commonLabels"]["cluster"] == "eu-1"
        [series] = await prometheus.query('ALERTS{alertstate="firing"}')
        assert "cluster" not in series["metric"], "external labels never appear in ALERTS"
        metrics.set_values({"api_healthy": 1})
        assert (await webhook.next())["status"] == "resolved"
        assert set(webhook.authorizations) == {"Bearer s3cret"}


async def test_a_killed_alertmanager_comes_back_on_the_same_data(tmp_path: Path) -> None:
    async with listening() as webhook:
        settings = AlertmanagerSettings(receiver_url=webhook.url)
        async with RealAlertmanager(tmp_path / "am", settings) as alertmanager:
            silence = await alertmanager.silence({"alertname": "Quiet"}, timedelta(minutes=5))
            quiet = PostedAlert(labels={"alertname": "Quiet"})
            await alertmanager.post_alerts(quiet)
            await alertmanager.stop()
            await alertmanager.start()
            await alertmanager.post_alerts(quiet)
            [alert] = await alertmanager.alerts()
            assert alert["status"]["silencedBy"] == [silence]
            await alertmanager.expire_silence(silence)
            await alertmanager.reload()
            assert (await webhook.next())["commonLabels"] == {"alertname": "Quiet"}
            alertmanager.kill()
            assert not alertmanager.running


async def test_two_alertmanagers_gossip_and_send_once(tmp_path: Path) -> None:
    async with listening() as webhook:
        settings = AlertmanagerSettings(receiver_url=webhook.url)
        async with alertmanager_pair(tmp_path, settings) as (first, second):
            alert = PostedAlert(labels={"alertname": "Both"})
            await asyncio.gather(first.post_alerts(alert), second.post_alerts(alert))
            await webhook.next()
            await asyncio.sleep(1.5)  # the second peer's turn comes after peer_timeout
            assert webhook.bodies.empty()


async def test_each_database_is_new_and_empty(fresh_database: Callable[[], str]) -> None:
    urls = {fresh_database(), fresh_database()}
    assert len(urls) == 2
    for url in urls:
        connection = await asyncpg.connect(url)
        try:
            assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
            await connection.execute("CREATE TABLE t (x int)")
        finally:
            await connection.close()


def test_what_was_committed_survives_the_death_of_the_server() -> None:
    if os.environ.get("STANCH_TEST_POSTGRES"):
        pytest.skip("a server that is not ours is not killed")
    with RealPostgres(fsync=True) as server:
        databases = FreshDatabases(server.url)
        databases.run("CREATE TABLE t AS SELECT 7 AS x")
        server.crash()
        server.start()
        assert databases.run("SELECT x FROM t") == "7"


def test_no_program_outlives_the_run_that_started_it(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent died")
    parts = Path(__file__).resolve().parents[2] / "parts"
    program = (
        "import os, sys, pathlib; from real_process import RealProcess\n"
        f"p = RealProcess(['/bin/sleep', '600'], log=pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "print(p.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(parts)},
        capture_output=True,
        text=True,
        check=False,
    )
    pid = int(run.stdout)
    assert run.returncode == -9
    assert not still_runs(pid)


def still_runs(pid: int) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        subprocess.run(["sleep", "0.01"], check=True)
    return True


def test_a_program_that_is_not_there_is_not_found() -> None:
    assert find_binary("no-such-program-of-ours") is None
