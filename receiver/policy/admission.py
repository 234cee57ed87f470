"""Admission policies for the accounts that the service writes as: what the API server refuses them. Pure.

The pipeline keeps security incidents to isolation, and Roles say what an account may do at all. These are
the third lock, in the cluster and in other code than ours: what is in quarantine is evidence, which nobody
of ours deletes, evicts or changes (playbook INC-007, row 007.0), and the isolator only isolates.

Where CEL cannot see something, the sentence stands beside the policy. Forms and meanings are those of
https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from receiver.domain.isolation import (
    BLOCK,
    DENY_ALL,
    EVERYBODY_IPV4,
    EVERYBODY_IPV6,
    MOST_BLOCKED,
    NOT_IN_QUARANTINE,
    QUARANTINE,
    WIDEST_IPV4,
    WIDEST_IPV6,
    deny_all,
)
from receiver.policy.rbac import EXECUTOR, ISOLATOR, READER

API_VERSION = "admissionregistration.k8s.io/v1"
_NAMESPACE_ACCOUNTS = "system:serviceaccount:stanch:"
ACCOUNTS = tuple(_NAMESPACE_ACCOUNTS + name for name in ("stanch", READER, EXECUTOR))
ISOLATOR_ACCOUNT = _NAMESPACE_ACCOUNTS + ISOLATOR

# As narrow as they may be at least, in the notation of either kind: from /24 and from /64 on.
_NARROW = "^([0-9.]+/(2[4-9]|3[0-2])|[0-9a-f:.]+/(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-8]))$"
_IS_BLOCK = f"object.metadata.name.startsWith({json.dumps(BLOCK)})"


@dataclass(frozen=True)
class Rule:
    """Which requests a policy looks at."""

    group: str
    resources: tuple[str, ...]
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """What must be true of them, and what is said where it is not."""

    expression: str
    message: str


@dataclass(frozen=True)
class Admission:
    """One policy for some accounts.

    With ``each_in_quarantine`` it is asked once for each pod of the namespace that is in quarantine, which is
    then ``params``; where there is none, it says nothing.
    """

    name: str
    accounts: tuple[str, ...]
    rules: tuple[Rule, ...]
    checks: tuple[Check, ...]
    only: str | None = None
    each_in_quarantine: bool = False


def admissions(accounts: Iterable[str] = ACCOUNTS, isolator: str = ISOLATOR_ACCOUNT) -> list[Admission]:
    """Every policy; the ``isolator`` is held to what holds for all ``accounts``, and to more."""
    everybody = tuple(dict.fromkeys((*accounts, isolator)))
    return [
        _deletes_nothing(everybody),
        _quarantine(everybody, isolator),
        _eviction(everybody),
        _replicas(everybody),
        *_isolating((isolator,)),
    ]


def _deletes_nothing(everybody: tuple[str, ...]) -> Admission:
    """Not only pods: with its namespace a pod goes as well, and with the network policy its isolation."""
    return Admission(
        "stanch-deletes-nothing",
        everybody,
        (Rule("*", ("*/*",), ("DELETE",)),),
        (Check("false", "Stanch deletes nothing"),),
    )


def _quarantine(everybody: tuple[str, ...], isolator: str) -> Admission:
    is_isolator = f"request.userInfo.username == {_literal(isolator)}"
    return Admission(
        "stanch-quarantine",
        everybody,
        (Rule("", ("pods", "pods/ephemeralcontainers", "pods/resize"), ("UPDATE",)),),
        (
            Check("object.spec == oldObject.spec", "a pod in quarantine is evidence: its spec stays"),
            Check(
                f"{is_isolator} || ({_marked('object')})",
                "a pod in quarantine is evidence: only the isolator takes the mark off",
            ),
        ),
        only=_marked("oldObject"),
    )


def _eviction(everybody: tuple[str, ...]) -> Admission:
    """The request holds nothing of the pod, so those that are in quarantine are the policy's parameters.

    They come from a cache of the API server, which follows within moments and not at once: an eviction in
    the same moment as the mark may pass. The lock on the incident's scope stands before it.
    """
    return Admission(
        "stanch-quarantine-eviction",
        everybody,
        (Rule("", ("pods/eviction",), ("CREATE",)),),
        (
            Check(
                "request.name != params.metadata.name",
                "a pod in quarantine is evidence: nobody of Stanch evicts it",
            ),
        ),
        each_in_quarantine=True,
    )


def _replicas(everybody: tuple[str, ...]) -> Admission:
    """How many are enough is a policy's matter; none at all is nobody's."""
    workloads = ("deployments", "statefulsets", "replicasets")
    # A Scale leaves a zero out.
    runs, ran = (
        f"has({which}.spec.replicas) && {which}.spec.replicas > 0" for which in ("object", "oldObject")
    )
    return Admission(
        "stanch-replicas",
        everybody,
        (Rule("apps", (*workloads, *(f"{name}/scale" for name in workloads)), ("UPDATE",)),),
        (Check(f"({runs}) || !({ran})", "Stanch sets nothing that runs to no replicas"),),
    )


def _isolating(isolator: tuple[str, ...]) -> list[Admission]:
    """What isolates, and how exactly; all else that an account can ask for is refused."""
    whole = '(!has(request.subResource) || request.subResource == "")'
    relabels = f'request.resource.group == "" && request.resource.resource in ["pods", "nodes"] && {whole}'
    denies = 'request.resource.group == "networking.k8s.io" && request.resource.resource == "networkpolicies"'
    return [
        Admission(
            "stanch-isolator",
            isolator,
            (Rule("*", ("*/*",), ("CREATE", "UPDATE", "CONNECT")),),
            (
                Check(
                    f'request.operation == "UPDATE" ? {relabels} : request.operation == "CREATE" && {denies}',
                    "the isolator changes pods and nodes and creates a network policy, and does nothing else",
                ),
            ),
        ),
        Admission(
            "stanch-isolator-pods",
            isolator,
            (Rule("", ("pods",), ("UPDATE",)),),
            (
                Check("object.spec == oldObject.spec", "the isolator changes nothing that a pod runs"),
                _unchanged("finalizers", "[]"),
                _unchanged("ownerReferences", "[]"),
                Check(
                    f"({_marked('object')}) || ({_marked('oldObject')})",
                    "the isolator puts pods into quarantine and takes them out, and no other labels on",
                ),
            ),
        ),
        Admission(
            "stanch-isolator-nodes",
            isolator,
            (Rule("", ("nodes",), ("UPDATE",)),),
            (
                Check(
                    f"{_only_these('object', 'oldObject')} && {_only_these('oldObject', 'object')}",
                    "the isolator changes of a node's spec unschedulable and taints only",
                ),
                Check(
                    "!has(object.spec.taints) || object.spec.taints.all(taint, "
                    'taint.effect != "NoExecute" || '
                    "(has(oldObject.spec.taints) && taint in oldObject.spec.taints))",
                    "the isolator adds no NoExecute taint: it ends pods, and with them the evidence",
                ),
                _unchanged("labels", "{}"),
                _unchanged("finalizers", "[]"),
            ),
        ),
        Admission(
            "stanch-isolator-networkpolicies",
            isolator,
            (Rule("networking.k8s.io", ("networkpolicies",), ("CREATE",)),),
            (
                Check(
                    f"{_IS_BLOCK} || (object.metadata.name == {_literal(DENY_ALL)} && "
                    f"{_exactly('object.spec', deny_all())})",
                    f"the isolator creates {DENY_ALL}, which lets nothing through, {BLOCK}…, and no other",
                ),
                *_blocking(),
            ),
        ),
    ]


def _blocking() -> list[Check]:
    """One that shuts some addresses out and lets in all else: nothing about it is anybody's choice but which
    pods and which addresses.
    """
    spec, rule = "object.spec", "object.spec.ingress[0]"
    peers = f"{rule}.from"
    names = "has(peer.ipBlock) && has(peer.ipBlock.except) && peer.ipBlock.except.size() > 0"
    checks = (
        (
            f"{_keys(spec, 'podSelector', 'policyTypes', 'ingress')} && "
            f"{_same(spec, {'policyTypes': ['Ingress']})} && has({spec}.podSelector.matchLabels) && "
            f"{spec}.podSelector.matchLabels.size() > 0 && "
            f"{_same(f'{spec}.podSelector', {'matchExpressions': [dict(NOT_IN_QUARANTINE)]})}",
            "is about what comes into some pods, and about none in quarantine",
        ),
        (
            f"has({spec}.ingress) && {spec}.ingress.size() == 1 && {_keys(rule, 'from')} && has({peers}) && "
            f"{peers}.size() == 3 && {peers}[0] == {_literal({'namespaceSelector': {}})}",
            "lets in every pod",
        ),
        (
            " && ".join(
                f"{_keys(f'{peers}[{at}]', 'ipBlock')} && {peers}[{at}].ipBlock.cidr == {_literal(everybody)}"
                for at, everybody in ((1, EVERYBODY_IPV4), (2, EVERYBODY_IPV6))
            ),
            "lets in addresses of both kinds",
        ),
        (f"{peers}.exists(peer, {names})", "shuts somebody out"),
        (
            f"{peers}.all(peer, !({names}) || (peer.ipBlock.except.size() <= {MOST_BLOCKED} && "
            f"peer.ipBlock.except.all(one, one.matches({_literal(_NARROW)}))))",
            f"shuts out at most {MOST_BLOCKED} networks, none wider than /{WIDEST_IPV4} or /{WIDEST_IPV6}",
        ),
    )
    return [Check(f"!{_IS_BLOCK} || ({expression})", f"{BLOCK}… {message}") for expression, message in checks]


def _marked(which: str) -> str:
    return f"has({which}.metadata.labels) && {_literal(QUARANTINE)} in {which}.metadata.labels"


def _unchanged(field: str, empty: str) -> Check:
    after, before = (
        f"(has({which}.metadata.{field}) ? {which}.metadata.{field} : {empty})"
        for which in ("object", "oldObject")
    )
    return Check(f"{after} == {before}", f"the isolator leaves {field} as they are")


def _only_these(one: str, other: str) -> str:
    """By name what may differ, so that a field of a later Kubernetes may not."""
    same = f"key in {other}.spec && {one}.spec[key] == {other}.spec[key]"
    return f'{one}.spec.all(key, key in ["unschedulable", "taints"] || ({same}))'


def _exactly(path: str, wanted: dict[str, Any]) -> str:
    """These fields and no others."""
    return f"{_same(path, wanted)} && {_keys(path, *wanted)}"


def _same(path: str, wanted: dict[str, Any]) -> str:
    """Field by field: the API server's CEL knows no map whose values are of different kinds."""
    return " && ".join(
        f"has({path}.{key}) && {path}.{key} == {_literal(value)}" for key, value in wanted.items()
    )


def _keys(path: str, *names: str) -> str:
    return f"{path}.all(key, key in {_literal(list(names))})"


def _literal(value: object) -> str:
    """JSON is CEL, as far as texts, lists and maps go."""
    return json.dumps(value)


def documents(found: Iterable[Admission]) -> list[dict[str, Any]]:
    """The same as a cluster takes them: each policy with its binding."""
    return [document for one in found for document in (_policy(one), _binding(one))]


def _policy(one: Admission) -> dict[str, Any]:
    conditions = [
        {"name": "ours", "expression": f"request.userInfo.username in {_literal(list(one.accounts))}"}
    ]
    if one.only is not None:
        conditions.append({"name": "in-quarantine", "expression": one.only})
    spec: dict[str, Any] = {
        # What cannot be told is refused. Each says why by a 403: what a 422 says may quote a whole object,
        # so our doors do not pass it on.
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [_resource_rule(rule) for rule in one.rules]},
        "matchConditions": conditions,
        "validations": [
            {"expression": check.expression, "message": check.message, "reason": "Forbidden"}
            for check in one.checks
        ],
    }
    if one.each_in_quarantine:
        spec["paramKind"] = {"apiVersion": "v1", "kind": "Pod"}
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": one.name},
        "spec": spec,
    }


def _resource_rule(rule: Rule) -> dict[str, Any]:
    return {
        "apiGroups": [rule.group],
        "apiVersions": ["*"],
        "operations": list(rule.operations),
        "resources": list(rule.resources),
        # The default, said so that a second `kubectl apply` finds nothing to change.
        "scope": "*",
    }


def _binding(one: Admission) -> dict[str, Any]:
    spec: dict[str, Any] = {"policyName": one.name, "validationActions": ["Deny"]}
    if one.each_in_quarantine:
        spec["paramRef"] = {
            "selector": {"matchExpressions": [{"key": QUARANTINE, "operator": "Exists"}]},
            "parameterNotFoundAction": "Allow",
        }
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": one.name},
        "spec": spec,
    }
