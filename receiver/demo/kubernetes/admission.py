"""Admission policies as an API server enforces them: after rights and rules, before anything is stored.

Policies and bindings are objects like others; what somebody writes over HTTP is held to them, dry runs too,
and what the controllers do or a test arranges is not. Of policies everything is known but variables, message
expressions, audit annotations and selectors; of parameters those that a selector finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from receiver.demo.kubernetes.access import User
from receiver.demo.kubernetes.requests import Target
from receiver.demo.kubernetes.resources import (
    ADMISSION_BINDINGS,
    ADMISSION_POLICIES,
    JsonObject,
    by_kind,
)
from receiver.demo.kubernetes.selectors import LabelSelector
from receiver.demo.kubernetes.status import denied
from receiver.demo.kubernetes.storage import Store
from receiver.policy.expressions import Truth, evaluate


@dataclass(frozen=True, kw_only=True)
class Write:
    """One write as admission sees it: ``new`` is None where something is deleted, ``old`` where created."""

    user: User
    target: Target
    new: JsonObject | None
    old: JsonObject | None
    dry_run: bool = False

    @property
    def operation(self) -> str:
        if self.old is None:
            return "CREATE"
        return "DELETE" if self.new is None else "UPDATE"

    @property
    def name(self) -> str:
        """Of the object; of a pod for its eviction."""
        return self.target.name or str((self.new or self.old or {})["metadata"]["name"])

    @property
    def request(self) -> JsonObject:
        """What expressions call `request`; as on the real server, what is empty is left out."""
        resource = self.target.resource
        given: JsonObject = {
            "name": self.name,
            "namespace": self.target.namespace,
            "subResource": self.target.subresource,
        }
        return {
            **{key: value for key, value in given.items() if value},
            "resource": {"group": resource.group, "version": resource.version, "resource": resource.plural},
            "operation": self.operation,
            "userInfo": {"username": self.user.name, "groups": [*self.user.groups]},
            "dryRun": self.dry_run,
        }


def enforce(store: Store, write: Write) -> None:
    """Raise what the first policy says that objects."""
    if write.target.resource in (ADMISSION_POLICIES, ADMISSION_BINDINGS):
        # Otherwise a wrong policy could not be taken back.
        return
    for binding in store.objects(ADMISSION_BINDINGS):
        policy = store.get(ADMISSION_POLICIES, "", binding["spec"]["policyName"])
        if policy is None or "Deny" not in binding["spec"]["validationActions"]:
            continue
        for message, reason in _objections(store, policy["spec"], binding["spec"], write):
            names = policy["metadata"]["name"], binding["metadata"]["name"]
            raise denied(write.target.resource, write.name, names, message, reason)


def _objections(
    store: Store, policy: JsonObject, binding: JsonObject, write: Write
) -> Iterator[tuple[str, str]]:
    if not any(_covers(rule, write) for rule in policy["matchConstraints"]["resourceRules"]):
        return
    values = {"request": write.request, "object": write.new, "oldObject": write.old}
    for params in _params(store, policy, binding, write):
        yield from objections(policy, {**values, "params": params})


def objections(policy: JsonObject, values: JsonObject) -> Iterator[tuple[str, str]]:
    """What the ``spec`` of a policy says against these values, each with the reason of its answer."""
    ignores = policy.get("failurePolicy") == "Ignore"
    conditions = [_asked(each["expression"], values) for each in policy.get("matchConditions", [])]
    if any(truth is Truth.FALSE for truth, _ in conditions):
        return
    for truth, failure in conditions:
        if truth is Truth.UNKNOWN and not ignores:
            yield failure, "Invalid"
            return
    for validation in policy["validations"]:
        truth, failure = _asked(validation["expression"], values)
        if truth is Truth.FALSE:
            said = validation.get("message") or f"failed expression: {validation['expression']}"
            yield said, validation.get("reason", "Invalid")
        elif truth is Truth.UNKNOWN and not ignores:
            yield failure, "Invalid"


def _asked(expression: str, values: JsonObject) -> tuple[Truth, str]:
    truth, why = evaluate(expression, values, nulls=True)
    return truth, f"expression '{expression}' resulted in error: {why}"


def _params(store: Store, policy: JsonObject, binding: JsonObject, write: Write) -> list[Any]:
    kind, reference = policy.get("paramKind"), binding.get("paramRef")
    if kind is None or reference is None:
        return [None]
    selector = LabelSelector.of_object(reference["selector"])
    found = store.objects(by_kind(kind["apiVersion"], kind["kind"]), write.target.namespace)
    return [each for each in found if selector.matches(each["metadata"].get("labels", {}))]


def _covers(rule: JsonObject, write: Write) -> bool:
    resource = write.target.resource
    return (
        {"*", resource.group} & set(rule["apiGroups"]) != set()
        and {"*", resource.version} & set(rule["apiVersions"]) != set()
        and {"*", write.operation} & set(rule["operations"]) != set()
        and _spellings(write.target) & set(rule["resources"]) != set()
    )


def _spellings(target: Target) -> set[str]:
    """How a rule may name it: a star alone means no subresources."""
    plural, sub = target.resource.plural, target.subresource
    return {"*/*", f"{plural}/{sub}", f"{plural}/*", f"*/{sub}"} if sub else {"*/*", plural, "*"}
