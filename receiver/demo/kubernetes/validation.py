"""What the API server refuses: fields it does not know, values that cannot be, changes that may not be.

Returns causes instead of raising, so that all of them reach the person at once. The known fields come from
a table beside this module, one type a line; a test compares it with the official client's models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources as package_files
from typing import Any

from receiver.demo.kubernetes import claims
from receiver.demo.kubernetes.resources import (
    DEPLOYMENTS,
    HPAS,
    PODS,
    PVCS,
    REPLICASETS,
    JsonObject,
    Resource,
)
from receiver.demo.kubernetes.selectors import LabelSelector
from receiver.demo.kubernetes.status import Cause, invalid_value, required

# TotalAnnotationSizeLimitB of apimachinery: names and values together.
MOST_ANNOTATION_BYTES = 256 * 1024


@cache
def _known_fields() -> dict[str, dict[str, str]]:
    text = package_files.files(__package__).joinpath("fields.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, str]] = json.loads(text)
    return table


def unknown_fields(resource: Resource, obj: JsonObject) -> list[str]:
    """Paths such as `spec.replicaz`, in the object's order."""
    return list(_unknown(obj, resource.model, ""))


def _unknown(value: Any, model: str, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, model, f"{path}[{index}]")
        return
    if not isinstance(value, dict):
        return
    if model.startswith("*"):
        for key, item in value.items():
            yield from _unknown(item, model[1:], f"{path}.{key}" if path else key)
        return
    fields = _known_fields().get(model)
    for key, item in value.items() if fields else ():
        here = f"{path}.{key}" if path else key
        assert fields is not None
        if key not in fields:
            yield here
        elif fields[key] and not here.startswith("metadata.managedFields"):
            yield from _unknown(item, fields[key], here)


def without_unknown_fields(resource: Resource, obj: JsonObject) -> JsonObject:
    """Return ``obj`` with what the server does not know pruned."""
    pruned: JsonObject = _pruned(obj, resource.model)
    return pruned


def _pruned(value: Any, model: str) -> Any:
    if isinstance(value, list):
        return [_pruned(item, model) for item in value]
    if not isinstance(value, dict) or model == "V1ManagedFieldsEntry":
        return value
    if model.startswith("*"):
        return {key: _pruned(item, model[1:]) for key, item in value.items()}
    fields = _known_fields().get(model)
    if not fields:
        return value
    return {key: _pruned(item, fields[key]) for key, item in value.items() if key in fields}


def objections(resource: Resource, new: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Everything that is wrong with ``new``; ``old`` is None at creation."""
    causes = _annotations(new)
    if old is not None:
        causes += _immutable(resource, new, old)
    spec = new.get("spec", {})
    if resource in (DEPLOYMENTS, REPLICASETS):
        causes += _workload(spec)
    elif resource is PODS:
        causes += _containers(spec, "spec")
    elif resource is HPAS:
        causes += _autoscaler(spec)
    return causes


def _annotations(new: JsonObject) -> list[Cause]:
    annotations: dict[str, str] = new["metadata"].get("annotations") or {}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in annotations.items())
    if size <= MOST_ANNOTATION_BYTES:
        return []
    why = f"Too long: may not be more than {MOST_ANNOTATION_BYTES} bytes"
    return [Cause("metadata.annotations", why, "FieldValueTooLong")]


def _immutable(resource: Resource, new: JsonObject, old: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    uid = new["metadata"].get("uid")
    if uid != old["metadata"]["uid"]:
        # Twice, as recorded: two validators of the real server both look at the metadata.
        causes += [invalid_value("metadata.uid", uid, "field is immutable")] * 2
    if resource is PVCS:
        causes += claims.changed(new, old)
    if resource in (DEPLOYMENTS, REPLICASETS) and new["spec"].get("selector") != old["spec"]["selector"]:
        causes.append(invalid_value("spec.selector", new["spec"].get("selector"), "field is immutable"))
    return causes


def _workload(spec: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    replicas = spec.get("replicas", 1)
    if not isinstance(replicas, int) or replicas < 0:
        causes.append(invalid_value("spec.replicas", replicas, "must be greater than or equal to 0"))
    template = spec.get("template", {})
    labels = template.get("metadata", {}).get("labels", {})
    if not spec.get("selector"):
        causes.append(required("spec.selector"))
    elif not LabelSelector.of_object(spec["selector"]).matches(labels):
        why = "`selector` does not match template `labels`"
        causes.append(invalid_value("spec.template.metadata.labels", labels, why))
    return causes + _containers(template.get("spec", {}), "spec.template.spec")


def _containers(pod_spec: JsonObject, path: str) -> list[Cause]:
    containers = pod_spec.get("containers", [])
    if not containers:
        return [required(f"{path}.containers")]
    causes: list[Cause] = []
    for index, container in enumerate(containers):
        for field in ("name", "image"):
            if not container.get(field):
                causes.append(required(f"{path}.containers[{index}].{field}"))
    return causes


def _autoscaler(spec: JsonObject) -> list[Cause]:
    least, most = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if most < 1:
        return [invalid_value("spec.maxReplicas", most, "must be greater than 0")]
    if most < least:
        why = "must be greater than or equal to `minReplicas`"
        return [invalid_value("spec.maxReplicas", most, why)]
    return []
