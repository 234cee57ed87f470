"""What one event makes of an incident."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hand_clock import NOON

from receiver.domain import events as ev
from receiver.domain.incidents import Incident, PlanProgress, replay
from receiver.domain.plans import ObjectRef

TARGET = ObjectRef("apps/v1", "Deployment", "shop", "api")


def told(*events: ev.Event) -> Incident:
    return replay(1, [ev.Recorded(seq, NOON, "test", event) for seq, event in enumerate(events, start=1)])


def progress(*events: ev.Event) -> PlanProgress:
    found = told(*events).plan
    assert found is not None
    return found


def planned(plan_id: str = "P-1", remediation: str = "deployment.rollback") -> ev.Planned:
    return ev.Planned(plan_id, remediation, TARGET, "d", "disruptive", "", "", "", "bad-release")


def asked(round_: int, plan_id: str = "P-1") -> ev.ApprovalRequested:
    return ev.ApprovalRequested(plan_id, "d", ("sre",), 1, NOON + timedelta(minutes=15), round_)


def expired(round_: int, plan_id: str = "P-1") -> ev.ApprovalExpired:
    return ev.ApprovalExpired(plan_id, round_, NOON)


def void(plan_id: str = "P-1") -> ev.PlanVoided:
    return ev.PlanVoided(plan_id, "the policy changed")


ONE_ROUND: Sequence[ev.Event] = (planned(), asked(1), expired(1))


def test_a_round_is_used_up_by_its_expiry_alone() -> None:
    assert progress(planned(), asked(1)).expired_rounds == 0
    assert progress(planned(), asked(1), ev.ApprovalSuspended("P-1"), asked(1)).expired_rounds == 0
    assert progress(*ONE_ROUND).expired_rounds == 1
    assert progress(*ONE_ROUND, asked(2), expired(2)).expired_rounds == 2


def test_a_plan_made_anew_after_a_void_goes_on_in_the_round_it_was_in() -> None:
    assert progress(*ONE_ROUND, asked(2), void(), planned("P-2")).expired_rounds == 1


def test_another_remediation_is_another_question() -> None:
    assert progress(*ONE_ROUND, void(), planned("P-2", "deployment.restart")).expired_rounds == 0
    assert progress(*ONE_ROUND, ev.Denied("P-1", "carol", "no"), planned("P-2")).expired_rounds == 0


def test_an_answer_ends_the_rounds() -> None:
    approved = ev.Approved("P-1", "d", ("carol",), NOON)
    assert progress(*ONE_ROUND, asked(2), approved, void(), planned("P-2")).expired_rounds == 0


def test_a_yes_outlives_a_suspension_and_not_an_expiry() -> None:
    yes = ev.ApprovalGiven("P-1", "d", "carol", "")
    assert progress(planned(), asked(1), yes, ev.ApprovalSuspended("P-1"), asked(1)).approvals == ("carol",)
    assert progress(planned(), asked(1), yes, expired(1), asked(2)).approvals == ()
