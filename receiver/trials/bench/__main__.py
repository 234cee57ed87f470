"""`python -m receiver.trials.bench`: run the measures one after another and print the table.

Speed is stated, never asserted: the exit code is 0 unless something acknowledged was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog
from rich.console import Console

from receiver.trials.bench.children import ChildError
from receiver.trials.bench.decision import decision
from receiver.trials.bench.intake import burst, hundreds, single
from receiver.trials.bench.lifecycles import lifecycles, waiting
from receiver.trials.bench.loading import loading
from receiver.trials.bench.proposing import proposing
from receiver.trials.bench.service import Bench
from receiver.trials.bench.starting import starting
from receiver.trials.bench.table import Row, as_json, left_out, show

Measure = Callable[[Bench], Awaitable[list[Row]]]

MEASURES: Mapping[str, Measure] = {
    "decision": decision,
    "loading": loading,
    "start": starting,
    "posts": single,
    "hundreds": hundreds,
    "burst": burst,
    "proposal": proposing,
    "lifecycles": lifecycles,
    "waiting": waiting,
}
# No measure takes longer than this for each run, whatever is wrong with the machine.
LIMIT_SECONDS = 400.0


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m receiver.trials.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=None, help="runs behind each median; 3, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="a pass of a minute or two: short loads")
    parser.add_argument("--only", action="append", choices=sorted(MEASURES), help="repeatable")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    return parser.parse_args(given)


def main() -> int:
    """Run what the command line asks for."""
    options = arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    _allow_many_files()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        rows = asyncio.run(run(options))
    except KeyboardInterrupt:
        return 130
    about = {
        "Python": platform.python_version(),
        "cores": os.cpu_count() or 0,
        "machine": platform.machine(),
        "runs": _runs(options),
    }
    if options.output == "json":
        sys.stdout.write(as_json(rows, about) + "\n")
    else:
        show(rows, about, Console(highlight=False))
    return 1 if any(row.lost for row in rows) else 0


async def run(options: argparse.Namespace) -> list[Row]:
    """Every measure that is asked for; one that fails is a row that says so."""
    progress = Console(stderr=True, highlight=False)
    began = time.monotonic()

    def say(text: str) -> None:
        progress.print(f"[{time.monotonic() - began:5.0f} s] {text}", markup=False)

    rows: list[Row] = []
    # World-readable: a PostgreSQL started by root runs as another user.
    with tempfile.TemporaryDirectory(prefix="stanch-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # noqa: ASYNC240 - one system call
        bench = Bench(folder, runs=_runs(options), quick=options.quick, say=say)
        for name, measure in MEASURES.items():
            if options.only and name not in options.only:
                continue
            try:
                async with asyncio.timeout(LIMIT_SECONDS * bench.runs):
                    rows += await measure(bench)
            except TimeoutError:
                rows.append(left_out(name, "it took too long and was stopped"))
            except (ChildError, OSError) as error:
                rows.append(left_out(name, str(error)))
    return rows


def _runs(options: argparse.Namespace) -> int:
    return max(1, options.runs if options.runs is not None else (1 if options.quick else 3))


def _allow_many_files() -> None:
    """Two thousand connections at once, here and in the service, need as many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _as_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
