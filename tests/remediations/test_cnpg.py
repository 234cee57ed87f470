"""What the cures of a CloudNativePG Cluster make of what they see, and what they say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from builders import CAROL, alert, notification, verification
from cures import CURES, DATABASE, NAMESPACE, with_a_database
from harness import harness
from volumes import CLASS, NOW, claim, condition, quota, wrote_size

from receiver.domain.plans import Draft, FieldChange, NotApplicable, ObjectRef, PatchStep, Receipt
from receiver.domain.remediation import Evidence, Placement
from receiver.pipeline import people
from receiver.store.engine import Store
from remediations.cnpg.expand import Expand, all_arrived
from remediations.cnpg.scale import Scale

DOOR: Any = None  # Planning is pure: it never knocks.
TARGET = ObjectRef("postgresql.cnpg.io/v1", "Cluster", "shop", "orders", "k")


def database(
    *,
    metadata: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A well Cluster of two instances with data and WAL volumes, and what is different."""
    return {
        "metadata": {"name": "orders", "namespace": "shop", "uid": "k", "generation": 4, **(metadata or {})},
        "spec": {
            "instances": 2,
            "storage": {"size": "100Gi"},
            "walStorage": {"size": "10Gi"},
            **(spec or {}),
        },
        "status": {
            "phase": "Cluster in healthy state",
            "readyInstances": 2,
            "currentPrimary": "orders-1",
            **(status or {}),
        },
    }


def volume(number: int = 1, role: str = "PG_DATA", size: str = "100Gi", **more: Any) -> dict[str, Any]:
    """The claim of one instance."""
    ending = "-wal" if role == "PG_WAL" else ""
    labels = {
        "cnpg.io/cluster": "orders",
        "cnpg.io/instanceName": f"orders-{number}",
        "cnpg.io/pvcRole": role,
    }
    name = f"orders-{number}{ending}"
    metadata = {"name": name, "labels": labels, "ownerReferences": [{"kind": "Cluster", "name": "orders"}]}
    return claim(size=size, metadata={**metadata, **more.pop("metadata", {})}, **more)


CLAIMS = [volume(1), volume(1, "PG_WAL", "10Gi"), volume(2), volume(2, "PG_WAL", "10Gi")]


def planned(cure: Any, asked: Mapping[str, Any], **state: Any) -> Draft | NotApplicable:
    usual = {"cluster": database(), "claims": CLAIMS, "classes": {"fast": CLASS}, "quotas": []}
    found: Draft | NotApplicable = cure(DOOR).plan({**usual, **state}, asked, Evidence(None), now=NOW)
    return found


def check(answer: Draft | NotApplicable, expected: FieldChange | str) -> None:
    if isinstance(expected, str):
        assert isinstance(answer, NotApplicable)
        assert expected in answer.reason
        return
    assert isinstance(answer, Draft), answer
    assert answer.steps == (PatchStep(TARGET, (expected,), 4),)
    assert answer.undo_sentence.startswith("cannot be undone")


DATA, WAL = "/spec/storage/size", "/spec/walStorage/size"
MOST = {"most": "500Gi"}
GROWN: dict[str, tuple[dict[str, Any], dict[str, Any], FieldChange | str]] = {
    "the data": ({}, MOST, FieldChange(DATA, "100Gi", "130Gi")),
    "the WAL": ({}, {**MOST, "volume": "wal"}, FieldChange(WAL, "10Gi", "13Gi")),
    "volumes that are larger than it says": (
        {"claims": [volume(1, size="200Gi"), volume(2)]},
        MOST,
        FieldChange(DATA, "100Gi", "260Gi"),
    ),
    "there is none": ({"cluster": None}, MOST, "there is no such Cluster"),
    "it goes": ({"cluster": database(metadata={"deletionTimestamp": "x"})}, MOST, "it is being deleted"),
    "it hibernates": (
        {"cluster": database(metadata={"annotations": {"cnpg.io/hibernation": "on"}})},
        MOST,
        "it hibernates: somebody switched it off",
    ),
    "the operator was told to leave it alone": (
        {"cluster": database(metadata={"annotations": {"cnpg.io/reconciliationLoop": "disabled"}})},
        MOST,
        "somebody told CloudNativePG to leave it alone (cnpg.io/reconciliationLoop)",
    ),
    "its size stands elsewhere": (
        {"cluster": database(spec={"storage": {"pvcTemplate": {}}})},
        MOST,
        "it says no storage.size, so there is nothing to raise",
    ),
    "volumes in use stay": (
        {"cluster": database(spec={"storage": {"size": "100Gi", "resizeInUseVolumes": False}})},
        MOST,
        "its storage.resizeInUseVolumes is false: volumes in use would stay as they are",
    ),
    "a volume is missing": (
        {"claims": [volume(1)]},
        MOST,
        "1 of 2 instances have such a volume: see to the others first",
    ),
    "one claim is not at rest": (
        {"claims": [volume(1), volume(2, status=condition("Resizing"))]},
        MOST,
        "claim orders-2: a resize is under way (Resizing)",
    ),
    "one grew a while ago": (
        {
            "claims": [
                volume(1),
                volume(2, metadata={"managedFields": [wrote_size("manager", NOW - timedelta(hours=1))]}),
            ]
        },
        MOST,
        "claim orders-2: manager may have set its size 60 min ago",
    ),
    "the class says no": (
        {"classes": {"fast": {}}},
        MOST,
        "claim orders-1: StorageClass fast does not allow its volumes to grow",
    ),
    "no such class": ({"classes": {"fast": None}}, MOST, "claim orders-1: there is no StorageClass fast"),
    "it is as large": (
        {},
        {**MOST, "grow_by_percent": 0, "at_least": "100Gi"},
        "it has 100Gi already; 100Gi would not be more",
    ),
    "too large": ({}, {"most": "120Gi"}, "it has 100Gi and would have 130Gi; the policy allows 120Gi"),
    "all volumes together are over the quota": (
        quota({"requests.storage": "270Gi"}, {"requests.storage": "220Gi"}),
        MOST,
        "60Gi more are too many: ResourceQuota team allows requests.storage 270Gi, of which 220Gi is used",
    ),
    "a size that is none": (
        {"cluster": database(spec={"storage": {"size": "much"}})},
        MOST,
        "how large its volumes are, or may be, cannot be told: 'much' is no quantity",
    ),
}


@pytest.mark.parametrize(("state", "asked", "expected"), GROWN.values(), ids=GROWN)
def test_growing_the_volumes(
    state: dict[str, Any], asked: dict[str, Any], expected: FieldChange | str
) -> None:
    check(planned(Expand, asked, **state), expected)


def test_the_approver_of_a_full_cluster_is_told_what_may_come() -> None:
    answer = planned(Expand, MOST, cluster=database(status={"phase": "Not enough disk space"}))
    assert isinstance(answer, Draft)
    assert "only after somebody grew the full instance's claim by hand" in answer.notes[-1]
    assert answer.blast_radius == "2 volumes, and what they cost: 60Gi more"


ARRIVED: dict[str, tuple[list[dict[str, Any]], Placement, str]] = {
    "all": (
        [volume(1, size="130Gi"), volume(2, size="130Gi")],
        Placement.IN_PLACE,
        "all 2 volumes have 130Gi",
    ),
    "none": ([], Placement.NOT_YET, "it has no claims of that kind"),
    "one is on its way": (
        [volume(1, size="130Gi"), volume(2, size="130Gi", status={"capacity": {"storage": "100Gi"}})],
        Placement.NOT_YET,
        "orders-2: the volume has 100Gi of 130Gi",
    ),
    "nothing was passed on": (
        [volume(1), volume(2)],
        Placement.NOT_YET,
        "CloudNativePG has not passed 130Gi on to orders-1, orders-2: with a full volume it does not. "
        "Set spec.resources.requests.storage of the claim by hand",
    ),
    "one that cannot be read": (
        [volume(1, status={"capacity": {"storage": "much"}})],
        Placement.NOT_YET,
        "orders-1: how large it is cannot be told",
    ),
}


@pytest.mark.parametrize(("claims", "placement", "said"), ARRIVED.values(), ids=ARRIVED)
def test_every_volume_must_have_the_size(
    claims: list[dict[str, Any]], placement: Placement, said: str
) -> None:
    answer, sentence = all_arrived(claims, "130Gi")
    assert answer is placement
    assert said in sentence


UP = FieldChange("/spec/instances", 2, 3)
ONE_MORE = {"most": 3}
SCALED: dict[str, tuple[dict[str, Any], dict[str, Any], FieldChange | str]] = {
    "one more": ({}, ONE_MORE, UP),
    "one only, whatever is allowed": ({}, {"most": 9}, UP),
    "there is none": ({"cluster": None}, ONE_MORE, "there is no such Cluster"),
    "it hibernates": (
        {"cluster": database(metadata={"annotations": {"cnpg.io/hibernation": "on"}})},
        ONE_MORE,
        "it hibernates",
    ),
    "as many as allowed": ({}, {"most": 2}, "it has 2 instances; the policy allows 2"),
    "one of them is not ready": (
        {"cluster": database(status={"readyInstances": 1, "phase": "Failing\nover"})},
        ONE_MORE,
        "1 of 2 instances are ready (Failing over): see to those first",
    ),
    "no sender of WAL is left": (
        {"cluster": database(spec={"postgresql": {"parameters": {"max_wal_senders": "2"}}})},
        ONE_MORE,
        "max_wal_senders is 2, and 3 would be in use",
    ),
    "just enough senders": (
        {"cluster": database(spec={"postgresql": {"parameters": {"max_wal_senders": "3"}}})},
        ONE_MORE,
        UP,
    ),
    "senders that are no number": (
        {"cluster": database(spec={"postgresql": {"parameters": {"max_wal_senders": "some"}}})},
        ONE_MORE,
        "whether there is room for one more cannot be told",
    ),
    "no primary": (
        {"cluster": database(status={"currentPrimary": None})},
        ONE_MORE,
        "its primary is nobody, of whose volumes nothing is known",
    ),
    "the quota of storage counts data and WAL": (
        quota({"requests.storage": "329Gi"}, {"requests.storage": "220Gi"}),
        ONE_MORE,
        "110Gi more are too many: ResourceQuota team allows requests.storage 329Gi",
    ),
    "the quota of claims": (
        quota({"persistentvolumeclaims": "5"}, {"persistentvolumeclaims": "4"}),
        ONE_MORE,
        "ResourceQuota team allows persistentvolumeclaims 5, of which 4 is used",
    ),
    "the quota of memory": (
        {
            **quota({"requests.memory": "10Gi"}, {"requests.memory": "8Gi"}),
            "cluster": database(spec={"resources": {"limits": {"memory": "4Gi"}}}),
        },
        ONE_MORE,
        "ResourceQuota team allows requests.memory 10Gi, of which 8Gi is used",
    ),
}


@pytest.mark.parametrize(("state", "asked", "expected"), SCALED.values(), ids=SCALED)
def test_adding_an_instance(
    state: dict[str, Any], asked: dict[str, Any], expected: FieldChange | str
) -> None:
    check(planned(Scale, asked, **state), expected)


class Showing:
    """A door behind which there is one Cluster, or none."""

    def __init__(self, found: dict[str, Any] | None, claims: list[dict[str, Any]] | None = None) -> None:
        self.found = found
        self.claims = claims or []

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        return self.found

    async def list_objects(self, *which: Any, **narrowed: Any) -> list[dict[str, Any]]:
        return self.claims


SEEN: dict[str, tuple[Any, FieldChange, dict[str, Any] | None, Placement, str]] = {
    "it joined": (
        Scale,
        UP,
        database(spec={"instances": 3}, status={"readyInstances": 3}),
        Placement.IN_PLACE,
        "3 of 3 instances are ready",
    ),
    "it joins": (
        Scale,
        UP,
        database(spec={"instances": 3}, status={"phase": "Creating a new replica"}),
        Placement.NOT_YET,
        "2 of 3 instances are ready (Creating a new replica)",
    ),
    "somebody took it back": (Scale, UP, database(), Placement.FAILED, "somebody set fewer instances since"),
    "scaled and gone": (Scale, UP, None, Placement.FAILED, "Cluster shop/orders is gone"),
    "the WAL has grown, whatever the data": (
        Expand,
        FieldChange(WAL, "5Gi", "10Gi"),
        database(),
        Placement.IN_PLACE,
        "all 2 volumes have 10Gi",
    ),
    "somebody changed the size": (
        Expand,
        FieldChange(DATA, "50Gi", "65Gi"),
        database(),
        Placement.FAILED,
        "somebody changed /spec/storage/size since it was written",
    ),
    "another of that name": (
        Expand,
        FieldChange(DATA, "50Gi", "100Gi"),
        database(metadata={"uid": "other"}),
        Placement.FAILED,
        "Cluster shop/orders is gone",
    ),
}


@pytest.mark.parametrize(("cure", "change", "found", "placement", "said"), SEEN.values(), ids=SEEN)
async def test_whether_a_change_is_in_place(
    cure: Any, change: FieldChange, found: dict[str, Any] | None, placement: Placement, said: str
) -> None:
    door = Showing(found, CLAIMS)
    answer, sentence = await cure(door).verify(Receipt("i", TARGET, (change,), 5, NOW))
    assert answer is placement
    assert said in sentence


async def test_a_full_volume_stops_the_operator_and_it_is_said_what_to_do(store: Store) -> None:
    cure = next(cure for cure in CURES if cure.remediation == "cnpg.expand")
    rules = verification(settle=Expand.spec.settle, within=timedelta(minutes=30))
    async with harness(store, policies=cure.policies(verification=rules)) as h:
        with_a_database(h)
        await h.fall_ill()
        h.demo.api.controller.cnpg.full.add((NAMESPACE, DATABASE))
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="it is full")
        await h.pass_time(timedelta(minutes=16))
        placed = next(event for event in await h.events() if event.event == "InPlace")
        assert "not in place, judged all the same: CloudNativePG has not passed 13Gi on" in str(placed)
        assert "Set spec.resources.requests.storage of the claim by hand" in str(placed)
