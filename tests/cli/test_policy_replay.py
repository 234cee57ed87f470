"""`stanch policy replay` and `stanch alerts journal`: where deliveries come from, what is shown, the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import alert, labels, notification

from receiver.domain.journal import Kept, line_of
from receiver.packaged import policies
from tests.cli.conftest import HOSTILE
from tests.cli.test_policy_files import two_folders

if TYPE_CHECKING:
    from tests.cli.conftest import FakeService, Stanch

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def delivery(minute: int = 0, **changes: str) -> Kept:
    at = NOON + timedelta(minutes=minute)
    body = notification(alert(starts_at=at, with_labels=labels(**{"cluster": "", **changes})))
    return Kept(at, "alertmanager", body)


def written(tmp_path: Path, *lines: bytes) -> str:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(lines))
    return str(path)


@pytest.fixture
def shadowed(tmp_path: Path) -> tuple[str, str]:
    """The packaged policies, and the same that only shadow."""
    return two_folders(tmp_path, "  mode: propose\n", "  mode: shadow\n")


def test_what_differs_is_a_row_and_the_rest_is_counted(
    nowhere: Stanch, tmp_path: Path, shadowed: tuple[str, str]
) -> None:
    old, new = shadowed
    journal = written(tmp_path, line_of(delivery()), line_of(delivery(1, alertname="Other", app="other")))
    result = nowhere("policy", "replay", old, "--against", new, "--journal", journal)
    assert result.exit_code == 0, result.output
    assert "HighErrorRate on" in result.stdout
    assert "perhaps -> no" in result.stdout
    assert "unknown (no" in result.stdout
    assert "Other" not in result.stdout
    assert "2 alerts; 2 incidents; 1 differ" in result.stdout
    every = nowhere("policy", "replay", old, "--against", new, "--journal", journal, "--all")
    assert "Other on" in every.stdout


def test_a_difference_that_is_asked_about_ends_with_1(
    nowhere: Stanch, tmp_path: Path, shadowed: tuple[str, str]
) -> None:
    old, new = shadowed
    words = ("policy", "replay", "--journal", written(tmp_path, line_of(delivery())))
    fails = nowhere(*words, old, "--against", new, "--fail-on", "auto-added, page-removed", "-o", "json")
    assert fails.exit_code == 1
    document = json.loads(fails.stdout)
    assert (document["ok"], document["failed_on"]) == (False, ["page-removed"])
    assert document["items"][0]["new"]["proposed"][0]["mode"] == "only shadows"
    assert nowhere(*words, old, "--against", new, "--fail-on", "auto-added").exit_code == 0
    assert nowhere(*words, old, "--against", old, "--fail-on", "page-removed").exit_code == 0
    assert nowhere(*words, old, "--against", new, "--fail-on", "everything").exit_code == 2


def test_a_broken_line_is_named_by_its_number_and_ends_with_2(nowhere: Stanch, tmp_path: Path) -> None:
    same = str(policies())
    journal = written(tmp_path, line_of(delivery()), b"\n", b"{broken\n", line_of(delivery(2)))
    result = nowhere("policy", "replay", "--against", same, "--journal", journal)
    assert result.exit_code == 2
    assert f"{journal}, line 3: it is not JSON" in result.stderr
    assert result.stdout == ""
    assert nowhere("policy", "replay", "--against", same, "--journal", "none.jsonl").exit_code == 2


def test_a_journal_is_read_from_standard_input_and_cut_to_the_time_that_is_asked_for(nowhere: Stanch) -> None:
    lines = b"".join(line_of(delivery(minute)) for minute in range(4))
    words = ("policy", "replay", "--against", str(policies()), "--journal", "-")
    cut = ("--from", "2026-03-01T12:01:00Z", "--to", "2026-03-01T12:03:00Z")
    assert "2 deliveries" in nowhere(*words, *cut, input=lines).stdout
    assert nowhere(*words, "--from", "yesterday", input=lines).exit_code == 2


def test_hostile_labels_are_shown_harmless(
    nowhere: Stanch, tmp_path: Path, shadowed: tuple[str, str]
) -> None:
    old, new = shadowed
    changes = {"cluster": HOSTILE + "|`"}
    journal = written(tmp_path, line_of(delivery(namespace=HOSTILE + "|`")), line_of(delivery(1, **changes)))
    for form in ("text", "markdown", "json"):
        words = ("--journal", journal, "--all", "-o", form)
        result = nowhere("policy", "replay", old, "--against", new, *words)
        assert result.exit_code == 0
        assert not set(result.stdout) & set("\x1b\x07\u202e\x9b"), form
        if form == "text":
            assert "[bold red]x[/]" in " ".join(result.stdout.split())


def test_the_service_is_asked_where_no_file_is_named(stanch: Stanch, service: FakeService) -> None:
    service.journal = [delivery(), delivery(1), Kept(NOON, "alertmanager", b"\xff")]
    result = stanch("policy", "replay", "--against", str(policies()), "--from", "2026-03-01")
    assert result.exit_code == 0, result.output
    assert "3 deliveries (1 unreadable, skipped); 2 alerts; 1 incidents; 0 differ" in result.stdout


def test_the_journal_that_is_written_is_the_one_that_is_read(stanch: Stanch, service: FakeService) -> None:
    service.journal = [delivery(), Kept(NOON, "alertmanager", b"\xff"), delivery(1, app=HOSTILE)]
    result = stanch("alerts", "journal")
    assert result.exit_code == 0, result.output
    assert result.stdout == "".join(line_of(kept).decode() for kept in service.journal)
    assert stanch("alerts", "journal", "--to", "soon").exit_code == 2
