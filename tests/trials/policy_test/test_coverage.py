"""Which rules were reached: those that made a difference count, and the rest is listed with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.policy.document import read
from receiver.policy.loading import load
from receiver.probes.catalogue import FACTS
from receiver.trials.policy_test.coverage import Covered, covered, percent, rules_of
from receiver.trials.policy_test.reporting import coverage_json, coverage_text
from receiver.trials.policy_test.seen import Seen
from remediations.registry import catalogue

from .conftest import HEAD, SHIPPED, line_of, opened, played

DATA = Path(__file__).resolve().parents[2] / "data" / "policies"
POLICY = SHIPPED / "inc-001-high-error-rate.yaml"
STORY = """\
  - name: the release is put back, and helps
    approve: [{at: 57m, by: carol, groups: [oncall]}]
    afterWrite: {queries: {err: "0.002x50"}}
    expect: [{at: 64m, verdict: improved}]
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Covered:
    """What one story reaches of INC-001."""
    path = tmp_path_factory.mktemp("story") / "story.yaml"
    path.write_text(HEAD + STORY)
    (result,) = played(path)
    policies = opened(path).policies
    assert result.played.passed and policies is not None
    (policy,) = (one for one in policies.policies if one.file == str(POLICY))
    document = read(policy.file, POLICY.read_text())
    return covered(policy, document, catalogue(), [result.played.seen])


def names(text: str) -> list[str]:
    """The rules of one policy."""
    texts = {"policy.yaml": text, "approvers.yaml": (DATA / "approvers.yaml").read_text()}
    loaded = load(texts, catalogue=catalogue(), probe_facts=FACTS).policies
    assert loaded is not None
    return [rule.name for rule in rules_of(loaded.policies[0], read("policy.yaml", text), catalogue())]


def test_what_made_a_difference_was_reached(found: Covered) -> None:
    never = {name for _, name in found.never}
    assert "classify.P1: err > 0.20 || p95 > 5" not in never
    assert {name.split(":")[0] for name in never} == {
        "classify.P0",
        "classify.P2",
        "classify.P3",
        "classify.severityLabel",
        "propose",
        "guard.perTarget objects",
        "guard.minAvailable objects",
        "approve.reversible is given",
        "approve.expires",
        "approve.executeWithin",
        "verify",
        "undo.when regression",
        "undo.ask failure",
    }


def test_what_was_never_reached_is_listed_with_its_line(found: Covered) -> None:
    by_name = {name: spot for spot, name in found.never}
    spot = by_name["guard.perTarget objects"]
    assert (spot.file, spot.line) == (str(POLICY), line_of(POLICY, "perTarget:"))
    assert by_name["classify.P0: probes_down >= 2"].line == line_of(POLICY, "- {expr: probes_down")
    lines = list(coverage_text([found]))
    assert lines[0] == "coverage of inc-001-bad-release: 6 of 30 rules reached (20 %)"
    assert f"  {spot}: never reached: guard.perTarget objects" in lines
    assert coverage_json([found])[0]["percent"] == 20.0


def test_nothing_is_reached_without_an_alert_of_the_policy() -> None:
    texts = {str(path): path.read_text() for path in SHIPPED.glob("*.yaml")}
    policies = load(texts, catalogue=catalogue(), probe_facts=FACTS).policies
    assert policies is not None
    nothing = covered(
        next(one for one in policies.policies if one.file == str(POLICY)),
        read(str(POLICY), POLICY.read_text()),
        catalogue(),
        [Seen()],
    )
    assert (nothing.reached, percent([nothing])) == (0, 0.0)


def test_every_guard_rule_counts() -> None:
    assert "guard.rules objects: traffic > 1.0" in names((DATA / "good.yaml").read_text())


def test_a_policy_that_only_shadows_asks_nobody() -> None:
    text = (DATA / "good.yaml").read_text().replace("mode: propose", "mode: shadow")
    assert not [name for name in names(text) if name.startswith(("approve", "verify", "undo"))]
    assert names(text.replace("mode: shadow", "mode: disabled")) == []


def test_no_rule_at_all_is_covered_whole() -> None:
    assert percent([]) == 100.0
