"""The one type that lets an isolation be carried out; it takes no `Plan`.

Kept apart so that an import contract can say who makes one: the rules of isolation, and nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.domain.isolation import IsolationPlan


@dataclass(frozen=True)
class ApprovedIsolation:
    """An isolation whose own digest a security lead, a deputy or a standing approval said yes to."""

    isolation_id: str
    plan: IsolationPlan
    approved_by: str
