"""The policies that ship: they load without a word, and read the same to every YAML reader."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
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


@pytest.mark.parametrize("name", ["inc-001-bad-release", "inc-004-agent-failures"])
def test_a_rollback_takes_one_yes_of_the_on_call(shipped: PolicySet, name: str) -> None:
    policy = shipped.named(name)
    assert policy is not None
    rule = policy.approve[Risk.DISRUPTIVE]
    assert (rule.groups, rule.count) == (("oncall", "sre"), 1)


def test_a_transaction_is_lost_only_where_an_sre_says_why(shipped: PolicySet) -> None:
    policy = shipped.named("inc-005-database")
    assert policy is not None
    rule = policy.approve[Risk.BOUNDED_LOSS]
    assert (rule.groups, rule.count, rule.reason_required) == (("sre",), 1, True)


def test_a_volume_grows_only_where_two_people_say_why(shipped: PolicySet) -> None:
    policy = shipped.named("inc-003-full-volume")
    assert policy is not None
    rule = policy.approve[Risk.IRREVERSIBLE]
    assert (rule.groups, rule.count, rule.reason_required) == (("sre", "sre-lead"), 2, True)


# What the playbook says, against literal numbers: a policy and its own tests could drift together.
LEVELS: dict[str, dict[Severity, list[tuple[str, int]]]] = {
    "inc-001-bad-release": {
        Severity.P0: [("err >= 0.99", 120), ("probes_down >= 2", 120)],
        Severity.P1: [("err > 0.20 || p95 > 5", 120)],
        Severity.P2: [("err >= 0.05 || p95 > 1", 300)],
        Severity.P3: [("err > 0.01", 300)],
    },
    "inc-002-slow-api": {
        Severity.P1: [("p95 > 5", 120)],
        Severity.P2: [("p95 > 1", 300)],
    },
    "inc-003-resource-exhaustion": {
        Severity.P0: [("cpu > 0.95 || node_cpu > 0.95 || mem > 0.95 || node_mem > 0.95", 120)],
        Severity.P1: [
            ("cpu > 0.80 || node_cpu > 0.80 || mem > 0.85 || node_mem > 0.85", 120),
            ("disk > 0.90", 120),
        ],
        Severity.P2: [("hot_cpu > 0.80 || hot_mem > 0.85", 300), ("oom >= 1", 0)],
    },
    "inc-003-full-volume": {Severity.P1: [("disk > 0.90", 120)]},
    "inc-004-agent-failures": {
        Severity.P1: [("failing >= 0.50", 120)],
        Severity.P2: [("failing >= 0.05 || worst >= 0.50", 300)],
        Severity.P3: [("worst > 0.01", 300)],
    },
    "inc-005-database": {
        Severity.P0: [("up < 1", 120)],
        Severity.P1: [("primaries < 1 || promotions >= 1", 120), ("disk > 0.90", 120)],
        Severity.P2: [("lag > 300", 300), ("connections > 0.85", 300)],
        Severity.P3: [("slow > 5", 300)],
    },
    "inc-006-external-api": {
        Severity.P1: [("failing > 0.20", 120)],
        Severity.P2: [("failing >= 0.05", 300), ("breakers >= 1", 300)],
        Severity.P3: [("worst > 0.01", 300)],
    },
    "inc-007-security": {},
}
# Well again, and the minutes to watch it.
WELL = {
    "inc-001-bad-release": ("err < 0.01", 15),
    "inc-002-slow-api": ("p95 < 0.5 && p99 < 2", 30),
    "inc-003-resource-exhaustion": (
        "cpu < 0.70 && node_cpu < 0.70 && hot_cpu <= 0.80 && mem < 0.75 && node_mem < 0.75 && hot_mem <= 0.85"
        " && disk < 0.80 && oom <= 0.0",
        15,
    ),
    "inc-003-full-volume": ("disk < 0.80", 15),
    "inc-004-agent-failures": ("worst < 0.01 && timeouts <= 0.0 && silent <= 0.0", 15),
    "inc-005-database": (
        "down <= 0.0 && primaries >= 1 && connections < 0.80 && lag < 10 && disk < 0.80 && slow <= 5",
        15,
    ),
    "inc-006-external-api": ("worst < 0.01 && breakers <= 0.0 && limited <= 0.0", 15),
    "inc-007-security": ("false", 15),
}
# What the playbook asks for, in its order: what is offered, and after a dash what is not there yet and only
# named to a person. What no release will ever do is handed over.
ASKED = {
    "inc-001-bad-release": [
        "deployment.rollback",
        "deployment.set-env",
        "deployment.set-env",
        "deployment.scale",
        "deployment.set-resources",
    ],
    "inc-002-slow-api": [
        "postgres.cancel-query",
        "deployment.set-env",
        "deployment.set-env",
        "deployment.scale",
        "http.warm-up",
    ],
    "inc-003-resource-exhaustion": [
        "deployment.scale",
        "pod.evict",
        "deployment.restart",
        "deployment.set-resources",
        "- volume.expand",
    ],
    "inc-003-full-volume": ["volume.expand"],
    "inc-004-agent-failures": [
        "deployment.rollback",
        "deployment.set-env",
        "deployment.restart",
        "deployment.set-env",
    ],
    "inc-005-database": [
        "postgres.terminate-idle",
        "deployment.set-env",
    ],
    "inc-006-external-api": [
        "deployment.set-env",
        "deployment.set-env",
        "- provider.wait",
        "deployment.set-env",
    ],
    "inc-007-security": [],
}


HANDED_OVER = {
    "inc-001-bad-release": ["Add a replica of the database", "Tell customers, and decide about credits"],
    "inc-002-slow-api": ["Add the index that a slow statement lacks", "Look whether the network is slow"],
    "inc-005-database": [
        "Allow more connections, if there is no other way",
        "Drop the replication slot that nobody reads any more",
        "Do not run VACUUM FULL",
        "Do not run REINDEX DATABASE",
        "Do not delete old rows",
        "Grow the disk of the database",
    ],
    "inc-006-external-api": [
        "Ask for a higher tier, if the limit is the provider's",
        "Replace the provider's key, if it is not valid any more",
    ],
    "inc-003-resource-exhaustion": [
        "Look which process eats the CPU",
        "Find the leak and mend it",
        "Look what fills the disk of the node",
        "Make room among the logs of the node",
        "Make room among the images of the node",
        "Leave the database's tables alone",
        "Grow the disk of a node by replacing the node",
    ],
    "inc-004-agent-failures": [
        "Look what changed in the agent packs",
        "Validate the pack of the agent that fails",
        "Revert the commit that broke the agent pack",
        "Replace the provider's key, if it is not valid any more",
    ],
    "inc-007-security": [
        "Block the addresses that the attack comes from",
        "End the suspicious sessions",
        "Call legal, if personal data may have been reached",
        "Open a private channel and invite by name",
        "Take snapshots of the disks, and of the database if the security lead says so",
    ],
}


def test_the_numbers_are_the_playbooks(shipped: PolicySet) -> None:
    assert {
        policy.name: {
            level: [(rule.expr, int(rule.for_.total_seconds())) for rule in rules]
            for level, rules in policy.classify.levels.items()
        }
        for policy in shipped.policies
    } == LEVELS


def test_well_again_is_what_the_playbook_says(shipped: PolicySet) -> None:
    assert {
        policy.name: (policy.verification.success, int(policy.monitor.total_seconds()) // 60)
        for policy in shipped.policies
    } == WELL


def test_every_cause_of_the_playbook_is_named_in_its_order(shipped: PolicySet) -> None:
    assert {
        policy.name: [f"{'- ' * one.disabled}{one.remediation}" for one in policy.candidates]
        for policy in shipped.policies
    } == ASKED


def test_what_is_named_can_be_read_whole(shipped: PolicySet) -> None:
    """The message to whoever takes over is cut at 2000 characters, a single reason at 300."""
    for policy in shipped.policies:
        reasons = [
            f"{candidate.remediation}: disabled in the policy: {candidate.why}"
            for candidate in policy.candidates
            if candidate.disabled
        ]
        assert max((len(reason) for reason in reasons), default=0) <= 300, policy.name
        assert len("no remediation applies: " + "; ".join(reasons)) <= 2000, policy.name
        assert all("Line" in reason for reason in reasons)


def test_what_no_machine_does_is_handed_over_with_its_line(shipped: PolicySet) -> None:
    handed = {
        policy.name: [entry.item for entry in policy.handover]
        for policy in shipped.policies
        if policy.handover
    }
    assert handed == HANDED_OVER
    entries = [entry for policy in shipped.policies for entry in policy.handover]
    assert [entry.item for entry in entries if "Line" not in entry.why] == []


def test_no_two_policies_are_about_the_same_alerts(shipped: PolicySet) -> None:
    named = [
        alert
        for policy in shipped.policies
        for matcher in policy.match.matchers
        if matcher.label == "alertname"
        for alert in matcher.value.split("|")
    ]
    assert len(named) == len(set(named)) >= 20


def test_they_act_in_listed_namespaces_only(shipped: PolicySet) -> None:
    assert {policy.target.namespaces for policy in shipped.policies} == {("greenlang",)}


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
