"""The documents that the API answers with, from our own types. Field names are the API's promise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never

from receiver.domain.events import EvidenceSealed, Recorded, event_text
from receiver.domain.incidents import Incident, Lockdown, as_json
from receiver.domain.isolation import Block, Deny, Isolating, IsolationPlan, IsolationStep, Relabel, Shun
from receiver.domain.occurrences import occurrences
from receiver.domain.outcomes import Outcome, Tally
from receiver.domain.security import Said, SecurityRecord
from receiver.pipeline.world import Loaded
from receiver.policy.authority_clock import HOURS
from receiver.store.effects import StoredPlan, Vote
from receiver.store.intake import AlertRow


def incident_view(incident: Incident) -> dict[str, Any]:
    """One incident."""
    document = as_json(incident)
    return {
        "id": incident.id,
        "title": incident.title,
        "status": incident.status.value,
        "severity": incident.severity.value if incident.severity is not None else None,
        "firing": incident.firing,
        "labels": document["labels"],
        "alerts": sorted(
            document["alerts"].values(), key=lambda alert: (alert["starts_at"], alert["identity"])
        ),
        "opened_at": document["opened_at"],
        "acknowledged_by": incident.acknowledged_by,
        "resolved_at": document["resolved_at"],
        "cause": incident.cause,
        "monitoring_until": document["monitoring_until"],
        "ready_to_resolve": incident.ready_to_resolve,
        "stale": incident.stale,
        "escalated": list(incident.escalated),
        "plan": None if document["plan"] is None else _progress(document["plan"]),
        "handover": list(document["handover"]),
        "lockdown": None if incident.lockdown is None else _lockdown(incident.lockdown),
        "evidence": [_evidence(sealed) for sealed in incident.evidence],
        "isolations": [_isolating(one) for one in incident.isolations],
        "security": None if incident.security is None else _owed(incident.security),
        "tried": [[tried.partition(" ")[0], state] for tried, state in document["tried"]],
        "epoch": incident.epoch,
    }


def _lockdown(lockdown: Lockdown) -> dict[str, Any]:
    return {
        "reason": lockdown.reason,
        "scopes": list(lockdown.scopes),
        "since": lockdown.since.isoformat(),
        "in_force_at": _time(lockdown.in_force_at),
        "releases": [name for name, _ in lockdown.releases],
        "undo_wanted": list(lockdown.undo_wanted),
    }


def _owed(record: SecurityRecord) -> dict[str, Any]:
    return {
        "aware_at": record.aware_at.isoformat(),
        "authority_until": (record.aware_at + timedelta(hours=HOURS)).isoformat(),
        "authority": None if record.authority is None else _said(record.authority),
        "filed": record.filed,
        "answers": {question.value: _said(said) for question, said in record.answers.items()},
        "credentials": [
            {"name": str(one), "renewed": _said(said) if (said := record.renewed.get(str(one))) else None}
            for one in record.credentials
        ],
        "attested": {one.value: _said(said) for one, said in record.attested.items()},
        "missing": list(record.missing_to_close),
    }


def _said(said: Said) -> dict[str, Any]:
    return {"by": said.by, "text": said.text, "at": said.at.isoformat()}


def _isolating(one: Isolating) -> dict[str, Any]:
    return {
        "id": one.id,
        "act": one.act.value,
        "target": str(one.target),
        "state": one.state.value,
        "since": one.since.isoformat(),
        "what": one.summary,
        "sentence": one.stays or one.sentence,
        "digest": one.digest,
        "asked_by": one.asked_by,
        "approved_by": one.approved_by,
    }


def isolation_view(isolation_id: str, plan: IsolationPlan, incident: Incident) -> dict[str, Any]:
    """One isolation with everything that its approver must see."""
    known = next((one for one in incident.isolations if one.id == isolation_id), None)
    return {
        "id": isolation_id,
        "incident": incident.id,
        "act": plan.act.value,
        "target": str(plan.target),
        "what": plan.summary,
        "why": plan.why,
        "asked_by": plan.asked_by,
        "state": None if known is None else known.state.value,
        "approved_by": "" if known is None else known.approved_by,
        "sentence": "" if known is None else known.stays or known.sentence,
        "change": [line for step in plan.steps for line in _written(step)],
        "notes": list(plan.notes),
        "undo": plan.undo_sentence,
        "digest": plan.digest,
    }


def _written(step: IsolationStep) -> list[str]:
    match step:
        case Deny():
            return [f"+ {step.target}: lets nothing in or out of what carries the mark"]
        case Block():
            pods = ", ".join(f"{name}={value}" for name, value in sorted(step.pods.items()))
            return [
                f"+ {step.target}: lets everything into pods with {pods} but what comes from",
                *(f"- {network}" for network in step.blocked),
            ]
        case Relabel():
            gone = [f"- label {name}={value}" for name, value in sorted(step.before.items())]
            come = [f"+ label {name}={value}" for name, value in sorted(step.after.items())]
            kept = [f"+ annotation {name}={value}" for name, value in sorted(step.annotations.items())]
            return gone + come + kept
        case Shun():
            new = [taint for taint in step.taints if taint not in step.taints_before]
            added = [f"+ taint {one.get('key')}={one.get('value', '')}:{one.get('effect')}" for one in new]
            return [f"~ unschedulable: {step.unschedulable_before} -> {step.unschedulable}", *added]
        case _:
            assert_never(step)


def _evidence(sealed: EvidenceSealed) -> dict[str, Any]:
    return {
        "capture": sealed.capture,
        "manifest": sealed.manifest,
        "scopes": list(sealed.scopes),
        "files": sealed.files,
        "bytes": sealed.bytes,
        "gaps": list(sealed.gaps),
    }


def _progress(plan: dict[str, Any]) -> dict[str, Any]:
    names = (
        "plan_id",
        "remediation",
        "digest",
        "state",
        "expires_at",
        "round",
        "approvals",
        "execute_before",
    )
    return {name: plan[name] for name in (*names, "executed_at", "objections")}


def recorded_view(recorded: Recorded) -> dict[str, Any]:
    """One event of a timeline; an excerpt names the whole one."""
    whole = {} if recorded.whole is None else {"whole": recorded.whole}
    return {
        "seq": recorded.seq,
        "at": recorded.at.isoformat(),
        "actor": recorded.actor,
        "event": {**json.loads(event_text(recorded.event)), **whole},
    }


def policies_view(loaded: Loaded) -> dict[str, Any]:
    """What is in force, what was seen last, and why that is not in force."""
    refused = loaded.refused
    return {
        "hash": loaded.policies.hash,
        "since": None if loaded.since is None else loaded.since.isoformat(),
        "newest": {
            "files": loaded.newest,
            "in_force": refused is None,
            "refused_at": None if refused is None else refused.at.isoformat(),
            "why": [] if refused is None else list(refused.why),
        },
        "items": [
            {
                "name": policy.name,
                "mode": policy.mode.value,
                "hash": policy.hash,
                "owner": policy.owner,
                "runbook": policy.runbook,
                "alerts": [str(matcher) for matcher in policy.match.matchers],
                "remediations": [candidate.remediation for candidate in policy.candidates],
            }
            for policy in loaded.policies.policies
        ],
    }


def tally_view(tally: Tally) -> dict[str, Any]:
    """How one policy has done with one remediation; shares are null where nothing was judged."""
    wrongful = tally.wrongful
    return {
        "policy": tally.policy,
        "remediation": tally.remediation,
        "proposed": tally.proposed,
        "shadowed": tally.shadowed,
        "approved": tally.approved,
        "executed": tally.executed,
        **{outcome.value.replace("-", "_"): tally.count(outcome) for outcome in Outcome},
        "wrongful": None
        if wrongful is None
        else {"share": wrongful[0], "low": wrongful[1], "high": wrongful[2], "of": tally.judged},
    }


def plan_view(stored: StoredPlan, incident: Incident, votes: Sequence[Vote]) -> dict[str, Any]:
    """One plan, with everything that an approver must see and nothing that is secret."""
    plan = stored.plan
    progress = (
        incident.plan if incident.plan is not None and incident.plan.plan_id == stored.plan_id else None
    )
    verification = plan.verification
    return {
        "id": stored.plan_id,
        "incident": plan.incident_id,
        "state": progress.state.value if progress is not None else "replaced",
        "remediation": plan.remediation,
        "target": str(plan.target),
        "policy": plan.policy,
        "mode": plan.mode,
        "what": plan.summary,
        "why": plan.why,
        "diff": plan.diff,
        "blast_radius": plan.blast_radius,
        "risk": plan.risk.value,
        "undo": plan.undo_sentence,
        "expires_seconds": None if plan.expires is None else plan.expires.total_seconds(),
        "ends": None if plan.ends is None else str(plan.ends),
        "notes": list(plan.notes),
        "verification": {
            "success": verification.success,
            "for_seconds": verification.success_for.total_seconds(),
            "within_seconds": verification.within.total_seconds(),
            "regression": verification.regression,
            "monitor_seconds": plan.monitor.total_seconds(),
        },
        "approval": {
            "from": list(plan.approval.groups),
            "needed": plan.approval.count,
            "given": [
                {
                    "by": vote.subject,
                    "known_by": vote.known_by,
                    "at": vote.at.isoformat(),
                    "reason": vote.reason,
                }
                for vote in votes
                if vote.decision == "approve"
            ],
            "reason_required": plan.approval.reason_required,
            "own_rights": plan.approval.own_rights,
            "expires_at": _time(progress.expires_at if progress is not None else None),
        },
        "digest": plan.digest,
        "guards": list(stored.guards),
        "objections": list(progress.objections) if progress is not None else [],
        "created_at": stored.created_at.isoformat(),
    }


def alert_view(row: AlertRow) -> dict[str, Any]:
    """One alert as it was last told."""
    return {
        "id": row.id,
        "identity": row.identity,
        "fingerprint": row.fingerprint,
        "labels": dict(row.labels),
        "annotations": dict(row.annotations),
        "source": row.origin,
        "incident": row.incident_id,
        "occurrences": [
            {
                "starts_at": one.starts_at.isoformat(),
                "ends_at": _time(one.ends_at),
                "end": one.how.value if one.how is not None else None,
            }
            for one in occurrences(row.facts)
        ],
        "first_seen": row.first_seen.isoformat(),
        "last_seen": row.last_seen.isoformat(),
        "deliveries": row.seen,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
