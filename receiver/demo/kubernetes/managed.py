"""Who set which field: the `managedFields` of an object, kept as an Update-style writer keeps them.

Server-side apply is left out. What is here suffices to ask "who changed this?": the fields that a write
changed belong to its manager from then on, and a removed field belongs to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from receiver.demo.kubernetes.patches import MERGE_KEYS
from receiver.demo.kubernetes.resources import JsonObject

Path = tuple[str, ...]

# Set by the server itself; nobody's fields.
_SERVERS_OWN = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}
)


@dataclass(frozen=True)
class Writer:
    """Who writes, through which door and when."""

    manager: str
    time: str
    subresource: str = ""


def with_managed_fields(new: JsonObject, old: JsonObject | None, writer: Writer) -> JsonObject:
    """Return ``new`` with `managedFields` as they are after ``writer`` turned ``old`` into it."""
    before = dict(_fields(old or {}))
    after = dict(_fields(new))
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    kept: list[JsonObject] = []
    own: set[Path] = set(changed)
    for entry in (old or {}).get("metadata", {}).get("managedFields", []):
        paths = set(_unfold(entry["fieldsV1"])) & set(after)
        if (entry["manager"], entry.get("subresource", "")) == (writer.manager, writer.subresource):
            own |= paths
        elif rest := paths - changed:
            kept.append({**entry, "fieldsV1": _fold(rest)})
    if own:
        mine: JsonObject = {
            "manager": writer.manager,
            "operation": "Update",
            "apiVersion": new["apiVersion"],
            "time": writer.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _fold(own),
        }
        if writer.subresource:
            mine["subresource"] = writer.subresource
        kept.append(mine)
    return {**new, "metadata": {**new["metadata"], "managedFields": kept}}


def _fields(obj: JsonObject) -> Iterator[tuple[Path, Any]]:
    for key, value in obj.items():
        if key == "metadata":
            own = {name: part for name, part in value.items() if name not in _SERVERS_OWN}
            yield from _walk(own, ("f:metadata",))
        elif key not in ("apiVersion", "kind"):
            yield from _walk(value, (f"f:{key}",), key)


def _walk(value: Any, path: Path, key: str = "") -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _walk(part, (*path, f"f:{name}"), name)
    elif isinstance(value, list) and key in MERGE_KEYS and all(isinstance(item, dict) for item in value):
        for item in value:
            merge_key = MERGE_KEYS[key]
            step = "k:" + json.dumps({merge_key: item.get(merge_key)}, separators=(",", ":"))
            yield from _walk(item, (*path, step))
    else:
        yield path, value


def _fold(paths: set[Path]) -> JsonObject:
    folded: JsonObject = {}
    for path in sorted(paths):
        at = folded
        for step in path:
            at = at.setdefault(step, {})
    return folded


def _unfold(fields: JsonObject, path: Path = ()) -> Iterator[Path]:
    for step, inner in fields.items():
        if inner:
            yield from _unfold(inner, (*path, step))
        else:
            yield (*path, step)
