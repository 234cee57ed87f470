"""The whole demo world: cluster, Prometheus and Alertmanager around one scenario, on one clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from receiver.demo.alertmanager import SmallAlertmanager
from receiver.demo.kubelet import Kubelets
from receiver.demo.kubernetes import ApiServer
from receiver.demo.prometheus import AlertingRule, PrometheusServer, Target
from receiver.demo.scenario import Scenario
from receiver.demo.traffic import Traffic
from receiver.domain.clock import Clock

HISTORY = timedelta(hours=4)
SCRAPE = timedelta(seconds=15)
CLUSTER = "demo"
# Bytes a second; a pod of ours sends a fortieth of it.
MINER_SENDS = 80_000.0


@dataclass
class DemoWorld:
    """What a scenario plays in."""

    scenario: Scenario
    api: ApiServer
    prometheus: PrometheusServer
    alertmanager: SmallAlertmanager
    traffic: Traffic
    kubelets: Kubelets
    spoiled: bool = False
    mined: str = ""
    released_at: datetime | None = None

    def release_bad(self) -> None:
        """Roll the bad release out, as somebody's pipeline would."""
        scenario = self.scenario
        self.released_at = self.api.clock.now()
        patch: dict[str, Any] = {"spec": {"template": scenario.manifest(scenario.bad)["spec"]["template"]}}
        self.api.change("deployments", scenario.namespace, scenario.app, patch, manager="ci")
        self.api.reconcile()

    def start_miner(self) -> str:
        """A miner starts in one pod of the release; the name of the pod."""
        scenario = self.scenario
        pods = self.api.find("pods", scenario.namespace, f"app={scenario.app}")
        self.mined = min(str(pod["metadata"]["name"]) for pod in pods)
        self.kubelets.sending[self.mined] = MINER_SENDS
        return self.mined

    @property
    def deletions(self) -> int:
        """How many objects our service asked to go."""
        return sum(
            (call.method == "DELETE" or call.path.endswith("/eviction")) and not call.dry_run
            for call in self.api.calls
        )

    def sick_share(self, at: datetime) -> float | None:
        """Which part of the serving pods fails requests; all of them once a wrong cause has spoiled it.

        A scrape that is made up for late, on a busy machine, tells of its own time: before the release all
        were well.
        """
        if self.released_at is None or at <= self.released_at:
            return 0.0
        ready = self.api.ready_pods(self.scenario.namespace, f"app={self.scenario.app}")
        total = sum(ready.values())
        if not total:
            return None
        # Where the release is not the cause, the trouble comes with it and stays without it.
        self.spoiled = self.spoiled or "sick" in ready
        return 1.0 if self.spoiled and not self.scenario.helps else ready.get("sick", 0) / total

    @property
    def real_writes(self) -> int:
        """How many writes that were no dry runs our service sent to the cluster."""
        return sum(
            call.method != "GET" and not call.dry_run and "accessreviews" not in call.path
            for call in self.api.calls
        )


@asynccontextmanager
async def demo_world(scenario: Scenario, clock: Clock, *, port: int = 0) -> AsyncIterator[DemoWorld]:
    """The world with a healthy past of several hours; nothing is wrong yet."""
    api = ApiServer(clock=clock, port=port)
    api.rollout(scenario.manifest(scenario.good), ago=timedelta(hours=26))
    if scenario.attack:
        api.load([scenario.service])
    async with api, SmallAlertmanager(clock=clock) as manager:
        traffic = Traffic(scenario, lambda at: world.sick_share(at))
        target = Target(job=scenario.app, instance=f"{scenario.app}:8080", collect=traffic.collect)
        kubelets = Kubelets(api, scenario.namespace)
        counting = Target(job="kubelet", instance="nodes:10250", collect=kubelets.collect)
        prometheus = PrometheusServer(
            clock=clock,
            targets=[target, counting],
            rules=_rules(scenario),
            external_labels={"cluster": CLUSTER},
        )
        world = DemoWorld(scenario, api, prometheus, manager, traffic, kubelets)
        now = clock.now()
        prometheus.backfill(now - HISTORY, now, SCRAPE, target)
        prometheus.on_alerts(manager.take)
        async with prometheus:
            yield world


def _rules(scenario: Scenario) -> list[AlertingRule]:
    errors = f'sum(rate(gl_errors_total{{app="{scenario.app}"}}[5m]))'
    requests = f'sum(rate(gl_requests_total{{app="{scenario.app}"}}[5m]))'
    labels = {"app": scenario.app, "namespace": scenario.namespace, "severity": "critical"}
    sends = f'rate(container_network_transmit_bytes_total{{namespace="{scenario.namespace}"}}[1m])'
    miner = AlertingRule(
        name="MinerFound",
        expr=f"sum by (namespace, pod) ({sends}) > {MINER_SENDS / 4}",
        for_=timedelta(seconds=30),
        labels={"category": "security", "severity": "critical"},
        annotations={"summary": "a pod sends as much as a miner does"},
    )
    return [
        *((miner,) if scenario.attack else ()),
        AlertingRule(
            name="HighErrorRate",
            expr=f"{errors} / {requests} > 0.05",
            for_=timedelta(minutes=1),
            labels=labels,
            annotations={
                "summary": f"{scenario.app} answers {{{{ $value | humanizePercentage }}}} with errors"
            },
        ),
    ]
