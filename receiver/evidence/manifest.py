"""What a capture holds, and how a folder is held to it. Pure: bytes are hashed and read elsewhere.

The manifest names every file with its size and hash, and everything that could not be had with the reason.
Its own hash stands in the incident's timeline, which is sealed: so a manifest that was written anew shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, TypeAdapter

from receiver.domain.canonical import canonical

FORMAT = "stanch-evidence/1"
MANIFEST = "manifest.json"
# Characters of a reason: what a server answers is bounded by nobody else.
MAX_WORDS = 400
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Kept:
    """One file: where it lies in the capture, what was asked for it, its size in bytes and its SHA-256.

    ``truncated`` says that there was, or may have been, more. ``redacted`` names what was in it and is not
    kept.
    """

    __pydantic_config__ = _STRICT

    path: str
    source: str
    bytes: int
    sha256: str
    truncated: bool = False
    redacted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gap:
    """Something that could not be had, and why."""

    __pydantic_config__ = _STRICT

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True)
class Manifest:
    """One capture of one incident, whole once it is written."""

    __pydantic_config__ = _STRICT

    incident: int
    capture: str
    scopes: tuple[str, ...]
    begun: datetime
    ended: datetime
    files: tuple[Kept, ...]
    gaps: tuple[Gap, ...]
    format: Literal["stanch-evidence/1"] = "stanch-evidence/1"

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(kept.bytes for kept in self.files)


@dataclass(frozen=True)
class Found:
    """A file as it lies there; ``sha256`` is empty where it is no plain file and was not read."""

    bytes: int
    sha256: str


_READER: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def manifest_text(manifest: Manifest) -> str:
    """The text that is written and hashed: one for one manifest, with a line's end."""
    return canonical(_READER.dump_python(manifest, mode="json")) + "\n"


def read_manifest(text: str) -> Manifest:
    """Read what `manifest_text` wrote. Raises ValueError where it is none."""
    return _READER.validate_json(text)


def hash_of(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits: what `sha256sum` prints."""
    return hashlib.sha256(content).hexdigest()


def gap(what: str, why: object) -> Gap:
    """A gap whose words fit on a page, whoever wrote them."""
    return Gap(_short(what), _short(str(why)))


def _short(words: str) -> str:
    kept = " ".join(words.split())
    return kept if len(kept) <= MAX_WORDS else kept[: MAX_WORDS - 1] + "…"


def differences(manifest: Manifest, found: Mapping[str, Found]) -> tuple[str, ...]:
    """Everything in which a folder is not as its manifest says, each by name; empty where it is.

    ``found`` are all files of the folder by their path in it, the manifest itself left out.
    """
    told: list[str] = []
    for kept in manifest.files:
        there = found.get(kept.path)
        if there is None:
            told.append(f"{kept.path} is missing")
        elif not there.sha256:
            told.append(f"{kept.path} is no plain file any more")
        elif there.bytes < kept.bytes:
            told.append(f"{kept.path} is cut: {there.bytes} of {kept.bytes} bytes are left")
        elif there.bytes > kept.bytes:
            told.append(f"{kept.path} grew: {there.bytes} bytes instead of {kept.bytes}")
        elif there.sha256 != kept.sha256:
            told.append(f"{kept.path} was changed: its SHA-256 is another one")
    known = {kept.path for kept in manifest.files}
    told += [f"{path} was added: the manifest does not name it" for path in sorted(found.keys() - known)]
    return tuple(told)
