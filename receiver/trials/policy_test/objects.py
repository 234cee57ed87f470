"""Cluster files: objects as ``kubectl get -o yaml`` prints them, one or a List, to be put into the world."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from receiver.policy.complaints import did_you_mean
from receiver.policy.document import read, value_of
from receiver.trials.policy_test.model import JsonObject


@cache
def kinds() -> Mapping[tuple[str, str], bool]:
    """Every kind that the small cluster has, by apiVersion and kind; whether it lives in a namespace."""
    # Imported on first use: checking policies that have no tests must not wait for a server's modules.
    from receiver.demo.kubernetes.resources import RESOURCES

    return {(resource.group_version, resource.kind): resource.namespaced for resource in RESOURCES}


def read_objects(file: str, content: str) -> tuple[JsonObject, ...] | str:
    """The objects of one file, or why there are none."""
    document = read(file, content)
    if document.root is None or document.complaints:
        first = next(iter(document.complaints), None)
        return f"{file} cannot be read" if first is None else str(first).splitlines()[0]
    found = value_of(document.root)
    if not isinstance(found, dict):
        return f"{file} holds no object"
    items = found.get("items") if found.get("kind") == "List" else [found]
    if not isinstance(items, list):
        return f"{file} holds a List without items"
    for number, item in enumerate(items):
        if (wrong := _wrong(item)) is not None:
            return f"{file}: object {number}: {wrong}"
    return tuple(items)


def _wrong(item: object) -> str | None:
    if not isinstance(item, dict):
        return "it is no mapping"
    kind = (str(item.get("apiVersion")), str(item.get("kind")))
    if kind not in kinds():
        known = [each for _, each in kinds()]
        return f"the small cluster has no {kind[1]} of {kind[0]}; {did_you_mean(kind[1], known)}"
    metadata = item.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return f"the {kind[1]} has no name"
    if kinds()[kind] and not isinstance(metadata.get("namespace"), str):
        return f"{kind[1]} {metadata['name']} names no namespace"
    return None
