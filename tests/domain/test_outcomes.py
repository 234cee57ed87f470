"""What became of a plan in one word, and how often that was wrong, with honest bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain import events as ev
from receiver.domain.incidents import PlanProgress, PlanState
from receiver.domain.outcomes import Outcome, Tally, merged, outcome_of, wilson

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def a_plan(state: PlanState) -> PlanProgress:
    return PlanProgress("P-1", "deployment.rollback", "d", state, NOON)


@pytest.mark.parametrize(
    ("event", "state", "outcome"),
    [
        pytest.param(ev.Denied("P-1", "carol", "no"), PlanState.DENIED, Outcome.DENIED, id="a no"),
        pytest.param(
            ev.ApprovalExpired("P-1", 1, None), PlanState.EXPIRED, Outcome.UNANSWERED, id="nobody answered"
        ),
        pytest.param(ev.PlanVoided("P-1", "moved"), PlanState.VOID, Outcome.VOID, id="stale"),
        pytest.param(ev.Refused("P-1", ("G1",)), PlanState.REFUSED, Outcome.REFUSED, id="refused"),
        pytest.param(
            ev.Refused("P-1", ("G1",), retry_at=NOON), PlanState.APPROVED, None, id="refused for now"
        ),
        pytest.param(ev.Verified("P-1", "well"), PlanState.VERIFIED, Outcome.HELPED, id="it helped"),
        pytest.param(ev.StillSick("P-1", "sick"), PlanState.STILL_SICK, Outcome.NO_EFFECT, id="no effect"),
        pytest.param(
            ev.StillSick("P-1", "worse", worse=True), PlanState.STILL_SICK, Outcome.HARMED, id="it harmed"
        ),
        pytest.param(
            ev.Inconclusive("P-1", "no data"), PlanState.INCONCLUSIVE, Outcome.INCONCLUSIVE, id="no data"
        ),
        pytest.param(
            ev.EffectUnknown("P-1", "i", "execute", "?"), PlanState.UNKNOWN, Outcome.UNKNOWN_EFFECT,
            id="nobody knows",
        ),
        pytest.param(
            ev.EffectUnknown("P-1", "i", "undo", "?"), PlanState.UNKNOWN, None, id="an unknown undo"
        ),
        pytest.param(
            ev.MonitoringStarted(NOON, "quiet"), PlanState.SHADOWED, Outcome.NEEDLESS, id="well without it"
        ),
        pytest.param(
            ev.MonitoringStarted(NOON, "quiet"), PlanState.VERIFIED, None, id="well after it helped"
        ),
        pytest.param(ev.Acknowledged("carol"), PlanState.AWAITING, None, id="says nothing of it"),
    ],
)  # fmt: skip
def test_an_event_is_one_word_on_the_plan(event: ev.Event, state: PlanState, outcome: Outcome | None) -> None:
    assert outcome_of(event, a_plan(state)) is outcome


def test_without_a_plan_a_quiet_incident_says_nothing() -> None:
    assert outcome_of(ev.MonitoringStarted(NOON, "quiet"), None) is None


@given(of=st.integers(1, 5000), data=st.data())
def test_the_bounds_hold_the_share_and_shrink_with_more_cases(of: int, data: Any) -> None:
    bad = data.draw(st.integers(0, of))
    low, high = wilson(bad, of)
    assert 0.0 <= low <= bad / of <= high <= 1.0
    wider = wilson(bad * 10, of * 10)
    assert wider[1] - wider[0] <= high - low


def test_nothing_wrong_in_three_cases_is_no_proof() -> None:
    low, high = wilson(0, 3)
    assert low == 0.0
    assert 0.5 < high < 0.6


def test_parts_of_one_policy_are_one_tally() -> None:
    one = Tally("p", "r", proposed=2, shadowed=2, outcomes={Outcome.NEEDLESS: 2})
    other = Tally("p", "r", proposed=3, executed=3, outcomes={Outcome.HELPED: 2, Outcome.HARMED: 1})
    (found,) = merged([one, other])
    assert (found.proposed, found.shadowed, found.executed, found.judged) == (5, 2, 3, 3)
    assert found.wrongful is not None
    assert found.wrongful[0] == pytest.approx(1 / 3)
    assert Tally("p", "r").wrongful is None
