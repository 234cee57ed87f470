"""Evidence first: what is locked is read and sealed before anything else happens in a security incident.

Reading modifies nothing, so nobody has to approve it (playbook row 007.3a). The lock stands already; what
cannot be had is a gap and holds nothing up.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from receiver.domain import events as ev
from receiver.domain.capacity import MOST_PODS
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.locks import CLUSTER
from receiver.evidence.credentials import credentials_of
from receiver.evidence.selection import Subject, concerned, name_of, targets
from receiver.pipeline.claim import Claim
from receiver.pipeline.steps import Result
from receiver.pipeline.world import World

LISTING_WITHIN = timedelta(seconds=15)
MOST_CREDENTIALS = 100


async def capture_step(world: World, claim: Claim) -> Result:
    """One capture of everything that this incident's lock covers."""
    incident, lockdown = claim.incident, claim.incident.lockdown
    assert lockdown is not None
    ours = (policy for policy in world.loaded.policies.policies if policy.security)
    subject = Subject(
        incident.id,
        lockdown.since,
        lockdown.scopes,
        tuple(alert.labels for alert in incident.alerts.values()),
        tuple(sorted({namespace for policy in ours for namespace in policy.target.namespaces})),
    )

    def alive() -> None:
        # It may take longer than a step that hangs is given; each answer shows that this one does not.
        claim.began = world.steady()

    sealed = await world.evidence.capture(subject, world.cluster, now=world.clock.now, on_progress=alive)
    return Result((sealed, await _credentials(world, subject)))


async def _credentials(world: World, subject: Subject) -> ev.CredentialsListed:
    """The checklist of what has to be made new, from what the locked pods were given."""
    pods: list[dict[str, Any]] = []
    gaps: list[str] = []
    try:
        async with asyncio.timeout(LISTING_WITHIN.total_seconds()):
            for namespace in targets(subject).namespaces:
                try:
                    pods += await world.cluster.list_objects("v1", "Pod", namespace, limit=MOST_PODS)
                except (TemporaryError, PermanentError) as error:
                    gaps.append(f"namespace {namespace}: {error}")
    except TimeoutError:
        gaps.append("not every namespace answered in time")
    locked = set(concerned(pods, subject.scopes))
    mine = [pod for pod in pods if CLUSTER in subject.scopes or name_of(pod) in locked]
    found = credentials_of(mine)
    if len(found) > MOST_CREDENTIALS:
        gaps.append(f"{len(found) - MOST_CREDENTIALS} more; list them by hand")
    return ev.CredentialsListed(found[:MOST_CREDENTIALS], tuple(gaps))
