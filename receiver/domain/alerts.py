"""What an Alertmanager says: from the bytes of one webhook to alerts that can be joined to incidents.

The intake keeps the bytes; the reader calls `read_notification` on them later. Nothing here trusts the
sender's form: one bad alert leaves its neighbours readable, hostile text is cleaned, and a body that is
no notification at all is named as such, never raised as an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from pydantic_core import from_json

from receiver.domain.canonical import digest_of

KNOWN_VERSION = "4"

# Alertmanager writes Go's zero time for "no end yet" (a firing alert).
_NO_END_YEAR = 1
_NEVER_IN_TEXT = re.compile("[\x00\ud800-\udfff]")
_NUL = rb"\u0000"


@dataclass(frozen=True)
class Alert:
    """One alert of one notification, as the sender described it.

    ``ends_at`` is None while it fires. ``fingerprint`` is Alertmanager's own and only shown to people:
    it is a 64-bit hash and not told apart by sender.
    """

    status: Literal["firing", "resolved"]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    generator_url: str = ""
    fingerprint: str = ""
    cleaned: bool = False

    @property
    def name(self) -> str:
        """The ``alertname`` label, or an empty text."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True)
class BadAlert:
    """One entry of ``alerts`` that could not be read, with the reason and its place in the list."""

    index: int
    reason: str
    text: str


@dataclass(frozen=True)
class Notification:
    """A body that could be read: its alerts, those that could not, and what the group says."""

    receiver: str
    group_key: str
    external_url: str
    truncated_alerts: int
    alerts: tuple[Alert, ...]
    bad: tuple[BadAlert, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """A body that is no notification we know; it is kept as a dead letter."""

    reason: str


def identity_of(source: str, labels: Mapping[str, str]) -> str:
    """What makes two deliveries speak of the same alert: all labels, and the source they came from.

    Highly available Alertmanagers share one source name, so their copies are one alert.
    """
    return digest_of([source, sorted(labels.items())])


def clean(text: str) -> str:
    """Replace what no database column takes: NUL and lone surrogates become U+FFFD."""
    return _NEVER_IN_TEXT.sub("�", text)


def read_notification(body: bytes, *, received_at: datetime) -> Notification | Unreadable:
    """Read one webhook body (Alertmanager 0.25 to 0.34, version "4"); unknown fields are ignored.

    A ``startsAt`` in the future is a skewed clock: it becomes ``received_at``.
    """
    try:
        document, hostile = _parsed(body)
    except (ValueError, RecursionError) as error:
        return Unreadable(f"not JSON: {error}")
    if not isinstance(document, dict):
        return Unreadable(f"expected a JSON object, got {type(document).__name__}")
    version = document.get("version")
    if version != KNOWN_VERSION:
        return Unreadable(f'webhook version {version!r} is not known; this release reads "{KNOWN_VERSION}"')
    entries = document.get("alerts")
    if not isinstance(entries, list):
        return Unreadable('"alerts" is not a list')
    alerts: list[Alert] = []
    bad: list[BadAlert] = []
    for index, entry in enumerate(entries):
        try:
            alerts.append(_read_alert(entry, received_at, hostile=hostile))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            text = clean(json.dumps(entry))[:2000]
            bad.append(BadAlert(index, f"alerts[{index}]: {_sentence(error)}", text))
    truncated = document.get("truncatedAlerts")
    return Notification(
        receiver=_text(document.get("receiver")),
        group_key=_text(document.get("groupKey")),
        external_url=_text(document.get("externalURL")),
        truncated_alerts=truncated if isinstance(truncated, int) and truncated > 0 else 0,
        alerts=tuple(alerts),
        bad=tuple(bad),
    )


def parse_time(text: Any) -> datetime:
    """An RFC 3339 time as Go writes it (up to nine digits of a second), in UTC.

    Raises ValueError where it is none, or has no offset.
    """
    if not isinstance(text, str):
        raise ValueError(f"expected a time, got {text!r}")
    return _parse_time(text)


def _parsed(body: bytes) -> tuple[Any, bool]:
    """What the body says, and whether its texts may need cleaning.

    The quick parser takes no lone surrogates, so of what it reads only an escaped NUL has to go.
    """
    try:
        return from_json(body), _NUL in body
    except ValueError:
        return json.loads(body), True


# A start is told again with every repeat of its alert.
@lru_cache(maxsize=4096)
def _parse_time(text: str) -> datetime:
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", text)
    moment = datetime.fromisoformat(trimmed)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no offset")
    return moment.astimezone(UTC) if moment.year > _NO_END_YEAR else moment.replace(tzinfo=UTC)


def _read_alert(entry: Any, received_at: datetime, *, hostile: bool) -> Alert:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, got {type(entry).__name__}")
    status = entry.get("status")
    if status not in ("firing", "resolved"):
        raise ValueError(f'status {status!r} is neither "firing" nor "resolved"')
    labels, labels_cleaned = _texts(entry.get("labels"), "labels", hostile=hostile)
    if not labels:
        raise ValueError("an alert without labels has no identity")
    annotations, annotations_cleaned = _texts(entry.get("annotations") or {}, "annotations", hostile=hostile)
    starts_at = min(parse_time(entry.get("startsAt")), received_at)
    ends_at: datetime | None = None
    if status == "resolved":
        told = parse_time(entry.get("endsAt"))
        # A resolve without an end, or with one in the future, ended by the time we heard of it.
        ends_at = received_at if told.year <= _NO_END_YEAR else min(told, received_at)
        ends_at = max(ends_at, starts_at)
    return Alert(
        status=status,
        labels=labels,
        annotations=annotations,
        starts_at=starts_at,
        ends_at=ends_at,
        generator_url=_text(entry.get("generatorURL")),
        fingerprint=_text(entry.get("fingerprint")),
        cleaned=labels_cleaned or annotations_cleaned,
    )


def _texts(value: Any, field: str, *, hostile: bool) -> tuple[dict[str, str], bool]:
    if not isinstance(value, dict):
        raise ValueError(f"{field} is not an object")
    for name, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f"{field}[{clean(name)!r}] is not a text")
    if not hostile:
        return value, False
    cleaned = {clean(name): clean(text) for name, text in value.items()}
    return cleaned, cleaned != value


def _text(value: Any) -> str:
    return clean(value) if isinstance(value, str) else ""


def _sentence(error: Exception) -> str:
    return clean(str(error))[:300]
