"""Many small patients for tests of whole processes: one policy, many Deployments, one metric."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from builders import alert, notification

from receiver.demo.kubernetes import RealClock
from receiver.demo.prometheus import PrometheusServer, Sample, Target

NAMESPACE = "shop"
GOOD, BAD = "shop/api:1", "shop/api:2"

ROLLBACK = """
    - remediation: deployment.rollback
      why: a young release
      with: {to: known-good}
"""
# What is offered, for tests in which it is another cure.
CURES = {
    "deployment.rollback": ROLLBACK,
    "deployment.scale": """
    - {remediation: deployment.scale, with: {replicas: 3, room: autoscaled}, expires: 2h}
""",
    "deployment.set-env": """
    - {remediation: deployment.set-env, with: {names: [POOL], value: "50", add: true}, expires: 24h}
""",
    "deployment.restart": """
    - {remediation: deployment.restart, with: {not_within_minutes: 1}}
""",
    "deployment.set-resources": """
    - {remediation: deployment.set-resources, with: {container: api, memory_limit: 1Gi}, expires: 7d}
""",
    "pod.evict": """
    - {remediation: pod.evict, with: {pod: "{{ labels.pod }}", not_younger_than_minutes: 0}}
""",
}

POLICY = """
apiVersion: stanch/v1
kind: Policy
metadata: {name: shop}
spec:
  mode: propose
  match: {alerts: ['alertname="ShopErrors"']}
  target:
    {kind: Deployment, namespace: shop, name: "{{ labels.app }}", namespaces: [shop]}
  queries:
    err: max(shop_error_ratio)
  classify:
    every: 15s
    severityLabel: {critical: P1}
    P2: {expr: err > 0.05, for: 0s}
  propose:CURE
  guard:
    perTarget: {count: 1, per: 2h}
    perPolicy: {count: 100000, per: 1h}
  approve:
    disruptive: {from: [oncall]}
    reversible: {from: [oncall]}
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
  oncall: {groups: [oncall]}
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


def manifests(apps: Iterable[str]) -> list[dict[str, Any]]:
    """Each Deployment with its good release and, an hour later, its bad one."""
    return [_deployment(app, image) for app in apps for image in (GOOD, BAD)]


def _deployment(app: str, image: str) -> dict[str, Any]:
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
                "spec": {"containers": [{"name": "api", "image": image}]},
            },
        },
    }


def write_policies(folder: Path, *, cure: str = "deployment.rollback") -> Path:
    """The policy files of the shop, which offer this cure."""
    folder.mkdir(parents=True, exist_ok=True)
    policy = POLICY.replace("CURE", CURES[cure].rstrip())
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
