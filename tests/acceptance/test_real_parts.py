"""From a real metric over a real Prometheus and Alertmanager to a cured cluster, and to a closed incident."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from real_alertmanager import AlertmanagerSettings, RealAlertmanager
from real_process import need_binary
from real_prometheus import Metrics, PrometheusSettings, RealPrometheus
from real_service import SENDER_TOKEN, ClusterProcess, ServiceProcess

APP = {"app": "toy-api"}
RULES = """
groups:
  - name: toy
    interval: 500ms
    rules:
      - alert: HighErrorRate
        expr: toy_error_ratio > 0.05
        labels: {severity: critical, namespace: toy, app: toy-api}
        annotations: {summary: "errors {{ $value }}"}
"""
POLICY = """
apiVersion: stanch/v1
kind: Policy
metadata: {name: toy}
spec:
  mode: propose
  match: {alerts: ['alertname="HighErrorRate"']}
  target: {kind: Deployment, namespace: toy, name: toy-api, namespaces: [toy]}
  queries:
    err: max(toy_error_ratio)
  classify:
    every: 1s
    severityLabel: {critical: P1}
    P1: {expr: err > 0.20, for: 2s}
    P2: {expr: err > 0.05, for: 2s}
  diagnose:
    deadline: 5s
    rollout: {probe: rollout-history}
  propose:
    - remediation: deployment.rollback
      why: a young release
      with: {to: known-good}
  approve:
    disruptive: {from: [oncall]}
  verify:
    baseline: 4s
    settle: 10s
    success: {expr: err < 0.01, for: 4s, every: 1s, minSamples: 4}
    within: 20s
    onNoData: inconclusive
  monitor: 3s
"""
APPROVERS = """
apiVersion: stanch/v1
kind: Approvers
metadata: {name: approvers}
spec:
  oncall: {groups: [oncall]}
"""


def deployment(image: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "toy-api", "namespace": "toy", "labels": APP},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": APP},
            "template": {
                "metadata": {"labels": APP},
                "spec": {"containers": [{"name": "api", "image": image}]},
            },
        },
    }


async def until(what: Callable[[], Awaitable[Any]], *, within: float = 40.0) -> Any:
    """Ask until the answer is true; real programs take real time."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        found = await what()
        if found:
            return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"it did not happen within {within} s")


def remember_healthy_hours(folder: Path) -> None:
    """Give Prometheus a past: three hours in which the metric was fine, up to a minute ago."""
    now = int(time.time())
    lines = ["# TYPE toy_error_ratio gauge"]
    lines += [f"toy_error_ratio 0.001 {at}" for at in range(now - 3 * 3600, now - 60, 15)]
    text = folder / "past.txt"
    text.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    command = [str(need_binary("promtool")), "tsdb", "create-blocks-from", "openmetrics", str(text)]
    subprocess.run([*command, str(folder / "prometheus" / "data")], check=True, capture_output=True)


async def follow_the_release(cluster: ClusterProcess, metrics: Metrics) -> None:
    """The patient: it fails requests while the bad release is what runs."""
    while True:
        found = await cluster.get("/apis/apps/v1/namespaces/toy/deployments/toy-api")
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        metrics.set_values({"toy_error_ratio": 0.35 if image == "toy:2" else 0.001})
        await asyncio.sleep(0.2)


async def test_from_a_real_metric_to_a_cured_cluster(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "toy.yaml").write_text(POLICY, encoding="utf-8")
    (policies / "approvers.yaml").write_text(APPROVERS, encoding="utf-8")
    (tmp_path / "prometheus").mkdir()
    remember_healthy_hours(tmp_path)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        metrics = await enter(Metrics("toy_error_ratio 0.001\n"))
        cluster = await enter(ClusterProcess(tmp_path, [deployment("toy:1"), deployment("toy:2")]))
        patient = asyncio.create_task(follow_the_release(cluster, metrics))
        stack.callback(patient.cancel)
        prometheus = RealPrometheus(
            tmp_path / "prometheus", PrometheusSettings(targets=(metrics.url,), rules=RULES)
        )
        service = ServiceProcess(
            tmp_path / "service",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=policies,
        )
        alertmanager = RealAlertmanager(
            tmp_path / "alertmanager",
            AlertmanagerSettings(receiver_url=f"{service.url}/api/v1/alerts", bearer_token=SENDER_TOKEN),
        )
        await enter(alertmanager)
        prometheus.settings = replace(prometheus.settings, alertmanagers=(alertmanager.url,))
        await enter(prometheus)
        await enter(service)

        async def state() -> str | None:
            found = await service.incidents()
            plan = found[0]["plan"] if found else None
            return plan["state"] if plan else None

        async def awaiting() -> bool:
            return await state() == "awaiting-approval"

        await until(awaiting)
        status, plan = await service.api("GET", "plans/P-1")
        assert status == 200
        assert "toy:1" in plan["what"]
        assert cluster.writes() == []
        status, answer = await service.api(
            "POST", "plans/P-1/approve", {"reason": "bad release", "digest": plan["digest"]}
        )
        assert (status, answer["state"]) == (200, "approved")

        # A P1 is watched for an hour; here it is enough that the watching has begun.
        async def monitoring() -> bool:
            return bool((await service.incidents())[0]["status"] == "monitoring")

        await until(monitoring, within=60)
        assert [call["status"] for call in cluster.writes()] == [200]
        kinds = await service.timeline(1)
        assert kinds.index("Executed") < kinds.index("Verified") < kinds.index("MonitoringStarted")
        assert "AlertResolved" in kinds
        status, closed = await service.api("POST", "incidents/1/close", {"reason": "the release was bad"})
        assert (status, closed["status"]) == (200, "resolved")
