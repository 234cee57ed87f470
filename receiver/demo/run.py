"""`stanch demo`: the real service in the demo world, an incident from alert to resolved, told live.

Loopback only: a cluster, Prometheus and Alertmanager of our own, a fresh store in a temporary folder, free
ports, and everything removed at the end. The policies are the shipped ones, byte for byte; time runs faster
by one factor, and at its real pace while a person is being asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import structlog
from rich.console import Console

from receiver.app import Service, serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.scenario import scenario as find_scenario
from receiver.demo.screen import Screen
from receiver.demo.status_page import StatusPages
from receiver.demo.story import Containing, DemoOptions, Healing, People, PublicChannel
from receiver.demo.world import CLUSTER, DemoWorld, demo_world
from receiver.domain.errors import NotFound
from receiver.pipeline.world import Destination, Timing
from receiver.settings import Settings

DEFAULT_SPEED = 240.0


def main(options: DemoOptions) -> int:
    """Run the demo; 0 when the incident was cured and resolved, 1 when not."""
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(run(options))
    return 130


async def run(options: DemoOptions, console: Console | None = None) -> int:
    """The demo in this event loop. Raises NotFound for an unknown scenario."""
    scenario = find_scenario(options.scenario)
    _quiet_logs()
    clock = WorldClock(speed=options.speed)
    screen = Screen(output=options.output, clock=clock, console=console)
    people = People()
    told = (PublicChannel(screen),) if scenario.attack else ()
    with tempfile.TemporaryDirectory(prefix="stanch-demo-") as folder:
        async with (
            demo_world(scenario, clock) as world,
            StatusPages() as pages,
            _service(world, pages, clock, people, Path(folder), told) as service,
        ):
            screen.opening(scenario, options, service.url)
            kind = Containing if scenario.attack else Healing
            return await kind(options, world, service, people, screen, clock).tell()


@contextlib.asynccontextmanager
async def _service(
    world: DemoWorld,
    pages: StatusPages,
    clock: WorldClock,
    people: People,
    folder: Path,
    told: tuple[Destination, ...],
) -> AsyncIterator[Service]:
    """The service, told nothing that does not lie on loopback."""
    token = secrets.token_urlsafe(18)
    tokens = folder / "webhook-tokens"
    tokens.write_text(token + "\n", encoding="utf-8")
    endpoints = folder / "endpoints.yaml"
    pages.write_endpoints(endpoints)
    settings = Settings(
        listen="127.0.0.1:0",
        store=f"sqlite:///{folder / 'stanch.sqlite3'}",
        prometheus_url=world.prometheus.url,
        alertmanager_urls=(world.alertmanager.url,),
        alertmanager_receiver="stanch",
        cluster=CLUSTER,
        webhook_token_file=tokens,
        endpoints_file=endpoints,
        evidence_dir=folder / "evidence",
    )
    door = await cluster.connect(url=world.api.url)
    try:
        # Polling is in real time: at this speed a second is minutes.
        timing = Timing(poll=timedelta(milliseconds=100), reconcile=timedelta(seconds=30))
        async with serving(
            settings, clock=clock, door=door, timing=timing, people=people, extra_destinations=told
        ) as service:
            world.alertmanager.send_to(service.url, token)
            yield service
    finally:
        await door.close()


def _quiet_logs() -> None:
    """The timeline is what a newcomer wants to see; the log of the service stays for errors."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


__all__ = ["DemoOptions", "NotFound", "main", "run"]
