"""An evidence folder as a capture leaves it, without one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from receiver.domain.events import EvidenceSealed
from receiver.evidence.manifest import Gap, Kept, Manifest
from receiver.evidence.vault import Capture, Vault

BEGUN = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
LOG = "pods/shop/api/api.log"
NODE = "nodes/node-0.json"


def filled(folder: Path, incident: int = 17, gaps: tuple[Gap, ...] = ()) -> tuple[Capture, EvidenceSealed]:
    """A sealed capture of two files, and what the timeline says of it."""
    capture = Vault(folder).begin(incident, "20260301T030000.000000Z")
    files: list[Kept] = []
    for path, content in ((LOG, b"one\ntwo\n"), (NODE, b"{}")):
        writing = capture.create(path)
        writing.write(content)
        writing.close()
        files.append(Kept(path, "asked", writing.bytes, writing.sha256))
    manifest = Manifest(incident, capture.name, ("namespace/shop",), BEGUN, BEGUN, tuple(files), gaps)
    digest = capture.seal(manifest)
    told = tuple(str(gap) for gap in gaps)
    return capture, EvidenceSealed(capture.name, digest, manifest.scopes, len(files), manifest.bytes, told)
