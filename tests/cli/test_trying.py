"""The commands that try things out: what they hand on, and what they forget first."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Stanch


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a stand-in for the demo was given, and the environment at that moment."""
    seen: list[Any] = []

    def main(options: SimpleNamespace) -> int:
        seen.append((options, dict(os.environ)))
        return 1

    stand_in = SimpleNamespace(DEFAULT_SPEED=240.0, DemoOptions=SimpleNamespace, main=main)
    monkeypatch.setitem(sys.modules, "receiver.demo.run", stand_in)
    return seen


def test_the_demo_gets_its_options_and_gives_its_exit_code(nowhere: Stanch, played: list[Any]) -> None:
    result = nowhere("demo", "--yes", "--scenario", "x", "--speed", "60", "--output", "json")
    assert result.exit_code == 1
    assert vars(played[0][0]) == {"yes": True, "scenario": "x", "speed": 60.0, "output": "json"}


def test_the_demo_sees_no_address_of_the_real_world(
    nowhere: Stanch, played: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "STANCH_STORE",
        "STANCH_BOGUS",
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
        "https_proxy",
        "NO_PROXY",
    )
    for name in names:
        monkeypatch.setenv(name, "http://10.0.0.1")
    nowhere("demo")
    assert not set(names) & set(played[0][1])
    assert played[0][0].speed == 240.0


def test_the_scenarios_are_listed(nowhere: Stanch) -> None:
    listed = json.loads(nowhere("demo", "--list", "--output", "json").stdout)["items"]
    assert "inc-001" in [one["name"] for one in listed]
    assert all(one["sentence"] for one in listed)
    assert "inc-001" in nowhere("demo", "--list").stdout


def test_explaining_hands_the_body_on(nowhere: Stanch, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def main(path: Path, output: str) -> int:
        seen.append((path, output))
        return 0

    monkeypatch.setitem(sys.modules, "receiver.trials.explain", SimpleNamespace(main=main))
    assert nowhere("explain", "body.json", "-o", "json").exit_code == 0
    assert seen == [(Path("body.json"), "json")]
