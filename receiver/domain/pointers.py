"""JSON pointers into Kubernetes objects (RFC 6901), for reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pointed_at(found: Mapping[str, Any], pointer: str) -> Any:
    """What stands at a JSON pointer of the object; None where nothing does."""
    value: Any = found
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


def escaped(name: str) -> str:
    """A key as one part of a pointer."""
    return name.replace("~", "~0").replace("/", "~1")
