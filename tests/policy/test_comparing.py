"""What two sets of policies say differently, in the files' words; what loosens a rule is marked."""

from __future__ import annotations

import pytest

from receiver.packaged import policies, read_files
from receiver.policy.comparing import Difference, Weight, as_markdown, differences
from receiver.policy.loading import load
from receiver.policy.model import PolicySet
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

FILE = "greenlang/inc-001-high-error-rate.yaml"


def shipped() -> dict[str, str]:
    files = read_files(policies())
    name = next(name for name in files if name.endswith("inc-001-high-error-rate.yaml"))
    return {FILE if key == name else key: text for key, text in files.items()}


def loaded(files: dict[str, str]) -> PolicySet:
    found = load(files, catalogue=catalogue(), probe_facts=FACTS)
    assert found.policies is not None, [str(complaint) for complaint in found.complaints]
    return found.policies


def edited(*edits: tuple[str, str], file: str = FILE) -> tuple[Difference, ...]:
    files = shipped()
    before = loaded(files)
    text = files[file]
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return differences(before, loaded({**files, file: text}))


def test_a_comment_is_no_difference() -> None:
    assert edited(("# Requests a second.", "# Changed.")) == ()


@pytest.mark.parametrize(
    ("old", "new", "what", "before", "after", "weight"),
    [
        pytest.param(
            "mode: propose", "mode: shadow", "mode", "propose", "shadow", Weight.STRICTER, id="mode"
        ),
        pytest.param(
            "P3: {expr: err > 0.01, for: 5m}",
            "P3: {expr: err > 0.02, for: 5m}",
            "classify.P3",
            "err > 0.01 for 5m",
            "err > 0.02 for 5m",
            Weight.OTHER,
            id="a threshold",
        ),
        pytest.param(
            "minAvailable: 75%", "minAvailable: 60%", "guard.minAvailable", "0.75", "0.6", Weight.LOOSER,
            id="a guard's number",
        ),
        pytest.param(
            "perTarget: {count: 1, per: 2h}", "perTarget: {count: 1, per: 4h}", "guard.perTarget",
            "1 in 2h", "1 in 4h", Weight.STRICTER, id="a budget over a longer time",
        ),
        pytest.param(
            "disruptive: {from: [oncall, sre], count: 1}", "disruptive: {from: [oncall, sre], count: 2}",
            "approve.disruptive.count", "1", "2", Weight.STRICTER, id="more people",
        ),
        pytest.param(
            "disruptive: {from: [oncall, sre], count: 1}", "disruptive: {from: [sre], count: 1}",
            "approve.disruptive.groups", "oncall", None, Weight.STRICTER, id="one group less",
        ),
        pytest.param(
            "disruptive: {from: [oncall, sre], count: 1}", "disruptive: {from: [sre, oncall], count: 1}",
            "approve.disruptive.asked in turn", "oncall, then sre", "sre, then oncall", Weight.OTHER,
            id="another order of asking",
        ),
        pytest.param(
            "executeWithin: 5m", "executeWithin: 10m", "approve.disruptive.executeWithin", "5m", "10m",
            Weight.LOOSER, id="a yes that counts longer",
        ),
        pytest.param(
            "namespaces: [greenlang]", "namespaces: [greenlang, shop]", "target.namespaces", None, "shop",
            Weight.LOOSER, id="another namespace",
        ),
        pytest.param("monitor: 15m", "monitor: 5m", "monitor", "15m", "5m", Weight.LOOSER, id="monitoring"),
    ],
)  # fmt: skip
def test_one_edit_is_one_difference_with_its_weight(
    old: str, new: str, what: str, before: str | None, after: str | None, weight: Weight
) -> None:
    found = [one for one in edited((old, new)) if one.what == what]
    assert found == [Difference("inc-001-bad-release", what, before, after, weight)]


def test_a_budget_of_the_cluster_belongs_to_no_policy() -> None:
    (limits,) = (name for name in shipped() if name.endswith("limits.yaml"))
    found = edited(
        ("clusterBudget: {count: 10, per: 1h}", "clusterBudget: {count: 20, per: 1h}"), file=limits
    )
    assert found == (Difference("", "limits.clusterBudget", "10 in 1h", "20 in 1h", Weight.LOOSER),)
    found = edited(("storm: {count: 10, per: 10m}", "storm: {count: 5, per: 10m}"), file=limits)
    assert found == (Difference("", "limits.storm", "10 in 10m", "5 in 10m", Weight.STRICTER),)


def test_policies_that_come_and_go_are_named() -> None:
    files = shipped()
    before = loaded(files)
    text = files[FILE].replace("name: inc-001-bad-release", "name: another")
    found = differences(before, loaded({**files, FILE: text}))
    assert [(one.policy, one.what, one.before is None, one.weight) for one in found] == [
        ("another", "the policy", True, Weight.LOOSER),
        ("inc-001-bad-release", "the policy", False, Weight.OTHER),
    ]


def test_the_markdown_is_a_table_that_no_text_of_a_policy_breaks() -> None:
    page = as_markdown((Difference("a", "propose", "x | y\n`z`", None, Weight.LOOSER),))
    assert page.splitlines()[2] == "| a | `propose` | `x \\| y 'z'` | - | **looser** |"
    assert as_markdown(()) == "The policies say the same.\n"


def test_a_rule_of_correlation_is_told_in_the_files_words() -> None:
    (name,) = (name for name in shipped() if name.endswith("correlation.yaml"))
    found = [
        one for one in edited(("reopen: 2h", "reopen: 3h"), file=name) if one.what == "correlation.rules"
    ]
    assert found[0].after is not None
    assert 'app="greenlang-api" by namespace, app, reopen 3h' in found[0].after
