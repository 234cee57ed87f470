"""A test is played by the real pipeline, and a wrong expectation fails at its line."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from receiver.demo.kubernetes import Applied, Call
from receiver.domain.plans import MARKER
from receiver.pipeline import worker
from receiver.trials.policy_test.folder import open_file
from receiver.trials.policy_test.running import chosen, run
from receiver.trials.policy_test.seen import writes_of

from .conftest import SHIPPED, Write, line_of, played


def test_a_wrong_expectation_fails_at_its_own_line_and_the_right_ones_hold(write: Write) -> None:
    path = write("""
        - name: the severity is wrong
          expect:
            - {at: 55m, severity: P1}
            - at: 56m
              proposed: deployment.rollback
              severity: P2
    """)
    (result,) = played(path)
    (mismatch,) = result.played.mismatches
    assert (mismatch.spot.file, mismatch.spot.line) == (str(path), line_of(path, "severity: P2"))
    assert (mismatch.key, mismatch.expected, mismatch.got) == ("severity", "P2", "P1")


def test_copies_and_peers_are_delivered_and_change_nothing(write: Write) -> None:
    path = write("""
        - name: three copies from two peers
          deliver: {copies: 3, peers: 2}
          approve: [{at: 58m, by: carol, groups: [oncall]}]
          afterWrite: {queries: {err: "0.002x50"}}
          expect:
            - {at: 70m, incidents: 1, executed: [deployment.rollback], executedCount: 1}
    """)
    (result,) = played(path)
    assert result.played.mismatches == []
    (incident,) = result.played.seen.incidents
    assert [one.event.event for one in incident.timeline].count("AlertFired") == 1


def test_an_answer_that_is_turned_down_fails_the_test_unless_that_was_expected(write: Write) -> None:
    path = write("""
        - name: unexpected
          approve: [{at: 56m, by: mallory, groups: [interns]}]
          expect: [{at: 56m, executed: []}]
        - name: expected
          approve: [{at: 56m, by: mallory, groups: [interns], refused: may not approve}]
          expect: [{at: 56m, executed: []}]
        - name: expected, and taken
          approve: [{at: 56m, by: carol, groups: [sre], refused: may not approve}]
          expect: [{at: 56m, executed: [deployment.rollback]}]
        - name: too early
          approve: [{at: 50m, by: carol, groups: [sre]}]
          expect: [{at: 56m, executed: []}]
    """)
    unexpected, expected, taken, early = (result.played.mismatches for result in played(path))
    assert unexpected[0].got == (
        "refused: mallory may not approve deployment.rollback: it takes one of oncall, sre"
    )
    assert unexpected[0].spot.line == line_of(path, "by: mallory")
    assert expected == []
    assert [mismatch.got for mismatch in taken] == ["it was taken"]
    assert [mismatch.got for mismatch in early] == ["refused: there is no incident"]


def test_people_may_deny_undo_keep_and_close(write: Write) -> None:
    path = write("""
        - name: denied
          deny: [{at: 56m, by: carol, groups: [sre], reason: not now}]
          expect: [{at: 56m, state: denied, executed: []}]
        - name: undone by a person
          approve: [{at: 56m, by: carol, groups: [sre]}]
          undo: [{at: 78m, by: carol, groups: [sre], reason: it did nothing}]
          expect:
            - {at: 77m, state: undo-asked, undone: []}
            - {at: 78m, state: undone, undone: [deployment.rollback]}
        - name: kept, and closed
          approve: [{at: 56m, by: carol, groups: [sre]}]
          keep: [{at: 78m, by: carol, groups: [sre], reason: better than nothing}]
          close: [{at: 79m, by: carol, groups: [sre], reason: handed over}]
          expect: [{at: 79m, status: resolved, verdict: not-improved, undone: []}]
    """)
    assert [result.played.mismatches for result in played(path)] == [[], [], []]


def test_somebody_elses_change_makes_the_plan_void(write: Write) -> None:
    path = write("""
        - name: the template is changed while people are being asked
          patch:
            - at: 56m
              object: Deployment/greenlang/greenlang-api
              merge: {spec: {template: {metadata: {annotations: {restarted: "yes"}}}}}
          expect:
            - {at: 55m, state: awaiting-approval}
            - {at: 58m, incidents: 1, executed: []}
        - name: no such object
          patch: [{at: 1m, object: Deployment/greenlang/other, merge: {}}]
          expect: [{at: 1m, noIncident: true}]
    """)
    changed, missing = played(path)
    kinds = [one.event.event for one in changed.played.seen.incidents[0].timeline]
    assert changed.played.passed
    assert "PlanVoided" in kinds
    assert 'deployments.apps "other" not found' in missing.played.mismatches[0].got


def test_values_that_are_missing_are_no_data(write: Write) -> None:
    path = write("""
        - name: a gap, a stale marker and the end of a series
          queries: {err: "_x100", p95: "stale", probes_down: "0x10", traffic: "20x10"}
          expect: [{at: 55m, because: there is no value for err}]
    """)
    (result,) = played(path)
    classified = result.played.seen.incidents[0].timeline[2].event
    assert result.played.mismatches == []
    values = getattr(classified, "value", {})
    assert {"err", "p95", "probes_down", "traffic"} <= values.keys()
    assert set(values.values()) == {None}


def test_after_each_write_the_next_series_counts(write: Write) -> None:
    path = write("""
        - name: worse after the first write, well after the second
          approve: [{at: 56m, by: carol, groups: [sre]}]
          afterWrite:
            - {queries: {err: "0.9x50"}}
            - {queries: {err: "0.002x50"}}
          alerts:
            - at: 55m
              until: 62m
              labels: {alertname: HighErrorRate, app: greenlang-api, namespace: greenlang}
          expect:
            - {at: 60m, verdict: worse, undone: [deployment.rollback]}
            - {at: 63m, status: monitoring}
    """)
    assert [result.played.mismatches for result in played(path)] == [[]]


def test_forty_minutes_are_played_in_a_moment(write: Write) -> None:
    """Jumping from due time to due time: some hundred looks, no waiting."""
    path = write("""
        - name: nobody answers for forty minutes
          expect: [{at: 95m, executed: []}]
    """)
    (result,) = played(path)
    assert result.played.passed
    assert result.played.jumps < 150
    # A quiet machine takes half a second; this bound only says that nothing sleeps.
    assert result.seconds < 30


def test_a_test_that_cannot_be_played_fails_and_the_next_one_is_played(write: Write, tmp_path: Path) -> None:
    broken = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"selector": {"matchLabels": {"a": "b"}}},
    }
    (tmp_path / "broken.yaml").write_text(
        json.dumps({**broken, "metadata": {"name": "a", "namespace": "b"}}, indent=1)
    )
    path = write("""
        - name: its cluster file makes no sense
          cluster: broken.yaml
          expect: [{at: 55m, severity: P1}]
        - name: the next
          expect: [{at: 55m, severity: P1}]
    """)
    broken_one, following = (result.played for result in played(path))
    assert [mismatch.expected for mismatch in broken_one.mismatches] == ["it can be played"]
    assert 'Deployment.apps "a" is invalid' in broken_one.mismatches[0].got
    assert following.passed


def test_a_step_that_breaks_fails_the_test_whatever_it_expects(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(worker, "classify_step", broken)
    path = write("""
        - name: nothing is expected of the severity
          expect: [{at: 55m, executed: []}]
    """)
    (result,) = played(path)
    assert [mismatch.expected for mismatch in result.played.mismatches] == ["no step fails"]


def test_a_write_that_no_timeline_tells_of_is_no_execution() -> None:
    """Whoever sent it: the cluster's record and the service's word are held against each other."""
    patch = [{"op": "add", "path": "/metadata/annotations", "value": {MARKER: "unheard of"}}]
    applied = Applied(verb="patch", resource="d", namespace="n", name="a", uid="u", resource_version="1")
    call = Call(
        number=0,
        at="2026-03-02T02:00:00+00:00",
        method="PATCH",
        path="/",
        query={},
        content_type="",
        body=patch,
        user_agent="",
        applied=applied,
    )
    assert [write.kind for write in writes_of([call], [])] == ["unknown"]


def test_two_policies_may_give_one_query_two_names(write: Write, tmp_path: Path) -> None:
    path = write("""
        - name: both are told, whichever name the test uses
          expect: [{at: 55m, severity: P1, because: failing > 0.20}]
    """)
    shipped = (SHIPPED / "inc-001-high-error-rate.yaml").read_text()
    other = re.sub(r"\berr\b(?!or)", "failing", shipped).replace("inc-001-bad-release", "another")
    (tmp_path / "another.yaml").write_text(other)
    path.write_text(path.read_text().replace("policies: [", f"policies: [{tmp_path / 'another.yaml'}, "))
    found = [str(one) for one in open_file(path).complaints if one.severity == "error"]
    assert found == []
    (result,) = asyncio.run(run(chosen([open_file(path)], None)))
    assert result.played.mismatches == []
