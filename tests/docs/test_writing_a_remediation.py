"""The remediation of docs/writing-a-remediation.md: its code and its test run, the service carries it out."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from builders import CAROL, alert, notification, policies, policy
from cures import APP, NAMESPACE
from harness import harness
from typer.testing import CliRunner

from receiver.cli.main import app
from receiver.domain.errors import PermanentError
from receiver.pipeline import people
from receiver.policy.model import Candidate
from receiver.store.engine import Store
from remediations import plugins, registry

PAGE = Path(__file__).parent.parent.parent / "docs" / "writing-a-remediation.md"


def blocks() -> dict[str, str]:
    """The page's Python files, by the name in their first line."""
    found = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    return dict(found)


@pytest.fixture
def resume(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The page's module, installed as its entry point names it."""
    module = types.ModuleType("resume")
    exec(compile(blocks()["resume.py"], "resume.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "resume", module)
    install(monkeypatch, "resume:PLUGIN")
    yield module
    plugins.installed.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    entry = EntryPoint("resume", value, plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == plugins.GROUP else [])
    plugins.installed.cache_clear()


def test_the_pages_own_test_passes(tmp_path: Path) -> None:
    for name, text in blocks().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_resume.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr


async def test_the_service_carries_it_out(store: Store, resume: Any) -> None:
    rules = policy(candidates=(Candidate("deployment.resume", "", None, {}),), probes=())
    async with harness(store, policies=policies(rules)) as h:
        await h.fall_ill()
        h.demo.api.change("deployments", NAMESPACE, APP, {"spec": {"paused": True}})
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="it was forgotten")
        await h.work()
        assert "paused" not in h.demo.api.get("deployments", NAMESPACE, APP)["spec"]
        await h.pass_time(timedelta(minutes=1))
        assert "InPlace" in await h.kinds()
        assert h.demo.real_writes == 1


def test_it_is_listed_with_our_own(resume: Any) -> None:
    shown = CliRunner().invoke(app, ["remediations", "show", "deployment.resume"])
    assert shown.exit_code == 0
    assert "Goes on with a rollout that was paused." in shown.stdout


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"name": "deployment.rollback"}, "there is a remediation of that name", id="taken"),
        pytest.param({"name": "Resume"}, "its name is not like place.verb", id="a name"),
        pytest.param({"sentence": "Goes on"}, "does not end with a full stop", id="a sentence"),
        pytest.param({"writes": ()}, "no right that it writes with", id="no rights"),
        pytest.param({"version": 0}, "its version is below 1", id="a version"),
        pytest.param({"settle": timedelta(0)}, "in place", id="no time"),
        pytest.param({"mitigates": True, "reversible": False}, "cannot expire", id="a mitigation for ever"),
    ],
)
def test_one_that_is_not_well_formed_stops_the_start(
    resume: Any, changes: dict[str, Any], reason: str
) -> None:
    resume.PLUGIN = plugins.Plugin(replace(resume.SPEC, **changes), resume.PLUGIN.build)
    plugins.installed.cache_clear()
    with pytest.raises(PermanentError, match=reason):
        registry.catalogue()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param("nosuchmodule:PLUGIN", "cannot be loaded", id="no module"),
        pytest.param("remediations.registry:SPECS", "is no remediations.plugins.Plugin", id="something else"),
    ],
)
def test_one_that_cannot_be_loaded_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    install(monkeypatch, value)
    with pytest.raises(PermanentError, match=reason):
        registry.catalogue()
    plugins.installed.cache_clear()
