"""What an outside endpoint is asked for, and what it answered: plain values, without the wire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# The group of what is not Kubernetes' to grant: the file of endpoints does.
HTTP = "http"
# So many requests of a warm-up begin within a second (playbook, row 002.3c). That much is one step: between
# two every guard is asked again, so that a kill switch holds after a second.
REQUESTS_A_SECOND = 5


class EndpointKind(StrEnum):
    """What stands at an endpoint, and so which probe may look at it, or whether it may be warmed up."""

    STATUS_PAGE = "statusPage"
    HEALTH = "health"
    CIRCUIT_BREAKERS = "circuitBreakers"
    WARM_UP = "warmUp"


@dataclass(frozen=True)
class Answered:
    """One answer: how long its head took, and its JSON where that was asked for."""

    status: int
    milliseconds: float
    document: Any = None

    @property
    def well(self) -> bool:
        """Whether it is the answer of somebody who is well; redirects are not followed, so they are none."""
        return 200 <= self.status < 300
