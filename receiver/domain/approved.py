"""The one type that lets a plan be carried out.

Kept apart so that an import contract can say who makes one: the approval rules, and nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from receiver.domain.plans import Plan


@dataclass(frozen=True)
class ApprovedPlan:
    """A plan whose own digest was approved, by these people or by this rule, until this moment."""

    plan_id: str
    plan: Plan
    digest: str
    approved_by: tuple[str, ...]
    execute_before: datetime
