"""Every way to isolate there is; outside packages add none."""

from __future__ import annotations

from receiver.domain.isolation import Act, Isolation, IsolationSpec
from receiver.domain.remediation import ClusterReader
from remediations.isolation import node, quarantine

SPECS: tuple[IsolationSpec, ...] = (quarantine.SPEC, node.SPEC)


def build(cluster: ClusterReader) -> dict[Act, Isolation]:
    """Each with the door it reads through."""
    built: list[Isolation] = [quarantine.Quarantine(cluster), node.IsolateNode(cluster)]
    return {isolation.spec.act: isolation for isolation in built}
