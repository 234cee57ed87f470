"""A month of deliveries for replays: seeded, with repeats and copies as highly available peers send them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from builders import alert, labels, notification

from receiver.domain.journal import Kept

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
SERVICES = 40


def deliveries(seed: int, *, incidents: int, alerts: int) -> Iterator[Kept]:
    """So many incidents, of services in turn, and so many alerts told, most of them again and again."""
    chance = random.Random(seed)
    apart = timedelta(days=28) / incidents
    each = alerts // incidents
    for number in range(incidents):
        start = FEBRUARY + apart * number
        name = f"service-{number % SERVICES}"
        said = chance.choice(["critical", "warning", "info"])
        pods = [
            labels(alertname=f"Alert{number % 4}", app=name, pod=f"{name}-{pod}", severity=said)
            for pod in range(5)
        ]
        # Half of them are copies of the other peer; the last delivery tells the end.
        rounds = each // len(pods)
        for round_ in range(rounds):
            last = round_ == rounds - 1
            at = start + timedelta(minutes=1) * (round_ // 2)
            told = [
                alert(
                    status="resolved" if last else "firing",
                    starts_at=start,
                    ends_at=at if last else None,
                    with_labels=one,
                )
                for one in pods
            ]
            yield Kept(at + timedelta(seconds=round_ % 2), "alertmanager", notification(*told))


def services(start: int) -> str:
    """The name of the service that this incident is of."""
    return f"service-{start % SERVICES}"
