"""The world that the measures play in: many small Deployments, one metric, one policy, and its alerts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NAMESPACE = "shop"
GOOD, BAD = "shop/api:1", "shop/api:2"
METRIC = "shop_error_ratio"
SICK_SINCE = timedelta(minutes=10)
WELL, SICK = 0.001, 0.35
NO_END = "0001-01-01T00:00:00Z"

POLICY = f"""
apiVersion: stanch/v1
kind: Policy
metadata: {{name: shop}}
spec:
  mode: propose
  match: {{alerts: ['alertname="ShopErrors"']}}
  target:
    {{kind: Deployment, namespace: shop, name: "{{{{ labels.app }}}}", namespaces: [shop]}}
  queries:
    err: max({METRIC})
  classify:
    every: 15s
    severityLabel: {{critical: P1}}
    P2: {{expr: err > 0.05, for: 0s}}
  diagnose:
    rollout: {{probe: rollout-history}}
  propose:
    - remediation: deployment.rollback
      why: a young release
      when: rollout.hasEarlier
      with: {{to: known-good}}
  guard:
    perTarget: {{count: 1, per: 2h}}
    perPolicy: {{count: 100000, per: 1h}}
  approve:
    disruptive: {{from: [oncall]}}
  verify:
    baseline: 1m
    settle: 5m
    success: {{expr: err < 0.01, for: 4m, every: 15s, minSamples: 10}}
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


def names(count: int, *, first: int = 0) -> list[str]:
    """The patients."""
    return [f"api-{number}" for number in range(first, first + count)]


def write_policies(folder: Path) -> Path:
    """The policy files, in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("shop", POLICY), ("approvers", APPROVERS), ("limits", LIMITS)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def deployment(app: str, image: str) -> dict[str, Any]:
    """A patient's manifest with this release."""
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


def alert(
    app: str, instance: int = 0, *, since: datetime | None = None, ended: datetime | None = None
) -> dict[str, Any]:
    """One alert about a patient, as Alertmanager writes it."""
    return {
        "status": "firing" if ended is None else "resolved",
        "labels": {
            "alertname": "ShopErrors",
            "namespace": NAMESPACE,
            "app": app,
            "severity": "warning",
            "instance": f"10.0.{instance // 250}.{instance % 250}:8080",
            "job": "shop",
        },
        "annotations": {
            "summary": f"{app} answers 35 % of its requests with errors",
            "description": "More than 5 % of the requests failed for a minute.",
            "runbook_url": "https://runbooks.example.com/shop-errors",
        },
        "startsAt": _written(since or datetime.now(UTC)),
        "endsAt": NO_END if ended is None else _written(ended),
        "generatorURL": "http://prometheus.example.com:9090/graph?g0.expr=shop_error_ratio+%3E+0.05&g0.tab=1",
        "fingerprint": f"{hash((app, instance)) & (2**64 - 1):016x}",
    }


def notification(alerts: Sequence[dict[str, Any]]) -> bytes:
    """A version 4 body with these alerts."""
    firing = any(entry["status"] == "firing" for entry in alerts)
    body = {
        "version": "4",
        "groupKey": '{}:{alertname="ShopErrors"}',
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "stanch",
        "groupLabels": {"alertname": "ShopErrors"},
        "commonLabels": {"alertname": "ShopErrors"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com:9093",
        "alerts": list(alerts),
    }
    return json.dumps(body).encode()


def in_bodies(apps: Iterable[str], instances: int, *, of: int) -> list[bytes]:
    """Distinct alerts, ``instances`` for each app, in bodies of so many each."""
    alerts = [alert(app, number) for app in apps for number in range(instances)]
    return [notification(alerts[start : start + of]) for start in range(0, len(alerts), of)]


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
