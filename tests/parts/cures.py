"""How each remediation comes to be proposed in the demo world: stories that the contract suite plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import warm_door
from builders import labels, policies, policy
from harness import Harness

from receiver.domain.plans import ApprovalRule, Risk
from receiver.policy.model import Budget, Candidate, Guards, PolicySet, TargetTemplate

NAMESPACE, APP = "greenlang", "greenlang-api"
SCALER: Mapping[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "api", "namespace": NAMESPACE},
    "spec": {
        "minReplicas": 2,
        "maxReplicas": 12,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP},
    },
}


def nothing(h: Harness) -> None:
    """The demo world is as it should be."""


def autoscaled(h: Harness) -> None:
    """The Deployment has an autoscaler."""
    h.demo.api.load([dict(SCALER)])


def autoscaled_by_keda(h: Harness) -> None:
    """The Deployment has an autoscaler that KEDA keeps."""
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "api", "namespace": NAMESPACE},
        "spec": {"scaleTargetRef": {"name": APP}, "maxReplicaCount": 12, "triggers": [{"type": "cpu"}]},
    }
    h.demo.api.load([scaled])
    h.demo.api.reconcile()


CLAIM, DATABASE = "reports", "orders"
STORAGE_CLASS: Mapping[str, Any] = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "fast"},
    "provisioner": "csi.example.com",
    "allowVolumeExpansion": True,
}


def database_cluster(name: str, namespace: str) -> dict[str, Any]:
    """Two instances with a WAL volume each."""
    storage = {"size": "10Gi", "storageClass": "fast"}
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"instances": 2, "storage": storage, "walStorage": {**storage, "size": "2Gi"}},
    }


def claim(name: str, namespace: str) -> dict[str, Any]:
    """A claim that may grow."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "10Gi"}},
        },
    }


def with_a_database(h: Harness) -> None:
    """There is a database cluster, made long before."""
    h.demo.api.load([dict(STORAGE_CLASS), database_cluster(DATABASE, NAMESPACE)])
    h.demo.api.reconcile()


def with_a_claim(h: Harness) -> None:
    """There is a claim that may grow, made long before anything went wrong."""
    h.demo.api.load([dict(STORAGE_CLASS), claim(CLAIM, NAMESPACE)])
    h.demo.api.reconcile()


def change_container(**fields: Any) -> Callable[[Harness], None]:
    """Somebody else's edit of the container."""

    def meddle(h: Harness) -> None:
        template = h.demo.api.get("deployments", NAMESPACE, APP)["spec"]["template"]
        containers = [{**container, **fields} for container in template["spec"]["containers"]]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        h.demo.api.change("deployments", NAMESPACE, APP, patch)

    return meddle


def change_spec(resource: str, name: str, **fields: Any) -> Callable[[Harness], None]:
    """Somebody else's edit of a spec."""

    def meddle(h: Harness) -> None:
        h.demo.api.change(resource, NAMESPACE, name, {"spec": fields})

    return meddle


def more_nodes(h: Harness) -> None:
    """Two more, so that one can be missed."""
    well = h.demo.api.get("nodes", "", "node-0")
    for name in ("node-2", "node-3"):
        h.demo.api.load([{**well, "metadata": {"name": name}}])


def uncordon(h: Harness) -> None:
    """Somebody lets pods onto the node again."""
    h.demo.api.change("nodes", "", "node-1", {"spec": {"unschedulable": None}})


def a_pod(h: Harness) -> str:
    """The name of one of the pods that serve the present release."""
    return str(h.demo.api.find("pods", NAMESPACE, f"app={APP}")[0]["metadata"]["name"])


# What is asked and not written, so that the cluster knows nothing of it.
OUTSIDE = "endpoints"


@dataclass(frozen=True)
class Cure:
    """One way in which a remediation acts: what a policy says, and what is seen of it.

    ``written`` are the pointers that change, ``resource`` the plural of the object that is written.
    """

    remediation: str
    parameters: Mapping[str, Any]
    written: tuple[str, ...]
    summary: str
    resource: str = "deployments"
    name: str = APP
    namespace: str = NAMESPACE
    verb: str = "patch"
    reversible: bool = True
    expires: timedelta | None = None
    arrange: Callable[[Harness], None] = nothing
    meddle: Callable[[Harness], None] = nothing
    with_pod: bool = False
    kind: str = "Deployment"
    """What the policy targets."""

    @property
    def outside(self) -> bool:
        """Whether it acts beside the cluster, where nothing is found again."""
        return self.resource == OUTSIDE

    def __str__(self) -> str:
        return f"{self.remediation} of {self.resource}"

    def policies(self, **changes: Any) -> PolicySet:
        """One policy that offers this and nothing else."""
        candidate = Candidate(self.remediation, "", None, self.parameters, expires=self.expires)
        groups = ApprovalRule(groups=("oncall", "sre"))
        usual = {
            "candidates": (candidate,),
            "probes": (),
            "approve": dict.fromkeys((Risk.DISRUPTIVE, Risk.REVERSIBLE, Risk.IRREVERSIBLE), groups),
            "target": TargetTemplate(
                self.kind,
                "{{ labels.namespace }}",
                "{{ labels.app }}" if self.kind == "Deployment" else self.name,
                (NAMESPACE,),
            ),
            "guards": Guards(per_target=Budget(1, timedelta(hours=2))),
        }
        return policies(policy(**{**usual, **changes}))

    def labels(self, h: Harness) -> dict[str, str]:
        """What the alert carries: which pod it is about, where that is asked for."""
        return labels(pod=a_pod(h)) if self.with_pod else labels()


API = "/spec/template/spec/containers/0"
CURES = (
    Cure(
        "deployment.rollback",
        {"to": "known-good"},
        ("/spec/template",),
        "roll Deployment",
        meddle=change_container(image="greenlang/api:3"),
    ),
    Cure(
        "deployment.scale",
        {"replicas": 5},
        ("/spec/replicas",),
        "to at least 5 replicas",
        meddle=change_spec("deployments", APP, replicas=7),
        expires=timedelta(hours=2),
    ),
    Cure(
        "deployment.scale",
        {"replicas": 5},
        ("/spec/minReplicas",),
        "by the floor of its autoscaler (2 now)",
        resource="horizontalpodautoscalers",
        name="api",
        expires=timedelta(hours=2),
        arrange=autoscaled,
        meddle=change_spec("horizontalpodautoscalers", "api", minReplicas=3),
    ),
    Cure(
        "deployment.scale",
        {"replicas": 5},
        ("/spec/minReplicaCount",),
        "by the floor of its autoscaler (0 now)",
        resource="scaledobjects",
        name="api",
        expires=timedelta(hours=2),
        arrange=autoscaled_by_keda,
        meddle=change_spec("scaledobjects", "api", minReplicaCount=3),
    ),
    Cure(
        "deployment.set-env",
        {"names": ["DB_POOL_SIZE"], "value": "50", "direction": "up", "most": 60.0},
        (f"{API}/env/0",),
        "set DB_POOL_SIZE=50",
        meddle=change_container(env=[{"name": "DB_POOL_SIZE", "value": "30"}]),
        expires=timedelta(hours=24),
    ),
    Cure(
        "deployment.set-env",
        {"names": ["ENABLE_CIRCUIT_BREAKER"], "value": "true", "add": True},
        (f"{API}/env/1",),
        "set ENABLE_CIRCUIT_BREAKER=true",
        meddle=change_container(env=[{"name": "DB_POOL_SIZE", "value": "20"}]),
        expires=timedelta(hours=24),
    ),
    Cure(
        "deployment.restart",
        {"not_within_minutes": 1},
        ("/spec/template/metadata/annotations",),
        "restart Deployment",
        reversible=False,
    ),
    Cure(
        "deployment.set-resources",
        {"container": "api", "memory_limit": "4096Mi", "memory_request": "2Gi"},
        (f"{API}/resources",),
        "request 2Gi memory",
        meddle=change_container(resources={"limits": {"memory": "5Gi"}}),
        expires=timedelta(days=7),
    ),
    Cure(
        "pod.evict",
        {"pod": "{{ labels.pod }}"},
        (),
        "evict Pod",
        resource="pods",
        verb="evict",
        reversible=False,
        with_pod=True,
    ),
    Cure(
        "node.cordon",
        {"node": "node-1"},
        ("/spec/unschedulable",),
        "cordon Node node-1, which runs",
        resource="nodes",
        name="node-1",
        namespace="",
        arrange=more_nodes,
        meddle=uncordon,
        expires=timedelta(hours=4),
    ),
    Cure(
        "volume.expand",
        {"most": "50Gi"},
        ("/spec/resources/requests/storage",),
        f"grow PersistentVolumeClaim {NAMESPACE}/{CLAIM} from 10Gi to 13Gi",
        resource="persistentvolumeclaims",
        name=CLAIM,
        kind="PersistentVolumeClaim",
        reversible=False,
        arrange=with_a_claim,
    ),
    Cure(
        "cnpg.expand",
        {"most": "50Gi"},
        ("/spec/storage/size",),
        f"grow the data volumes of Cluster {NAMESPACE}/{DATABASE} from 10Gi to 13Gi",
        resource="clusters",
        name=DATABASE,
        kind="Cluster",
        reversible=False,
        arrange=with_a_database,
    ),
    Cure(
        "cnpg.scale",
        {"most": 3},
        ("/spec/instances",),
        f"scale Cluster {NAMESPACE}/{DATABASE} from 2 to 3 instances",
        resource="clusters",
        name=DATABASE,
        kind="Cluster",
        reversible=False,
        arrange=with_a_database,
    ),
    Cure(
        "http.warm-up",
        {"endpoint": warm_door.NAME, "requests": 5},
        (),
        f"warm up Deployment {NAMESPACE}/{APP} by 5 requests",
        resource=OUTSIDE,
        verb="warm up",
        reversible=False,
    ),
)
