"""Whether a database has connections left for more pods, or for larger pools.

The playbook's own numbers ask for more than there are: ten replicas with a pool of 50 are 500 connections,
of a default of 100 (rows 001.2c, 001.4b).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def pods_at_most(deployment: Mapping[str, Any]) -> int:
    """How many pods there are at once while a rolling update replaces them."""
    replicas = int(deployment["spec"].get("replicas", 1))
    strategy = deployment["spec"].get("strategy", {})
    if strategy.get("type") == "Recreate":
        return replicas
    surge = str(strategy.get("rollingUpdate", {}).get("maxSurge", "25%"))
    return replicas + (math.ceil(replicas * int(surge[:-1]) / 100) if surge.endswith("%") else int(surge))


def too_many(usage: Mapping[str, Any], *, wanted: int, given_back: int, connection: str) -> str | None:
    """Why so many connections are more than there are; None where they fit. ``given_back`` are those in use
    now that the same pods would no longer hold.
    """
    used, usable = int(usage["used"]), int(usage["usable"])
    others = max(0, used - given_back)
    if others + wanted <= usable:
        return None
    in_use = f"{used} of {usable} connections of {connection} are in use"
    return f"{in_use}; this would ask for {wanted}, beside {others} of others"
