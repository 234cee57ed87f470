"""What the ways to isolate read and say alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# As many as a person reads on a card.
MOST_NAMED = 5
ENFORCED = (
    "network policies hold only where the cluster's network enforces them, and connections that are open "
    "may live on"
)


def listed(names: Sequence[str], between: str = ", ") -> str:
    """The first of them; anybody in a namespace can make hundreds of objects."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return between.join(names[:MOST_NAMED]) + more


def addresses_of(pod: Mapping[str, Any]) -> set[str]:
    """A pod's own, of both kinds; none before it has any."""
    status = pod.get("status") or {}
    found = {str(one.get("ip")) for one in status.get("podIPs") or []}
    return found | ({str(status["podIP"])} if status.get("podIP") else set())
