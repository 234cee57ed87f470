"""The webhook bodies of a test: what each Alertmanager peer posts at one moment, as often as it does."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from receiver.domain.canonical import digest_of
from receiver.trials.policy_test.model import FiringAlert, PolicyTest

NO_END = "0001-01-01T00:00:00Z"


def bodies_at(test: PolicyTest, moment: timedelta) -> list[bytes]:
    """Every notification of this moment, copies and peers included; firing ones before resolved ones."""
    changed = [alert for alert in test.alerts if moment in (alert.at, alert.until)]
    changed.sort(key=lambda alert: alert.at != moment)
    peers = range(1, test.delivery.peers + 1)
    return [
        _body(test, alert, moment, peer)
        for alert in changed
        for _ in range(test.delivery.copies)
        for peer in peers
    ]


def _body(test: PolicyTest, alert: FiringAlert, moment: timedelta, peer: int) -> bytes:
    status = "resolved" if moment == alert.until else "firing"
    entry = {
        "status": status,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": _time(test.clock + alert.at),
        "endsAt": _time(test.clock + moment) if status == "resolved" else NO_END,
        "generatorURL": "",
        "fingerprint": digest_of(sorted(alert.labels.items()))[:16],
    }
    body: dict[str, Any] = {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "stanch",
        "groupLabels": {},
        "commonLabels": dict(alert.labels),
        "commonAnnotations": dict(alert.annotations),
        "externalURL": f"http://alertmanager-{peer}.invalid:9093",
        "alerts": [entry],
    }
    return json.dumps(body).encode()


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
