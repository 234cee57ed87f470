"""The policy files as a JSON Schema, for editors: completion, and a red line under what is misspelt.

It knows the shape of a file and nothing else; whether names exist, conditions make sense and windows fit is
told by `stanch policy check`.
"""

from __future__ import annotations

from typing import Any, assert_never

from receiver.policy.grammar import KINDS, METADATA, PURPOSE, Form, Key

ID = "policy.v1.schema.json"
_DURATION = {"type": ["string", "integer"], "pattern": r"^(\d{1,5}d)?(\d{1,6}h)?(\d{1,7}m)?(\d{1,8}s)?$"}
_TEXTS = {"type": "array", "items": {"type": "string"}}


def schema() -> dict[str, Any]:
    """One schema for every kind of file; ``kind`` says which part holds."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "Stanch policy file",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"const": "stanch/v1"},
            "kind": {
                "enum": [*KINDS],
                "description": "\n".join(f"{kind}: {PURPOSE[kind]}" for kind in KINDS),
            },
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}},
                "then": _file(kind, keys),
            }
            for kind, keys in KINDS.items()
        ],
    }


def _file(kind: str, keys: tuple[Key, ...]) -> dict[str, Any]:
    metadata = METADATA if kind == "Policy" else METADATA[:1]
    shape = _table(metadata)
    if kind != "Policy":
        shape.pop("required", None)
    return {
        "required": ["metadata", "spec"] if kind == "Policy" else ["spec"],
        "properties": {"apiVersion": True, "kind": True, "metadata": shape, "spec": _table(keys)},
        "additionalProperties": False,
    }


def _table(keys: tuple[Key, ...]) -> dict[str, Any]:
    fixed = [key for key in keys if not key.any_name]
    chosen = [key for key in keys if key.any_name]
    found: dict[str, Any] = {
        "type": "object",
        "properties": {key.name: _value(key) for key in fixed},
        "additionalProperties": _value(chosen[0]) if chosen else False,
    }
    if needed := [key.name for key in fixed if key.needed]:
        found["required"] = needed
    return found


def _value(key: Key) -> dict[str, Any]:
    told = key.meaning + (f" Default: {key.default}." if key.default else "")
    return {"description": told, **_form(key)}


def _form(key: Key) -> dict[str, Any]:
    match key.form:
        case Form.TEXT | Form.CEL | Form.PROMQL:
            return {"type": "string"}
        case Form.WORD:
            return {"enum": list(key.words)}
        case Form.DURATION:
            return dict(_DURATION)
        case Form.WHOLE:
            return {"type": "integer", "minimum": 1}
        case Form.YES:
            return {"type": "boolean"}
        case Form.SHARE:
            return {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}]}
        case Form.TEXTS | Form.MATCHERS:
            return dict(_TEXTS)
        case Form.WORDS:
            return {"type": "array", "items": {"enum": list(key.words)}}
        case Form.VALUE:
            return {}
        case Form.TABLE:
            return _table(key.keys)
        case Form.LIST:
            return {"type": "array", "items": _table(key.keys)}
        case Form.ONE_OR_LIST:
            return {"anyOf": [_table(key.keys), {"type": "array", "items": _table(key.keys)}]}
        case _:
            assert_never(key.form)
