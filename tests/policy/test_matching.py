"""Which alerts are one incident, and which object a policy may touch, whatever the labels say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders import policies
from hand_clock import NOON

from receiver.domain.incidents import Incident, IncidentAlert
from receiver.domain.plans import NotApplicable, ObjectRef
from receiver.policy.matching import concerns, correlate, policies_for, resolve_target
from receiver.policy.model import CorrelationRule, Matcher, TargetTemplate

from .conftest import Loader

TEAM = CorrelationRule((Matcher("team", "=", "api"),), (("region",), ("app", "service")))


def key(labels: dict[str, str], identity: str = "one") -> str:
    return correlate(labels, identity, [TEAM]).key


SAME: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "two alerts of one app": (
        {"alertname": "A", "cluster": "c", "namespace": "shop", "app": "api"},
        {"alertname": "B", "cluster": "c", "namespace": "shop", "app": "api"},
    ),
    "without a cluster label": (
        {"alertname": "A", "namespace": "shop", "app": "api"},
        {"alertname": "B", "namespace": "shop", "app": "api"},
    ),
    "by a rule": (
        {"team": "api", "region": "eu", "app": "x"},
        {"team": "api", "region": "eu", "app": "x", "pod": "1"},
    ),
}
APART: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "another namespace": ({"namespace": "a", "app": "api"}, {"namespace": "b", "app": "api"}),
    "another cluster": (
        {"cluster": "a", "namespace": "n", "app": "api"},
        {"cluster": "b", "namespace": "n", "app": "api"},
    ),
    "both without any label": ({}, {}),
    "both without an app": ({"namespace": "shop"}, {"namespace": "shop"}),
    "an empty label is a missing one": ({"namespace": "shop", "app": ""}, {"namespace": "shop", "app": ""}),
    "another label of the same value": (
        {"team": "api", "region": "eu", "app": "x"},
        {"team": "api", "region": "eu", "service": "x"},
    ),
    "values that look like one another": (
        {"namespace": 'a"],["app', "app": "b"},
        {"namespace": "a", "app": 'app"],["b'},
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_alerts_that_belong_together(one: dict[str, str], other: dict[str, str]) -> None:
    assert key(one, "one") == key(other, "other")


@pytest.mark.parametrize(("one", "other"), APART.values(), ids=APART)
def test_alerts_that_are_incidents_of_their_own(one: dict[str, str], other: dict[str, str]) -> None:
    assert key(one, "one") != key(other, "other")


TEMPLATE = TargetTemplate("Deployment", "{{ labels.namespace }}", "{{ labels.app }}", ("shop", "web"))


def test_a_target_is_looked_up_in_the_labels() -> None:
    found = resolve_target(TEMPLATE, {"namespace": "shop", "app": "api"})
    assert found == ObjectRef("apps/v1", "Deployment", "shop", "api")


HOSTILE: dict[str, tuple[dict[str, str], str]] = {
    "a namespace that is not listed": (
        {"namespace": "kube-system", "app": "api"},
        "not one this policy may act in",
    ),
    "no namespace": ({"app": "api"}, "has no label 'namespace'"),
    "an empty namespace": ({"namespace": "", "app": "api"}, "has no label 'namespace'"),
    "a path": ({"namespace": "shop/../kube-system", "app": "api"}, "not a valid namespace"),
    "a newline": ({"namespace": "shop\n", "app": "api"}, "not a valid namespace"),
    "a path in the name": ({"namespace": "shop", "app": "../secrets/x"}, "not a valid object name"),
    "a query in the name": ({"namespace": "shop", "app": "api?dryRun="}, "not a valid object name"),
    "a template in the name": ({"namespace": "shop", "app": "{{ labels.x }}"}, "not a valid object name"),
    "capital letters": ({"namespace": "shop", "app": "API"}, "not a valid object name"),
    "digits of another script": ({"namespace": "shop", "app": "api٣"}, "not a valid object name"),
    "a name without end": ({"namespace": "shop", "app": "a" * 300}, "not a valid object name"),
}


@pytest.mark.parametrize(("labels", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_labels_reach_no_object(labels: dict[str, str], reason: str) -> None:
    found = resolve_target(TEMPLATE, labels)
    assert isinstance(found, NotApplicable)
    assert reason in found.reason
    assert len(found.reason) < 300


def test_listed_names_are_a_closed_list() -> None:
    template = TargetTemplate("Deployment", "shop", "{{ labels.app }}", ("shop",), names=("api",))
    assert isinstance(resolve_target(template, {"app": "web"}), NotApplicable)
    assert isinstance(resolve_target(template, {"app": "api"}), ObjectRef)


def _alert(identity: str, *, firing: bool = True, name: str = "HighErrorRate") -> IncidentAlert:
    labels = {"alertname": name, "namespace": "shop", "app": "api"}
    return IncidentAlert(identity, labels, {}, NOON, None if firing else NOON)


@pytest.mark.parametrize(
    ("alerts", "minutes", "wanted"),
    [
        ([_alert("a")], 1, ["a"]),
        ([_alert("a")], 0, []),
        ([_alert("a", firing=False)], 5, []),
        ([_alert("a", name="Other")], 5, []),
        ([_alert("b"), _alert("a")], 5, ["a"]),
    ],
    ids=["long enough", "not long enough", "resolved", "another alert", "one alert speaks for all"],
)
def test_a_policy_is_called_for(
    good: str, loader: Loader, alerts: list[IncidentAlert], minutes: int, wanted: list[str]
) -> None:
    policies = loader(good).policies
    assert policies is not None
    now = NOON + timedelta(minutes=minutes)
    found = policies_for(alerts, policies, now=now, first_seen={})
    assert [alert.identity for _, alert in found] == wanted


@pytest.mark.parametrize(
    ("labels", "name", "concerned"),
    [
        ({"alertname": "HighErrorRate", "namespace": "greenlang", "app": "api"}, "api", True),
        ({"alertname": "HighErrorRate", "namespace": "greenlang", "app": "api"}, "other", False),
        ({"alertname": "HighErrorRate", "namespace": "elsewhere", "app": "api"}, "api", False),
        ({"alertname": "SomethingElse", "namespace": "greenlang", "app": "api"}, "api", False),
        ({"alertname": "HighErrorRate", "namespace": "greenlang"}, "api", False),
    ],
    ids=["it names it", "another name", "a namespace that no policy has", "no policy's alert", "no name"],
)
def test_an_incident_concerns_what_its_alerts_name_to_a_policy(
    labels: dict[str, str], name: str, concerned: bool
) -> None:
    ended = IncidentAlert("a", labels, {}, NOON, ends_at=NOON)
    incident = Incident(1, alerts={"a": ended})
    target = ObjectRef("apps/v1", "Deployment", "greenlang", name)
    assert concerns(policies(), incident, target) is concerned


def test_a_disabled_policy_is_never_called_for(good: str, loader: Loader) -> None:
    policies = loader(good.replace("mode: propose", "mode: disabled")).policies
    assert policies is not None
    assert policies_for([_alert("a")], policies, now=NOON + timedelta(hours=1), first_seen={}) == []
