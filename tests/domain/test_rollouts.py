"""Which revision is known to have been good: proven by its own time in service, never "previous"."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.domain.errors import PermanentError
from receiver.domain.rollouts import (
    MOST_REPLICA_SETS,
    first_bad_sample,
    known_good,
    labels_to_list_by,
    read_rollout,
    references,
    same_template,
    uncut,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PROVEN = timedelta(minutes=30)


def template(image: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "api", "image": image}]}}


def replica_set(
    number: int, image: str, hours_ago: float, *, reused: bool = False, owner: str = "u"
) -> dict[str, Any]:
    found = template(image)
    created = (NOON - timedelta(hours=hours_ago)).isoformat().replace("+00:00", "Z")
    annotations = {"deployment.kubernetes.io/revision": str(number)}
    if reused:
        annotations["deployment.kubernetes.io/revision-history"] = "1"
    labels = {"app": "api", "pod-template-hash": f"h{number}"}
    return {
        "metadata": {
            "name": f"api-h{number}",
            "uid": f"rs-{number}",
            "labels": labels,
            "annotations": annotations,
            "creationTimestamp": created,
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "spec": {"replicas": 0, "template": {**found, "metadata": {"labels": labels}}},
        "status": {},
    }


def not_controlled(found: dict[str, Any]) -> dict[str, Any]:
    """The same with another controller beside the Deployment."""
    owners = [{"uid": "u"}, {"uid": "other", "controller": True}]
    return {**found, "metadata": {**found["metadata"], "ownerReferences": owners}}


def deployment(image: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u"}, "spec": {"template": template(image), **spec}}


def healthy(
    *, since_hours: float, bad_minutes: tuple[int, int] | None = None
) -> list[tuple[datetime, bool | None]]:
    """Every minute up to noon; bad between these minutes before noon."""
    told: list[tuple[datetime, bool | None]] = []
    for minute in range(int(since_hours * 60), -1, -1):
        bad = bad_minutes is not None and bad_minutes[1] <= minute <= bad_minutes[0]
        told.append((NOON - timedelta(minutes=minute), not bad))
    return told


@pytest.mark.parametrize(
    ("sets", "history", "expected"),
    [
        pytest.param(
            [replica_set(1, "a:1", 26), replica_set(2, "a:2", 0.2)],
            healthy(since_hours=3),
            "api-h1",
            id="the one before",
        ),
        pytest.param(
            [replica_set(1, "a:1", 26), replica_set(2, "a:x", 0.4), replica_set(3, "a:2", 0.2)],
            healthy(since_hours=3),
            "api-h1",
            id="not one that served too short",
        ),
        pytest.param(
            [replica_set(1, "a:1", 26), replica_set(2, "a:x", 1.5), replica_set(3, "a:2", 0.2)],
            healthy(since_hours=3, bad_minutes=(80, 0)),
            "api-h1",
            id="not one under which it was bad",
        ),
        pytest.param(
            [replica_set(3, "a:1", 26, reused=True), replica_set(2, "a:x", 20), replica_set(4, "a:2", 0.2)],
            healthy(since_hours=3),
            None,
            id="not one that was brought back at an unknown time",
        ),
        pytest.param([replica_set(1, "a:2", 0.2)], healthy(since_hours=3), None, id="nothing before it"),
        pytest.param([replica_set(1, "a:1", 26), replica_set(2, "a:2", 0.2)], [], None, id="no history"),
        pytest.param(
            [replica_set(1, "a:1", 26, owner="other"), replica_set(2, "a:2", 0.2)],
            healthy(since_hours=3),
            None,
            id="not another Deployment's",
        ),
        pytest.param(
            [not_controlled(replica_set(1, "a:1", 26)), replica_set(2, "a:2", 0.2)],
            healthy(since_hours=3),
            None,
            id="not one that somebody else controls",
        ),
    ],
)
def test_the_known_good_revision(
    sets: list[dict[str, Any]], history: list[tuple[datetime, bool | None]], expected: str | None
) -> None:
    rollout = read_rollout(deployment("a:2"), sets)
    found, reason = known_good(rollout, history, ready_for=PROVEN)
    assert (found.name if found else None) == expected
    assert reason


def test_a_list_that_was_cut_tells_no_revisions() -> None:
    listed = [replica_set(1, "a:1", 26)] * (MOST_REPLICA_SETS - 1)
    named = {"metadata": {"name": "api"}}
    assert uncut(named, listed) == listed
    with pytest.raises(PermanentError, match="beside Deployment api there are 2000 ReplicaSets or more"):
        uncut(named, [*listed, listed[0]])


@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        ({"matchLabels": {"app": "api"}}, {"app": "api"}),
        (
            {"matchLabels": {"app": "api"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]},
            {"app": "api"},
        ),
        ({"matchExpressions": [{"key": "x", "operator": "Exists"}]}, {}),
        ({"matchLabels": None}, {}),
    ],
)
def test_what_a_list_is_narrowed_by_leaves_out_none_of_its_own(
    selector: dict[str, Any], labels: dict[str, str]
) -> None:
    assert labels_to_list_by({"spec": {"selector": selector}}) == labels


def test_one_lost_scrape_is_forgiven_and_two_are_not() -> None:
    rollout = read_rollout(deployment("a:2"), [replica_set(1, "a:1", 26), replica_set(2, "a:2", 1)])
    history = healthy(since_hours=3)
    lost = [(at, None if at == NOON - timedelta(minutes=70) else good) for at, good in history]
    assert known_good(rollout, lost, ready_for=PROVEN)[0] is not None
    lost = [(at, None if at == NOON - timedelta(minutes=75) else good) for at, good in lost]
    assert known_good(rollout, lost, ready_for=PROVEN)[0] is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([True, True, False, False], 2),
        ([True, False, True, False], 3),
        ([True, False, None, False], 1),
        ([False, True], None),
        ([], None),
        ([True, False, None], 1),
    ],
)
def test_when_it_began_to_be_bad(told: list[bool | None], expected: int | None) -> None:
    samples = [(NOON + timedelta(minutes=number), good) for number, good in enumerate(told)]
    found = first_bad_sample(samples)
    assert found == (None if expected is None else NOON + timedelta(minutes=expected))


def test_a_template_is_the_same_without_the_controllers_label() -> None:
    with_hash = {**template("a:1"), "metadata": {"labels": {"app": "api", "pod-template-hash": "x"}}}
    assert same_template(template("a:1"), with_hash)
    assert not same_template(template("a:1"), template("a:2"))


def test_the_names_a_template_cannot_do_without() -> None:
    spec = {
        "volumes": [
            {"configMap": {"name": "files"}},
            {"secret": {"secretName": "keys"}},
            {
                "projected": {
                    "sources": [
                        {"configMap": {"name": "more"}},
                        {"secret": {"name": "other", "optional": True}},
                    ]
                }
            },
        ],
        "initContainers": [{"envFrom": [{"configMapRef": {"name": "first"}}]}],
        "containers": [
            {
                "envFrom": [{"secretRef": {"name": "creds"}}],
                "env": [
                    {"valueFrom": {"configMapKeyRef": {"name": "maybe", "key": "k", "optional": True}}},
                    {"valueFrom": {"secretKeyRef": {"name": "token", "key": "k"}}},
                    {"value": "plain"},
                ],
            }
        ],
    }
    maps, secrets = references({"spec": spec})
    assert maps == {"files", "more", "first"}
    assert secrets == {"keys", "creds", "token"}
