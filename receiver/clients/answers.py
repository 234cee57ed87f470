"""What becomes of one write that was sent: three answers, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Applied:
    """It was written (or would have been): the object as it is then, and how that is known."""

    object: Mapping[str, Any]
    told: str = "answered"


@dataclass(frozen=True)
class Rejected:
    """The other side answered that it did not write; it never will write this request.

    ``reason`` is its own word, ``fields`` those its causes name, ``sentence`` is cut and redacted.
    """

    status: int
    reason: str
    fields: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class Unanswered:
    """Nobody knows whether it was written: no answer, or one that does not tell."""

    sentence: str


Answer = Applied | Rejected | Unanswered
