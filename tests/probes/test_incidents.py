"""What our own store tells of the past of a target: how often, how it ended, what was tried."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import CAROL, alert, labels, notification, policies, policy
from cures import APP, NAMESPACE
from harness import Harness, harness
from hypothesis import given
from hypothesis import strategies as st
from stories import noticed, resolved, rolled_back, until_state

from receiver.domain.errors import TemporaryError, Unavailable
from receiver.domain.events import Diagnosed
from receiver.domain.outcomes import Outcome
from receiver.domain.plans import ObjectRef
from receiver.pipeline import past, people
from receiver.pipeline.past import Past
from receiver.policy.model import ProbeUse
from receiver.probes.incidents import CAUSE, History, PastCure, PastIncident, facts_of
from receiver.store.engine import Store

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
TARGET = ObjectRef("apps/v1", "Deployment", NAMESPACE, APP)
WEEK = timedelta(days=7)
LOOKING = policies(policy(probes=(*policy().probes, ProbeUse("recent", "recent-incidents", {}))))


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def one(opened_at: datetime, *, on_target: bool = True, **fields: Any) -> PastIncident:
    usual = {"ended_at": opened_at + timedelta(minutes=30), "cause": "somebody tidied up"}
    return PastIncident(opened_at, on_target=on_target, **{**usual, **fields})


def facts(*found: PastIncident, known_since: datetime = NOW - WEEK) -> dict[str, Any]:
    return facts_of(History(found, known_since), now=NOW)


def test_nothing_happened() -> None:
    nothing = {"day": 0, "week": 0}
    assert facts() == {"target": nothing, "namespace": nothing, "cures": []}


def test_those_of_the_target_are_counted_among_those_of_its_namespace() -> None:
    found = facts(one(ago(hours=2)), one(ago(hours=3), on_target=False), one(ago(days=3)))
    assert found["target"] == {"day": 1, "week": 2}
    assert found["namespace"] == {"day": 2, "week": 3}


@pytest.mark.parametrize(
    ("known_since", "counts"),
    [(ago(days=7), {"day": 1, "week": 1}), (ago(days=2), {"day": 1}), (ago(hours=20), {})],
    ids=["all of it", "two days", "not even one"],
)
def test_a_time_of_which_a_part_is_not_known_has_no_count(
    known_since: datetime, counts: dict[str, int]
) -> None:
    assert facts(one(ago(hours=1)), known_since=known_since)["target"] == counts


def test_the_one_that_ended_last_tells_how() -> None:
    helped = PastCure("deployment.scale", ago(hours=5), Outcome.HELPED)
    failed = PastCure("deployment.rollback", ago(hours=6), Outcome.NO_EFFECT)
    found = facts(
        one(ago(hours=1), ended_at=None, cause=""),
        one(ago(hours=6), ended_at=ago(hours=4), cause="load from a partner", cures=(failed, helped)),
        one(ago(days=2)),
        one(ago(minutes=30), on_target=False, ended_at=ago(minutes=10), cause="somebody else's"),
    )
    assert found["last"] == {
        "secondsAgo": 4 * 3600.0,
        "cause": "load from a partner",
        "helped": "deployment.scale",
    }


def test_each_cure_is_told_once_with_what_became_of_it_the_last_time() -> None:
    found = facts(
        one(ago(hours=2), cures=(PastCure("deployment.rollback", ago(hours=1), None),)),
        one(ago(days=2), cures=(PastCure("deployment.rollback", ago(days=2), Outcome.HELPED),)),
        one(ago(days=3), cures=(PastCure("deployment.scale", ago(days=3), Outcome.NO_EFFECT),)),
    )
    assert found["cures"] == [
        {"remediation": "deployment.rollback", "times": 2, "secondsAgo": 3600.0},
        {"remediation": "deployment.scale", "times": 1, "secondsAgo": 259200.0, "outcome": "no-effect"},
    ]


def test_a_cause_is_shown_without_what_looks_like_a_secret() -> None:
    cause = "rotated: password=hunter2,\n\x1b[31m and postgres://app:hunter2@db/shop"
    shown = facts(one(ago(hours=1), cause=cause))["last"]["cause"]
    assert shown == "rotated: password=… [31m and postgres://…@db/shop"


@given(st.text(max_size=5000))
def test_any_cause_becomes_one_short_printable_line(cause: str) -> None:
    shown = facts(one(ago(hours=1), cause=cause))["last"]["cause"]
    assert len(shown) <= CAUSE
    assert shown.isprintable()


async def again(h: Harness, **changes: str) -> dict[str, Any]:
    """Another alert fires; what the diagnosis of its incident found of the past."""
    await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(**changes))))
    await h.work()
    newest = (await h.incidents())[0]
    found = [event for event in await h.events(newest.id) if isinstance(event, Diagnosed)]
    recent: dict[str, Any] = found[-1].facts["recent"]
    return recent


async def test_an_incident_does_not_count_itself(store: Store) -> None:
    async with harness(store, policies=LOOKING) as h:
        await h.fall_ill()
        assert (await again(h))["target"] == {"day": 0, "week": 0}


async def test_what_helped_the_last_time_is_told(store: Store) -> None:
    async with harness(store, policies=LOOKING) as h:
        started = await rolled_back(h)
        await until_state(h, "verified")
        await resolved(h, started)
        await people.close(h.world, 1, CAROL, cause="a bad release; token=hunter2 was in it")
        # Later than it would be reopened.
        await h.pass_time(timedelta(hours=3), step=timedelta(minutes=10))
        found = await again(h)
        assert found["target"] == found["namespace"] == {"day": 1, "week": 1}
        assert found["last"]["cause"] == "a bad release; token=… was in it"
        assert found["last"]["helped"] == "deployment.rollback"
        (cure,) = found["cures"]
        assert (cure["remediation"], cure["times"], cure["outcome"]) == ("deployment.rollback", 1, "helped")


@pytest.mark.parametrize(("restricted", "counted"), [(False, 1), (True, 0)], ids=["open", "restricted"])
async def test_what_is_restricted_is_not_told_of(store: Store, restricted: bool, counted: int) -> None:
    async with harness(store, policies=LOOKING) as h:
        await noticed(h)
        if restricted:
            await people.secure(h.world, 1, CAROL, reason="a miner runs in it")
        found = await again(h, app="other")
        assert found["target"] == {"day": 0, "week": 0}
        assert found["namespace"] == {"day": counted, "week": counted}
        assert found["cures"] == []


async def test_where_there_are_more_than_are_looked_through_no_count_is_made_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "MOST_INCIDENTS", 2)
    async with harness(store, policies=LOOKING) as h:
        await noticed(h)
        found = await again(h, app="other")
        assert found["target"] == found["namespace"] == {}


class Away:
    """A store that cannot be read now."""

    async def read(self, _: Any) -> Any:
        raise Unavailable("the database is away")


async def test_a_store_that_is_away_is_no_fault_of_the_probe(store: Store) -> None:
    async with harness(store, policies=LOOKING) as h:
        await noticed(h)
        away: Any = Away()
        door = Past(replace(h.world, store=away), await h.incident())
        with pytest.raises(TemporaryError, match="our own store: the database is away"):
            await door.around(TARGET, since=NOW)
