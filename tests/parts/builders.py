"""Policies, notifications and identities for tests: the usual one, and what is different this time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.domain.plans import ApprovalRule, Risk, Undo, Verification
from receiver.domain.severity import Severity
from receiver.policy.approval import Identity
from receiver.policy.model import (
    Budget,
    Candidate,
    Classify,
    Guards,
    LevelRule,
    Match,
    Matcher,
    Mode,
    Policy,
    PolicySet,
    ProbeUse,
    TargetTemplate,
)

CAROL = Identity("carol", ("oncall", "sre"))
DAVE = Identity("dave", ("sre",))
MALLORY = Identity("mallory", ("interns",))
NO_END = "0001-01-01T00:00:00Z"

ERRORS = 'sum(rate(gl_errors_total{app="greenlang-api"}[5m]))'
REQUESTS = 'sum(rate(gl_requests_total{app="greenlang-api"}[5m]))'
QUERIES = {"err": f"{ERRORS} / {REQUESTS}", "traffic": REQUESTS}


def verification(**changes: Any) -> Verification:
    """Better when errors stay below 1 % for five minutes."""
    usual = Verification(
        queries={"err": QUERIES["err"]},
        success="err < 0.01",
        success_for=timedelta(minutes=5),
        every=timedelta(seconds=15),
        min_samples=16,
        settle=timedelta(minutes=5),
        within=timedelta(minutes=15),
        baseline=timedelta(minutes=10),
        regression="err > baseline.err * 1.2",
        regression_for=timedelta(minutes=2),
    )
    return replace(usual, **changes)


def classify_rules() -> Classify:
    """The playbook's bands over the error ratio."""
    two, five = timedelta(minutes=2), timedelta(minutes=5)
    return Classify(
        levels={
            Severity.P0: (LevelRule("err >= 0.99", two, "traffic > 0.2"),),
            Severity.P1: (LevelRule("err > 0.20", two, "traffic > 0.2"),),
            Severity.P2: (LevelRule("err >= 0.05", five, "traffic > 0.2"),),
            Severity.P3: (LevelRule("err > 0.01", five, "traffic > 0.2"),),
        },
        severity_label={
            "critical": Severity.P1,
            "page": Severity.P1,
            "warning": Severity.P2,
            "info": Severity.P3,
        },
    )


def policy(**changes: Any) -> Policy:
    """Roll a bad release of greenlang-api back, when asked."""
    usual = Policy(
        name="inc-001",
        mode=Mode.PROPOSE,
        match=Match((Matcher("alertname", "=", "HighErrorRate"),)),
        target=TargetTemplate(
            kind="Deployment",
            namespace="{{ labels.namespace }}",
            name="{{ labels.app }}",
            namespaces=("greenlang",),
        ),
        queries=QUERIES,
        classify=classify_rules(),
        probes=(ProbeUse("rollout", "rollout-history", {}), ProbeUse("owner", "owners", {})),
        probe_deadline=timedelta(seconds=20),
        candidates=(
            Candidate("deployment.rollback", "a young release", "rollout.hasEarlier", {"to": "known-good"}),
        ),
        guards=Guards(per_target=Budget(1, timedelta(hours=2))),
        approve={Risk.DISRUPTIVE: ApprovalRule(groups=("oncall", "sre"))},
        verification=verification(),
        undo=Undo(),
        monitor=timedelta(minutes=15),
        hash="h1",
    )
    return replace(usual, **changes)


def policies(*found: Policy, **changes: Any) -> PolicySet:
    """These policies, or the usual one."""
    return replace(PolicySet(policies=found or (policy(),), hash="set"), **changes)


def labels(**changes: str) -> dict[str, str]:
    """What the usual alert carries; an empty value takes a label away."""
    usual = {
        "alertname": "HighErrorRate",
        "namespace": "greenlang",
        "app": "greenlang-api",
        "cluster": "demo",
        "severity": "critical",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value}


def alert(
    *,
    status: str = "firing",
    starts_at: datetime,
    ends_at: datetime | None = None,
    with_labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One entry of a notification."""
    return {
        "status": status,
        "labels": dict(with_labels if with_labels is not None else labels()),
        "annotations": {"summary": "errors"},
        "startsAt": rfc3339(starts_at),
        "endsAt": NO_END if ends_at is None else rfc3339(ends_at),
        "generatorURL": "",
        "fingerprint": "0011223344556677",
    }


def notification(*alerts: Mapping[str, Any], **changes: Any) -> bytes:
    """A version 4 body with these alerts."""
    firing = any(entry.get("status") == "firing" for entry in alerts)
    body = {
        "version": "4",
        "groupKey": '{}:{alertname="HighErrorRate"}',
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "stanch",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com:9093",
        "alerts": list(alerts),
    }
    return json.dumps({**body, **changes}).encode()


def rfc3339(moment: datetime) -> str:
    """As Go writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
