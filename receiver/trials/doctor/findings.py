"""What a look at an installation comes to: findings, each with what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How one thing is. What could not be asked is not well, and not wrong either."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    CANNOT_TELL = "cannot tell"


class Area(StrEnum):
    """What a finding is about."""

    SETTINGS = "settings"
    FILES = "files"
    POLICIES = "policies"
    STORE = "store"
    EVIDENCE = "evidence"
    ALERTMANAGER = "alertmanager"
    PROMETHEUS = "prometheus"
    CLOCK = "clock"
    CLUSTER = "cluster"
    RIGHTS = "rights"
    DATABASES = "databases"
    ENDPOINTS = "endpoints"
    TELLING = "telling"


@dataclass(frozen=True)
class Finding:
    """One thing, how it is, and what to do: a sentence or the command. Only what is well needs no ``fix``."""

    area: Area
    verdict: Verdict
    sentence: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """The same for machines."""
        return {
            "area": self.area.value,
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "fix": self.fix,
        }


def well(area: Area, sentence: str) -> Finding:
    """Nothing to do."""
    return Finding(area, Verdict.OK, sentence)


def doubt(area: Area, sentence: str, fix: str) -> Finding:
    """It works, and something is lost or risked by it."""
    return Finding(area, Verdict.WARNING, sentence, fix)


def wrong(area: Area, sentence: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(area, Verdict.WRONG, sentence, fix)


def unknown(area: Area, sentence: str, fix: str) -> Finding:
    """It could not be asked."""
    return Finding(area, Verdict.CANNOT_TELL, sentence, fix)


def all_well(found: Iterable[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(one.verdict is not Verdict.WRONG for one in found)
