"""The alerts about Stanch itself fire when they must, and name metrics that there are."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_files import CHART
from chart_rendering import CASES, of_kind, pod_of, rendered, run

from receiver.pipeline.counters import Counters
from receiver.web.metrics import OurMetrics

CASES_FILE = Path(__file__).parent / "alerts.test.yaml"
ALERTS = frozenset(
    re.findall(r"- alert: (\w+)", (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
)


def rules(*more: str, name: str = "stanch", namespace: str = "stanch") -> dict[str, Any]:
    """The rendered rules, as Prometheus reads them."""
    documents = rendered("everything", *more, name=name, namespace=namespace)
    (found,) = of_kind(documents, "PrometheusRule")
    spec: dict[str, Any] = found["spec"]
    return spec


def names(spec: dict[str, Any]) -> set[str]:
    return {rule["alert"] for group in spec["groups"] for rule in group["rules"]}


def tried(spec: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """The cases over these rules."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (folder / CASES_FILE.name).write_bytes(CASES_FILE.read_bytes())
    return run("promtool", "test", "rules", folder / CASES_FILE.name)


def there_are() -> set[str]:
    """Every metric of the service, counters as Prometheus names them."""
    counters = Counters()
    for family in (counters.steps, counters.reconciled):
        family["one"] = 1
    figures = {
        "incidents": {("identified", "P1"): 1},
        "plans": {("a", "b", "helped"): 1},
        "plans_current": {"executed": 1},
        "intents": {"done": 1},
        "outbox_oldest": 1.0,
        "outbox_waiting": 1,
        "outbox_dead": 0,
        "events_unsealed": 0,
        "watchdog": {"alertmanager": 1.0},
        "audit_broken": 0.0,
        "audit_verified": 1.0,
        "deliveries_waiting": 0,
        "dead_letters": 0,
        "alerts_firing": 0,
    }
    families = OurMetrics(counters, figures, 0, refused=False).collect()
    return {f"{one.name}_total" if one.type == "counter" else one.name for one in families}


def test_the_rules_hold_what_their_cases_say(tmp_path: Path) -> None:
    done = tried(rules(), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run("promtool", "check", "rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("instead", ["vector(1) > 2", "vector(1)"], ids=["never", "always"])
@pytest.mark.parametrize(
    "alert",
    [
        # The rest takes a second each.
        one if one == "StanchWatchdogMissing" else pytest.param(one, marks=pytest.mark.long)
        for one in sorted(ALERTS)
    ],
)
def test_a_rule_that_never_or_always_fires_would_be_found(alert: str, instead: str, tmp_path: Path) -> None:
    spec = copy.deepcopy(rules())
    for group in spec["groups"]:
        for rule in group["rules"]:
            if rule["alert"] == alert:
                rule["expr"] = instead
    assert tried(spec, tmp_path).returncode, f"{alert} has no case that tells"


def test_these_are_all_the_alerts_there_are() -> None:
    assert names(rules()) == ALERTS


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for group in rules()["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert len(rule["annotations"]["description"]) > 60, rule["alert"]


def test_alerts_and_dashboard_name_metrics_that_there_are() -> None:
    text = json.dumps(rules())
    (dashboard,) = [
        one
        for one in of_kind(rendered("everything"), "ConfigMap")
        if one["metadata"]["name"].endswith("dashboard")
    ]
    board = json.loads(dashboard["data"]["stanch.json"])
    text += " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    used = set(re.findall(r"\bstanch_[a-z_]+", text))
    assert len(used) > 15
    assert used - there_are() == set()


def test_each_release_watches_its_own() -> None:
    text = json.dumps(rules(name="other", namespace="elsewhere"))
    assert 'namespace=\\"elsewhere\\"' in text
    assert '\\"stanch\\"' not in text
    for expression in re.findall(r"\{job=[^}]*\}", text):
        assert expression.startswith('{job=\\"other\\",namespace=\\"elsewhere\\"'), expression


def test_a_metric_is_asked_for_with_the_release_it_is_of() -> None:
    for group in rules()["groups"]:
        for rule in group["rules"]:
            for found in re.findall(r"\b(?:stanch_[a-z_]+|up)\b(.?)", rule["expr"]):
                assert found == "{", rule["expr"]


def test_without_a_watchdog_its_alert_is_left_out() -> None:
    without = names(rules("--set", "metrics.prometheusRule.watchdog=false"))
    assert names(rules()) - without == {"StanchWatchdogMissing"}


def test_the_monitor_asks_the_metrics_port_of_our_services() -> None:
    documents = rendered("everything")
    (monitor,) = of_kind(documents, "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    services = [
        one
        for one in of_kind(documents, "Service")
        if monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
        and endpoint["port"] in {port["name"] for port in one["spec"]["ports"]}
    ]
    assert len(services) == 1
    # The label whose value becomes the job that alerts and dashboard ask by.
    assert services[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "stanch"
    assert endpoint["path"] == "/metrics"


@pytest.mark.parametrize("case", [case for case in CASES if case != "everything"])
def test_what_takes_the_operator_is_made_only_when_asked_for(case: str) -> None:
    documents = rendered(case)
    assert not of_kind(documents, "ServiceMonitor", "PrometheusRule")
    assert pod_of(documents)
