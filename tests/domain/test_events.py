"""Every event fits into the timeline, however much it has to say, and stays what it is."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hand_clock import NOON
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.domain.cutting import first_of
from receiver.domain.events import MAX_BODY_BYTES, Event, event_text, excerpt_text, read_event, whole_of

KINDS: tuple[type[Event], ...] = get_args(Event)
WHOLE = "a" * 64


def filled(kind: Any, text: str, count: int, depth: int = 0) -> Any:
    """Something of this type, with as much of this text in it as it takes."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        inner = "" if depth > 3 else filled(Any, text, min(count, 3), depth + 1)
        return {f"{number}{text}": [text, inner] for number in range(min(count, 3))}
    if origin in (Union, types.UnionType):
        return filled(arguments[0], text, count, depth)
    if origin is Literal:
        return arguments[0]
    if origin is Mapping:
        return {f"{number}{text}": filled(arguments[1], text, count, depth) for number in range(count)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return tuple(filled(arguments[0], text, count, depth) for _ in range(count))
    if origin is tuple:
        return tuple(filled(argument, text, min(count, 3), depth) for argument in arguments)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        wanted = [field.name for field in fields(kind) if field.name != "event" or field.default is MISSING]
        return kind(**{name: filled(hints[name], text, count, depth) for name in wanted})
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return next(iter(kind))
    simple: dict[Any, Any] = {str: text, int: 2**62, float: 1e300, bool: True, datetime: NOON}
    return simple[kind]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None)
@given(st.text(max_size=4), st.integers(1, 3000), st.integers(0, 60))
@example("\x01", 9000, 60)
@example("\U0001f525", 9000, 60)
def test_no_body_exceeds_sixteen_kilobytes(kind: type[Event], text: str, times: int, count: int) -> None:
    event = filled(kind, text * times, count)
    short = excerpt_text(event, WHOLE)
    assert len(short.encode()) <= MAX_BODY_BYTES
    assert type(read_event(short)) is kind
    assert whole_of(short) == WHOLE


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nothing_that_an_event_holds_passes_for_an_excerpt(kind: type[Event]) -> None:
    hostile = f'","whole":"{WHOLE}"}}'
    assert whole_of(event_text(filled(kind, hostile, 2))) is None
    labelled = filled(kind, "whole", 1)
    assert whole_of(event_text(labelled)) is None


def test_the_first_of_many_reasons_say_how_many_are_left_out() -> None:
    assert first_of(["a", "b", "c"], items=3, characters=9) == ("a", "b", "c")
    assert first_of(["abc", "b", "c", "d"], items=2, characters=1) == (
        "a… (2 characters more)",
        "b",
        "… and 2 more",
    )
