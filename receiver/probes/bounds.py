"""How much of a list becomes a fact: conditions are evaluated in line, so what they walk over is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_ITEMS = 1000


def bounded(facts: Any) -> Any:
    """The same facts with lists cut to a thousand items; beside each one stands what was ``truncated``.

    The owner of a list that was cut gets ``truncated: {name of the list: how many there were}``.
    """
    if isinstance(facts, Mapping):
        cut = {
            str(name): len(entry)
            for name, entry in facts.items()
            if isinstance(entry, list | tuple) and len(entry) > MAX_ITEMS
        }
        found = {name: bounded(entry) for name, entry in facts.items()}
        return {**found, "truncated": cut} if cut else found
    if isinstance(facts, list | tuple):
        return [bounded(entry) for entry in facts[:MAX_ITEMS]]
    return facts
