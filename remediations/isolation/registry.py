"""Every way to isolate there is; outside packages add none."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.domain.isolation import Act, Isolation, IsolationSpec
from receiver.domain.remediation import ClusterReader
from remediations.isolation import block, node, quarantine

SPECS: tuple[IsolationSpec, ...] = (quarantine.SPEC, node.SPEC, block.SPEC)


def build(cluster: ClusterReader, monitoring: Iterable[str] = ()) -> dict[Act, Isolation]:
    """Each with the door it reads through; ``monitoring`` are hosts whose addresses are never shut out."""
    built: list[Isolation] = [
        quarantine.Quarantine(cluster),
        node.IsolateNode(cluster),
        block.BlockAddresses(cluster, monitoring),
    ]
    return {isolation.spec.act: isolation for isolation in built}
