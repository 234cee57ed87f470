"""A real Alertmanager for tests: started on loopback, fed, silenced, reloaded, killed and started again.

Used by the acceptance tests that hold the intake and the reconciliation to what Alertmanager really does.
One of them listens for no peer; two of them gossip on loopback (``alertmanager_pair``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from real_process import DEBIAN_PARTS, NotReadyError, free_port, need_binary
from real_server import START_PATIENCE_S, RealServer, go_duration

# Compiled into Debian's build, which does not start without them.
DEBIAN_TEMPLATES = Path("/usr/share/prometheus/alertmanager")


@dataclass(frozen=True, kw_only=True)
class AlertmanagerSettings:
    """What a test may want to differ; everything else is one route to one webhook."""

    receiver_url: str
    receiver_name: str = "stanch"
    bearer_token: str = ""  # written to a credentials_file, as the shipped snippet does
    group_by: tuple[str, ...] = ("alertname", "namespace", "app")
    # 0 s races with a POST of several alerts: a test that needs the whole group says 1 s.
    group_wait: timedelta = timedelta(0)
    group_interval: timedelta = timedelta(seconds=1)
    repeat_interval: timedelta = timedelta(hours=1)
    max_alerts: int = 0
    send_resolved: bool = True
    resolve_timeout: timedelta = timedelta(minutes=5)
    extra_routes: tuple[Mapping[str, Any], ...] = ()  # come first in the tree
    extra_receivers: tuple[Mapping[str, Any], ...] = ()
    inhibit_rules: tuple[Mapping[str, Any], ...] = ()
    peer_timeout: timedelta = timedelta(seconds=1)  # a peer's turn; 15 s in production

    def as_config(self, credentials: Path) -> dict[str, Any]:
        """The configuration file's content; the token itself is never in it."""
        webhook: dict[str, Any] = {
            "url": self.receiver_url,
            "send_resolved": self.send_resolved,
            "max_alerts": self.max_alerts,
        }
        if self.bearer_token:
            webhook["http_config"] = {
                "authorization": {"type": "Bearer", "credentials_file": str(credentials)},
            }
        return {
            "global": {"resolve_timeout": go_duration(self.resolve_timeout)},
            "route": {
                "receiver": self.receiver_name,
                "group_by": list(self.group_by),
                "group_wait": go_duration(self.group_wait),
                "group_interval": go_duration(self.group_interval),
                "repeat_interval": go_duration(self.repeat_interval),
                "routes": [dict(route) for route in self.extra_routes],
            },
            "receivers": [
                {"name": self.receiver_name, "webhook_configs": [webhook]},
                *(dict(receiver) for receiver in self.extra_receivers),
            ],
            "inhibit_rules": [dict(rule) for rule in self.inhibit_rules],
        }


@dataclass(frozen=True, kw_only=True)
class PostedAlert:
    """An alert as a client of Alertmanager's API sends it; without ``ends_at`` it fires."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    generator_url: str = "http://prometheus.invalid/graph"

    def as_json(self) -> dict[str, Any]:
        """The form that ``POST /api/v2/alerts`` takes."""
        body: dict[str, Any] = {
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "generatorURL": self.generator_url,
        }
        if self.starts_at is not None:
            body["startsAt"] = self.starts_at.isoformat()
        if self.ends_at is not None:
            body["endsAt"] = self.ends_at.isoformat()
        return body


class RealAlertmanager(RealServer):
    """One Alertmanager. Stopped in order, it keeps its notification log and its silences."""

    name = "alertmanager"

    def __init__(
        self,
        folder: Path,
        settings: AlertmanagerSettings,
        *,
        gossip_port: int | None = None,
        peer_ports: Sequence[int] = (),
    ) -> None:
        super().__init__(folder, need_alertmanager())
        self.settings = settings
        self._gossip_port = gossip_port
        self._peer_ports = tuple(peer_ports)

    async def reload(self, settings: AlertmanagerSettings | None = None) -> None:
        """Read the configuration again, changed or not; returns when the new one is in force."""
        self.settings = settings or self.settings
        await self._reload()

    async def post_alerts(self, *alerts: PostedAlert) -> None:
        """Inject alerts as Prometheus would."""
        await self.request("POST", "/api/v2/alerts", [alert.as_json() for alert in alerts])

    async def resolve(self, *alerts: PostedAlert) -> None:
        """Post the same alerts again as ended just now."""
        now = datetime.now(UTC)
        ended = [replace(alert, starts_at=alert.starts_at or now, ends_at=now) for alert in alerts]
        await self.post_alerts(*ended)

    async def alerts(self, **parameters: str) -> list[dict[str, Any]]:
        """``GET /api/v2/alerts``; parameters such as ``silenced="false"`` or ``receiver="stanch"``."""
        answer: list[dict[str, Any]] = await self.request("GET", "/api/v2/alerts", parameters=parameters)
        return answer

    async def status(self) -> dict[str, Any]:
        """``GET /api/v2/status``: version, uptime, cluster and the configuration in force."""
        answer: dict[str, Any] = await self.request("GET", "/api/v2/status")
        return answer

    async def silence(self, matchers: Mapping[str, str], duration: timedelta, comment: str = "test") -> str:
        """Silence what has all these labels, from now on; returns the silence's id."""
        now = datetime.now(UTC)
        answer = await self.request(
            "POST",
            "/api/v2/silences",
            {
                "matchers": [
                    {"name": name, "value": value, "isRegex": False, "isEqual": True}
                    for name, value in matchers.items()
                ],
                "startsAt": now.isoformat(),
                "endsAt": (now + duration).isoformat(),
                "createdBy": "test",
                "comment": comment,
            },
        )
        return str(answer["silenceID"])

    async def expire_silence(self, silence_id: str) -> None:
        """End a silence now."""
        await self.request("DELETE", f"/api/v2/silence/{silence_id}")

    def _flags(self) -> list[str]:
        gossip = "" if self._gossip_port is None else f"127.0.0.1:{self._gossip_port}"
        flags = [
            f"--storage.path={self._folder / 'data'}",
            # Empty means no gossip at all; by default it would bind every interface.
            f"--cluster.listen-address={gossip}",
        ]
        if gossip:
            flags += [
                f"--cluster.advertise-address={gossip}",
                f"--cluster.peer-timeout={go_duration(self.settings.peer_timeout)}",
                # It notifies nobody before gossip has settled, which it looks at every 10 such intervals.
                "--cluster.gossip-interval=20ms",
                "--cluster.pushpull-interval=1s",
                *(f"--cluster.peer=127.0.0.1:{port}" for port in self._peer_ports),
            ]
        return flags

    def _config(self) -> Mapping[str, Any]:
        credentials = self._folder / "credentials"
        credentials.write_text(self.settings.bearer_token)
        return self.settings.as_config(credentials)


def need_alertmanager() -> Path:
    """The program; skips the test when it, or what Debian's build of it needs, is missing."""
    binary = need_binary("prometheus-alertmanager")
    if binary.parent == DEBIAN_PARTS and not DEBIAN_TEMPLATES.is_dir():
        pytest.skip("Alertmanager's templates are not installed: run `make deps`")
    return binary


@asynccontextmanager
async def alertmanager_pair(
    folder: Path, settings: AlertmanagerSettings
) -> AsyncIterator[tuple[RealAlertmanager, RealAlertmanager]]:
    """Two Alertmanagers that gossip on loopback and have found each other."""
    ports = free_port(), free_port()
    first = RealAlertmanager(folder / "first", settings, gossip_port=ports[0], peer_ports=ports[1:])
    second = RealAlertmanager(folder / "second", settings, gossip_port=ports[1], peer_ports=ports[:1])
    async with first, second:
        await eventually_peers((first, second), START_PATIENCE_S)
        yield first, second


async def eventually_peers(members: Iterable[RealAlertmanager], patience_s: float) -> None:
    """Return when each member sees all of them and its cluster is ready."""
    wanted = list(members)
    deadline = time.monotonic() + patience_s
    while True:
        clusters = [(await member.status())["cluster"] for member in wanted]
        if all(c["status"] == "ready" and len(c["peers"]) == len(wanted) for c in clusters):
            return
        if time.monotonic() > deadline:
            raise NotReadyError(f"the peers did not find each other: {clusters}")
        await asyncio.sleep(0.05)
