"""Asks one Alertmanager which alerts it has for us, and how long it has been up.

Membership comes from here and only from here: alerts routed to our receiver, active, neither silenced nor
inhibited. A fresh Alertmanager knows nothing for a while, so its uptime is part of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp

from receiver.clients.bodies import whole
from receiver.domain.alerts import clean, parse_time
from receiver.domain.errors import PermanentError, TemporaryError

TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class ListedAlert:
    """One alert as Alertmanager has it now; ``suppressed`` is silenced, inhibited or muted."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    receivers: frozenset[str]
    suppressed: bool
    fingerprint: str
    generator_url: str


@dataclass(frozen=True)
class Listing:
    """Everything one Alertmanager said in one round."""

    alerts: tuple[ListedAlert, ...]
    up_since: datetime


@dataclass(frozen=True)
class InForce:
    """How one Alertmanager is set up: its YAML with ``<secret>`` for secrets, and how many of its cluster it
    sees, itself among them; 0 where it is alone.
    """

    config: str
    peers: int


class Alertmanager:
    """One Alertmanager's API; peers of one cluster are asked each for itself."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url.rstrip("/")

    async def listing(self, *, alertname: str | None = None) -> Listing:
        """All alerts it holds, or those of one name, suppressed ones marked. Raises TemporaryError."""
        status = await self._get("status", {})
        parameters = {"active": "true", "silenced": "true", "inhibited": "true"}
        if alertname is not None:
            parameters["filter"] = f"alertname={json.dumps(alertname)}"
        alerts = await self._get("alerts", parameters)
        try:
            return Listing(tuple(_listed(entry) for entry in alerts), parse_time(status["uptime"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TemporaryError(f"Alertmanager gave an answer we cannot read: {error}") from error

    async def in_force(self) -> InForce:
        """The configuration that it runs with. Raises TemporaryError; PermanentError where it tells none."""
        status = await self._get("status", {})
        try:
            peers = (status.get("cluster") or {}).get("peers") or []
            return InForce(str(status["config"]["original"]), len(peers))
        except (KeyError, TypeError, AttributeError) as error:
            raise PermanentError("it does not tell its configuration") from error

    async def _get(self, endpoint: str, parameters: Mapping[str, str]) -> Any:
        try:
            async with self._session.get(
                f"{self.url}/api/v2/{endpoint}",
                params=parameters,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise TemporaryError(f"Alertmanager answered {response.status}")
                body = await whole(response.content, most=MAX_ANSWER_BYTES)
            return json.loads(body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TemporaryError(f"Alertmanager cannot be reached: {type(error).__name__}") from error
        except ValueError as error:
            raise TemporaryError("Alertmanager's answer is not JSON") from error


def _listed(entry: Mapping[str, Any]) -> ListedAlert:
    labels = entry["labels"]
    status = entry["status"]
    receivers = entry["receivers"]
    if not isinstance(labels, dict) or not isinstance(status, dict) or not isinstance(receivers, list):
        raise ValueError("unexpected form of an alert")
    annotations = entry.get("annotations")
    return ListedAlert(
        labels={clean(str(name)): clean(str(value)) for name, value in labels.items()},
        annotations={clean(str(k)): clean(str(v)) for k, v in annotations.items()}
        if isinstance(annotations, dict)
        else {},
        starts_at=parse_time(entry["startsAt"]),
        receivers=frozenset(str(receiver["name"]) for receiver in receivers),
        suppressed=status.get("state") != "active",
        fingerprint=str(entry.get("fingerprint", "")),
        generator_url=str(entry.get("generatorURL", "")),
    )
