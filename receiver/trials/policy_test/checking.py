"""Expectations against what is seen. Pure: one question a key, answered with expected and got."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from receiver.domain import events as ev
from receiver.domain.incidents import PlanProgress
from receiver.trials.policy_test.model import NOTHING, Expectation, Spot, Verdict
from receiver.trials.policy_test.seen import Seen, SeenIncident

NO_INCIDENT = "no incident"
NO_PLAN = "no plan"


@dataclass(frozen=True)
class Mismatch:
    """One key that is not as expected."""

    spot: Spot
    key: str
    expected: str
    got: str


@dataclass(frozen=True)
class Answer:
    """What one key expects and what is so; ``well`` says whether that is the same."""

    well: bool
    expected: str
    got: str


def mismatches(expectation: Expectation, seen: Seen) -> list[Mismatch]:
    """Everything of this expectation that is not so."""
    found: list[Mismatch] = []
    for key, question in QUESTIONS.items():
        answer = question(expectation, seen)
        if answer is not None and not answer.well:
            found.append(Mismatch(expectation.spot_of(key), key, answer.expected, answer.got))
    return found


def _same(expected: object, got: object) -> Answer:
    return Answer(expected == got, str(expected), str(got))


def _contained(wanted: Iterable[str], texts: Iterable[str], *, nothing: str) -> Answer:
    """Whether each wanted text is part of one of these."""
    said = list(texts)
    lacking = [text for text in wanted if not any(text in one for one in said)]
    return Answer(not lacking, "; ".join(repr(text) for text in lacking), "\n".join(said) or nothing)


def _incident(expectation: Expectation, seen: Seen) -> SeenIncident | None:
    return seen.incident(expectation.incident)


def _progress(expectation: Expectation, seen: Seen) -> PlanProgress | None:
    found = _incident(expectation, seen)
    return None if found is None else found.incident.plan


def _absent(expectation: Expectation, seen: Seen) -> str:
    return NO_INCIDENT if _incident(expectation, seen) is None else NO_PLAN


def _incidents(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.incidents is None:
        return None
    return _same(expectation.incidents, len(seen.incidents))


def _severity(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.severity is None:
        return None
    found = _incident(expectation, seen)
    if found is None:
        return Answer(False, expectation.severity, NO_INCIDENT)
    return _same(expectation.severity, found.incident.severity or "unknown")


def _because(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.because:
        return None
    found = _incident(expectation, seen)
    event = found.newest(ev.Classified) if found is not None else None
    told = [] if event is None else [f"{event.rule}; {event.reason}"]
    return _contained(expectation.because, told, nothing=NO_INCIDENT if found is None else "not classified")


def _status(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.status is None:
        return None
    found = _incident(expectation, seen)
    return _same(expectation.status, NO_INCIDENT if found is None else found.incident.status)


def _proposed(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.proposed is None:
        return None
    progress = _progress(expectation, seen)
    return _same(expectation.proposed, NOTHING if progress is None else progress.remediation)


def _parameters(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.parameters is None:
        return None
    found = _incident(expectation, seen)
    plan = found.plan if found is not None else None
    got = _absent(expectation, seen) if plan is None else json.dumps(dict(plan.parameters), sort_keys=True)
    return _same(json.dumps(expectation.parameters, sort_keys=True), got)


def _change(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.change:
        return None
    found = _incident(expectation, seen)
    plan = found.plan if found is not None else None
    told = [] if plan is None else plan.diff.splitlines()
    return _contained(expectation.change, told, nothing=_absent(expectation, seen))


def _risk(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.risk is None:
        return None
    found = _incident(expectation, seen)
    plan = found.plan if found is not None else None
    return _same(expectation.risk, _absent(expectation, seen) if plan is None else plan.risk)


def _state(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.state is None:
        return None
    progress = _progress(expectation, seen)
    return _same(expectation.state, _absent(expectation, seen) if progress is None else progress.state)


def _rejected(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.rejected:
        return None
    found = _incident(expectation, seen)
    event = found.newest(ev.NothingApplies, ev.Planned) if found is not None else None
    match event:
        case ev.NothingApplies():
            told = event.reasons
        case ev.Planned():
            told = event.rejected
        case _:
            told = ()
    return _contained(expectation.rejected, told, nothing="no candidate was rejected")


def _handover(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.handover:
        return None
    found = _incident(expectation, seen)
    nothing = NO_INCIDENT if found is None else "nothing is handed over"
    return _contained(expectation.handover, _handed_over(found), nothing=nothing)


def _no_handover(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.no_handover:
        return None
    found = _incident(expectation, seen)
    there = [text for text in _handed_over(found) if any(one in text for one in expectation.no_handover)]
    expected = " or ".join(f"{text!r}" for text in expectation.no_handover)
    got = NO_INCIDENT if found is None else "\n".join(there)
    return Answer(found is not None and not there, f"no item with {expected}", got)


def _handed_over(found: SeenIncident | None) -> list[str]:
    """Each item with everything that stands beside it."""
    items = found.incident.handover if found is not None else ()
    return [
        ". ".join(
            (
                one.item,
                *(f"{path} = {value}" for path, value in one.found.items()),
                one.unknown,
                one.next,
                one.why,
            )
        )
        for one in items
    ]


def _security(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.security:
        return None
    found = _incident(expectation, seen)
    lockdown = found.incident.lockdown if found is not None else None
    told = () if lockdown is None else (f"{lockdown.reason}: {', '.join(lockdown.scopes)}",)
    nothing = NO_INCIDENT if found is None else "it is no security incident"
    return _contained(expectation.security, told, nothing=nothing)


def _isolates(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.isolates:
        return None
    found = _incident(expectation, seen)
    told = () if found is None else [f"{one.summary}: {one.state}" for one in found.incident.isolations]
    return _contained(expectation.isolates, told, nothing="nothing is to be isolated")


def _refused(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.refused:
        return None
    found = _incident(expectation, seen)
    events = [one.event for one in found.timeline] if found is not None else []
    told = [text for event in events if isinstance(event, ev.Refused) for text in event.objections]
    return _contained(expectation.refused, dict.fromkeys(told), nothing="no guard objected before acting")


def _verdict(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.verdict is None:
        return None
    progress, found = _progress(expectation, seen), _incident(expectation, seen)
    if progress is None or found is None:
        return _same(expectation.verdict, Verdict.NONE)
    # The first one counts: that a person leaves it as it is, is written down in the same words.
    verdicts = (_verdict_of(recorded.event, progress.plan_id) for recorded in found.timeline)
    return _same(expectation.verdict, next((one for one in verdicts if one is not None), Verdict.NONE))


def _verdict_of(event: ev.Event, plan_id: str) -> Verdict | None:
    match event:
        case ev.Verified(plan_id=named) if named == plan_id:
            return Verdict.IMPROVED
        case ev.StillSick(plan_id=named, worse=worse) if named == plan_id:
            return Verdict.WORSE if worse else Verdict.NOT_IMPROVED
        case ev.Inconclusive(plan_id=named) if named == plan_id:
            return Verdict.INCONCLUSIVE
        case _:
            return None


def _executed(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.executed is None:
        return None
    done = [write.remediation for write in seen.writes if write.kind == "execute"]
    return _same(_listed(expectation.executed), _listed(done))


def _executed_count(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.executed_count is None:
        return None
    return _same(expectation.executed_count, sum(write.kind == "execute" for write in seen.writes))


def _undone(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.undone is None:
        return None
    done = [write.remediation for write in seen.writes if write.kind == "undo"]
    return _same(_listed(expectation.undone), _listed(done))


def _paged(expectation: Expectation, seen: Seen) -> Answer | None:
    if expectation.paged is None:
        return None
    pages = [str(body.get("text")) for body in seen.told if body.get("pages")]
    expected = "somebody is paged" if expectation.paged else "nobody is paged"
    return Answer(expectation.paged is bool(pages), expected, "\n".join(pages) or "nobody was paged")


def _told(expectation: Expectation, seen: Seen) -> Answer | None:
    if not expectation.told:
        return None
    texts = [str(body.get("text")) for body in seen.told]
    return _contained(expectation.told, texts, nothing="nobody was told anything")


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(names)}]"


QUESTIONS: dict[str, Callable[[Expectation, Seen], Answer | None]] = {
    "incidents": _incidents,
    "severity": _severity,
    "because": _because,
    "status": _status,
    "proposed": _proposed,
    "with": _parameters,
    "change": _change,
    "risk": _risk,
    "state": _state,
    "rejected": _rejected,
    "handover": _handover,
    "noHandover": _no_handover,
    "refused": _refused,
    "verdict": _verdict,
    "executed": _executed,
    "executedCount": _executed_count,
    "undone": _undone,
    "security": _security,
    "isolates": _isolates,
    "paged": _paged,
    "told": _told,
}
