"""Many small patients for tests of whole processes: one policy, many Deployments, one metric."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from builders import alert, notification
from cures import STORAGE_CLASS, claim, database_cluster
from shop_clients import Told, those_meant

from receiver.demo.kubernetes import RealClock
from receiver.demo.prometheus import PrometheusServer, Sample, Target

NAMESPACE = "shop"
GOOD, BAD = "shop/api:1", "shop/api:2"

POLICY = """
apiVersion: stanch/v1
kind: Policy
metadata: {name: shop}
spec:
  mode: propose
  match: {alerts: ['alertname="ShopErrors"']}
  target:
    {kind: KIND, namespace: shop, name: "{{ labels.app }}", namespaces: [shop]}
  queries:
    err: max(shop_error_ratio)
  classify:
    every: 15s
    severityLabel: {critical: P1}
    P2: {expr: err > 0.05, for: 0s}
  propose:
    - {OFFER}
  guard:
    perTarget: {count: 1, per: 2h}
    perPolicy: {count: 100000, per: 1h}
  approve:
    disruptive: {from: [oncall]}
    reversible: {from: [oncall]}
    bounded-loss: {from: [oncall]}
    irreversible: {from: [oncall]}
  verify:
    baseline: 1m
    settle: 5m
    success: {expr: err < 0.01, for: 4m, every: 15s, minSamples: 10}
    within: 10m
    onNoData: inconclusive
  monitor: 15m
"""
APPROVERS = """
apiVersion: stanch/v1
kind: Approvers
metadata: {name: shop}
spec:
  oncall: {groups: [oncall, sre]}
"""
LIMITS = """
apiVersion: stanch/v1
kind: Limits
metadata: {name: shop}
spec:
  clusterBudget: {count: 100000, per: 1h}
"""


def names(count: int) -> list[str]:
    """The patients."""
    return [f"api-{number}" for number in range(count)]


def released(app: str) -> list[dict[str, Any]]:
    """A Deployment with its good release and, an hour later, its bad one."""
    return [_deployment(app, image) for image in (GOOD, BAD)]


def on_its_own_node(app: str) -> list[dict[str, Any]]:
    """A Deployment on a node that nobody else has."""
    size = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    well = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": size}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": app}, "spec": {}, "status": well}
    return [node, _deployment(app, GOOD, nodeName=app)]


def with_a_claim(app: str) -> list[dict[str, Any]]:
    """A claim that may grow."""
    return [claim(app, NAMESPACE)]


def with_a_database(app: str) -> list[dict[str, Any]]:
    """A database cluster."""
    return [database_cluster(app, NAMESPACE)]


def _deployment(app: str, image: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": app}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "api", "image": image}], **spec},
            },
        },
    }


@dataclass(frozen=True)
class Cure:
    """What the policy offers, to patients of which kind, and what each of them consists of.

    ``shared`` is there once for all. ``with_pod``: the alert names a pod of the patient. ``tells`` is what
    happens to clients of the patient's database, where the cure is for that. ``requests`` are sent to the
    shop's endpoint; they leave no trace, so what nobody knows of them stays unknown.
    """

    offer: str
    kind: str = "Deployment"
    patient: Callable[[str], Sequence[Mapping[str, Any]]] = released
    shared: tuple[Mapping[str, Any], ...] = ()
    with_pod: bool = False
    tells: Told | None = None
    requests: int = 0

    def manifests(self, apps: Iterable[str]) -> list[Mapping[str, Any]]:
        """What is in the cluster."""
        return [*self.shared, *(manifest for app in apps for manifest in self.patient(app))]

    def meant(self, app: str) -> frozenset[str]:
        """What it does for a patient, in the words of those who saw it: each of these once."""
        return frozenset({app}) if self.tells is None else those_meant(app, self.tells)


CURES = {
    "deployment.rollback": Cure("why: a young release, with: {to: known-good}"),
    "deployment.scale": Cure("with: {replicas: 3, room: autoscaled}, expires: 2h"),
    "deployment.set-env": Cure('with: {names: [POOL], value: "50", add: true}, expires: 24h'),
    "deployment.restart": Cure("with: {not_within_minutes: 1}"),
    # Two nodes would have no room for so many.
    "deployment.set-resources": Cure(
        "with: {container: api, memory_limit: 1Gi}, expires: 7d", patient=on_its_own_node
    ),
    "pod.evict": Cure('with: {pod: "{{ labels.pod }}", not_younger_than_minutes: 0}', with_pod=True),
    "node.cordon": Cure('with: {node: "{{ labels.app }}"}, expires: 4h', patient=on_its_own_node),
    "volume.expand": Cure(
        "with: {most: 50Gi}", "PersistentVolumeClaim", patient=with_a_claim, shared=(STORAGE_CLASS,)
    ),
    "cnpg.expand": Cure("with: {most: 50Gi}", "Cluster", patient=with_a_database, shared=(STORAGE_CLASS,)),
    "cnpg.scale": Cure("with: {most: 3}", "Cluster", patient=with_a_database, shared=(STORAGE_CLASS,)),
    "postgres.terminate-idle": Cure(
        'with: {connection: "{{ labels.app }}", idle_in_transaction: 10s}', tells=Told.ENDED
    ),
    "postgres.cancel-query": Cure(
        'with: {connection: "{{ labels.app }}", slow_after: 10s}', tells=Told.CANCELLED
    ),
    "http.warm-up": Cure("with: {endpoint: shop-warm-up, requests: 10}", requests=10),
}


def manifests(apps: Iterable[str]) -> list[Mapping[str, Any]]:
    """Each patient with its good release and its bad one."""
    return CURES["deployment.rollback"].manifests(apps)


def changed(call: Mapping[str, Any]) -> str | None:
    """The patient whom a settled call cured; None: it was refused, or wrote a marker or a fence only."""
    path = str(call["path"]).split("/")
    if call["status"] not in (200, 201):
        return None
    if path[-1] == "eviction":
        return "-".join(path[-2].split("-")[:2])
    return path[-1] if "/spec/" in str(call["body"]) else None


def write_policies(folder: Path, *, cure: str = "deployment.rollback") -> Path:
    """The policy files of the shop, which offer this cure."""
    folder.mkdir(parents=True, exist_ok=True)
    offer = f"remediation: {cure}, {CURES[cure].offer}"
    policy = POLICY.replace("KIND", CURES[cure].kind).replace("OFFER", offer)
    for name, text in (("shop", policy), ("approvers", APPROVERS), ("limits", LIMITS)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


@asynccontextmanager
async def ill_shop() -> AsyncIterator[PrometheusServer]:
    """A Prometheus that saw three healthy hours and sees a sick shop now, whatever is done about it."""
    now = datetime.now(UTC)

    def collect(at: datetime) -> list[Sample]:
        return [Sample("shop_error_ratio", {}, 0.001 if at < now - timedelta(minutes=10) else 0.35)]

    target = Target(job="shop", instance="shop:80", collect=collect)
    prometheus = PrometheusServer(clock=RealClock(), targets=[target])
    prometheus.backfill(now - timedelta(hours=3), now, timedelta(seconds=15), target)
    async with prometheus:
        yield prometheus


def firing(app: str, *, since: datetime | None = None, pod: str | None = None) -> bytes:
    """The notification that this patient is ill, and which of its pods, where that is known."""
    labels = {"alertname": "ShopErrors", "namespace": NAMESPACE, "app": app, "severity": "warning"}
    labels |= {} if pod is None else {"pod": pod}
    return notification(alert(starts_at=since or datetime.now(UTC), with_labels=labels))
