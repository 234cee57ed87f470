"""From what every policy of an incident measured to what the incident records of its severity. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from receiver.domain import events as ev
from receiver.domain.incidents import Incident
from receiver.domain.severity import Severity, worst
from receiver.policy.classification import DEFAULT_FOR_UNLISTED_LABEL, DEFAULT_LABELS, Judgement


def graded(
    incident: Incident, found: Sequence[tuple[Judgement, str]], labels: Sequence[Mapping[str, str]]
) -> ev.Classified | None:
    """What is recorded of the judgements, each with its policy's name: the most severe answer counts, and
    without any the labels of the firing alerts do. None where that is nothing new.
    """
    told = found or [(by_label_alone(labels), "")]
    judgement, policy = min(told, key=lambda pair: pair[0].severity.rank if pair[0].severity else 9)
    event = ev.Classified(judgement.severity, judgement.rule, judgement.value, judgement.reason, policy)
    raises = judgement.severity is not None and judgement.severity.worse_than(incident.severity)
    if incident.severity is None or raises:
        return event if judgement.severity else replace(event, severity=Severity.P3)
    if not judgement.decided or judgement.severity is incident.severity:
        # Nothing new, and what cannot be measured never lowers.
        return None if _settled(incident, judgement) else event
    return event if incident.lower_to is not judgement.severity else None


def _settled(incident: Incident, judgement: Judgement) -> bool:
    """Whether a repeated answer would only repeat itself in the timeline."""
    return (incident.classified_at is not None and incident.lower_since is None) or not judgement.decided


def by_label_alone(labels: Sequence[Mapping[str, str]]) -> Judgement:
    """How bad alerts are that no policy matches."""
    said = [found["severity"] for found in labels if found.get("severity")]
    levels = [DEFAULT_LABELS.get(text.lower(), DEFAULT_FOR_UNLISTED_LABEL) for text in said]
    reason = (
        f"no policy matches; the severity label says {', '.join(sorted(set(said)))}"
        if said
        else ("no policy matches and no alert carries a severity label")
    )
    return Judgement(worst(levels), "severity label", {}, reason, False)
