"""What the steps of an incident tell of themselves: one trace whoever takes them, and no word of anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import alert, labels, notification, policies, policy
from collector import Collector, collector
from harness import Harness, harness
from stories import approve, approved, die_sending, noticed
from structlog.testing import capture_logs

from receiver.demo.kubernetes import Fault
from receiver.domain.errors import TemporaryError, Unavailable
from receiver.domain.isolation import Act
from receiver.pipeline import people, worker
from receiver.pipeline.containing import approve_isolation
from receiver.pipeline.counters import Counters
from receiver.policy.approval import Identity
from receiver.policy.model import IsolationWish, SecuritySign
from receiver.store.engine import Store
from receiver.traces import Traces

LEAD = Identity("lena", ("security-lead",))


@asynccontextmanager
async def traced(store: Store, found: Collector, **more: Any) -> AsyncIterator[Harness]:
    """The pipeline with traces to this collector, which has them all afterwards."""
    traces = Traces(found.url, share=1.0, counters=Counters())
    async with harness(store, **more) as h:
        h = replace(h, world=replace(h.world, tracer=traces))
        h.worker._world = h.world
        yield h
    await traces.close()


async def test_all_who_work_on_an_incident_write_one_trace(store: Store) -> None:
    """Here another replica, with a tracer of its own, carries out what the first one proposed."""
    async with collector() as found:
        async with traced(store, found) as h:
            await noticed(h)
            await approve(h)
            other = h.rival()
            second = Traces(found.url, share=1.0, counters=Counters())
            other.worker._world = replace(other.world, tracer=second)
            await other.work()
            await second.close()
            assert h.demo.real_writes == 1
        (begun,) = found.named("incident")
        (proposed,), (executed,) = found.named("propose"), found.named("execute")
        for step in (proposed, executed):
            assert (step.trace, step.parent) == (begun.trace, begun.id)


async def test_incidents_have_a_trace_each(store: Store) -> None:
    async with collector() as found:
        async with traced(store, found) as h:
            for app in ("one", "two"):
                told = alert(starts_at=h.clock.now(), with_labels=labels(app=app))
                await h.deliver(notification(told))
            await h.work()
        assert len({one.trace for one in found.named("incident")}) == 2
        for join in found.named("join"):
            (begun,) = [one for one in found.named("incident") if one.trace == join.trace]
            assert join.attributes["stanch.incident"] == begun.attributes["stanch.incident"]


async def test_of_what_was_raised_the_type_is_told_and_no_word(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*given: object) -> None:
        raise RuntimeError("planted-words")

    async with collector() as found:
        async with traced(store, found) as h:
            monkeypatch.setattr(worker, "classify_step", broken)
            await noticed(h)
        (step,) = found.named("classify")
        assert step.failed and step.attributes["error.type"] == "RuntimeError"
        assert (step.said, step.events) == ("", 0)
        assert b"planted-words" not in b"".join(found.bodies)


async def test_a_write_without_an_answer_is_told_as_such(store: Store) -> None:
    async with collector() as found:
        async with traced(store, found) as h:
            await approved(h)
            h.demo.api.faults.add(Fault(kind="lose-answer", method="PATCH", dry_run=False))
            await h.work()
        (write,) = found.named("write")
        assert write.attributes == {"stanch.verb": "patch", "stanch.outcome": "unanswered"}


async def test_what_cannot_be_told_is_told_so(store: Store) -> None:
    async with collector() as found:
        async with traced(store, found) as h:
            await noticed(h)
            h.told.failing = TemporaryError("planted-words")
            await h.tell()
        (tell, *_) = found.named("tell")
        assert tell.attributes["stanch.outcome"] == "retried"
        assert tell.parent == found.named("incident")[0].id


async def test_a_message_is_sent_although_its_incident_cannot_be_read_for_the_trace(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(body: object) -> None:
        raise Unavailable("the disk is full")

    async with collector() as found:
        async with traced(store, found) as h:
            await noticed(h)
            monkeypatch.setattr(h.world.store, "read", away)
            await h.tell()
            monkeypatch.undo()
            assert h.told.bodies
        (tell, *_) = found.named("tell")
        assert tell.attributes == {"stanch.destination": "told", "stanch.outcome": "sent"}


async def test_of_an_isolation_only_the_incidents_number_is_told(store: Store) -> None:
    """From the step on in which the sign was seen: neither what is isolated, nor that anything is."""
    wish = IsolationWish(Act.POD_QUARANTINE, pod="{{ labels.pod }}")
    sign = SecuritySign("a miner runs in it", 'labels.rule == "miner"', isolate=(wish,))
    async with collector() as found:
        async with traced(store, found, policies=policies(policy(security=(sign,)))) as h:
            await h.fall_ill()
            pods = h.demo.api.find("pods", "greenlang", "app=greenlang-api")
            told = labels(rule="miner", pod=pods[0]["metadata"]["name"])
            await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=told)))
            await h.work()
            await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="planted-words")
            await h.pass_time(timedelta(minutes=3))
            await h.tell()
            assert h.demo.real_writes == 2
        (diagnosed,) = found.named("diagnose")
        # As they ended.
        since = found.spans[found.spans.index(diagnosed) :]
        assert {one.name for one in since} == {"diagnose", "other", "write", "tell"}
        for one in since:
            number = {} if one.name == "write" else {"stanch.incident": 1}
            assert one.attributes == number, one
            assert one.trace == diagnosed.trace
        assert len(found.named("write")) == 2
        for word in (b"greenlang", b"miner", b"quarantine", b"lena", b"S-1", told["pod"].encode()):
            assert word not in b"".join(found.bodies), word


async def test_a_step_of_a_security_incident_that_raises_tells_only_that_it_did(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*given: object) -> None:
        raise RuntimeError("planted-words")

    async with collector() as found:
        async with traced(store, found) as h:
            await noticed(h)
            monkeypatch.setattr(worker, "hold_lock_step", broken)
            await people.secure(h.world, 1, LEAD, reason="r", scopes=("namespace/greenlang",))
            await h.work()
        (step,) = [one for one in found.spans if one.failed]
        assert (step.name, step.attributes) == ("other", {"stanch.incident": 1})


async def test_a_fault_in_telling_stops_no_work_and_is_logged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> None:
        raise TypeError("unhashable")

    async with collector() as found:
        with capture_logs() as lines:
            async with traced(store, found) as h:
                for part in ("_begun", "_links"):
                    monkeypatch.setattr(Traces, part, broken)
                await approved(h)
                await h.work()
                assert h.demo.real_writes == 1
        assert {line["event_code"] for line in lines if line["log_level"] == "error"} == {"trace_failed"}
        assert not found.spans


async def test_a_write_that_its_sender_did_not_live_to_see_is_in_the_trace_of_whoever_finds_it(
    store: Store,
) -> None:
    async with collector() as found:
        async with traced(store, found) as h:
            await approved(h)
            await die_sending(h, Fault(kind="drop", method="PATCH", dry_run=False))
            await h.pass_time(timedelta(minutes=2))
        (recover, *_) = found.named("recover")
        assert recover.trace == found.named("incident")[0].trace
