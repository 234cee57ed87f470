"""Which claims `volume.expand` grows, to which size, and what it says of those that it leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from builders import CAROL, alert, notification, rfc3339, verification
from cures import CLAIM, CURES, NAMESPACE, with_a_claim
from harness import Harness, harness
from stories import noticed
from volumes import CLASS, CREATED, NOW, claim, condition, quota, wrote_size

from receiver.domain.plans import Draft, FieldChange, NotApplicable, ObjectRef, PatchStep, Receipt
from receiver.domain.quantities import in_gibibytes, quantity
from receiver.domain.remediation import Evidence, Placement
from receiver.pipeline import people
from receiver.store.engine import Store
from remediations.kubernetes.expand import Expand, Parameters

SIZE = "/spec/resources/requests/storage"
DOOR: Any = None  # Planning is pure: it never knocks.
ASKED = {"most": "500Gi"}
GROWING = next(cure for cure in CURES if cure.remediation == "volume.expand")


def planned(found: Any, asked: Mapping[str, Any] = ASKED, **state: Any) -> Draft | NotApplicable:
    return Expand(DOOR).plan(
        {"claim": found, "class": CLASS, "quotas": [], **state}, asked, Evidence(None), now=NOW
    )


def change_of(found: Draft | NotApplicable) -> FieldChange:
    assert isinstance(found, Draft), found
    (step,) = found.steps
    assert isinstance(step, PatchStep)
    assert step.target == ObjectRef("v1", "PersistentVolumeClaim", "shop", "data", "c")
    (change,) = step.changes
    return change


SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "30 % more": (claim(), {"most": "500Gi"}, "100Gi", "130Gi"),
    "as much as the policy says": (claim(), {"grow_by_percent": 50, "most": "500Gi"}, "100Gi", "150Gi"),
    "exactly as much as it allows": (claim(), {"most": "130Gi"}, "100Gi", "130Gi"),
    "rounded up to whole Gi": (claim(size="1Gi"), {"most": "500Gi"}, "1Gi", "2Gi"),
    "at least so much": (claim(size="10Gi"), {"at_least": "50Gi", "most": "500Gi"}, "10Gi", "50Gi"),
    "where that is less, the share": (claim(), {"at_least": "110Gi", "most": "500Gi"}, "100Gi", "130Gi"),
    "only so much": (
        claim(),
        {"grow_by_percent": 0, "at_least": "101Gi", "most": "500Gi"},
        "100Gi",
        "101Gi",
    ),
    "asked for in bytes of a thousand": (claim(size="100G"), {"most": "500Gi"}, "100G", "122Gi"),
    "as the API server spells it": (
        claim(size="1024Gi"),
        {"grow_by_percent": 100, "most": "2Ti"},
        "1024Gi",
        "2Ti",
    ),
    "the driver gave more than was asked for": (
        claim(status={"capacity": {"storage": "200Gi"}}),
        {"most": "500Gi"},
        "100Gi",
        "260Gi",
    ),
    "an old resize that went well": (
        claim(status={"allocatedResources": {"storage": "100Gi"}, **condition("Resizing", "False")}),
        {"most": "500Gi"},
        "100Gi",
        "130Gi",
    ),
    "a StatefulSet owns its life": (
        claim(metadata={"ownerReferences": [{"kind": "StatefulSet", "name": "db", "controller": True}]}),
        {"most": "500Gi"},
        "100Gi",
        "130Gi",
    ),
    "it grew six hours ago": (
        claim(metadata={"managedFields": [wrote_size("stanch", NOW - timedelta(hours=6))]}),
        {"most": "500Gi"},
        "100Gi",
        "130Gi",
    ),
    "only its status was written since": (
        claim(
            metadata={
                "managedFields": [
                    wrote_size("kubectl-create", CREATED),
                    wrote_size("external-resizer", NOW, subresource="status"),
                    {"manager": "kubectl-label", "time": rfc3339(NOW), "fieldsV1": {"f:metadata": {}}},
                ]
            }
        ),
        {"most": "500Gi"},
        "100Gi",
        "130Gi",
    ),
}


@pytest.mark.parametrize(("found", "asked", "before", "after"), SIZES.values(), ids=SIZES)
def test_how_large_a_claim_becomes(found: Any, asked: dict[str, Any], before: str, after: str) -> None:
    assert change_of(planned(found, asked)) == FieldChange(SIZE, before, after)


OPERATOR = {"kind": "Kafka", "name": "events", "controller": True}
REFUSED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], str]] = {
    "there is none": (None, {}, ASKED, "there is no such PersistentVolumeClaim"),
    "it goes": (claim(metadata={"deletionTimestamp": "x"}), {}, ASKED, "it is being deleted"),
    "not bound": (
        claim(status={"phase": "Pending"}),
        {},
        ASKED,
        "it is Pending: only a bound claim can grow",
    ),
    "lost": (claim(status={"phase": "Lost"}), {}, ASKED, "it is Lost: only a bound claim can grow"),
    "an operator's": (
        claim(metadata={"ownerReferences": [OPERATOR]}),
        {},
        ASKED,
        "it belongs to Kafka events: its size is changed there",
    ),
    "a database cluster's": (
        claim(metadata={"labels": {"cnpg.io/cluster": "orders"}}),
        {},
        ASKED,
        "it belongs to Cluster orders of CloudNativePG: its size is changed there",
    ),
    "no class": (
        claim(spec={"storageClassName": ""}),
        {"class": None},
        ASKED,
        "it has no StorageClass, so nothing can grow its volume",
    ),
    "a class that there is not": (
        claim(),
        {"class": None},
        ASKED,
        "there is no StorageClass fast, so whether its volume can grow is not known",
    ),
    "the class says no": (
        claim(),
        {"class": {"allowVolumeExpansion": False}},
        ASKED,
        "StorageClass fast does not allow its volumes to grow (allowVolumeExpansion)",
    ),
    "the class says nothing": (
        claim(metadata={"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}}),
        {"class": {}},
        ASKED,
        "StorageClass old does not allow its volumes to grow (allowVolumeExpansion)",
    ),
    "a resize": (claim(status=condition("Resizing")), {}, ASKED, "a resize is under way (Resizing)"),
    "a file system that waits": (
        claim(status=condition("FileSystemResizePending", message="Waiting for\n user")),
        {},
        ASKED,
        "a resize is under way (FileSystemResizePending: Waiting for user)",
    ),
    "a condition of which nobody knows": (
        claim(status=condition("Resizing", "Unknown")),
        {},
        ASKED,
        "a resize is under way (Resizing)",
    ),
    "other attributes": (
        claim(status=condition("ModifyingVolume")),
        {},
        ASKED,
        "a resize is under way (ModifyingVolume)",
    ),
    **{
        f"a failure: {kind}": (
            claim(status=condition(kind, message="no space in the pool")),
            {},
            ASKED,
            f"its last resize failed ({kind}: no space in the pool)",
        )
        for kind in ("ModifyVolumeError", "ControllerResizeError", "NodeResizeError")
    },
    "the resizer is at it": (
        claim(status={"allocatedResourceStatuses": {"storage": "NodeResizePending"}}),
        {},
        ASKED,
        "a resize is under way (NodeResizePending)",
    ),
    "the resizer gave up": (
        claim(status={"allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"}}),
        {},
        ASKED,
        "its last resize failed (ControllerResizeInfeasible)",
    ),
    "more is set aside": (
        claim(status={"allocatedResources": {"storage": "120Gi"}}),
        {},
        ASKED,
        "a resize is under way: 100Gi are there, and 120Gi were asked for",
    ),
    "more was asked for": (
        claim(spec={"resources": {"requests": {"storage": "120Gi"}}}),
        {},
        ASKED,
        "a resize is under way: 100Gi are there, and 120Gi were asked for",
    ),
    "it grew a while ago": (
        claim(metadata={"managedFields": [wrote_size("stanch", NOW - timedelta(hours=5, minutes=59))]}),
        {},
        ASKED,
        "stanch may have set its size 5 h ago; some providers refuse a second change for 6 h",
    ),
    "the youngest write counts": (
        claim(
            metadata={
                "managedFields": [
                    wrote_size("a", CREATED),
                    wrote_size("kubectl-edit", NOW),
                    wrote_size("b", CREATED),
                ]
            }
        ),
        {},
        ASKED,
        "kubectl-edit may have set its size 0 s ago; some providers refuse a second change for 6 h",
    ),
    "nobody knows when": (
        claim(metadata={"managedFields": []}),
        {},
        ASKED,
        "who set its size, and when, is not recorded: whether it grew in the last 6 h is not known",
    ),
    "a time that is none": (
        claim(metadata={"managedFields": [{**wrote_size("a", NOW), "time": "soon"}]}),
        {},
        ASKED,
        "how large it is, or may be, cannot be told",
    ),
    "it has as much": (
        claim(),
        {},
        {"grow_by_percent": 0, "at_least": "100Gi", "most": "500Gi"},
        "it has 100Gi already; 100Gi would not be more",
    ),
    "the playbook's number is smaller": (
        claim(size="600Gi"),
        {},
        {"grow_by_percent": 0, "at_least": "500Gi", "most": "1Ti"},
        "it has 600Gi already; 500Gi would not be more",
    ),
    "more than the policy allows": (
        claim(),
        {},
        {"most": "129Gi"},
        "it has 100Gi and would have 130Gi; the policy allows 129Gi",
    ),
    "more than the quota": (
        claim(),
        quota({"requests.storage": "120Gi"}, {"requests.storage": "100Gi"}),
        ASKED,
        "30Gi more are too many: ResourceQuota team allows requests.storage 120Gi, of which 100Gi is used",
    ),
    "more than the quota of its class": (
        claim(),
        quota(
            {"fast.storageclass.storage.k8s.io/requests.storage": "129Gi"},
            {"fast.storageclass.storage.k8s.io/requests.storage": "100Gi"},
        ),
        ASKED,
        "ResourceQuota team allows fast.storageclass.storage.k8s.io/requests.storage 129Gi, of which 100Gi",
    ),
    "a size that is none": (
        claim(status={"capacity": {"storage": "much"}}),
        {},
        ASKED,
        "how large it is, or may be, cannot be told: 'much' is no quantity",
    ),
}


@pytest.mark.parametrize(("found", "state", "asked", "reason"), REFUSED.values(), ids=REFUSED)
def test_which_claims_are_left_alone(
    found: Any, state: dict[str, Any], asked: dict[str, Any], reason: str
) -> None:
    answer = planned(found, asked, **state)
    assert isinstance(answer, NotApplicable)
    assert reason in answer.reason


def test_a_quota_that_is_just_enough_is_enough() -> None:
    others = {"slow.storageclass.storage.k8s.io/requests.storage": "1Gi"}
    limits = {"requests.storage": "130Gi", **others}
    found = planned(claim(), **quota(limits, {"requests.storage": "100Gi"}))
    assert change_of(found).after == "130Gi"


NOTES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "any": (claim(), ["refuse to change it again for 6 h"]),
    "a StatefulSet by its name": (
        claim(metadata={"name": "data-db-0"}),
        ["it comes from a StatefulSet, by its name: its volumeClaimTemplates keep the old size"],
    ),
    "a StatefulSet that owns it": (
        claim(metadata={"ownerReferences": [{"kind": "StatefulSet", "name": "db"}]}),
        ["it comes from StatefulSet db: its volumeClaimTemplates keep the old size"],
    ),
    "a raw device": (claim(spec={"volumeMode": "Block"}), ["it is a raw block device"]),
}


@pytest.mark.parametrize(("found", "said"), NOTES.values(), ids=NOTES)
def test_what_the_approver_is_told_beside_it(found: Any, said: list[str]) -> None:
    draft = planned(found)
    assert isinstance(draft, Draft)
    assert draft.undo_sentence == "cannot be undone: a volume never shrinks"
    assert (draft.summary, draft.why) == (
        f"grow PersistentVolumeClaim shop/{found['metadata']['name']} from 100Gi to 130Gi",
        "it has 100Gi",
    )
    notes = "; ".join(draft.notes)
    assert [each for each in said if each not in notes] == []


class Showing:
    """A door behind which there is one claim, or none."""

    def __init__(self, found: dict[str, Any] | None) -> None:
        self.found = found

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        return self.found


ARRIVALS: dict[str, tuple[dict[str, Any] | None, Placement, str]] = {
    "it is there": (claim(size="130Gi"), Placement.IN_PLACE, "the volume has 130Gi"),
    "the driver gave more": (
        claim(size="130Gi", status={"capacity": {"storage": "131Gi"}}),
        Placement.IN_PLACE,
        "the volume has 131Gi",
    ),
    "not yet": (
        claim(size="130Gi", status={"capacity": {"storage": "100Gi"}}),
        Placement.NOT_YET,
        "the volume has 100Gi of 130Gi",
    ),
    "the file system waits for a pod": (
        claim(
            size="130Gi", status={"capacity": {"storage": "100Gi"}, **condition("FileSystemResizePending")}
        ),
        Placement.NOT_YET,
        "the volume has 100Gi of 130Gi: its file system grows when a pod mounts it; restart the pod",
    ),
    "the file system waits, whatever the capacity says": (
        claim(size="130Gi", status=condition("FileSystemResizePending")),
        Placement.NOT_YET,
        "restart the pod",
    ),
    "it fails": (
        claim(
            size="130Gi",
            status={"capacity": {"storage": "100Gi"}, **condition("ControllerResizeError", message="quota")},
        ),
        Placement.NOT_YET,
        "the volume has 100Gi of 130Gi; the resize fails and is tried again (ControllerResizeError: quota)",
    ),
    "it will not come": (
        claim(
            size="130Gi",
            status={
                "capacity": {"storage": "100Gi"},
                "allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"},
            },
        ),
        Placement.FAILED,
        "gets no more (ControllerResizeInfeasible): the provider refuses this size",
    ),
    "somebody asked for less": (claim(), Placement.FAILED, "somebody asked for 100Gi since"),
    "it is gone": (None, Placement.FAILED, "PersistentVolumeClaim shop/data is gone"),
    "another of that name": (
        claim(size="130Gi", metadata={"uid": "other"}),
        Placement.FAILED,
        "PersistentVolumeClaim shop/data is gone",
    ),
    "a size that is none": (
        claim(status={"capacity": {"storage": "much"}}),
        Placement.NOT_YET,
        "how large it is cannot be told",
    ),
}


@pytest.mark.parametrize(("found", "placement", "said"), ARRIVALS.values(), ids=ARRIVALS)
async def test_whether_the_new_size_is_there(
    found: dict[str, Any] | None, placement: Placement, said: str
) -> None:
    target = ObjectRef("v1", "PersistentVolumeClaim", "shop", "data", "c")
    receipt = Receipt("i", target, (FieldChange(SIZE, "100Gi", "130Gi"),), None, NOW)
    door: Any = Showing(found)
    answer, sentence = await Expand(door).verify(receipt)
    assert answer is placement
    assert said in sentence


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        pytest.param({}, "most\n  Field required", id="no bound"),
        pytest.param({"most": "much"}, "'much' is no quantity", id="a bound that is none"),
        pytest.param({"most": "1Gi", "at_least": "2Gi"}, "at_least 2Gi is more than most 1Gi", id="crossed"),
        pytest.param({"most": "1Gi", "grow_by_percent": 0}, "nothing is asked for", id="nothing"),
        pytest.param({"most": "1Gi", "grow_by_percent": -5}, "greater than or equal to 0", id="less"),
        pytest.param({"most": "1Gi", "grow_by_percent": 101}, "less than or equal to 100", id="too much"),
    ],
)
def test_what_a_policy_may_not_say_of_a_volume(asked: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Parameters.model_validate(asked)


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("1", "1Gi"),
        ("1Gi", "1Gi"),
        ("1100Mi", "2Gi"),
        ("1023Gi", "1023Gi"),
        ("1Ti", "1Ti"),
        ("2Pi", "2Pi"),
        ("1025Gi", "1025Gi"),
        ("1536Gi", "1536Gi"),
        ("1048576Gi", "1Pi"),
    ],
)
def test_a_size_is_written_as_the_api_server_spells_it(amount: str, said: str) -> None:
    assert in_gibibytes(quantity(amount)) == said


async def grown(h: Harness) -> None:
    """The claim's growth was proposed, approved and written."""
    with_a_claim(h)
    await h.fall_ill()
    await h.deliver(notification(alert(starts_at=h.clock.now())))
    await h.work()
    await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="it is full")
    await h.work()


async def test_a_size_that_is_not_there_after_a_quarter_of_an_hour_is_said(store: Store) -> None:
    rules = verification(settle=Expand.spec.settle, within=timedelta(minutes=30))
    async with harness(store, policies=GROWING.policies(verification=rules)) as h:
        h.demo.api.controller.volumes.stuck[NAMESPACE, CLAIM] = "FileSystemResizePending"
        await grown(h)
        await h.pass_time(timedelta(minutes=14))
        assert "InPlace" not in await h.kinds()
        await h.pass_time(timedelta(minutes=2))
        placed = next(event for event in await h.events() if event.event == "InPlace")
        assert "not in place, judged all the same: the volume has 10Gi of 13Gi" in str(placed)
        assert "restart the pod" in str(placed)


async def test_where_the_class_may_not_be_read_nothing_grows(store: Store) -> None:
    async with harness(store, policies=GROWING.policies()) as h:
        h.demo.api.access.forbidden.add(("get", "storageclasses"))
        with_a_claim(h)
        await noticed(h)
        assert "Planned" not in await h.kinds()
        nothing = next(event for event in await h.events() if event.event == "NothingApplies")
        assert "StorageClass fast" in str(nothing)
        assert h.demo.real_writes == 0


async def test_it_does_not_grow_twice_within_six_hours(store: Store) -> None:
    async with harness(store, policies=GROWING.policies()) as h:
        await grown(h)
        await h.pass_time(timedelta(minutes=3))
        claim_now = h.demo.api.get("persistentvolumeclaims", NAMESPACE, CLAIM)
        assert claim_now["status"]["capacity"] == {"storage": "13Gi"}
        state = {"claim": claim_now, "class": CLASS, "quotas": []}
        again = Expand(DOOR).plan(state, ASKED, Evidence(None), now=h.clock.now())
        assert isinstance(again, NotApplicable)
        assert again.reason.startswith("stanch may have set its size ")
