"""What is isolated in a security incident, who says yes to it, and when the next one is asked. Pure.

Playbook INC-007: isolate within five minutes (line 871), and change nothing without the security lead
(line 866). A standing approval reconciles both (X-11); without one the lead is asked, then the deputy too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from receiver.domain import events as ev
from receiver.domain.approved_isolation import ApprovedIsolation
from receiver.domain.incidents import Incident, Lockdown
from receiver.domain.isolation import Isolating, IsolationPlan, IsolationState, Wanted
from receiver.domain.locks import covering, of_namespace
from receiver.domain.names import DNS_LABEL
from receiver.domain.plans import ObjectRef
from receiver.domain.standing import Standing
from receiver.policy.matching import LOOK_UP, Applicable, matches
from receiver.policy.model import IsolationWish

# Playbook line 871; whoever has not answered by then is not the only one asked any more.
ASK_MORE_AFTER = timedelta(minutes=5)
# Asked so often and no more: the page about it goes on elsewhere.
ROUNDS = 3
# From which round on a deputy's yes counts.
DEPUTY_FROM = 2
# How long what is isolated may still be seen talking: rates look a minute back.
QUIET_WITHIN = timedelta(seconds=90)
LOOK_EVERY = timedelta(seconds=5)
LEAKING_EVERY = timedelta(seconds=30)
HOLDING_EVERY = timedelta(minutes=1)

# Alerts name what is isolated, and whoever sends them could name everything.
MOST = 10
MOST_CHARACTERS = 200


def wishes(
    found: Iterable[Applicable], signs: Collection[str], incident: Incident
) -> tuple[tuple[Wanted, ...], tuple[str, ...]]:
    """What these signs of the policies ask to isolate, and what of it cannot be named."""
    wanted: dict[Wanted, None] = {}
    left_out: dict[str, None] = {}
    for fits in found:
        alerts = [alert.labels for alert in incident.alerts.values() if matches(fits.policy, alert.labels)]
        for sign in fits.policy.security:
            if sign.sign not in signs:
                continue
            for wish in sign.isolate:
                for labels in alerts:
                    named = _named(wish, fits, labels)
                    if isinstance(named, Wanted) and len(wanted) == MOST and named not in wanted:
                        left_out[f"{named}: alerts name more than {MOST} things to isolate"] = None
                    elif isinstance(named, Wanted):
                        wanted[named] = None
                    else:
                        left_out[named] = None
    return tuple(wanted), _first(left_out)


def _first(reasons: Iterable[str]) -> tuple[str, ...]:
    """What a person reads of as many as alerts can name."""
    every = tuple(reason[:MOST_CHARACTERS] for reason in reasons)
    return every if len(every) <= MOST else (*every[:MOST], f"and {len(every) - MOST} more like these")


def _named(wish: IsolationWish, fits: Applicable, labels: Mapping[str, str]) -> Wanted | str:
    """One wish with the alert's labels in it; why not, where a label is missing or is no name.

    Label values are written by whoever can write a metric: a pod is looked for in the policy's namespaces
    only.
    """
    said: dict[str, str] = {}
    for field, template in (("pod", wish.pod), ("node", wish.node)):
        for label in LOOK_UP.findall(template):
            value = labels.get(label, "")
            if not value:
                return f"{wish.act}: the alert has no label {label!r}"
            if not all(DNS_LABEL.fullmatch(part) for part in value.split(".")):
                return f"{wish.act}: label {label} is {value[:60]!r}, not a plain name"
        said[field] = LOOK_UP.sub(lambda found: labels[found[1]], template)
    if said["node"]:
        return Wanted(wish.act, node=said["node"])
    if not isinstance(fits.target, ObjectRef) or not fits.target.namespace:
        return f"{wish.act}: the alert names no namespace of the policy"
    return Wanted(wish.act, fits.target.namespace, said["pod"])


def planned(isolation_id: str, plan: IsolationPlan) -> ev.IsolationPlanned:
    """The event of a new plan."""
    return ev.IsolationPlanned(
        isolation_id=isolation_id,
        act=plan.act,
        target=plan.target,
        digest=plan.digest,
        summary=plan.summary,
        notes=plan.notes,
        undo=plan.undo_sentence,
        by=plan.asked_by,
        why=plan.why,
    )


def first_answer(
    isolation_id: str, plan: IsolationPlan, standing: Standing | str, now: datetime
) -> ev.IsolationApproved | ev.IsolationAsked:
    """The standing approval's yes where it covers this, else the first request with the reason why not."""
    objection = standing if isinstance(standing, str) else standing.objection(plan, now)
    if objection is None and isinstance(standing, Standing):
        until = standing.valid_until.isoformat(timespec="minutes")
        reason = f"standing approval, valid until {until}"
        return ev.IsolationApproved(isolation_id, plan.digest, standing.by, reason, standing=True)
    return ev.IsolationAsked(isolation_id, round=1, why=objection or "")


def may_answer(
    isolating: Isolating, groups: Iterable[str], *, leads: frozenset[str], deputies: frozenset[str]
) -> str | None:
    """Why somebody in these groups may not say yes now; None where they may."""
    if leads & set(groups):
        return None
    if not deputies & set(groups):
        return f"{isolating.id} takes a security lead"
    if isolating.round < DEPUTY_FROM:
        minutes = int(ASK_MORE_AFTER.total_seconds() // 60)
        return f"{isolating.id} is the security lead's for {minutes} minutes; then a deputy's too"
    return None


def not_known(plans: Iterable[IsolationPlan], known: Iterable[Isolating]) -> list[IsolationPlan]:
    """Those that are asked for now: each once, however many alerts name it, and none that was asked for.

    What was taken back, or never begun when an earlier lock was lifted, is asked for anew.
    """
    found = {(plan.act, plan.target.uid): plan for plan in reversed(list(plans))}
    anew = (IsolationState.LIFTED, IsolationState.RELEASED)
    for one in known:
        if one.state not in anew:
            found.pop((one.act, one.target.uid), None)
    return list(reversed(found.values()))


def outside(incident: Incident, plan: IsolationPlan) -> str | None:
    """Why people may not ask for this in this incident: no evidence is kept of what it does not lock.

    A node is another matter: what runs on it goes on as it is.
    """
    scopes = () if incident.lockdown is None else incident.lockdown.scopes
    if not plan.target.namespace or covering(plan.target) & set(scopes):
        return None
    return (
        f"{plan.target} is not in what incident {incident.id} locks, so no evidence of it is kept; "
        f"stanch incidents secure {incident.id} --scope {of_namespace(plan.target.namespace)} comes first"
    )


def not_now(incident: Incident, isolating: Isolating, *, lifting: bool) -> str | None:
    """Why this may not be written as the incident is now; None where it may."""
    lockdown = incident.lockdown
    if lockdown is None:
        return "it is no security incident any more"
    now = next((one for one in incident.isolations if one.id == isolating.id), None)
    if now is None or (now.state, now.step) != (isolating.state, isolating.step):
        return "somebody decided otherwise"
    if lifting:
        return None if lockdown.may_undo else "more was locked since people released it"
    if not lockdown.captured:
        return "its evidence is not kept yet"
    if lockdown.may_lift and now.state is IsolationState.APPROVED:
        return "it is being released"
    return None


def approved(isolating: Isolating, plan: IsolationPlan) -> ApprovedIsolation | None:
    """What may be carried out: this very plan, with a yes on record."""
    on_record = isolating.state in (IsolationState.APPROVED, IsolationState.STARTED)
    if not on_record or not isolating.approved_by or isolating.digest != plan.digest:
        return None
    return ApprovedIsolation(isolating.id, plan, isolating.approved_by)


def lifted(isolating: Isolating, plan: IsolationPlan, lockdown: Lockdown) -> ApprovedIsolation | None:
    """The same for taking it back: an act of those who release, and only if all of them want it."""
    if not lockdown.may_undo or isolating.digest != plan.digest:
        return None
    return ApprovedIsolation(
        isolating.id, plan, " and ".join(sorted({name for name, _ in lockdown.releases}))
    )


def to_ask(incident: Incident, now: datetime) -> tuple[ev.Event, ...]:
    """Who is to be asked once more now."""
    events: list[ev.Event] = []
    for one in incident.isolations:
        if one.state is not IsolationState.ASKED or now < _ask_at(one):
            continue
        if one.round >= ROUNDS:
            reason = f"nobody answered {one.id} in {ROUNDS} rounds: {one.summary}"
            if reason not in incident.escalated:
                events.append(ev.Escalated(reason))
        else:
            events.append(ev.IsolationAsked(one.id, one.round + 1))
    return tuple(events)


def next_look(incident: Incident, now: datetime) -> datetime | None:
    """When something about its isolations comes due by itself."""
    moments: list[datetime] = []
    for one in incident.isolations:
        if one.state is IsolationState.ASKED and (one.round < ROUNDS or _ask_at(one) > now):
            moments.append(_ask_at(one))
        elif one.state is IsolationState.TALKING:
            moments.append(now + LEAKING_EVERY)
        elif one.state is IsolationState.HOLDS:
            moments.append(now + HOLDING_EVERY)
    return min(moments, default=None)


def _ask_at(one: Isolating) -> datetime:
    return one.since if one.round == 0 else one.since + ASK_MORE_AFTER
