"""The policies that ship: they load without a word, and read the same to every YAML reader."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_process import find_binary

from receiver.domain.plans import Risk
from receiver.domain.severity import Severity
from receiver.packaged import policies as packaged_policies
from receiver.packaged import read_files
from receiver.policy.document import read, value_of
from receiver.policy.loading import load
from receiver.policy.model import Mode, Policy, PolicySet
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

FILES = sorted((Path(__file__).resolve().parents[2] / "policies").rglob("*.yaml"))


@pytest.fixture(scope="module")
def shipped() -> PolicySet:
    loaded = load(read_files(packaged_policies()), catalogue=catalogue(), probe_facts=FACTS)
    assert [str(complaint) for complaint in loaded.complaints] == []
    assert loaded.policies is not None
    return loaded.policies


@pytest.fixture(scope="module")
def inc_001(shipped: PolicySet) -> Policy:
    policy = shipped.named("inc-001-bad-release")
    assert policy is not None
    return policy


def test_nothing_shipped_acts_by_itself(shipped: PolicySet) -> None:
    assert {policy.mode for policy in shipped.policies} == {Mode.PROPOSE}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_yaml_1_1_reads_it_the_same(file: Path) -> None:
    """Helm and PyYAML follow YAML 1.1, where `on` is true and 012 is ten."""
    root = read(file.name, file.read_text()).root
    assert root is not None
    assert value_of(root) == yaml.safe_load(file.read_text())


def test_a_rollback_takes_one_yes_of_the_on_call(inc_001: Policy) -> None:
    rule = inc_001.approve[Risk.DISRUPTIVE]
    assert (rule.groups, rule.count) == (("oncall", "sre"), 1)


def test_the_numbers_are_the_playbooks(inc_001: Policy) -> None:
    levels = {level: [rule.expr for rule in rules] for level, rules in inc_001.classify.levels.items()}
    assert levels == {
        Severity.P0: ["err >= 0.99", "probes_down >= 2"],
        Severity.P1: ["err > 0.20 || p95 > 5"],
        Severity.P2: ["err >= 0.05 || p95 > 1"],
        Severity.P3: ["err > 0.01"],
    }
    assert inc_001.verification.success == "err < 0.01"
    assert inc_001.monitor == timedelta(minutes=15)


def test_it_acts_in_listed_namespaces_only(inc_001: Policy) -> None:
    assert inc_001.target.namespaces == ("greenlang",)


def _promtool_test(queries: Mapping[str, str], series: Mapping[str, str], wanted: Mapping[str, Any]) -> str:
    checks = [
        {
            "expr": queries[name],
            "eval_time": "10m",
            "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
        }
        for name, value in wanted.items()
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    return yaml.safe_dump(
        {"tests": [{"interval": "15s", "input_series": inputs, "promql_expr_test": checks}]}
    )


TRAFFIC = {
    'gl_requests_total{app="greenlang-api",pod="a"}': "0+150x60",
    'gl_requests_total{app="greenlang-api",pod="b"}': "0+150x60",
    'gl_errors_total{app="greenlang-api",pod="a",code="500"}': "0+75x60",
}
PROBES = {
    'probe_success{job="greenlang-api",location="eu"}': "0x60",
    'probe_success{job="greenlang-api",location="us"}': "1x60",
}


@pytest.mark.parametrize(
    ("series", "wanted"),
    [
        ({**TRAFFIC, **PROBES}, {"traffic": 20, "err": 0.25, "probes_down": 1}),
        (dict.fromkeys(TRAFFIC, "0+0x60"), {"traffic": 0, "err": None, "probes_down": None}),
        (dict.fromkeys(TRAFFIC, "0+1x60"), {"err": None if 2 / 15 < 0.2 else 0.5}),
        ({}, {"traffic": None, "err": None, "p95": None}),
    ],
    ids=["two pods", "no traffic is no error rate", "below the floor is no error rate", "no metrics"],
)
def test_the_queries_say_what_they_mean_to_a_real_prometheus(
    inc_001: Policy, tmp_path: Path, series: dict[str, str], wanted: dict[str, Any]
) -> None:
    promtool = find_binary("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: run `make deps`")
    case = tmp_path / "test.yaml"
    case.write_text(_promtool_test(inc_001.queries, series, wanted))
    done = subprocess.run([promtool, "test", "rules", case], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
