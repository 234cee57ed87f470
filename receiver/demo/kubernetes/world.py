"""The small cluster without its network: what a test or the demo arranges by hand.

Manifests in, rollouts that happened some time ago, another person's change, a controller's status writes.
Nothing done here counts as a call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from receiver.demo.kubernetes.controller import Controller
from receiver.demo.kubernetes.defaults import with_defaults
from receiver.demo.kubernetes.managed import Writer, with_managed_fields
from receiver.demo.kubernetes.pods import Health, is_ready, template_health
from receiver.demo.kubernetes.registry import Registry, WriteOptions
from receiver.demo.kubernetes.resources import (
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    SERVICEACCOUNTS,
    JsonObject,
    by_kind,
    by_plural,
)
from receiver.demo.kubernetes.rules import MERGE_PATCH
from receiver.demo.kubernetes.selectors import LabelSelector
from receiver.demo.kubernetes.status import invalid
from receiver.demo.kubernetes.storage import Store, timestamp
from receiver.demo.kubernetes.validation import objections
from receiver.domain.clock import Clock

READY_AFTER = timedelta(seconds=20)
"""How long a well pod takes from creation to Ready: long enough to watch, short enough to wait."""


class World:
    """Store, rules and controllers on one clock."""

    def __init__(
        self, clock: Clock, *, ready_after: timedelta = READY_AFTER, nodes: int = 2, seed: int = 0
    ) -> None:
        self.clock = clock
        self.store = Store(clock.now, seed=seed)
        self.registry = Registry(self.store)
        self.controller = Controller(self.registry, ready_after=ready_after)
        for namespace in ("default", "kube-system"):
            self.ensure_namespace(namespace)
        for number in range(nodes):
            self._add_node(f"node-{number}")

    def reconcile(self) -> None:
        """Let the controllers bring the world to the clock's present."""
        self.controller.reconcile(self.clock.now())

    def ensure_namespace(self, name: str) -> None:
        if self.store.get(NAMESPACES, "", name) is None:
            self.registry.create(NAMESPACES, "", {"metadata": {"name": name}}, WriteOptions())
            # As the controllers do; every pod runs as somebody.
            account = {"metadata": {"name": "default", "namespace": name}}
            self.registry.create(
                SERVICEACCOUNTS, name, account, WriteOptions(manager="kube-controller-manager")
            )

    def load(self, manifests: Iterable[JsonObject], *, manager: str = "kubectl") -> list[JsonObject]:
        """Create each object (and its namespace); a manifest's status is kept. Returns them as stored."""
        return [self._load_one(manifest, manager) for manifest in manifests]

    def _load_one(self, manifest: JsonObject, manager: str) -> JsonObject:
        resource = by_kind(manifest["apiVersion"], manifest["kind"])
        namespace = manifest["metadata"].get("namespace", "default") if resource.namespaced else ""
        if namespace:
            self.ensure_namespace(namespace)
        options = WriteOptions(manager=manager)
        obj = self.registry.create(resource, namespace, manifest, options).obj
        if "status" in manifest:
            self.registry.write_status(resource, obj, manifest["status"], manager)
        return self.registry.read(resource, namespace, obj["metadata"]["name"])

    def restore(self, objects: Iterable[JsonObject], *, manager: str = "kubectl") -> None:
        """Put objects in as `kubectl get` printed them: uid, times, generation and status stay.

        What they call for and is not among them (the pods of a ReplicaSet, say) was there for a while. Fields
        without a known manager, as kubectl leaves them out, belong to ``manager``. Raises `ApiError`.
        """
        for exported in objects:
            resource = by_kind(exported["apiVersion"], exported["kind"])
            metadata = {"generation": 1, **exported["metadata"]}
            if resource.namespaced:
                self.ensure_namespace(metadata["namespace"])
            metadata.setdefault("uid", self.store.new_uid())
            metadata.setdefault("creationTimestamp", timestamp(self.clock.now()))
            obj = with_defaults(resource, {**exported, "metadata": metadata})
            if causes := objections(resource, obj, None):
                raise invalid(resource, metadata["name"], causes)
            if "managedFields" not in obj["metadata"]:
                obj = with_managed_fields(obj, None, Writer(manager, metadata["creationTimestamp"]))
            self.store.put(resource, obj)
        self.controller.reconcile(self.clock.now() - 2 * self.controller.ready_after)
        self.reconcile()

    def rollout(self, manifest: JsonObject, *, ago: timedelta, manager: str = "kubectl") -> JsonObject:
        """Apply a Deployment's manifest as if that had been ``ago``, and live through it until now.

        The first call makes revision 1, one with another template the next. Every timestamp is of then.
        """
        self.rollouts([manifest], ago=ago, manager=manager)
        namespace = manifest["metadata"].get("namespace", "default")
        return self.registry.read(DEPLOYMENTS, namespace, manifest["metadata"]["name"])

    def rollouts(self, manifests: Iterable[JsonObject], *, ago: timedelta, manager: str = "kubectl") -> None:
        """Several Deployments rolled out at one moment: the world is lived through once for all of them."""
        now = self.clock.now()
        then = now - ago
        self.controller.reconcile(then)
        with self.store.pinned(then):
            for manifest in manifests:
                namespace = manifest["metadata"].get("namespace", "default")
                name = manifest["metadata"]["name"]
                if self.store.get(DEPLOYMENTS, namespace, name) is None:
                    self.load([manifest], manager=manager)
                else:
                    options = WriteOptions(manager=manager)
                    self.registry.replace(DEPLOYMENTS, namespace, name, manifest, options)
        self.controller.reconcile(then)
        self.controller.reconcile(now)

    def get(self, plural: str, namespace: str, name: str) -> JsonObject:
        """The object as stored; raises `ApiError` (404)."""
        return self.registry.read(by_plural(plural), namespace, name)

    def find(self, plural: str, namespace: str | None = None, labels: str = "") -> list[JsonObject]:
        """Objects of a kind, narrowed by a label selector as in a query."""
        selector = LabelSelector.parse(labels)
        found = self.store.objects(by_plural(plural), namespace)
        return [obj for obj in found if selector.matches(obj["metadata"].get("labels", {}))]

    def ready_pods(self, namespace: str, labels: str = "") -> dict[Health, int]:
        """How many pods serve, by the health of their images: what metrics would tell."""
        serving = [pod for pod in self.find("pods", namespace, labels) if is_ready(pod)]
        return dict(Counter(template_health(pod["spec"]) for pod in serving))

    def change(
        self, plural: str, namespace: str, name: str, patch: JsonObject, *, manager: str = "kubectl-edit"
    ) -> JsonObject:
        """Somebody else's merge patch: spec, labels, whatever."""
        options = WriteOptions(manager=manager)
        outcome = self.registry.patch(by_plural(plural), namespace, name, (MERGE_PATCH, patch), options)
        return outcome.obj

    def touch(
        self, plural: str, namespace: str, name: str, *, manager: str = "kube-controller-manager"
    ) -> JsonObject:
        """A status-only write: another `resourceVersion`, the same `generation`."""
        return self.registry.touch(by_plural(plural), namespace, name, manager)

    def _add_node(self, name: str) -> None:
        now = timestamp(self.store.now())
        size = {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}
        pressures = (
            ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID"),
            ("Ready", "True", "KubeletReady"),
        )
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": reason,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for kind, status, reason in pressures
        ]
        addresses = [
            {"type": "InternalIP", "address": f"10.0.0.{len(self.store.objects(NODES)) + 1}"},
            {"type": "Hostname", "address": name},
        ]
        status = {"capacity": size, "allocatable": size, "conditions": conditions, "addresses": addresses}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        body: JsonObject = {"metadata": {"name": name, "labels": labels}, "spec": {}}
        obj = self.registry.create(NODES, "", body, WriteOptions(manager="kubelet")).obj
        self.registry.write_status(NODES, obj, status, "kubelet")
