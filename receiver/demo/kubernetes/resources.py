"""Which resources the small API server knows, and how each is spelled.

One table feeds everything else: routing, discovery, error texts and the rules that differ from kind to kind
(whether there is a `generation`, which subresources exist). Nothing here holds state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]
"""A Kubernetes object or a part of one, as JSON has it."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
SUBRESOURCE_VERBS = ("get", "patch", "update")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind under one group and version."""

    group: str
    version: str
    plural: str
    kind: str
    model: str
    """The type's name in the table of known fields; empty for a custom resource, of which none is known."""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    counts_generations: bool = False
    storage_hash: str = ""
    """What discovery shows as `storageVersionHash`; a constant of the real server."""

    @property
    def group_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`: how error texts name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """`Deployment.apps`: how validation errors name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


def _apps(plural: str, kind: str, short: str = "", *, storage_hash: str, scale: bool = False) -> Resource:
    plain = not short
    return Resource(
        group="apps",
        version="v1",
        plural=plural,
        kind=kind,
        model=f"V1{kind}",
        short_names=() if plain else (short,),
        categories=() if plain else ("all",),
        subresources=() if plain else (("scale", "status") if scale else ("status",)),
        counts_generations=not plain,
        storage_hash=storage_hash,
    )


CONTROLLER_REVISIONS = _apps("controllerrevisions", "ControllerRevision", storage_hash="85nkx63pcBU=")
DAEMONSETS = _apps("daemonsets", "DaemonSet", "ds", storage_hash="dd7pWHUlMKQ=")
DEPLOYMENTS = _apps("deployments", "Deployment", "deploy", storage_hash="8aSe+NMegvE=", scale=True)
REPLICASETS = _apps("replicasets", "ReplicaSet", "rs", storage_hash="P1RzHs8/mWQ=", scale=True)
STATEFULSETS = _apps("statefulsets", "StatefulSet", "sts", storage_hash="H+vl74LkKdo=", scale=True)
PODS = Resource(
    group="",
    version="v1",
    plural="pods",
    kind="Pod",
    model="V1Pod",
    short_names=("po",),
    categories=("all",),
    subresources=("eviction", "log", "status"),
    counts_generations=True,
)
EVENTS = Resource(
    group="", version="v1", plural="events", kind="Event", model="CoreV1Event", short_names=("ev",)
)
NAMESPACES = Resource(
    group="",
    version="v1",
    plural="namespaces",
    kind="Namespace",
    model="V1Namespace",
    namespaced=False,
    short_names=("ns",),
    subresources=("status",),
)
NODES = Resource(
    group="",
    version="v1",
    plural="nodes",
    kind="Node",
    model="V1Node",
    namespaced=False,
    short_names=("no",),
    subresources=("status",),
)
CONFIGMAPS = Resource(
    group="", version="v1", plural="configmaps", kind="ConfigMap", model="V1ConfigMap", short_names=("cm",)
)
SECRETS = Resource(group="", version="v1", plural="secrets", kind="Secret", model="V1Secret")
SERVICEACCOUNTS = Resource(
    group="",
    version="v1",
    plural="serviceaccounts",
    kind="ServiceAccount",
    model="V1ServiceAccount",
    short_names=("sa",),
)
SERVICES = Resource(
    group="",
    version="v1",
    plural="services",
    kind="Service",
    model="V1Service",
    short_names=("svc",),
    categories=("all",),
    subresources=("status",),
)
ENDPOINTSLICES = Resource(
    group="discovery.k8s.io",
    version="v1",
    plural="endpointslices",
    kind="EndpointSlice",
    model="V1EndpointSlice",
    counts_generations=True,
)
NETWORKPOLICIES = Resource(
    group="networking.k8s.io",
    version="v1",
    plural="networkpolicies",
    kind="NetworkPolicy",
    model="V1NetworkPolicy",
    short_names=("netpol",),
    counts_generations=True,
)
ROLES = Resource(group="rbac.authorization.k8s.io", version="v1", plural="roles", kind="Role", model="V1Role")
ROLEBINDINGS = Resource(
    group="rbac.authorization.k8s.io",
    version="v1",
    plural="rolebindings",
    kind="RoleBinding",
    model="V1RoleBinding",
)
HPAS = Resource(
    group="autoscaling",
    version="v2",
    plural="horizontalpodautoscalers",
    kind="HorizontalPodAutoscaler",
    model="V2HorizontalPodAutoscaler",
    short_names=("hpa",),
    categories=("all",),
    subresources=("status",),
)
PDBS = Resource(
    group="policy",
    version="v1",
    plural="poddisruptionbudgets",
    kind="PodDisruptionBudget",
    model="V1PodDisruptionBudget",
    short_names=("pdb",),
    subresources=("status",),
    counts_generations=True,
)
RESOURCEQUOTAS = Resource(
    group="",
    version="v1",
    plural="resourcequotas",
    kind="ResourceQuota",
    model="V1ResourceQuota",
    short_names=("quota",),
    subresources=("status",),
)
PVCS = Resource(
    group="",
    version="v1",
    plural="persistentvolumeclaims",
    kind="PersistentVolumeClaim",
    model="V1PersistentVolumeClaim",
    short_names=("pvc",),
    subresources=("status",),
)
STORAGECLASSES = Resource(
    group="storage.k8s.io",
    version="v1",
    plural="storageclasses",
    kind="StorageClass",
    model="V1StorageClass",
    namespaced=False,
    short_names=("sc",),
)
CNPG_CLUSTERS = Resource(
    group="postgresql.cnpg.io",
    version="v1",
    plural="clusters",
    kind="Cluster",
    model="",
    subresources=("status",),
    counts_generations=True,
)
SCALED_OBJECTS = Resource(
    group="keda.sh",
    version="v1alpha1",
    plural="scaledobjects",
    kind="ScaledObject",
    model="",
    short_names=("so",),
    subresources=("status",),
    counts_generations=True,
)
ADMISSION_POLICIES = Resource(
    group="admissionregistration.k8s.io",
    version="v1",
    plural="validatingadmissionpolicies",
    kind="ValidatingAdmissionPolicy",
    model="V1ValidatingAdmissionPolicy",
    namespaced=False,
    subresources=("status",),
    counts_generations=True,
)
ADMISSION_BINDINGS = Resource(
    group="admissionregistration.k8s.io",
    version="v1",
    plural="validatingadmissionpolicybindings",
    kind="ValidatingAdmissionPolicyBinding",
    model="V1ValidatingAdmissionPolicyBinding",
    namespaced=False,
    counts_generations=True,
)
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease", model="V1Lease")

RESOURCES = (
    CONFIGMAPS,
    EVENTS,
    NAMESPACES,
    NODES,
    PVCS,
    PODS,
    RESOURCEQUOTAS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
    CONTROLLER_REVISIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    REPLICASETS,
    STATEFULSETS,
    HPAS,
    PDBS,
    STORAGECLASSES,
    ADMISSION_POLICIES,
    ADMISSION_BINDINGS,
    LEASES,
    ENDPOINTSLICES,
    NETWORKPOLICIES,
    ROLES,
    ROLEBINDINGS,
    CNPG_CLUSTERS,
    SCALED_OBJECTS,
)
"""Everything that can be stored, in the order in which discovery lists it."""

REVIEWS = {
    ("authorization.k8s.io", "v1"): (
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
        ("subjectaccessreviews", "SubjectAccessReview"),
    ),
    ("authentication.k8s.io", "v1"): (("tokenreviews", "TokenReview"),),
}
"""What can be asked but is never stored: plural and kind, under group and version."""

_BY_PATH = {(r.group, r.version, r.plural): r for r in RESOURCES}
_BY_KIND = {(r.group_version, r.kind): r for r in RESOURCES}
_BY_PLURAL = {r.plural: r for r in RESOURCES}


def by_path(group: str, version: str, plural: str) -> Resource | None:
    """The resource that a URL names, if we have it."""
    return _BY_PATH.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Resource:
    """The resource that a manifest names; `KeyError` if we do not have it."""
    return _BY_KIND[api_version, kind]


def by_plural(plural: str) -> Resource:
    """The resource of that plural in whatever group; `KeyError` if we do not have it."""
    return _BY_PLURAL[plural]


def group_versions() -> list[tuple[str, str]]:
    """Each (group, version) once, in the table's order."""
    pairs = [(r.group, r.version) for r in RESOURCES] + list(REVIEWS)
    return list(dict.fromkeys(pairs))
