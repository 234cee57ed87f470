"""What people owe after an attack: the authority's clock, the assessment, new credentials, four attestations.

Playbook INC-007, rows 007.4 and 007.6 to 007.8. Nothing of it is done by a machine; it is counted, asked for
and written down. It outlives the lock, and stands in the way of closing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Question(StrEnum):
    """The four questions of the assessment."""

    DATA = "data"
    SYSTEMS = "systems"
    ENTRY = "entry"
    INSIDE = "inside"


ASKED: Mapping[Question, str] = {
    Question.DATA: "which data was reached",
    Question.SYSTEMS: "which systems were reached",
    Question.ENTRY: "how did they get in",
    Question.INSIDE: "are they still inside",
}


class Attestation(StrEnum):
    """What somebody stands up for by name before such an incident is closed."""

    ACCESS_REVOKED = "access-revoked"
    PATCHED = "patched"
    REBUILT = "rebuilt"
    ROTATED = "rotated"


@dataclass(frozen=True)
class Credential:
    """Something that whoever was in the scope may have read."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Said:
    """What one person said, and when."""

    by: str
    text: str
    at: datetime


@dataclass(frozen=True)
class SecurityRecord:
    """What is known and done of it; ``aware_at`` is when the 72 hours of the GDPR began (article 33)."""

    aware_at: datetime
    locked_at: datetime | None = None
    warned: int = 0
    answers: Mapping[Question, Said] = field(default_factory=dict)
    credentials: tuple[Credential, ...] = ()
    # Whether it was looked which there are.
    listed: bool = False
    renewed: Mapping[str, Said] = field(default_factory=dict)
    attested: Mapping[Attestation, Said] = field(default_factory=dict)
    # Told to the authority, or not required and why; either ends the clock.
    authority: Said | None = None
    filed: bool = False

    @property
    def unanswered(self) -> tuple[Question, ...]:
        """The questions that nobody has answered."""
        return tuple(question for question in Question if question not in self.answers)

    @property
    def not_renewed(self) -> tuple[Credential, ...]:
        """The credentials of which nobody has shown that they are new."""
        return tuple(one for one in self.credentials if str(one) not in self.renewed)

    @property
    def missing_to_close(self) -> tuple[str, ...]:
        """What stands in the way of closing, in words."""
        missing = [f"the answer: {ASKED[question]}?" for question in self.unanswered]
        missing += [f"proof that {one} is new" for one in self.not_renewed]
        missing += [f"the attestation {one.value}" for one in Attestation if one not in self.attested]
        if self.authority is None:
            missing.append("whether the authority was told, or why that is not required")
        return tuple(missing)
