"""The page about remediations is what they declare, and their examples are policies that load."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent

import pytest
from typer.testing import CliRunner

from receiver.cli.main import app
from receiver.policy.loading import load
from receiver.probes.catalogue import FACTS
from remediations.reference import page
from remediations.registry import SPECS, catalogue

ROOT = Path(__file__).parent.parent.parent
POLICY = """\
apiVersion: stanch/v1
kind: Policy
metadata: {name: example}
spec:
  mode: propose
  match: {alerts: ['alertname="Sick"', 'namespace="shop"']}
  target: {kind: KIND, namespace: shop, name: api}
  queries: {err: max(errors)}
  classify: {P1: {expr: err > 0.2}}
  diagnose:
    rollout: {probe: PROBE}
    db: {probe: postgres-connections, connection: shop}
    slow: {probe: postgres-slow-queries, connection: shop}
  propose:
EXAMPLE
  approve:
    reversible: {from: [us]}
    disruptive: {from: [us]}
    bounded-loss: {from: [us], reason: required}
    irreversible: {from: [us], reason: required}
  verify: {success: {expr: err < 0.2, for: 5m}}
"""
APPROVERS = """\
apiVersion: stanch/v1
kind: Approvers
metadata: {name: us}
spec: {us: {groups: [us]}}
"""


def test_the_page_in_the_docs_is_the_one_that_is_made() -> None:
    assert (ROOT / "docs" / "remediations.md").read_text(encoding="utf-8") == page(SPECS)


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_its_example_is_a_policy_that_loads(name: str) -> None:
    spec = catalogue()[name]
    (kind,) = spec.target_kinds
    # A remediation may look at what the probes of its target find.
    probe = "rollout-history" if kind == "Deployment" else "owners"
    text = POLICY.replace("KIND", kind).replace("PROBE", probe)
    text = text.replace("EXAMPLE", indent(spec.example.rstrip(), "    "))
    found = load({"p.yaml": text, "a.yaml": APPROVERS}, catalogue=catalogue(), probe_facts=FACTS)
    assert [str(complaint) for complaint in found.complaints] == []
    assert found.policies is not None
    (policy,) = found.policies.policies
    assert [candidate.remediation for candidate in policy.candidates] == [name]


def test_the_command_lists_and_shows_every_one() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["remediations", "list", "--output", "json"])
    assert [one["name"] for one in json.loads(listed.stdout)["items"]] == [spec.name for spec in SPECS]
    for spec in SPECS:
        shown = runner.invoke(app, ["remediations", "show", spec.name])
        assert shown.exit_code == 0
        assert spec.sentence in shown.stdout


def test_an_unknown_one_is_answered_with_the_nearest() -> None:
    shown = CliRunner().invoke(app, ["remediations", "show", "deployment.scael"])
    assert shown.exit_code != 0
    assert "deployment.scale" in str(shown.exception) + shown.output
