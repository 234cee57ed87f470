"""The vault writes once and for its owner only, and whatever is changed in it later is found by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from evidence_folder import filled as a_folder

from receiver.evidence.manifest import (
    MANIFEST,
    Gap,
    Manifest,
    differences,
    manifest_text,
    read_manifest,
)
from receiver.evidence.vault import Capture, Vault

GAPS = (Gap("Pod shop/gone", "it is gone"),)


def filled(vault: Vault, incident: int = 1) -> tuple[Capture, Manifest, str]:
    """A sealed capture of two files with its manifest and that one's hash."""
    capture, told = a_folder(vault.folder, incident, GAPS)
    sealed = capture.sealed()
    assert sealed is not None and sealed[1] == told.manifest
    return capture, *sealed


def append(path: Path) -> None:
    with path.open("ab") as opened:
        opened.write(b"x")


TAMPERED: list[tuple[str, Callable[[Path], object], str]] = [
    ("a flipped byte", lambda p: (p / "pods/shop/api/api.log").write_bytes(b"one\ntvo\n"), "was changed"),
    ("a removed file", lambda p: (p / "nodes/node-0.json").unlink(), "nodes/node-0.json is missing"),
    ("an added file", lambda p: (p / "nodes/x").write_bytes(b""), "nodes/x was added"),
    ("a cut tail", lambda p: os.truncate(p / "pods/shop/api/api.log", 4), "is cut: 4 of 8 bytes"),
    ("a longer file", lambda p: append(p / "nodes/node-0.json"), "grew: 3 bytes instead of 2"),
    ("an added link", lambda p: (p / "link").symlink_to("/etc"), "link was added"),
]


@pytest.mark.parametrize(("change", "told"), [row[1:] for row in TAMPERED], ids=[row[0] for row in TAMPERED])
def test_each_change_is_named(tmp_path: Path, change: Callable[[Path], object], told: str) -> None:
    capture, manifest, _ = filled(Vault(tmp_path))
    change(capture.path)
    (found,) = differences(manifest, capture.files())
    assert told in found


def test_a_file_that_became_a_link_to_the_same_bytes_is_named(tmp_path: Path) -> None:
    capture, manifest, _ = filled(Vault(tmp_path))
    path = capture.path / "nodes/node-0.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert differences(manifest, capture.files()) == ("nodes/node-0.json is no plain file any more",)


def test_a_manifest_that_was_written_anew_has_another_hash(tmp_path: Path) -> None:
    capture, manifest, name = filled(Vault(tmp_path))
    (capture.path / MANIFEST).write_text(manifest_text(replace(manifest, gaps=())))
    again = capture.sealed()
    assert again is not None and again[1] != name


def test_a_torn_manifest_is_none(tmp_path: Path) -> None:
    capture, _, _ = filled(Vault(tmp_path))
    os.truncate(capture.path / MANIFEST, 40)
    assert capture.sealed() is None


def test_nothing_is_written_over(tmp_path: Path) -> None:
    capture, manifest, _ = filled(Vault(tmp_path))
    with pytest.raises(FileExistsError):
        capture.create("nodes/node-0.json")
    with pytest.raises(FileExistsError):
        capture.seal(manifest)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "manifest.json", "a\0b"])
def test_no_file_is_made_elsewhere(tmp_path: Path, path: str) -> None:
    capture = Vault(tmp_path / "vault").begin(1, "x")
    with pytest.raises(ValueError, match="is no path inside a capture"):
        capture.create(path)


def test_only_the_owner_reads_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        filled(Vault(tmp_path / "vault"))
    finally:
        os.umask(before)
    for path in [tmp_path / "vault", *(tmp_path / "vault").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_two_captures_of_one_incident_have_folders_of_their_own(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    assert [filled(vault)[0].name, filled(vault)[0].name] == [
        f"20260301T030000.000000Z-{number}" for number in (1, 2)
    ]
    filled(vault, incident=12)
    assert [one.incident for one in vault.captures()] == [1, 1, 12]
    assert len(vault.captures(1)) == 2


def test_a_manifest_reads_back_and_no_other_text_does(tmp_path: Path) -> None:
    _, manifest, _ = filled(Vault(tmp_path))
    assert read_manifest(manifest_text(manifest)) == manifest
    for text in ("", "{}", manifest_text(manifest).replace('"format"', '"formal"')):
        with pytest.raises(ValueError, match="validation error"):
            read_manifest(text)
