"""Which rules of the policies the tests reached, told from the timelines alone; and which they never did.

Pure. A rule is reached when it made a difference: a level that classified, a candidate that was offered, a
limit that objected, a verdict that was given. So each has to be the reason for something in some test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from receiver.domain import events as ev
from receiver.domain.plans import Spec, UndoWhen
from receiver.policy.document import Document, find
from receiver.policy.matching import matches
from receiver.policy.model import Candidate, Mode, Policy
from receiver.policy.planning import SWITCHED_OFF
from receiver.trials.policy_test.model import Spot
from receiver.trials.policy_test.seen import Seen, SeenIncident

Path = tuple[str | int, ...]
Question = Callable[["Told"], bool]

_WORDS = {UndoWhen.REGRESSION: "it got worse", UndoWhen.FAILURE: "it did not help"}
_LIMITS = {"perTarget": "G6 per_target:", "perPolicy": "G6 per_policy:", "minAvailable": "G7 blast_radius:"}


@dataclass(frozen=True)
class Rule:
    """One rule of a policy; ``asked`` tells from an incident's events whether it was reached."""

    name: str
    path: Path
    asked: Question


@dataclass(frozen=True)
class Told:
    """The events of one incident, as far as they concern one policy."""

    events: tuple[ev.Event, ...]
    plans: Mapping[str, ev.Planned]

    def of(self, kind: type[ev.Event]) -> list[ev.Event]:
        """Its events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why candidates were not offered, and what guards said before acting."""
        found: list[str] = []
        for event in self.events:
            match event:
                case ev.NothingApplies():
                    found += event.reasons
                case ev.Planned():
                    found += event.rejected
                case ev.Refused():
                    found += event.objections
        return tuple(found)


@dataclass(frozen=True)
class Covered:
    """How much of one policy was reached; ``never`` are the places and names of the rest."""

    policy: str
    rules: int
    never: tuple[tuple[Spot, str], ...]

    @property
    def reached(self) -> int:
        """How many rules were."""
        return self.rules - len(self.never)


def covered(
    policy: Policy, document: Document, catalogue: Mapping[str, Spec], seen: Iterable[Seen]
) -> Covered:
    """What all that was seen says about one policy; the document tells where its rules stand."""
    told = [found for one in seen for incident in one.incidents if (found := _told(policy, incident))]
    rules = list(rules_of(policy, document, catalogue))
    never = [rule for rule in rules if not any(rule.asked(found) for found in told)]
    return Covered(policy.name, len(rules), tuple((_spot(document, rule.path), rule.name) for rule in never))


def percent(found: Iterable[Covered]) -> float:
    """Of all rules together; nothing to reach is all of it."""
    total = reached = 0
    for one in found:
        total, reached = total + one.rules, reached + one.reached
    return 100.0 * reached / total if total else 100.0


def rules_of(policy: Policy, document: Document, catalogue: Mapping[str, Spec]) -> Iterator[Rule]:
    """Every rule that a test can reach."""
    if policy.mode is Mode.DISABLED:
        return
    yield from _classify(policy)
    for index, candidate in enumerate(policy.candidates):
        yield from _candidate(index, candidate)
    for index, sign in enumerate(policy.security):
        yield Rule(f"security: {sign.sign}", ("spec", "security", index), _attacked(policy.name, sign.sign))
    for index, entry in enumerate(policy.handover):
        path: Path = ("spec", "handover", index)
        yield Rule(f"handover: {entry.item}", path, _listed(policy.name, entry.item))
    yield from _guards(policy, document)
    if policy.mode is not Mode.SHADOW and any(not one.disabled for one in policy.candidates):
        yield from _approve(policy, catalogue)
        yield from _verify(policy)
        if any(catalogue[one.remediation].reversible for one in policy.candidates if not one.disabled):
            yield from _undo(policy)


def _told(policy: Policy, seen: SeenIncident) -> Told | None:
    """The incident's events with those of other policies' plans and classifications left out."""
    if not any(matches(policy, alert.labels) for alert in seen.incident.alerts.values()):
        return None
    events = [recorded.event for recorded in seen.timeline]
    plans = {event.plan_id: event for event in events if isinstance(event, ev.Planned)}
    own = {plan_id: event for plan_id, event in plans.items() if event.policy == policy.name}
    kept = (
        event
        for event in events
        if (getattr(event, "plan_id", None) in own or getattr(event, "plan_id", None) is None)
        and not (isinstance(event, ev.Classified) and event.policy != policy.name)
    )
    return Told(tuple(kept), own)


def _classify(policy: Policy) -> Iterator[Rule]:
    for level, alternatives in policy.classify.levels.items():
        for index, rule in enumerate(alternatives):
            name = f"classify.{level}: {rule.expr}"
            said = f"{level}: {rule.expr}"
            yield Rule(name, ("spec", "classify", level.value, index), _classified_by(said))
    if not policy.classify.levels:
        # There are no numbers that could decide.
        return
    yield Rule(
        "classify.severityLabel: where the numbers do not decide",
        ("spec", "classify", "severityLabel"),
        _classified_by("severity label"),
    )


def _classified_by(rule: str) -> Question:
    return lambda told: any(
        isinstance(event, ev.Classified) and event.rule == rule for event in told.of(ev.Classified)
    )


def _candidate(index: int, candidate: Candidate) -> Iterator[Rule]:
    path: Path = ("spec", "propose", index)

    def offered(told: Told) -> bool:
        return any(
            plan.remediation == candidate.remediation and plan.why.startswith(candidate.why)
            for plan in told.plans.values()
        )

    if candidate.disabled:
        named = f"{candidate.remediation}: {SWITCHED_OFF}: {candidate.why}"
        yield Rule(
            f"propose: {candidate.remediation} is named, being disabled",
            path,
            lambda told: any(reason.startswith(named[:200]) for reason in told.reasons),
        )
    else:
        yield Rule(f"propose: {candidate.remediation} is offered", path, offered)
    if candidate.when is not None:
        said = f"{candidate.remediation}: {candidate.when} does not hold"
        name = f"propose: {candidate.remediation} is rejected by its when"
        yield Rule(name, (*path, "when"), lambda told: said in told.reasons)


def _listed(policy: str, item: str) -> Question:
    return lambda told: any(
        isinstance(event, ev.HandedOver)
        and any((one.policy, one.item) == (policy, item) for one in event.items)
        for event in told.events
    )


def _attacked(policy: str, sign: str) -> Question:
    return lambda told: any(
        isinstance(event, ev.TurnedSecurity) and (event.by, event.reason) == (f"policy {policy}", sign)
        for event in told.events
    )


def _guards(policy: Policy, document: Document) -> Iterator[Rule]:
    for key, said in _LIMITS.items():
        path: Path = ("spec", "guard", key)
        if find(document.root, path) is not None:
            yield Rule(f"guard.{key} objects", path, _objected(said))
    for index, rule in enumerate(policy.guards.rules):
        name = f"guard.rules objects: {rule.expr}"
        yield Rule(name, ("spec", "guard", "rules", index), _objected(f"policy[{index}] "))


def _objected(said: str) -> Question:
    # A rejected candidate's reason begins with its name, a refusal with the guard.
    return lambda told: any(text.startswith(said) or f": {said}" in text for text in told.reasons)


def _approve(policy: Policy, catalogue: Mapping[str, Spec]) -> Iterator[Rule]:
    path: Path = ("spec", "approve")
    risks = {
        catalogue[candidate.remediation].risk for candidate in policy.candidates if not candidate.disabled
    }
    for risk in sorted(risks):
        yield Rule(f"approve.{risk} is given", (*path, risk.value), _approved(risk.value))
    yield Rule(
        "approve.expires: nobody answers", (*path, "expires"), lambda told: bool(told.of(ev.ApprovalExpired))
    )
    late = "it was not started in the time its approval gave"
    yield Rule(
        "approve.executeWithin: a yes comes to nothing",
        (*path, "executeWithin"),
        lambda told: any(isinstance(event, ev.PlanVoided) and event.reason == late for event in told.events),
    )


def _approved(risk: str) -> Question:
    return lambda told: any(
        isinstance(event, ev.Approved) and told.plans[event.plan_id].risk == risk for event in told.events
    )


def _verify(policy: Policy) -> Iterator[Rule]:
    path: Path = ("spec", "verify")

    def sick(told: Told, *, worse: bool) -> bool:
        # Without samples it is a person's word: leave it as it is.
        return any(
            isinstance(event, ev.StillSick) and event.worse is worse and event.samples
            for event in told.events
        )

    yield Rule("verify: it helped", (*path, "success"), lambda told: bool(told.of(ev.Verified)))
    yield Rule("verify: it did not help", (*path, "within"), lambda told: sick(told, worse=False))
    if policy.verification.regression is not None:
        yield Rule("verify: it got worse", (*path, "regression"), lambda told: sick(told, worse=True))
    yield Rule("verify: it cannot be told", (*path, "onNoData"), lambda told: bool(told.of(ev.Inconclusive)))


def _undo(policy: Policy) -> Iterator[Rule]:
    for when in sorted(policy.undo.automatic):
        yield Rule(f"undo.when {when}: by itself", ("spec", "undo", "when"), _undone(_WORDS[when]))
    for when in sorted(policy.undo.ask):
        yield Rule(f"undo.ask {when}: a person is asked", ("spec", "undo", "ask"), _asked(_WORDS[when]))


def _undone(words: str) -> Question:
    return lambda told: any(
        isinstance(event, ev.UndoApproved) and (event.by, event.reason) == ("policy", words)
        for event in told.events
    )


def _asked(words: str) -> Question:
    return lambda told: any(
        isinstance(event, ev.UndoAsked) and event.reason.startswith(words) for event in told.events
    )


def _spot(document: Document, path: Path) -> Spot:
    """Where the rule stands, or the section that it is a default of."""
    for length in range(len(path), 0, -1):
        if (found := find(document.root, path[:length])) is not None:
            return Spot(document.file, *document.place(found[0]))
    return Spot(document.file, 1, 1)
