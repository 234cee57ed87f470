"""The page of what stands for each row of the incident response playbook, made from its data file.

`python -m remediations.playbook docs/playbook.yaml > docs/playbook.md` writes it; a test holds what it
names to what there is.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import yaml

HEAD = """# The playbook, row by row

Made from `playbook.yaml` beside it. Each row of the incident response playbook, scenarios INC-001 to INC-007,
with what stands for it here: a *remediation* that a policy proposes ([all of them](remediations.md)), or that
a policy of yours may; a *probe* or a *query* that looks; a way of *isolation* or a *command* in a
[security incident](security-incidents.md); or a *hand-over* that a person reads and no machine does.
"""
SCENARIOS = {
    "001": "INC-001: High error rate",
    "002": "INC-002: Performance degradation",
    "003": "INC-003: Resource exhaustion",
    "004": "INC-004: Agent execution failures",
    "005": "INC-005: Database issues",
    "006": "INC-006: External API failures",
    "007": "INC-007: Security incident",
}


class By(StrEnum):
    """What stands for a row."""

    REMEDIATION = "remediation"
    UNOFFERED = "unoffered"
    PROBE = "probe"
    HANDOVER = "handover"
    QUERY = "query"
    ISOLATION = "isolation"
    COMMAND = "command"


WORDS = {
    By.UNOFFERED: "remediation (in no shipped policy)",
    By.HANDOVER: "hand-over",
}


@dataclass(frozen=True)
class Row:
    """One row: what the playbook asks, and what there is for it; ``note`` says what of it is otherwise."""

    row: str
    asks: str
    by: By
    name: str
    note: str = ""

    @property
    def scenario(self) -> str:
        """The number of its scenario, such as 001."""
        return self.row.split(".")[0]


def read(text: str) -> tuple[Row, ...]:
    """The rows of the data file. Raises ValueError and TypeError where an entry is none."""
    return tuple(Row(**{**entry, "by": By(entry["by"])}) for entry in yaml.safe_load(text))


def page(rows: Iterable[Row]) -> str:
    """The rows as Markdown, scenario by scenario."""
    found = list(rows)
    counted = Counter(row.by for row in found)
    told = ", ".join(f"{WORDS.get(by, by.value)} {counted[by]}" for by in By)
    parts = [HEAD, f"Of {len(found)} rows: {told}.\n"]
    for number, title in SCENARIOS.items():
        parts += [f"## {title}\n", "| row | the playbook | here | |\n|---|---|---|---|"]
        parts += [_line(row) for row in found if row.scenario == number]
        parts.append("")
    return "\n".join(parts)


def _line(row: Row) -> str:
    word = WORDS.get(row.by, row.by.value)
    told = f"stanch {row.name}" if row.by is By.COMMAND else row.name
    named = f"{word}: {told}" if row.by is By.HANDOVER else f"{word} `{told}`"
    return f"| {row.row} | {row.asks} | {named} | {row.note} |"


if __name__ == "__main__":
    sys.stdout.write(page(read(Path(sys.argv[1]).read_text(encoding="utf-8"))))
