"""A real Prometheus for tests, and a target whose metrics a test sets.

Together with a real Alertmanager it is the whole path from a metric to the webhook, in about a second.
The intervals are 500 ms: long enough for two samples to make a rate, short enough to wait for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web
from real_process import need_binary
from real_server import RealServer, go_duration


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


class RealPrometheus(RealServer):
    """One Prometheus."""

    name = "prometheus"

    def __init__(self, folder: Path, settings: PrometheusSettings) -> None:
        super().__init__(folder, need_binary("prometheus"))
        self.settings = settings

    async def reload(self, settings: PrometheusSettings | None = None) -> None:
        """Read the configuration and the rules again; returns when they are in force."""
        self.settings = settings or self.settings
        await self._reload()

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector that ``expression`` gives now."""
        data = await self.get("/api/v1/query", query=expression)
        result: list[dict[str, Any]] = data["result"]
        return result

    async def get(self, path: str, **parameters: str) -> Any:
        """The ``data`` of one API answer."""
        answer = await self.request("GET", path, parameters=parameters)
        assert answer["status"] == "success", answer
        return answer["data"]

    def _flags(self) -> list[str]:
        return [
            f"--storage.tsdb.path={self._folder / 'data'}",
            "--web.enable-lifecycle",
            f"--rules.alert.resend-delay={go_duration(self.settings.resend_delay)}",
        ]

    def _config(self) -> Mapping[str, Any]:
        own_rules = self._folder / "rules.yml"
        own_rules.write_text(self.settings.rules or "groups: []\n")
        return self.settings.as_config(own_rules)
