"""Which incident, plan and target a log line is about, for every line that is written meanwhile.

Lines are read by more people than a security incident is: one of those is named by its number alone.
"""

from __future__ import annotations

from structlog.contextvars import bind_contextvars, unbind_contextvars

from receiver.domain.incidents import Incident
from receiver.domain.plans import Plan

_NAMES = ("incident", "plan", "target")


def bind_fields(incident: Incident, plan: Plan | None) -> None:
    """From here on every line of this task carries what is known of the incident."""
    unbind_contextvars(*_NAMES)
    bind_contextvars(**fields_of(incident, plan))


def fields_of(incident: Incident, plan: Plan | None) -> dict[str, int | str]:
    """The incident's number, and its plan and that plan's target where the incident is no restricted one."""
    if incident.lockdown is not None:
        return {"incident": incident.id}
    found: dict[str, int | str] = {"incident": incident.id}
    if incident.plan is not None:
        found["plan"] = incident.plan.plan_id
    if plan is not None:
        found["target"] = plan.target.key
    return found
