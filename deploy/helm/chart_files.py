"""Makes what stands in the chart but comes from elsewhere: Roles, admission policies, the table of values.

`make chart` runs it, with each change of policies, remediations or values; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from receiver.cli.main import app

CHART = Path(__file__).parent / "stanch"
BEGIN, END = "<!-- values: made by make chart -->\n", "<!-- end of values -->\n"
_LINE = re.compile(
    r"^(?P<indent> *)(?:(?P<key>[A-Za-z][A-Za-z0-9_]*):(?: (?P<value>.*))?|# ?(?P<words>.*))?$"
)


@dataclass(frozen=True)
class Value:
    """One value of the chart: its path, its default as it is written, and the comment above it."""

    path: str
    default: str
    meaning: str


def values(text: str) -> Iterator[Value]:
    """Every leaf of a values file in its order; a map that is given whole is one leaf.

    Raises ValueError for a line that is none of key, comment and blank.
    """
    path: list[tuple[int, str]] = []
    words: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.match(line)
        if found is None:
            raise ValueError(f"line {number}: {line!r}")
        if found["words"] is not None:
            words.append(found["words"])
        elif found["key"] is None:
            words.clear()
        else:
            indent = len(found["indent"])
            path = [*((depth, name) for depth, name in path if depth < indent), (indent, found["key"])]
            if found["value"]:
                name = ".".join(part for _, part in path)
                yield Value(name, found["value"], " ".join(words))
            words.clear()


def table(text: str) -> str:
    """The values as Markdown."""
    rows = [
        f"| `{one.path}` | `{one.default}` | {one.meaning.replace('|', '&#124;')} |" for one in values(text)
    ]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows]) + "\n"


def readme(text: str, values_text: str) -> str:
    """The README with the table of today in its place. Raises ValueError where there is no place."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the README has no place for the values")
    return f"{before}{BEGIN}\n{table(values_text)}\n{END}{after}"


def printed(*command: str) -> str:
    """What a command of ours prints. Raises RuntimeError where it fails."""
    done = CliRunner().invoke(app, list(command))
    if done.exit_code:
        raise RuntimeError(f"stanch {' '.join(command)}: {done.output}")
    return done.stdout


def made() -> dict[Path, str]:
    """Every file that is made, with its text."""
    values_text = (CHART / "values.yaml").read_text(encoding="utf-8")
    return {
        CHART / "files" / "rbac.json": printed("rbac", "--output", "json"),
        CHART / "files" / "admission.json": printed("admission", "--output", "json"),
        CHART / "README.md": readme((CHART / "README.md").read_text(encoding="utf-8"), values_text),
    }


if __name__ == "__main__":
    for file, content in made().items():
        if file.read_text(encoding="utf-8") != content:
            file.write_text(content, encoding="utf-8")
            print(f"made {file.relative_to(CHART)} anew", file=sys.stderr)
