"""The rows of the speed table, and how they are shown to people and to programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Row:
    """One measure. ``measured`` None: it was left out, and ``note`` says why.

    ``raw`` are the numbers of every run behind the median. ``lost`` is what was acknowledged and is gone.
    """

    name: str
    measured: float | None
    unit: str
    target: float | None = None
    better: Literal["higher", "lower"] = "higher"
    note: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)
    lost: int = 0

    @property
    def verdict(self) -> str:
        """Whether the target was met, where there is one."""
        if self.measured is None:
            return "left out"
        if self.lost:
            return "lost"
        if self.target is None:
            return "stated"
        met = self.measured >= self.target if self.better == "higher" else self.measured <= self.target
        return "met" if met else "missed"

    def document(self) -> dict[str, Any]:
        """The row as plain JSON."""
        return {
            "name": self.name,
            "measured": self.measured,
            "unit": self.unit,
            "target": self.target,
            "better": self.better,
            "verdict": self.verdict,
            "note": self.note,
            "lost": self.lost,
            "raw": dict(self.raw),
        }


def left_out(name: str, why: str) -> Row:
    """A row that could not be measured here."""
    return Row(name, None, "", note=why)


def median(values: Iterable[float]) -> float:
    """The middle of the runs."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def as_json(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The whole run as one JSON document."""
    return json.dumps({"about": dict(about), "rows": [row.document() for row in rows]}, indent=1)


def show(rows: Sequence[Row], about: Mapping[str, Any], console: Console) -> None:
    """The whole run as a table."""
    table = Table(title=", ".join(f"{name} {value}" for name, value in about.items()), title_justify="left")
    for heading in ("measure", "measured", "target", "verdict"):
        right = heading in ("measured", "target")
        table.add_column(heading, justify="right" if right else "left", no_wrap=right)
    for row in rows:
        sign = "" if row.target is None else ("≥ " if row.better == "higher" else "≤ ")
        name = Text(row.name)
        if row.note:
            name.append(f"\n{row.note}", style="dim")
        table.add_row(
            name,
            "-" if row.measured is None else f"{_number(row.measured)} {row.unit}".rstrip(),
            "-" if row.target is None else f"{sign}{_number(row.target)} {row.unit}".rstrip(),
            row.verdict,
        )
    console.print(table)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"
