"""The refusals of an API server, worded as the real one words them.

Handlers and rules raise `ApiError`; the web edge turns it into an answer. Clients learn from `reason` and
`details`, so these are exact; the texts are too, since people read them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from receiver.demo.kubernetes.resources import JsonObject, Resource


class ApiError(Exception):
    """The request is refused; carries the `Status` object that says why."""

    def __init__(self, code: int, reason: str, message: str, details: JsonObject | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        if details is not None:
            self.body["details"] = details


@dataclass(frozen=True)
class Cause:
    """One field that is wrong, and how."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


def invalid_value(field: str, value: object, why: str) -> Cause:
    """`Invalid value: -1: must be ...`"""
    return Cause(field, f"Invalid value: {json.dumps(value)}: {why}")


def forbidden_field(field: str, why: str) -> Cause:
    """`Forbidden: field can not be ...`"""
    return Cause(field, f"Forbidden: {why}", "FieldValueForbidden")


def required(field: str, why: str = "") -> Cause:
    """`Required value`"""
    return Cause(field, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


def _details(resource: Resource, name: str, kind: str | None = None) -> JsonObject:
    details: JsonObject = {"name": name, "group": resource.group, "kind": kind or resource.plural}
    return {key: value for key, value in details.items() if value}


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def no_such_path() -> ApiError:
    """A resource unknown in a group that is served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """Admission refuses what the rules of the object itself allow."""
    message = f'{resource.qualified} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, _details(resource, name))


def denied(
    resource: Resource, name: str, policy_and_binding: tuple[str, str], why: str, reason: str
) -> ApiError:
    """An admission policy refuses it: a 422 in the words of a 403, unless the policy gives another reason."""
    policy, binding = policy_and_binding
    said = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}"
    error = forbidden(resource, name, said)
    error.code = error.body["code"] = {"Forbidden": 403, "Unauthorized": 401}.get(reason, 422)
    error.body["reason"] = reason
    error.body["details"]["causes"] = [{"message": said}]
    return error


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """Somebody else wrote in between, or it is another object of that name."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with one cause a field; a cause given twice is said once, as the real server does."""
    said = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = _details(resource, name, resource.kind)
    details["causes"] = [
        {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
    ]
    return ApiError(422, "Invalid", f'{resource.qualified_kind} "{name}" is invalid: {text}', details)


def undecodable_patch(merged: JsonObject, why: str) -> ApiError:
    """What a strict patch gets: the message carries the whole object, twice, values included."""
    dumped = json.dumps(json.dumps(merged, separators=(",", ":")))
    message = f"Invalid value: {dumped}: strict decoding error: {why}"
    causes = [{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]
    return ApiError(422, "Invalid", f' "" is invalid: patch: {message}', {"causes": causes})


def patch_does_not_apply() -> ApiError:
    """A failed `test`, a missing parent: all the same opaque text, so a conflict cannot be told from it."""
    message = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", message, {})


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unsupported_media_type(sent: str, accepted: Sequence[str]) -> ApiError:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)} (sent {sent or 'none'})"
    )
    return ApiError(415, "UnsupportedMediaType", message, {})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def expired(asked: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def evicted_too_many(budget: str, needs: int, has: int) -> ApiError:
    """A PodDisruptionBudget is in the way."""
    why = f"The disruption budget {budget} needs {needs} healthy pods and has {has} currently"
    return ApiError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        {"causes": [{"reason": "DisruptionBudget", "message": why}]},
    )
