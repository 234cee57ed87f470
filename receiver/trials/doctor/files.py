"""Whether files with secrets can be read by us, and by nobody who should not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from receiver.trials.doctor.findings import Area, Finding, doubt, well, wrong

OTHERS_READ = 0o004


@dataclass(frozen=True)
class SecretFile:
    """One file of a setting: its permission bits, or why it cannot be used."""

    setting: str
    path: str
    told: int | str


def judge(files: Iterable[SecretFile]) -> list[Finding]:
    """Every file that is wrong or too open; one line for all that are well."""
    known = list(files)
    found = [finding for file in known for finding in _of_file(file)]
    closed = len(known) - len(found)
    if closed:
        found.append(
            well(Area.FILES, f"{closed} file(s) with secrets can be read by us and not by everybody")
        )
    return found


def _of_file(file: SecretFile) -> Iterator[Finding]:
    if isinstance(file.told, str):
        yield wrong(Area.FILES, f"{file.setting}: {file.told}", f"put what belongs there into {file.path}")
    elif file.told & OTHERS_READ:
        yield doubt(
            Area.FILES,
            f"{file.setting}: everybody on this machine can read {file.path}",
            f"chmod o-r {file.path} (of a Secret that is mounted: defaultMode: 0440)",
        )
