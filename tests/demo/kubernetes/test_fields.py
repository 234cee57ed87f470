"""The table of known fields is the official client's, so that Strict refuses what the real one refuses."""

from __future__ import annotations

import json
import re
from importlib import resources

from kubernetes_asyncio.client import models

from receiver.demo.kubernetes.resources import RESOURCES

TABLE: dict[str, dict[str, str]] = json.loads(
    resources.files("receiver.demo.kubernetes").joinpath("fields.json").read_text()
)


def model_of(kind: str) -> str:
    """The type a field refers to, with a star if it is that of a map's values; empty for plain values."""
    if found := re.fullmatch(r"list\[(.*)\]", kind):
        return model_of(found[1])
    if found := re.fullmatch(r"dict\(str, ?(.*)\)|dict\[str, ?(.*)\]", kind):
        inner = model_of(found[1] or found[2])
        return f"*{inner}" if inner else ""
    return kind if hasattr(models, kind) else ""


def test_every_type_has_the_fields_of_the_client() -> None:
    for name, fields in TABLE.items():
        model = getattr(models, name)
        names = model.attribute_map
        assert fields == {names[key]: model_of(kind) for key, kind in model.openapi_types.items()}, name


def test_every_kind_and_every_type_it_refers_to_is_in_the_table() -> None:
    referred = {kind.lstrip("*") for fields in TABLE.values() for kind in fields.values() if kind}
    assert referred | {resource.model for resource in RESOURCES if resource.model} <= set(TABLE)
