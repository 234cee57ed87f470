"""Every kind of expectation holds where it should, and can fail."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.domain.incidents import Lockdown
from receiver.domain.isolation import Act, Isolating, IsolationState
from receiver.domain.plans import ObjectRef
from receiver.trials.policy_test.checking import QUESTIONS, mismatches
from receiver.trials.policy_test.expecting import KEYS, ONLY_WHERE
from receiver.trials.policy_test.model import Expectation
from receiver.trials.policy_test.seen import Seen

from .conftest import HEAD, opened, played

# Everything happens in it: a refusal, a write, a regression, an undo, and nothing left to try.
STORY = """\
  - name: the release is put back, which makes it worse, and is undone
    approve: [{at: 57m, by: carol, groups: [oncall]}]
    patch:
      - at: 57m
        object: Deployment/greenlang/greenlang-api
        merge: {metadata: {annotations: {argocd.argoproj.io/tracking-id: x}}}
      - at: 59m
        object: Deployment/greenlang/greenlang-api
        merge: {metadata: {annotations: {argocd.argoproj.io/tracking-id: null}}}
    afterWrite: {queries: {err: "0.9x50"}}
    expect:
"""
# For each key what is so at the end of that story, what is not, and what is then said to be so.
ROWS: dict[str, tuple[str, str, str]] = {
    "incidents": ("1", "2", "1"),
    "noIncident": ("false", "true", "1"),
    "severity": ("P1", "P2", "P1"),
    "because": ("err > 0.20", "[err > 0.20, err >= 0.05]", "P1: err > 0.20"),
    "status": ("identified", "resolved", "identified"),
    "proposed": ("deployment.rollback", "nothing", "deployment.rollback"),
    "with": ("{to: known-good}", "{to: other}", '{"to": "known-good"}'),
    "change": ("greenlang/api:1.8.1", "replicas", "greenlang/api:1.8.2"),
    "risk": ("disruptive", "irreversible", "disruptive"),
    "state": ("undone", "verified", "undone"),
    "rejected": ("it was tried", "no policy matches", "it was tried for this incident"),
    "handover": ("Add a replica of the database", "Drain the node", "Line 424"),
    "noHandover": ("Drain the node", "a replica of the database", "Line 424"),
    "refused": ("[G3, Argo CD]", "kill switch", "managed by Argo CD"),
    "verdict": ("worse", "improved", "worse"),
    "executed": ("[deployment.rollback]", "[]", "[deployment.rollback]"),
    "executedCount": ("1", "2", "1"),
    "undone": ("[deployment.rollback]", "[]", "[deployment.rollback]"),
    "security": ("a miner runs in it", "strange logins", "a miner runs in it: namespace/greenlang"),
    "isolates": ("cut Pod api-1 off", "cut Pod api-2 off", "cut Pod api-1 off: awaiting-approval"),
    "paged": ("true", "false", "P-1 waits for oncall"),
    "told": ("[waits for oncall, no remediation applies]", "resolved by", "P-1 waits for oncall"),
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The end of the story, as the real pipeline played it."""
    path = tmp_path_factory.mktemp("story") / "story.yaml"
    path.write_text(HEAD + STORY + "      - {at: 64m, incidents: 1}\n")
    (result,) = played(path)
    assert result.played.passed
    seen = result.played.seen
    # Nothing else could be so of an incident that was locked from the beginning.
    lockdown = Lockdown("a miner runs in it", ("namespace/greenlang",), datetime(2026, 3, 2, tzinfo=UTC))
    target = ObjectRef("v1", "Pod", "greenlang", "api-1")
    asked = Isolating(
        "S-1",
        Act.POD_QUARANTINE,
        target,
        "0" * 64,
        IsolationState.ASKED,
        lockdown.since,
        summary="cut Pod api-1 off",
    )
    locked = tuple(
        replace(one, incident=replace(one.incident, lockdown=lockdown, isolations=(asked,)))
        for one in seen.incidents
    )
    return replace(seen, incidents=locked)


def expecting(tmp_path: Path, key: str, value: str) -> Expectation:
    path = tmp_path / "story.yaml"
    path.write_text(HEAD + STORY + f"      - {{at: 64m, {key}: {value}}}\n")
    (test,) = opened(path).tests.tests
    return test.expectations[0]


def test_every_key_has_a_row_here_and_a_question() -> None:
    assert set(ROWS) == set(KEYS) - ONLY_WHERE
    assert set(QUESTIONS) == set(ROWS) - {"noIncident"}


@pytest.mark.parametrize("key", [key for key in ROWS if key != "noIncident"])
def test_it_holds_where_it_is_so(tmp_path: Path, seen: Seen, key: str) -> None:
    assert mismatches(expecting(tmp_path, key, ROWS[key][0]), seen) == []


@pytest.mark.parametrize("key", ROWS)
def test_it_fails_where_it_is_not_so_and_says_what_is(tmp_path: Path, seen: Seen, key: str) -> None:
    _, wrong, so = ROWS[key]
    (mismatch,) = mismatches(expecting(tmp_path, key, wrong), seen)
    assert mismatch.spot.column == len("      - {at: 64m, ") + 1
    assert so in mismatch.got
    assert mismatch.expected


@pytest.mark.parametrize("key", [key for key in ROWS if key not in ("incidents", "noIncident")])
def test_nothing_that_is_expected_of_an_incident_holds_without_one(tmp_path: Path, key: str) -> None:
    said = "true" if key == "paged" else ROWS[key][0]
    assert mismatches(expecting(tmp_path, key, said), Seen())


def test_of_several_incidents_the_newest_is_meant_unless_one_is_named(tmp_path: Path, seen: Seen) -> None:
    assert mismatches(expecting(tmp_path, "severity", "P1, incident: 1"), seen) == []
    (mismatch,) = mismatches(expecting(tmp_path, "severity", "P1, incident: 2"), seen)
    assert mismatch.got == "no incident"
