"""The controllers of the small cluster: Deployments make ReplicaSets, these make pods, pods become Ready, and
claims get their volumes.

`reconcile(now)` moves the world as far as it should be at ``now``, through every moment in between at which
something was due, so a jump of an hour leaves the same trail as an hour of waiting. Between two such calls
nothing happens by itself; who calls it, and how often, is the owner's affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from receiver.demo.kubernetes import autoscalers, budgets, rollouts
from receiver.demo.kubernetes.deployments import DeploymentLoop
from receiver.demo.kubernetes.endpoints import sync as sync_endpoints
from receiver.demo.kubernetes.hand import MANAGER, Hand
from receiver.demo.kubernetes.operators import CnpgLoop
from receiver.demo.kubernetes.registry import Registry
from receiver.demo.kubernetes.replicasets import ReplicaSetLoop
from receiver.demo.kubernetes.resources import (
    CNPG_CLUSTERS,
    DEPLOYMENTS,
    HPAS,
    PODS,
    PVCS,
    REPLICASETS,
    SCALED_OBJECTS,
    SERVICES,
)
from receiver.demo.kubernetes.volumes import VolumeLoop

# Every round brings each object one step on; a rollout of some hundred steps stays far below.
_MOST_ROUNDS = 1_000


class Controller:
    """All control loops, over one registry."""

    def __init__(self, registry: Registry, *, ready_after: timedelta) -> None:
        self._hand = hand = Hand(registry)
        self._registry = registry
        self._store = registry.store
        self._deployments = DeploymentLoop(hand)
        self._replica_sets = ReplicaSetLoop(hand, ready_after=ready_after)
        self.volumes = VolumeLoop(hand)
        self.cnpg = CnpgLoop(hand)
        self._reached: datetime | None = None
        self._settled_version = -1

    @property
    def ready_after(self) -> timedelta:
        """How long a well pod takes from creation to Ready; may be set at any time."""
        return self._replica_sets.ready_after

    @ready_after.setter
    def ready_after(self, duration: timedelta) -> None:
        self._replica_sets.ready_after = duration

    def reconcile(self, now: datetime) -> None:
        """Bring the world to ``now``, one due moment after the other."""
        while (due := self.next_due()) is not None and due <= now:
            # A due moment may lie before the last call: then it was made due by a change since.
            version = self._store.version
            self._settle(max(due, self._reached or due))
            if self._store.version == version:
                break
        if self._store.version != self._settled_version:
            self._settle(now)

    def next_due(self) -> datetime | None:
        """The next moment at which something happens by itself; None if nothing is under way."""
        return min(self._due_moments(), default=None)

    def _due_moments(self) -> Iterator[datetime]:
        yield from self._replica_sets.due_moments(self._reached)
        yield from self.volumes.due_moments()
        yield from self.cnpg.due_moments(self._reached)
        for deployment in self._store.objects(DEPLOYMENTS):
            deadline = rollouts.progress_deadline(deployment["spec"], deployment.get("status", {}))
            if deadline and not deployment["spec"].get("paused"):
                yield deadline

    def _settle(self, now: datetime) -> None:
        with self._store.pinned(now):
            for _ in range(_MOST_ROUNDS):
                version = self._store.version
                self._collect_garbage()
                autoscalers.sync(self._hand)
                for deployment in self._store.objects(DEPLOYMENTS):
                    self._deployments.sync(deployment)
                for replica_set in self._store.objects(REPLICASETS):
                    self._replica_sets.sync(replica_set)
                for pod in self._store.objects(PODS):
                    self._replica_sets.sync_pod(pod)
                budgets.sync(self._registry, MANAGER)
                for service in self._store.objects(SERVICES):
                    sync_endpoints(self._hand, service)
                for cluster in self._store.objects(CNPG_CLUSTERS):
                    self.cnpg.sync(cluster)
                for claim in self._store.objects(PVCS):
                    self.volumes.sync(claim)
                if self._store.version == version:
                    self._reached = now
                    self._settled_version = version
                    return
        raise RuntimeError(f"the world does not come to rest at {now}")

    def _collect_garbage(self) -> None:
        pairs = (
            (REPLICASETS, DEPLOYMENTS),
            (PODS, REPLICASETS),
            (HPAS, SCALED_OBJECTS),
            (PVCS, CNPG_CLUSTERS),
        )
        for resource, owners in pairs:
            alive = {owner["metadata"]["uid"] for owner in self._store.objects(owners)}
            for obj in self._store.objects(resource):
                references = obj["metadata"].get("ownerReferences", [])
                mine = [each for each in references if each["kind"] == owners.kind]
                if mine and not any(each["uid"] in alive for each in mine):
                    self._store.remove(resource, obj)
