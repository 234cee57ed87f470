"""Why a plan is proposed, and why nothing was done: from the documents that the service answers with."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.terminal.reasons import why, why_not

AT = "2026-03-01T03:00:00+00:00"


def told(kind: str, **fields: Any) -> dict[str, Any]:
    return {"at": AT, "event": {"event": kind, **fields}}


def an_incident(state: str | None = None, **more: Any) -> dict[str, Any]:
    plan = None if state is None else {"plan_id": "P-1", "state": state, "objections": ["G4: paused"]}
    return {"id": 17, "status": "identified", "severity": "P1", "plan": plan, **more}


NO_CURE = told("NothingApplies", reasons=["rollback: no earlier release", "scale: the CPU is idle"])


@pytest.mark.parametrize(
    ("incident", "timeline", "answer"),
    [
        (an_incident(), [], "nothing was proposed yet"),
        (an_incident(severity=None), [], "how bad it is cannot be told yet, and unknown never acts"),
        (an_incident(status="resolved"), [], "it was over before anything was proposed"),
        (an_incident(), [NO_CURE], "no cure fits; each with its reason below"),
        (an_incident("awaiting-approval"), [NO_CURE], "P-1 waits for a person's yes: stanch approve P-1"),
        (an_incident("approved"), [], "P-1 is on its way"),
        (an_incident("denied"), [], "a person said no to P-1"),
        (an_incident("expired"), [], "nobody answered P-1 in time; nothing approves itself"),
        (an_incident("suspended"), [], "P-1 rests, since nothing fires now"),
        (
            an_incident("refused"),
            [],
            "guards spoke against P-1 just before it would have been carried out",
        ),
        (an_incident("void"), [], "P-1 no longer fitted what was there"),
        (an_incident("already-so"), [], "others had done already what P-1 would have done"),
        (an_incident("shadowed"), [], "the policy is in shadow mode: P-1 says what it would have done"),
        (
            an_incident("unknown-effect"),
            [told("EffectUnknown", plan_id="P-1")],
            "a write was sent and nobody knows whether it arrived; a person settles it",
        ),
        (
            an_incident("watched"),
            [told("Executed", plan_id="P-1")],
            "something was done: P-1; see stanch why P-1",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_there_is_one_answer(incident: dict[str, Any], timeline: list[dict[str, Any]], answer: str) -> None:
    assert why_not(incident, timeline)["answer"] == answer


def test_of_what_is_said_again_and_again_the_last_time_is_told() -> None:
    again = told("NothingApplies", reasons=["scale: the CPU is idle"])
    found = why_not(an_incident(), [NO_CURE, told("Noted", by="ada", text="hm"), again])
    assert [line["reasons"] for line in found["reasons"]] == [["scale: the CPU is idle"]]


def test_what_guards_said_is_there_one_by_one() -> None:
    plan = {
        "id": "P-1",
        "incident": 17,
        "state": "awaiting-approval",
        "why": "the errors began after revision 8",
        "guards": ["G0: cluster berlin", "G1: HighErrorRate fires: since 03:00"],
        "objections": [],
    }
    timeline = [
        told("Planned", plan_id="P-1", summary="back to 7", rejected=["scale: the CPU is idle"]),
        told("Planned", plan_id="P-2", summary="another", rejected=["other"]),
        told("Denied", plan_id="P-1", by="ada", reason="no"),
    ]
    found = why(plan, timeline)
    assert found["guards"] == [
        {"guard": "G0", "observed": "cluster berlin"},
        {"guard": "G1", "observed": "HighErrorRate fires: since 03:00"},
    ]
    assert found["instead_of"] == ["scale: the CPU is idle"]
    assert [line["event"] for line in found["history"]] == ["Planned", "Denied"]


def test_a_field_that_a_newer_service_left_out_or_changed_ends_nothing() -> None:
    assert why({}, [{}, {"event": "?"}])["guards"] == []
    assert why_not({}, [{}, {"event": 3}])["reasons"] == []
