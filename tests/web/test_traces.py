"""Traces of the running service: what of an incident's way arrives at a collector, and what never does."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import alert, labels, notification
from collector import Arrived, Collector, collector
from harness import Told
from real_process import free_port
from real_service import LEAD_TOKEN, SENDER_TOKEN
from running_service import Running, running_service
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from receiver import traces

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
# Of the alert, its target, the policy, people, and what they said.
NEVER = ("greenlang", "HighErrorRate", "planted", "carol", "lena", "inc-001", "default", "alertmanager")


def a_body(**changes: str) -> bytes:
    told = alert(starts_at=datetime.now(UTC), with_labels=labels(team="planted-team", **changes))
    told["annotations"] = {"summary": "planted-summary"}
    return notification(told)


async def post(running: Running, body: bytes, *, token: str = SENDER_TOKEN, **headers: str) -> int:
    return (await running.post(body, Authorization=f"Bearer {token}", **headers)).status


async def cured(running: Running, *, until: str = "verified") -> None:
    """The bad release is noticed, its rollback approved, carried out and verified."""
    running.world.release_bad()
    await running.service.world.clock.sleep(timedelta(minutes=4))
    assert await post(running, a_body(), traceparent=CALLER) == 200
    plan = await running.until("/api/v1/plans", lambda found: bool(found["items"]))
    yes = {"digest": plan["items"][0]["digest"], "reason": "planted-reason"}
    assert (await running.call("plans/P-1/approve", yes))[0] == 200
    await running.until("/api/v1/plans/P-1", lambda found: found["state"] == until)


def below(spans: list[Arrived], parent: Arrived) -> list[Arrived]:
    return [span for span in spans if (span.trace, span.parent) == (parent.trace, parent.id)]


def assert_nothing_of_it(found: Collector, *, but: tuple[str, ...] = ()) -> None:
    sent = b"".join(found.bodies)
    assert sent and b"stanch.incident" in sent
    for word in NEVER:
        assert word in but or word.encode() not in sent, word


async def test_an_incident_is_one_trace_from_its_delivery_to_the_verdict(tmp_path: Path) -> None:
    told = Told()
    async with collector() as found:
        with capture_logs(processors=[merge_contextvars]) as lines:
            async with running_service(tmp_path, told=[told], traces_endpoint=found.url) as running:
                await cured(running)
        receive = found.named("receive")[0]
        _, trace, span, _ = CALLER.split("-")
        assert (receive.trace, receive.parent, receive.kind) == (trace, span, "server")
        assert receive.attributes == {"http.response.status_code": 200}
        assert [one.name for one in below(found.spans, receive)] == ["keep"]

        (incident,) = found.named("incident")
        assert incident.parent == "" and incident.trace != trace
        steps = below(found.spans, incident)
        names = {"join", "classify", "diagnose", "propose", "execute", "settle", "judge", "tell"}
        assert {one.name for one in steps} >= names
        # Nothing of the incident is elsewhere.
        assert [one for one in found.spans if "stanch.incident" in one.attributes and one not in steps] == [
            incident
        ]
        (join,) = [one for one in steps if one.name == "join"]
        assert join.links == ((receive.trace, receive.id),)
        assert join.took_ns > 0

        (execute,) = [one for one in steps if one.name == "execute"]
        (write,) = below(found.spans, execute)
        assert (write.name, write.kind) == ("write", "client")
        assert write.attributes == {"stanch.verb": "patch", "stanch.outcome": "applied"}
        assert found.named("write") == [write]
        judge = [one for one in steps if one.name == "judge"][-1]
        assert judge.attributes == {
            "stanch.incident": 1,
            "stanch.status": "identified",
            "stanch.severity": "P1",
            "stanch.plan": "P-1",
            "stanch.remediation": "deployment.rollback",
            "stanch.state": "verified",
        }
        (tell, *_) = [one for one in steps if one.name == "tell"]
        assert (tell.attributes["stanch.destination"], tell.attributes["stanch.outcome"]) == ("told", "sent")
        assert told.bodies
        # What was under way when the service ended is given up; nothing is said of why.
        assert not any(one.events or one.said for one in found.spans)
        assert_nothing_of_it(found)
        assert found.resource["service.name"] == "stanch"
        (sent,) = [line for line in lines if line.get("event_code") == "write_sent"]
        assert (sent["trace_id"], sent["span_id"]) == (execute.trace, execute.id)


async def test_of_a_security_incident_its_number_alone_arrives(tmp_path: Path) -> None:
    told = Told()
    async with collector() as found:
        async with running_service(tmp_path, told=[told], traces_endpoint=found.url) as running:
            opened = {"title": "planted-title", "reason": "planted-reason", "scopes": ["namespace/greenlang"]}
            assert (await running.call("incidents", opened, token=LEAD_TOKEN))[0] == 200
            steps = running.service.counters.steps
            # Two: the first one is over, and its span with it.
            await running.until("/api/v1/plans", lambda _: bool(told.bodies) and steps["other"] > 1)
        of_it = [one for one in found.spans if "stanch.incident" in one.attributes]
        assert {one.name for one in of_it} >= {"incident", "other", "tell"}
        for one in of_it:
            assert one.attributes == {"stanch.incident": 1}
        assert_nothing_of_it(found)


async def test_a_stranger_is_in_no_trace(tmp_path: Path) -> None:
    async with collector() as found:
        async with running_service(tmp_path, traces_endpoint=found.url) as running:
            assert await post(running, a_body(), token="guess", traceparent=CALLER) == 401
            assert await post(running, b"no notification", traceparent="00-no-traceparent") == 200
        (receive,) = found.named("receive")
        assert receive.trace != CALLER.split("-")[1] and receive.parent == ""


async def test_a_sender_decides_itself_whether_it_is_recorded_and_we_by_our_share(tmp_path: Path) -> None:
    async with collector() as found:
        async with running_service(tmp_path, traces_endpoint=found.url, traces_share=0.0) as running:
            assert await post(running, b"no notification", traceparent=CALLER) == 200
            assert await post(running, a_body(), traceparent=CALLER[:-2] + "00") == 200
            assert await post(running, a_body()) == 200
            await running.until("/api/v1/incidents", lambda told: len(told["items"]) == 1)
        assert [one.name for one in found.spans] == ["keep", "receive"]


@pytest.mark.parametrize("collectors", ["away", "hanging", "failing"])
async def test_a_collector_that_does_not_answer_well_costs_spans_and_nothing_else(
    tmp_path: Path, collectors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "EVERY_MS", 20)
    monkeypatch.setattr(traces, "CLOSE_WITHIN_SECONDS", 0.2)
    status = 500 if collectors == "failing" else 200
    async with collector(status=status, answering=collectors != "hanging") as found:
        url = f"http://127.0.0.1:{free_port()}" if collectors == "away" else found.url
        with capture_logs() as lines:
            async with running_service(tmp_path, traces_endpoint=url) as running:
                await cured(running, until="executed")
                assert running.world.real_writes == 1
                if collectors != "away":
                    assert found.asked.is_set()
                counted = running.service.counters.spans
                before = time.monotonic()
            assert time.monotonic() - before < 4
        assert counted["sent"] == 0
        if collectors == "failing":
            assert counted["failed"] > 5
            (complaint,) = [line for line in lines if line.get("event_code") == "traces_failed"]
            assert complaint["why"] == "it answered 500"
        if collectors == "hanging":
            assert [line for line in lines if line.get("event_code") == "traces_lost"]
        assert not found.spans
