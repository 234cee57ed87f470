"""What a replay finds different, and that it finds nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from builders import alert, classify_rules, labels, notification, policies, policy
from hypothesis import given, settings
from hypothesis import strategies as st
from month import deliveries, services

from receiver.domain.journal import Kept
from receiver.domain.plans import ApprovalRule, Risk
from receiver.domain.severity import Severity
from receiver.policy.model import Candidate, CorrelationRule, Match, Matcher, Mode, Policy, PolicySet
from receiver.trials.replay.command import Replayed
from receiver.trials.replay.command import replay as played
from receiver.trials.replay.differing import Kind
from receiver.trials.replay.history import History, NoHistory, Recorded
from remediations.registry import SPECS

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
# One that may be done without asking; the shipped one may not.
FLUSH = replace(SPECS[0], name="cache.flush", risk=Risk.REVERSIBLE)
CATALOGUE = {spec.name: spec for spec in (*SPECS, FLUSH)}
SURE = Candidate("cache.flush", "", None, {})
ELSEWHERE = Candidate("cache.flush", "", 'labels.app == "other"', {})


def certain(**changes: object) -> Policy:
    """A policy whose one candidate needs no probe."""
    return policy(**{"candidates": (SURE,), **changes})


def told(*alerts: object, minute: float = 0) -> Kept:
    return Kept(NOON + minute * MINUTE, "alertmanager", notification(*alerts))  # type: ignore[arg-type]


def firing(minute: float = 0, **changes: str) -> Kept:
    return told(alert(starts_at=NOON + minute * MINUTE, with_labels=labels(**changes)), minute=minute)


def resolved(start: float, end: float, **changes: str) -> Kept:
    one = alert(
        status="resolved",
        starts_at=NOON + start * MINUTE,
        ends_at=NOON + end * MINUTE,
        with_labels=labels(**changes),
    )
    return told(one, minute=end)


def replay(
    journal: Iterable[Kept], old: PolicySet, new: PolicySet | None = None, *, history: History | None = None
) -> Replayed:
    return played(
        journal, old, old if new is None else new, catalogue=CATALOGUE, history=history or NoHistory()
    )


def milder() -> Policy:
    rules = replace(classify_rules(), severity_label={"critical": Severity.P2})
    return certain(classify=rules)


MODE = {Kind.MODE_CHANGED}
CHANGES = [
    ("acts by itself", certain(), certain(mode=Mode.AUTO), {Kind.AUTO_ADDED, Kind.PAGE_REMOVED} | MODE),
    ("asks again", certain(mode=Mode.AUTO), certain(), {Kind.AUTO_REMOVED, Kind.PAGE_ADDED} | MODE),
    ("only shadows", certain(), certain(mode=Mode.SHADOW), {Kind.PAGE_REMOVED} | MODE),
    ("is less bad", certain(), milder(), {Kind.SEVERITY_LOWERED}),
    ("is worse", milder(), certain(), {Kind.SEVERITY_RAISED}),
    (
        "proposes nothing",
        certain(),
        certain(candidates=(ELSEWHERE,)),
        {Kind.PROPOSAL_REMOVED, Kind.PAGE_REMOVED},
    ),
    (
        "proposes something",
        certain(candidates=(ELSEWHERE,)),
        certain(),
        {Kind.PROPOSAL_ADDED, Kind.PAGE_ADDED},
    ),
    (
        "asks others",
        certain(),
        certain(approve={Risk.REVERSIBLE: ApprovalRule(groups=("sre",), count=2)}),
        {Kind.APPROVAL_CHANGED},
    ),
    ("says the same of what nobody recorded", policy(), policy(hash="h2"), set()),
    (
        "may be proposed no more",
        policy(),
        certain(candidates=(ELSEWHERE,)),
        {Kind.PROPOSAL_REMOVED, Kind.PAGE_REMOVED},
    ),
]


@pytest.mark.parametrize("old,new,kinds", [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_each_kind_of_difference_is_told(old: Policy, new: Policy, kinds: set[Kind]) -> None:
    (pair,) = replay([firing()], policies(old), policies(new)).pairs
    assert set(pair.kinds) == kinds


def test_a_policy_that_is_gone_takes_its_proposal_and_its_page_with_it() -> None:
    nobody = replace(policies(), policies=())
    (pair,) = replay([firing()], policies(certain()), nobody).pairs
    assert set(pair.kinds) == {Kind.PROPOSAL_REMOVED, Kind.PAGE_REMOVED, Kind.POLICIES_CHANGED}


def test_what_is_a_heartbeat_now_opens_no_incident() -> None:
    quiet = policies(certain(), heartbeats=frozenset({"HighErrorRate"}))
    (pair,) = replay([firing()], policies(certain()), quiet).pairs
    assert pair.new is None
    assert Kind.INCIDENT_REMOVED in pair.kinds and Kind.PAGE_REMOVED in pair.kinds


def test_alerts_that_belong_together_now_are_one_incident() -> None:
    together = (CorrelationRule(matchers=(), by=(("namespace",),)),)
    journal = [firing(app="one"), firing(1, app="other")]
    found = replay(journal, policies(), policies(correlation=together))
    assert [pair.new is None for pair in found.pairs] == [False, True]


def test_a_condition_without_recorded_facts_is_unknown_and_counted() -> None:
    found = replay([firing()], policies())
    (pair,) = found.pairs
    assert pair.old is not None
    assert [(way.remediation, way.certain) for way in pair.old.ways] == [("deployment.rollback", False)]
    # The thresholds, and the condition.
    assert (found.summary.unknown_old, found.summary.unknown_new) == (2, 2)


def test_a_policy_that_waits_is_looked_at_when_its_time_has_come() -> None:
    waiting = certain(match=Match((Matcher("alertname", "=", "HighErrorRate"),), for_=5 * MINUTE))
    short = replay([firing(), resolved(0, 4), firing(30, app="z")], policies(waiting)).pairs[0]
    long = replay([firing(), resolved(0, 9), firing(30, app="z")], policies(waiting)).pairs[0]
    assert short.old is not None and short.old.ways == ()
    assert long.old is not None and len(long.old.ways) == 1


def test_an_incident_is_resolved_after_its_window_and_reopened_when_it_fires_soon_again() -> None:
    # A P1 is watched for an hour; it may be reopened for two more.
    journal = [firing(), resolved(0, 5), firing(30), resolved(30, 35), firing(130), resolved(130, 135)]
    (pair,) = replay([*journal, firing(800, app="z")], policies()).pairs[:1]
    assert pair.old is not None
    assert (pair.old.reopened, pair.old.resolved_at) == (1, NOON + 195 * MINUTE)


def test_repeats_and_copies_of_the_other_peer_change_nothing() -> None:
    journal = [firing(), firing(1, app="z"), resolved(0, 5), firing(400)]
    again = [
        copy
        for kept in journal
        for copy in (kept, kept, replace(kept, received_at=kept.received_at + MINUTE / 60))
    ]
    # A stale firing after the end opens nothing either.
    stale = [*journal[:3], replace(journal[0], received_at=NOON + 6 * MINUTE), journal[3]]
    usual = replay(journal, policies()).pairs
    assert replay(again, policies()).pairs == usual
    assert replay(stale, policies()).pairs == usual


def test_what_is_no_notification_is_counted_and_skipped() -> None:
    bad = told({"status": "firing", "labels": {}}, alert(starts_at=NOON))
    found = replay([Kept(NOON, "a", b"\xff no"), bad, firing()], policies())
    assert (found.summary.deliveries, found.summary.skipped, found.summary.incidents) == (3, 2, 1)


def test_recorded_values_decide_where_there_are_some() -> None:
    def ask(query: str, start: datetime, end: datetime, step: timedelta) -> Sequence[tuple[datetime, float]]:
        asked.append((query, start))
        value = 0.1 if "/" in query else 20.0
        return [(start + step * number, value) for number in range((end - start) // step + 1)]

    asked: list[tuple[str, datetime]] = []
    found = replay([firing(), firing(20, app="z")], policies(certain()), history=Recorded(ask))
    assert [pair.old.severity for pair in found.pairs if pair.old] == [Severity.P2, Severity.P2]
    assert found.summary.unknown_old == 0
    assert len(asked) == len(set(asked)) <= 4


events = st.lists(
    st.tuples(
        st.sampled_from(["firing", "resolved"]),
        st.integers(0, 3),
        st.integers(0, 500),
        st.sampled_from(["critical", "warning", "odd", ""]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(story=events)
def test_the_same_policies_never_differ(story: list[tuple[str, int, int, str]]) -> None:
    journal = []
    for minute, (status, number, start, said) in enumerate(story):
        one = {"app": f"app-{number}", "severity": said}
        journal.append(
            resolved(start, start + minute, **one) if status == "resolved" else firing(start, **one)
        )
    assert replay(journal, policies(), policies()).differing == ()


def a_set(*, planted: bool) -> PolicySet:
    """A policy for each of four alerts; planted, three services are treated otherwise."""
    return policies(*(p for number in range(4) for p in _of_alert(number, planted=planted)))


def _of_alert(number: int, *, planted: bool) -> Iterable[Policy]:
    matcher = Matcher("alertname", "=", f"Alert{number}")
    usual = certain(name=f"alert-{number}", match=Match((matcher,)))
    special = [services(1), services(2), services(3)]
    others = Matcher("app", "!~", "|".join(special))
    yield replace(usual, match=Match((matcher, others)))
    for name, change in zip(special, (Mode.AUTO, Mode.SHADOW, Mode.DISABLED), strict=True):
        own = replace(usual, name=f"{usual.name}-{name}", match=Match((matcher, Matcher("app", "=", name))))
        yield replace(own, mode=change) if planted else own


def shown(found: Replayed) -> dict[str, set[Kind]]:
    """The differences by service."""
    by_service: dict[str, set[Kind]] = {}
    for pair in found.differing:
        by_service.setdefault(pair.title.rsplit("/", 1)[1], set()).update(pair.kinds)
    return by_service


def check_month(*, incidents: int, alerts: int) -> None:
    month = deliveries(7, incidents=incidents, alerts=alerts)
    found = replay(month, a_set(planted=False), a_set(planted=True))
    assert (found.summary.incidents, found.summary.alerts) == (incidents, alerts)
    assert shown(found) == {
        services(1): {Kind.AUTO_ADDED, Kind.PAGE_REMOVED, Kind.MODE_CHANGED},
        services(2): {Kind.PAGE_REMOVED, Kind.MODE_CHANGED},
        services(3): {Kind.PAGE_REMOVED, Kind.PROPOSAL_REMOVED, Kind.POLICIES_CHANGED},
    }
    assert len(found.differing) == sum(number % 40 in (1, 2, 3) for number in range(incidents))


def test_a_month_shows_exactly_what_was_planted() -> None:
    check_month(incidents=100, alerts=5_000)


@pytest.mark.long
def test_a_month_of_a_hundred_thousand_alerts_shows_exactly_what_was_planted() -> None:
    check_month(incidents=2_000, alerts=100_000)
