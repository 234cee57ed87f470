"""Alertmanager's matchers: ``app="api"``, ``severity=~"critical|page"``, and quoted UTF-8 label names.

Read as Alertmanager does since 0.27: by the classic rules where they fit, else by the UTF-8 rules. Patterns
are RE2 there and Python's here, so that what the two read differently is refused.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

from receiver.policy.complaints import Problem, Severity
from receiver.policy.model import Matcher

MAX_CHARACTERS = 1024

_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL)
_TOKEN = r"[^{}!=~,\\\"'`\s]+"  # noqa: S105 - a part of a grammar
_UTF8 = re.compile(
    rf"\s*(?P<name>\"(?:\\.|[^\"\\])*\"|{_TOKEN})\s*(?P<operator>=~|=|!=|!~)\s*(?P<value>\"(?:\\.|[^\"\\])*\"|{_TOKEN})\s*",
    re.DOTALL,
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)

# Python has these, RE2 does not.
_PYTHON_ONLY = re.compile(r"\(\?(?:<?[=!]|>|\(|P=|#)|(?<!\\)(?:\\\\)*\\[1-9Z]|[*+?}]\+")
# RE2 has these, Python does not, or reads them as something else.
_RE2_ONLY = re.compile(r"\[\[:|(?<!\\)(?:\\\\)*\\[pPCzQ]|\(\?[a-zA-Z-]*U|(?<!^)\(\?[aiLmsux-]+\)")


def parse(text: str) -> tuple[Matcher | None, list[Problem]]:
    """One matcher, or what is wrong with it; warnings come with a matcher."""
    if len(text) > MAX_CHARACTERS:
        return None, [Problem(f"the matcher has {len(text)} characters; {MAX_CHARACTERS} are allowed")]
    if text.lstrip().startswith("{") or re.search(r"\"\s*,\s*[\w\"]+\s*[!=]", text):
        return None, [Problem("several matchers in one entry", "write one matcher per entry, without braces")]
    found = _classic(text)
    if isinstance(found, Problem):
        utf8 = _utf8(text)
        if utf8 is None:
            return None, [found]
        found = utf8
    label, operator, value, offset = found
    if not label:
        return None, [Problem("a label name must not be empty")]
    if operator in ("=~", "!~"):
        problems = _pattern(value, offset)
        if any(problem.severity is Severity.ERROR for problem in problems):
            return None, problems
        return Matcher(label, operator, value), problems
    return Matcher(label, operator, value), []


def _classic(text: str) -> tuple[str, Any, str, int] | Problem:
    whole = _CLASSIC.fullmatch(text)
    if whole is None:
        return Problem(
            f"{text[:60]!r} is no matcher", 'write label="value", or one of the operators != =~ !~'
        )
    label, operator, raw = whole.groups()
    offset = whole.start(3)
    quoted = raw.startswith('"')
    body = raw[1:] if quoted else raw
    value: list[str] = []
    index = 0
    closed = False
    while index < len(body):
        letter = body[index]
        if letter == "\\" and index + 1 < len(body):
            index += 1
            value.append({"n": "\n", '"': '"', "\\": "\\"}.get(body[index], "\\" + body[index]))
        elif letter == '"':
            if not quoted or index + 1 < len(body):
                return Problem(
                    "a quote inside the value is not escaped", 'write \\" for it', offset + quoted + index
                )
            closed = True
        else:
            value.append(letter)
        index += 1
    if quoted and not closed:
        return Problem("the value's quote is not closed", 'end it with "', offset)
    return label, operator, "".join(value), offset + quoted


def _utf8(text: str) -> tuple[str, Any, str, int] | None:
    whole = _UTF8.fullmatch(text)
    if whole is None:
        return None
    try:
        label, value = _unquoted(whole["name"]), _unquoted(whole["value"])
    except ValueError:
        return None
    return label, whole["operator"], value, whole.start("value") + whole["value"].startswith('"')


def _unquoted(token: str) -> str:
    if not token.startswith('"'):
        return token

    def escape(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "xuU":
            return chr(int(code[1:], 16))
        if code.isdigit() and len(code) == 3:
            return chr(int(code, 8))
        if code not in _ESCAPES:
            raise ValueError(f"unknown escape \\{code}")
        return _ESCAPES[code]

    return _ESCAPE.sub(escape, token[1:-1])


def _pattern(pattern: str, offset: int) -> list[Problem]:
    for form, whose, other in (
        (_PYTHON_ONLY, "Alertmanager's patterns (RE2) do not know", "write the alternatives out"),
        (_RE2_ONLY, "is read differently here than by Alertmanager:", "write a plain class such as [a-z]"),
    ):
        if (found := form.search(pattern)) is not None:
            text = found.group()
            message = f"{whose} {text}" if form is _PYTHON_ONLY else f"the pattern {whose} {text}"
            return [Problem(message, other, offset + found.start(), len(text))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern, re.ASCII)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        position = getattr(error, "pos", None)
        return [
            Problem(
                f"the pattern does not compile: {getattr(error, 'msg', error)}",
                offset=offset + (position or 0),
            )
        ]
    problems: list[Problem] = []
    if re.search(r"[*+]\)[*+]|[*+]\)\{\d+,\}", pattern):
        problems.append(
            Problem(
                "a repetition inside a repetition takes exponential time here",
                "write it as one repetition",
                offset,
                len(pattern),
            )
        )
    if re.search(r"^\^|(?<!\\)\$$", pattern):
        problems.append(
            Problem(
                "patterns are anchored already", "leave out ^ and $", offset, len(pattern), Severity.WARNING
            )
        )
    return problems
