"""The tracer by itself: what follows from an incident, and what is dropped."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from collector import collector
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import get_contextvars

from receiver import traces
from receiver.domain.errors import PermanentError
from receiver.domain.incidents import Incident
from receiver.pipeline.counters import Counters
from receiver.pipeline.tracing import Fields, NoTraces
from receiver.policy.next_step import COUNTED
from receiver.settings import read_settings
from receiver.traces import Traces, ids_of

MICROSECOND = timedelta(microseconds=1)
MOMENTS = st.integers(0, 10**15).map(lambda micros: datetime.fromtimestamp(0, UTC) + micros * MICROSECOND)
INCIDENTS = st.builds(Incident, id=st.integers(1, 5), opened_at=MOMENTS)


@given(INCIDENTS, INCIDENTS)
def test_two_incidents_share_a_trace_only_where_they_are_one(one: Incident, other: Incident) -> None:
    same = (one.id, one.opened_at) == (other.id, other.opened_at)
    assert (ids_of(one) == ids_of(other)) == same


@given(INCIDENTS, st.integers(-12, 12))
def test_the_trace_is_the_same_wherever_and_however_far_it_is(incident: Incident, hours: int) -> None:
    assert incident.opened_at is not None
    elsewhere = incident.opened_at.astimezone(timezone(timedelta(hours=hours)))
    later = replace(incident, opened_at=elsewhere, epoch=7, title="another", last_seq=40)
    assert ids_of(later) == ids_of(incident)


async def test_what_does_not_fit_into_the_queue_is_dropped_at_once_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "QUEUE", 10)
    monkeypatch.setattr(traces, "BATCH", 5)
    counters = Counters()
    async with collector(answering=False) as found:
        tracer = Traces(found.url, share=1.0, counters=counters)
        began = time.monotonic()
        for _ in range(1000):
            with tracer.span("keep"):
                pass
        assert time.monotonic() - began < 1
        assert counters.spans == {"sent": 0, "failed": 0, "dropped": 990}
        found.answering.set()
        await tracer.close()
        assert counters.spans == {"sent": 10, "failed": 0, "dropped": 990}
        assert len(found.spans) == 10


async def test_once_it_is_closed_nothing_more_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the second batch, once the first one that hung is answered."""
    monkeypatch.setattr(traces, "BATCH", 5)
    monkeypatch.setattr(traces, "CLOSE_WITHIN_SECONDS", 0.05)
    counters = Counters()
    async with collector(answering=False) as found:
        tracer = Traces(found.url, share=1.0, counters=counters)
        for _ in range(10):
            with tracer.span("keep"):
                pass
        await found.asked.wait()
        await tracer.close()
        found.answering.set()
        for _ in range(400):
            if counters.spans.total() == 10:
                break
            await asyncio.sleep(0.01)
        assert counters.spans == {"sent": 5, "failed": 5, "dropped": 0}
        assert len(found.spans) == 5


async def test_headers_for_the_collector_come_from_the_variables_that_its_specification_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=planted")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "stanch-of-staging")
    async with collector() as found:
        tracer = Traces(found.url, share=1.0, counters=Counters())
        with tracer.span("keep"):
            pass
        await tracer.close()
        assert found.headers["x-team"] == "planted"
        assert found.resource["service.name"] == "stanch-of-staging"


async def test_lines_of_the_log_name_a_span_that_is_recorded_and_no_other() -> None:
    for share, named in ((1.0, {"trace_id", "span_id"}), (0.0, set())):
        async with collector() as found:
            tracer = Traces(found.url, share=share, counters=Counters())
            with tracer.span("keep"):
                bound = get_contextvars()
            assert get_contextvars() == {}
            await tracer.close()
            assert set(bound) == named
            sent = [{"trace_id": one.trace, "span_id": one.id} for one in found.spans]
            assert sent == ([bound] if named else [])


def test_the_page_about_them_names_every_span_and_every_attribute() -> None:
    page = (Path(__file__).parent.parent / "docs" / "traces.md").read_text(encoding="utf-8")
    for name in (*COUNTED - {"failed"}, "receive", "keep", "incident", "join", "write", "tell"):
        assert f"`{name}`" in page, name
    for name in Fields.__annotations__:
        assert f"`{traces._KEYS.get(name, f'stanch.{name}')}`" in page, name


def test_without_a_collector_everything_said_is_heard_by_nobody() -> None:
    tracer = NoTraces()
    tracer.arrived(b"")
    tracer.opened(Incident(id=1))
    for heard in (
        tracer.receiving("x"),
        tracer.span("keep"),
        tracer.of_incident("join", lambda: Incident(id=1)),
    ):
        with heard as span:
            assert span.set(verb="patch") is None  # type: ignore[func-returns-value]
    assert not tracer.on


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("collector:4318", "must be http:// or https://"),
        ("http://", "must be http:// or https://"),
        ("http://collector:4318/?a=b", "must be http:// or https://"),
        ("http://collector:4318/v1/traces", "without /v1/traces"),
        ("http://collector:4318/v1/traces/", "without /v1/traces"),
    ],
)
def test_an_address_that_is_none_is_a_mistake(value: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANCH_TRACES_ENDPOINT", value)
    with pytest.raises(PermanentError, match=f"STANCH_TRACES_ENDPOINT: .*{why}"):
        read_settings()


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "half"])
def test_a_share_that_is_none_is_a_mistake(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANCH_TRACES_SHARE", share)
    with pytest.raises(PermanentError, match="STANCH_TRACES_SHARE"):
        read_settings()
