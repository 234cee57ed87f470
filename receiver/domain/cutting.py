"""What is too long for a timeline, made short so that it says so.

Whoever cuts keeps the whole elsewhere and names it; an excerpt is for people and for the time after the whole
was dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")

# Maps and lists of what is cut hold at most this many levels of each other.
LEVELS = 3


def excerpt(value: T, *, characters: int, items: int) -> T:
    """The same noun with texts, lists and maps cut to this many characters and items.

    Fields stay; what an `Any` holds too deep becomes an ellipsis.
    """
    cut: T = _cut(value, characters, items, LEVELS)
    return cut


def first_of(texts: Sequence[str], *, items: int, characters: int) -> tuple[str, ...]:
    """The first of these, each cut, and how many were left out."""
    kept = tuple(_text(text, characters) for text in texts[:items])
    left_out = len(texts) - items
    return kept if left_out <= 0 else (*kept, f"… and {left_out} more")


def _cut(value: Any, characters: int, items: int, levels: int) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value,
            **{
                field.name: _cut(getattr(value, field.name), characters, items, levels)
                for field in fields(value)
            },
        )
    if isinstance(value, str):
        return _text(value, characters)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not levels:
        return "…"
    if isinstance(value, Mapping):
        return {
            _text(str(name), characters): _cut(entry, characters, items, levels - 1)
            for name, entry in list(value.items())[:items]
        }
    return tuple(_cut(entry, characters, items, levels - 1) for entry in value[:items])


def _text(text: str, characters: int) -> str:
    if len(text) <= characters:
        return text
    return f"{text[:characters]}… ({len(text) - characters} characters more)"
