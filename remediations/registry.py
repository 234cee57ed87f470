"""Every remediation there is, in one list. A new one is added here and nowhere else."""

from __future__ import annotations

from receiver.domain.plans import Spec
from receiver.domain.remediation import ClusterReader, Remediation
from remediations.kubernetes import evict, restart, rollback, scale, set_env, set_resources

SPECS: tuple[Spec, ...] = (
    rollback.SPEC,
    scale.SPEC,
    set_env.SPEC,
    restart.SPEC,
    set_resources.SPEC,
    evict.SPEC,
)


def build(cluster: ClusterReader) -> dict[str, Remediation]:
    """The remediations by name, each with the door it needs."""
    built: list[Remediation] = [
        rollback.Rollback(cluster),
        scale.Scale(cluster),
        set_env.SetEnv(cluster),
        restart.Restart(cluster),
        set_resources.SetResources(cluster),
        evict.Evict(cluster),
    ]
    return {remediation.spec.name: remediation for remediation in built}


def catalogue() -> dict[str, Spec]:
    """What each declares of itself, without a door: enough to check policies against."""
    return {spec.name: spec for spec in SPECS}
