"""Evidence first: what is locked is read and sealed before anything else happens in a security incident.

Reading modifies nothing, so nobody has to approve it (playbook row 007.3a). The lock stands already; what
cannot be had is a gap and holds nothing up.
"""

from __future__ import annotations

from receiver.evidence.selection import Subject
from receiver.pipeline.claim import Claim
from receiver.pipeline.steps import Result
from receiver.pipeline.world import World


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
    return Result((sealed,))
