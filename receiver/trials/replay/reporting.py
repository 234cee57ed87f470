"""How a replay is told: a table, a page for a pull request, or JSON. Texts of alerts are made harmless."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.domain.severity import Severity
from receiver.terminal import screen
from receiver.trials.replay.differing import Kind, Outcome, Pair
from receiver.trials.replay.ways import Way

UNKNOWN = "unknown (no history)"
COLUMNS = ("OPENED", "INCIDENT", "SEVERITY", "PROPOSED", "MODE", "PAGED", "DIFFERENT")
GRAVE = frozenset({Kind.AUTO_ADDED, Kind.PAGE_REMOVED, Kind.SEVERITY_LOWERED, Kind.PROPOSAL_REMOVED})


@dataclass(frozen=True)
class Summary:
    """What went in, and what came of it."""

    deliveries: int
    skipped: int
    alerts: int
    incidents: int
    differing: int
    unknown_old: int
    unknown_new: int
    unanswered: int = 0

    def __str__(self) -> str:
        told = [
            f"{self.deliveries} deliveries ({self.skipped} unreadable, skipped)",
            f"{self.alerts} alerts",
            f"{self.incidents} incidents",
            f"{self.differing} differ",
            f"decisions unknown for want of history: {self.unknown_old} old, {self.unknown_new} new",
        ]
        told += [f"{self.unanswered} ranges not answered by Prometheus"] if self.unanswered else []
        return "; ".join(told)

    def as_json(self) -> dict[str, int]:
        """The same for machines."""
        return {
            "deliveries": self.deliveries,
            "skipped": self.skipped,
            "alerts": self.alerts,
            "incidents": self.incidents,
            "differing": self.differing,
            "unknown_old": self.unknown_old,
            "unknown_new": self.unknown_new,
            "unanswered": self.unanswered,
        }


def cells(pair: Pair) -> tuple[str, ...]:
    """The row of an incident; a cell holds one text, or old -> new."""
    return (
        pair.opened_at.strftime("%Y-%m-%d %H:%M:%S"),
        pair.title,
        *(_cell(read, pair) for read in (_severity, _proposed, _mode, _paged)),
        ", ".join(pair.kinds),
    )


def _cell(read: Callable[[Outcome], str], pair: Pair) -> str:
    old = "no incident" if pair.old is None else read(pair.old)
    new = "no incident" if pair.new is None else read(pair.new)
    return old if old == new else f"{old} -> {new}"


def _severity(outcome: Outcome) -> str:
    return Severity(outcome.severity).value if outcome.severity is not None else "unknown"


def _proposed(outcome: Outcome) -> str:
    return "; ".join(_named(way) for way in outcome.ways) or "nothing"


def _named(way: Way) -> str:
    return way.remediation if way.certain else f"{way.remediation}? {UNKNOWN}"


def _mode(outcome: Outcome) -> str:
    told = (f"{way.does} {way.approval}".strip() for way in outcome.ways)
    return "; ".join(dict.fromkeys(told)) or "-"


def _paged(outcome: Outcome) -> str:
    return ("no", "perhaps", "yes")[outcome.paging]


def as_table(found: Sequence[Pair]) -> None:
    """The incidents on standard output."""
    screen.table(
        COLUMNS,
        [
            [screen.plain(cell) for cell in cells(pair)[:-1]]
            + [screen.plain(cells(pair)[-1], "bold red" if GRAVE & set(pair.kinds) else "")]
            for pair in found
        ],
        none="no incident would have been different",
    )


def as_markdown(found: Sequence[Pair], summary: Summary) -> str:
    """A page for a pull request."""
    lines = [f"{summary}.", ""]
    if found:
        lines += [f"| {' | '.join(name.lower() for name in COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
        lines += [f"| {' | '.join(_quoted(cell) for cell in cells(pair))} |" for pair in found]
    else:
        lines.append("No incident would have been different.")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    harmless = screen.clean(text).replace("`", "'").replace("|", "\\|")
    return f"`{harmless}`" if harmless else "-"


def as_json(found: Sequence[Pair], summary: Summary, failed: Sequence[Kind]) -> dict[str, Any]:
    """The whole for programs."""
    return {
        "ok": not failed,
        "failed_on": list(failed),
        "summary": summary.as_json(),
        "items": [
            {
                "key": pair.key,
                "title": pair.title,
                "opened_at": pair.opened_at.isoformat(),
                "different": list(pair.kinds),
                "old": _outcome(pair.old),
                "new": _outcome(pair.new),
            }
            for pair in found
        ],
    }


def _outcome(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {
        "severity": outcome.severity,
        "policies": list(outcome.policies),
        "proposed": [
            {
                "policy": way.policy,
                "remediation": way.remediation,
                "decision": "true" if way.certain else UNKNOWN,
                "mode": way.does,
                "pages": way.pages,
                "approval": way.approval,
            }
            for way in outcome.ways
        ],
        "paged": _paged(outcome),
        "resolved_at": _iso(outcome.resolved_at),
        "reopened": outcome.reopened,
        "unknown": outcome.unknown,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
