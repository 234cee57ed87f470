"""Whether captures are what they were: each against its manifest, and that against what the timeline told.

Where only the manifest is at hand, it may have been written anew together with the files; so what it was not
held to is said, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from receiver.evidence.manifest import Manifest, differences
from receiver.evidence.vault import Capture

NEVER_SEALED = "there is no manifest that can be read: never sealed, or it was taken away"


@dataclass(frozen=True)
class Checked:
    """One capture and everything that is wrong with it.

    ``abandoned`` is one that a later capture names as never sealed: it proves nothing, and nothing is wrong.
    """

    capture: Capture
    manifest: Manifest | None
    digest: str
    wrong: tuple[str, ...]
    abandoned: bool = False


def check(captures: Iterable[Capture], told: Mapping[str, str] | None) -> list[Checked]:
    """Read and hash everything; ``told`` are the manifests' hashes by capture as they stand elsewhere.

    Raises OSError where it cannot be read.
    """
    sealed = [(capture, capture.sealed()) for capture in captures]
    gone = {gap.what for _, found in sealed if found is not None for gap in found[0].gaps}
    checked: list[Checked] = []
    for capture, found in sealed:
        if found is None:
            named = f"capture {capture.name}" in gone and capture.name not in (told or {})
            checked.append(Checked(capture, None, "", () if named else (NEVER_SEALED,), abandoned=named))
            continue
        manifest, digest = found
        wrong = (
            *_against_elsewhere(capture, manifest, digest, told),
            *differences(manifest, capture.files()),
        )
        checked.append(Checked(capture, manifest, digest, wrong))
    return checked


def missing(captures: Iterable[Capture], told: Mapping[str, str]) -> tuple[str, ...]:
    """The captures of the timeline that are not in the folder."""
    there = {capture.name for capture in captures}
    return tuple(f"capture {name} is missing: the timeline names it" for name in told if name not in there)


def _against_elsewhere(
    capture: Capture, manifest: Manifest, digest: str, told: Mapping[str, str] | None
) -> tuple[str, ...]:
    wrong: list[str] = []
    if manifest.capture != capture.name or capture.incident not in (0, manifest.incident):
        wrong.append(f"its manifest is that of incident {manifest.incident}, capture {manifest.capture}")
    if told is not None and capture.name not in told:
        wrong.append("the timeline does not name this capture")
    elif told is not None and told[capture.name] != digest:
        wrong.append(f"its manifest was changed: {digest}, and not {told[capture.name]} as was told")
    return tuple(wrong)
