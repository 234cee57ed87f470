"""Signs that an incident is an attack: what turns it into a security incident, and what is locked then. Pure.

Playbook row 003.1e: a miner, an image nobody deployed, traffic to where none should go. Whoever finds one
stops healing; only isolating and keeping evidence are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from receiver.domain import locks
from receiver.domain.events import TurnedSecurity
from receiver.domain.incidents import Incident
from receiver.domain.plans import ObjectRef
from receiver.policy.expressions import Truth, evaluate
from receiver.policy.matching import Applicable, matches
from receiver.policy.model import Policy, Scope, SecuritySign


def turned(
    applicable: Iterable[Applicable],
    values: Mapping[str, Mapping[str, Any]],
    firing: Iterable[Mapping[str, str]],
) -> TurnedSecurity | None:
    """The first sign that is there; None where none is, or where it cannot be told.

    ``values`` are each policy's facts and queries by its name, ``firing`` the labels of the alerts that fire.
    """
    alerts = list(firing)
    for fits in applicable:
        mine = [labels for labels in alerts if matches(fits.policy, labels)]
        for sign in fits.policy.security:
            if any(_there(sign, {**values.get(fits.policy.name, {}), "labels": dict(one)}) for one in mine):
                return TurnedSecurity(sign.sign, _scopes(sign, fits, mine), f"policy {fits.policy.name}")
    return None


def present(
    applicable: Iterable[Applicable], values: Mapping[str, Mapping[str, Any]], incident: Incident
) -> frozenset[str]:
    """All signs that are there, in their words: of an incident that people turned before anybody looked."""
    labels = [alert.labels for alert in incident.alerts.values() if alert.firing]
    return frozenset(
        sign.sign
        for fits in applicable
        for sign in fits.policy.security
        for one in labels
        if matches(fits.policy, one)
        and _there(sign, {**values.get(fits.policy.name, {}), "labels": dict(one)})
    )


def asked_for(policy: Policy) -> frozenset[str]:
    """The conditions of its signs."""
    return frozenset(sign.when for sign in policy.security if sign.when is not None)


def _there(sign: SecuritySign, values: Mapping[str, Any]) -> bool:
    return sign.when is None or evaluate(sign.when, values)[0] is Truth.TRUE


def _scopes(sign: SecuritySign, fits: Applicable, alerts: list[Mapping[str, str]]) -> tuple[str, ...]:
    target = fits.target
    match sign.scope:
        case Scope.CLUSTER:
            return (locks.CLUSTER,)
        case Scope.WORKLOAD if isinstance(target, ObjectRef):
            return (target.key,)
        case Scope.NAMESPACE if isinstance(target, ObjectRef) and target.namespace:
            return (locks.of_namespace(target.namespace),)
        case Scope.WORKLOAD | Scope.NAMESPACE:
            # Whose it is cannot be told, so it is everybody's whom the alerts name.
            return locks.widest(alerts)
        case _:
            assert_never(sign.scope)
