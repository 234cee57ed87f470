"""What an outside endpoint is asked for, and what it answered: plain values, without the wire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# The group of what is not Kubernetes' to grant: the file of endpoints does.
HTTP = "http"
# So many requests are one step of a warm-up, and so many begin within a second (playbook, row 002.3c).
# Between two steps every guard is asked again.
REQUESTS_A_STEP = 20
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
