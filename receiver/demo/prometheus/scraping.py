"""Asks in-process targets for their samples and stores them as a scrape would.

Each scrape adds `up` and `scrape_duration_seconds`. A target that raises is down and its series end there; so
does a series that a target no longer shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from receiver.demo.prometheus.series import NAME, Labels, SeriesStore, labels_of, milliseconds


@dataclass(frozen=True)
class Sample:
    """One line of a target's metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


Collector = Callable[[datetime], Iterable[Sample]]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that shows metrics. Its own labels win over those of its samples, as Prometheus has it."""

    job: str
    instance: str
    collect: Collector
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_labels(self) -> dict[str, str]:
        """What every series of this target carries."""
        return {**self.labels, "job": self.job, "instance": self.instance}

    def labelled(self, sample: Sample) -> Labels:
        """The stored series' labels; what both sides name is kept as ``exported_...``."""
        own = self.own_labels
        theirs = {f"exported_{k}" if k in own else k: v for k, v in sample.labels.items()}
        return labels_of({**theirs, **own, NAME: sample.name})


@dataclass
class Health:
    """The last scrape of a target."""

    at: datetime | None = None
    error: str = ""
    duration_s: float = 0.0


class Scraper:
    """Scrapes each target into one store."""

    def __init__(self, store: SeriesStore, targets: Iterable[Target]) -> None:
        self.targets: list[Target] = list(targets)
        self.health: dict[tuple[str, str], Health] = {}
        self._store = store
        self._shown: dict[tuple[str, str], set[Labels]] = {}

    def scrape(self, at: datetime) -> None:
        """One round over all targets."""
        for target in self.targets:
            self.scrape_one(target, at)

    def scrape_one(self, target: Target, at: datetime) -> None:
        """Store what one target shows now."""
        key = (target.job, target.instance)
        at_ms = milliseconds(at)
        error = ""
        started = time.perf_counter()
        try:
            samples = {target.labelled(sample): float(sample.value) for sample in target.collect(at)}
        except Exception as failure:  # noqa: BLE001 - whatever a target raises is a failed scrape
            samples, error = {}, f"{type(failure).__name__}: {failure}"
        duration = time.perf_counter() - started
        for labels, value in samples.items():
            self._store.append(labels, at_ms, value)
        for ended in self._shown.get(key, set()) - samples.keys():
            self._store.append(ended, at_ms, None)
        self._shown[key] = set(samples)
        self.health[key] = Health(at, error, duration)
        for name, value in (("up", 0.0 if error else 1.0), ("scrape_duration_seconds", duration)):
            self._store.append(labels_of({**target.own_labels, NAME: name}), at_ms, value)
