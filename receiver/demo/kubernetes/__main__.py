"""The small API server as a process of its own, on real time, until SIGTERM or SIGINT.

Prints its URL once it listens, so whoever started it can wait for that line.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

from ruamel.yaml import YAML

from receiver.demo.kubernetes.access import User
from receiver.demo.kubernetes.clocks import RealClock
from receiver.demo.kubernetes.resources import JsonObject
from receiver.demo.kubernetes.server import ApiServer
from receiver.demo.kubernetes.world import READY_AFTER


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m receiver.demo.kubernetes", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 (default) takes a free one")
    parser.add_argument(
        "--manifests",
        type=Path,
        help="YAML documents to create at the start; a Deployment given twice has two revisions",
    )
    parser.add_argument("--calls", type=Path, help="append every call's outcome there, one JSON line each")
    parser.add_argument(
        "--ready-after",
        type=float,
        default=READY_AFTER.total_seconds(),
        help="seconds from a pod's creation until it is Ready",
    )
    parser.add_argument(
        "--token", action="append", default=[], metavar="TOKEN=USER", help="demand a bearer token; repeatable"
    )
    return parser.parse_args()


def seed(api: ApiServer, path: Path) -> None:
    """Create the manifests; the rollouts of each Deployment lie an hour apart, the last one an hour ago.

    Everything else was there an hour before the first of them.
    """
    documents = [document for document in YAML(typ="safe").load_all(path) if document]
    deployments = [each for each in documents if each["kind"] == "Deployment"]
    to_come = Counter(_named(each) for each in deployments)
    by_hours: dict[int, list[JsonObject]] = defaultdict(list)
    for manifest in deployments:
        by_hours[to_come[_named(manifest)]].append(manifest)
        to_come[_named(manifest)] -= 1
    began = api.clock.now() - timedelta(hours=max(by_hours, default=0) + 1)
    with api.store.pinned(began):
        api.load(each for each in documents if each["kind"] != "Deployment")
    api.controller.reconcile(began)
    for hours in sorted(by_hours, reverse=True):
        api.rollouts(by_hours[hours], ago=timedelta(hours=hours))


def _named(manifest: JsonObject) -> tuple[str, str]:
    return manifest["metadata"].get("namespace", "default"), manifest["metadata"]["name"]


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    api = ApiServer(
        clock=RealClock(),
        port=options.port,
        ready_after=timedelta(seconds=options.ready_after),
        calls_file=options.calls,
    )
    for pair in options.token:
        token, _, name = pair.partition("=")
        api.access.tokens[token] = User(name)
    if options.manifests:
        seed(api, options.manifests)
    async with api:
        sys.stdout.write(f"{api.url}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
