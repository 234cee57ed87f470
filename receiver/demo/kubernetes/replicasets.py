"""The ReplicaSet loop and the kubelets: as many pods as wanted, each with the fate of its images."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from receiver.demo.kubernetes import pods
from receiver.demo.kubernetes.hand import AS_CONTROLLER, MANAGER, Hand, owner_reference
from receiver.demo.kubernetes.resources import NODES, PODS, REPLICASETS, JsonObject
from receiver.demo.kubernetes.selectors import LabelSelector
from receiver.demo.kubernetes.storage import moment_of


class ReplicaSetLoop:
    """Makes, claims, releases and removes pods, and reports what became of them."""

    def __init__(self, hand: Hand, *, ready_after: timedelta) -> None:
        self._hand = hand
        self.ready_after = ready_after
        self._pods_made = 0

    def sync(self, replica_set: JsonObject) -> None:
        mine = self._release_and_claim(replica_set)
        surplus = len(mine) - replica_set["spec"]["replicas"]
        if surplus > 0:
            # Those that serve nobody go first, then the youngest, as the real one ranks them.
            mine.sort(key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
            mine.sort(key=pods.is_ready)
            for pod in mine[:surplus]:
                self._hand.store.remove(PODS, pod)
                message = f"Deleted pod: {pod['metadata']['name']}"
                self._hand.event(
                    REPLICASETS, replica_set, "replicaset-controller", "SuccessfulDelete", message
                )
        for _ in range(-surplus):
            pod = self._make_pod(replica_set)
            message = f"Created pod: {pod['metadata']['name']}"
            self._hand.event(REPLICASETS, replica_set, "replicaset-controller", "SuccessfulCreate", message)
        mine = self._pods_of(replica_set)
        ready = sum(pods.is_ready(pod) for pod in mine)
        wait, now = _min_ready(replica_set), self._hand.store.now()
        numbers = {
            "fullyLabeledReplicas": len(mine),
            "readyReplicas": ready,
            "availableReplicas": sum(pods.is_available(pod, wait, now) for pod in mine),
        }
        status = {
            "replicas": len(mine),
            **{key: value for key, value in numbers.items() if value},
            "terminatingReplicas": 0,
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        self._hand.registry.write_status(REPLICASETS, replica_set, status, MANAGER)

    def _release_and_claim(self, replica_set: JsonObject) -> list[JsonObject]:
        """Let go of pods whose labels no longer match; take up those that match and belong to nobody."""
        selector = LabelSelector.of_object(replica_set["spec"]["selector"])
        mine: list[JsonObject] = []
        for pod in self._pods_of(replica_set):
            if selector.matches(pod["metadata"].get("labels", {})):
                mine.append(pod)
            else:
                self._hand.write(PODS, pod, {"ownerReferences": []}, {})
        for pod in self._hand.store.controlled(PODS, replica_set["metadata"]["namespace"], None):
            if selector.matches(pod["metadata"].get("labels", {})):
                ours = {"ownerReferences": [owner_reference(REPLICASETS, replica_set)]}
                mine.append(self._hand.write(PODS, pod, ours, {}))
        return mine

    def _pods_of(self, replica_set: JsonObject) -> list[JsonObject]:
        return self._hand.owned(PODS, replica_set)

    def _make_pod(self, replica_set: JsonObject) -> JsonObject:
        metadata, template = replica_set["metadata"], replica_set["spec"]["template"]
        nodes = [n for n in self._hand.store.objects(NODES) if not n.get("spec", {}).get("unschedulable")]
        spec = dict(template["spec"])
        # A template that names a node needs no scheduler.
        if nodes and "nodeName" not in spec:
            spec["nodeName"] = nodes[self._pods_made % len(nodes)]["metadata"]["name"]
        self._pods_made += 1
        body = {
            "metadata": {
                "generateName": f"{metadata['name']}-",
                "labels": dict(template["metadata"]["labels"]),
                "annotations": dict(template["metadata"].get("annotations", {})),
                "ownerReferences": [owner_reference(REPLICASETS, replica_set)],
            },
            "spec": spec,
        }
        return self._hand.registry.create(PODS, metadata["namespace"], body, AS_CONTROLLER).obj

    def sync_pod(self, pod: JsonObject) -> None:
        if pods.is_ready(pod):
            return
        status = pods.report(pod, now=self._hand.store.now(), ready_after=self.ready_after)
        waited = bool(pod["status"].get("containerStatuses"))
        self._hand.registry.write_status(PODS, pod, status, "kubelet")
        if pods.template_health(pod["spec"]) == "broken" and not waited:
            images = [
                c["image"] for c in pod["spec"]["containers"] if pods.image_health(c["image"]) == "broken"
            ]
            message = f'Failed to pull image "{images[0]}": not found'
            self._hand.event(PODS, pod, "kubelet", "Failed", message, kind="Warning")

    def due_moments(self, reached: datetime | None) -> Iterator[datetime]:
        """When pods will become Ready or available; ``reached`` is how far the world has come."""
        for pod in self._hand.store.objects(PODS):
            if not pods.is_ready(pod) and pods.template_health(pod["spec"]) != "broken":
                yield moment_of(pod["metadata"]["creationTimestamp"]) + self.ready_after
        for replica_set in self._hand.store.objects(REPLICASETS):
            yield from self._availability_moments(replica_set, reached)

    def _availability_moments(self, replica_set: JsonObject, reached: datetime | None) -> Iterator[datetime]:
        wait = _min_ready(replica_set)
        status = replica_set.get("status", {})
        if not wait or status.get("readyReplicas", 0) == status.get("availableReplicas", 0):
            return
        for pod in self._pods_of(replica_set):
            since = pods.ready_since(pod)
            if since is not None and (reached is None or since + wait > reached):
                yield since + wait


def _min_ready(obj: JsonObject) -> timedelta:
    return timedelta(seconds=obj["spec"].get("minReadySeconds", 0))
