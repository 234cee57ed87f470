"""File names from names that others chose: a label, a container, whatever an API server answers. Pure.

No text, however hostile, makes a name that leads out of its folder, hides itself, or is another one's.
"""

from __future__ import annotations

import hashlib
import re

# Far below the 255 bytes that file systems take, so that an ending still fits.
LONGEST = 120
_SAFE = re.compile(r"[A-Za-z0-9._-]")


def part(text: str) -> str:
    """One step of a path for this text; different texts give different steps.

    What is no letter, digit, `.`, `_` or `-` is written as its bytes, and a long text is cut and ends in its
    hash.
    """
    written = "".join(_written(letter) for letter in text)
    if written.startswith(".") or not written:
        # `.`, `..`, what a listing hides, and the empty text, which would be no step at all.
        written = "%" + (written.replace(".", "2E", 1) if written else "")
    if len(written) <= LONGEST:
        return written
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{written[:LONGEST]}~{digest}"


def _written(letter: str) -> str:
    if _SAFE.fullmatch(letter):
        return letter
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))


def joined(*texts: str) -> str:
    """A path inside a capture from such texts, one step each."""
    return "/".join(part(text) for text in texts)


def inside(path: str) -> bool:
    """Whether every step of this path is one that `part` could have made: the vault takes no other."""
    steps = path.split("/")
    return all(
        step
        and len(step) <= LONGEST + 33
        and not step.startswith(".")
        and re.fullmatch(r"[A-Za-z0-9._~%-]+", step)
        for step in steps
    )
