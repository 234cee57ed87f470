"""Enough different people, of the right groups, to exactly this plan, in time, and nobody against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hand_clock import NOON

from receiver.domain.plans import ApprovalRule, Risk
from receiver.policy.approval import (
    Answer,
    Identity,
    approve,
    approve_again,
    approve_by_rule,
    ask_again_after,
    asked_in,
    may_approve,
)

from .a_plan import plan

ONE = ApprovalRule(groups=("oncall", "sre"))
TWO = ApprovalRule(groups=("sre",), count=2, not_requester=True, reason_required=True)


def yes(subject: str, *groups: str) -> Answer:
    return Answer(subject, groups or ("sre",), "approve")


NO = Answer("dora", ("sre",), "deny")

ANSWERS: dict[str, tuple[ApprovalRule, list[Answer], tuple[str, ...] | None]] = {
    "one yes where one is asked": (ONE, [yes("ann")], ("ann",)),
    "nobody": (ONE, [], None),
    "a yes of another group": (ONE, [yes("ann", "dev")], None),
    "a yes of the other group that counts": (ONE, [yes("ann", "dev", "oncall")], ("ann",)),
    "a yes and a no": (ONE, [yes("ann"), NO], None),
    "two people where two are asked": (TWO, [yes("bob"), yes("ann")], ("ann", "bob")),
    "one person twice": (TWO, [yes("ann"), yes("ann")], None),
    "the requester does not count": (TWO, [yes("ann"), yes("req")], None),
    "two beside the requester": (TWO, [yes("ann"), yes("req"), yes("bob")], ("ann", "bob")),
    "nobody can where no group is named": (ApprovalRule(groups=()), [yes("ann")], None),
}


@pytest.mark.parametrize(("rule", "answers", "wanted"), ANSWERS.values(), ids=ANSWERS)
def test_a_plan_is_approved_by(
    rule: ApprovalRule, answers: list[Answer], wanted: tuple[str, ...] | None
) -> None:
    made = plan(approval=rule, requested_by="req")
    approved = approve("P-1", made, answers, digest=made.digest, now=NOON, expires_at=None)
    assert (approved.approved_by if approved else None) == wanted


@pytest.mark.parametrize(
    ("seconds", "approved"), [(-1, True), (0, False), (1, False)], ids=["before", "at its end", "after"]
)
def test_a_request_expires(seconds: int, approved: bool) -> None:
    made = plan()
    now = NOON + timedelta(seconds=seconds)
    found = approve("P-1", made, [yes("ann")], digest=made.digest, now=now, expires_at=NOON)
    assert (found is not None) is approved


def test_an_answer_to_another_digest_approves_nothing() -> None:
    other = replace(plan(), parameters={"to": "else"}).digest
    assert approve("P-1", plan(), [yes("ann")], digest=other, now=NOON, expires_at=None) is None


def test_an_approval_must_be_used_in_time() -> None:
    made = plan()
    approved = approve("P-1", made, [yes("ann")], digest=made.digest, now=NOON, expires_at=None)
    assert approved is not None
    assert approved.execute_before == NOON + timedelta(minutes=5)


ANN = Identity("ann", ("sre",))


@pytest.mark.parametrize(
    ("rule", "identity", "reason", "objection"),
    [
        (ONE, ANN, "", None),
        (ONE, Identity("eve", ("dev",)), "", "it takes one of oncall, sre"),
        (ApprovalRule(groups=()), ANN, "", "it takes one of nobody"),
        (TWO, Identity("req", ("sre",)), "because", "somebody else must approve it"),
        (TWO, ANN, "  ", "needs a reason"),
        (TWO, ANN, "because", None),
    ],
    ids=["may", "another group", "nobody may", "the requester", "without a reason", "with a reason"],
)
def test_who_may_approve(rule: ApprovalRule, identity: Identity, reason: str, objection: str | None) -> None:
    said = may_approve(rule, identity, plan(approval=rule, requested_by="req"), reason=reason)
    assert (said is None) if objection is None else (said is not None and objection in said)


@pytest.mark.parametrize("risk", list(Risk), ids=str)
@pytest.mark.parametrize("mode", ["propose", "shadow", "auto"])
def test_a_rule_approves_only_what_can_be_put_back(risk: Risk, mode: str) -> None:
    approved = approve_by_rule("P-1", plan(risk=risk, mode=mode), now=NOON)
    assert (approved is not None) is (mode == "auto" and risk in (Risk.READ_ONLY, Risk.REVERSIBLE))


def test_an_approval_on_record_holds_for_its_plan_only() -> None:
    made = plan()
    again = approve_again("P-1", made, digest=made.digest, by=("ann",), execute_before=NOON)
    assert (again.digest, again.approved_by) == (made.digest, ("ann",))
    with pytest.raises(ValueError, match="P-1 was approved as"):
        approve_again("P-1", plan(policy="else"), digest=made.digest, by=("ann",), execute_before=NOON)


def test_people_are_asked_three_times() -> None:
    assert [ask_again_after(round_) is not None for round_ in (1, 2, 3, 4)] == [True, True, True, False]


IN_TURN = replace(ONE, groups=("eu", "us", "sre"), in_turn=(("eu", "us"), ("sre",)))


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        (ONE, [("oncall",), ("sre",), ("oncall", "sre"), ("oncall", "sre")]),
        (IN_TURN, [("eu", "us"), ("sre",), ("eu", "us", "sre"), ("eu", "us", "sre")]),
        (replace(ONE, count=2), [("oncall", "sre")] * 4),
        (ApprovalRule(groups=("sre",)), [("sre",)] * 4),
    ],
    ids=["one group after the other", "an approver's groups together", "a quorum: all at once", "one group"],
)
def test_each_round_asks_the_next_approver_and_the_last_ones_everybody(
    rule: ApprovalRule, asked: list[tuple[str, ...]]
) -> None:
    assert [asked_in(rule, round_) for round_ in (1, 2, 3, 4)] == asked
