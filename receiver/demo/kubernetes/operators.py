"""CloudNativePG, as far as a Cluster's claims and the number of its instances go: no database ever runs.

For each instance a claim (and one for its WAL where that is asked for) with the labels that the real operator
gives; sizes are passed on upwards. Told that a volume is full, it passes nothing on, as the real one:
https://github.com/cloudnative-pg/cloudnative-pg/issues/11341
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from receiver.demo.kubernetes.claims import requested
from receiver.demo.kubernetes.hand import AS_CONTROLLER, Hand, owner_reference
from receiver.demo.kubernetes.resources import CNPG_CLUSTERS, PVCS, JsonObject
from receiver.demo.kubernetes.storage import moment_of
from receiver.domain.quantities import quantity

HEALTHY = "Cluster in healthy state"
CREATING = "Creating a new replica"
FULL = "Not enough disk space"
# The part of the spec that each role of a claim gets its size from, and what its name ends in.
_ROLES = {"PG_DATA": ("storage", ""), "PG_WAL": ("walStorage", "-wal")}


class CnpgLoop:
    """Keeps the claims and the status of every Cluster.

    ``joins_after`` is how long an instance takes until it is ready; ``full`` names Clusters, by namespace and
    name, of which a volume is full.
    """

    def __init__(self, hand: Hand, *, joins_after: timedelta = timedelta(minutes=1)) -> None:
        self._hand = hand
        self.joins_after = joins_after
        self.full: set[tuple[str, str]] = set()

    def sync(self, cluster: JsonObject) -> None:
        """Bring one Cluster a step further."""
        metadata, spec = cluster["metadata"], cluster["spec"]
        full = (metadata["namespace"], metadata["name"]) in self.full
        if not full:
            self._keep_claims(cluster)
        claims = self._claims(cluster)
        now = self._hand.store.now()
        instances = sorted({_instance(claim) for claim in claims})
        starting = {_instance(claim) for claim in claims if self._ready_at(claim) > now}
        ready = [name for name in instances if name not in starting]
        phase = FULL if full else HEALTHY if len(ready) == spec.get("instances", 1) else CREATING
        status = {
            "instances": len(instances),
            "readyInstances": len(ready),
            "instanceNames": instances,
            "phase": phase,
            **({"currentPrimary": ready[0]} if ready else {}),
        }
        self._hand.registry.write_status(CNPG_CLUSTERS, cluster, status, "cloudnative-pg")

    def due_moments(self, reached: datetime | None) -> Iterator[datetime]:
        """When instances become ready; ``reached`` is how far the world has come."""
        for cluster in self._hand.store.objects(CNPG_CLUSTERS):
            for claim in self._claims(cluster):
                ready_at = self._ready_at(claim)
                if reached is None or ready_at > reached:
                    yield ready_at

    def _ready_at(self, claim: JsonObject) -> datetime:
        return moment_of(claim["metadata"]["creationTimestamp"]) + self.joins_after

    def _claims(self, cluster: JsonObject) -> list[JsonObject]:
        return self._hand.owned(PVCS, cluster)

    def _keep_claims(self, cluster: JsonObject) -> None:
        metadata, spec = cluster["metadata"], cluster["spec"]
        present = {claim["metadata"]["name"]: claim for claim in self._claims(cluster)}
        for number in range(1, spec.get("instances", 1) + 1):
            instance = f"{metadata['name']}-{number}"
            for role, (part, ending) in _ROLES.items():
                if part not in spec:
                    continue
                name = f"{instance}{ending}"
                if name not in present:
                    self._make_claim(cluster, name, instance, role, spec[part])
                elif requested(present[name]) < quantity(spec[part]["size"]):
                    size = {"requests": {"storage": spec[part]["size"]}}
                    self._hand.write(PVCS, present[name], {}, {"resources": size})

    def _make_claim(
        self, cluster: JsonObject, name: str, instance: str, role: str, storage: JsonObject
    ) -> None:
        labels = {
            "cnpg.io/cluster": cluster["metadata"]["name"],
            "cnpg.io/instanceName": instance,
            "cnpg.io/pvcRole": role,
        }
        body = {
            "metadata": {
                "name": name,
                "labels": labels,
                "ownerReferences": [owner_reference(CNPG_CLUSTERS, cluster)],
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": storage.get("storageClass", ""),
                "resources": {"requests": {"storage": storage["size"]}},
            },
        }
        self._hand.registry.create(PVCS, cluster["metadata"]["namespace"], body, AS_CONTROLLER)


def _instance(claim: JsonObject) -> str:
    return str(claim["metadata"]["labels"]["cnpg.io/instanceName"])
