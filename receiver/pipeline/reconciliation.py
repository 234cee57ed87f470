"""Every so often, ask each Alertmanager and Prometheus what fires, and mend what the webhook never told.

Taken in: alerts for our receiver that are active, not suppressed, and were never delivered (marked
``reconcile``). Settled: doubtful firings. Ended: alerts gone from every source, after `policy.absence`.
An alert that no configured source ever listed is never judged by its absence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never

import structlog
from sqlalchemy import Connection

from receiver.clients.alertmanager import ListedAlert, Listing
from receiver.domain import events as ev
from receiver.domain.alerts import identity_of
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.occurrences import Ended, Ending, Facts, Firing
from receiver.pipeline.counters import Counters
from receiver.pipeline.joining import follow
from receiver.pipeline.recording import record
from receiver.pipeline.world import World
from receiver.policy.absence import (
    Doubt,
    Presence,
    RuleSays,
    SourceSays,
    is_gone,
    presence,
    settle_doubt,
    still_held,
)
from receiver.store import intake, timeline
from receiver.store.intake import AlertRow

log = structlog.get_logger(__name__)

RECONCILE = "reconcile"
# An alert younger than this may still be on its way: group_wait and group_interval of the route.
MAY_BE_ON_ITS_WAY = timedelta(seconds=90)
ACTOR = "reconcile"
HELD = "stale: "


@dataclass(frozen=True)
class _Heard:
    """One round: what each Alertmanager lists (None: no answer), by our identity, and when it was asked."""

    asked_at: datetime
    listings: tuple[Listing | None, ...]
    ours: Mapping[str, ListedAlert]

    def managers(self) -> list[SourceSays]:
        """What each says of an alert that none of them lists."""
        return [
            SourceSays(None, timedelta(0))
            if listing is None
            else SourceSays(False, self.asked_at - listing.up_since)
            for listing in self.listings
        ]


async def reconcile(world: World, counters: Counters, state: Mapping[str, Any]) -> dict[str, Any]:
    """One round; returns what the next one needs."""
    heard = await _listen(world)
    counters.reconciled["rounds"] += 1
    counters.reconciled["silent"] += sum(listing is None for listing in heard.listings)
    absent_since: dict[str, float] = dict(state.get("absent_since", {}))
    held: frozenset[int] = frozenset(state.get("held", ()))
    firing = await world.store.read(intake.firing_alerts) if world.alertmanagers or held else []
    doubted = await world.store.read(intake.doubted_alerts)
    unheard = [row for row in (*firing, *doubted) if row.identity not in heard.ours]
    asked = [row for row in unheard if row.listed or row.doubted_at is not None or row.incident_id in held]
    rules = await _ask_rules(world, asked)
    counters.reconciled["rules_silent"] += any(not says.answered for says in rules.values())

    def body(tx: Connection) -> dict[str, Any]:
        # All rows in one statement: two would take their locks in another order than the intake does.
        known = intake.load_alerts(tx, {*heard.ours, *rules})
        _take_in(world, counters, tx, heard, known)
        fired = [known[row.identity] for row in firing if row.identity in rules]
        missed = {row.identity: row for row in fired if row.listed and world.alertmanagers}
        reasons: dict[int, set[str]] = {}
        _settle_doubts(
            world, counters, tx, heard, [known[row.identity] for row in doubted], rules, reasons=reasons
        )
        since = _judge_absence(
            world, counters, tx, heard, missed, rules, absent_since=absent_since, reasons=reasons
        )
        waiting = {*reasons, *(held & _held_by(heard, fired, rules))}
        _say_held(world, tx, reasons, ended=held - waiting)
        return {"absent_since": since, "held": sorted(waiting)}

    return await world.store.write(body)


async def _listen(world: World) -> _Heard:
    async def ask(manager: Any) -> Listing | None:
        try:
            found: Listing = await manager.listing()
        except TemporaryError as error:
            log.warning("an Alertmanager did not answer", event_code="source_silent", why=str(error))
            return None
        return found

    asked_at = world.clock.now()
    listings = await asyncio.gather(*(ask(manager) for manager in world.alertmanagers))
    ours: dict[str, ListedAlert] = {}
    for listing in listings:
        for alert in listing.alerts if listing is not None else ():
            if world.place.receiver is None or world.place.receiver in alert.receivers:
                identity = identity_of(world.place.source, alert.labels)
                known = ours.get(identity)
                # One peer that has it unsilenced is enough for it to be active.
                if known is None or known.suppressed:
                    ours[identity] = alert
    return _Heard(asked_at, tuple(listings), ours)


async def _ask_rules(world: World, rows: Sequence[AlertRow]) -> Mapping[str, RuleSays]:
    """What Prometheus says of each of these; asked once for each name of a rule."""
    now = world.clock.now()
    names = sorted({row.labels.get("alertname", "") for row in rows})
    answers = dict(zip(names, await asyncio.gather(*(_ask_rule(world, name) for name in names)), strict=True))
    found: dict[str, RuleSays] = {}
    answering = True
    for row in rows:
        rule = answers[row.labels.get("alertname", "")]
        firing: bool | None = None
        if rule.answered and answering:
            try:
                firing = await world.prometheus.firing(_rule_labels(world, row), at=now)
            except TemporaryError:
                # Asking on would wait for the timeout once an alert, longer than this duty is ours.
                answering = False
            except PermanentError:
                firing = None
        found[row.identity] = RuleSays(firing, rule.evaluated_ago, rule.interval, rule.for_, rule.answered)
    return found


def _rule_labels(world: World, row: AlertRow) -> dict[str, str]:
    """The labels that ``ALERTS`` surely carries: external ones and relabelled ones are not in it."""
    wanted = ("alertname", "namespace", "app", "service", "job", "pod", "instance")
    return {name: row.labels[name] for name in wanted if name in row.labels}


async def _ask_rule(world: World, name: str) -> RuleSays:
    try:
        rules = await world.prometheus.rules(name)
    except (TemporaryError, PermanentError):
        return RuleSays(None, answered=False)
    evaluated = [rule.last_evaluation for rule in rules if rule.healthy and rule.last_evaluation is not None]
    if not evaluated:
        return RuleSays(None)
    # Rule times are Prometheus's own wall clock.
    ago = world.clock.now() - min(evaluated)
    return RuleSays(None, ago, max(rule.interval for rule in rules), max(rule.for_ for rule in rules))


def _take_in(
    world: World, counters: Counters, tx: Connection, heard: _Heard, known: dict[str, AlertRow]
) -> None:
    """Alerts that the sources have and nobody delivered, and ended ones that a source says fire."""
    changed: list[AlertRow] = []
    for identity, listed in sorted(heard.ours.items()):
        row = known.get(identity)
        young = heard.asked_at - listed.starts_at < MAY_BE_ON_ITS_WAY
        # Without the name of our receiver, whose alert it is cannot be told: only known ones are followed.
        ours = world.place.receiver is not None
        if row is None and (listed.suppressed or young or not ours):
            continue
        if row is None:
            row = known[identity] = _new_row(world, identity, listed, heard.asked_at)
            counters.reconciled["taken_in"] += 1
            log.info(
                "an alert that nobody delivered",
                event_code="taken_in",
                alertname=listed.labels.get("alertname"),
            )
        before = row.open
        opens = before is None and not listed.suppressed and (row.doubted_at is not None or not young)
        if row.listed and not row.absent_rounds and not opens:
            continue
        row.listed = True
        row.absent_rounds = 0
        if opens:
            _witness(row, min(listed.starts_at, heard.asked_at), at=heard.asked_at)
        changed.append(row)
        follow(world, tx, row, before, incidents=set(), actor=ACTOR)
    intake.save_alerts(tx, changed)


def _witness(row: AlertRow, starts_at: datetime, *, at: datetime) -> None:
    # Against a known end only what was seen later counts. Without one, the firing may end at any moment,
    # also at one that lies before we asked.
    row.facts = row.facts.with_firing(Firing(starts_at, witnessed_at=at if row.facts.endings else None))
    row.doubted_at = None


def _settle_doubts(
    world: World,
    counters: Counters,
    tx: Connection,
    heard: _Heard,
    doubted: Sequence[AlertRow],
    rules: Mapping[str, RuleSays],
    *,
    reasons: dict[int, set[str]],
) -> None:
    """Doubtful firings that no Alertmanager lists: Prometheus may know, or nobody can be asked (a reason)."""
    changed: list[AlertRow] = []
    for row in sorted(doubted, key=lambda row: row.identity):
        if row.open is not None or row.doubted_at is None or row.identity not in rules:
            continue
        found = settle_doubt(heard.managers(), rules[row.identity])
        match found:
            case Doubt.OPEN:
                continue
            case Doubt.REFUTED:
                row.doubted_at = None
            case Doubt.CONFIRMED | Doubt.UNREACHABLE:
                _witness(row, max(firing.starts_at for firing in row.facts.firings), at=heard.asked_at)
                follow(world, tx, row, None, incidents=set(), actor=ACTOR)
            case _:
                assert_never(found)
        if found is Doubt.UNREACHABLE and row.incident_id is not None:
            reasons.setdefault(row.incident_id, set()).add(
                "a late message says that it fires, and no source could be asked"
            )
        counters.reconciled[f"doubt_{found.value}"] += 1
        changed.append(row)
    intake.save_alerts(tx, changed)


def _new_row(world: World, identity: str, listed: ListedAlert, now: datetime) -> AlertRow:
    return AlertRow(
        identity=identity,
        source=world.place.source,
        labels=listed.labels,
        annotations=listed.annotations,
        fingerprint=listed.fingerprint,
        facts=Facts(),
        origin="reconcile",
        first_seen=now,
        last_seen=now,
    )


def _judge_absence(
    world: World,
    counters: Counters,
    tx: Connection,
    heard: _Heard,
    missed: Mapping[str, AlertRow],
    rules: Mapping[str, RuleSays],
    *,
    absent_since: Mapping[str, float],
    reasons: dict[int, set[str]],
) -> dict[str, float]:
    """Count the rounds of those that no source has; the result is since when each of them is missing.

    Of which incidents that cannot be told goes into ``reasons``.
    """
    now, managers = heard.asked_at, heard.managers()
    since: dict[str, float] = {}
    changed: list[AlertRow] = []
    for identity, row in sorted(missed.items()):
        if row.open is None:
            continue
        found, reason = presence(managers, rules[identity])
        if found is Presence.ABSENT:
            # A round that was interrupted by another answer starts anew.
            first = absent_since.get(identity, now.timestamp()) if row.absent_rounds else now.timestamp()
            row.absent_rounds += 1
            first_absent_at = timeline.moment(first)
            if is_gone(row.absent_rounds, first_absent_at=first_absent_at, now=now, rule=rules[identity]):
                counters.reconciled["gone"] += 1
                _end(world, tx, row, first_absent_at)
                row.absent_rounds = 0
            else:
                since[identity] = first
        else:
            row.absent_rounds = 0
            if found is Presence.HELD:
                counters.reconciled["held"] += 1
                if row.incident_id is not None:
                    reasons.setdefault(row.incident_id, set()).add(reason)
        changed.append(row)
    intake.save_alerts(tx, changed)
    return since


def _end(world: World, tx: Connection, row: AlertRow, ended_at: datetime) -> None:
    before = row.open
    if before is None:
        return
    row.facts = row.facts.with_ending(Ended(before.starts_at, max(ended_at, before.starts_at), Ending.GONE))
    follow(world, tx, row, before, incidents=set(), actor=ACTOR)


def _held_by(heard: _Heard, fired: Sequence[AlertRow], rules: Mapping[str, RuleSays]) -> set[int]:
    """The incidents that have an alert of which nobody can tell now."""
    managers = heard.managers()
    return {
        row.incident_id
        for row in fired
        if row.incident_id is not None
        and row.open is not None
        and still_held(managers, rules[row.identity], listed=row.listed)
    }


def _say_held(
    world: World, tx: Connection, reasons: Mapping[int, set[str]], *, ended: frozenset[int]
) -> None:
    """That it cannot be told, and why, once for each change of the words; and once that it can be again."""
    for number in sorted({*reasons, *ended}):
        held = timeline.lock(tx, number)
        stale = held.incident.stale
        event: ev.Event = ev.HoldEnded()
        if number in reasons:
            words = f"{HELD}{'; '.join(sorted(reasons[number]))}"
            event, news = ev.AlertHeld(words), stale != words
        else:
            # Anything else that it may wait for, missing metrics for one, is not ours to end.
            news = stale is not None and stale.startswith(HELD)
        if news and held.incident.open:
            record(world, tx, held, [event], actor=ACTOR, due_at=world.clock.now())
