"""A cluster and a Prometheus in memory, behind the same doors: what is left is our own work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.clients.answers import Answer, Applied, Rejected
from receiver.clients.cluster import Cluster
from receiver.clients.prometheus import Points, Prometheus
from receiver.demo.kubernetes import World as SmallCluster
from receiver.domain.plans import ObjectRef, PatchStep, Permission
from receiver.trials.bench import patients

PATTERN = "api-0"


class BenchClock:
    """Stands still until it is moved, so that an hour of waiting costs nothing; or runs, once told to."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._running_since: datetime | None = None

    def now(self) -> datetime:
        """See `Clock.now`."""
        if self._running_since is None:
            return self._now
        return self._now + (datetime.now(UTC) - self._running_since)

    async def sleep(self, duration: timedelta) -> None:
        """See `Clock.sleep`; the real clock's time."""
        await asyncio.sleep(max(0.0, duration.total_seconds()))

    def advance(self, duration: timedelta) -> None:
        """Move on at once."""
        self._now += duration

    def run(self) -> None:
        """Keep pace with the real clock from now on."""
        self._running_since = datetime.now(UTC)


class MemoryCluster(Cluster):
    """Every patient that is asked for exists, with a good and a bad release; a write is in place at once."""

    def __init__(self, clock: BenchClock) -> None:
        self._clock = clock
        self._changed: dict[str, dict[str, Any]] = {}
        self.release()

    def release(self) -> None:
        """Whoever is asked for from now on has a bad release of an hour ago."""
        small = SmallCluster(self._clock, ready_after=timedelta(0))
        for ago, image in ((timedelta(hours=3), patients.GOOD), (timedelta(hours=1), patients.BAD)):
            small.rollout(patients.deployment(PATTERN, image), ago=ago)
        self._deployment = json.dumps(small.get("deployments", patients.NAMESPACE, PATTERN))
        self._replica_sets = json.dumps(small.find("replicasets", patients.NAMESPACE))

    async def close(self) -> None:
        """Nothing is held."""

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        """See `ClusterReader.get`."""
        if ref.kind != "Deployment":
            return None
        if ref.name in self._changed:
            return self._changed[ref.name]
        found: dict[str, Any] = json.loads(self._deployment.replace(PATTERN, ref.name))
        return found

    async def list_objects(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        limit: int = 500,
    ) -> list[dict[str, Any]]:
        """See `ClusterReader.list_objects`."""
        if kind != "ReplicaSet" or labels is None:
            return []
        found: list[dict[str, Any]] = json.loads(self._replica_sets.replace(PATTERN, labels["app"]))
        return found

    async def may(self, permission: Permission, namespace: str, name: str) -> bool | None:
        """Everything."""
        return True

    async def patch(
        self, step: PatchStep, *, current: Mapping[str, Any], marker: Mapping[str, str], dry_run: bool
    ) -> Answer:
        """See `Cluster.patch`; only templates are ever changed here."""
        metadata = current["metadata"]
        found = await self.get(step.target)
        if found is None or found["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            return Rejected(409, "Conflict", (), "409 Conflict")
        generation = metadata["generation"] + 1
        made = {
            **current,
            "metadata": {
                **metadata,
                "annotations": {**metadata.get("annotations", {}), **marker},
                "resourceVersion": str(int(metadata["resourceVersion"]) + 1),
                "generation": generation,
            },
            "spec": {**current["spec"], "template": step.changes[0].after},
            "status": {**current["status"], "observedGeneration": generation},
        }
        if not dry_run:
            self._changed[step.target.name] = made
        return Applied(made)


class MemoryPrometheus(Prometheus):
    """One metric: sick since a while, until it is cured."""

    def __init__(self, clock: BenchClock) -> None:
        self.url = "memory"
        self._clock = clock
        self.fall_ill()

    def fall_ill(self) -> None:
        """Sick for some minutes already."""
        self._sick = self._clock.now() - patients.SICK_SINCE
        self._well: datetime | None = None

    def cure(self) -> None:
        """Well from now on."""
        self._well = self._clock.now()

    async def value(self, query: str, *, at: datetime) -> float | None:
        """See `Prometheus.value`."""
        return self._at(at)

    async def values(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> Points:
        """See `Prometheus.values`."""
        count = int((end - start) / step) + 1
        moments: Sequence[datetime] = [start + step * number for number in range(count)]
        return [(at, self._at(at)) for at in moments]

    def _at(self, at: datetime) -> float:
        sick = at >= self._sick and (self._well is None or at < self._well)
        return patients.SICK if sick else patients.WELL
