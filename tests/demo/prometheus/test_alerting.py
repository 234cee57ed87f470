"""Alerting rules go through Prometheus's states, and promtool agrees on when an alert fires."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import promtool_notation
import pytest
from real_process import need_binary

from receiver.demo.prometheus import Alert, AlertingRule, AlertState, Engine, QueryError
from receiver.demo.prometheus.engine import as_vector

STEP = timedelta(seconds=15)
EPOCH = datetime.fromtimestamp(0, UTC)
SERIES = {
    'errors{app="api",pod="a"}': "0x3 9x20 0x10 9x20",
    'errors{app="api",pod="b"}': "0x10 9x2 0x40",
}
RULE = AlertingRule(
    name="Errors",
    expr="errors > 5",
    for_=timedelta(minutes=1),
    labels={"severity": "critical", "team": "{{ $labels.app }}-team"},
    annotations={"summary": "{{ $labels.pod }} has {{ $value }} errors"},
)


def minute(minutes: float) -> datetime:
    return EPOCH + timedelta(minutes=minutes)


def run_until(engine: Engine, end: datetime) -> None:
    at = EPOCH
    while at <= end:
        engine.evaluate_rules(at)
        at += STEP


@pytest.fixture
def engine() -> Engine:
    engine = Engine(rules=[RULE], external_labels={"cluster": "eu-1"})
    promtool_notation.load(engine.store, SERIES, STEP)
    return engine


def states(engine: Engine) -> list[tuple[str, AlertState]]:
    return [(a.labels["pod"], a.state) for rule in engine.rules for a in rule.active.values()]


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param(0.75, [], id="nothing yet"),
        pytest.param(1.0, [("a", AlertState.PENDING)], id="seen"),
        pytest.param(1.75, [("a", AlertState.PENDING)], id="not yet for a minute"),
        pytest.param(2.0, [("a", AlertState.FIRING)], id="for a minute"),
        pytest.param(3.0, [("a", AlertState.FIRING), ("b", AlertState.PENDING)], id="another pod"),
        pytest.param(3.75, [("a", AlertState.FIRING)], id="too short to fire"),
        pytest.param(6.25, [("a", AlertState.RESOLVED)], id="over"),
        pytest.param(9.0, [("a", AlertState.PENDING)], id="again"),
        pytest.param(10.0, [("a", AlertState.FIRING)], id="firing again"),
    ],
)
def test_an_alert_goes_through_its_states(
    engine: Engine, minutes: float, expected: list[tuple[str, AlertState]]
) -> None:
    run_until(engine, minute(minutes))
    assert states(engine) == expected


def test_the_series_names_the_state_and_no_external_label(engine: Engine) -> None:
    run_until(engine, minute(3))
    labels = [dict(e.labels) for e in as_vector(engine.query("ALERTS", minute(3)))]
    assert {one["alertstate"] for one in labels} == {"firing", "pending"}
    assert all("cluster" not in one for one in labels)
    assert labels[0]["severity"] == "critical"
    assert labels[0]["team"] == "api-team"


def test_the_series_of_the_former_state_ends_when_the_state_changes(engine: Engine) -> None:
    run_until(engine, minute(2))
    pending = as_vector(engine.query('ALERTS{alertstate="pending"}', minute(2)))
    assert pending == []
    assert as_vector(engine.query('max_over_time(ALERTS{alertstate="pending"}[1m])', minute(2)))


def test_what_goes_to_alertmanager_carries_external_labels_and_no_pending_alert(engine: Engine) -> None:
    heard: list[tuple[Alert, ...]] = []
    engine.on_alerts(heard.append)
    run_until(engine, minute(3))
    [alert] = heard[-1]
    assert alert.labels["cluster"] == "eu-1"
    assert alert.annotations == {"summary": "a has 9 errors"}
    assert alert.active_at == minute(1)


def test_a_resolved_alert_is_told_for_fifteen_minutes(engine: Engine) -> None:
    heard: list[tuple[Alert, ...]] = []
    engine.on_alerts(heard.append)
    run_until(engine, minute(8))
    [alert] = heard[-1]
    assert (alert.state, alert.resolved_at) == (AlertState.RESOLVED, minute(6.25))
    run_until(engine, minute(40))
    assert heard[-1] == ()


def test_a_rule_that_fails_keeps_its_alerts_and_says_so(engine: Engine) -> None:
    engine.add_rule(AlertingRule(name="Wrong", expr="errors * on(app) errors"))
    run_until(engine, minute(2))
    assert engine.rules[1].error.startswith("found duplicate series")
    assert states(engine) == [("a", AlertState.FIRING)]


def test_what_the_demo_cannot_do_is_refused_when_the_rule_is_added() -> None:
    with pytest.raises(QueryError, match="parse error"):
        Engine(rules=[AlertingRule(name="x", expr="sum(")])
    with pytest.raises(ValueError, match="unsupported by the demo Prometheus"):
        AlertingRule(name="x", expr="up", annotations={"summary": "{{ printf $value }}"})


def test_promtool_agrees_on_what_fires(tmp_path: Path) -> None:
    engine = Engine(rules=[RULE])
    promtool_notation.load(engine.store, SERIES, STEP)
    at, expected = EPOCH, []
    while at <= minute(14):
        engine.evaluate_rules(at)
        alerts = [
            {
                "exp_labels": {k: v for k, v in alert.labels.items() if k != "alertname"},
                "exp_annotations": dict(alert.annotations),
            }
            for alert in engine.rules[0].live()
            if alert.state is AlertState.FIRING
        ]
        elapsed = round((at - EPOCH).total_seconds())
        expected.append({"eval_time": f"{elapsed}s", "alertname": RULE.name, "exp_alerts": alerts})
        at += STEP
    rule = {
        "alert": RULE.name,
        "expr": RULE.expr,
        "for": "1m",
        "labels": dict(RULE.labels),
        "annotations": dict(RULE.annotations),
    }
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": s, "values": v} for s, v in SERIES.items()],
                "alert_rule_test": expected,
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(tests))
    done = subprocess.run(
        [need_binary("promtool"), "test", "rules", tmp_path / "test.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(test["exp_alerts"] for test in expected)
