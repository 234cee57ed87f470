"""Whether a candidate is worth a look, and the plan that it becomes. Pure; the cluster is asked elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from receiver.domain.incidents import Incident
from receiver.domain.plans import Draft, Plan, Risk, Spec, Undo, cure_of
from receiver.policy.approval import DEFAULT_RULES
from receiver.policy.expressions import Truth, evaluate
from receiver.policy.matching import LOOK_UP
from receiver.policy.model import Candidate, Policy

SWITCHED_OFF = "disabled in the policy"
NEVER_UNDONE = Undo(automatic=frozenset(), ask=frozenset())
_ORDER = tuple(Risk)
_PLAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:/-]{0,251}[A-Za-z0-9])?")


def considered(
    candidate: Candidate, incident: Incident, known: Mapping[str, Any], tried: frozenset[str]
) -> tuple[Truth, str]:
    """Whether its condition holds for the incident, and the reason where it does not or is not known.

    ``known`` are the facts of the probes and the values of the queries, by their names.
    """
    told = filled(candidate, incident)
    if isinstance(told, Candidate) and cure_of(told.remediation, told.parameters) in tried:
        return Truth.FALSE, "it was tried for this incident"
    truth, reason = Truth.TRUE, ""
    if candidate.when is not None:
        labels = next((alert.labels for alert in incident.alerts.values() if alert.firing), {})
        truth, reason = evaluate(candidate.when, {**known, "labels": dict(labels)})
    if truth is Truth.FALSE:
        return truth, f"{candidate.when} does not hold"
    if candidate.disabled:
        return Truth.FALSE, f"{SWITCHED_OFF}: {candidate.why}"
    return truth, f"{candidate.when} is not known: {reason}" if truth is Truth.UNKNOWN else ""


def filled(candidate: Candidate, incident: Incident) -> Candidate | str:
    """The candidate with the alert's labels in its parameters; why not, where a label is missing or odd.

    Label values are written by whoever can write a metric, so they must be plain words.
    """
    labels = next((alert.labels for alert in incident.alerts.values() if alert.firing), incident.labels)
    parameters: dict[str, Any] = {}
    for name, value in candidate.parameters.items():
        for label in LOOK_UP.findall(value) if isinstance(value, str) else ():
            said = labels.get(label)
            if not said:
                return f"the alert has no label {label!r}, which {name} needs"
            if not _PLAIN.fullmatch(said):
                return f"label {label} is {said[:60]!r}: {name} takes plain words only"
        parameters[name] = _with_labels(value, labels)
    return replace(candidate, parameters=parameters)


def _with_labels(value: Any, labels: Mapping[str, str]) -> Any:
    return LOOK_UP.sub(lambda found: labels[found[1]], value) if isinstance(value, str) else value


def assemble(incident: Incident, policy: Policy, candidate: Candidate, draft: Draft, spec: Spec) -> Plan:
    """The draft with everything an approval covers; a policy may only tighten the risk's rule."""
    risk = max(draft.risk or spec.risk, spec.risk, key=_ORDER.index)
    return Plan(
        incident_id=incident.id,
        epoch=incident.epoch,
        policy=policy.name,
        policy_hash=policy.hash,
        mode=policy.mode.value,
        remediation=spec.name,
        version=spec.version,
        parameters=dict(candidate.parameters),
        target=draft.target,
        steps=draft.steps,
        risk=risk,
        approval=policy.approve.get(risk, DEFAULT_RULES[risk]),
        verification=policy.verification,
        # What cannot be put back is neither put back nor asked about.
        undo=policy.undo if spec.reversible else NEVER_UNDONE,
        monitor=policy.monitor,
        expires=candidate.expires,
        ends=candidate.ends,
        summary=draft.summary,
        why=f"{candidate.why}. {draft.why}" if candidate.why else draft.why,
        blast_radius=draft.blast_radius,
        undo_sentence=draft.undo_sentence,
        notes=draft.notes,
    )
