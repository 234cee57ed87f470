"""The Deployment loop: which ReplicaSet is the current one, how large each is, what the status says.

Each call takes one Deployment one step on; the arithmetic is elsewhere, and pure.
"""

from __future__ import annotations

from receiver.demo.kubernetes import rollouts
from receiver.demo.kubernetes.hand import AS_CONTROLLER, MANAGER, Hand, owner_reference
from receiver.demo.kubernetes.resources import DEPLOYMENTS, REPLICASETS, JsonObject


class DeploymentLoop:
    """Brings Deployments on their way."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand

    def sync(self, deployment: JsonObject) -> None:
        owned = sorted(
            self._hand.owned(REPLICASETS, deployment), key=lambda each: each["metadata"]["creationTimestamp"]
        )
        wanted = deployment["spec"]["template"]
        current = next(
            (each for each in owned if rollouts.bare_template(each["spec"]["template"]) == wanted), None
        )
        old = [each for each in owned if each is not current]
        bounds = rollouts.Bounds.of(deployment["spec"])
        paused = deployment["spec"].get("paused", False)
        if current is None and not paused:
            current = self._make_replica_set(deployment, old, bounds)
            self._scaled(deployment, current, 0)
            made = rollouts.made_new_set(
                deployment.get("status", {}), current["metadata"]["name"], self._hand.store.now()
            )
            deployment = {**deployment, "status": made}
        elif current is not None:
            current = self._annotate(deployment, current, old)
            if self._scale(deployment, current, old, bounds, paused=paused):
                return
            if not any(each["spec"]["replicas"] for each in old):
                self._prune_history(deployment, old)
        status = rollouts.status_at(
            deployment,
            bounds,
            rollouts.Set.of(current) if current else None,
            [rollouts.Set.of(each) for each in old],
            self._hand.store.now(),
        )
        self._write_deployment_status(deployment, current, status)

    def _scale(
        self,
        deployment: JsonObject,
        current: JsonObject,
        old: list[JsonObject],
        bounds: rollouts.Bounds,
        *,
        paused: bool,
    ) -> bool:
        """Take one step of scaling; say whether there was one to take."""
        new_set = rollouts.Set.of(current)
        old_sets = [rollouts.Set.of(each) for each in old]
        if paused and any(each.wanted for each in old_sets):
            return False
        size = rollouts.new_size(bounds, new_set, old_sets)
        if size != new_set.wanted:
            self._resize(deployment, current, size, bounds)
            return True
        smaller = rollouts.old_sizes(bounds, new_set, old_sets)
        for each in old:
            if each["metadata"]["name"] in smaller:
                self._resize(deployment, each, smaller[each["metadata"]["name"]], bounds)
        return bool(smaller)

    def _make_replica_set(
        self, deployment: JsonObject, old: list[JsonObject], bounds: rollouts.Bounds
    ) -> JsonObject:
        spec, metadata = deployment["spec"], deployment["metadata"]
        hashed = rollouts.template_hash(spec["template"])
        label = {rollouts.HASH_LABEL: hashed}
        template = spec["template"]
        labels = {**template["metadata"]["labels"], **label}
        selector = spec["selector"]
        body: JsonObject = {
            "metadata": {
                "name": f"{metadata['name']}-{hashed}",
                "labels": labels,
                "annotations": {
                    **_copied(metadata),
                    **_bounds_annotations(bounds),
                    rollouts.REVISION: str(_highest_revision(old) + 1),
                },
                "ownerReferences": [owner_reference(DEPLOYMENTS, deployment)],
            },
            "spec": {
                "replicas": rollouts.new_size(bounds, None, [rollouts.Set.of(each) for each in old]),
                "selector": {**selector, "matchLabels": {**selector.get("matchLabels", {}), **label}},
                "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
            },
        }
        if "minReadySeconds" in spec:
            body["spec"]["minReadySeconds"] = spec["minReadySeconds"]
        return self._hand.registry.create(REPLICASETS, metadata["namespace"], body, AS_CONTROLLER).obj

    def _annotate(self, deployment: JsonObject, current: JsonObject, old: list[JsonObject]) -> JsonObject:
        """Copy the Deployment's annotations; give a re-used ReplicaSet the next revision number."""
        annotations = {**current["metadata"].get("annotations", {}), **_copied(deployment["metadata"])}
        next_revision = _highest_revision(old) + 1
        revision = int(annotations.get(rollouts.REVISION, "0"))
        if revision < next_revision:
            if revision:
                history = annotations.get(rollouts.REVISION_HISTORY)
                annotations[rollouts.REVISION_HISTORY] = f"{history},{revision}" if history else str(revision)
            annotations[rollouts.REVISION] = str(next_revision)
        return self._hand.write(REPLICASETS, current, {"annotations": annotations}, {})

    def _resize(
        self, deployment: JsonObject, replica_set: JsonObject, size: int, bounds: rollouts.Bounds
    ) -> None:
        before = replica_set["spec"]["replicas"]
        annotations = {**replica_set["metadata"].get("annotations", {}), **_bounds_annotations(bounds)}
        changed = self._hand.write(REPLICASETS, replica_set, {"annotations": annotations}, {"replicas": size})
        self._scaled(deployment, changed, before)

    def _scaled(self, deployment: JsonObject, replica_set: JsonObject, before: int) -> None:
        size = replica_set["spec"]["replicas"]
        if size == before:
            return
        word = "up" if size > before else "down"
        name = replica_set["metadata"]["name"]
        message = f"Scaled {word} replica set {name} from {before} to {size}"
        self._hand.event(DEPLOYMENTS, deployment, "deployment-controller", "ScalingReplicaSet", message)

    def _prune_history(self, deployment: JsonObject, old: list[JsonObject]) -> None:
        surplus = len(old) - deployment["spec"].get("revisionHistoryLimit", 10)
        for each in sorted(old, key=_revision)[: max(0, surplus)]:
            self._hand.store.remove(REPLICASETS, each)

    def _write_deployment_status(
        self, deployment: JsonObject, current: JsonObject | None, status: JsonObject
    ) -> None:
        annotations = dict(deployment["metadata"].get("annotations", {}))
        if current is not None:
            annotations[rollouts.REVISION] = current["metadata"]["annotations"][rollouts.REVISION]
        obj = {**deployment, "metadata": {**deployment["metadata"], "annotations": annotations}}
        self._hand.registry.write_status(DEPLOYMENTS, obj, status, MANAGER)


def _copied(metadata: JsonObject) -> dict[str, str]:
    annotations: dict[str, str] = metadata.get("annotations", {})
    return {key: value for key, value in annotations.items() if key not in rollouts.NOT_COPIED}


def _bounds_annotations(bounds: rollouts.Bounds) -> dict[str, str]:
    return {rollouts.DESIRED: str(bounds.replicas), rollouts.MAXIMUM: str(bounds.most)}


def _revision(replica_set: JsonObject) -> int:
    return int(replica_set["metadata"].get("annotations", {}).get(rollouts.REVISION, "0"))


def _highest_revision(sets: list[JsonObject]) -> int:
    return max((_revision(each) for each in sets), default=0)
