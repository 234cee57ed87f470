"""What others wrote, as it may be shown: a statement without its values, a line without its secrets.

Passwords, names and card numbers stand in a statement's literals. What cannot be told to be no literal is
left out. In a line of prose or of a log only what looks like a secret can be told.
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


# Longer lines are cut first, so that what they cost to look through is bounded.
_LINE = 2000
_SECRETS = (
    (re.compile(r"(://)[^/\s@]+@"), r"\1…@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 …"),
    (
        re.compile(
            r"(?i)([\w-]*(?:passw|secret|token|credential|api[_-]?key|authorization)[\w-]*\W{1,3})\S+"
        ),
        r"\1…",
    ),
    (re.compile(r"[A-Za-z0-9+/_=-]{24,}"), "…"),
)


def without_secrets(line: str) -> str:
    """The line, of two thousand characters at most, with an ellipsis for all that looks like a secret."""
    kept = line[:_LINE]
    for pattern, instead in _SECRETS:
        kept = pattern.sub(instead, kept)
    return kept


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
