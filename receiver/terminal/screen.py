"""What the commands print on: harmless text, colours on a terminal only, tables, and questions.

Every text that came from elsewhere passes `clean` or `plain`: label values, sentences and diffs are written
by strangers and must neither steer the terminal nor be read as markup.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

# Wide enough for a table in a file or a pipe, where nobody folds lines.
PIPED_WIDTH = 180

SEVERITY_STYLES = {"P0": "bold white on red", "P1": "bold red", "P2": "yellow", "P3": "cyan"}
STATE_STYLES = {
    "investigating": "yellow",
    "identified": "yellow",
    "monitoring": "cyan",
    "resolved": "green",
    "awaiting-approval": "bold yellow",
    "undo-asked": "bold yellow",
    "unknown-effect": "bold red",
    "still-sick": "red",
    "refused": "red",
    "verified": "green",
}


def clean(value: object, *, lines: bool = False) -> str:
    """The text with everything replaced that a terminal could act on; line ends stay where ``lines``."""
    return "".join(_harmless(character, lines=lines) for character in str(value))


def _harmless(character: str, *, lines: bool) -> str:
    if character == "\n" and lines:
        return character
    if character == "\t":
        return "    " if lines else " "
    # Control, format (the bidirectional overrides among them), surrogate, private use, unassigned, and the
    # two separators that some terminals take for a line's end.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return "\N{REPLACEMENT CHARACTER}"
    return character


def plain(value: object, style: str = "", *, lines: bool = False) -> Text:
    """Foreign text for the screen: harmless, and never markup."""
    return Text(clean("" if value is None else value, lines=lines), style=style)


def out() -> Console:
    """Standard output, as it is now."""
    return _console(stderr=False)


def err() -> Console:
    """Standard error: what went wrong, and what is shown before a question."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    piped = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, width=PIPED_WIDTH if piped else None
    )


def complain(sentence: str) -> None:
    """What went wrong, on standard error; a line for each line."""
    console = err()
    for line in sentence.splitlines() or [""]:
        console.print(Text.assemble(("stanch: ", "bold red"), clean(line)), soft_wrap=True)


def print_json(document: object, *, indent: int | None = 2) -> None:
    """A document for programs; ASCII, so that it is harmless on a terminal as well."""
    sys.stdout.write(json.dumps(document, indent=indent, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def print_page(text: str) -> None:
    """A page as it is, for a file or a pull request; whoever wrote it made it harmless."""
    sys.stdout.write(text)
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[RenderableType]], *, none: str) -> None:
    """A table, or the sentence for when there is nothing to show."""
    found = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        found.add_column(name, no_wrap=name in ("ID", "SEVERITY", "STATUS", "STATE", "PLAN", "RISK"))
    for row in rows:
        found.add_row(*row)
    out().print(found if found.row_count else Text(none, style="dim"))


def severity(value: object) -> Text:
    """A severity in its colour; None is unknown."""
    return plain(value or "unknown", SEVERITY_STYLES.get(str(value), "magenta"))


def state(value: object) -> Text:
    """A status or a plan's state in its colour."""
    return plain(value, STATE_STYLES.get(str(value), ""))


def moment(value: Any) -> str:
    """A time as people read it, in UTC; what is no time is shown as it came."""
    if value is None or value == "":
        return "-"
    try:
        found = (
            datetime.fromtimestamp(value, UTC)
            if isinstance(value, int | float)
            else datetime.fromisoformat(str(value)).astimezone(UTC)
        )
    except (ValueError, OverflowError, OSError):
        return clean(value)
    return found.strftime("%Y-%m-%d %H:%M:%S UTC")


def on_terminal() -> bool:
    """Whether a person sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> str:
    """What the person types; empty at the end of input. On standard error, so that output stays clean."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def confirmed(question: str) -> bool:
    """Whether the person says yes; anything else is a no."""
    return ask(f"{question} [y/N] ").lower() in ("y", "yes")
