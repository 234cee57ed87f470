"""The policy files as a JSON Schema, for editors: completion, and a red line under what is misspelt.

It knows the shape of a file, and suggests the names of probes and remediations; whether names exist,
conditions make sense and windows fit is told by `stanch policy check`.
"""

from __future__ import annotations

from typing import Any, assert_never

from receiver.policy.grammar import KINDS, METADATA, PURPOSE, Beside, Form, Key
from receiver.policy.vocabulary import Vocabulary

ID = "policy.v1.schema.json"
_DURATION = {"type": ["string", "integer"], "pattern": r"^(\d{1,5}d)?(\d{1,6}h)?(\d{1,7}m)?(\d{1,8}s)?$"}
_TEXT = {"type": "string"}


def schema(vocabulary: Vocabulary, beside: tuple[Beside, ...] = ()) -> dict[str, Any]:
    """One schema for every kind of file; ``kind`` says which part holds."""
    return _Schema(vocabulary).whole(beside)


class _Schema:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def whole(self, beside: tuple[Beside, ...]) -> dict[str, Any]:
        purposes = {**PURPOSE, **{one.kind: one.purpose for one in beside}}
        files = {kind: self._file(kind, keys) for kind, keys in KINDS.items()}
        files |= {one.kind: self._flat(one) for one in beside}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": ID,
            "title": "Stanch policy file",
            "type": "object",
            "required": ["apiVersion", "kind"],
            "properties": {
                "apiVersion": {"const": "stanch/v1"},
                "kind": {
                    "enum": [*files],
                    "description": "\n".join(f"{kind}: {purposes[kind]}" for kind in files),
                },
            },
            "allOf": [
                {"if": {"properties": {"kind": {"const": kind}}}, "then": file}
                for kind, file in files.items()
            ],
        }

    def _file(self, kind: str, keys: tuple[Key, ...]) -> dict[str, Any]:
        metadata = METADATA if kind == "Policy" else METADATA[:1]
        shape = self._table(metadata)
        if kind != "Policy":
            shape.pop("required", None)
        return {
            "required": ["metadata", "spec"] if kind == "Policy" else ["spec"],
            "properties": {"apiVersion": True, "kind": True, "metadata": shape, "spec": self._table(keys)},
            "additionalProperties": False,
        }

    def _flat(self, beside: Beside) -> dict[str, Any]:
        found = self._table(beside.keys)
        return {**found, "properties": {"apiVersion": True, "kind": True, **found["properties"]}}

    def _table(self, keys: tuple[Key, ...]) -> dict[str, Any]:
        fixed = [key for key in keys if not key.any_name]
        chosen = [key for key in keys if key.any_name]
        likely = {name: self._value(key) for key in chosen for name in self._names(key)}
        found: dict[str, Any] = {
            "type": "object",
            "properties": {**likely, **{key.name: self._value(key) for key in fixed}},
            "additionalProperties": self._value(chosen[0]) if chosen else False,
        }
        if needed := [key.name for key in fixed if key.needed]:
            found["required"] = needed
        return found

    def _value(self, key: Key) -> dict[str, Any]:
        told = key.meaning + (f" Default: {key.default}." if key.default else "")
        return {"description": told, **self._form(key)}

    def _form(self, key: Key) -> dict[str, Any]:
        match key.form:
            case Form.TEXT:
                return self._text(key)
            case Form.CEL | Form.PROMQL:
                return dict(_TEXT)
            case Form.WORD:
                return {"enum": list(key.words)}
            case Form.DURATION:
                return dict(_DURATION)
            case Form.WHOLE | Form.COUNT:
                return {"type": "integer", "minimum": int(key.form is Form.WHOLE)}
            case Form.YES:
                return {"type": "boolean"}
            case Form.SHARE:
                return {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}]}
            case Form.TEXTS | Form.MATCHERS:
                return {"type": "array", "items": self._text(key)}
            case Form.TEXT_OR_LIST:
                return {"anyOf": [self._text(key), {"type": "array", "items": self._text(key)}]}
            case Form.WORDS:
                return {"type": "array", "items": {"enum": list(key.words)}}
            case Form.VALUE:
                return {}
            case Form.TABLE:
                return self._table(key.keys)
            case Form.LIST:
                return {"type": "array", "items": self._table(key.keys)}
            case Form.ONE_OR_LIST:
                return {"anyOf": [self._table(key.keys), {"type": "array", "items": self._table(key.keys)}]}
            case _:
                assert_never(key.form)

    def _text(self, key: Key) -> dict[str, Any]:
        """A text, with the names that are likely; one that is not among them may come from elsewhere."""
        likely = [*key.words, *self._names(key)]
        return {"anyOf": [{"enum": likely}, dict(_TEXT)]} if likely else dict(_TEXT)

    def _names(self, key: Key) -> tuple[str, ...]:
        return () if key.suggests is None else self._vocabulary.names(key.suggests)
