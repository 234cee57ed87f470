"""An SQL statement as it may be shown: its shape, without the values that somebody wrote into it.

Passwords, names and card numbers stand in literals. What cannot be told to be no literal is left out.
"""

from __future__ import annotations

import re

SHOWN = 200
# Fields, variables and parameters whose name says that their value is nobody's business.
SECRET_NAME = re.compile(r"secret|token|passw|credential|api_?key|private", re.IGNORECASE)
# What follows cannot be told apart any more: perhaps a literal that was cut off.
_REST = "…"

_PARTS = re.compile(
    r"""
      (?P<comment> --[^\n]* )
    | (?P<block> /\* )
    | (?P<name> "(?:[^"]|"")*" )
    | (?P<escaped> (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<literal> (?:(?<![\w$])(?:[bBnNxX]|[uU]&))?'(?:[^']|'')*' )
    | (?P<dollar> (?<![\w$])\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?)\$.*?\$(?P=tag)\$ )
    | (?P<number> (?<![\w$])(?:\d|\.\d)[\w.]* )
    | (?P<open> ["'] | (?<![\w$])\$(?!\d) )
    """,
    re.VERBOSE | re.DOTALL,
)


def redacted(statement: str) -> str:
    """The statement on one line with ``?`` for each literal, cut to two hundred characters."""
    kept: list[str] = []
    at = 0
    while (found := _PARTS.search(statement, at)) is not None:
        kept.append(statement[at : found.start()])
        at = found.end()
        match found.lastgroup:
            case "name":
                kept.append(found.group())
            case "comment":
                kept.append(" ")
            case "block":
                at = _end_of_comment(statement, at)
                kept.append(" ")
            case "open":
                kept.append(_REST)
                at = len(statement)
            case "literal" if "\\" in found.group():
                # Whether a backslash escapes in it depends on a setting that is not known here.
                kept.append(_REST)
                at = len(statement)
            case _:
                kept.append("?")
    kept.append(statement[at:])
    return " ".join("".join(kept).split())[:SHOWN]


def _end_of_comment(statement: str, at: int) -> int:
    """Where the comment that was opened before ``at`` ends; PostgreSQL's comments nest."""
    depth = 1
    for found in re.compile(r"/\*|\*/").finditer(statement, at):
        depth += 1 if found.group() == "/*" else -1
        if depth == 0:
            return found.end()
    return len(statement)
