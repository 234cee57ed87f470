"""A folder that evidence is put into once and never taken out of, changed, or written over by us.

One folder an incident and one a capture. Files are made anew or not at all, forced to the disk, and readable
by their owner only. All of it blocks; the service calls it in threads of its own. Raises OSError where the
disk does not take it, which the caller tells as a gap.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from receiver.evidence.manifest import MANIFEST, Found, Manifest, hash_of, manifest_text, read_manifest
from receiver.evidence.names import inside

_INCIDENT = re.compile(r"incident-([1-9][0-9]{0,17})")
_BLOCK_BYTES = 1024 * 1024
# No capture is larger in all of its files; a file that is, is none of ours and is not read.
MAX_FILE_BYTES = 64 * 1024 * 1024
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Writing:
    """One new file while it is written: its size and hash are of exactly what the disk has taken."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, _NEW, 0o600)
        self._hash = hashlib.sha256()
        self._closed = False
        # Whoever waited for a write may have been cancelled, and it is closed while the thread still writes.
        self._lock = threading.Lock()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def write(self, content: bytes) -> None:
        """Append; after an OSError part of it may have been taken, and is counted."""
        rest = memoryview(content)
        with self._lock:
            while rest and not self._closed:
                taken = os.write(self._file, rest)
                self._hash.update(rest[:taken])
                self.bytes += taken
                rest = rest[taken:]

    def close(self) -> None:
        """Force it to the disk and let go of it; closing twice does no harm."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                os.fsync(self._file)
            finally:
                os.close(self._file)


@dataclass(frozen=True)
class Capture:
    """One capture's folder, by the incident and its own name."""

    incident: int
    name: str
    path: Path

    def create(self, path: str) -> Writing:
        """A new file at this path inside. Raises ValueError for a path that leads elsewhere."""
        if not inside(path) or path == MANIFEST:
            raise ValueError(f"{path[:80]!r} is no path inside a capture")
        *folders, name = path.split("/")
        place = self.path
        for step in folders:
            # One by one: `parents=True` would let others into those between.
            place = place / step
            place.mkdir(mode=0o700, exist_ok=True)
        return Writing(place / name)

    def seal(self, manifest: Manifest) -> str:
        """Write the manifest, which ends the capture; its SHA-256."""
        content = manifest_text(manifest).encode()
        writing = Writing(self.path / MANIFEST)
        try:
            writing.write(content)
        finally:
            writing.close()
        for folder, _, _ in os.walk(self.path):
            _sync(Path(folder))
        return writing.sha256

    def sealed(self) -> tuple[Manifest, str] | None:
        """Its manifest and the manifest's SHA-256; None where there is none that can be read."""
        try:
            content = plain_bytes(self.path / MANIFEST)
            return read_manifest(content.decode()), hash_of(content)
        except (OSError, ValueError):
            return None

    def files(self) -> dict[str, Found]:
        """Every file of it but the manifest, read and hashed; a link or a device is named, not followed."""
        found: dict[str, Found] = {}
        for folder, folders, names in os.walk(self.path):
            for name in [*names, *(one for one in folders if (Path(folder) / one).is_symlink())]:
                path = Path(folder) / name
                inner = path.relative_to(self.path).as_posix()
                if inner != MANIFEST:
                    found[inner] = _found(path)
        return found


class Vault:
    """The folder of all evidence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def complaint(self) -> str | None:
        """Why nothing could be put into it now; None where it could."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            return f"{self.folder}: {error.strerror}"
        return None if os.access(self.folder, os.W_OK | os.X_OK) else f"{self.folder} is not writable"

    def begin(self, incident: int, stem: str) -> Capture:
        """A new, empty capture `STEM-1`, or the next number that nobody has taken. Raises OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        place = self.folder / f"incident-{incident}"
        place.mkdir(mode=0o700, exist_ok=True)
        if not inside(stem) or "/" in stem:
            raise ValueError(f"{stem[:80]!r} is no name of a capture")
        number = 1
        while True:
            name = f"{stem}-{number}"
            try:
                (place / name).mkdir(mode=0o700)
            except FileExistsError:
                number += 1
                continue
            _sync(place)
            _sync(self.folder)
            return Capture(incident, name, place / name)

    def captures(self, incident: int | None = None) -> list[Capture]:
        """Every capture, oldest first; of one incident where it is named. Raises OSError."""
        return sorted(
            (one for one in self._captures() if incident in (None, one.incident)),
            key=lambda one: (one.incident, one.name),
        )

    def _captures(self) -> Iterator[Capture]:
        for place in self.folder.iterdir() if self.folder.exists() else ():
            named = _INCIDENT.fullmatch(place.name)
            if named is None or place.is_symlink() or not place.is_dir():
                continue
            for one in place.iterdir():
                if one.is_dir() and not one.is_symlink():
                    yield Capture(int(named[1]), one.name, one)


def captures_at(path: Path) -> list[Capture]:
    """The captures that this folder is or holds, wherever it lies; incident 0 where its name says none.

    Raises OSError.
    """
    if (named := _INCIDENT.fullmatch(path.name)) is not None:
        return Vault(path.parent).captures(int(named[1]))
    above = _INCIDENT.fullmatch(path.resolve().parent.name)
    return [Capture(int(above[1]) if above is not None else 0, path.name, path)]


def _found(path: Path) -> Found:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return Found(0, "")
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return Found(size, digest.hexdigest())


def plain_bytes(path: Path) -> bytes:
    """The content of a plain file that is no link. Raises OSError, and ValueError where it is too large."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError("it is too large to be one of ours")
    return content


def _sync(folder: Path) -> None:
    """A new name in a folder is on the disk only once the folder is."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
