"""The API server on a real socket: reads requests, lets the rules answer, and makes trouble when ordered.

Used within a test or the demo as an async context manager, and by the command of this package as a process
of its own. Listens on loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_never

from aiohttp import web

from receiver.demo.kubernetes import backdoor, watches
from receiver.demo.kubernetes.access import Access
from receiver.demo.kubernetes.calls import Call, CallLog
from receiver.demo.kubernetes.faults import Fault, Faults
from receiver.demo.kubernetes.handlers import Handlers
from receiver.demo.kubernetes.logs import Logs
from receiver.demo.kubernetes.metrics import Metrics
from receiver.demo.kubernetes.requests import ApiRequest, Reply
from receiver.demo.kubernetes.selectors import truth
from receiver.demo.kubernetes.status import ApiError
from receiver.demo.kubernetes.world import READY_AFTER, World
from receiver.domain.clock import Clock

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
# A rollback of a Deployment with a few hundred variables is far below; etcd takes 1.5 MiB.
_MAX_BODY_BYTES = 3 * 1024 * 1024


class ApiServer(World):
    """A world that can be reached over HTTP.

    With ``automatic`` the controllers follow the clock by themselves; without, only `reconcile` moves them.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        port: int = 0,
        ready_after: timedelta = READY_AFTER,
        automatic: bool = True,
        calls_file: Path | None = None,
        nodes: int = 2,
        seed: int = 0,
    ) -> None:
        self._size = {"nodes": nodes, "seed": seed}
        super().__init__(clock, ready_after=ready_after, **self._size)
        self._open_doors(CallLog(calls_file, now=self.clock.now))
        self._automatic = automatic
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None

    def _open_doors(self, calls: CallLog) -> None:
        self.access = Access()
        self.faults = Faults()
        self.logs = Logs()
        self.metrics = Metrics()
        self.calls = calls
        self._handlers = Handlers(self.registry, self.access, self.logs, self.metrics)

    def start_over(self, clock: Clock) -> None:
        """An empty cluster at the same address, on another clock; not where a task follows the first one."""
        assert not self._automatic
        self.calls.close()
        World.__init__(self, clock, ready_after=self.controller.ready_after, **self._size)
        self._open_doors(CallLog(now=self.clock.now))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def writes(self) -> list[Call]:
        """The calls that changed something: dry runs, refusals and patches without effect are none."""
        return [call for call in self.calls if call.applied is not None]

    async def __aenter__(self) -> ApiServer:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        backdoor.add_routes(app, self)
        app.router.add_route("*", "/{path:.*}", self._serve)
        # Watches have no end of their own; on the way out nobody waits for them.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        if self._automatic:
            self._own(self._follow_clock(), "kubernetes controllers")
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        self.calls.close()
        for result in ended:
            if isinstance(result, Exception):
                raise result

    def flap(
        self, plural: str, namespace: str, name: str, *, every: timedelta, times: int | None = None
    ) -> asyncio.Task[None]:
        """Write the object's status again and again, until ``times`` or the returned task's cancellation."""

        async def run() -> None:
            done = 0
            while times is None or done < times:
                self.touch(plural, namespace, name)
                done += 1
                await self.clock.sleep(every)

        return self._own(run(), f"status flapping of {plural}/{name}")

    def _own(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run beside the requests; what fails there is raised when the server goes down."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)

    async def _follow_clock(self) -> None:
        with self.store.listening() as changed:
            while True:
                self.reconcile()
                changed.clear()
                due = self.controller.next_due()
                waits = [asyncio.create_task(_until(changed), name="a change in the cluster")]
                if due is not None:
                    pause = max(due - self.clock.now(), timedelta(0))
                    waits.append(asyncio.create_task(self.clock.sleep(pause), name="something due"))
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()
                    await asyncio.gather(*waits, return_exceptions=True)

    # -- one request

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        asked = ApiRequest(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers=request.headers,
            body=await request.read(),
            host=request.host,
        )
        call = self._note(asked)
        fault = self.faults.take(asked.method, asked.path, dry_run=asked.dry_run)
        if fault is not None:
            return await self._serve_badly(request, asked, call, fault)
        if asked.watching:
            return await self._watch(request, asked, call)
        reply = self._execute(asked, call)
        if isinstance(reply.body, Iterator):
            return await _streamed(request, reply.body)
        return _response(reply)

    def _note(self, asked: ApiRequest) -> Call:
        try:
            body = asked.parsed()
        except ApiError:
            body = asked.body.decode(errors="replace")
        return self.calls.arrived(
            at=self.clock.now().isoformat(),
            method=asked.method,
            path=asked.path,
            query=dict(asked.query),
            content_type=asked.content_type,
            body=body,
            user_agent=asked.headers.get("User-Agent", ""),
            user=self._user_name(asked),
        )

    def _user_name(self, asked: ApiRequest) -> str:
        try:
            return self.access.who(asked.headers).name
        except ApiError:
            return ""

    def _execute(self, asked: ApiRequest, call: Call, *, fault: str = "", answered: bool = True) -> Reply:
        """Handle the request and note what came of it, in one breath."""
        if self._automatic:
            # The controllers' task may not have had its turn since the clock moved.
            self.reconcile()
        reply = self._handlers.handle(asked)
        self.calls.settled(call, status=reply.status, applied=reply.applied, fault=fault, answered=answered)
        return reply

    async def _serve_badly(
        self, request: web.Request, asked: ApiRequest, call: Call, fault: Fault
    ) -> web.StreamResponse:
        match fault.kind:
            case "refuse":
                self.calls.settled(call, status=fault.status, fault=fault.kind)
                headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
                return web.json_response(fault.refusal(), status=fault.status, headers=headers)
            case "delay":
                await self.clock.sleep(fault.delay)
                if asked.watching:
                    return await self._watch(request, asked, call)
                return _response(self._execute(asked, call, fault=fault.kind))
            case "answer-late":
                reply = self._execute(asked, call, fault=fault.kind)
                await self.clock.sleep(fault.delay)
                return _response(reply)
            case "lose-answer":
                self._execute(asked, call, fault=fault.kind, answered=False)
            case "drop":
                self.calls.settled(call, answered=False, fault=fault.kind)
            case "land-late":
                self._own(self._land_late(asked, call, fault), f"late landing of call {call.number}")
            case _:
                assert_never(fault.kind)
        return _hang_up(request)

    async def _land_late(self, asked: ApiRequest, call: Call, fault: Fault) -> None:
        await self.clock.sleep(fault.delay)
        limit = parse_duration(asked.query.get("timeout", ""))
        if fault.respect_timeout and limit is not None and fault.delay > limit:
            self.calls.settled(call, answered=False, fault=fault.kind)
            return
        self._execute(asked, call, fault=fault.kind, answered=False)

    async def _watch(self, request: web.Request, asked: ApiRequest, call: Call) -> web.StreamResponse:
        try:
            target = self._handlers.watch_target(asked)
        except ApiError as error:
            self.calls.settled(call, status=error.code)
            return web.json_response(error.body, status=error.code)
        self.calls.settled(call, status=200)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        query = dict(asked.query)
        if target.name:
            query["fieldSelector"] = f"metadata.name={target.name}"

        async def send() -> None:
            # The client may go in the midst of an event: that is how watches end.
            with contextlib.suppress(ConnectionError):
                async for event in watches.follow(self.store, target.resource, target.namespace, query):
                    await response.write(json.dumps(event).encode() + b"\n")

        sending = self._own(send(), f"watch of {target.full}")
        seconds = float(query.get("timeoutSeconds") or 3600)
        ending = self._own(self.clock.sleep(timedelta(seconds=seconds)), "end of a watch")
        try:
            await asyncio.wait({sending, ending}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done() and not ending.cancelled() and truth(query.get("allowWatchBookmarks")):
                last = watches.bookmark(target.resource, self.store.version)
                with contextlib.suppress(ConnectionError):
                    await response.write(json.dumps(last).encode() + b"\n")
        finally:
            for task in (sending, ending):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        return response


async def _streamed(request: web.Request, blocks: Iterator[bytes]) -> web.StreamResponse:
    """Send block by block until there is no more, or whoever asked has gone."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for block in blocks:
            await response.write(block)
        await response.write_eof()
    return response


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _response(reply: Reply) -> web.Response:
    if isinstance(reply.body, str):
        plain = "text/plain" if reply.status == 200 else "text/plain; charset=utf-8"
        return web.Response(body=reply.body.encode(), status=reply.status, headers={"Content-Type": plain})
    assert not isinstance(reply.body, Iterator)
    response = web.Response(
        body=json.dumps(reply.body).encode(),
        status=reply.status,
        headers={"Content-Type": "application/json"},
    )
    for warning in reply.warnings:
        response.headers.add("Warning", f"299 - {json.dumps(warning)}")
    return response


def _hang_up(request: web.Request) -> web.Response:
    """Close the connection so that the client gets no answer; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def parse_duration(text: str) -> timedelta | None:
    """`10s`, `1m30s`, `500ms` as Go writes them; None for anything else."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
