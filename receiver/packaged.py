"""Finds the policies that come with the package, from a wheel or from a checkout."""

from __future__ import annotations

import errno
from pathlib import Path


def policies() -> Path:
    """The folder of the GreenLang pack. Raises FileNotFoundError where the installation lacks it."""
    here = Path(__file__).parent
    for found in (here / "_policies" / "greenlang", here.parent / "policies" / "greenlang"):
        if found.is_dir():
            return found
    raise FileNotFoundError("the packaged policies are missing from this installation")


def read_files(folder: Path) -> dict[str, str]:
    """Every policy file below a folder, or the one file, by path; hidden ones and those in a folder ``tests``
    are left out. Raises OSError with the path of what cannot be read.
    """
    if folder.is_file():
        return {str(folder): read_text(folder)}
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such file or folder", str(folder))
    # A ConfigMap's files are links into the folder that `..data` points to. That link alone is swapped, so
    # files that are read through where it points now belong together.
    swapped = folder / "..data"
    if swapped.is_symlink():
        real = swapped.resolve(strict=True)
        return {str(folder / Path(name).relative_to(real)): text for name, text in read_files(real).items()}
    found = [*folder.rglob("*.yaml"), *folder.rglob("*.yml")]
    # A ConfigMap is mounted with hidden folders that repeat its files.
    kept = [path for path in found if not any(_left_out(part) for part in path.relative_to(folder).parts)]
    return {str(path): read_text(path) for path in sorted(kept)}


def read_text(path: Path) -> str:
    """The text of one file. Raises OSError with its path, also where it holds something other than text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "it is not UTF-8 text", str(path)) from error


def unreadable(error: OSError) -> str:
    """Which file or folder, and why it cannot be read: the same words for every command."""
    return f"{error.filename}: {error.strerror or error}"


def _left_out(part: str) -> bool:
    return part.startswith(".") or part == "tests"
