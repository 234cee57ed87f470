"""Which policies an incident's alerts call for, and which alerts are one incident."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.domain.canonical import canonical
from receiver.domain.incidents import Incident, IncidentAlert
from receiver.domain.names import DNS_LABEL
from receiver.domain.plans import NotApplicable, ObjectRef
from receiver.policy.model import (
    DEFAULT_CORRELATION,
    CorrelationRule,
    Mode,
    Policy,
    PolicySet,
    TargetTemplate,
)

LOOK_UP = re.compile(r"\{\{\s*labels\.([a-zA-Z_][a-zA-Z0-9_]*)\s*\}\}")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
API_VERSIONS = {
    "Deployment": "apps/v1",
    "PersistentVolumeClaim": "v1",
    "Cluster": "postgresql.cnpg.io/v1",
}


@dataclass(frozen=True)
class CorrelationKey:
    """What alerts of one incident share, and how long it may be reopened after its end."""

    key: str
    title: str
    reopen: timedelta


def correlate(labels: Mapping[str, str], identity: str, rules: Iterable[CorrelationRule]) -> CorrelationKey:
    """The incident an alert belongs to: the first rule that selects it, else the default.

    A missing label never equals a missing label: an alert that lacks one is an incident of its own.
    """
    for rule in (*rules, DEFAULT_CORRELATION):
        if not all(matcher.holds(labels) for matcher in rule.matchers):
            continue
        values: list[list[str]] = []
        for alternatives in rule.by:
            found = next((name for name in alternatives if labels.get(name)), None)
            if found is None:
                break
            values.append([found, labels[found]])
        else:
            return CorrelationKey(canonical(values), _title(labels), rule.reopen)
        # The cluster label is added by whoever aggregates; a single cluster may have none.
        if rule is DEFAULT_CORRELATION:
            service = next((labels[name] for name in ("app", "service", "job") if labels.get(name)), None)
            if labels.get("namespace") and service and not labels.get("cluster"):
                return CorrelationKey(canonical([labels["namespace"], service]), _title(labels), rule.reopen)
    return CorrelationKey(canonical(["identity", identity]), _title(labels), DEFAULT_CORRELATION.reopen)


def policies_for(
    alerts: Iterable[IncidentAlert], loaded: PolicySet, *, now: datetime, first_seen: Mapping[str, datetime]
) -> list[tuple[Policy, IncidentAlert]]:
    """Every enabled policy that a firing alert matches, by name, with the first such alert."""
    firing = sorted(
        (alert for alert in alerts if alert.firing), key=lambda alert: (alert.starts_at, alert.identity)
    )
    found: list[tuple[Policy, IncidentAlert]] = []
    for policy in sorted(loaded.policies, key=lambda policy: policy.name):
        if policy.mode is Mode.DISABLED:
            continue
        for alert in firing:
            seen = first_seen.get(alert.identity, alert.starts_at)
            if matches(policy, alert.labels) and now - seen >= policy.match.for_:
                found.append((policy, alert))
                break
    return found


@dataclass(frozen=True)
class Applicable:
    """A policy that an incident's alert calls for, with the object that alert names."""

    policy: Policy
    target: ObjectRef | NotApplicable


def applicable(loaded: PolicySet, incident: Incident, now: datetime) -> list[Applicable]:
    """The policies of this incident, by name."""
    opened = incident.opened_at
    first_seen = {} if opened is None else dict.fromkeys(incident.alerts, opened)
    found = policies_for(incident.alerts.values(), loaded, now=now, first_seen=first_seen)
    return [Applicable(policy, resolve_target(policy.target, alert.labels)) for policy, alert in found]


def policy_watching(loaded: PolicySet, incident: Incident) -> Policy | None:
    """The first policy, by name, that any alert of the incident matches, firing or not."""
    for policy in sorted(loaded.policies, key=lambda policy: policy.name):
        if any(matches(policy, alert.labels) for alert in incident.alerts.values()):
            return policy
    return None


def concerns(loaded: PolicySet, incident: Incident, target: ObjectRef) -> bool:
    """Whether an alert of the incident, firing or not, names this very object to some policy."""
    # The name first: it is what most alerts differ in, and the cheapest to ask.
    return any(
        _filled(policy.target.name, alert.labels) == target.name
        and matches(policy, alert.labels)
        and resolve_target(policy.target, alert.labels) == target
        for policy in loaded.policies
        for alert in incident.alerts.values()
    )


def matches(policy: Policy, labels: Mapping[str, str]) -> bool:
    """Whether an alert with these labels is one of this policy's."""
    return all(matcher.holds(labels) for matcher in policy.match.matchers)


def resolve_target(template: TargetTemplate, labels: Mapping[str, str]) -> ObjectRef | NotApplicable:
    """The object that the template names for these labels, if it lies where the policy may act.

    Labels are hostile text: what they give must be a valid name and, for the namespace, listed.
    """
    namespace = _filled(template.namespace, labels)
    name = _filled(template.name, labels)
    if isinstance(namespace, NotApplicable):
        return namespace
    if isinstance(name, NotApplicable):
        return name
    if not DNS_LABEL.fullmatch(namespace):
        return NotApplicable(f"{namespace[:80]!r} is not a valid namespace")
    if not DNS_SUBDOMAIN.fullmatch(name):
        return NotApplicable(f"{name[:80]!r} is not a valid object name")
    if namespace not in template.namespaces:
        return NotApplicable(
            f"namespace {namespace} is not one this policy may act in ({', '.join(template.namespaces)})"
        )
    if template.names and name not in template.names:
        return NotApplicable(f"{name} is not one this policy may act on ({', '.join(template.names)})")
    return ObjectRef(API_VERSIONS[template.kind], template.kind, namespace, name)


def _filled(template: str, labels: Mapping[str, str]) -> str | NotApplicable:
    missing = [name for name in LOOK_UP.findall(template) if not labels.get(name)]
    if missing:
        return NotApplicable(f"the alert has no label {missing[0]!r}, which the target needs")
    return LOOK_UP.sub(lambda found: labels[found.group(1)], template)


def _title(labels: Mapping[str, str]) -> str:
    name = labels.get("alertname") or "alert"
    where = "/".join(labels[label] for label in ("namespace", "app", "service", "job") if labels.get(label))
    return f"{name} on {where}" if where else name
