"""Values over time in promtool's notation: ``0x10 0.35x40``, ``0+600x40``, ``_x5``, ``stale``.

Pure. As in promtool, ``axn`` is the value and n more, and ``a+bxn`` climbs n times.
"""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Any

import promql_parser

from receiver.policy.complaints import Problem

# A day of samples at a second each; a longer series is a slip of the keyboard.
MAX_SAMPLES = 86_400
MAX_SELECTOR = 4096

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?Inf|NaN"
_ITEM = re.compile(
    rf"(?P<start>{_NUMBER})(?:(?P<sign>[-+])(?P<step>{_NUMBER}))?(?:x(?P<times>\d{{1,6}}))?"
    r"|(?P<gap>_)(?:x(?P<gaps>\d{1,6}))?|(?P<stale>stale)"
)
_SELECTOR = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{.*\})?", re.DOTALL)


class NoSample(Enum):
    """What stands where there is no value: nothing was scraped, or the series ended."""

    MISSING = "_"
    STALE = "stale"


Sample = float | NoSample


def samples(text: str) -> tuple[tuple[Sample, ...], list[Problem]]:
    """The samples that the text names, one an interval, and what is wrong with it."""
    found: list[Sample] = []
    problems: list[Problem] = []
    for word in re.finditer(r"\S+", text):
        item = _ITEM.fullmatch(word.group())
        if item is None or (item["sign"] and item["times"] is None):
            hint = "write 0.35x40 for a value, 0+5x40 for one that climbs, _x5 for no data"
            message = f"{word.group()[:40]!r} is no series of values"
            problems.append(Problem(message, hint, word.start(), len(word.group())))
            continue
        found += _samples_of(item)
        if len(found) > MAX_SAMPLES:
            message = f"more than {MAX_SAMPLES} samples"
            return (), [*problems, Problem(message, "take a longer interval", word.start())]
    if not found and not problems:
        problems.append(Problem("there is no value", "write 0.35x40"))
    return tuple(found), problems


def _samples_of(item: re.Match[str]) -> list[Sample]:
    if item["stale"]:
        return [NoSample.STALE]
    if item["gap"]:
        return [NoSample.MISSING] * int(item["gaps"] or 1)
    start, times = _number(item["start"]), int(item["times"] or 0)
    if item["step"] is None:
        return [start] * (times + 1)
    step = _number(item["step"]) * (-1 if item["sign"] == "-" else 1)
    return [start + step * number for number in range(times + 1)]


def _number(text: str) -> float:
    return math.nan if text == "NaN" else float(text.replace("Inf", "inf"))


def labelled(text: str) -> tuple[str, dict[str, str], list[Problem]]:
    """The name and the labels of ``gl_requests_total{app="greenlang-api"}``, and what is wrong with it."""
    problem = Problem(f"{text[:80]!r} is no series", 'write name{label="value"}')
    if len(text) > MAX_SELECTOR or _SELECTOR.fullmatch(text) is None:
        return "", {}, [problem]
    try:
        selector: Any = promql_parser.parse(text)
    except ValueError:
        return "", {}, [problem]
    found = selector.matchers.matchers
    if any(matcher.op != promql_parser.MatchOp.Equal for matcher in found):
        return "", {}, [problem]
    return selector.name, {matcher.name: matcher.value for matcher in found}, []
