"""What is wrong with a policy file: where, in one sentence, and what to write instead.

The loader makes these, all of them at once; whoever shows them (command line, console, log) takes the text
or the JSON form from here, so that a complaint reads the same everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

MAX_EXCERPT = 160


class Severity(StrEnum):
    """An error keeps the whole set of files from being used; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Complaint:
    """One finding. Line and column count from 1, as editors do.

    ``excerpt`` is the source line, ``length`` how many of its characters are meant.
    """

    file: str
    line: int
    column: int
    severity: Severity
    message: str
    hint: str = ""
    excerpt: str = ""
    length: int = 1

    def __str__(self) -> str:
        """``file:line:column: error: sentence``, the source line, and a caret with the remedy."""
        head = f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"
        if not self.excerpt:
            return f"{head}\n       {self.hint}" if self.hint else head
        shown, before = self._window()
        carets = "^" * max(1, min(self.length, len(shown) - before))
        caret = f"       | {' ' * before}{carets} {self.hint}".rstrip()
        return f"{head}\n{self.line:>6} | {shown}\n{caret}"

    def as_github(self) -> str:
        """The same as a workflow command, which GitHub shows beside the line of a pull request."""
        where = f"file={_property(self.file)},line={self.line},col={self.column}"
        told = f"{self.message} ({self.hint})" if self.hint else self.message
        return f"::{self.severity.value} {where}::{_escaped(told)}"

    def as_json(self) -> dict[str, str | int]:
        """The same for machines."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "severity": self.severity.value,
            "message": self.message,
            "hint": self.hint,
            "excerpt": self.excerpt,
            "length": self.length,
        }

    def _window(self) -> tuple[str, int]:
        """The part of a long line around the place, and how many characters stand before it."""
        line = "".join(letter if letter.isprintable() else " " for letter in self.excerpt)
        before = min(self.column - 1, len(line))
        cut = max(0, before - MAX_EXCERPT // 2)
        return line[cut : cut + MAX_EXCERPT], before - cut


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], *, of: str = "known") -> str:
    """The remedy for a word that is not among these: the nearest, or all of them."""
    names = sorted(known)
    if (near := nearest(word, names)) is not None:
        return f'did you mean "{near}"?'
    return f"{of}: {', '.join(names)}" if names else f"{of}: none"


@dataclass(frozen=True)
class Problem:
    """A finding inside one expression, by offset into its text; None where no place can be told."""

    message: str
    hint: str = ""
    offset: int | None = None
    length: int = 1
    severity: Severity = Severity.ERROR
