"""How policies have done, counted over the plans."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from receiver.domain.outcomes import Outcome, Tally, merged
from receiver.store.schema import plans
from receiver.store.timeline import seconds

SHADOW = "shadow"


def tallies(tx: Connection, *, since: datetime | None = None) -> list[Tally]:
    """One for each policy and remediation that ever planned something, or has since then."""
    statement = select(
        plans.c.policy,
        plans.c.remediation,
        plans.c.mode,
        plans.c.outcome,
        func.count().label("proposed"),
        func.count(plans.c.approved_at).label("approved"),
        func.count(plans.c.executed_at).label("executed"),
    ).group_by(plans.c.policy, plans.c.remediation, plans.c.mode, plans.c.outcome)
    if since is not None:
        statement = statement.where(plans.c.created_at >= seconds(since))
    return merged(
        Tally(
            policy=row.policy,
            remediation=row.remediation,
            proposed=row.proposed,
            shadowed=row.proposed if row.mode == SHADOW else 0,
            approved=row.approved,
            executed=row.executed,
            outcomes={} if row.outcome is None else {Outcome(row.outcome): row.proposed},
        )
        for row in tx.execute(statement)
    )
