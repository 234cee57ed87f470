"""Single rules of writing, as functions: what counts as a generation, what a patch does, what a Scale is.

Without state; the registry says in which order they hold.
"""

from __future__ import annotations

from typing import Any

from receiver.demo.kubernetes import patches
from receiver.demo.kubernetes.resources import DEPLOYMENTS, JsonObject, Resource
from receiver.demo.kubernetes.status import (
    ApiError,
    bad_request,
    patch_does_not_apply,
    unsupported_media_type,
)

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)


def counts(resource: Resource, new: JsonObject, old: JsonObject) -> bool:
    """Whether the change is one of those that `generation` counts."""
    if not resource.counts_generations:
        return False
    if new.get("spec") != old.get("spec"):
        return True
    # A Deployment's annotations count too, since they are copied to its ReplicaSets:
    # https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/apps/deployment/strategy.go
    return resource is DEPLOYMENTS and new["metadata"].get("annotations") != old["metadata"].get(
        "annotations"
    )


def applied_patch(document: JsonObject, content_type: str, patch: Any) -> Any:
    try:
        match content_type:
            case "application/json-patch+json":
                return patches.json_patch(document, patch)
            case "application/merge-patch+json":
                return patches.merge_patch(document, patch)
            case "application/strategic-merge-patch+json":
                return patches.strategic_merge(document, patch)
    except patches.DoesNotApplyError as error:
        raise patch_does_not_apply() from error
    except patches.MalformedPatchError as error:
        raise bad_request(str(error)) from error
    raise unsupported_media_type(content_type, PATCH_TYPES)


def check_preconditions(resource: Resource, obj: JsonObject, preconditions: JsonObject) -> None:
    """Raise 409 if the object is another one, or another version, than the client means."""
    name, uid, version = obj["metadata"]["name"], obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]
    message = ""
    if preconditions.get("uid", uid) != uid:
        message = (
            f"the UID in the precondition ({preconditions['uid']}) does not match the UID in record ({uid})"
        )
    elif preconditions.get("resourceVersion", version) != version:
        wanted = preconditions["resourceVersion"]
        message = (
            f"the ResourceVersion in the precondition ({wanted}) does not match "
            f"the ResourceVersion in record ({version})"
        )
    if message:
        message += ". The object might have been deleted and then recreated"
        full = f'Operation cannot be fulfilled on {resource.kind} "{name}": {message}'
        raise ApiError(409, "Conflict", full, {"name": name, "kind": resource.kind})


def scale_of(obj: JsonObject) -> JsonObject:
    """The Scale view of a workload."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = obj["spec"].get("selector", {}).get("matchLabels", {})
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: obj["metadata"][key] for key in kept if key in obj["metadata"]},
        "spec": {"replicas": obj["spec"].get("replicas", 1)},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }
