"""A real Prometheus for tests, and a target whose metrics a test sets.

Together with a real Alertmanager it is the whole path from a metric to the webhook, in about a second.
The intervals are 500 ms: long enough for two samples to make a rate, short enough to wait for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from real_alertmanager import START_PATIENCE_S, go_duration, wait_until_ready
from real_process import RealProcess, free_port, need_binary


class Metrics:
    """A scrape target on loopback that shows the text it was last given."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.status = 200
        self.scrapes = 0
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where Prometheus finds the metrics."""
        return f"http://127.0.0.1:{self._port}/metrics"

    def set(self, text: str) -> None:
        """Show this text, in Prometheus's exposition format, from the next scrape on."""
        self.text = text if text.endswith("\n") else text + "\n"

    def set_values(self, values: Mapping[str, float]) -> None:
        """Show these series: ``{'up_again{app="api"}': 1}``."""
        self.set("".join(f"{series} {value}\n" for series, value in values.items()))

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.scrapes += 1
        return web.Response(text=self.text, status=self.status)


@dataclass(frozen=True, kw_only=True)
class PrometheusSettings:
    """What a test may want to differ. Target and Alertmanager addresses are plain URLs."""

    targets: tuple[str, ...] = ()
    job: str = "app"
    alertmanagers: tuple[str, ...] = ()
    rules: str = ""  # the text of one rule file, YAML
    rule_files: tuple[Path, ...] = ()
    external_labels: Mapping[str, str] = field(default_factory=dict)
    scrape_interval: timedelta = timedelta(milliseconds=500)
    evaluation_interval: timedelta = timedelta(milliseconds=500)
    # How often a firing alert is sent again: a minute in production. Alertmanager resolves after 4 of them.
    resend_delay: timedelta = timedelta(seconds=1)
    alert_relabel_configs: tuple[Mapping[str, Any], ...] = ()

    def as_config(self, own_rules: Path) -> dict[str, Any]:
        """The configuration file's content."""
        return {
            "global": {
                "scrape_interval": go_duration(self.scrape_interval),
                "scrape_timeout": go_duration(self.scrape_interval),
                "evaluation_interval": go_duration(self.evaluation_interval),
                "external_labels": dict(self.external_labels),
            },
            "rule_files": [str(own_rules), *map(str, self.rule_files)],
            "scrape_configs": [
                {
                    "job_name": self.job if number == 0 else f"{self.job}-{number}",
                    "metrics_path": urlsplit(url).path or "/metrics",
                    "static_configs": [{"targets": [urlsplit(url).netloc]}],
                }
                for number, url in enumerate(self.targets)
            ],
            "alerting": {
                "alert_relabel_configs": [dict(rule) for rule in self.alert_relabel_configs],
                "alertmanagers": [
                    {"static_configs": [{"targets": [urlsplit(url).netloc]}]} for url in self.alertmanagers
                ],
            },
        }


class RealPrometheus:
    """One Prometheus process with its own data directory; ``start`` again continues from that data."""

    def __init__(self, folder: Path, settings: PrometheusSettings) -> None:
        self.settings = settings
        self._binary = need_binary("prometheus")
        self._folder = folder
        self._process: RealProcess | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The base address of its API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.running

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start on the same port and data as before, and return when it is ready."""
        assert not self.running, "it runs already"
        self._write_config()
        self._process = RealProcess(self._command(), log=self._folder / "prometheus.log")
        try:
            await wait_until_ready(self._process, f"{self.url}/-/ready", START_PATIENCE_S)
        except BaseException:
            self._process.kill()
            raise

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        if self._process is not None:
            await self._process.stop_soon()
            self._process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    async def reload(self, settings: PrometheusSettings | None = None) -> None:
        """Read the configuration and the rules again; returns when they are in force."""
        self.settings = settings or self.settings
        self._write_config()
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.post(f"{self.url}/-/reload") as response,
        ):
            assert response.status == 200, await response.text()

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector that ``expression`` gives now."""
        data = await self.get("/api/v1/query", query=expression)
        result: list[dict[str, Any]] = data["result"]
        return result

    async def get(self, path: str, **parameters: str) -> Any:
        """The ``data`` of one API answer."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(self.url + path, params=parameters) as response,
        ):
            answer = await response.json()
            assert answer["status"] == "success", answer
            return answer["data"]

    def log_tail(self) -> str:
        """The end of its log, for a failing test's message."""
        return "" if self._process is None else self._process.log_tail()

    def _command(self) -> list[str]:
        return [
            str(self._binary),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--web.external-url={self.url}",
            "--web.route-prefix=/",
            "--web.enable-lifecycle",
            f"--rules.alert.resend-delay={go_duration(self.settings.resend_delay)}",
        ]

    def _write_config(self) -> None:
        own_rules = self._folder / "rules.yml"
        own_rules.write_text(self.settings.rules or "groups: []\n")
        config = self.settings.as_config(own_rules)
        (self._folder / "prometheus.yml").write_text(json.dumps(config, indent=1))  # YAML reads JSON
