"""The metrics API (`metrics.k8s.io`), which is no part of the API server: absent until somebody installs it.

Nothing ever runs here, so a test or the demo says what containers and nodes use. Who says nothing is not
measured, as a pod that has just started.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from receiver.demo.kubernetes.resources import NODES, PODS, JsonObject, Resource
from receiver.demo.kubernetes.selectors import Selection
from receiver.demo.kubernetes.status import not_found
from receiver.demo.kubernetes.storage import Store, timestamp

GROUP = "metrics.k8s.io"
_VERSION = f"{GROUP}/v1beta1"
_PATH = re.compile(
    rf"^/apis/{_VERSION}/(?:nodes|namespaces/(?P<namespace>[^/]+)/(?P<pods>pods)|(?P<all>pods))"
    r"(?:/(?P<name>[^/]+))?$"
)
Usage = dict[str, str]
"""`{"cpu": "250m", "memory": "64Mi"}`."""


@dataclass(frozen=True)
class Asked:
    """What a path of the metrics API names."""

    resource: Resource
    namespace: str | None
    name: str

    @property
    def verb(self) -> str:
        return "get" if self.name else "list"


@dataclass
class Metrics:
    """What is used, once somebody installed it."""

    installed: bool = False
    by_pod: dict[tuple[str, str], Usage] = field(default_factory=dict)
    """(namespace, pod name) to what its first container uses; the others use nothing."""
    by_node: dict[str, Usage] = field(default_factory=dict)

    def asked(self, path: str) -> Asked | None:
        """What the path names; None where it is none of the metrics API, or there is no such API."""
        found = _PATH.match(path.rstrip("/")) if self.installed else None
        if found is None:
            return None
        resource = PODS if found["pods"] or found["all"] else NODES
        return Asked(resource, found["namespace"], found["name"] or "")

    def answer(self, asked: Asked, store: Store, selection: Selection) -> JsonObject:
        """One object, or the list of those that are measured; raises 404."""
        now = timestamp(store.now())
        found = [
            measured
            for obj in store.objects(asked.resource, asked.namespace)
            if selection.matches(obj) and (measured := self._measured(asked.resource, obj, now)) is not None
        ]
        kind = f"{asked.resource.kind}Metrics"
        if asked.name:
            for each in found:
                if each["metadata"]["name"] == asked.name:
                    return {"kind": kind, "apiVersion": _VERSION, **each}
            raise not_found(asked.resource, asked.name)
        return {"kind": f"{kind}List", "apiVersion": _VERSION, "metadata": {}, "items": found}

    def _measured(self, resource: Resource, obj: JsonObject, now: str) -> JsonObject | None:
        metadata = obj["metadata"]
        kept = {key: metadata[key] for key in ("name", "namespace", "labels") if key in metadata}
        measured: JsonObject = {"metadata": kept, "timestamp": now, "window": "30s"}
        if resource is NODES:
            usage = self.by_node.get(metadata["name"])
            return None if usage is None else {**measured, "usage": usage}
        usage = self.by_pod.get((metadata["namespace"], metadata["name"]))
        if usage is None:
            return None
        idle: Usage = {"cpu": "0", "memory": "0"}
        containers = [
            {"name": container["name"], "usage": idle if index else usage}
            for index, container in enumerate(obj["spec"]["containers"])
        ]
        return {**measured, "containers": containers}
