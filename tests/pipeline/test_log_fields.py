"""Every log line of a claim says what it is about; of a security incident it says the number alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from harness import harness
from stories import approved, noticed
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from receiver.domain.errors import TemporaryError
from receiver.pipeline import people, worker
from receiver.policy.approval import Identity
from receiver.store.engine import Store

TARGET = "Deployment/greenlang/greenlang-api"
LEAD = Identity("lena", ("security-lead",))


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """Everything that is logged, with what was bound."""
    with capture_logs(processors=[merge_contextvars]) as found:
        yield found


def breaking(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """From here on this step raises, and says so in the log first."""

    async def broken(*given: object) -> None:
        structlog.get_logger("deep.below").warning("in the step", event_code="below")
        raise RuntimeError("broken")

    monkeypatch.setattr(worker, step, broken)


def about(line: Any) -> dict[str, Any]:
    return {name: line[name] for name in ("incident", "plan", "target") if name in line}


async def test_lines_of_a_lifecycle_say_which_incident_which_plan_and_which_target(
    store: Store, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness(store) as h:
        await approved(h)
        lines.clear()
        await h.work()
        breaking(monkeypatch, "judge_step")
        await h.pass_time(timedelta(minutes=1))
        told = {line["event_code"]: about(line) for line in lines if "event_code" in line}
        whole = {"incident": 1, "plan": "P-1", "target": TARGET}
        assert told["write_sent"] == told["below"] == told["step_failed"] == whole


async def test_before_there_is_a_plan_the_incident_is_named(
    store: Store, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness(store) as h:
        breaking(monkeypatch, "classify_step")
        await noticed(h)
        (below,) = [line for line in lines if line.get("event_code") == "below"]
        assert about(below) == {"incident": 1}


async def test_of_a_security_incident_the_number_alone_is_told(
    store: Store, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it had a plan, and so a target, before it was locked."""
    async with harness(store) as h:
        await noticed(h)
        assert (await h.incident()).plan is not None
        for step in ("hold_lock_step", "capture_step", "consider_step", "settle_step"):
            breaking(monkeypatch, step)
        lines.clear()
        await people.secure(h.world, 1, LEAD, reason="r", scopes=("namespace/greenlang",))
        await h.work()
        told = [line for line in lines if line.get("incident") == 1]
        assert {line["event_code"] for line in told} >= {"below", "step_failed"}
        for line in told:
            assert about(line) == {"incident": 1}
            assert TARGET not in json.dumps({**line, "exc_info": ""}, default=str)


async def test_nothing_of_a_claim_is_left_for_lines_of_others(store: Store, lines: list[Any]) -> None:
    async with harness(store) as h:
        await approved(h)
        await h.work()
        h.told.failing = TemporaryError("nobody answers")
        await h.tell()
        (message,) = {str(about(line)) for line in lines if line.get("event_code") == "message_failed"}
        assert message == "{}"
