"""The three kinds of patch an API server takes, as pure functions over JSON.

Each gets the present object and the patch and returns a new object; the given ones stay as they are.
Versions, defaults and validation come afterwards and live elsewhere.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from receiver.demo.kubernetes.resources import JsonObject

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "conditions": "type",
    "addresses": "type",
    "ownerReferences": "uid",
}
"""Lists that a strategic merge keys by a field; every other list is replaced whole."""

MERGED_SETS = frozenset({"finalizers"})
"""Lists of plain values that a strategic merge unites."""


class DoesNotApplyError(Exception):
    """The patch is well formed but does not fit this object: a failed test, a missing parent."""


class MalformedPatchError(Exception):
    """The body is no patch of this kind."""


def json_patch(document: JsonObject, operations: object) -> Any:
    """RFC 6902, in the six operations it has."""
    if not isinstance(operations, list):
        raise MalformedPatchError("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    result: Any = copy.deepcopy(document)
    for operation in operations:
        if not isinstance(operation, dict) or "op" not in operation or "path" not in operation:
            raise MalformedPatchError("an operation needs op and path")
        result = _operate(result, operation)
    return result


def _operate(document: Any, operation: JsonObject) -> Any:
    op, path = operation["op"], _pointer(operation["path"])
    match op:
        case "test":
            if _get(document, path) != operation.get("value"):
                raise DoesNotApplyError(f"test failed at {operation['path']}")
            return document
        case "add" | "replace":
            return _set(document, path, copy.deepcopy(operation.get("value")), insert=op == "add")
        case "remove":
            return _remove(document, path)
        case "copy" | "move":
            source = _pointer(operation["from"])
            value = copy.deepcopy(_get(document, source))
            if op == "move":
                document = _remove(document, source)
            return _set(document, path, value, insert=True)
    raise MalformedPatchError(f"unknown operation {op!r}")


def _pointer(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise MalformedPatchError(f"no JSON pointer: {path!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _index(items: Sequence[Any], step: str, *, end: int) -> int:
    if step == "-":
        return len(items)
    if not step.isdigit() or int(step) >= end:
        raise DoesNotApplyError(f"no index {step}")
    return int(step)


def _get(document: Any, path: Sequence[str]) -> Any:
    for step in path:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step != "-":
            document = document[_index(document, step, end=len(document))]
        else:
            raise DoesNotApplyError(f"nothing at {step}")
    return document


def _set(document: Any, path: Sequence[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        if not insert and last not in parent:
            raise DoesNotApplyError(f"nothing to replace at {last}")
        parent[last] = value
    elif isinstance(parent, list):
        if insert:
            parent.insert(_index(parent, last, end=len(parent) + 1), value)
        else:
            parent[_index(parent, last, end=len(parent))] = value
    else:
        raise DoesNotApplyError(f"no place for {last}")
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    _get(document, path)
    if not path:
        return None
    parent, last = _get(document, path[:-1]), path[-1]
    del parent[last if isinstance(parent, dict) else int(last)]
    return document


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: maps merge, null removes, everything else (lists too) replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_merge(target: Any, patch: Any, *, key: str = "") -> Any:
    """Kubernetes' own merge: lists with a merge key merge item by item, `$patch` may delete or replace."""
    if isinstance(patch, dict):
        return _strategic_map(target if isinstance(target, dict) else {}, patch)
    if isinstance(patch, list):
        present = target if isinstance(target, list) else []
        if key in MERGED_SETS:
            return list(dict.fromkeys([*present, *patch]))
        if key in MERGE_KEYS:
            return _strategic_list(present, patch, MERGE_KEYS[key])
    return copy.deepcopy(patch)


def _strategic_map(target: JsonObject, patch: JsonObject) -> JsonObject:
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    fields = {name: value for name, value in patch.items() if not name.startswith("$")}
    if directive == "replace":
        return copy.deepcopy(fields)
    result = copy.deepcopy(target)
    if "$retainKeys" in patch:
        result = {name: value for name, value in result.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            result[field] = [item for item in result.get(field, []) if item not in value]
    for name, value in fields.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = strategic_merge(result.get(name), value, key=name)
    for name, order in patch.items():
        if name.startswith("$setElementOrder/"):
            _reorder(result, name.partition("/")[2], order)
    return result


def _strategic_list(target: list[Any], patch: list[Any], merge_key: str) -> list[Any]:
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(i) for i in patch if not (isinstance(i, dict) and "$patch" in i)]
    result = [copy.deepcopy(item) for item in target]
    added: list[Any] = []
    for item in patch:
        if merge_key not in item:
            raise MalformedPatchError(f"map: {item} does not contain declared merge key: {merge_key}")
        at = next((i for i, old in enumerate(result) if old.get(merge_key) == item[merge_key]), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            added.append(_strategic_map({}, item))
        else:
            result[at] = _strategic_map(result[at], item)
    # Recorded: a new item without `$setElementOrder` comes before those that were there.
    return added + result


def _reorder(result: JsonObject, field: str, order: list[Any]) -> None:
    items = result.get(field)
    if not isinstance(items, list):
        return
    key = MERGE_KEYS.get(field)
    wanted = [entry[key] if key else entry for entry in order]

    def rank(item: Any) -> int:
        value = item.get(key) if key else item
        return wanted.index(value) if value in wanted else len(wanted)

    items.sort(key=rank)
