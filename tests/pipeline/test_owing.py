"""After an attack: the clock runs, questions are answered, credentials are new, and then it is closed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders import MALLORY
from harness import Harness, harness
from stories import noticed, resolved

from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed
from receiver.domain.incidents import Status
from receiver.domain.security import Attestation, Question
from receiver.domain.severity import Severity
from receiver.pipeline import owing, people
from receiver.policy.approval import Identity
from receiver.store.engine import Store

LEAD = Identity("lena", ("security-lead",))
# On call, and one of those who may read it.
CAROL = Identity("carol", ("oncall", "security"))
DAVE = Identity("dave", ("sre",))
ANSWERS = dict.fromkeys(Question, "none that we know of")
SECRETS = {
    "spec": {
        "template": {
            "spec": {
                "imagePullSecrets": [{"name": "db"}],
                "volumes": [{"name": "tls", "secret": {"secretName": "cert"}}],
            }
        }
    }
}


async def attacked(h: Harness) -> None:
    """A security incident whose lock is in force."""
    h.demo.api.change("deployments", "greenlang", "greenlang-api", SECRETS)
    h.demo.api.reconcile()
    await noticed(h)
    await people.secure(h.world, 1, CAROL, reason="a miner runs in it")
    await h.work()


async def released(h: Harness) -> None:
    for who in (CAROL, LEAD):
        await people.release(h.world, 1, who, reason="rebuilt")
    await h.work()


async def test_the_hours_are_told_of_until_the_authority_was_told(store: Store) -> None:
    async with harness(store) as h:
        await attacked(h)
        await h.tell()
        before = len(h.told.bodies)
        await h.pass_time(timedelta(hours=50), step=timedelta(hours=25))
        await h.tell()
        told = [body for body in h.told.bodies[before:] if body["kind"] == "ClockWarned"]
        assert [body["text"].split(": ", 1)[1].split(" (")[0] for body in told] == [
            "24 of the 72 hours have passed",
            "48 of the 72 hours have passed",
        ]
        assert all(body["pages"] for body in told)
        with pytest.raises(NotAllowed, match="a security lead's to say"):
            await owing.tell_authority(h.world, 1, CAROL, filed=True, reason="case 4711")
        await owing.tell_authority(h.world, 1, LEAD, filed=True, reason="case 4711")
        await h.pass_time(timedelta(hours=30), step=timedelta(hours=15))
        assert [event.hours for event in await h.events() if isinstance(event, ev.ClockWarned)] == [24, 48]


async def test_the_hours_count_from_when_somebody_knew(store: Store) -> None:
    async with harness(store) as h:
        await attacked(h)
        knew = h.clock.now() - timedelta(hours=23)
        await h.pass_time(timedelta(minutes=1))
        with pytest.raises(Conflict, match="at the latest when it was locked"):
            # Later would give more time than the law does.
            await owing.set_awareness(h.world, 1, LEAD, since=h.clock.now(), reason="the first mail")
        await owing.set_awareness(h.world, 1, LEAD, since=knew, reason="the first mail")
        await h.pass_time(timedelta(hours=2), step=timedelta(minutes=30))
        (warned,) = [event for event in await h.events() if isinstance(event, ev.ClockWarned)]
        assert (warned.hours, warned.until) == (24, knew + timedelta(hours=72))


async def test_what_the_pods_were_given_is_listed_by_name(store: Store) -> None:
    async with harness(store) as h:
        await attacked(h)
        record = (await h.incident()).security
        assert record is not None
        assert [str(one) for one in record.credentials] == [
            "secret/greenlang/cert",
            "secret/greenlang/db",
            "serviceaccount/greenlang/default",
        ]


async def test_it_is_lowered_only_once_the_four_questions_are_answered(store: Store) -> None:
    async with harness(store) as h:
        await attacked(h)
        with pytest.raises(Conflict, match="answer first: data, systems, entry, inside"):
            await people.set_severity(h.world, 1, LEAD, severity=Severity.P1, reason="contained")
        await owing.assess(h.world, 1, CAROL, ANSWERS)
        found = await people.set_severity(h.world, 1, LEAD, severity=Severity.P1, reason="contained")
        assert found.severity is Severity.P1


async def test_it_is_closed_only_once_everything_is_shown_by_name(store: Store) -> None:
    async with harness(store) as h:
        await attacked(h)
        await released(h)
        with pytest.raises(Conflict, match="the answer: which data was reached") as refused:
            await people.close(h.world, 1, LEAD, cause="an old image")
        for word in ("proof that secret/greenlang/db is new", "the attestation rotated", "the authority"):
            assert word in str(refused.value)
        await owing.assess(h.world, 1, CAROL, ANSWERS)
        everything = tuple(Attestation)
        with pytest.raises(Conflict, match="nobody has shown that these are new: secret/greenlang/cert"):
            await owing.attest(h.world, 1, LEAD, what=everything, proof="today")
        with pytest.raises(Conflict, match="secret/greenlang/other is none of its credentials"):
            await owing.renewed(
                h.world, 1, CAROL, credentials=("secret/greenlang/other",), owner="data", proof="TICKET-9"
            )
        await owing.renewed(
            h.world, 1, CAROL, credentials=("secret/greenlang/db",), owner="data", proof="TICKET-9"
        )
        await owing.renewed(h.world, 1, CAROL, credentials=(), owner="sre", proof="TICKET-10")
        await owing.attest(h.world, 1, LEAD, what=everything, proof="today")
        await owing.tell_authority(h.world, 1, LEAD, filed=False, reason="no personal data")
        found = await people.close(h.world, 1, LEAD, cause="an old image")
        assert found.status is Status.RESOLVED


async def test_what_is_owed_outlives_the_lock_and_keeps_it_open(store: Store) -> None:
    async with harness(store) as h:
        await attacked(h)
        await owing.assess(h.world, 1, CAROL, ANSWERS)
        await released(h)
        started = h.clock.now()
        await people.set_severity(h.world, 1, CAROL, severity=Severity.P3, reason="nothing is left of it")
        await resolved(h, started)
        await h.pass_time(timedelta(hours=5), step=timedelta(minutes=5))
        assert (await h.incident()).status is not Status.RESOLVED


@pytest.mark.parametrize("nothing", ["", "  \n"])
async def test_everything_that_is_said_is_said_in_words_and_by_those_who_respond(
    store: Store, nothing: str
) -> None:
    async with harness(store) as h:
        await attacked(h)
        for who in (MALLORY, DAVE):
            with pytest.raises(NotAllowed, match="takes the right to read"):
                await owing.assess(h.world, 1, who, ANSWERS)
        with pytest.raises(Conflict):
            await owing.assess(h.world, 1, CAROL, {Question.DATA: nothing})
        with pytest.raises(Conflict):
            await owing.assess(h.world, 1, CAROL, {})
        with pytest.raises(Conflict):
            await owing.attest(h.world, 1, CAROL, what=(Attestation.PATCHED,), proof=nothing)
        with pytest.raises(Conflict):
            await owing.renewed(h.world, 1, CAROL, credentials=(), owner=nothing, proof="x")
        with pytest.raises(Conflict):
            await owing.tell_authority(h.world, 1, LEAD, filed=True, reason=nothing)


async def test_an_incident_that_is_no_attack_owes_nothing(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        with pytest.raises(Conflict, match="no open security incident"):
            await owing.assess(h.world, 1, CAROL, ANSWERS)
