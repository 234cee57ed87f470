"""What an outside endpoint is asked for, and what it answered: plain values, without the wire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class EndpointKind(StrEnum):
    """What stands at an endpoint, and so which probe may look at it."""

    STATUS_PAGE = "statusPage"
    HEALTH = "health"
    CIRCUIT_BREAKERS = "circuitBreakers"


@dataclass(frozen=True)
class Answered:
    """One answer: how long its head took, and its JSON where that was asked for."""

    status: int
    milliseconds: float
    document: Any = None
