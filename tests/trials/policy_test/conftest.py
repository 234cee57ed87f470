"""Files of policy tests, written as an SRE would, about the policies that ship."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.packaged import policies
from receiver.trials.policy_test.folder import Opened, open_file
from receiver.trials.policy_test.running import Result, chosen, run

SHIPPED = policies()
HEAD = f"""\
apiVersion: stanch/v1
kind: PolicyTest
policies: [{", ".join(str(path) for path in sorted(SHIPPED.glob("*.yaml")))}]
defaults:
  clock: "2026-03-02T02:00:00Z"
  cluster: {SHIPPED / "tests" / "cluster" / "two-releases.yaml"}
  queries: {{traffic: "20x300", err: "0.002x51 0.35x250", p95: "0.3x300", probes_down: "0x300"}}
  alerts:
    - {{at: 55m, labels: {{alertname: HighErrorRate, app: greenlang-api, namespace: greenlang}}}}
tests:
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write tests below a head that says the usual; the path of their file."""

    def writing(tests: str) -> Path:
        path = tmp_path / "story.yaml"
        path.write_text(HEAD + textwrap.indent(textwrap.dedent(tests).strip("\n"), "  ") + "\n")
        return path

    return writing


def opened(path: Path) -> Opened:
    """The file, which must be without mistakes."""
    found = open_file(path)
    assert [str(complaint) for complaint in found.complaints] == []
    return found


def played(path: Path, name: str | None = None) -> list[Result]:
    """What comes of the tests of this file."""
    return asyncio.run(run(chosen([opened(path)], name)))


def line_of(path: Path, text: str) -> int:
    """The line on which a text stands first."""
    return path.read_text().split(text)[0].count("\n") + 1
