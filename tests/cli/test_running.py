"""The commands that are the service: settings, migrate, serve."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from receiver.domain.errors import PermanentError
from receiver.settings import Settings
from receiver.store.migrate import Preparing

if TYPE_CHECKING:
    from tests.cli.conftest import Stanch


def test_every_setting_is_listed_with_its_meaning_and_its_value(
    nowhere: Stanch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANCH_RECONCILE_EVERY", "PT1M")
    listed = json.loads(nowhere("settings", "-o", "json").stdout)["settings"]
    assert {one["name"] for one in listed} == {f"STANCH_{name.upper()}" for name in Settings.model_fields}
    assert all(one["meaning"] for one in listed)
    (one,) = [one for one in listed if one["name"] == "STANCH_RECONCILE_EVERY"]
    assert (one["value"], one["default"], one["set"]) == ("PT1M", "PT30S", True)
    assert "STANCH_RECONCILE_EVERY = PT1M" in nowhere("settings").stdout


@pytest.mark.parametrize("output", ["text", "json"])
def test_passwords_in_settings_are_hidden(
    nowhere: Stanch, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.setenv("STANCH_STORE", "postgresql://ada:hunter2@db/x")
    monkeypatch.setenv("STANCH_ALERTMANAGER_URLS", "http://a:hunter2@am:9093")
    result = nowhere("settings", "--output", output)
    assert (result.exit_code, "hunter2" in result.output) == (0, False)


@pytest.mark.parametrize("command", ["settings", "serve", "migrate"])
def test_all_wrong_settings_are_told_at_once(
    nowhere: Stanch, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("STANCH_LISTEN", "nowhere")
    monkeypatch.setenv("STANCH_STORE", "mysql://x")
    monkeypatch.setenv("STANCH_LISTNE", "x")
    result = nowhere(command)
    assert result.exit_code == 2
    assert all(name in result.stderr for name in ("STANCH_LISTEN", "STANCH_STORE", "STANCH_LISTNE"))
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "content", ["a: [hunter2", "- hunter2", "just hunter2", "\x00hunter2", "store: [hunter2]", "unknown: 1"]
)
def test_a_broken_file_of_settings_is_a_sentence_that_quotes_no_secret(
    nowhere: Stanch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("STANCH_CONFIG", "")
    (tmp_path / "c.yaml").write_text(content)
    result = nowhere("settings", "--config", str(tmp_path / "c.yaml"))
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("stanch: STANCH_")
    assert "hunter2" not in result.output


def test_the_file_of_settings_is_read(
    nowhere: Stanch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANCH_CONFIG", "")
    (tmp_path / "c.yaml").write_text("cluster: blue\n")
    assert "STANCH_CLUSTER = blue" in nowhere("settings", "-c", str(tmp_path / "c.yaml")).stdout


def test_a_store_is_brought_to_this_release(
    nowhere: Stanch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANCH_STORE", f"sqlite:///{tmp_path}/s.sqlite3")
    assert "has the schema of this release" in nowhere("migrate").stdout
    assert json.loads(nowhere("migrate", "-o", "json").stdout)["schema"]


def test_a_store_that_cannot_be_prepared_is_exit_code_one(
    nowhere: Stanch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(url: str) -> None:
        raise PermanentError(f"the store cannot be prepared: {url}")

    monkeypatch.setattr("receiver.store.migrate.prepare", fail)
    monkeypatch.setenv("STANCH_STORE", "postgresql://ada:hunter2@db/x")
    result = nowhere("migrate")
    assert (result.exit_code, "hunter2" in result.output) == (1, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_says_where_it_listens_and_drains_on_a_signal(
    nowhere: Stanch, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def serving(settings: Settings, *, preparing: Preparing) -> AsyncIterator[SimpleNamespace]:
        preparing.stop()
        seen.append(settings)
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        yield SimpleNamespace(url="http://127.0.0.1:8080")
        seen.append("drained")

    monkeypatch.setattr("receiver.app.serving", serving)
    result = nowhere("serve", "--insecure-no-auth", "--output", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"listening": "http://127.0.0.1:8080"}
    assert seen[0].insecure_no_auth
    assert seen[1] == "drained"


def test_what_serving_lacks_is_told_at_once(nowhere: Stanch) -> None:
    result = nowhere("serve")
    assert result.exit_code == 2
    assert {"STANCH_KUBE_CONTEXT", "STANCH_PROMETHEUS_URL"} <= {
        line.split(": ")[1] for line in result.stderr.splitlines()
    }
