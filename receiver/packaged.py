"""Finds the policies that come with the package, from a wheel or from a checkout."""

from __future__ import annotations

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
    are left out.
    """
    if folder.is_file():
        return {str(folder): folder.read_text(encoding="utf-8")}
    # A ConfigMap's files are links into the folder that `..data` points to. That link alone is swapped, so
    # files that are read through where it points now belong together.
    swapped = folder / "..data"
    if swapped.is_symlink():
        real = swapped.resolve(strict=True)
        return {str(folder / Path(name).relative_to(real)): text for name, text in read_files(real).items()}
    found = [*folder.rglob("*.yaml"), *folder.rglob("*.yml")]
    # A ConfigMap is mounted with hidden folders that repeat its files.
    kept = [path for path in found if not any(_left_out(part) for part in path.relative_to(folder).parts)]
    return {str(path): path.read_text(encoding="utf-8") for path in sorted(kept)}


def _left_out(part: str) -> bool:
    return part.startswith(".") or part == "tests"
