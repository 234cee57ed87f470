"""What a capture looks at, and what of an object may be kept. Pure.

The playbook's row 007.3a: logs and manifests of the pods concerned, who they run as and what that may do,
what may reach them, and what happened around them. Secrets and ConfigMaps by their metadata, never by value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.domain.locks import CLUSTER, covering, of_node
from receiver.domain.plans import ObjectRef, Permission
from receiver.domain.redaction import SECRET_NAME
from receiver.evidence.manifest import Gap, gap

# Every right in the cluster that a capture takes; a test holds each call to it, and each right to a call.
READS = (
    Permission("", "pods", "get"),
    Permission("", "pods", "list"),
    Permission("", "pods/log", "get"),
    Permission("", "events", "list"),
    Permission("", "serviceaccounts", "get"),
    Permission("", "configmaps", "list"),
    Permission("", "nodes", "get", everywhere=True),
    Permission("apps", "replicasets", "get"),
    Permission("apps", "deployments", "get"),
    Permission("networking.k8s.io", "networkpolicies", "list"),
    Permission("rbac.authorization.k8s.io", "rolebindings", "list"),
    Permission("rbac.authorization.k8s.io", "roles", "get"),
)
# Tried and not granted: whoever may list Secrets may read their values. Without it there is a gap, and the
# names of those that a pod mounts stand in its manifest.
NOT_GRANTED = Permission("", "secrets", "list")
RBAC = "rbac.authorization.k8s.io/v1"
REDACTED = "(redacted: its name says that it is secret)"
# It quotes the whole object as somebody applied it, values included.
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# RFC 1123: what an object's name may be; a label may say anything.
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """What a capture is of: an incident's lock, the labels of its alerts, and the namespaces that are ours.

    ``namespaces`` is where pods on a locked node are looked for: nobody has to grant all of them for it.
    """

    incident: int
    locked_at: datetime
    scopes: tuple[str, ...]
    labels: tuple[Mapping[str, str], ...] = ()
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class PodName:
    """One pod by its name."""

    namespace: str
    name: str

    @property
    def ref(self) -> ObjectRef:
        """For the door to the cluster."""
        return ObjectRef("v1", "Pod", self.namespace, self.name)


def name_of(pod: Document) -> PodName:
    """The name of a pod as the API server gives it."""
    metadata = pod["metadata"]
    return PodName(str(metadata.get("namespace", "")), str(metadata["name"]))


@dataclass(frozen=True)
class Targets:
    """Where to look first: pods that somebody named, namespaces, nodes; and what cannot be looked at."""

    pods: tuple[PodName, ...]
    namespaces: tuple[str, ...]
    nodes: tuple[str, ...]
    gaps: tuple[Gap, ...]


def targets(subject: Subject) -> Targets:
    """What the alerts name, then what the scopes do. A label that is no name is a gap and never asked for."""
    pods: dict[PodName, None] = {}
    namespaces: dict[str, None] = {}
    nodes: dict[str, None] = {}
    gaps: list[Gap] = []
    named: dict[str, None] = {}
    for labels in subject.labels:
        namespace, pod = labels.get("namespace", ""), labels.get("pod", "")
        if namespace and not _is_name(namespace):
            gaps.append(gap("an alert's label namespace", f"{namespace[:80]!r} is no name"))
            continue
        if namespace:
            named[namespace] = None
        if not pod:
            continue
        if namespace and _is_name(pod):
            pods[PodName(namespace, pod)] = None
        else:
            why = f"{pod[:80]!r} is no name" if namespace else f"no namespace stands beside {pod[:80]!r}"
            gaps.append(gap("an alert's label pod", why))
    for scope in subject.scopes:
        match scope.split("/"):
            case ["cluster"]:
                namespaces |= named
                gaps.append(
                    gap(f"scope {CLUSTER}", "only the pods and namespaces of the alerts are looked at")
                )
            case ["namespace", namespace] if _is_name(namespace):
                namespaces[namespace] = None
            case ["node", name] if _is_name(name):
                nodes[name] = None
                namespaces |= named | dict.fromkeys(subject.namespaces)
                gaps.append(
                    gap(f"scope {scope}", "only pods of the namespaces of alerts and policies are known")
                )
            case ["Pod", namespace, name] if _is_name(namespace) and _is_name(name):
                pods[PodName(namespace, name)] = None
                namespaces[namespace] = None
            case [_, namespace, name] if _is_name(namespace) and _is_name(name):
                namespaces[namespace] = None
            case _:
                gaps.append(gap(f"scope {scope}", "it names nothing that has pods"))
    return Targets(tuple(pods), tuple(namespaces), tuple(nodes), tuple(gaps))


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def concerned(pods: Iterable[Document], scopes: Iterable[str]) -> Iterator[PodName]:
    """Those of a namespace's pods that a lock covers, by their name or by the node that they run on."""
    locked = frozenset(scopes)
    for pod in pods:
        name = name_of(pod)
        node = str(pod.get("spec", {}).get("nodeName", ""))
        if locked & (covering(name.ref) | {of_node(node)}):
            yield name


@dataclass(frozen=True)
class Container:
    """One container of a pod, and whether it ran before."""

    name: str
    restarted: bool


def containers_of(pod: Document) -> tuple[Container, ...]:
    """All that ran in it: its containers, those before them, and those that somebody attached to debug."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    kinds = (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses"))
    before = {
        one.get("name"): bool(one.get("restartCount") or one.get("lastState", {}).get("terminated"))
        for _, statuses in kinds
        for one in status.get(statuses) or []
    }
    return tuple(
        Container(str(one["name"]), before.get(one["name"], False))
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for one in spec.get(kind) or []
    )


def images_of(pod: Document) -> list[dict[str, str]]:
    """What each container runs: the image as it was asked for, and its digest as the node pulled it."""
    metadata, status = pod["metadata"], pod.get("status", {})
    return [
        {
            "pod": f"{metadata.get('namespace', '')}/{metadata['name']}",
            "container": str(one.get("name", "")),
            "image": str(one.get("image", "")),
            "imageID": str(one.get("imageID", "")),
        }
        for kind in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for one in status.get(kind) or []
    ]


def controller_of(found: Document) -> tuple[str, str] | None:
    """Kind and name of what controls this object; None where nothing does."""
    for owner in found["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return str(owner.get("kind", "")), str(owner.get("name", ""))
    return None


def account_of(pod: Document) -> str:
    """The ServiceAccount that a pod runs as."""
    spec = pod.get("spec", {})
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def roles_of(bindings: Iterable[Document], namespace: str, accounts: frozenset[str]) -> dict[str, str]:
    """Name to kind of the roles that these accounts of this namespace have by its bindings."""
    groups = {"system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{namespace}"}
    users = {f"system:serviceaccount:{namespace}:{account}" for account in accounts}
    found: dict[str, str] = {}
    for binding in bindings:
        for subject in binding.get("subjects") or []:
            kind, name = subject.get("kind"), subject.get("name")
            mine = (
                (kind == "Group" and name in groups)
                or (kind == "User" and name in users)
                or (
                    kind == "ServiceAccount"
                    and name in accounts
                    and subject.get("namespace", namespace) == namespace
                )
            )
            if mine:
                role = binding.get("roleRef", {})
                found[str(role.get("name", ""))] = str(role.get("kind", ""))
    return found


def without_values(found: Document) -> dict[str, Any]:
    """A Secret or ConfigMap as evidence knows it: what it is called, its keys and their sizes in bytes.

    Built from what may be kept, so that a field that nobody thought of stays out.
    """
    metadata = found["metadata"]
    kept = {name: metadata[name] for name in _KEPT_METADATA if name in metadata}
    kept["annotations"] = sorted(metadata.get("annotations") or {})
    secret = found.get("kind") == "Secret"
    sizes = {name: _decoded(value) if secret else len(value.encode()) for name, value in _data(found, "data")}
    sizes |= {name: _decoded(value) for name, value in _data(found, "binaryData")}
    document = {"kind": found.get("kind"), "metadata": kept, "sizes": sizes}
    return {**document, **{name: found[name] for name in ("type", "immutable") if name in found}}


_KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
)


def _data(found: Document, field: str) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in (found.get(field) or {}).items()]


def _decoded(value: str) -> int:
    """How many bytes base64 stands for."""
    return len(value) * 3 // 4 - value.count("=")


def redacted(document: Any, path: str = "") -> tuple[Any, tuple[str, ...]]:
    """The document without values whose names say that they are secret, and where those were.

    Variables of containers wherever they stand, and annotations; the latter's copy of the whole object goes
    in any case.
    """
    if isinstance(document, list):
        parts = [redacted(one, f"{path}[{number}]") for number, one in enumerate(document)]
        return [one for one, _ in parts], tuple(place for _, places in parts for place in places)
    if not isinstance(document, Mapping):
        return document, ()
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in document.items():
        here = f"{path}.{name}" if path else str(name)
        if name == "annotations" and isinstance(value, Mapping):
            secret = [one for one in value if one == _APPLIED or SECRET_NAME.search(str(one))]
            kept[name] = {one: REDACTED if one in secret else text for one, text in value.items()}
            left_out += [f"{here}[{one}]" for one in secret]
        elif name == "env" and isinstance(value, list):
            kept[name], places = redacted([_variable(one) for one in value], here)
            left_out += [*places, *(f"{here}[{one['name']}]" for one in value if _is_secret(one))]
        else:
            kept[name], places = redacted(value, here)
            left_out += places
    return kept, tuple(left_out)


def _is_secret(variable: Any) -> bool:
    return (
        isinstance(variable, Mapping)
        and "value" in variable
        and SECRET_NAME.search(str(variable.get("name", ""))) is not None
    )


def _variable(variable: Any) -> Any:
    return {**variable, "value": REDACTED} if _is_secret(variable) else variable
