"""A small service that answers as the real one does: its own views and error edge over fixed documents."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from aiohttp import web
from typer.testing import CliRunner, Result

from receiver.cli.main import app
from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed, NotFound, Unavailable
from receiver.domain.incidents import Incident, IncidentAlert, PlanProgress, PlanState
from receiver.domain.isolation import Act, IsolationPlan, Relabel, Wanted
from receiver.domain.journal import Kept, line_of
from receiver.domain.outcomes import Outcome, Tally
from receiver.domain.plans import ApprovalRule, ObjectRef, Plan, Risk, Undo, Verification
from receiver.domain.severity import Severity
from receiver.pipeline.counters import Counters
from receiver.store.audit import FORMAT, GENESIS, chained
from receiver.store.effects import StoredPlan
from receiver.web.api import errors
from receiver.web.keys import COUNTERS
from receiver.web.views import incident_view, isolation_view, plan_view, recorded_view, tally_view

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
TOKEN = "good-token"
# Colours, a title change, a bell, a bidirectional override, a C1 sequence, and rich's own markup.
HOSTILE = "[bold red]x[/] \x1b[31m\x1b]0;owned\x07 \u202egnp.exe \x9b2J :smile: [link=http://x]y[/link]"
TARGET = ObjectRef("apps/v1", "Deployment", "greenlang", "greenlang-api", "u-1")


def a_plan() -> Plan:
    """A rollback as it is proposed."""
    return Plan(
        incident_id=17,
        epoch=1,
        policy="rollback-bad-release",
        policy_hash="h",
        mode="propose",
        remediation="rollback",
        version=1,
        parameters={},
        target=TARGET,
        steps=(),
        risk=Risk.REVERSIBLE,
        approval=ApprovalRule(groups=("sre", "oncall"), reason_required=True),
        verification=Verification(
            queries={},
            success="errors < 0.01",
            success_for=timedelta(minutes=2),
            every=timedelta(seconds=15),
            min_samples=4,
            settle=timedelta(seconds=30),
            within=timedelta(minutes=10),
            baseline=timedelta(minutes=5),
        ),
        undo=Undo(),
        monitor=timedelta(minutes=30),
        summary="put greenlang-api back to revision 7",
        why="the errors began 40 s after revision 8",
        blast_radius="4 of 4 pods, one after another",
        undo_sentence="revision 8 comes back",
        notes=(f"image by {HOSTILE}",),
        diff="@@ containers/api @@\n-image: greenlang/api:1.8.2-bad\n+image: greenlang/api:1.8.1",
    )


def an_incident(number: int = 17) -> Incident:
    """An open one, with a plan that waits, named by strangers."""
    plan = a_plan()
    return Incident(
        id=number,
        title=f"HighErrorRate {HOSTILE}",
        labels={"app": HOSTILE},
        severity=Severity.P1,
        alerts={"a": IncidentAlert("a", {"alertname": HOSTILE}, {}, NOW)},
        opened_at=NOW,
        plan=PlanProgress(
            plan_id="P-1",
            remediation=plan.remediation,
            digest=plan.digest,
            state=PlanState.AWAITING,
            planned_at=NOW,
            expires_at=NOW + timedelta(minutes=15),
            objections=(),
        ),
    )


def a_chain(length: int = 4) -> list[dict[str, Any]]:
    """A sealed chain as it is exported, its header first."""
    rows: list[dict[str, Any]] = []
    prev = GENESIS
    for seal in range(1, length + 1):
        body = json.dumps({"event": "Noted", "by": "ada", "text": f"{seal} {HOSTILE}"})
        row: dict[str, Any] = {
            "seal": seal,
            "prev": prev,
            "incident_id": 17,
            "seq": seal,
            "at": 1_772_334_000.25 + seal,
            "actor": "ada",
            "kind": "Noted",
            "body_hash": hashlib.sha256(body.encode()).hexdigest(),
            "body": body,
        }
        prev = row["hash"] = chained(prev, seal, row)
        rows.append(row)
    return [{"format": FORMAT, "head": {"seal": length, "hash": prev}}, *rows]


def an_isolation() -> IsolationPlan:
    """A pod that is to be cut off."""
    target = ObjectRef("v1", "Pod", "greenlang", "api-x", "u-7")
    mark = {"stanch.dev/quarantine": "17"}
    return IsolationPlan(
        incident_id=17,
        wanted=Wanted(Act.POD_QUARANTINE, "greenlang", "api-x"),
        version=1,
        target=target,
        steps=(Relabel(target, {"app": HOSTILE}, mark, {"karpenter.sh/do-not-disrupt": "true"}),),
        summary="cut Pod greenlang/api-x off",
        why=HOSTILE,
        notes=("it is on the host's network",),
        undo_sentence="its labels come back",
        asked_by="policy",
    )


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Commands set the process's logs up; the next test finds them as they were."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**configured)


@pytest.fixture
def chain() -> list[dict[str, Any]]:
    """An export: its header and four rows."""
    return a_chain()


@dataclass
class FakeService:
    """Answers like the service; ``posted`` is what it was told. ``away`` and the rest change its mind."""

    url: str = ""
    posted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    away: bool = False
    forbid: str = ""
    digest_now: str | None = None
    cut_audit: bool = False
    streams: list[list[bytes]] = field(default_factory=list)
    journal: list[Kept] = field(default_factory=list)
    told: list[ev.Event] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The digest of the plan that it shows."""
        return a_plan().digest

    def application(self) -> web.Application:
        """The routes that the commands use."""
        application = web.Application(middlewares=[errors])
        application[COUNTERS] = Counters()
        application.router.add_get("/api/v1/{path:.*}", self._get)
        application.router.add_post("/api/v1/{path:.*}", self._post)
        return application

    async def _get(self, request: web.Request) -> web.StreamResponse:
        refused = self._gate(request)
        if refused is not None:
            return refused
        incident, path = an_incident(), request.match_info["path"]
        plan = plan_view(StoredPlan("P-1", a_plan(), (), NOW), incident, ())
        match path.split("/"):
            case ["incidents"]:
                return self._page(request, [incident_view(an_incident(n)) for n in (19, 18, 17)])
            case ["incidents", "17"]:
                return web.json_response(incident_view(incident))
            case ["incidents", "17", "timeline"]:
                noted = ev.Recorded(1, NOW, "ada", ev.Noted("ada", HOSTILE))
                more = [ev.Recorded(n, NOW, "ada", event) for n, event in enumerate(self.told, start=2)]
                shown = [recorded_view(one) for one in (noted, *more)]
                return web.json_response({"items": shown, "next_cursor": None})
            case ["plans"]:
                return web.json_response({"items": [plan], "next_cursor": None})
            case ["plans", "P-1"]:
                return web.json_response(plan)
            case ["plans", "P-1", "target"]:
                target = {"exists": True, "uid": "u-1", "generation": 9, "marker": None, "revision": "8"}
                return web.json_response({"target": HOSTILE, **target})
            case ["isolations", "S-3"]:
                return web.json_response(isolation_view("S-3", an_isolation(), incident))
            case ["alerts"]:
                one = {"starts_at": NOW.isoformat(), "ends_at": None, "end": None}
                alert = {"id": 3, "labels": {"alertname": HOSTILE}, "incident": 17, "occurrences": [one]}
                return web.json_response({"items": [alert], "next_cursor": None})
            case ["policies", "stats"]:
                outcomes = {Outcome.HELPED: 3, Outcome.HARMED: 1}
                tally = Tally("bad-release", HOSTILE, proposed=6, approved=4, executed=4, outcomes=outcomes)
                return web.json_response({"items": [tally_view(tally)]})
            case ["audit"]:
                return await self._audit(request)
            case ["journal"]:
                return web.Response(body=b"".join(line_of(kept) for kept in self.journal))
            case ["events"]:
                return await self._stream(request)
        raise NotFound(f"there is no {path}")

    async def _post(self, request: web.Request) -> web.StreamResponse:
        refused = self._gate(request)
        if refused is not None:
            return refused
        path, body = request.match_info["path"], await request.json()
        self.posted.append((path, body))
        if path == "plans/P-1/approve":
            now = self.digest_now or self.digest
            if body["digest"] != now:
                raise Conflict(f"P-1 is another plan now ({now[:12]}); look at it and approve that one")
            answered = {"plan": "P-1", "state": "approved", "approvals": 1, "needed": 1, "incident": 17}
            return web.json_response(answered)
        if path in ("pause", "resume"):
            return web.json_response({"paused": [f"all by ada: {HOSTILE}"] if path == "pause" else []})
        return web.json_response(incident_view(an_incident()))

    def _gate(self, request: web.Request) -> web.Response | None:
        self.seen.append(request.path_qs)
        self.headers.append(dict(request.headers))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": "a valid token is needed"}, status=401)
        if self.away:
            raise Unavailable("the store cannot take it now")
        if self.forbid:
            raise NotAllowed(self.forbid)
        return None

    def _page(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        # Two a page, so that a list has to be followed.
        start = int(request.query.get("cursor") or 0)
        page = items[start : start + 2]
        following = start + 2 if start + 2 < len(items) else None
        return web.json_response(
            {"items": page, "next_cursor": None if following is None else str(following)}
        )

    async def _audit(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in a_chain()]
        if self.cut_audit:
            await response.write(b"".join(lines[:3]))
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(b"".join(lines))
        return response

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in self.streams.pop(0) if self.streams else []:
            await response.write(part)
        return response


@pytest.fixture
def service() -> Iterator[FakeService]:
    """The fake service, in a thread of its own: the commands block."""
    fake = FakeService()
    loop = asyncio.new_event_loop()
    started, runner = threading.Event(), None

    async def start() -> None:
        nonlocal runner
        runner = web.AppRunner(fake.application())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        assert runner is not None
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, name="fake service")
    thread.start()
    assert started.wait(10)
    yield fake
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


Stanch = Callable[..., Result]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Stanch:
    """The command line with nothing set."""
    for name in [name for name in os.environ if name.startswith("STANCH_")]:
        monkeypatch.delenv(name)
    # A build server may ask for colours; these tests read what a pipe gets.
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", None)

    def run(*words: str, **more: Any) -> Result:
        return CliRunner().invoke(app, list(words), **more)

    return run


@pytest.fixture
def stanch(nowhere: Stanch, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Stanch:
    """The command line, set up for the fake service."""
    monkeypatch.setenv("STANCH_URL", service.url)
    monkeypatch.setenv("STANCH_TOKEN", TOKEN)
    return nowhere


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person sits there."""
    monkeypatch.setattr("receiver.terminal.screen.on_terminal", lambda: True)
