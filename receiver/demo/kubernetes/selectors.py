"""Choosing objects: label selectors, field selectors, and a list cut into pages.

Pure; what cannot be parsed is a 400 as on the real server.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.demo.kubernetes.resources import JsonObject
from receiver.demo.kubernetes.status import ApiError, bad_request, expired

_SET_BASED = re.compile(r"^(?P<key>[\w./-]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUALITY = re.compile(r"^(?P<key>[\w./-]+)\s*(?P<op>==|!=|=)\s*(?P<value>[\w.-]*)$")
_EXISTS = re.compile(r"^(?P<not>!?)\s*(?P<key>[\w./-]+)$")


@dataclass(frozen=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
        raise ValueError(self.operator)


@dataclass(frozen=True)
class LabelSelector:
    """Conditions that must all hold; none at all holds for everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """From a query: `app=api,tier in (a,b),!canary`."""
        parts = [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]
        return cls(tuple(_requirement(part) for part in parts))

    @classmethod
    def of_object(cls, selector: JsonObject | None) -> LabelSelector:
        """From `matchLabels` and `matchExpressions`."""
        selector = selector or {}
        equal = [Requirement(k, "In", frozenset({v})) for k, v in selector.get("matchLabels", {}).items()]
        rest = [
            Requirement(e["key"], e["operator"], frozenset(e.get("values", [])))
            for e in selector.get("matchExpressions", [])
        ]
        return cls((*equal, *rest))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


def _requirement(text: str) -> Requirement:
    if found := _SET_BASED.match(text):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return Requirement(found["key"], "In" if found["op"] == "in" else "NotIn", values)
    if found := _EQUALITY.match(text):
        return Requirement(
            found["key"], "NotIn" if found["op"] == "!=" else "In", frozenset({found["value"]})
        )
    if found := _EXISTS.match(text):
        return Requirement(found["key"], "DoesNotExist" if found["not"] else "Exists")
    raise bad_request(f'unable to parse requirement: found "{text}", expected: a label requirement')


@dataclass(frozen=True)
class Selection:
    """What a list or a watch asked for."""

    labels: LabelSelector = LabelSelector()
    fields: tuple[tuple[str, bool, str], ...] = ()

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Selection:
        fields: list[tuple[str, bool, str]] = []
        for part in filter(None, query.get("fieldSelector", "").split(",")):
            found = re.fullmatch(r"([\w.]+)\s*(!=|==|=)\s*(.*)", part)
            if not found:
                raise bad_request(f"invalid field selector: {part!r}")
            fields.append((found[1], found[2] != "!=", found[3]))
        return cls(LabelSelector.parse(query.get("labelSelector", "")), tuple(fields))

    def matches(self, obj: JsonObject | None) -> bool:
        if obj is None:
            return False
        return self.labels.matches(obj["metadata"].get("labels", {})) and all(
            (_at(obj, path) == value) is wanted for path, wanted, value in self.fields
        )


def _at(obj: JsonObject, path: str) -> str:
    value: Any = obj
    for step in path.split("."):
        value = value.get(step, "") if isinstance(value, dict) else ""
    return str(value)


def truth(text: str | None) -> bool:
    """A flag in a query, as Go reads it: clients in Python send `True`."""
    return text in ("1", "t", "T", "true", "TRUE", "True")


@dataclass(frozen=True)
class Page:
    """Part of a list, and where the next part begins."""

    items: Sequence[JsonObject]
    metadata: JsonObject


def page(stored: Sequence[JsonObject], query: Mapping[str, str], *, version: int, oldest: int) -> Page:
    """Choose from ``stored`` (sorted by key) what ``query`` selects, cut by `limit` and `continue`."""
    selection = Selection.parse(query)
    start = ""
    if token := query.get("continue"):
        start, version = _read_token(token)
        if version < oldest:
            raise expired(version, oldest)
    rest = [obj for obj in stored if _key(obj) > start]
    limit = int(query.get("limit", "0") or 0)
    items: list[JsonObject] = []
    while rest and not (limit and len(items) == limit):
        obj = rest.pop(0)
        if selection.matches(obj):
            items.append(obj)
    metadata: JsonObject = {"resourceVersion": str(version)}
    if rest:
        # Recorded: whether anything is left is asked before the selector, so a last page may be empty.
        metadata["continue"] = _write_token(_key(items[-1]), version)
        if not (query.get("labelSelector") or query.get("fieldSelector")):
            metadata["remainingItemCount"] = len(rest)
    return Page(items, metadata)


def _key(item: JsonObject) -> str:
    return f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def _write_token(after: str, version: int) -> str:
    token = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": after})
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[str, int]:
    try:
        decoded = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return str(decoded["start"]), int(decoded["rv"])
    except (ValueError, KeyError, TypeError) as error:
        raise ApiError(400, "BadRequest", f"continue key is not valid: {error}") from error
