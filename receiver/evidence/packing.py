"""Captures in one archive for whoever takes them over, each byte held to its manifest while it is packed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from receiver.evidence.manifest import MANIFEST, Kept, hash_of
from receiver.evidence.vault import Capture, Writing, plain_bytes


def pack(captures: Iterable[Capture], archive: Path) -> str:
    """Make the archive, which must not be there yet; its SHA-256.

    Raises OSError, and ValueError where a file is not as its manifest says: nothing is left behind then.
    """
    writing = Writing(archive)
    try:
        with io.BufferedWriter(_Raw(writing)) as raw, tarfile.open(fileobj=raw, mode="w:gz") as tar:
            for capture in captures:
                _add(tar, capture)
        writing.close()
    except BaseException:
        writing.close()
        archive.unlink()
        raise
    return writing.sha256


class _Raw(io.RawIOBase):
    """A new file as what the archive is written into."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    def writable(self) -> bool:
        """It takes bytes and gives none."""
        return True

    def write(self, content: object, /) -> int:
        """All of it is taken."""
        assert isinstance(content, bytes | bytearray | memoryview)
        self._writing.write(bytes(content))
        return len(content)


def _add(tar: tarfile.TarFile, capture: Capture) -> None:
    sealed = capture.sealed()
    if sealed is None:
        raise ValueError(f"capture {capture.name} was never sealed")
    manifest, digest = sealed
    itself = Kept(MANIFEST, "", 0, digest)
    for kept in (itself, *manifest.files):
        content = plain_bytes(capture.path / kept.path)
        if hash_of(content) != kept.sha256:
            raise ValueError(f"{kept.path} was changed while it was packed")
        entry = tarfile.TarInfo(f"incident-{manifest.incident}/{manifest.capture}/{kept.path}")
        entry.size, entry.mode, entry.mtime = len(content), 0o600, manifest.ended.timestamp()
        tar.addfile(entry, io.BytesIO(content))
