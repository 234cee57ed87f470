"""Evidence from the command line: listed, checked against its manifest and the timeline, handed over."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from evidence_folder import LOG, NODE, filled

from receiver.evidence.manifest import MANIFEST, Gap, manifest_text
from receiver.evidence.vault import Vault, captures_at

if TYPE_CHECKING:
    from tests.cli.conftest import FakeService, Stanch


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The evidence folder that the environment names."""
    monkeypatch.setenv("STANCH_EVIDENCE_DIR", str(tmp_path / "evidence"))
    (tmp_path / "evidence").mkdir()
    return tmp_path / "evidence"


def test_what_is_kept_is_listed(nowhere: Stanch, folder: Path) -> None:
    _, told = filled(folder, gaps=(Gap("Pod shop/x", "it is gone"),))
    Vault(folder).begin(18, "x")
    first, second = json.loads(nowhere("evidence", "list", "-o", "json").stdout)["items"]
    assert (first["incident"], first["manifest"], first["files"], first["bytes"]) == (
        17,
        told.manifest,
        2,
        10,
    )
    assert first["gaps"] == ["Pod shop/x: it is gone"]
    assert (second["incident"], second["sealed"]) == (18, False)
    shown = nowhere("evidence", "list")
    assert "never sealed" in shown.stdout and shown.exit_code == 0


def test_no_folder_is_a_sentence(nowhere: Stanch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STANCH_EVIDENCE_DIR", raising=False)
    assert nowhere("evidence", "list").exit_code == 2
    result = nowhere("evidence", "list", "--dir", str(tmp_path / "no"))
    assert result.exit_code == 2 and "there is no folder" in result.stderr


def test_it_is_held_to_the_timeline(stanch: Stanch, service: FakeService, folder: Path) -> None:
    _, told = filled(folder)
    service.told = [told]
    result = stanch("evidence", "verify", "17")
    assert result.exit_code == 0
    assert "its manifest is the one that was told" in result.stdout


def test_without_the_service_it_says_that_it_is_not_proven(nowhere: Stanch, folder: Path) -> None:
    filled(folder)
    result = nowhere("evidence", "verify", "17")
    assert result.exit_code == 0 and "not proven: the timeline could not be read" in result.stdout
    found = json.loads(nowhere("evidence", "verify", "17", "-o", "json").stdout)
    assert (found["ok"], found["proven"]) == (True, False)


def test_a_manifest_that_was_written_anew_with_its_files_is_found_by_the_timeline(
    stanch: Stanch, service: FakeService, folder: Path
) -> None:
    capture, told = filled(folder)
    service.told = [told]
    sealed = capture.sealed()
    assert sealed is not None
    (capture.path / NODE).unlink()
    anew = replace(sealed[0], files=sealed[0].files[:1])
    (capture.path / MANIFEST).write_text(manifest_text(anew))
    result = stanch("evidence", "verify", "17")
    assert result.exit_code == 1 and "its manifest was changed" in result.stderr
    kept = stanch("evidence", "verify", str(capture.path), "--manifest", told.manifest)
    assert kept.exit_code == 1 and "its manifest was changed" in kept.stderr


def test_every_change_is_named(nowhere: Stanch, folder: Path) -> None:
    capture, _ = filled(folder)
    (capture.path / LOG).write_bytes(b"one\n")
    (capture.path / NODE).unlink()
    (capture.path / "more").write_bytes(b"")
    result = nowhere("evidence", "verify", "17")
    assert result.exit_code == 1
    for words in (f"{LOG} is cut: 4 of 8", f"{NODE} is missing", "more was added"):
        assert words in result.stderr


def test_a_capture_that_is_gone_or_nobody_told_of_is_named(
    stanch: Stanch, service: FakeService, folder: Path
) -> None:
    capture, told = filled(folder)
    service.told = [replace(told, capture="20260301T040000.000000Z-1")]
    result = stanch("evidence", "verify", "17")
    assert result.exit_code == 1
    assert f"capture {capture.name}: the timeline does not name this capture" in result.stderr
    assert "capture 20260301T040000.000000Z-1 is missing" in result.stderr


def test_an_abandoned_one_is_no_fault_once_a_later_one_names_it(nowhere: Stanch, folder: Path) -> None:
    left = Vault(folder).begin(17, "20260301T030000.000000Z")
    assert nowhere("evidence", "verify", "17").exit_code == 1
    filled(folder, gaps=(Gap(f"capture {left.name}", "never sealed"),))
    result = nowhere("evidence", "verify", "17")
    assert result.exit_code == 0 and "it proves nothing" in result.stdout


def test_what_is_exported_verifies_where_it_is_unpacked(
    nowhere: Stanch, folder: Path, tmp_path: Path
) -> None:
    capture, told = filled(folder)
    archive = tmp_path / "17.tar.gz"
    result = nowhere("evidence", "export", "17", "-o", str(archive))
    assert result.exit_code == 0
    assert result.stdout.split()[0] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "there", filter="data")
    there = tmp_path / "there" / "incident-17"
    assert [one.name for one in captures_at(there)] == [capture.name]
    checked = nowhere("evidence", "verify", str(there), "--manifest", told.manifest)
    assert checked.exit_code == 0, checked.stderr
    assert nowhere("evidence", "export", "17", "-o", str(archive)).exit_code == 2


def test_what_differs_is_not_exported(nowhere: Stanch, folder: Path, tmp_path: Path) -> None:
    capture, _ = filled(folder)
    (capture.path / LOG).write_bytes(b"one\ntvo\n")
    result = nowhere("evidence", "export", "17", "-o", str(tmp_path / "x.tar.gz"))
    assert result.exit_code == 1 and "was changed" in result.stderr
    assert not (tmp_path / "x.tar.gz").exists()
