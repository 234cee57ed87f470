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
from typing import Any

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
from receiver.policy.absence import Presence, RuleSays, SourceSays, is_gone, presence
from receiver.store import intake, timeline
from receiver.store.intake import AlertRow

log = structlog.get_logger(__name__)

RECONCILE = "reconcile"
# An alert younger than this may still be on its way: group_wait and group_interval of the route.
MAY_BE_ON_ITS_WAY = timedelta(seconds=90)
ACTOR = "reconcile"


@dataclass(frozen=True)
class _Heard:
    """One round: what each Alertmanager lists (None: no answer), by our identity."""

    listings: tuple[Listing | None, ...]
    ours: Mapping[str, ListedAlert]


async def reconcile(world: World, counters: Counters, state: Mapping[str, Any]) -> dict[str, Any]:
    """One round; returns what the next one needs."""
    if not world.alertmanagers:
        return dict(state)
    heard = await _listen(world)
    firing = await world.store.read(intake.firing_alerts)
    rules = await _ask_rules(world, [row for row in firing if row.listed and row.identity not in heard.ours])
    absent_since: dict[str, float] = dict(state.get("absent_since", {}))
    now = world.clock.now()

    def body(tx: Connection) -> dict[str, float]:
        _take_in(world, counters, tx, heard, now)
        return _judge_absence(world, counters, tx, heard, firing, rules, absent_since, now)

    return {"absent_since": await world.store.write(body)}


async def _listen(world: World) -> _Heard:
    async def ask(manager: Any) -> Listing | None:
        try:
            found: Listing = await manager.listing()
        except TemporaryError as error:
            log.warning("an Alertmanager did not answer", event_code="source_silent", why=str(error))
            return None
        return found

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
    return _Heard(tuple(listings), ours)


async def _ask_rules(world: World, rows: Sequence[AlertRow]) -> Mapping[str, RuleSays]:
    """What Prometheus says of each of these; asked once for each name of a rule."""
    now = world.clock.now()
    names = sorted({row.labels.get("alertname", "") for row in rows})
    answers = dict(zip(names, await asyncio.gather(*(_ask_rule(world, name) for name in names)), strict=True))
    found: dict[str, RuleSays] = {}
    for row in rows:
        rule = answers[row.labels.get("alertname", "")]
        firing: bool | None = None
        if rule.answered:
            try:
                firing = await world.prometheus.firing(_rule_labels(world, row), at=now)
            except (TemporaryError, PermanentError):
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


def _take_in(world: World, counters: Counters, tx: Connection, heard: _Heard, now: datetime) -> None:
    """Alerts that the sources have and nobody delivered, and doubtful ones that a source confirms."""
    known = intake.load_alerts(tx, heard.ours)
    changed: list[AlertRow] = []
    for identity, listed in sorted(heard.ours.items()):
        row = known.get(identity)
        if row is None and (listed.suppressed or now - listed.starts_at < MAY_BE_ON_ITS_WAY):
            continue
        if row is None:
            row = _new_row(world, identity, listed, now)
            counters.reconciled["taken_in"] += 1
            log.info(
                "an alert that nobody delivered",
                event_code="taken_in",
                alertname=listed.labels.get("alertname"),
            )
        before = row.open
        row.listed = True
        row.absent_rounds = 0
        told = Firing(min(listed.starts_at, now), witnessed_at=now)
        doubted = before is None and not listed.suppressed
        if doubted:
            row.facts = row.facts.with_firing(told)
            row.doubted_at = None
        changed.append(row)
        follow(world, tx, row, before, incidents=set(), actor=ACTOR)
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
    firing: Sequence[AlertRow],
    rules: Mapping[str, RuleSays],
    absent_since: dict[str, float],
    now: datetime,
) -> dict[str, float]:
    since = {row.identity: absent_since[row.identity] for row in firing if row.identity in absent_since}
    known = intake.load_alerts(tx, [row.identity for row in firing if row.identity in rules])
    changed: list[AlertRow] = []
    for identity, row in sorted(known.items()):
        rule = rules[identity]
        managers = [
            SourceSays(None, timedelta(0)) if listing is None else SourceSays(False, now - listing.up_since)
            for listing in heard.listings
        ]
        found, reason = presence(managers, rule)
        if found is Presence.ABSENT:
            since.setdefault(identity, now.timestamp())
            row.absent_rounds += 1
            first = timeline.moment(since[identity])
            if is_gone(row.absent_rounds, first_absent_at=first, now=now, rule=rule):
                counters.reconciled["gone"] += 1
                _end(world, tx, row, first)
                since.pop(identity, None)
        else:
            row.absent_rounds = 0
            since.pop(identity, None)
            if found is Presence.HELD:
                counters.reconciled["held"] += 1
                _hold(world, tx, row, reason)
        changed.append(row)
    intake.save_alerts(tx, changed)
    return since


def _end(world: World, tx: Connection, row: AlertRow, ended_at: datetime) -> None:
    before = row.open
    if before is None:
        return
    row.facts = row.facts.with_ending(Ended(before.starts_at, max(ended_at, before.starts_at), Ending.GONE))
    follow(world, tx, row, before, incidents=set(), actor=ACTOR)


def _hold(world: World, tx: Connection, row: AlertRow, reason: str) -> None:
    if row.incident_id is None:
        return
    held = timeline.lock(tx, row.incident_id)
    words = f"stale: {reason}"
    if held.incident.open and held.incident.stale != words:
        record(world, tx, held, [ev.AlertHeld(words)], actor=ACTOR, due_at=world.clock.now())
