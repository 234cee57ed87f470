"""What happens to an object between the request and the store: the rules of create, update, patch, delete.

Optimistic locking, immutability, defaults, `generation`, dry runs and field validation live here, in the
order in which the real server applies them; that order decides which refusal a client sees.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from receiver.demo.kubernetes import claims
from receiver.demo.kubernetes.defaults import initial_status, service_account_volume, with_defaults
from receiver.demo.kubernetes.managed import Writer, with_managed_fields
from receiver.demo.kubernetes.resources import (
    NAMESPACES,
    PODS,
    PVCS,
    RESOURCES,
    JsonObject,
    Resource,
)
from receiver.demo.kubernetes.rules import applied_patch, check_preconditions, counts, scale_of
from receiver.demo.kubernetes.status import (
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    undecodable_patch,
)
from receiver.demo.kubernetes.storage import Store, timestamp
from receiver.demo.kubernetes.validation import objections, unknown_fields, without_unknown_fields

FieldValidation = Literal["Strict", "Warn", "Ignore"]
# What is to be stored and what is stored now, None where there is none; raises where that is refused.
Admit = Callable[[JsonObject | None, JsonObject | None], None]


def unasked(new: JsonObject | None, old: JsonObject | None) -> None:
    """Nobody is asked about what the controllers do and what tests arrange."""


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How to write, apart from what."""

    manager: str = "unknown"
    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    subresource: str = ""
    admit: Admit = unasked


@dataclass(frozen=True)
class Outcome:
    """The object as it is now or, in a dry run, would be."""

    obj: JsonObject
    changed: bool
    warnings: tuple[str, ...] = ()


class Registry:
    """The rules over one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def read(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        obj = self.store.get(resource, namespace, name)
        if obj is None:
            raise not_found(resource, name)
        return obj

    def create(self, resource: Resource, namespace: str, body: JsonObject, options: WriteOptions) -> Outcome:
        body, warnings = self._decoded(resource, body, options)
        metadata = dict(body.get("metadata") or {})
        if metadata.get("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if "resourceVersion" in metadata:
            raise bad_request("resourceVersion should not be set on objects to be created")
        if resource.namespaced:
            self.read(NAMESPACES, "", namespace)
            metadata["namespace"] = namespace
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise bad_request("name or generateName is required")
            metadata["name"] = metadata["generateName"] + self.store.new_suffix()
        if self.store.get(resource, namespace, metadata["name"]):
            raise already_exists(resource, metadata["name"])
        metadata |= {"uid": self.store.new_uid(), "creationTimestamp": timestamp(self.store.now())}
        metadata.pop("generation", None)
        if resource.counts_generations:
            metadata["generation"] = 1
        obj = {**body, "metadata": metadata}
        obj.pop("status", None)
        obj = with_defaults(resource, obj)
        if resource is PODS:
            self._mount_token(obj)
        if causes := objections(resource, obj, None):
            raise invalid(resource, metadata["name"], causes)
        obj = with_managed_fields(obj, None, self._writer(options))
        if (status := initial_status(resource)) is not None:
            obj["status"] = status
        options.admit(obj, None)
        if not options.dry_run:
            obj = self.store.put(resource, obj)
        return Outcome(obj, not options.dry_run, warnings)

    def _mount_token(self, pod: JsonObject) -> None:
        volume = service_account_volume(self.store.new_suffix())
        mount = {
            "name": volume["name"],
            "readOnly": True,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        }
        pod["spec"].setdefault("volumes", []).append(volume)
        for container in pod["spec"].get("containers", []):
            container.setdefault("volumeMounts", []).append(mount)

    def replace(
        self, resource: Resource, namespace: str, name: str, body: JsonObject, options: WriteOptions
    ) -> Outcome:
        old = self.read(resource, namespace, name)
        if options.subresource == "scale":
            return self._rescaled(resource, old, body, options)
        body, warnings = self._decoded(resource, body, options)
        uid = (body.get("metadata") or {}).get("uid", "")
        if uid and uid != old["metadata"]["uid"]:
            real = old["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {real}"
            raise conflict(resource, name, why)
        return self._updated(resource, old, body, options, warnings)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: tuple[str, Any],
        options: WriteOptions,
    ) -> Outcome:
        """Apply ``patch``, given as its content type and its parsed body."""
        old = self.read(resource, namespace, name)
        if options.subresource == "scale":
            return self._rescaled(resource, old, applied_patch(scale_of(old), *patch), options)
        merged = applied_patch(old, *patch)
        if not isinstance(merged, dict) or not isinstance(merged.get("metadata"), dict):
            raise bad_request("the patched object is no object")
        unknown = [] if options.field_validation == "Ignore" else unknown_fields(resource, merged)
        said = [f'unknown field "{path}"' for path in unknown]
        if said and options.field_validation == "Strict":
            raise undecodable_patch(merged, ", ".join(said))
        merged = without_unknown_fields(resource, merged)
        return self._updated(resource, old, merged, options, tuple(said))

    def _decoded(
        self, resource: Resource, body: JsonObject, options: WriteOptions
    ) -> tuple[JsonObject, tuple[str, ...]]:
        if not isinstance(body, dict):
            raise bad_request("the body of the request is no object")
        kind = (body.get("apiVersion", resource.group_version), body.get("kind", resource.kind))
        if kind != (resource.group_version, resource.kind):
            raise bad_request(f"{kind[1]} in version {kind[0]!r} cannot be handled as a {resource.kind}")
        unknown = [] if options.field_validation == "Ignore" else unknown_fields(resource, body)
        said = tuple(f'unknown field "{path}"' for path in unknown)
        if said and options.field_validation == "Strict":
            prefix = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise bad_request(f"{prefix}: strict decoding error: {', '.join(said)}")
        return without_unknown_fields(resource, body), said

    def _rescaled(
        self, resource: Resource, old: JsonObject, scale: JsonObject, options: WriteOptions
    ) -> Outcome:
        """A Scale is a view: of what was sent only the replicas and the preconditions arrive."""
        sent = scale.get("metadata") or {}
        own = {key: sent[key] for key in ("resourceVersion", "uid") if sent.get(key)}
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        new = {
            **old,
            "metadata": {**old["metadata"], "resourceVersion": "", **own},
            "spec": {**old["spec"], "replicas": replicas},
        }
        outcome = self._updated(resource, old, new, options, ())
        return replace(outcome, obj=scale_of(outcome.obj))

    def _updated(
        self,
        resource: Resource,
        old: JsonObject,
        body: JsonObject,
        options: WriteOptions,
        warnings: tuple[str, ...],
    ) -> Outcome:
        before, metadata = old["metadata"], dict(body["metadata"])
        name = before["name"]
        if metadata.get("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if metadata.get("resourceVersion") and metadata["resourceVersion"] != before["resourceVersion"]:
            raise conflict(resource, name)
        metadata["uid"] = metadata.get("uid") or before["uid"]
        for field in ("namespace", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
            metadata.pop(field, None)
            if field in before:
                metadata[field] = before[field]
        new = self._separated(resource, old, {**body, "metadata": metadata}, options.subresource)
        new = with_defaults(resource, new)
        if causes := objections(resource, new, old):
            raise invalid(resource, name, causes)
        if resource is PVCS:
            claims.admit(self.store, new, old)
        if options.subresource == "scale":
            options.admit(scale_of(new), scale_of(old))
        else:
            options.admit(new, old)
        if new == old:
            return Outcome(old, False, warnings)
        if options.subresource != "status" and counts(resource, new, old):
            new["metadata"]["generation"] = before["generation"] + 1
        new = with_managed_fields(new, old, self._writer(options))
        if not options.dry_run:
            new = self.store.put(resource, new)
        return Outcome(new, not options.dry_run, warnings)

    @staticmethod
    def _separated(resource: Resource, old: JsonObject, new: JsonObject, subresource: str) -> JsonObject:
        """Keep the two doors apart: `/status` writes the status, the object itself everything else."""
        if "status" not in resource.subresources:
            return new
        if subresource == "status":
            metadata = {**old["metadata"], "uid": new["metadata"]["uid"]}
            if annotations := new["metadata"].get("annotations"):
                metadata["annotations"] = annotations
            return {**old, "metadata": metadata, "status": new.get("status", {})}
        separated = {key: value for key, value in new.items() if key != "status"}
        if "status" in old:
            separated["status"] = old["status"]
        return separated

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: JsonObject,
        *,
        dry_run: bool = False,
        admit: Admit = unasked,
    ) -> JsonObject:
        """Remove the object and return it as it was last."""
        obj = self.read(resource, namespace, name)
        check_preconditions(resource, obj, body.get("preconditions") or {})
        admit(None, obj)
        if not dry_run:
            self.store.remove(resource, obj)
            if resource is NAMESPACES:
                for each in RESOURCES:
                    for inhabitant in self.store.objects(each, name) if each.namespaced else []:
                        self.store.remove(each, inhabitant)
        return obj

    def write_status(self, resource: Resource, obj: JsonObject, status: JsonObject, manager: str) -> None:
        """A controller's door: replace the status (and keep annotations as ``obj`` has them)."""
        namespace = obj["metadata"].get("namespace", "")
        old = self.read(resource, namespace, obj["metadata"]["name"])
        same = obj["metadata"].get("annotations") == old["metadata"].get("annotations")
        if same and status == old.get("status"):
            return
        body = {**obj, "metadata": {**obj["metadata"], "resourceVersion": ""}, "status": status}
        self._updated(resource, old, body, WriteOptions(manager=manager, subresource="status"), ())

    def touch(self, resource: Resource, namespace: str, name: str, manager: str) -> JsonObject:
        """A status-only write in which nothing worth reading changed: another version, nothing else."""
        old = copy.deepcopy(self.read(resource, namespace, name))
        entries = old["metadata"].setdefault("managedFields", [])
        written = {"manager": manager, "operation": "Update", "apiVersion": resource.group_version}
        written |= {"time": timestamp(self.store.now()), "fieldsType": "FieldsV1", "subresource": "status"}
        entries[:] = [e for e in entries if (e["manager"], e.get("subresource")) != (manager, "status")] + [
            {**written, "fieldsV1": {"f:status": {}}}
        ]
        return self.store.put(resource, old)

    def _writer(self, options: WriteOptions) -> Writer:
        return Writer(options.manager, timestamp(self.store.now()), options.subresource)
